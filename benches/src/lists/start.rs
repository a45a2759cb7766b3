//! How soon a server is ready after its start, and how soon it shows what its nodes have.

use std::path::Path;
use std::time::{Duration, Instant};

use super::Outcome;
use super::load::Connection;
use super::server::Server;

/// It shows everything within this, or not at all.
const PATIENCE: Duration = Duration::from_secs(60);

/// Times from the start of the process.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// Until `/readyz` answered.
    pub ready: Duration,
    /// Until `/v1/containers` answered with all containers.
    pub whole: Duration,
}

/// Starts a server on these nodes, which have so many containers, and waits until it shows them.
///
/// # Errors
/// When it does not start, or never shows them.
pub async fn measure(program: &Path, nodes: &[(String, String)], containers: usize) -> Outcome<Start> {
    let begun = Instant::now();
    let server = Server::ours(program, nodes, None).await?;
    let ready = begun.elapsed();
    let mut connection = Connection::open(&server.target.address).await?;
    let request = server.target.request("GET", "/v1/containers?fields=id", "");
    loop {
        let shown = connection.ask(&request).await?.windows(5).filter(|window| window == b"\"id\":").count();
        if shown >= containers {
            return Ok(Start { ready, whole: begun.elapsed() });
        }
        if begun.elapsed() > PATIENCE {
            return Err(format!("{shown} of {containers} containers are shown").into());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

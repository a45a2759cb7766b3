//! How soon a change is seen: containers of a dockerd are frozen and unfrozen past our server, and a client of ours watches.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::Outcome;
use super::load::{Address, Connection, Load, Target};
use super::server::Server;

/// A change that takes longer is lost.
const PATIENCE: Duration = Duration::from_secs(10);

/// Times from the engine's answer to the news of it, and from the request to the news.
#[derive(Clone, Debug, Default)]
pub struct Visible {
    /// From the engine's answer; zero where the news was faster.
    pub answered: Load,
    /// From the request to the engine.
    pub asked: Load,
}

/// Changes one container after the other, `count` times in all.
///
/// # Errors
/// When the engine refuses, or a change is not seen.
pub async fn measure(server: &Server, engine: &Address, ids: &[String], count: usize) -> Outcome<Visible> {
    let (sender, mut news) = mpsc::unbounded_channel();
    let mut watching = Connection::open(&server.target.address).await?;
    let path = "/v1/containers?watch";
    let request = Target {
        headers: format!("{}Accept: application/x-ndjson\r\n", server.target.headers),
        ..server.target.clone()
    };
    watching.send(&request.request("GET", path, "")).await?;
    let reader = tokio::spawn(async move {
        loop {
            let Ok(line) = watching.line().await else { return };
            if line.starts_with('{') && sender.send((Instant::now(), line)).is_err() {
                return;
            }
        }
    });
    // The stream stands.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut connection = Connection::open(engine).await?;
    let plain = Target { address: engine.clone(), path: String::new(), headers: String::new(), pid: None };
    let mut frozen: HashMap<&str, bool> = HashMap::new();
    let mut visible = Visible::default();
    for number in 0..count {
        let id = ids.get(number % ids.len()).ok_or("no container")?;
        let now = frozen.entry(id).or_default();
        let (verb, state) = if *now { ("unpause", "running") } else { ("pause", "frozen") };
        *now = !*now;
        let asked = Instant::now();
        connection.ask(&plain.request("POST", &format!("/containers/{id}/{verb}"), "")).await?;
        let answered = Instant::now();
        let (marked, wanted) = (format!("\"id\":\"{id}\""), format!("\"state\":\"{state}\""));
        let seen = loop {
            let (at, line) = tokio::time::timeout(PATIENCE, news.recv()).await?.ok_or("the watch has ended")?;
            if line.contains(&marked) && line.contains(&wanted) {
                break at;
            }
        };
        visible.answered.times.push(seen.saturating_duration_since(answered));
        visible.asked.times.push(seen.saturating_duration_since(asked));
    }
    reader.abort();
    for (id, frozen) in frozen {
        if frozen {
            connection.ask(&plain.request("POST", &format!("/containers/{id}/unpause"), "")).await?;
        }
    }
    Ok(visible)
}

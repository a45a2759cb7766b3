//! The containers that are listed: real ones of a dockerd, deleted at the end, or simulated ones.

use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use roadstead_core::{ContainerSpec, DeleteOptions, Node};

use super::Outcome;
use super::load::Connection;
use super::server::Server;

const IMAGE: &str = "roadstead/busybox:latest";
/// So many are made at once.
const AT_ONCE: usize = 4;

/// Containers of a real engine.
#[derive(Debug)]
pub struct Stock {
    node: Arc<dyn Node>,
    /// Their ids; those that run come first.
    pub ids: Vec<String>,
}

impl Stock {
    /// None yet.
    #[must_use]
    pub fn new(node: Arc<dyn Node>) -> Self {
        Stock { node, ids: Vec::new() }
    }

    /// Makes more, until there are so many.
    ///
    /// # Errors
    /// When the engine refuses.
    pub async fn fill(&mut self, count: usize, start: bool) -> Outcome<()> {
        let from = self.ids.len();
        let made = stream::iter(from..count).map(|number| {
            let node = Arc::clone(&self.node);
            async move {
                let name = format!("lists-{}-{number}", std::process::id());
                let spec = ContainerSpec::new(IMAGE)
                    .name(name)
                    .command(["sleep", "36000"])
                    .label("number", number.to_string());
                let id = node.create_container(&spec).await?.id;
                if start {
                    node.container(&id).start().await?;
                }
                Ok::<_, roadstead_core::Error>(id)
            }
        });
        let mut made = made.buffer_unordered(AT_ONCE);
        while let Some(id) = made.try_next().await? {
            self.ids.push(id);
        }
        Ok(())
    }

    /// Deletes them.
    pub async fn clear(self) {
        let node = &self.node;
        let gone = stream::iter(self.ids).map(|id| async move {
            if let Err(error) = node.container(&id).delete(&DeleteOptions::force()).await {
                left_behind(&error);
            }
        });
        gone.buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
    }
}

#[allow(clippy::print_stderr, reason = "a program for the terminal")]
fn left_behind(error: &roadstead_core::Error) {
    eprintln!("left behind: {error}");
}

/// Fills the simulated node `sea` of a server of ours.
///
/// # Errors
/// When it refuses.
pub async fn simulated(server: &Server, count: usize) -> Outcome<()> {
    let mut connection = Connection::open(&server.target.address).await?;
    for number in 0..count {
        let body = format!(
            r#"{{"image":"{IMAGE}","name":"lists-{number}","command":["sleep","36000"],"labels":{{"number":"{number}"}}}}"#
        );
        connection.ask(&server.target.request("POST", "/v1/nodes/sea/containers", &body)).await?;
    }
    Ok(())
}

//! Nodes of another Roadstead server: whom it lets in, servers that go away and come back, newer ones and hostile ones, moves
//! to and from it, and errors that say the same from afar.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test says that it failed"
)]

mod alike;
mod archives;
mod fake;
mod hostile;
mod moving;
mod newer;
mod outages;
mod page;
mod trust;
mod way;

use std::sync::Arc;
use std::time::Duration;

use roadstead_core::memory::PRESET_IMAGE;
use roadstead_core::{ConnectOptions, ContainerSpec, Node, Result};

/// Longer than anything here takes.
const SOON: Duration = Duration::from_secs(30);

async fn connect(name: &str, uri: &str) -> Result<Arc<dyn Node>> {
    roadstead_backends::registry().connect(name, uri, &ConnectOptions::default()).await
}

fn sleeper(name: &str) -> ContainerSpec {
    ContainerSpec::new(PRESET_IMAGE).name(name).command(["sleep", "300"])
}

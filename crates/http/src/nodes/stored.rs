//! The nodes that were added over REST, as they are kept over restarts.

use std::collections::BTreeMap;

use roadstead_core::{Error, ErrorKind, Result};
use tokio::sync::{Mutex, MutexGuard};

use crate::state_dir::{StateDir, StoredNode};

/// What is on the disk, by name. Whoever changes it holds it to the end.
#[derive(Debug)]
pub(super) struct Stored {
    state_dir: StateDir,
    nodes: Mutex<BTreeMap<String, StoredNode>>,
}

/// See [`Stored::hold`].
pub(super) struct Held<'a> {
    state_dir: &'a StateDir,
    nodes: MutexGuard<'a, BTreeMap<String, StoredNode>>,
}

impl Stored {
    /// Reads and gives them.
    ///
    /// # Errors
    /// When they cannot be read.
    pub(super) fn load(state_dir: StateDir) -> Result<(Self, Vec<StoredNode>)> {
        let nodes = state_dir.read_nodes()?;
        let by_name = nodes.iter().map(|node| (node.name.clone(), node.clone())).collect();
        Ok((Stored { state_dir, nodes: Mutex::new(by_name) }, nodes))
    }

    /// For one change: nobody else makes one meanwhile.
    pub(super) async fn hold(&self) -> Held<'_> {
        Held { state_dir: &self.state_dir, nodes: self.nodes.lock().await }
    }

    /// Another URI for a node that is kept with the URI `was`; nothing for any other.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) async fn keep_uri(&self, name: &str, was: &str, uri: &str) -> Result<()> {
        let mut held = self.hold().await;
        match held.nodes.get(name) {
            Some(node) if node.uri == was && was != uri => {
                let node = StoredNode { uri: uri.to_owned(), ..node.clone() };
                held.insert(node).await
            }
            _ => Ok(()),
        }
    }

    /// Gives up the state directory: nothing is written to it any more.
    pub(super) fn close(&self) {
        self.state_dir.release();
    }
}

impl Held<'_> {
    /// Keeps a node, in the place of one of its name.
    ///
    /// # Errors
    /// When it cannot be written; nothing is changed then.
    pub(super) async fn insert(&mut self, node: StoredNode) -> Result<()> {
        let mut next = self.nodes.clone();
        next.insert(node.name.clone(), node);
        self.replace(next).await
    }

    /// Forgets a node.
    ///
    /// # Errors
    /// When that cannot be written; nothing is changed then.
    pub(super) async fn remove(&mut self, name: &str) -> Result<()> {
        let mut next = self.nodes.clone();
        next.remove(name);
        self.replace(next).await
    }

    async fn replace(&mut self, next: BTreeMap<String, StoredNode>) -> Result<()> {
        let state_dir = self.state_dir.clone();
        let nodes = next.values().cloned().collect();
        match tokio::task::spawn_blocking(move || state_dir.write_nodes(nodes)).await {
            Ok(result) => result?,
            Err(error) => return Err(Error::new(ErrorKind::Unexpected, format!("nodes were not written: {error}"))),
        }
        *self.nodes = next;
        Ok(())
    }
}

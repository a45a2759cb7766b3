//! The nodes that were added over the API, as they are kept in the store: over restarts, and for all servers that share it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use roadstead_core::store::{Kept, Revision, Table, TableChange};
use roadstead_core::{ErrorKind, ItemStream, Result};
use serde::{Deserialize, Serialize};

use super::{NewNode, Place};

/// A node as the store keeps it. The URI may hold a password, so this is never shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredNode {
    /// Name.
    pub name: String,
    /// URI, secrets included.
    pub uri: String,
    /// Client certificate chain, PEM file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// Client key, PEM file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// Certificate authority of the server, PEM file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<PathBuf>,
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Another one whenever a node is added; empty for one that was before there were ids.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// Where its address is meant, when that means something else on every machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
}

impl std::fmt::Debug for StoredNode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredNode").field("name", &self.name).finish_non_exhaustive()
    }
}

impl From<StoredNode> for NewNode {
    fn from(node: StoredNode) -> Self {
        let StoredNode { name, uri, certificate, key, authority, labels, id: _, place: _ } = node;
        NewNode { name, uri, certificate, key, authority, labels }
    }
}

impl From<NewNode> for StoredNode {
    fn from(node: NewNode) -> Self {
        let NewNode { name, uri, certificate, key, authority, labels } = node;
        StoredNode { name, uri, certificate, key, authority, labels, id: String::new(), place: None }
    }
}

/// The table of them.
#[derive(Debug)]
pub(super) struct Stored(Table<StoredNode>);

impl Stored {
    pub(super) fn new(table: Table<StoredNode>) -> Self {
        Stored(table)
    }

    /// All of them by name, and after which revision to watch.
    ///
    /// # Errors
    /// Those of the store; of one that makes no sense there is an error in its place.
    pub(super) async fn all(&self) -> Result<(Vec<(String, Result<StoredNode>)>, Revision)> {
        let (nodes, revision) = self.0.all().await?;
        let nodes = nodes.into_iter().map(|(name, node)| (name, node.map(|node| node.value))).collect();
        Ok((nodes, revision))
    }

    /// The revision of the node of this name.
    ///
    /// # Errors
    /// Those of the store.
    pub(super) async fn revision(&self, name: &str) -> Result<Option<Revision>> {
        Ok(self.0.get(name).await?.map(|kept| kept.revision))
    }

    /// The node of this name as it is now.
    ///
    /// # Errors
    /// Those of the store.
    pub(super) async fn get(&self, name: &str) -> Result<Option<StoredNode>> {
        Ok(self.0.get(name).await?.map(|kept| kept.value))
    }

    /// What comes and goes after a revision.
    ///
    /// # Errors
    /// Those of the store.
    pub(super) async fn watch(&self, after: Revision) -> Result<ItemStream<TableChange<StoredNode>>> {
        self.0.watch(after).await
    }

    /// Keeps a node that is not there yet.
    ///
    /// # Errors
    /// `AlreadyExists`, and those of the store; nothing is changed then.
    pub(super) async fn insert(&self, node: &StoredNode) -> Result<()> {
        self.0.create(&node.name, node).await.map(drop).map_err(|error| error.with_operation("node.add"))
    }

    /// Keeps a node, in place of what was kept by its name.
    ///
    /// # Errors
    /// Those of the store; nothing is changed then.
    pub(super) async fn put(&self, node: &StoredNode) -> Result<()> {
        self.0.put(&node.name, node).await.map(drop).map_err(|error| error.with_operation("node.add"))
    }

    /// Forgets a node; one that is not there is `Ok`.
    ///
    /// # Errors
    /// Those of the store; nothing is changed then.
    pub(super) async fn remove(&self, name: &str) -> Result<()> {
        self.0.remove(name).await
    }

    /// Forgets the node of this revision.
    ///
    /// # Errors
    /// `Conflict` when it is another one by now, and those of the store.
    pub(super) async fn remove_unchanged(&self, name: &str, revision: Revision) -> Result<()> {
        self.0.remove_unchanged(name, revision).await
    }

    /// Another URI for a node that is kept with the URI `was`; nothing for any other.
    ///
    /// # Errors
    /// Those of the store.
    pub(super) async fn keep_uri(&self, name: &str, was: &str, uri: &str) -> Result<()> {
        match self.0.get(name).await? {
            Some(Kept { value, revision, .. }) if value.uri == was && was != uri => {
                let node = StoredNode { uri: uri.to_owned(), ..value };
                match self.0.replace(name, revision, &node).await {
                    // Another server has done the same, or the node is another one by now.
                    Err(error) if error.kind() == ErrorKind::Conflict => Ok(()),
                    done => done.map(drop),
                }
            }
            _ => Ok(()),
        }
    }
}

//! The pools of the server: named sets of its nodes, kept in its store.
//!
//! A [`StoredPool`] says which nodes belong to it, by name or by what they are. Who its members are is found out anew for each
//! request, so that a node that comes, goes or is labelled otherwise is in it or not from then on. A member that is not connected
//! is a member all the same, which does not answer.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use roadstead_core::store::{Kept, Revision, Table};
use roadstead_core::{Error, ErrorKind, LabelSelector, Member, NodeUri, Pool, Result, StaticPool, Timestamp, names};
use serde::{Deserialize, Serialize};

use crate::nodes::{Identities, NodeSlot, Nodes, away};
use crate::precondition::IfMatch;
use crate::state::within;

/// How often a change of a pool is tried while others change it, too.
const ATTEMPTS: usize = 10;

/// Which nodes belong to a pool by what they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Select {
    /// Nodes with all of these labels, `key` or `key=value`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// Nodes whose URI has one of these schemes, or one that begins with it and `+`: `docker` is `docker+unix`, too. Any when
    /// empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub schemes: Vec<String>,
}

impl Select {
    fn validate(&self) -> Result<()> {
        for label in &self.labels {
            let label = LabelSelector::parse(label);
            names::label_key("select.labels", &label.key)?;
            names::no_nul("select.labels", label.value.as_deref().unwrap_or_default())?;
        }
        for scheme in &self.schemes {
            if scheme.is_empty() || !scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)) {
                return Err(Error::invalid("select.schemes", "a scheme is letters, digits, +, - and ."));
            }
        }
        if self.labels.is_empty() && self.schemes.is_empty() {
            return Err(Error::invalid("select", "names neither labels nor schemes: it would take every node"));
        }
        Ok(())
    }

    fn takes(&self, slot: &NodeSlot) -> bool {
        let labelled = self.labels.iter().all(|label| LabelSelector::parse(label).matches(slot.labels()));
        let uri = slot.uri();
        let scheme = uri.parse::<NodeUri>().map(|uri| uri.scheme().to_owned()).unwrap_or_default();
        let kind = scheme.split('+').next().unwrap_or_default();
        labelled && (self.schemes.is_empty() || self.schemes.iter().any(|wanted| *wanted == scheme || wanted == kind))
    }
}

/// What a caller says of a pool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct PoolSettings {
    /// Nodes that belong to it, by name; they need not be there yet.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<String>,
    /// Nodes that belong to it by what they are, besides those that are named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub select: Option<Select>,
    /// In place of nodes and selection: the pool of its engine's own that this node is in, a cluster or a swarm. Who its members
    /// are, the engine tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub own_of: Option<String>,
}

impl PoolSettings {
    pub(crate) fn validate(&self) -> Result<()> {
        for (index, node) in self.nodes.iter().enumerate() {
            names::node_name("nodes", node)?;
            if self.nodes.iter().take(index).any(|before| before == node) {
                return Err(Error::invalid("nodes", format!("{node} is named twice")));
            }
        }
        if let Some(node) = &self.own_of {
            names::node_name("own_of", node)?;
            if !self.nodes.is_empty() || self.select.is_some() {
                return Err(Error::invalid("own_of", "stands in place of nodes and select"));
            }
        }
        self.select.as_ref().map_or(Ok(()), Select::validate)
    }
}

/// Why a member takes no new containers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cordon {
    /// Since when.
    pub since: Timestamp,
    /// Why, in a line.
    pub reason: String,
}

/// A pool as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoredPool {
    /// Name.
    pub name: String,
    /// Which nodes belong to it.
    pub settings: PoolSettings,
    /// Members that take no new containers, by name.
    #[serde(default)]
    pub cordons: BTreeMap<String, Cordon>,
}

/// Every pool of the server.
#[derive(Debug)]
pub(crate) struct Pools {
    table: Table<StoredPool>,
}

impl Pools {
    pub(crate) fn new(table: Table<StoredPool>) -> Self {
        Pools { table }
    }

    /// Every pool, by name.
    ///
    /// # Errors
    /// Those of the store, and of a pool that makes no sense.
    pub(crate) async fn all(&self) -> Result<Vec<StoredPool>> {
        let (pools, _) = self.table.all().await?;
        pools.into_iter().map(|(_, pool)| pool.map(|kept| kept.value)).collect()
    }

    /// The pool with this name.
    ///
    /// # Errors
    /// `InvalidInput` for what cannot be a name, `NotFound`, and those of the store.
    pub(crate) async fn get(&self, name: &str) -> Result<StoredPool> {
        self.kept(name).await.map(|kept| kept.value)
    }

    /// One, with its revision.
    ///
    /// # Errors
    /// `NotFound`, and those of the store.
    pub(crate) async fn kept(&self, name: &str) -> Result<Kept<StoredPool>> {
        names::node_name("pool", name)?;
        self.table.get(name).await?.ok_or_else(|| Error::not_found("pool", name))
    }

    /// Keeps a new pool.
    ///
    /// # Errors
    /// `InvalidInput`, `AlreadyExists`, and those of the store.
    pub(crate) async fn create(&self, name: &str, settings: PoolSettings) -> Result<(StoredPool, Revision)> {
        names::node_name("name", name)?;
        settings.validate()?;
        let pool = StoredPool { name: name.to_owned(), settings, cordons: BTreeMap::new() };
        let made = self.table.create(name, &pool).await.map_err(|error| error.with_operation("pool.create"))?;
        Ok((pool, made))
    }

    /// Changes a pool that is as `if_match` says. `change` may be asked again when somebody else has changed it meanwhile.
    ///
    /// # Errors
    /// `NotFound`, `PreconditionFailed`, what `change` says, and those of the store; nothing is changed then.
    pub(crate) async fn change(
        &self,
        name: &str,
        if_match: &IfMatch,
        mut change: impl FnMut(&mut StoredPool) -> Result<()>,
    ) -> Result<Kept<StoredPool>> {
        let mut last = Error::new(ErrorKind::Conflict, "the pool was not changed");
        for _ in 0..ATTEMPTS {
            let mut kept = self.kept(name).await?;
            if_match.require_revision(&format!("the pool {name}"), kept.revision)?;
            change(&mut kept.value)?;
            match self.table.replace(name, kept.revision, &kept.value).await {
                Ok(revision) => {
                    kept.revision = revision;
                    return Ok(kept);
                }
                Err(error) if error.kind() == ErrorKind::Conflict => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    /// Forgets a pool that is as `if_match` says. Its nodes, and what runs on them, stay.
    ///
    /// # Errors
    /// `NotFound`, `PreconditionFailed`, and those of the store.
    pub(crate) async fn remove(&self, name: &str, if_match: &IfMatch) -> Result<()> {
        let mut last = Error::new(ErrorKind::Conflict, "the pool was not forgotten");
        for _ in 0..ATTEMPTS {
            let kept = self.kept(name).await?;
            if_match.require_revision(&format!("the pool {name}"), kept.revision)?;
            match self.table.remove_unchanged(name, kept.revision).await {
                Err(error) if error.kind() == ErrorKind::Conflict => last = error,
                removed => return removed,
            }
        }
        Err(last)
    }
}

impl StoredPool {
    /// Its members that are nodes of the server, and the names of those that are not.
    pub(crate) fn slots(&self, nodes: &Nodes) -> (Vec<Arc<NodeSlot>>, Vec<String>) {
        self.slots_of(nodes, |_| true)
    }

    /// The same, as if these were the only nodes.
    fn slots_of(&self, nodes: &Nodes, known: impl Fn(&str) -> bool) -> (Vec<Arc<NodeSlot>>, Vec<String>) {
        let named = |slot: &NodeSlot| self.settings.nodes.iter().any(|name| name == slot.name());
        let selected = |slot: &NodeSlot| self.settings.select.as_ref().is_some_and(|select| select.takes(slot));
        let slots: Vec<_> =
            nodes.all().into_iter().filter(|slot| known(slot.name()) && (named(slot) || selected(slot))).collect();
        let missing = self.settings.nodes.iter().filter(|name| !slots.iter().any(|slot| slot.name() == *name));
        let missing = missing.cloned().collect();
        (slots, missing)
    }

    /// Which engines its members are here, as far as nodes of the server are.
    pub(crate) fn identities(&self, nodes: &Nodes) -> Identities {
        nodes.identities(self.slots(nodes).0.iter().map(|slot| slot.name()))
    }

    /// The pool with its members connected, as far as they are by `deadline`.
    ///
    /// # Errors
    /// Of a pool of an engine's own those of the node that is asked for it.
    pub(crate) async fn resolve(&self, nodes: &Nodes, deadline: Duration) -> Result<StaticPool> {
        self.resolve_of(nodes, deadline, |_| true).await
    }

    /// The same, as if the server had only these nodes. Those of an engine's own pool are not asked about.
    ///
    /// # Errors
    /// As for [`resolve`](Self::resolve).
    pub(crate) async fn resolve_of(
        &self,
        nodes: &Nodes,
        deadline: Duration,
        known: impl Fn(&str) -> bool,
    ) -> Result<StaticPool> {
        if let Some(node) = &self.settings.own_of {
            if !known(node) {
                return Err(Error::not_found("node", node));
            }
            let node = nodes.get(node)?.node(deadline).await?;
            let own = within(deadline, node.pool(&self.name)).await?;
            return Ok(StaticPool::of(&self.name, own.members().into_iter().map(|member| self.cordoned(member))));
        }
        let (slots, missing) = self.slots_of(nodes, known);
        let members = join_all(slots.iter().map(|slot| async move {
            let node = match slot.node(deadline).await {
                Ok(node) => node,
                Err(error) => away(slot.name(), &error)?,
            };
            Ok(self.cordoned(Member::new(node).labels(slot.labels().clone())))
        }))
        .await;
        let mut members = members.into_iter().collect::<Result<Vec<_>>>()?;
        for name in missing {
            members.push(self.cordoned(Member::new(away(&name, &Error::not_found("node", &name))?)));
        }
        members.sort_by(|a, b| a.name().cmp(b.name()));
        Ok(StaticPool::of(&self.name, members))
    }

    fn cordoned(&self, member: Member) -> Member {
        match self.cordons.get(member.name()) {
            Some(cordon) => member.cordoned(&cordon.reason),
            None => member,
        }
    }

    /// Refuses the name of a node that is no member.
    ///
    /// # Errors
    /// `NotFound`, and as [`StoredPool::resolve`].
    pub(crate) async fn has(&self, nodes: &Nodes, node: &str, deadline: Duration) -> Result<()> {
        names::node_name("node", node)?;
        let known = match &self.settings.own_of {
            Some(_) => self.resolve(nodes, deadline).await?.members().iter().any(|member| member.name() == node),
            None => {
                let (slots, missing) = self.slots(nodes);
                slots.iter().any(|slot| slot.name() == node) || missing.iter().any(|name| name == node)
            }
        };
        if known {
            return Ok(());
        }
        Err(Error::new(ErrorKind::NotFound, format!("node {node} is no member of the pool {}", self.name))
            .with_resource(node))
    }
}

//! A pool of named members.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;

use super::{Listing, Member, Pool, gather, no_such_node};
use crate::container::{ContainerFilter, ContainerSummary};
use crate::error::{Error, ErrorKind, Result};
use crate::node::Node;

/// A pool whose members are named one by one.
#[derive(Debug)]
pub struct StaticPool {
    name: String,
    /// Replaced as a whole: a reader keeps the members that it began with.
    members: RwLock<Arc<Vec<Member>>>,
}

impl StaticPool {
    /// A pool of these members. Of several with one name the first is kept.
    #[must_use]
    pub fn new(name: impl Into<String>, nodes: impl IntoIterator<Item = Arc<dyn Node>>) -> Self {
        StaticPool::of(name, nodes.into_iter().map(Member::new))
    }

    /// A pool of these members, with what is known of them. Of several with one name the first is kept.
    #[must_use]
    pub fn of(name: impl Into<String>, members: impl IntoIterator<Item = Member>) -> Self {
        let pool = StaticPool { name: name.into(), members: RwLock::default() };
        for member in members {
            // The error is that the name is taken, which is what the documentation says.
            let _ = pool.insert(member);
        }
        pool
    }

    /// Adds a member, as the last one.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`] when a member has this name.
    pub fn add(&self, node: Arc<dyn Node>) -> Result<()> {
        self.insert(Member::new(node))
    }

    fn insert(&self, new: Member) -> Result<()> {
        let mut members = self.members.write().unwrap_or_else(PoisonError::into_inner);
        if members.iter().any(|member| member.name() == new.name()) {
            return Err(Error::new(ErrorKind::AlreadyExists, format!("node {} is in the pool already", new.name()))
                .with_resource(new.name()));
        }
        Arc::make_mut(&mut members).push(new);
        Ok(())
    }

    /// Takes a member out and gives it.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is none of this name.
    pub fn remove(&self, name: &str) -> Result<Arc<dyn Node>> {
        let mut members = self.members.write().unwrap_or_else(PoisonError::into_inner);
        let index = members.iter().position(|member| member.name() == name).ok_or_else(|| no_such_node(name))?;
        Ok(Arc::make_mut(&mut members).remove(index).node)
    }

    /// Sets what the labels of a member are.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is none of this name.
    pub fn label(&self, name: &str, labels: BTreeMap<String, String>) -> Result<()> {
        self.change(name, |member| member.labels = labels)
    }

    /// From now on no new container is placed on a member, for this reason; with none, they are again.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is none of this name.
    pub fn cordon(&self, name: &str, reason: Option<&str>) -> Result<()> {
        self.change(name, |member| member.cordon = reason.map(str::to_owned))
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut Member)) -> Result<()> {
        let mut members = self.members.write().unwrap_or_else(PoisonError::into_inner);
        let found = Arc::make_mut(&mut members).iter_mut().find(|member| member.name() == name);
        found.map(change).ok_or_else(|| no_such_node(name))
    }
}

#[async_trait]
impl Pool for StaticPool {
    fn name(&self) -> &str {
        &self.name
    }

    fn members(&self) -> Vec<Member> {
        self.members.read().unwrap_or_else(PoisonError::into_inner).to_vec()
    }

    async fn list_containers(&self, filter: &ContainerFilter, deadline: Duration) -> Result<Listing<ContainerSummary>> {
        filter.validate()?;
        let members = self.members();
        let questions = members.iter().map(|member| (member.name().to_owned(), member.node.list_containers(filter)));
        Ok(gather(questions, deadline).await)
    }
}

//! A pool of named members, and the fan-out ([`gather`]) of everything that asks many nodes at once.

use std::future::Future;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use tokio::time::{Instant, timeout_at};

use crate::container::{ContainerFilter, ContainerSummary};
use crate::error::{Error, ErrorKind, Result, Retry};
use crate::node::Node;
use crate::pool::{Listing, NodeAnswer, NodeError, Pool, no_such_node};
use crate::time::Timestamp;

/// Asks all questions at once, each of a node by its name, and answers by `deadline` with what there is.
///
/// A node that fails or has not answered is an error of the listing; its question is dropped, so it costs nothing more.
/// Items and nodes come in the order of the questions.
pub async fn gather<T, A>(questions: impl IntoIterator<Item = (String, A)>, deadline: Duration) -> Listing<T>
where
    A: Future<Output = Result<Vec<T>>>,
{
    let begun = Instant::now();
    // A deadline beyond the clock's range is no deadline; a day stands for it.
    let until = begun.checked_add(deadline).unwrap_or(begun + Duration::from_secs(86_400));
    let answers = join_all(questions.into_iter().map(|(node, answer)| async move {
        let result = match timeout_at(until, answer).await {
            Ok(result) => result,
            Err(_) => {
                Err(Error::new(ErrorKind::DeadlineExceeded, format!("no answer within {} s", deadline.as_secs_f64()))
                    .with_node(node.as_str())
                    .with_retry(Retry::Safe))
            }
        };
        (node, result, begun.elapsed())
    }))
    .await;

    let mut listing = Listing::default();
    for (node, result, duration) in answers {
        let observed_at = match result {
            Ok(items) => {
                listing.items.extend(items);
                Some(Timestamp::now())
            }
            Err(error) => {
                listing.errors.push(NodeError::new(&node, &error));
                None
            }
        };
        listing.nodes.push(NodeAnswer::new(&node, observed_at, duration));
    }
    listing
}

/// A pool whose members are named one by one.
#[derive(Debug)]
pub struct StaticPool {
    name: String,
    /// Replaced as a whole: a reader keeps the members that it began with.
    nodes: RwLock<Arc<Vec<Arc<dyn Node>>>>,
}

impl StaticPool {
    /// A pool of these members. Of several with one name the first is kept.
    #[must_use]
    pub fn new(name: impl Into<String>, nodes: impl IntoIterator<Item = Arc<dyn Node>>) -> Self {
        let pool = StaticPool { name: name.into(), nodes: RwLock::default() };
        for node in nodes {
            // The error is that the name is taken, which is what the documentation says.
            let _ = pool.add(node);
        }
        pool
    }

    /// Adds a member, as the last one.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`] when a member has this name.
    pub fn add(&self, node: Arc<dyn Node>) -> Result<()> {
        let mut nodes = self.nodes.write().unwrap_or_else(PoisonError::into_inner);
        if nodes.iter().any(|member| member.name() == node.name()) {
            return Err(Error::new(ErrorKind::AlreadyExists, format!("node {} is in the pool already", node.name()))
                .with_resource(node.name()));
        }
        Arc::make_mut(&mut nodes).push(node);
        Ok(())
    }

    /// Takes a member out and gives it.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is none of this name.
    pub fn remove(&self, name: &str) -> Result<Arc<dyn Node>> {
        let mut nodes = self.nodes.write().unwrap_or_else(PoisonError::into_inner);
        let index = nodes.iter().position(|member| member.name() == name).ok_or_else(|| no_such_node(name))?;
        Ok(Arc::make_mut(&mut nodes).remove(index))
    }

    fn members(&self) -> Arc<Vec<Arc<dyn Node>>> {
        Arc::clone(&self.nodes.read().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl Pool for StaticPool {
    fn name(&self) -> &str {
        &self.name
    }

    fn nodes(&self) -> Vec<Arc<dyn Node>> {
        self.members().to_vec()
    }

    fn node(&self, name: &str) -> Result<Arc<dyn Node>> {
        self.members().iter().find(|node| node.name() == name).cloned().ok_or_else(|| no_such_node(name))
    }

    async fn list_containers(&self, filter: &ContainerFilter, deadline: Duration) -> Result<Listing<ContainerSummary>> {
        filter.validate()?;
        let members = self.members();
        let questions = members.iter().map(|node| (node.name().to_owned(), node.list_containers(filter)));
        Ok(gather(questions, deadline).await)
    }
}

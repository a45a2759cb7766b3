//! A pool of named members, and the fan-out ([`gather`]) of everything that asks many nodes at once.

use std::future::Future;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, sleep_until};

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
    let mut nodes = Vec::new();
    let mut asked: FuturesUnordered<_> = questions
        .into_iter()
        .enumerate()
        .map(|(index, (node, answer))| {
            nodes.push(node);
            async move { (index, answer.await) }
        })
        .collect();
    let mut answers: Vec<_> = nodes.iter().map(|_| None).collect();
    // One timer for all: a thousand would cost more than what they time.
    let over = sleep_until(until);
    tokio::pin!(over);
    loop {
        tokio::select! {
            // What has come by the deadline counts.
            biased;
            next = asked.next() => {
                let Some((index, result)) = next else { break };
                if let Some(answer) = answers.get_mut(index) {
                    *answer = Some((result, Timestamp::now(), begun.elapsed()));
                }
            }
            () = &mut over => break,
        }
    }
    drop(asked);

    let mut listing = Listing::default();
    for (node, answer) in nodes.into_iter().zip(answers) {
        let (result, at, duration) = answer.unwrap_or_else(|| {
            let late =
                Error::new(ErrorKind::DeadlineExceeded, format!("no answer within {} s", deadline.as_secs_f64()))
                    .with_node(node.as_str())
                    .with_retry(Retry::Safe);
            (Err(late), Timestamp::now(), begun.elapsed())
        });
        let observed_at = match result {
            Ok(items) => {
                listing.items.extend(items);
                Some(at)
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

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use futures_util::future::BoxFuture;

    use super::*;

    type Question = (String, BoxFuture<'static, Result<Vec<u32>>>);

    fn after(node: &str, milliseconds: u64, answer: Result<Vec<u32>>) -> Question {
        let wait = async move {
            tokio::time::sleep(Duration::from_millis(milliseconds)).await;
            answer
        };
        (node.to_owned(), wait.boxed())
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_come_by_the_deadline_is_there_in_the_order_of_the_questions() {
        let refused = || Error::new(ErrorKind::Unavailable, "refused");
        let questions = [
            after("slow", 900, Ok(vec![1, 2])),
            after("dead", 3_600_000, Ok(vec![9])),
            after("refuses", 0, Err(refused())),
            after("quick", 5, Ok(vec![3])),
        ];
        let begun = Instant::now();
        let listing = gather(questions, Duration::from_secs(1)).await;
        assert_eq!(begun.elapsed(), Duration::from_secs(1));
        assert_eq!(listing.items, [1, 2, 3]);
        let errors: Vec<_> = listing.errors.iter().map(|error| (error.node.as_str(), error.code)).collect();
        assert_eq!(errors, [("dead", ErrorKind::DeadlineExceeded), ("refuses", ErrorKind::Unavailable)]);
        let nodes: Vec<_> = listing
            .nodes
            .iter()
            .map(|node| (node.node.as_str(), node.ok, (node.duration_seconds * 1e3) as u32))
            .collect();
        assert_eq!(nodes, [("slow", true, 900), ("dead", false, 1000), ("refuses", false, 0), ("quick", true, 5)]);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_the_deadline_when_all_have_answered() {
        let begun = Instant::now();
        let questions = (0..1000).map(|number| after(&format!("n{number}"), number % 7, Ok(vec![number as u32])));
        let listing = gather(questions, Duration::MAX).await;
        assert_eq!(begun.elapsed(), Duration::from_millis(6));
        assert_eq!(listing.items, (0..1000).collect::<Vec<_>>());
        assert!(gather::<u32, BoxFuture<'static, _>>([], Duration::ZERO).await.nodes.is_empty());
    }
}

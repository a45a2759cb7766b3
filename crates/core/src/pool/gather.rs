//! The fan-out of everything that asks many nodes at once, and what comes of it: items, errors, and how fresh each node's part is.

use std::future::Future;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep_until};

use crate::error::{Error, ErrorKind, Result, Retry};
use crate::time::Timestamp;

/// What several nodes answered together: items, errors and how fresh each node's part is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct Listing<T> {
    /// What the healthy nodes gave.
    pub items: Vec<T>,
    /// What went wrong, at most one per node.
    pub errors: Vec<NodeError>,
    /// Every node of the pool, in its order.
    pub nodes: Vec<NodeAnswer>,
}

impl<T> Default for Listing<T> {
    fn default() -> Self {
        Listing { items: Vec::new(), errors: Vec::new(), nodes: Vec::new() }
    }
}

/// What went wrong on one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct NodeError {
    /// Name of the node.
    pub node: String,
    /// What kind of error.
    pub code: ErrorKind,
    /// One line for a person.
    pub detail: String,
    /// Whether asking again is wise.
    pub retry: Retry,
}

impl NodeError {
    /// What `error` says of `node`.
    #[must_use]
    pub fn new(node: &str, error: &Error) -> Self {
        NodeError { node: node.to_owned(), code: error.kind(), detail: error.to_string(), retry: error.retry() }
    }

    /// As an error: what it was made of beyond kind and advice is in its words.
    #[must_use]
    pub fn into_error(self) -> Error {
        Error::new(self.code, self.detail).with_retry(self.retry)
    }
}

/// How one node's part of a listing came about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct NodeAnswer {
    /// Name of the node.
    pub node: String,
    /// Whether it answered.
    pub ok: bool,
    /// When its part was read; absent when it did not answer.
    pub observed_at: Option<Timestamp>,
    /// How long it took, in seconds.
    pub duration_seconds: f64,
}

impl NodeAnswer {
    /// An answer that took `duration`; `observed_at` is absent when there was none.
    #[must_use]
    pub fn new(node: &str, observed_at: Option<Timestamp>, duration: Duration) -> Self {
        NodeAnswer {
            node: node.to_owned(),
            ok: observed_at.is_some(),
            observed_at,
            duration_seconds: duration.as_secs_f64(),
        }
    }
}

/// Asks all questions at once, each of a node by its name, and answers by `deadline` with what there is.
///
/// A node that fails or has not answered is an error of the listing; its question is dropped, so it costs nothing more.
/// Items and nodes come in the order of the questions.
pub async fn gather<T, A>(questions: impl IntoIterator<Item = (String, A)>, deadline: Duration) -> Listing<T>
where
    A: Future<Output = Result<Vec<T>>>,
{
    let begun = Instant::now();
    let until = super::until(deadline);
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
            .map(|node| (node.node.as_str(), node.ok, format!("{:.3}", node.duration_seconds)))
            .collect();
        assert_eq!(
            nodes,
            [("slow", true, "0.900"), ("dead", false, "1.000"), ("refuses", false, "0.000"), ("quick", true, "0.005")]
                .map(|(node, ok, took)| (node, ok, took.to_owned()))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_the_deadline_when_all_have_answered() {
        let begun = Instant::now();
        let questions =
            (0..1000_u32).map(|number| after(&format!("n{number}"), u64::from(number % 7), Ok(vec![number])));
        let listing = gather(questions, Duration::MAX).await;
        assert_eq!(begun.elapsed(), Duration::from_millis(6));
        assert_eq!(listing.items, (0..1000).collect::<Vec<_>>());
        assert!(gather::<u32, BoxFuture<'static, _>>([], Duration::ZERO).await.nodes.is_empty());
    }
}

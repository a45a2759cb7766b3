//! Whether a node answers: asked as often as the shortest time of the rules about it needs, and told to the moment.

use std::time::{Duration, Instant};

use roadstead_core::Result;

use super::Alerts;
use super::rule::{Condition, Rule};
use super::state::OnNode;
use crate::state::within;

/// It is asked so many times within the shortest time of a rule,
const ASKS: u32 = 5;
/// but not more often than that,
const OFTEN: Duration = Duration::from_secs(1);
/// and not more seldom.
const SELDOM: Duration = Duration::from_secs(10);

/// How a node is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pace {
    /// From one question to the next.
    every: Duration,
    /// A question is given up after so long, and another one asked: the connection may be what does not answer.
    pub(super) limit: Duration,
}

impl Pace {
    pub(super) fn of(rules: &[Rule], deadline: Duration) -> Self {
        let times = rules.iter().filter_map(|rule| match rule.condition {
            Condition::NodeGone { lasting } => Some(lasting),
            _ => None,
        });
        let shortest = times.min().unwrap_or(deadline);
        Pace { every: (shortest / ASKS).clamp(OFTEN, SELDOM), limit: shortest.min(deadline) }
    }
}

/// Asks again and again. A node counts as gone from when the first question was asked that had no answer.
pub(super) async fn follow<F: Future<Output = Result<()>>>(
    ask: impl Fn() -> F,
    pace: Pace,
    on: &mut OnNode,
    alerts: &Alerts,
) {
    loop {
        let asked = now();
        let mut look = asked + pace.every;
        let mut answer = std::pin::pin!(within(pace.limit, ask()));
        let answer = loop {
            tokio::select! {
                answer = &mut answer => break answer,
                () = wait_until(on.due().unwrap_or(look)) => {
                    on.is_gone(asked);
                    alerts.tell(on.tick(now()));
                    // A moment that is over would be waited for without waiting.
                    look = now() + pace.every;
                }
            }
        };
        match answer {
            Ok(()) => on.is_here(),
            Err(error) => {
                tracing::debug!(%error, "alerts: a node does not answer");
                on.is_gone(asked);
            }
        }
        alerts.tell(on.tick(now()));
        let next = asked + pace.every;
        while let Some(due) = on.due().filter(|due| *due < next) {
            wait_until(due).await;
            alerts.tell(on.tick(now()));
        }
        wait_until(next).await;
    }
}

/// By the clock that is waited by.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

async fn wait_until(at: Instant) {
    tokio::time::sleep_until(at.into()).await;
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::StreamExt;
    use roadstead_core::EventAction;

    use super::super::rule::{AlertConfig, read};
    use super::*;

    fn rules(when: &[&str]) -> Vec<Rule> {
        let alert = |when: &&str| AlertConfig {
            name: (*when).to_owned(),
            when: (*when).to_owned(),
            nodes: Vec::new(),
            label: None,
        };
        read(&when.iter().map(alert).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn a_node_is_asked_often_enough_for_the_shortest_rule() {
        let deadline = Duration::from_secs(30);
        let pace = |when: &[&str]| {
            let pace = Pace::of(&rules(when), deadline);
            (pace.every.as_secs(), pace.limit.as_secs())
        };
        assert_eq!(pace(&["node gone for 5s"]), (1, 5));
        assert_eq!(pace(&["node gone for 1s", "node gone for 1h"]), (1, 1));
        assert_eq!(pace(&["node gone for 20s"]), (4, 20));
        assert_eq!(pace(&["node gone for 24h"]), (10, 30));
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_that_hangs_is_no_answer() {
        let alerts = Arc::new(Alerts::default());
        let mut told = alerts.follow(None, None);
        let rules = rules(&["node gone for 1s"]);
        let mut on = OnNode::new("sea", &rules);
        let asked = AtomicUsize::new(0);
        // The first question is never answered, the others are.
        let ask = || async {
            if asked.fetch_add(1, Ordering::Relaxed) == 0 {
                std::future::pending::<()>().await;
            }
            Ok(())
        };
        let following = follow(ask, Pace::of(&rules, Duration::from_hours(1)), &mut on, &alerts);
        let actions = async { [told.next().await.unwrap().action, told.next().await.unwrap().action] };
        tokio::select! {
            () = following => {}
            actions = actions => assert_eq!(actions, [EventAction::AlertRaised, EventAction::AlertCleared]),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_hangs_on_is_looked_at_in_steps() {
        let alerts = Arc::new(Alerts::default());
        let mut told = alerts.follow(None, None);
        let rules = rules(&["node gone for 5s"]);
        let mut on = OnNode::new("sea", &rules);
        let asked = AtomicUsize::new(0);
        // No question is ever answered. Each look polls the question again, and five of them fit into its time.
        let ask = || {
            asked.fetch_add(1, Ordering::Relaxed);
            let mut polls = 0;
            std::future::poll_fn(move |_| {
                polls += 1;
                assert!(polls < 20, "it is looked at without a pause");
                std::task::Poll::Pending
            })
        };
        let following = follow(ask, Pace::of(&rules, Duration::from_secs(30)), &mut on, &alerts);
        assert!(tokio::time::timeout(Duration::from_secs(59), following).await.is_err());
        assert_eq!(told.next().await.unwrap().action, EventAction::AlertRaised);
        assert_eq!(asked.load(Ordering::Relaxed), 12);
    }
}

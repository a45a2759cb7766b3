//! What it takes to empty a member: where each of its containers goes, and how.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::timeout_at;

use super::capacity::capacity;
use super::place::{allowed, enough, ranked, told};
use super::{Candidate, Member, Placement, gather, no_such_node, until};
use crate::container::{ContainerFilter, ContainerSummary};
use crate::error::{Error, ErrorKind, Result, Retry};
use crate::migration::{self, MovePlan, MoveSpec};

/// How a member is emptied.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DrainOptions {
    /// Where its containers may go.
    pub placement: Placement,
    /// Which of its containers go; all of them by default.
    pub filter: ContainerFilter,
    /// How each is moved; which one, and its name, are set for each.
    pub spec: MoveSpec,
    /// By when the plan is there (default 60 s): what is not planned by then stays.
    pub deadline: Duration,
}

impl Default for DrainOptions {
    fn default() -> Self {
        DrainOptions {
            placement: Placement::default(),
            filter: ContainerFilter::all(),
            spec: MoveSpec::default(),
            deadline: Duration::from_secs(60),
        }
    }
}

/// A container that goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct PlannedMove {
    /// Why to that member.
    pub reason: String,
    /// Members that were better, and why it does not go there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rejected: Vec<Candidate>,
    /// What is done.
    pub plan: MovePlan,
}

/// A container that cannot go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct Staying {
    /// The engine's id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Why it stays.
    pub reason: String,
    /// The members, and why it goes to none of them.
    pub rejected: Vec<Candidate>,
}

/// What it takes to empty a member. Nothing of it is done yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct DrainPlan {
    /// Name of the node.
    pub node: String,
    /// The containers that go.
    pub moves: Vec<PlannedMove>,
    /// The containers that stay.
    pub stays: Vec<Staying>,
}

pub(super) async fn plan(members: &[Member], node: &str, options: &DrainOptions) -> Result<DrainPlan> {
    options.placement.validate()?;
    options.filter.validate()?;
    let until = until(options.deadline);
    let drained = members.iter().find(|member| member.name() == node).ok_or_else(|| no_such_node(node))?;
    let late = || {
        Error::new(ErrorKind::DeadlineExceeded, format!("no answer within {} s", options.deadline.as_secs_f64()))
            .with_retry(Retry::Safe)
            .with_node(node)
    };
    let containers = timeout_at(until, drained.node.list_containers(&options.filter)).await.map_err(|_| late())??;
    let others: Vec<&Member> = members.iter().filter(|member| member.name() != node).collect();
    // Half of the time at most: a member that does not answer is no target, and the plans take time, too.
    let targets = targets(&others, &options.placement, options.deadline / 2).await;
    let mut drain = Drain { drained, others, targets, options };
    let mut plan = DrainPlan { node: node.to_owned(), moves: Vec::new(), stays: Vec::new() };
    for container in containers {
        match timeout_at(until, drain.one(&container)).await {
            Ok(Ok(planned)) => plan.moves.push(planned),
            Ok(Err(staying)) => plan.stays.push(staying),
            Err(_) => plan.stays.push(Staying {
                id: container.id,
                name: container.name,
                reason: format!("was not planned within {} s", options.deadline.as_secs_f64()),
                rejected: Vec::new(),
            }),
        }
    }
    Ok(plan)
}

/// What the other members have and use.
async fn targets(others: &[&Member], placement: &Placement, deadline: Duration) -> Vec<Candidate> {
    let questions = others.iter().map(|member| {
        let name = member.name().to_owned();
        (name.clone(), async move {
            let considered = match allowed(member, placement) {
                Err(reason) => Err(reason),
                Ok(()) => capacity(&*member.node).await.map_err(|error| error.message().to_owned()),
            };
            Ok(vec![match considered {
                Ok(capacity) => Candidate { node: name, fits: true, reason: told(&capacity), capacity: Some(capacity) },
                Err(reason) => Candidate { node: name, fits: false, reason, capacity: None },
            }])
        })
    });
    let listing = gather(questions, deadline).await;
    let late = listing.errors.iter().map(|error| Candidate {
        node: error.node.clone(),
        fits: false,
        reason: error.detail.clone(),
        capacity: None,
    });
    listing.items.into_iter().chain(late).collect()
}

struct Drain<'a> {
    drained: &'a Member,
    others: Vec<&'a Member>,
    /// What they will have and use once all that is planned has come.
    targets: Vec<Candidate>,
    options: &'a DrainOptions,
}

impl Drain<'_> {
    /// Where one container goes: to the best member for which a move can be planned.
    async fn one(&mut self, container: &ContainerSummary) -> Result<PlannedMove, Staying> {
        let staying = |reason: String, rejected: Vec<Candidate>| Staying {
            id: container.id.clone(),
            name: container.name.clone(),
            reason,
            rejected,
        };
        let wanted = match self.options.placement.memory_bytes {
            Some(wanted) => Some(wanted),
            None => match self.drained.node.container(&container.id).inspect().await {
                Ok(details) => details.spec.limits.memory_bytes,
                Err(error) => return Err(staying(error.message().to_owned(), Vec::new())),
            },
        };
        let considered = self.targets.iter().map(|target| {
            let mut candidate = target.clone();
            if let Some(Err(reason)) = candidate.capacity.as_ref().map(|capacity| enough(wanted, capacity)) {
                candidate.fits = false;
                candidate.reason = reason;
            }
            candidate
        });
        let decision = ranked(self.options.placement.strategy, considered.collect());
        let mut rejected = Vec::new();
        for mut candidate in decision.candidates {
            let member = self.others.iter().find(|member| member.name() == candidate.node);
            let Some(member) = member.filter(|_| candidate.fits) else {
                rejected.push(candidate);
                continue;
            };
            let spec = MoveSpec { container: container.id.clone(), new_name: None, ..self.options.spec.clone() };
            match migration::plan(&self.drained.node, &member.node, &spec).await {
                Ok(plan) => {
                    self.expect(&candidate.node, wanted);
                    return Ok(PlannedMove { reason: candidate.reason, rejected, plan });
                }
                Err(error) => {
                    candidate.fits = false;
                    candidate.reason = error.message().to_owned();
                    rejected.push(candidate);
                }
            }
        }
        let reason = match rejected.as_slice() {
            [] => "the pool has no other member".to_owned(),
            _ => "no other member may take it".to_owned(),
        };
        Err(staying(reason, rejected))
    }

    /// What comes is counted before it is there, so that not all go to the same member.
    fn expect(&mut self, node: &str, wanted: Option<u64>) {
        let target = self.targets.iter_mut().find(|target| target.node == node);
        let Some(Candidate { capacity: Some(capacity), reason, .. }) = target else { return };
        capacity.containers = capacity.containers.saturating_add(1);
        let taken = wanted.unwrap_or_default();
        capacity.memory_free_bytes = capacity.memory_free_bytes.map(|free| free.saturating_sub(taken));
        *reason = format!("will have {}", told(capacity).trim_start_matches("has "));
    }
}

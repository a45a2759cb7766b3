//! The choice of a member for a new container: which may take it, which is best, and why.

use std::cmp::Reverse;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::capacity::capacity;
use super::{Member, NodeCapacity, gather, until};
use crate::capabilities::Capability;
use crate::container::{ContainerFilter, ContainerSpec, LabelSelector};
use crate::error::{Error, ErrorKind, Result, Retry};
use crate::names;
use crate::node::CreatedContainer;

/// Which of the members that may take a container is best.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub enum Strategy {
    /// That with the fewest containers; of these, that with the most free memory.
    #[default]
    Spread,
    /// That with the least free memory which is still enough, so that others stay empty; where memory is not known, that with the most
    /// containers.
    Pack,
}

/// Where a container may be made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Placement {
    /// Which member is best.
    pub strategy: Strategy,
    /// Only members with all of these labels.
    pub labels: Vec<LabelSelector>,
    /// Only these members; all when empty.
    pub nodes: Vec<String>,
    /// Only members with so many bytes of free memory; the memory limit of the container when absent.
    pub memory_bytes: Option<u64>,
}

impl Placement {
    /// By this strategy, anywhere.
    #[must_use]
    pub fn by(strategy: Strategy) -> Self {
        Placement { strategy, ..Placement::default() }
    }

    /// Checks everything that can be known without an engine.
    ///
    /// # Errors
    /// `InvalidInput` that names the field.
    pub fn validate(&self) -> Result<()> {
        for label in &self.labels {
            names::label_key("labels", &label.key)?;
            names::no_nul("labels", label.value.as_deref().unwrap_or_default())?;
        }
        for node in &self.nodes {
            names::existing("nodes", node)?;
        }
        Ok(())
    }
}

/// One member, and whether it may take the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct Candidate {
    /// Name of the node.
    pub node: String,
    /// Whether it may take it.
    pub fits: bool,
    /// Why it may, or may not.
    pub reason: String,
    /// What it has and uses, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<NodeCapacity>,
}

impl Candidate {
    fn rejected(node: &str, reason: impl Into<String>) -> Self {
        Candidate { node: node.to_owned(), fits: false, reason: reason.into(), capacity: None }
    }
}

/// What was chosen, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct Decision {
    /// The member that was chosen; absent when none may take the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Why that one, or why none.
    pub reason: String,
    /// Every member: those that may take it, best first, then the others.
    pub candidates: Vec<Candidate>,
}

/// A container that was made on a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct PlacedContainer {
    /// Name of the node that it is on.
    pub node: String,
    /// What was made.
    pub container: CreatedContainer,
    /// Why there.
    pub decision: Decision,
}

pub(super) async fn decide(
    members: &[Member],
    spec: &ContainerSpec,
    placement: &Placement,
    deadline: Duration,
) -> Result<Decision> {
    placement.validate()?;
    spec.validate()?;
    let wanted = placement.memory_bytes.or(spec.limits.memory_bytes);
    let questions = members.iter().map(|member| {
        let name = member.name().to_owned();
        (name, async move { Ok(vec![consider(member, spec, placement, wanted).await]) })
    });
    let listing = gather(questions, deadline).await;
    let late = listing.errors.iter().map(|error| Candidate::rejected(&error.node, error.detail.clone()));
    Ok(ranked(placement.strategy, listing.items.into_iter().chain(late).collect()))
}

/// The candidates in their order, and the first as the choice.
pub(super) fn ranked(strategy: Strategy, mut candidates: Vec<Candidate>) -> Decision {
    // Stable: of equals the first member of the pool comes first.
    candidates.sort_by_key(|candidate| {
        let capacity = candidate.capacity.clone().unwrap_or_default();
        let free = capacity.memory_free_bytes;
        let rank = match strategy {
            Strategy::Spread => (capacity.containers, Reverse(free.unwrap_or_default()), Reverse(0)),
            // What is not known may be nothing.
            Strategy::Pack => (free.unwrap_or(u64::MAX), Reverse(0), Reverse(capacity.containers)),
        };
        (!candidate.fits, rank)
    });
    let fits = candidates.iter().filter(|candidate| candidate.fits).count();
    match candidates.first().filter(|first| first.fits) {
        Some(first) => Decision {
            node: Some(first.node.clone()),
            reason: format!("{} ({} of {fits} that may take it)", first.reason, word(strategy)),
            candidates,
        },
        None => {
            let reasons: Vec<_> =
                candidates.iter().map(|candidate| format!("{}: {}", candidate.node, candidate.reason)).collect();
            let reason = if reasons.is_empty() {
                "the pool has no members".to_owned()
            } else {
                format!("no member may take it: {}", reasons.join("; "))
            };
            Decision { node: None, reason, candidates }
        }
    }
}

const fn word(strategy: Strategy) -> &'static str {
    match strategy {
        Strategy::Spread => "the least full",
        Strategy::Pack => "the fullest",
    }
}

/// Whether one member may take it. What needs no I/O comes first.
async fn consider(member: &Member, spec: &ContainerSpec, placement: &Placement, wanted: Option<u64>) -> Candidate {
    let name = member.name();
    match allowed(member, placement) {
        Err(reason) => Candidate::rejected(name, reason),
        Ok(()) => match fitting(member, spec, wanted).await {
            Ok(capacity) => {
                Candidate { node: name.to_owned(), fits: true, reason: told(&capacity), capacity: Some(capacity) }
            }
            Err((error, capacity)) => {
                Candidate { node: name.to_owned(), fits: false, reason: error, capacity: capacity.map(|known| *known) }
            }
        },
    }
}

/// Whether containers of this placement may go to a member at all.
pub(super) fn allowed(member: &Member, placement: &Placement) -> Result<(), String> {
    if !placement.nodes.is_empty() && !placement.nodes.iter().any(|node| node == member.name()) {
        return Err("is not one of the nodes that are asked for".to_owned());
    }
    if let Some(reason) = &member.cordon {
        return Err(format!("takes no new containers: {reason}"));
    }
    if let Some(label) = placement.labels.iter().find(|label| !label.matches(&member.labels)) {
        return Err(match &label.value {
            Some(value) => format!("has no label {}={value}", label.key),
            None => format!("has no label {}", label.key),
        });
    }
    let capable = member.node.capabilities().require(Capability::Create);
    capable.map_err(|error| error.message().to_owned())
}

type Unfit = (String, Option<Box<NodeCapacity>>);

async fn fitting(member: &Member, spec: &ContainerSpec, wanted: Option<u64>) -> Result<NodeCapacity, Unfit> {
    let node = &member.node;
    let plain = |error: Error| (error.message().to_owned(), None);
    node.check_container(spec).await.map_err(plain)?;
    if let Some(name) = &spec.name {
        let filter = ContainerFilter { names: vec![name.clone()], ..ContainerFilter::default() };
        if !node.list_containers(&filter).await.map_err(plain)?.is_empty() {
            return Err((format!("has a container {name} already"), None));
        }
    }
    let capacity = capacity(&**node).await.map_err(plain)?;
    let enough = enough(wanted, &capacity);
    enough.map_err(|reason| (reason, Some(Box::new(capacity.clone()))))?;
    Ok(capacity)
}

/// Whether a member has the memory. One of which it is not known is not turned away: it tells no numbers, but may have plenty.
pub(super) fn enough(wanted: Option<u64>, capacity: &NodeCapacity) -> Result<(), String> {
    match (wanted, capacity.memory_free_bytes.or(capacity.memory_bytes)) {
        (Some(wanted), Some(free)) if free < wanted => {
            Err(format!("has {free} bytes of free memory, and {wanted} are asked for"))
        }
        _ => Ok(()),
    }
}

/// What speaks for a member, in words.
pub(super) fn told(capacity: &NodeCapacity) -> String {
    let memory = match capacity.memory_free_bytes {
        Some(free) => format!("{free} bytes of free memory"),
        None => "free memory that is not known".to_owned(),
    };
    format!("has {} containers and {memory}", capacity.containers)
}

pub(super) async fn create(
    members: &[Member],
    spec: &ContainerSpec,
    placement: &Placement,
    deadline: Duration,
) -> Result<PlacedContainer> {
    let until = until(deadline);
    // A member that never answers takes all the time that there is to choose, and making it needs some, too.
    let mut decision = decide(members, spec, placement, deadline / 2).await?;
    let mut refused = Vec::new();
    for index in 0..decision.candidates.len() {
        let Some(candidate) = decision.candidates.get(index).filter(|candidate| candidate.fits) else { continue };
        let Some(member) = members.iter().find(|member| member.name() == candidate.node) else { continue };
        let made = tokio::time::timeout_at(until, member.node.create_container(spec)).await.unwrap_or_else(|_| {
            let words = format!("no answer within {} s", deadline.as_secs_f64());
            Err(Error::new(ErrorKind::DeadlineExceeded, words).with_retry(Retry::Unknown))
        });
        match made {
            Ok(container) => {
                let node = candidate.node.clone();
                if decision.node.as_ref() != Some(&node) {
                    decision.reason = format!("{} (after {})", candidate.reason, refused.join("; "));
                    decision.node = Some(node.clone());
                }
                return Ok(PlacedContainer { node, container, decision });
            }
            // Nothing was made: another may take it. Whatever else may have happened is for the caller to look at.
            Err(error) if error.retry() == Retry::Safe || error.kind() == ErrorKind::AlreadyExists => {
                refused.push(format!("{}: {}", candidate.node, error.message()));
                if let Some(candidate) = decision.candidates.get_mut(index) {
                    candidate.fits = false;
                    candidate.reason = error.message().to_owned();
                }
            }
            Err(error) => return Err(error.with_node(member.name())),
        }
    }
    let reason =
        if refused.is_empty() { decision.reason } else { format!("no member took it: {}", refused.join("; ")) };
    Err(Error::new(ErrorKind::Conflict, reason).with_operation("pool.create_container"))
}

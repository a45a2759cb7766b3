//! What it takes to relieve the members that bear too much: for each of them one container that goes, and how.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::load::{Criterion, MemberLoad, Outlook};
use super::place::allowed;
use super::{DrainOptions, Member, Placement, PlannedMove, drain, until};
use crate::container::ContainerFilter;
use crate::error::{Error, Result};
use crate::migration::MoveSpec;

/// So many ways are tried for each member: each asks the engines.
const TRIES: usize = 16;

/// When a member bears too much, and what may be done about it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReliefOptions {
    /// By what.
    pub criterion: Criterion,
    /// It bears too much when its processors are busier than this (default 80).
    pub cpu_percent: f64,
    /// It bears too much when it answers later than this over the network (default 100).
    pub latency_ms: f64,
    /// A member takes something only when it stays this much below the thresholds with it, in percent of them (default 10): what is
    /// moved to and fro is no relief.
    pub margin_percent: f64,
    /// Containers that stay, by id or name: those that were moved lately.
    pub resting: BTreeSet<String>,
    /// Where containers may go.
    pub placement: Placement,
    /// How each is moved; which one, and its name, are set for each.
    pub spec: MoveSpec,
    /// By when the plan is there (default 60 s): a member for which there is none by then is told as one that stays as it is.
    pub deadline: Duration,
}

impl Default for ReliefOptions {
    fn default() -> Self {
        ReliefOptions {
            criterion: Criterion::default(),
            cpu_percent: 80.0,
            latency_ms: 100.0,
            margin_percent: 10.0,
            resting: BTreeSet::new(),
            placement: Placement::default(),
            spec: MoveSpec::default(),
            deadline: Duration::from_secs(60),
        }
    }
}

impl ReliefOptions {
    /// By this criterion, everything else by default.
    #[must_use]
    pub fn by(criterion: Criterion) -> Self {
        ReliefOptions { criterion, ..ReliefOptions::default() }
    }

    /// Checks everything that can be known without an engine.
    ///
    /// # Errors
    /// `InvalidInput` that names the field.
    pub fn validate(&self) -> Result<()> {
        for (field, value, most) in [
            ("cpu_percent", self.cpu_percent, 100.0),
            ("latency_ms", self.latency_ms, 3_600_000.0),
            ("margin_percent", self.margin_percent, 99.0),
        ] {
            let is_margin = field == "margin_percent";
            // What is no number is in no range.
            if !(0.0..=most).contains(&value) || (value == 0.0 && !is_margin) {
                let least = if is_margin { "from 0" } else { "above 0" };
                return Err(Error::invalid(field, format!("must be {least} and at most {most}")));
            }
        }
        self.placement.validate()
    }
}

/// What it takes to relieve the members that bear too much. Nothing of it is done yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct Relief {
    /// The containers that go, at most one of each member.
    pub moves: Vec<PlannedMove>,
    /// The members that bear too much and of which nothing goes.
    pub strained: Vec<Strained>,
}

/// A member that bears too much, and stays as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct Strained {
    /// Name of the node.
    pub node: String,
    /// What it bears, and why nothing of it goes.
    pub reason: String,
}

pub(super) async fn plan(members: &[Member], loads: &[MemberLoad], options: &ReliefOptions) -> Result<Relief> {
    options.validate()?;
    let until = until(options.deadline);
    let is_member = |load: &&MemberLoad| members.iter().any(|member| member.name() == load.node);
    let loads: Vec<MemberLoad> = loads.iter().filter(is_member).cloned().collect();
    let mut outlook = Outlook::new(&loads, options);
    let mut relief = Relief::default();
    let strained: Vec<_> =
        members.iter().filter_map(|member| Some((member.name(), outlook.why(member.name())?))).collect();
    for (index, (node, why)) in strained.iter().enumerate() {
        // One that does not answer takes no more than its share of the time.
        let share =
            until.saturating_duration_since(Instant::now()) / u32::try_from(strained.len() - index).unwrap_or(1);
        match one(members, node, &mut outlook, options, Instant::now() + share).await {
            Ok(mut planned) => {
                planned.reason = format!("{node}: {why}; {}", planned.reason);
                relief.moves.push(planned);
            }
            Err(reason) => {
                relief.strained.push(Strained { node: (*node).to_owned(), reason: format!("{why}; {reason}") });
            }
        }
    }
    Ok(relief)
}

/// The best move off one member that can be planned; why there is none.
async fn one(
    members: &[Member],
    node: &str,
    outlook: &mut Outlook<'_>,
    options: &ReliefOptions,
    until: Instant,
) -> Result<PlannedMove, String> {
    let choices = outlook.choices(node)?;
    let mut refused = Vec::new();
    let mut barred = Vec::new();
    for member in members.iter().filter(|member| member.name() != node) {
        if let Err(reason) = allowed(member, &options.placement) {
            if choices.iter().any(|choice| choice.targets.iter().any(|(target, _)| target == member.name())) {
                refused.push(format!("{} {reason}", member.name()));
            }
            barred.push(member.name());
        }
    }
    let mut ways = Vec::new();
    for choice in &choices {
        let may_go = choice.targets.iter().filter(|(target, _)| !barred.contains(&target.as_str()));
        ways.extend(may_go.map(|target| (choice, target)));
    }
    for (choice, (target, reason)) in ways.into_iter().take(TRIES) {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            refused.push(format!("nothing was planned within {} s", options.deadline.as_secs_f64()));
            break;
        }
        let container = &choice.container;
        let drain = DrainOptions {
            placement: Placement { nodes: vec![target.clone()], ..options.placement.clone() },
            filter: ContainerFilter { ids: vec![container.id.clone()], ..ContainerFilter::default() },
            spec: options.spec.clone(),
            deadline: left,
        };
        match drain::plan(members, node, &drain).await {
            Ok(mut plan) => {
                if let Some(mut planned) = plan.moves.pop() {
                    planned.reason = format!("{} goes to {target}, which {reason}", container.name);
                    outlook.expect(choice, target);
                    return Ok(planned);
                }
                let stays = plan.stays.pop();
                let of_target = stays.as_ref().and_then(|stays| {
                    let candidate = stays.rejected.iter().find(|candidate| &candidate.node == target)?;
                    Some(candidate.reason.as_str())
                });
                let reason = of_target.or(stays.as_ref().map(|stays| stays.reason.as_str()));
                refused.push(format!(
                    "{} does not go to {target}: {}",
                    container.name,
                    reason.unwrap_or("it is not there any more")
                ));
            }
            // The member itself does not tell what it has: nothing else of it can be planned either.
            Err(error) => {
                refused.push(error.message().to_owned());
                break;
            }
        }
    }
    Err(refused.join("; "))
}

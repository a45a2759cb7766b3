//! What is really there: the source, the copy, and which of the two is the container.

use std::sync::Arc;

use super::forward::at_rest;
use super::record::{CopyState, MARK, MoveRecord, Stopped};
use super::step::Step;
use crate::container::{Container, ContainerDetails, ContainerFilter, LabelSelector};
use crate::error::{Error, ErrorKind, Result};
use crate::node::Node;

/// Where the source of a move is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourcePlace {
    /// Under its own name: the commit was not made.
    Own,
    /// Under the name that the commit gave it.
    Retired,
    /// Nowhere.
    Gone,
}

/// Which of two nodes has the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The node that it comes from.
    Source,
    /// The node that it goes to.
    Target,
}

/// Which side has the one runnable copy, whatever was cut: the source as long as it bears its own name, afterwards the
/// target. None only when neither is there, which no cut of a move can bring about, but somebody who deletes them. Of a move
/// that is lost neither is: it is for a person to say what is what.
///
/// A container that is not the runnable copy does not run, and no engine starts it by itself.
#[must_use]
pub fn runnable_copy(source: SourcePlace, target_has_copy: bool) -> Option<Side> {
    match source {
        SourcePlace::Own => Some(Side::Source),
        SourcePlace::Retired | SourcePlace::Gone => target_has_copy.then_some(Side::Target),
    }
}

/// The source as it was found.
#[derive(Clone, Debug)]
pub(super) enum Source {
    Own(Box<ContainerDetails>),
    Retired(Box<ContainerDetails>),
    Gone,
}

/// What bears the name on the target.
#[derive(Clone, Debug)]
pub(super) enum Target {
    Absent,
    /// It bears our mark.
    Copy(Box<ContainerDetails>),
    /// It is not ours.
    Foreign,
}

async fn find(node: &dyn Node, name: &str) -> Result<Option<Box<ContainerDetails>>> {
    match node.container(name).inspect().await {
        // Engines find containers by the beginning of an id, too; only the name counts here.
        Ok(details) => Ok(Some(Box::new(details)).filter(|details| details.summary.name == name)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Where the source of the move is now.
///
/// # Errors
/// When the node does not tell.
pub async fn source_place(record: &MoveRecord, node: &dyn Node) -> Result<SourcePlace> {
    Ok(match source(record, node).await? {
        Source::Own(_) => SourcePlace::Own,
        Source::Retired(_) => SourcePlace::Retired,
        Source::Gone => SourcePlace::Gone,
    })
}

/// Whether the target has the copy of the move now.
///
/// # Errors
/// When the node does not tell.
pub async fn target_has_copy(record: &MoveRecord, node: &dyn Node) -> Result<bool> {
    Ok(matches!(target(record, node).await?, Target::Copy(_)))
}

pub(super) async fn source(record: &MoveRecord, node: &dyn Node) -> Result<Source> {
    // Somebody may have given the name to another container: after the commit, or having deleted the source.
    if let Some(own) = find(node, &record.plan.container).await?.filter(|own| !is_another(record, own)) {
        return Ok(Source::Own(own));
    }
    Ok(find(node, &record.retired_name()).await?.map_or(Source::Gone, Source::Retired))
}

/// Whether what bears the source's name is known to be another container than the one that is moved.
pub(super) fn is_another(record: &MoveRecord, own: &ContainerDetails) -> bool {
    matches!((record.source_created_at, own.summary.created_at), (Some(before), Some(now)) if before != now)
}

/// Whether the move can go neither forward nor back: before the commit, when the source is gone, whatever the target has, since
/// somebody else took the source and may have gone on with it; afterwards, when the copy is gone, and was the container already
/// or the source is gone, too.
pub(super) async fn is_lost(record: &MoveRecord, from: &dyn Node, to: &dyn Node) -> Result<bool> {
    let committed = record.is_done(Step::RetireSource);
    // From one look to the next a rename that is on its way may hide it; it cannot do so twice.
    for _ in 0..2 {
        if committed {
            if matches!(target(record, to).await?, Target::Copy(_)) {
                return Ok(false);
            }
            if record.copy == CopyState::Started {
                continue;
            }
        }
        if !matches!(source(record, from).await?, Source::Gone) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether the copy, which is not under its name, bears another one and was started: by its owner, who gave it that.
pub(super) async fn went_on_elsewhere(record: &MoveRecord, node: &dyn Node) -> Result<bool> {
    let mut filter = ContainerFilter::all();
    filter.labels.push(LabelSelector::equals(MARK, record.id()));
    for found in node.list_containers(&filter).await? {
        match node.container(&found.id).inspect().await {
            Ok(copy) if record.copy == CopyState::Useless && !at_rest(copy.summary.state) => return Ok(true),
            Ok(copy) if record.copy != CopyState::Useless && has_run(&copy) => return Ok(true),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

/// Whether it runs, or ran before.
pub(super) fn has_run(details: &ContainerDetails) -> bool {
    details.summary.state.has_processes() || details.started_at.is_some()
}

pub(super) async fn target(record: &MoveRecord, node: &dyn Node) -> Result<Target> {
    Ok(match find(node, &record.plan.name).await? {
        None => Target::Absent,
        Some(found) if is_marked(record, &found) => Target::Copy(found),
        Some(_) => Target::Foreign,
    })
}

fn is_marked(record: &MoveRecord, details: &ContainerDetails) -> bool {
    details.summary.labels.get(MARK).is_some_and(|mark| mark == record.id())
}

impl Stopped {
    pub(super) fn of(details: &ContainerDetails) -> Self {
        Stopped { started_at: details.started_at, finished_at: details.finished_at }
    }
}

/// A handle on what was inspected: by name, since some engines know nothing else, and others shorten ids.
pub(super) fn handle(node: &dyn Node, details: &ContainerDetails) -> Arc<dyn Container> {
    node.container(&details.summary.name)
}

/// The copy's name is taken by something that is not ours.
pub(super) fn taken(record: &MoveRecord) -> Error {
    Error::new(
        ErrorKind::AlreadyExists,
        format!("the target has a container {} that does not belong to this move", record.plan.name),
    )
    .with_resource(record.plan.name.clone())
}

/// Neither side has the container: see [`is_lost`].
pub(super) fn lost(record: &MoveRecord) -> Error {
    Error::new(
        ErrorKind::NotFound,
        format!(
            "the container {} is on neither side any more: it was deleted, or renamed, during the move",
            record.plan.container
        ),
    )
    .with_resource(record.plan.container.clone())
}

/// Neither the source nor a complete copy is where it should be.
pub(super) fn source_gone(record: &MoveRecord) -> Error {
    Error::new(
        ErrorKind::NotFound,
        format!(
            "the container {} is not on the source any more, under this name or {}",
            record.plan.container,
            record.retired_name()
        ),
    )
    .with_resource(record.plan.container.clone())
}

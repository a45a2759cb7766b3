//! What is done to containers: COPA's verbs in our words.

use std::sync::Arc;
use std::time::Duration;

use actix_web::{HttpRequest, web};
use roadstead_core::migration::{MoveSpec, MoveState, Step};
use roadstead_core::{
    ContainerSpec, ContainerState, DeleteOptions, Error, ErrorKind, JobSpec, Node, OutputKind, OutputOptions, Result,
    StopOptions,
};

use super::answer::Refusal;
use super::container::Known;
use super::image::Found;
use crate::auth::Role;
use crate::dialects::changing;
use crate::envelope::request_id;
use crate::nodes::NodeSlot;
use crate::state::{App, within};

/// A verb that needs nothing but the container.
#[derive(Clone, Copy, Debug)]
pub(super) enum Verb {
    Start,
    Stop,
    Freeze,
    Unfreeze,
    Delete,
}

impl Verb {
    pub(super) fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "start" => Verb::Start,
            "stop" => Verb::Stop,
            "freeze" => Verb::Freeze,
            "unfreeze" => Verb::Unfreeze,
            "delete" => Verb::Delete,
            _ => return None,
        })
    }

    const fn operation(self) -> &'static str {
        match self {
            Verb::Start => "copa.container.start",
            Verb::Stop => "copa.container.stop",
            Verb::Freeze => "copa.container.freeze",
            Verb::Unfreeze => "copa.container.unfreeze",
            Verb::Delete => "copa.container.delete",
        }
    }
}

/// Whether a new container is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    Yes,
    No,
}

fn target(known: &Known) -> [(&'static str, &str); 2] {
    [("node", known.slot.name()), ("container", known.summary.name.as_str())]
}

/// What LXD says of a container that is as the verb would leave it, or is in its way. Core's verbs do nothing then, and COPA's clients
/// are used to being told.
const fn refused(verb: Verb, state: ContainerState) -> Option<&'static str> {
    match (verb, state) {
        (Verb::Start | Verb::Unfreeze, ContainerState::Running) => Some("The container is already running"),
        (Verb::Stop, ContainerState::Stopped | ContainerState::Created) => Some("The container is already stopped"),
        (Verb::Freeze, ContainerState::Frozen) => Some("The container is already frozen"),
        (Verb::Delete, ContainerState::Running | ContainerState::Frozen) => Some("The container is currently running"),
        _ => None,
    }
}

/// A container that went away meanwhile is one that is not there.
pub(super) fn of_container(error: Error) -> Refusal {
    if error.kind() == ErrorKind::NotFound { Refusal::no_container() } else { error.into() }
}

/// Does it.
pub(super) async fn act(app: &web::Data<App>, req: &HttpRequest, known: &Known, verb: Verb) -> Result<(), Refusal> {
    let container = known.handle(app).await?;
    let work = async move {
        // Not by the list, which may be late for what happens past the server.
        if let Some(words) = refused(verb, container.inspect().await?.summary.state) {
            return Err(Error::new(ErrorKind::Conflict, words));
        }
        match verb {
            Verb::Start => container.start().await,
            // COPA's stops are by force.
            Verb::Stop => container.stop(&StopOptions::after_seconds(0)).await,
            Verb::Freeze => container.freeze().await,
            Verb::Unfreeze => container.unfreeze().await,
            Verb::Delete => container.delete(&DeleteOptions::default()).await,
        }
    };
    changing(app, req, Role::Operate, verb.operation(), &target(known), work).await.map_err(of_container)
}

/// Makes a container of an image, which is brought to the node where that does not have it. Gives what went wrong after it was made.
pub(super) async fn create(
    app: &web::Data<App>,
    req: &HttpRequest,
    slot: &Arc<NodeSlot>,
    name: &str,
    alias: &str,
    images: Vec<Found>,
    start: Start,
) -> Result<Option<String>, Refusal> {
    roadstead_core::names::container_name("container_name", name)?;
    let (of_app, to, of_name, alias) = (app.clone(), Arc::clone(slot), name.to_owned(), alias.to_owned());
    let work = async move {
        let node = to.node(of_app.deadline()).await?;
        let reference = within(of_app.archive_deadline(), brought(&of_app, &*node, &images, &alias)).await?;
        let spec = ContainerSpec::new(reference).name(of_name);
        let made = node.create_container(&spec).await?;
        if start == Start::No {
            return Ok(None);
        }
        // COPA does not wait for the start: that it fails is no failure of the creation.
        Ok(node.container(&made.id).start().await.err().map(|error| error.message().to_owned()))
    };
    let target = [("node", slot.name()), ("container", name)];
    Ok(changing(app, req, Role::Operate, "copa.container.create", &target, work).await?)
}

/// Brings the first of these images to a node that it takes: what is of another kind of engine is of no use to it. What the first one said
/// is told where there is none.
async fn brought(app: &App, node: &dyn Node, images: &[Found], alias: &str) -> Result<String> {
    let mut refused = None;
    for image in images {
        let brought = async {
            let from = image.slot.node(app.deadline()).await?;
            roadstead_core::bring_image(&*from, node, &image.id, alias).await
        };
        match brought.await {
            Ok(reference) => return Ok(reference),
            Err(error) => drop(refused.get_or_insert(error)),
        }
    }
    Err(refused.unwrap_or_else(|| Error::not_found("image", alias)))
}

/// Moves a container to another pool, and waits for it. Gives what is left of the source, if something is.
pub(super) async fn migrate(
    app: &web::Data<App>,
    req: &HttpRequest,
    known: &Known,
    to: &Arc<NodeSlot>,
) -> Result<Option<String>, Refusal> {
    if known.slot.name() == to.name() {
        return Err(Refusal::new("The container is in that pool already"));
    }
    let spec = MoveSpec::new(&known.summary.id);
    let (of_app, from, to_name) = (app.clone(), known.slot.name().to_owned(), to.name().to_owned());
    let id = request_id(req);
    let work = async move {
        let plan = of_app.moves.plan(&of_app, &from, &to_name, &spec).await?;
        let move_id = plan.id.clone();
        let job = of_app.moves.begin(&of_app, plan, id).await?;
        let wait = of_app.archive_deadline();
        tokio::select! {
            ended = job.wait(wait) => ended.map(drop).map_err(|error| error.with_resource(move_id.clone()))?,
            () = of_app.ending() => {
                let words = format!("the server ends; the migration {move_id} goes on when it is started again");
                return Err(Error::new(ErrorKind::Unavailable, words));
            }
        }
        outcome(&of_app, &move_id).await
    };
    let mut target = target(known).to_vec();
    target.push(("destination", to.name()));
    Ok(changing(app, req, Role::Operate, "copa.container.migrate", &target, work).await?)
}

/// What came of a move: from the moment at which the copy is the one that counts, it has succeeded.
async fn outcome(app: &App, id: &str) -> Result<Option<String>> {
    let (record, _) = app.moves.get(id).await?;
    let why = || record.failure.as_ref().map_or_else(|| record.notes.join("; "), |failure| failure.detail.clone());
    let is_over = |step: Step| record.steps.iter().any(|known| known.step == step && known.finished_at.is_some());
    match record.state {
        MoveState::Done => Ok(None),
        MoveState::Moving if is_over(Step::StartTarget) || (is_over(Step::RetireSource) && !record.ran) => {
            Ok(Some(why()))
        }
        _ => Err(Error::new(ErrorKind::Unexpected, format!("the migration {id} failed: {}", why()))),
    }
}

/// What a command gave.
pub(super) struct Ran {
    pub(super) exit_code: i32,
    pub(super) stdout: String,
    pub(super) stderr: String,
    /// So much of the beginning of both is not there any more.
    pub(super) dropped_bytes: u64,
}

/// Runs a command in a container and waits for its end.
pub(super) async fn run(
    app: &web::Data<App>,
    req: &HttpRequest,
    known: &Known,
    command: Vec<String>,
) -> Result<Ran, Refusal> {
    let spec = JobSpec::new(command);
    spec.validate()?;
    let container = known.handle(app).await?;
    let of_app = app.clone();
    let work = async move {
        let job = container.run(&spec).await?;
        let wait = of_app.archive_deadline();
        let status = tokio::select! {
            ended = job.wait(wait) => ended?,
            () = of_app.ending() => return Err(Error::new(ErrorKind::Unavailable, "the server ends; the command goes on")),
        };
        let (stdout, stderr) = within(Duration::from_secs(30), output(&*job)).await?;
        match status.exit_code {
            Some(exit_code) => Ok(Ran { exit_code, stdout, stderr, dropped_bytes: status.output_dropped_bytes }),
            None => {
                let words = format!("the command ended without a code: {}", status.state.name());
                Err(Error::new(ErrorKind::Unexpected, status.error.unwrap_or(words)))
            }
        }
    };
    let operation = "copa.container.command_execution";
    changing(app, req, Role::Operate, operation, &target(known), work).await.map_err(of_container)
}

async fn output(job: &dyn roadstead_core::Job) -> Result<(String, String)> {
    use futures_util::StreamExt;
    let mut chunks = job.output(OutputOptions::kept()).await?;
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk?;
        match chunk.kind {
            OutputKind::Stderr => stderr.extend_from_slice(&chunk.data),
            _ => stdout.extend_from_slice(&chunk.data),
        }
    }
    Ok((String::from_utf8_lossy(&stdout).into_owned(), String::from_utf8_lossy(&stderr).into_owned()))
}

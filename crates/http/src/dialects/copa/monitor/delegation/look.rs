//! One look: how far the moves are that were begun, what the pools bear, what would relieve them, and, where that is wished, doing it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actix_web::web::Data;
use futures_util::future::join_all;
use roadstead_core::pool::{ContainerLoad, Criterion, Member, MemberLoad, PlannedMove, PoolExt, StaticPool};
use roadstead_core::store::Claim;
use roadstead_core::{ContainerFilter, ContainerState, ErrorKind, Node, Result, Retry, Timestamp, UsageOptions};

use super::super::Monitor;
use super::super::configuration::{Configuration, Mode, current};
use super::super::measured::{RECENT, ago, loads};
use super::book::{Delegated, Does, Found, Look, Moves, Proposal, Told};
use crate::audit::{Deed, End, Outcome};
use crate::dialects::nodes;
use crate::nodes::NodeSlot;
use crate::state::{App, within};

/// So long is waited for one node.
const NODE_WAIT: Duration = Duration::from_secs(10);
/// So long may the plan take.
const PLAN_WAIT: Duration = Duration::from_secs(45);
/// What was found is written again after so long, though it is the same.
const AGAIN: Duration = Duration::from_secs(60);
/// A move of which nobody has heard so long after its beginning was none.
const UNHEARD: Duration = Duration::from_secs(60);

/// Looks, and does what is to be done.
///
/// # Errors
/// Those of the store.
pub(super) async fn look(app: &Data<App>, claim: &Claim) -> Result<()> {
    let monitor = Monitor::of(app);
    let configuration = current(&monitor.configurations).await?;
    let moves = followed(app, claim).await?;
    let (found, planned) = match configuration.criterion() {
        Some(criterion) => relief(app, &configuration, criterion, &moves).await?,
        None => (Found::default(), Vec::new()),
    };
    let performs = found.does == Does::Performs;
    let last = monitor.book.look().await?;
    let is_told = |last: &Look| last.found == found && last.server == app.fleet.id() && last.at > ago(AGAIN);
    if !last.as_ref().is_some_and(is_told) {
        let look = Look { at: Timestamp::now(), server: app.fleet.id().to_owned(), found };
        monitor.book.put_look(claim, &look).await?;
    }
    for planned in planned.into_iter().filter(|_| performs) {
        perform(app, claim, planned).await?;
    }
    Ok(())
}

/// The moves that were begun, each as it stands now.
async fn followed(app: &Data<App>, claim: &Claim) -> Result<Moves> {
    let book = &Monitor::of(app).book;
    let mut moves = book.moves().await?;
    for of in moves.0.iter_mut().filter(|of| of.ended_at.is_none()) {
        let before = of.clone();
        match app.moves.get(&of.id).await {
            Ok((record, active)) => {
                of.state = Some(record.state);
                of.error = record.failure.as_ref().map(|failure| failure.detail.clone());
                // What waits for a person is over here: nobody else goes on with it.
                let waits = record.failure.is_some() && active.is_none() && !app.moves.goes_on(&of.id).await?;
                if record.state.is_final() || waits {
                    of.ended_at = Some(Timestamp::now());
                }
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                if of.begun_at < ago(UNHEARD) {
                    of.ended_at = Some(Timestamp::now());
                    of.error = Some("nothing is known of the migration any more".to_owned());
                }
            }
            Err(error) => return Err(error),
        }
        if *of != before {
            book.put_move(claim, of).await?;
        }
    }
    Ok(moves)
}

/// A member, or why it cannot be looked at.
async fn member(slot: &Arc<NodeSlot>, cordons: &BTreeMap<String, String>) -> Result<Member, Told> {
    match slot.node(NODE_WAIT).await {
        Ok(node) => {
            let member = Member::new(node).labels(slot.labels().clone());
            Ok(match cordons.get(slot.name()) {
                Some(reason) => member.cordoned(reason),
                None => member,
            })
        }
        Err(error) => Err(Told { container_pool: slot.name().to_owned(), reason: error.message().to_owned() }),
    }
}

/// What would relieve the pools, and the plans of it.
async fn relief(
    app: &Data<App>,
    configuration: &Configuration,
    criterion: Criterion,
    moves: &Moves,
) -> Result<(Found, Vec<PlannedMove>)> {
    let does = if configuration.delegation_mode == Mode::Automatic { Does::Performs } else { Does::Proposes };
    let mut found = Found { does, ..Found::default() };
    let measured = loads(app).await?;
    let slots: Vec<_> = nodes(app).into_iter().filter(|slot| !moves.is_unsettled(slot.name(), RECENT)).collect();
    let loads = join_all(slots.iter().map(|slot| async {
        let measured = measured.get(slot.name()).copied().unwrap_or_default();
        let mut load = MemberLoad::new(slot.name());
        load.latency_ms = measured.latency;
        load.cpu_percent = match measured.cpu {
            None if criterion != Criterion::Latency => {
                Monitor::of(app).machines.of(slot).await.and_then(|machine| machine.cpu)
            }
            measured => measured,
        };
        load
    }));
    let mut loads = loads.await;
    let options = configuration.options(criterion);
    if !loads.iter().any(|load| load.is_over(&options)) {
        // No engine is asked for nothing.
        return Ok((found, Vec::new()));
    }
    let cordons = cordons(app).await?;
    let members = join_all(slots.iter().map(|slot| member(slot, &cordons))).await;
    let mut pool = Vec::new();
    for member in members {
        match member {
            Ok(member) => pool.push(member),
            Err(told) => found.errors.push(told),
        }
    }
    join_all(loads.iter_mut().map(|load| {
        let node = pool.iter().find(|member| member.name() == load.node).map(|member| Arc::clone(&member.node));
        let over = load.is_over(&options);
        async move {
            let Some(node) = node else { return };
            load.cpus = within(NODE_WAIT, node.info()).await.ok().and_then(|info| info.cpus);
            if over {
                load.containers = containers(&node).await;
            }
        }
    }))
    .await;
    let mut options = options;
    options.resting = moves.resting(Duration::from_secs(configuration.rest_seconds));
    options.deadline = PLAN_WAIT;
    let relief = StaticPool::of("copa", pool).plan_relief(&loads, &options).await?;
    found.proposals = relief.moves.iter().map(Proposal::of).collect();
    let told =
        |strained: roadstead_core::pool::Strained| Told { container_pool: strained.node, reason: strained.reason };
    found.strained = relief.strained.into_iter().map(told).collect();
    Ok((found, relief.moves))
}

/// Why nodes take no new containers, in whatever pool of the server that is said.
async fn cordons(app: &App) -> Result<BTreeMap<String, String>> {
    let pools = app.pools.all().await?;
    let cordons = pools.into_iter().flat_map(|pool| pool.cordons);
    Ok(cordons.map(|(node, cordon)| (node, cordon.reason)).collect())
}

/// The running containers of a node and what they use, as far as that is told.
async fn containers(node: &Arc<dyn Node>) -> Vec<ContainerLoad> {
    let usage = within(NODE_WAIT, node.usage(&UsageOptions::default())).await.ok();
    let used: BTreeMap<_, _> = usage
        .into_iter()
        .flat_map(|usage| usage.containers)
        .filter_map(|container| Some((container.id, container.rates?.cpu_percent)))
        .collect();
    let mut running = ContainerFilter::all();
    running.states = vec![ContainerState::Running];
    let listed = within(NODE_WAIT, node.list_containers(&running)).await.unwrap_or_default();
    let load = |container: roadstead_core::ContainerSummary| {
        let cpu = used.get(&container.id).copied();
        ContainerLoad::new(container.id, container.name, cpu)
    };
    listed.into_iter().map(load).collect()
}

/// Begins a move. It is written down before, so that the next server knows of it.
async fn perform(app: &Data<App>, claim: &Claim, planned: PlannedMove) -> Result<()> {
    let book = &Monitor::of(app).book;
    let what = Proposal::of(&planned);
    let mut of = Delegated {
        id: planned.plan.id.clone(),
        what,
        begun_at: Timestamp::now(),
        state: None,
        ended_at: None,
        error: None,
    };
    book.put_move(claim, &of).await?;
    let target = [
        ("migration", of.id.as_str()),
        ("container", &of.what.container),
        ("node", &of.what.container_pool),
        ("destination", &of.what.destination_pool),
    ];
    let begun = app.audit.begin(Deed::of_server("copa.delegation.migrate", &target, None)).await?;
    if !claim.holds() {
        // Another server may look by now, and finds this one written down.
        begun.end(End::of(Outcome::Failed));
        return Ok(());
    }
    tracing::info!(migration = of.id, reason = of.what.reason, "delegation moves a container");
    match app.moves.begin(app, planned.plan, None).await {
        Ok(_) => begun.end(End::of(Outcome::Succeeded)),
        Err(error) => {
            begun.end(End::failed(error.kind(), error.retry()));
            tracing::warn!(migration = of.id, %error, "delegation: a move was not begun");
            // Of one that may have begun nevertheless, it is looked how it stands.
            if error.retry() != Retry::Unknown {
                of.ended_at = Some(Timestamp::now());
                of.error = Some(error.message().to_owned());
                book.put_move(claim, &of).await?;
            }
        }
    }
    Ok(())
}

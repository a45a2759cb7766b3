//! Clauses of pools, tried with the node under test among sick ones.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::check::{Check, During, ensure, equal, refused};
use super::declare;
use super::scene::Scene;
use super::sick::{Ailment, Sick};
use crate::capabilities::Capability;
use crate::container::{ContainerFilter, ContainerSummary, DeleteOptions, LabelSelector, StopOptions};
use crate::error::ErrorKind;
use crate::pool::{
    ActionOutcome, ContainerAction, ContainerLoad, Criterion, DrainOptions, Listing, ManyOptions, Member, MemberLoad,
    Placement, Pool, PoolExt, ReliefOptions, StaticPool, Strategy,
};
use crate::signal::Signal;

declare! {
    P1 "one sick node never hides the healthy ones" [Create] sick_and_well;
    P2 "the whole answers by its deadline" [] by_its_deadline;
    P3 "every node is told of, in order, once" [] every_node_once;
    P4 "a member by name" [] member_by_name;
    P5 "each member's containers, with its node's name" [Create] containers_of_all;
    N70 "a node that is in no pool of its engine says so" [Pools] in_no_pool;
    N71 "the pool that a node is in has members, and lists their containers" [Pools] pool_of_the_engine;
    P6 "a verb reaches what passes the filter, and nothing else" [Create] verb_over_many;
    P7 "a dry run changes nothing and says what would be reached" [Create] dry_run;
    P8 "a verb over many answers by its deadline, and says what it does not know" [Create] verb_by_its_deadline;
    P9 "sums are those of the members that answered" [Create] sums;
    P10 "every member is a candidate with a reason" [Create] candidates;
    P11 "no member is chosen that may not be" [Create] not_chosen;
    P12 "a container is made on one member, which is told" [Create] made_on_one;
    P13 "of a drained member every container goes or stays" [Create] drained;
    P14 "a member that bears too much is told once, with what goes or why nothing does" [Create] relieved;
}

const REFUSES: &str = "sick-and-refusing";
const SILENT: &str = "sick-and-silent";

/// Enough for a look at the node under test, and what the silent one takes.
const DEADLINE: Duration = Duration::from_secs(3);

/// Enough for it when other tests keep it busy: LXD lists nothing for five seconds while a container fails to start.
const BUSY: Duration = Duration::from_secs(8);

/// Where nobody is silent, so that it is never waited for.
const LONG: Duration = Duration::from_secs(60);

fn pool(scene: &Scene) -> StaticPool {
    let node = &scene.fixture.node;
    StaticPool::new(
        "fleet",
        [Sick::node(REFUSES, Ailment::Refuses, node), Arc::clone(node), Sick::node(SILENT, Ailment::Silent, node)],
    )
}

/// Without the silent one.
fn pool_that_answers(scene: &Scene) -> StaticPool {
    let node = &scene.fixture.node;
    StaticPool::new("fleet", [Sick::node(REFUSES, Ailment::Refuses, node), Arc::clone(node)])
}

async fn list(scene: &Scene) -> Check<Listing<ContainerSummary>> {
    let listing = pool(scene).list_containers(&ContainerFilter::all(), DEADLINE).await.during("list")?;
    if listing.nodes.iter().any(|node| node.node == scene.node().name() && node.ok) {
        return Ok(listing);
    }
    pool(scene).list_containers(&ContainerFilter::all(), BUSY).await.during("list")
}

async fn sick_and_well(scene: &Scene) -> Check {
    let container = scene.created("c").await?;
    let listing = list(scene).await?;
    ensure(listing.items.iter().any(|item| item.id == container.id()), "a container of the healthy node is missing")?;
    let mut errors: Vec<_> = listing.errors.iter().map(|error| (error.node.as_str(), error.code)).collect();
    errors.sort_by_key(|(node, _)| *node);
    equal("the errors", errors, [(REFUSES, ErrorKind::Unavailable), (SILENT, ErrorKind::DeadlineExceeded)])
}

async fn by_its_deadline(scene: &Scene) -> Check {
    let begun = Instant::now();
    let deadline = Duration::from_millis(500);
    let listing = pool(scene).list_containers(&ContainerFilter::all(), deadline).await.during("list")?;
    let took = begun.elapsed();
    ensure(took < deadline + Duration::from_secs(2), format!("the list took {took:?} instead of {deadline:?}"))?;
    let silent = listing.errors.iter().find(|error| error.node == SILENT).map(|error| error.code);
    equal("the error of the silent node", silent, Some(ErrorKind::DeadlineExceeded))
}

async fn every_node_once(scene: &Scene) -> Check {
    let listing = list(scene).await?;
    let told: Vec<_> = listing.nodes.iter().map(|node| (node.node.as_str(), node.ok)).collect();
    equal("the nodes", told, [(REFUSES, false), (scene.node().name(), true), (SILENT, false)])?;
    for node in &listing.nodes {
        let errors = listing.errors.iter().filter(|error| error.node == node.node).count();
        equal(&format!("the number of errors of {}", node.node), errors, usize::from(!node.ok))?;
        equal(&format!("whether {} was observed", node.node), node.observed_at.is_some(), node.ok)?;
    }
    Ok(())
}

async fn member_by_name(scene: &Scene) -> Check {
    let pool = pool(scene);
    let names: Vec<_> = pool.nodes().iter().map(|node| node.name().to_owned()).collect();
    equal("the members", names, [REFUSES, scene.node().name(), SILENT])?;
    equal("the member", pool.node(scene.node().name()).during("node")?.uri(), scene.node().uri())?;
    refused("node", pool.node("no-such-node"), ErrorKind::NotFound).map(drop)
}

async fn containers_of_all(scene: &Scene) -> Check {
    let container = scene.created("c").await?;
    let filter = ContainerFilter { names: scene_names(&*container).await?, ..ContainerFilter::default() };
    let listing = pool_that_answers(scene).list_containers(&filter, LONG).await.during("list")?;
    let found: Vec<_> = listing.items.iter().map(|item| (item.node.as_str(), item.id.as_str())).collect();
    equal("the containers", found, [(scene.node().name(), container.id())])
}

async fn scene_names(container: &dyn crate::Container) -> Check<Vec<String>> {
    Ok(vec![super::scene::details(container).await?.summary.name])
}

/// The containers of these names.
fn named(names: impl IntoIterator<Item = String>) -> ManyOptions {
    let filter = ContainerFilter { names: names.into_iter().collect(), ..ContainerFilter::default() };
    ManyOptions { deadline: LONG, ..ManyOptions::of(filter) }
}

async fn verb_over_many(scene: &Scene) -> Check {
    let (one, two, other) = (scene.created("one").await?, scene.created("two").await?, scene.created("other").await?);
    let options = named([scene.name("one"), scene.name("two")]);
    let action = ContainerAction::Delete(DeleteOptions::force());
    let acted = pool_that_answers(scene).act(&action, &options).await.during("act")?;
    let mut found: Vec<_> =
        acted.items.iter().map(|item| (item.node.as_str(), item.id.as_str(), item.outcome)).collect();
    found.sort_unstable_by_key(|(_, id, _)| *id);
    let mut expected = [one.id(), two.id()].map(|id| (scene.node().name(), id, ActionOutcome::Done));
    expected.sort_unstable_by_key(|(_, id, _)| *id);
    equal("the items", found, expected)?;
    refused("inspect one", one.inspect().await, ErrorKind::NotFound)?;
    refused("inspect two", two.inspect().await, ErrorKind::NotFound)?;
    let _ = other.inspect().await.during("inspect the other")?;
    let told: Vec<_> = acted.nodes.iter().map(|node| (node.node.as_str(), node.ok)).collect();
    equal("the nodes", told, [(REFUSES, false), (scene.node().name(), true)])
}

async fn dry_run(scene: &Scene) -> Check {
    let container = scene.created("c").await?;
    let before = super::scene::details(&*container).await?.summary;
    let options = ManyOptions { dry_run: true, ..named([scene.name("c")]) };
    for (action, needed) in [
        (ContainerAction::Start, None),
        (ContainerAction::Stop(StopOptions::default()), None),
        (ContainerAction::Restart(StopOptions::default()), Some(Capability::Restart)),
        (ContainerAction::Kill(Signal::KILL), Some(Capability::Kill)),
        (ContainerAction::Freeze, Some(Capability::Freeze)),
        (ContainerAction::Unfreeze, Some(Capability::Freeze)),
        (ContainerAction::Delete(DeleteOptions::force()), Some(Capability::Create)),
    ] {
        let only = StaticPool::new("fleet", [Arc::clone(&scene.fixture.node)]);
        let acted = only.act(&action, &options).await.during("act")?;
        let able = needed.is_none_or(|needed| scene.has(needed));
        let outcome = if able { ActionOutcome::Planned } else { ActionOutcome::Failed };
        let found: Vec<_> = acted
            .items
            .iter()
            .map(|item| (item.id.as_str(), item.outcome, item.error.as_ref().map(|error| error.code)))
            .collect();
        let error = (!able).then_some(ErrorKind::Unsupported);
        equal(&format!("what {action:?} would reach"), found, [(container.id(), outcome, error)])?;
    }
    equal("the state", super::scene::details(&*container).await?.summary.state, before.state)
}

async fn verb_by_its_deadline(scene: &Scene) -> Check {
    let _container = scene.created("c").await?;
    let options = ManyOptions { deadline: BUSY, ..named([scene.name("c")]) };
    let acted = pool(scene).act(&ContainerAction::Delete(DeleteOptions::force()), &options).await.during("act")?;
    let silent = acted.errors.iter().find(|error| error.node == SILENT).map(|error| error.code);
    equal("the error of the silent node", silent, Some(ErrorKind::DeadlineExceeded))?;
    equal("the outcomes", acted.items.iter().map(|item| item.outcome).collect::<Vec<_>>(), [ActionOutcome::Done])
}

async fn sums(scene: &Scene) -> Check {
    let _container = scene.created("c").await?;
    let totals = pool_that_answers(scene).totals(LONG).await;
    let told: Vec<_> = totals.nodes.iter().map(|node| (node.node.as_str(), node.ok)).collect();
    equal("the nodes", told, [(REFUSES, false), (scene.node().name(), true)])?;
    equal("the number of errors", totals.errors.len(), 1)?;
    let [part] = totals.members.as_slice() else {
        return equal("the number of parts", totals.members.len(), 1);
    };
    equal("whose part it is", part.node.as_str(), scene.node().name())?;
    equal("containers", totals.containers, part.containers)?;
    ensure(part.containers >= 1, "the container is not counted")?;
    equal("containers that run", totals.running, part.running)?;
    ensure(part.running <= part.containers, "more containers run than there are")?;
    let info = scene.node().info().await.during("info")?;
    equal("cores", totals.cpus, u64::from(info.cpus.unwrap_or_default()))?;
    equal("memory", totals.memory_bytes, info.memory_bytes.unwrap_or_default())?;
    let all = part.memory_bytes.zip(part.memory_free_bytes);
    ensure(all.is_none_or(|(all, free)| free <= all), "more memory is free than there is")
}

async fn candidates(scene: &Scene) -> Check {
    let silent = (pool(scene), DEADLINE, vec![(REFUSES, false), (SILENT, false)]);
    let answers = (pool_that_answers(scene), LONG, vec![(REFUSES, false)]);
    for (strategy, (fleet, deadline, sick)) in [(Strategy::Spread, silent), (Strategy::Pack, answers)] {
        let placement = Placement::by(strategy);
        let mut decision = fleet.place(&scene.spec("c"), &placement, deadline).await.during("place")?;
        if decision.node.is_none() {
            // It asks each member twice.
            decision = fleet.place(&scene.spec("c"), &placement, 2 * BUSY).await.during("place")?;
        }
        equal("the choice", decision.node.as_deref(), Some(scene.node().name()))?;
        let mut found: Vec<_> =
            decision.candidates.iter().map(|candidate| (candidate.node.as_str(), candidate.fits)).collect();
        found.sort_unstable();
        let mut expected = sick;
        expected.push((scene.node().name(), true));
        expected.sort_unstable();
        equal("the candidates", found, expected)?;
        let silent = decision.candidates.iter().find(|candidate| candidate.reason.is_empty());
        ensure(silent.is_none() && !decision.reason.is_empty(), format!("no reason is told: {decision:?}"))?;
    }
    Ok(())
}

async fn not_chosen(scene: &Scene) -> Check {
    let node = || Member::new(Arc::clone(&scene.fixture.node)).labels([("zone".to_owned(), "a".to_owned())].into());
    let choice = |member: Member, placement: Placement, spec: crate::ContainerSpec| async move {
        let pool = StaticPool::of("fleet", [member]);
        let decision = pool.place(&spec, &placement, LONG).await.during("place")?;
        Ok::<_, super::check::Failure>((decision.node, decision.reason))
    };
    let only = |label: LabelSelector| Placement { labels: vec![label], ..Placement::default() };
    let labelled = only(LabelSelector::equals("zone", "a"));
    let (chosen, reason) = choice(node(), labelled, scene.spec("c")).await?;
    equal(&format!("with the label ({reason}) the choice"), chosen.as_deref(), Some(scene.node().name()))?;
    let (chosen, reason) = choice(node().cordoned("it is old"), Placement::default(), scene.spec("c")).await?;
    equal("with a cordon the choice", chosen, None)?;
    ensure(reason.contains("it is old"), format!("the reason is not told: {reason}"))?;
    for label in [LabelSelector::equals("zone", "b"), LabelSelector::exists("rack")] {
        let (chosen, _) = choice(node(), only(label), scene.spec("c")).await?;
        equal("without the label the choice", chosen, None)?;
    }
    let _taken = scene.created("taken").await?;
    equal(
        "where the name is taken the choice",
        choice(node(), Placement::default(), scene.spec("taken")).await?.0,
        None,
    )?;
    let plenty = Placement { memory_bytes: Some(u64::MAX), ..Placement::default() };
    let told = scene.node().info().await.during("info")?.memory_bytes.is_some();
    let (chosen, _) = choice(node(), plenty, scene.spec("c")).await?;
    equal("without enough memory, which is told, the choice is none", chosen.is_none(), told)
}

async fn made_on_one(scene: &Scene) -> Check {
    let fleet = pool_that_answers(scene);
    let spec = scene.spec("c");
    let made = fleet.create_container(&spec, &Placement::default(), LONG).await.during("create")?;
    equal("the node", made.node.as_str(), scene.node().name())?;
    equal("the choice", made.decision.node.as_deref(), Some(scene.node().name()))?;
    let details = super::scene::details(&*scene.node().container(&made.container.id)).await?;
    equal("its name", Some(details.summary.name), spec.name)?;
    fleet.cordon(scene.node().name(), Some("it is old")).during("cordon")?;
    let again = scene.spec("again");
    let error = refused(
        "create on cordoned members",
        fleet.create_container(&again, &Placement::default(), LONG).await,
        ErrorKind::Conflict,
    )?;
    ensure(error.to_string().contains("it is old"), format!("the reasons are not told: {error}"))?;
    let options = named([scene.name("again")]);
    let listed = scene.node().list_containers(&options.filter).await.during("list")?;
    equal("what was made", listed.len(), 0)
}

async fn drained(scene: &Scene) -> Check {
    let (one, two) = (scene.created("one").await?, scene.created("two").await?);
    let filter = named([scene.name("one"), scene.name("two")]).filter;
    let options = DrainOptions { filter, deadline: LONG, ..DrainOptions::default() };
    let fleet = pool_that_answers(scene);
    refused("drain nobody", fleet.plan_drain("no-such-node", &options).await, ErrorKind::NotFound)?;
    let plan = fleet.plan_drain(scene.node().name(), &options).await.during("plan")?;
    let mut found: Vec<_> = plan.moves.iter().map(|planned| planned.plan.container_id.as_str()).collect();
    equal("what goes to members that do not answer", found.len(), 0)?;
    found.extend(plan.stays.iter().map(|stays| stays.id.as_str()));
    found.sort_unstable();
    let mut expected = [one.id(), two.id()];
    expected.sort_unstable();
    equal("the containers", found, expected)?;
    for stays in &plan.stays {
        ensure(!stays.reason.is_empty(), format!("no reason is told: {stays:?}"))?;
        equal("the members that were looked at", stays.rejected.len(), 1)?;
    }
    Ok(())
}

async fn relieved(scene: &Scene) -> Check {
    let (one, two) = (scene.created("one").await?, scene.created("two").await?);
    let fleet = pool_that_answers(scene);
    let node = scene.node().name();
    let load = |node: &str, cpu_percent: f64| MemberLoad {
        cpu_percent: Some(cpu_percent),
        containers: [(&one, "one"), (&two, "two")]
            .map(|(container, name)| ContainerLoad::new(container.id(), scene.name(name), Some(30.0)))
            .to_vec(),
        ..MemberLoad::new(node)
    };
    let options = || ReliefOptions { deadline: LONG, ..ReliefOptions::by(Criterion::Cpu) };
    let mut bad = options();
    bad.cpu_percent = f64::NAN;
    let error = refused("a threshold that is none", fleet.plan_relief(&[], &bad).await, ErrorKind::InvalidInput)?;
    equal("its field", error.field(), Some("cpu_percent"))?;
    let calm = fleet.plan_relief(&[load(node, 80.0), load("no-such-node", 99.0)], &options()).await.during("plan")?;
    equal("what is told of members that bear little, or are none", calm.moves.len() + calm.strained.len(), 0)?;
    // The other member does not answer, so nothing can go there; and where nobody measures it, it is not even asked.
    for loads in [vec![load(node, 95.0), load(REFUSES, 5.0)], vec![load(node, 95.0)]] {
        let relief = fleet.plan_relief(&loads, &options()).await.during("plan")?;
        equal("what goes", relief.moves.len(), 0)?;
        let told: Vec<_> = relief.strained.iter().map(|strained| strained.node.as_str()).collect();
        equal("the members that bear too much", told, [node])?;
        ensure(relief.strained.iter().all(|strained| strained.reason.contains("95.0 %")), format!("{relief:?}"))?;
    }
    let mut resting = options();
    resting.resting = [one.id().to_owned(), scene.name("two")].into();
    let relief = fleet.plan_relief(&[load(node, 95.0), load(REFUSES, 5.0)], &resting).await.during("plan")?;
    let why = relief.strained.first().map(|strained| strained.reason.clone()).unwrap_or_default();
    ensure(why.contains("moved lately"), format!("what rests would go: {why}"))
}

/// Which one it is in, if any: engines that the suite is tried with are mostly in none.
async fn pool_of(scene: &Scene) -> Check<Option<Arc<dyn Pool>>> {
    match scene.node().pool("fleet").await {
        Ok(pool) => Ok(Some(pool)),
        Err(error) => refused("pool", Err::<(), _>(error), ErrorKind::Conflict).map(|_| None),
    }
}

async fn in_no_pool(scene: &Scene) -> Check {
    match pool_of(scene).await? {
        None => Ok(()),
        Some(_) => Err(super::check::Failure::Gated("the node is in a pool".to_owned())),
    }
}

async fn pool_of_the_engine(scene: &Scene) -> Check {
    let Some(pool) = pool_of(scene).await? else {
        return Err(super::check::Failure::Gated("the node is in no pool".to_owned()));
    };
    equal("its name", pool.name(), "fleet")?;
    let members = pool.members();
    let mut names: Vec<_> = members.iter().map(|member| member.name().to_owned()).collect();
    ensure(!names.is_empty(), "it has no members")?;
    let listing = pool.list_containers(&ContainerFilter::all(), LONG).await.during("list")?;
    equal("the nodes", listing.nodes.iter().map(|node| node.node.clone()).collect::<Vec<_>>(), names.clone())?;
    for item in &listing.items {
        ensure(names.contains(&item.node), format!("a container of nobody: {item:?}"))?;
    }
    names.sort_unstable();
    names.dedup();
    equal("the number of names", names.len(), members.len())
}

//! Pools of nodes in memory: what takes several healthy ones to be seen.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::*;
use crate::capabilities::Capability;
use crate::container::{DeleteOptions, LabelSelector, StopOptions};
use crate::error::{ErrorKind, Retry};
use crate::memory::{Fault, MemoryNode, MemoryOptions, PRESET_IMAGE};
use crate::migration::{MemoryLog, MoveRecord, Mover};

const SOON: Duration = Duration::from_secs(5);

struct Fleet {
    nodes: Vec<Arc<MemoryNode>>,
    pool: StaticPool,
}

impl Fleet {
    fn new(names: &[&str]) -> Self {
        let make = |name: &&str| Arc::new(MemoryNode::new(name, MemoryOptions::default()).unwrap());
        let nodes: Vec<_> = names.iter().map(make).collect();
        let pool = StaticPool::new("fleet", nodes.iter().map(|node| Arc::clone(node) as Arc<dyn Node>));
        Fleet { nodes, pool }
    }

    /// Makes containers that do not run.
    async fn fill(&self, node: usize, names: &[&str]) {
        for name in names {
            self.nodes[node].create_container(&spec(name)).await.unwrap();
        }
    }

    async fn names(&self, node: usize) -> Vec<String> {
        let mut names: Vec<_> = self.nodes[node]
            .list_containers(&ContainerFilter::all())
            .await
            .unwrap()
            .into_iter()
            .map(|c| c.name)
            .collect();
        names.sort();
        names
    }
}

fn spec(name: &str) -> ContainerSpec {
    ContainerSpec::new(PRESET_IMAGE).name(name).command(["sleep", "600"])
}

fn outcomes(acted: &Acted) -> Vec<(&str, ActionOutcome)> {
    acted.items.iter().map(|item| (item.name.as_str(), item.outcome)).collect()
}

#[tokio::test(start_paused = true)]
async fn what_is_not_over_at_the_deadline_is_told_as_it_is() {
    let fleet = Fleet::new(&["a", "b", "c"]);
    fleet.fill(0, &["quick"]).await;
    fleet.fill(1, &["hangs", "waits"]).await;
    fleet.nodes[1].faults().always("container.start", Fault::Delay(Duration::from_secs(3600))).unwrap();
    fleet.nodes[2].faults().always("node.list_containers", Fault::Delay(Duration::from_secs(3600))).unwrap();
    let options = ManyOptions { per_node: 1, deadline: SOON, ..ManyOptions::default() };
    let begun = Instant::now();
    let acted = fleet.pool.act(&ContainerAction::Start, &options).await.unwrap();
    assert_eq!(begun.elapsed(), SOON);
    // A list begins with the newest.
    assert_eq!(
        outcomes(&acted),
        [("quick", ActionOutcome::Done), ("waits", ActionOutcome::Unknown), ("hangs", ActionOutcome::NotBegun)]
    );
    assert_eq!(acted.items[1].error.as_ref().unwrap().retry, Retry::Unknown);
    let errors: Vec<_> = acted.errors.iter().map(|error| (error.node.as_str(), error.code)).collect();
    assert_eq!(errors, [("c", ErrorKind::DeadlineExceeded)]);
    assert_eq!(acted.nodes.iter().map(|node| node.ok).collect::<Vec<_>>(), [true, true, false]);
}

#[tokio::test(start_paused = true)]
async fn refusals_are_items_and_hold_nobody_back() {
    let fleet = Fleet::new(&["a", "b"]);
    fleet.fill(0, &["one", "two"]).await;
    fleet.fill(1, &["three"]).await;
    fleet.nodes[0].faults().script("container.start", Fault::Refuse(ErrorKind::Conflict), 1).unwrap();
    fleet.nodes[1].faults().script("container.start", Fault::Vanish, 1).unwrap();
    let acted =
        fleet.pool.act(&ContainerAction::Start, &ManyOptions { per_node: 1, ..ManyOptions::default() }).await.unwrap();
    assert_eq!(
        outcomes(&acted),
        [("two", ActionOutcome::Failed), ("one", ActionOutcome::Done), ("three", ActionOutcome::Failed)]
    );
    let codes: Vec<_> = acted.items.iter().map(|item| item.error.as_ref().map(|error| error.code)).collect();
    assert_eq!(codes, [Some(ErrorKind::Conflict), None, Some(ErrorKind::NotFound)]);
    assert!(acted.errors.is_empty(), "a container that vanished is no error of its node");
}

#[tokio::test(start_paused = true)]
async fn what_is_gone_is_deleted() {
    let fleet = Fleet::new(&["a"]);
    fleet.fill(0, &["one"]).await;
    fleet.nodes[0].faults().script("container.delete", Fault::Refuse(ErrorKind::NotFound), 1).unwrap();
    let action = ContainerAction::Delete(DeleteOptions::force());
    let acted = fleet.pool.act(&action, &ManyOptions::default()).await.unwrap();
    assert_eq!(outcomes(&acted), [("one", ActionOutcome::Done)]);
}

#[tokio::test(start_paused = true)]
async fn no_more_at_once_than_is_allowed() {
    let fleet = Fleet::new(&["a", "b"]);
    for node in 0..2 {
        fleet.fill(node, &["c1", "c2", "c3", "c4", "c5", "c6"]).await;
        fleet.nodes[node].faults().always("container.start", Fault::Delay(Duration::from_secs(1))).unwrap();
    }
    for (concurrency, per_node, seconds) in [(100, 6, 1), (100, 2, 3), (3, 6, 4), (1, 1, 12)] {
        let options = ManyOptions { concurrency, per_node, ..ManyOptions::default() };
        let begun = Instant::now();
        let acted = fleet.pool.act(&ContainerAction::Start, &options).await.unwrap();
        assert!(acted.items.iter().all(|item| item.outcome == ActionOutcome::Done));
        assert_eq!(begun.elapsed().as_secs(), seconds, "{concurrency} {per_node}");
    }
}

#[tokio::test]
async fn options_that_make_no_sense_name_the_field() {
    let fleet = Fleet::new(&["a"]);
    let error = |options: ManyOptions| {
        let pool = &fleet.pool;
        async move { pool.act(&ContainerAction::Start, &options).await.unwrap_err().field().unwrap().to_owned() }
    };
    assert_eq!(error(ManyOptions { concurrency: 0, ..ManyOptions::default() }).await, "concurrency");
    assert_eq!(error(ManyOptions { per_node: 1001, ..ManyOptions::default() }).await, "per_node");
    let filter = ContainerFilter { names: vec!["/".to_owned()], ..ContainerFilter::default() };
    assert_eq!(error(ManyOptions::of(filter)).await, "name");
}

#[tokio::test(start_paused = true)]
async fn spread_fills_the_emptiest_and_pack_the_fullest() {
    let fleet = Fleet::new(&["a", "b", "c"]);
    fleet.fill(0, &["xx"]).await;
    fleet.fill(1, &["xx", "yy"]).await;
    let chosen = |strategy| {
        let pool = &fleet.pool;
        async move { pool.place(&spec("new"), &Placement::by(strategy), SOON).await.unwrap() }
    };
    let spread = chosen(Strategy::Spread).await;
    assert_eq!(spread.node.as_deref(), Some("c"));
    assert_eq!(
        spread.reason,
        "has 0 containers and free memory that is not known (the least full of 3 that may take it)"
    );
    assert_eq!(spread.candidates.iter().map(|c| c.node.as_str()).collect::<Vec<_>>(), ["c", "a", "b"]);
    assert_eq!(chosen(Strategy::Pack).await.node.as_deref(), Some("b"));
}

#[test]
fn memory_decides_where_it_is_known() {
    let candidate = |node: &str, containers, free| Candidate {
        node: node.to_owned(),
        fits: true,
        reason: "fits".to_owned(),
        capacity: Some(NodeCapacity { containers, memory_free_bytes: free, ..NodeCapacity::default() }),
    };
    let all = || {
        vec![
            candidate("a", 1, Some(100)),
            candidate("b", 1, Some(900)),
            candidate("c", 2, None),
            candidate("d", 1, Some(100)),
        ]
    };
    let order = |strategy| {
        place::ranked(strategy, all()).candidates.into_iter().map(|candidate| candidate.node).collect::<Vec<_>>()
    };
    assert_eq!(order(Strategy::Spread), ["b", "a", "d", "c"]);
    assert_eq!(order(Strategy::Pack), ["a", "d", "b", "c"]);
    let known = NodeCapacity { memory_bytes: Some(1000), memory_free_bytes: Some(100), ..NodeCapacity::default() };
    assert!(place::enough(Some(101), &known).unwrap_err().contains("100 bytes"));
    assert!(place::enough(Some(100), &known).is_ok() && place::enough(None, &known).is_ok());
    assert!(place::enough(Some(u64::MAX), &NodeCapacity::default()).is_ok(), "it may have plenty");
}

#[tokio::test(start_paused = true)]
async fn every_refusal_has_its_reason() {
    let fleet = Fleet::new(&["cordoned", "elsewhere", "taken", "away", "left-out", "bare", "fits"]);
    fleet.pool.cordon("cordoned", Some("its disk is old")).unwrap();
    for name in ["cordoned", "taken", "away", "bare", "fits"] {
        fleet.pool.label(name, [("zone".to_owned(), "a".to_owned())].into()).unwrap();
    }
    fleet.fill(2, &["new"]).await;
    fleet.nodes[3].faults().leave();
    let options = MemoryOptions { without: vec![Capability::Create], ..MemoryOptions::default() };
    let bare = Member::new(Arc::new(MemoryNode::new("unable", options).unwrap()) as _);
    let mut members = fleet.pool.members();
    members.push(bare.labels([("zone".to_owned(), "a".to_owned())].into()));
    let pool = StaticPool::of("fleet", members);
    let placement = Placement {
        labels: vec![LabelSelector::equals("zone", "a")],
        nodes: ["cordoned", "elsewhere", "taken", "away", "fits", "unable"].map(str::to_owned).to_vec(),
        ..Placement::default()
    };
    let decision = pool.place(&spec("new"), &placement, SOON).await.unwrap();
    assert_eq!(decision.node.as_deref(), Some("fits"));
    let reason = |node: &str| {
        let candidate = decision.candidates.iter().find(|candidate| candidate.node == node).unwrap();
        assert_eq!(candidate.fits, node == "fits");
        candidate.reason.as_str()
    };
    assert_eq!(reason("cordoned"), "takes no new containers: its disk is old");
    assert_eq!(reason("elsewhere"), "has no label zone=a");
    assert_eq!(reason("taken"), "has a container new already");
    assert_eq!(reason("away"), "the engine went away");
    assert_eq!(reason("left-out"), "is not one of the nodes that are asked for");
    assert_eq!(reason("unable"), "this engine does not support creating and deleting containers");
    let decision = pool.place(&spec("new"), &Placement { nodes: vec!["nobody".to_owned()], ..placement }, SOON).await;
    let reason = decision.unwrap().reason;
    assert!(reason.starts_with("no member may take it: cordoned: "), "{reason}");
    let empty = StaticPool::new("empty", []);
    let error = empty.create_container(&spec("new"), &Placement::default(), SOON).await.unwrap_err();
    assert_eq!((error.kind(), error.message()), (ErrorKind::Conflict, "the pool has no members"));
}

#[tokio::test(start_paused = true)]
async fn a_member_that_refuses_gives_way_to_the_next_unless_something_may_have_happened() {
    let fleet = Fleet::new(&["a", "b", "c"]);
    let create = "node.create_container";
    fleet.nodes[0].faults().script(create, Fault::Refuse(ErrorKind::ResourceExhausted), 1).unwrap();
    fleet.nodes[1].faults().script(create, Fault::Refuse(ErrorKind::Unavailable), 1).unwrap();
    let made = fleet.pool.create_container(&spec("one"), &Placement::default(), SOON).await.unwrap();
    assert_eq!((made.node.as_str(), made.decision.node.as_deref()), ("c", Some("c")));
    assert!(made.decision.reason.contains("(after a: "), "{}", made.decision.reason);
    assert_eq!(fleet.names(2).await, ["one"]);
    // The answer is lost after the work has been done.
    fleet.nodes[0].faults().script(create, Fault::Vanish, 1).unwrap();
    let error = fleet.pool.create_container(&spec("two"), &Placement::default(), SOON).await.unwrap_err();
    assert_eq!(error.retry(), Retry::Unknown);
    let everywhere = [fleet.names(0).await, fleet.names(1).await, fleet.names(2).await].concat();
    assert!(everywhere.iter().filter(|name| *name == "two").count() <= 1, "{everywhere:?}");
}

#[tokio::test(start_paused = true)]
async fn a_drain_spreads_over_the_others_and_can_be_carried_out() {
    let fleet = Fleet::new(&["old", "b", "c", "cordoned"]);
    fleet.fill(0, &["c1", "c2", "c3", "c4", "taken", "busy"]).await;
    fleet.fill(1, &["taken"]).await;
    fleet.fill(2, &["taken"]).await;
    fleet.nodes[0].container("busy").start().await.unwrap();
    fleet.nodes[0].container("busy").freeze().await.unwrap();
    fleet.pool.cordon("cordoned", Some("it is next")).unwrap();
    let before = fleet.names(0).await;
    let plan = fleet.pool.plan_drain("old", &DrainOptions::default()).await.unwrap();
    assert_eq!(fleet.names(0).await, before, "a plan changes nothing");
    let mut targets: Vec<_> = plan.moves.iter().map(|planned| planned.plan.target.as_str()).collect();
    targets.sort_unstable();
    assert_eq!(targets, ["b", "b", "c", "c"]);
    let mut stays: Vec<_> = plan.stays.iter().map(|stays| stays.name.as_str()).collect();
    stays.sort_unstable();
    assert_eq!(stays, ["busy", "taken"]);
    for stays in &plan.stays {
        let mut nodes: Vec<_> = stays.rejected.iter().map(|candidate| candidate.node.as_str()).collect();
        nodes.sort_unstable();
        assert_eq!(nodes, ["b", "c", "cordoned"]);
        assert!(stays.rejected.iter().any(|candidate| candidate.reason.contains("it is next")));
        let why = if stays.name == "taken" { "is taken" } else { "only one that runs or is stopped" };
        assert!(stays.rejected.iter().any(|candidate| candidate.reason.contains(why)), "{stays:?}");
    }
    for planned in plan.moves {
        let target = fleet.pool.node(&planned.plan.target).unwrap();
        let mover = Mover::new(fleet.pool.node("old").unwrap(), target, Arc::new(MemoryLog::default()));
        mover.apply(MoveRecord::new(planned.plan)).await.unwrap();
    }
    assert_eq!(fleet.names(0).await, ["busy", "taken"]);
    assert_eq!(fleet.names(1).await.len() + fleet.names(2).await.len(), 6);
}

#[tokio::test(start_paused = true)]
async fn a_drain_answers_by_its_deadline() {
    let fleet = Fleet::new(&["old", "b"]);
    fleet.fill(0, &["c1", "c2"]).await;
    fleet.nodes[1].faults().always("container.inspect", Fault::Delay(Duration::from_secs(3600))).unwrap();
    let begun = Instant::now();
    let options = DrainOptions { deadline: SOON, ..DrainOptions::default() };
    let plan = fleet.pool.plan_drain("old", &options).await.unwrap();
    assert_eq!(begun.elapsed(), SOON);
    assert!(plan.moves.is_empty());
    assert!(plan.stays.iter().all(|stays| stays.reason == "was not planned within 5 s"), "{plan:?}");
    let sick = Fleet::new(&["old"]);
    sick.nodes[0].faults().leave();
    assert_eq!(sick.pool.plan_drain("old", &options).await.unwrap_err().kind(), ErrorKind::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn sums_are_those_of_all() {
    let fleet = Fleet::new(&["a", "b", "c"]);
    fleet.fill(0, &["c1", "c2"]).await;
    fleet.fill(1, &["c3"]).await;
    fleet.nodes[0].container("c1").start().await.unwrap();
    fleet.nodes[2].faults().leave();
    let totals = fleet.pool.totals(SOON).await;
    assert_eq!((totals.containers, totals.running, totals.members.len(), totals.errors.len()), (3, 1, 2, 1));
    let stop = ContainerAction::Stop(StopOptions::after_seconds(0));
    assert_eq!(fleet.pool.act(&stop, &ManyOptions::default()).await.unwrap().items.len(), 3);
    assert_eq!(fleet.pool.totals(SOON).await.running, 0);
}

fn bears(node: &str, cpu_percent: f64, containers: &[(&str, f64)]) -> MemberLoad {
    MemberLoad {
        cpu_percent: Some(cpu_percent),
        containers: containers.iter().map(|(name, cpu)| ContainerLoad::new(*name, *name, Some(*cpu))).collect(),
        ..MemberLoad::new(node)
    }
}

#[tokio::test(start_paused = true)]
async fn relief_takes_one_container_of_each_member_and_can_be_carried_out() {
    let fleet = Fleet::new(&["a", "b", "c", "cordoned", "away"]);
    fleet.fill(0, &["a1", "a2", "taken"]).await;
    fleet.fill(1, &["b1"]).await;
    fleet.fill(2, &["taken"]).await;
    fleet.pool.cordon("cordoned", Some("it is next")).unwrap();
    fleet.nodes[4].faults().leave();
    let before = [fleet.names(0).await, fleet.names(1).await, fleet.names(2).await];
    let id = async |node: usize, name: &str| {
        let listed = fleet.nodes[node].list_containers(&ContainerFilter::all()).await.unwrap();
        listed.into_iter().find(|container| container.name == name).unwrap().id
    };
    let mut loads = vec![
        bears("a", 95.0, &[("taken", 25.0), ("a1", 30.0), ("a2", 50.0), ("gone", 24.0)]),
        bears("b", 85.0, &[("b1", 20.0)]),
        bears("c", 20.0, &[]),
        bears("cordoned", 0.0, &[]),
        bears("away", 0.0, &[]),
        bears("no-member", 99.0, &[("x", 50.0)]),
    ];
    for (load, node) in loads.iter_mut().take(2).zip(0..) {
        for container in load.containers.iter_mut().filter(|container| container.name != "gone") {
            container.id = id(node, &container.name).await;
        }
    }
    let relief = fleet.pool.plan_relief(&loads, &ReliefOptions::by(Criterion::Cpu)).await.unwrap();
    let told: Vec<_> = relief
        .moves
        .iter()
        .map(|planned| (planned.plan.container.as_str(), planned.plan.source.as_str(), planned.plan.target.as_str()))
        .collect();
    // What is called `taken` cannot go to c; with a1 on it c has 50 %, and with b1, too, 70.
    assert_eq!(told, [("a1", "a", "c"), ("b1", "b", "c")], "{relief:?}");
    assert!(relief.strained.is_empty(), "{relief:?}");
    let reason = &relief.moves[0].reason;
    assert_eq!(reason, "a: cpu 95.0 % is over cpu 80.0 %; a1 goes to c, which will have cpu 50.0 %");
    let after = [fleet.names(0).await, fleet.names(1).await, fleet.names(2).await];
    assert_eq!(before, after, "a plan changes nothing");
    for planned in relief.moves {
        let (source, target) = (&planned.plan.source, &planned.plan.target);
        let (source, target) = (fleet.pool.node(source).unwrap(), fleet.pool.node(target).unwrap());
        Mover::new(source, target, Arc::new(MemoryLog::default())).apply(MoveRecord::new(planned.plan)).await.unwrap();
    }
    assert_eq!(fleet.names(2).await, ["a1", "b1", "taken"]);
    assert_eq!(fleet.names(0).await, ["a2", "taken"]);
}

#[tokio::test(start_paused = true)]
async fn relief_answers_by_its_deadline_and_one_sick_member_hides_no_other() {
    let fleet = Fleet::new(&["a", "b", "c"]);
    fleet.fill(0, &["a1"]).await;
    fleet.fill(1, &["b1"]).await;
    fleet.nodes[0].faults().always("node.list_containers", Fault::Delay(Duration::from_secs(3600))).unwrap();
    let id = fleet.nodes[1].list_containers(&ContainerFilter::all()).await.unwrap().remove(0).id;
    let mut loads = vec![bears("a", 95.0, &[("a1", 30.0)]), bears("b", 90.0, &[("b1", 30.0)]), bears("c", 0.0, &[])];
    loads[1].containers[0].id = id;
    let options = ReliefOptions { deadline: SOON, ..ReliefOptions::by(Criterion::Cpu) };
    let begun = Instant::now();
    let relief = fleet.pool.plan_relief(&loads, &options).await.unwrap();
    assert!(begun.elapsed() <= SOON);
    assert_eq!(relief.moves.iter().map(|planned| planned.plan.container.as_str()).collect::<Vec<_>>(), ["b1"]);
    assert_eq!(relief.strained.iter().map(|strained| strained.node.as_str()).collect::<Vec<_>>(), ["a"]);
}

#[tokio::test]
async fn relief_that_makes_no_sense_names_the_field() {
    let fleet = Fleet::new(&["a"]);
    for (field, value) in [
        ("cpu_percent", 0.0),
        ("cpu_percent", 100.1),
        ("cpu_percent", f64::NAN),
        ("latency_ms", -1.0),
        ("latency_ms", f64::INFINITY),
        ("margin_percent", -0.1),
        ("margin_percent", 100.0),
    ] {
        let mut options = ReliefOptions::default();
        match field {
            "cpu_percent" => options.cpu_percent = value,
            "latency_ms" => options.latency_ms = value,
            _ => options.margin_percent = value,
        }
        let refused = fleet.pool.plan_relief(&[], &options).await.unwrap_err();
        assert_eq!((refused.kind(), refused.field()), (ErrorKind::InvalidInput, Some(field)), "{value}");
    }
}

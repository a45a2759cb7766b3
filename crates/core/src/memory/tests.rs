//! What only the reference engine has: faults, seeds, paused time. The clauses of the traits are the conformance
//! suite's.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::{Fault, MemoryEngine, MemoryNode, MemoryOptions, PRESET_IMAGE, REGISTRY_IMAGE};
use crate::*;

fn node(options: MemoryOptions) -> MemoryNode {
    MemoryNode::new("sea", options).unwrap()
}

async fn running(node: &MemoryNode, script: &str) -> Arc<dyn Container> {
    let spec = ContainerSpec::new(PRESET_IMAGE).command(["sh", "-c", script]);
    let container = node.container(&node.create_container(&spec).await.unwrap().id);
    container.start().await.unwrap();
    container
}

async fn text(container: &Arc<dyn Container>, options: &LogOptions) -> String {
    let records: Vec<_> = container.logs(options).await.unwrap().try_collect().await.unwrap();
    records.iter().map(|record| String::from_utf8_lossy(&record.data).into_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn time_is_tokios_and_starts_where_it_was_told() {
    let base = Timestamp::from_unix_seconds(1_000_000).unwrap();
    let node = node(MemoryOptions { base_time: Some(base), ..MemoryOptions::default() });
    let container = running(&node, "echo one; sleep 3600; echo two").await;
    assert_eq!(container.wait(WaitFor::Stopped, Duration::from_secs(7200)).await.unwrap().exit_code, Some(0));
    let details = container.inspect().await.unwrap();
    assert_eq!(details.started_at, Some(base));
    assert_eq!(details.finished_at.unwrap().since(base).as_secs(), 3600);
    assert_eq!(text(&container, &LogOptions::default()).await, "one\ntwo\n");
    assert_eq!(text(&container, &LogOptions { tail: Some(1), ..LogOptions::default() }).await, "two\n");
}

#[tokio::test]
async fn equal_seeds_give_equal_ids_and_names() {
    let mut seen = Vec::new();
    for seed in [7, 7, 8] {
        let registry = Registry::new().with(MemoryEngine);
        let uri = format!("memory:?seed={seed}");
        let node = registry.connect("sea", &uri, &ConnectOptions::default()).await.unwrap();
        let made = node.create_container(&ContainerSpec::new(PRESET_IMAGE)).await.unwrap();
        assert!(node.engine().downcast_ref::<MemoryNode>().is_some());
        seen.push((made.id, made.name));
    }
    assert_eq!(seen[0], seen[1]);
    assert_ne!(seen[0], seen[2]);
}

#[tokio::test]
async fn bad_uris_are_refused() {
    let registry = Registry::new().with(MemoryEngine);
    for uri in [
        "memory:?sed=1",
        "memory:?seed=x",
        "memory://host",
        "memory:/path",
        "memory:?fault=x:y",
        "memory:?without=flying",
        "memory:?registry=a%20b",
    ] {
        let error = registry.connect("sea", uri, &ConnectOptions::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{uri}");
    }
    let node = registry.connect("sea", "memory:?without=freeze,events", &ConnectOptions::default()).await.unwrap();
    assert!(!node.capabilities().freeze && !node.capabilities().events && node.capabilities().kill);
}

#[tokio::test]
async fn scripted_faults_come_as_often_as_they_say() {
    let registry = Registry::new().with(MemoryEngine);
    let uri = "memory:?fault=node.list_containers:refuse:unavailable:2";
    let node = registry.connect("sea", uri, &ConnectOptions::default()).await.unwrap();
    for expected in [true, true, false] {
        let error = node.list_containers(&ContainerFilter::all()).await.err().map(|error| error.kind());
        assert_eq!(error == Some(ErrorKind::Unavailable), expected);
    }
}

#[tokio::test]
async fn what_vanishes_is_gone_and_garbage_breaks_nobody() {
    let node = node(MemoryOptions::default());
    let first = running(&node, "sleep 60").await;
    let _second = running(&node, "sleep 60").await;
    node.faults().script("node.list_containers", Fault::Vanish, 1).unwrap();
    assert_eq!(node.list_containers(&ContainerFilter::all()).await.unwrap().len(), 1);
    node.faults().script("node.list_containers", Fault::Garbage, 1).unwrap();
    let garbled = node.list_containers(&ContainerFilter::all()).await.unwrap();
    assert!(garbled.len() == 2 && garbled.iter().all(|item| item.state == ContainerState::Unknown));
    node.faults().script("container.inspect", Fault::Vanish, 1).unwrap();
    assert_eq!(first.inspect().await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(node.list_containers(&ContainerFilter::all()).await.unwrap().len(), 1);
    node.faults().script("*", Fault::Garbage, 1).unwrap();
    assert_eq!(node.ping().await.unwrap_err().kind(), ErrorKind::Unexpected);
}

#[tokio::test]
async fn when_the_engine_goes_away_everything_ends_and_it_comes_back() {
    let node = node(MemoryOptions::default());
    let container = running(&node, "echo one; sleep 60").await;
    let job = container.run(&JobSpec::new(["sleep", "60"])).await.unwrap();
    let mut logs = container.logs(&LogOptions { follow: true, ..LogOptions::default() }).await.unwrap();
    let mut events = node.events(&EventOptions::default()).await.unwrap();
    assert_eq!(logs.next().await.unwrap().unwrap().data, "one\n");
    let waiting = Arc::clone(&container);
    let wait = tokio::spawn(async move { waiting.wait(WaitFor::Stopped, Duration::from_secs(60)).await });
    tokio::task::yield_now().await;
    node.faults().leave();
    assert_eq!(logs.next().await.unwrap().unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(logs.next().await.is_none());
    assert_eq!(events.next().await.unwrap().unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(wait.await.unwrap().unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(node.ping().await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(job.wait(Duration::from_secs(5)).await.is_err());
    assert_eq!(job.status().await.unwrap().state, JobState::Lost);
    node.faults().come_back();
    node.ping().await.unwrap();
    assert_eq!(container.inspect().await.unwrap().summary.state, ContainerState::Running);
}

#[tokio::test]
async fn a_node_that_is_dropped_ends_its_processes() {
    let node = node(MemoryOptions::default());
    let container = running(&node, "while :; do sleep 0.01; done").await;
    let mut logs = container.logs(&LogOptions { follow: true, ..LogOptions::default() }).await.unwrap();
    let shared = Arc::downgrade(&node.shared);
    drop((node, container));
    assert!(shared.upgrade().is_some(), "a reader keeps the node");
    assert!(tokio::time::timeout(Duration::from_millis(20), logs.next()).await.is_err());
    drop(logs);
    assert!(shared.upgrade().is_none());
}

#[tokio::test]
async fn programs_do_what_scripts_expect() {
    let node = node(MemoryOptions::default());
    for (script, output, code) in [
        ("echo a 'b  c' \"$HOME\"; exit 3", "a b  c /root\n", 3),
        ("false || echo or; true && echo and; ! true; echo $?", "or\nand\n1\n", 0),
        ("for i in 1 2; do echo $i >> /tmp/f; done; cat /tmp/f", "1\n2\n", 0),
        (
            "echo x > /tmp/f; echo y >> /tmp/f; cat < /tmp/f; test -f /tmp/f && rm /tmp/f; cat /tmp/f 2> /dev/null",
            "x\ny\n",
            1,
        ),
        ("if [ -d /tmp ]; then echo yes; else echo no; fi; cd /tmp; pwd; nothing 2>/dev/null", "yes\n/tmp\n", 127),
        ("A=1; B=$A; echo ${B}x; printf '\\101\\n'; id -u; exec false", "1x\nA\n0\n", 1),
        ("echo 'unclosed", "sh: syntax error: a quote is not closed\n", 2),
    ] {
        let container = running(&node, script).await;
        let exit = container.wait(WaitFor::Stopped, Duration::from_secs(5)).await.unwrap();
        let said = text(&container, &LogOptions::default()).await;
        assert_eq!((said.as_str(), exit.exit_code), (output, Some(code)), "{script}");
    }
}

#[tokio::test]
async fn an_endless_loop_gives_way_and_can_be_killed() {
    let node = node(MemoryOptions::default());
    let busy = running(&node, "while :; do :; done").await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    busy.stop(&StopOptions::after_seconds(0)).await.unwrap();
    assert_eq!(busy.inspect().await.unwrap().exit_code, Some(137));
}

#[tokio::test]
async fn process_one_ignores_what_it_does_not_catch_and_an_init_helps() {
    let node = node(MemoryOptions::default());
    let plain = running(&node, "sleep 60").await;
    plain.kill(Signal::TERM).await.unwrap();
    let still = plain.wait(WaitFor::Stopped, Duration::from_millis(50)).await.unwrap_err();
    assert_eq!(still.kind(), ErrorKind::DeadlineExceeded);
    let mut spec = ContainerSpec::new(PRESET_IMAGE).command(["sleep", "60"]);
    spec.init = true;
    let helped = node.container(&node.create_container(&spec).await.unwrap().id);
    helped.start().await.unwrap();
    helped.kill(Signal::TERM).await.unwrap();
    assert_eq!(helped.wait(WaitFor::Stopped, Duration::from_secs(5)).await.unwrap().exit_code, Some(143));
}

#[tokio::test]
async fn pulling_takes_what_the_registry_has() {
    let node = node(MemoryOptions::default());
    let steps: Vec<_> = node.pull_image(&PullOptions::new(REGISTRY_IMAGE)).await.unwrap().try_collect().await.unwrap();
    assert!(steps.len() > 2 && steps.iter().any(|step| step.total_bytes.is_some()));
    node.inspect_image(REGISTRY_IMAGE).await.unwrap();
    let busybox = ContainerSpec::new("busybox");
    assert_eq!(node.create_container(&busybox).await.unwrap_err().kind(), ErrorKind::NotFound);
    node.pull_image(&PullOptions::new("busybox")).await.unwrap().try_collect::<Vec<_>>().await.unwrap();
    node.create_container(&busybox).await.unwrap();
    let missing: Result<Vec<_>> =
        node.pull_image(&PullOptions::new("registry.example/none")).await.unwrap().try_collect().await;
    assert_eq!(missing.unwrap_err().kind(), ErrorKind::NotFound);
    let broken = stream::once(async { Ok(Bytes::from_static(b"no archive")) }).boxed();
    let error = node.import_image(broken, &ImportOptions::new("a/b")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(node.inspect_image("a/b").await.is_err());
}

/// Every clause is kept or gated by what the node says that it cannot do: published ports, which are no call on a
/// container.
#[cfg(feature = "conformance")]
#[tokio::test]
async fn the_reference_engine_keeps_every_clause() {
    use crate::conformance::{Fixture, Outage, Outcome, PullReferences, clauses, run};

    let tried = clauses().map(|clause| async move {
        let registry = Registry::new().with(MemoryEngine);
        let uri = "memory://me:never%40shown@sea";
        let node = registry.connect("sea", uri, &ConnectOptions::default()).await.unwrap();
        let gone = Arc::new(MemoryNode::new("gone", MemoryOptions::default()).unwrap());
        let cut = Arc::clone(&gone);
        let fixture = Fixture::new(node, PRESET_IMAGE)
            .secret("never@shown")
            .secret("never%40shown")
            .pull(PullReferences::new(REGISTRY_IMAGE, "registry.example/none:latest"))
            .outage(Outage::new(gone, move || cut.faults().leave()));
        (clause.number(), run(clause, &fixture).await)
    });
    let mut outcomes: Vec<_> = stream::iter(tried).buffer_unordered(16).collect().await;
    outcomes.sort_by_key(|(number, _)| *number);
    let not_kept = outcomes.iter().filter(|(_, outcome)| *outcome != Outcome::Passed);
    let gated = |reason: &str| Outcome::Gated(reason.to_owned());
    let history = ["U30", "U31", "U32"].map(|number| (number, gated("usage_history")));
    let pools = ["N70", "N71"].map(|number| (number, gated("pools")));
    let expected =
        [vec![("N36", gated("ports"))], pools.to_vec(), vec![("U1", gated("host"))], history.to_vec()].concat();
    assert_eq!(not_kept.cloned().collect::<Vec<_>>(), expected);
}

/// The clause on secrets can fail, and its complaint does not tell the secret either.
#[cfg(feature = "conformance")]
#[tokio::test]
async fn a_secret_that_is_shown_is_found() {
    use crate::conformance::{Fixture, Outcome, clause, run};

    let clause = clause("N2").unwrap();
    for uri in ["memory://me:hunter2@sea", "memory:?fault=hunter2"] {
        let leaky = node(MemoryOptions { uri: uri.to_owned(), ..MemoryOptions::default() });
        match run(clause, &Fixture::new(Arc::new(leaky), PRESET_IMAGE).secret("hunter2")).await {
            Outcome::Failed(reason) => assert!(!reason.contains("hunter2"), "{reason}"),
            other => panic!("{uri}: {other:?}"),
        }
    }
    let without = Fixture::new(Arc::new(node(MemoryOptions::default())), PRESET_IMAGE);
    assert!(matches!(run(clause, &without).await, Outcome::Gated(_)));
}

#[tokio::test]
async fn processor_time_of_a_process_is_told_in_both_modes() {
    let node = node(MemoryOptions::default());
    let container = running(&node, "for i in 1 2 3; do true; done; sleep 60").await;
    let processes = container.processes().await.unwrap();
    for process in &processes {
        let (user, system) = (process.cpu_user_seconds.unwrap(), process.cpu_system_seconds.unwrap());
        assert!(user > 0.0 && (process.cpu_seconds - user - system).abs() < 1e-9, "{process:?}");
    }
    assert!(!processes.is_empty());
}

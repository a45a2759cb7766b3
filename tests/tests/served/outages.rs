//! A server that goes away and comes back: nothing has to be connected by hand, and nothing is missed in silence.

use std::time::Duration;

use futures_util::StreamExt;
use roadstead_core::memory::PRESET_IMAGE;
use roadstead_core::{
    AttachOptions, ConnectOptions, ContainerFilter, ContainerSpec, ErrorKind, Event, EventAction, EventOptions,
    ItemStream, JobSpec, JobState, Node, OutputOptions, Retry,
};
use roadstead_tests::served::Served;
use tokio::time::timeout;

use crate::fake::{Fake, Say};
use crate::way::Way;
use crate::{SOON, sleeper};

async fn next(events: &mut ItemStream<Event>) -> (EventAction, Option<String>) {
    let event = timeout(SOON, events.next()).await.expect("an event in time").expect("an event").unwrap();
    assert_eq!(event.node, "near");
    (event.action, event.name)
}

async fn connect(server: &Served, port: u16, away: Duration) -> std::sync::Arc<dyn Node> {
    let mut options = ConnectOptions::default();
    options.reconnect_deadline = away;
    roadstead_backends::registry().connect("near", &server.uri(port, "far"), &options).await.unwrap()
}

fn created(name: &str) -> (EventAction, Option<String>) {
    (EventAction::Created, Some(name.to_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_way_that_breaks_loses_no_event() {
    let server = Served::start(&[("far", "memory:")]).await.unwrap();
    let mut way = Way::to(server.port()).await;
    let node = connect(&server, way.port, SOON).await;
    let direct = connect(&server, server.port(), SOON).await;
    let mut events = node.events(&EventOptions::default()).await.unwrap();
    direct.create_container(&sleeper("before")).await.unwrap();
    assert_eq!(next(&mut events).await, created("before"));
    for round in 0..3 {
        way.down().await;
        let away = node.list_containers(&ContainerFilter::all()).await.unwrap_err();
        assert_eq!((away.kind(), away.retry()), (ErrorKind::Unavailable, Retry::Safe), "{away:?}");
        let unsent = node.create_container(&sleeper("never")).await.unwrap_err();
        assert_eq!((unsent.kind(), unsent.retry()), (ErrorKind::Unavailable, Retry::Safe), "{unsent:?}");
        let (meanwhile, after) = (format!("meanwhile{round}"), format!("after{round}"));
        direct.create_container(&sleeper(&meanwhile)).await.unwrap();
        way.up(server.port()).await;
        assert_eq!(next(&mut events).await, created(&meanwhile), "no gap, nothing twice, no resync");
        node.create_container(&sleeper(&after)).await.unwrap();
        assert_eq!(next(&mut events).await, created(&after));
    }
    drop(events);
    server.end().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_comes_back_is_gone_on_with() {
    let state = tempfile::tempdir().unwrap();
    let server = Served::start_in(state.path(), &[("far", "memory:")]).await.unwrap();
    let mut way = Way::to(server.port()).await;
    let node = connect(&server, way.port, SOON).await;
    let mut events = node.events(&EventOptions::default()).await.unwrap();
    node.create_container(&sleeper("old")).await.unwrap();
    assert_eq!(next(&mut events).await, created("old"));
    let old = node.container("old");
    old.start().await.unwrap();
    assert_eq!(next(&mut events).await.0, EventAction::Started);
    let job = old.run(&JobSpec::new(["sh", "-c", "echo begun; sleep 300"])).await.unwrap();
    let mut output = job.output(OutputOptions::follow()).await.unwrap();
    assert_eq!(&output.next().await.unwrap().unwrap().data[..], b"begun\n");

    way.down().await;
    server.end().await.unwrap();
    assert_eq!(node.ping().await.unwrap_err().kind(), ErrorKind::Unavailable);
    let server = Served::start_in(state.path(), &[("far", "memory:")]).await.unwrap();
    way.up(server.port()).await;

    // The simulation forgets everything with its server, and so do jobs: that is told, and not taken for an end.
    node.ping().await.unwrap();
    loop {
        let (action, _) = next(&mut events).await;
        if action == EventAction::Resync {
            break;
        }
    }
    let lost = job.wait(SOON).await.unwrap_err();
    assert_eq!(lost.kind(), ErrorKind::Unavailable, "{lost:?}");
    let status = job.status().await.unwrap();
    assert_eq!((status.state, status.exit_code, status.error.is_some()), (JobState::Lost, None, true));
    assert!(timeout(SOON, output.next()).await.expect("the output ends").is_none_or(|last| last.is_err()));
    assert_eq!(node.job(job.id()).await.err().unwrap().kind(), ErrorKind::NotFound);
    node.create_container(&sleeper("new")).await.unwrap();
    loop {
        if next(&mut events).await == created("new") {
            break;
        }
    }
    drop(events);
    server.end().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_outage_costs_a_job_nothing() {
    let server = Served::start(&[("far", "memory:")]).await.unwrap();
    let mut way = Way::to(server.port()).await;
    let node = connect(&server, way.port, SOON).await;
    node.create_container(&sleeper("web")).await.unwrap();
    let web = node.container("web");
    web.start().await.unwrap();
    let job =
        web.run(&JobSpec::new(["sh", "-c", "echo one; read line; echo two $line; exit 3"]).with_stdin()).await.unwrap();
    let mut output = job.output(OutputOptions::follow()).await.unwrap();
    assert_eq!(&output.next().await.unwrap().unwrap().data[..], b"one\n");
    way.down().await;
    let waiting = job.wait(SOON);
    let back = async {
        assert_eq!(job.status().await.unwrap_err().retry(), Retry::Safe);
        way.up(server.port()).await;
        job.write_stdin("more\n".into()).await.unwrap();
    };
    let (status, ()) = tokio::join!(waiting, back);
    let status = status.unwrap();
    assert_eq!((status.state, status.exit_code), (JobState::Failed, Some(3)));
    assert_eq!(&output.next().await.unwrap().unwrap().data[..], b"two more\n");
    assert!(output.next().await.is_none());
    server.end().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stays_away_is_given_up() {
    let server = Served::start(&[("far", "memory:")]).await.unwrap();
    let mut way = Way::to(server.port()).await;
    let node = connect(&server, way.port, Duration::from_secs(1)).await;
    let mut events = node.events(&EventOptions::default()).await.unwrap();
    way.down().await;
    let error = timeout(SOON, events.next()).await.unwrap().unwrap().unwrap_err();
    assert_eq!(
        (error.kind(), error.node(), error.operation()),
        (ErrorKind::Unavailable, Some("near"), Some("node.events"))
    );
    assert!(events.next().await.is_none());
    server.end().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_past_is_not_told_a_break_is() {
    let server = Served::start(&[("far", "memory:?without=events_since")]).await.unwrap();
    let mut way = Way::to(server.port()).await;
    let node = connect(&server, way.port, SOON).await;
    let mut events = node.events(&EventOptions::default()).await.unwrap();
    node.create_container(&sleeper("before")).await.unwrap();
    assert_eq!(next(&mut events).await, created("before"));
    way.down().await;
    way.up(server.port()).await;
    assert_eq!(next(&mut events).await.0, EventAction::Resync);
    node.create_container(&sleeper("after")).await.unwrap();
    assert_eq!(next(&mut events).await, created("after"));
    drop(events);
    server.end().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attachment_that_breaks_does_not_look_like_the_end_of_the_process() {
    let server = Served::start(&[("far", "memory:")]).await.unwrap();
    let mut way = Way::to(server.port()).await;
    let mut spec = ContainerSpec::new(PRESET_IMAGE).name("cat").command(["cat"]);
    spec.stdin = true;
    let node = connect(&server, way.port, SOON).await;
    node.create_container(&spec).await.unwrap();
    let cat = node.container("cat");
    cat.start().await.unwrap();
    // Whoever leaves takes the input along, and with it this process; another one goes on.
    let direct = connect(&server, server.port(), SOON).await;
    direct.create_container(&sleeper("web")).await.unwrap();
    let web = direct.container("web");
    web.start().await.unwrap();
    let mut options = AttachOptions::default();
    options.stdin = true;
    let mut cut = cat.attach(&options).await.unwrap();
    let input = cut.input.as_mut().unwrap();
    input.write("hello\n".into()).await.unwrap();
    let said = timeout(SOON, cut.output.next()).await.unwrap().unwrap().unwrap();
    assert_eq!((said.sequence, &said.data[..]), (1, &b"hello\n"[..]));
    let mut ended = web.attach(&AttachOptions::default()).await.unwrap();
    way.down().await;
    let error = timeout(SOON, cut.output.next()).await.unwrap().unwrap().unwrap_err();
    assert_eq!((error.kind(), error.node(), error.resource()), (ErrorKind::Unavailable, Some("near"), Some("cat")));
    assert!(cut.output.next().await.is_none());
    assert_eq!(cut.input.as_mut().unwrap().write("more".into()).await.unwrap_err().kind(), ErrorKind::Unavailable);
    server.end().await.unwrap();
    let error = timeout(SOON, ended.output.next()).await.unwrap().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("the server is ending"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_says_nothing_holds_back_no_job_of_others() {
    let silent = Fake::start(|_| Say::Silence).await;
    let server = Served::start(&[("far", "memory:"), ("silent", &silent.uri())]).await.unwrap();
    let node = connect(&server, server.port(), SOON).await;
    node.create_container(&sleeper("web")).await.unwrap();
    let web = node.container("web");
    web.start().await.unwrap();
    let job = web.run(&JobSpec::new(["true"])).await.unwrap();
    // A third of the time after which the server gives the silent one up.
    let found = timeout(SOON / 3, node.job(job.id())).await.expect("it is not held back").unwrap();
    assert_eq!(found.id(), job.id());
    assert!(silent.seen().iter().any(|line| line.contains("/capabilities")), "the silent one was connected");
    server.end().await.unwrap();
}

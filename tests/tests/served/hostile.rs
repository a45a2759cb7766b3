//! A server that means harm, or is none: every call ends with an error in bounded time and room, and says whether it may be
//! repeated.

use futures_util::{FutureExt, StreamExt, TryStreamExt, future::BoxFuture};
use roadstead_core::{
    AttachOptions, ContainerFilter, Error, ErrorKind, EventOptions, JobSpec, LogOptions, Node, PullOptions, Result,
    Retry,
};
use serde_json::json;

use crate::fake::{Fake, Say};
use crate::{SOON, sleeper};

/// Calls of every kind, each to the end of what it gives. Events go on by themselves.
fn calls(node: &dyn Node) -> Vec<(&'static str, BoxFuture<'_, Result<()>>)> {
    let web = node.container("web");
    let (one, two, three, four, five) = (web.clone(), web.clone(), web.clone(), web.clone(), web.clone());
    vec![
        ("info", async { node.info().await.map(drop) }.boxed()),
        ("list", async { node.list_containers(&ContainerFilter::all()).await.map(drop) }.boxed()),
        ("jobs", async { node.jobs().await.map(drop) }.boxed()),
        ("create", async { node.create_container(&sleeper("web")).await.map(drop) }.boxed()),
        ("images", async { node.list_images().await.map(drop) }.boxed()),
        ("volume", async { node.inspect_volume("v").await.map(drop) }.boxed()),
        (
            "pull",
            async { node.pull_image(&PullOptions::new("a/b:c")).await?.try_collect::<Vec<_>>().await.map(drop) }
                .boxed(),
        ),
        ("inspect", async move { one.inspect().await.map(drop) }.boxed()),
        ("run", async move { two.run(&JobSpec::new(["x"])).await.map(drop) }.boxed()),
        ("processes", async move { three.processes().await.map(drop) }.boxed()),
        (
            "logs",
            async move { four.logs(&LogOptions::default()).await?.try_collect::<Vec<_>>().await.map(drop) }.boxed(),
        ),
        ("attach", async move { five.attach(&AttachOptions::default()).await.map(drop) }.boxed()),
    ]
}

async fn all_fail(say: Say) -> Vec<(&'static str, Error)> {
    let words = format!("{say:?}");
    let fake = Fake::start(move |_| say.clone()).await;
    let node = fake.node().await;
    let mut errors = Vec::new();
    for (name, call) in calls(&*node) {
        let answer = tokio::time::timeout(SOON, call).await;
        let answer = answer.unwrap_or_else(|_| panic!("{name} does not end: {:.200}", words));
        let error = answer.err().unwrap_or_else(|| panic!("{name} was taken for good: {:.200}", words));
        assert_eq!(error.node(), Some("near"), "{name}: {error:?}");
        assert!(error.to_string().len() < 6000 && !error.to_string().contains(char::is_control), "{name}: {error}");
        errors.push((name, error));
    }
    errors
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_is_an_error() {
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    for say in [
        Say::HangUp,
        Say::Raw(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()),
        Say::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"items\":[".to_vec()),
        Say::Raw(format!("{chunked}zz\r\n").into_bytes()),
        Say::Raw(format!("{chunked}5\r\n{{\"ite").into_bytes()),
        Say::Raw(b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n".to_vec()),
        Say::Raw(b"HTTP/1.1 101 Switching\r\nupgrade: nonsense\r\nconnection: upgrade\r\n\r\n".to_vec()),
        Say::body("application/json", b""),
        Say::body("application/json", b"null"),
        Say::body("application/json", b"[[[["),
        Say::body("application/json", b"\xff\xfe"),
        Say::body("application/json", "[".repeat(100_000).as_bytes()),
        Say::body("application/json", br#"{"items":{"a":1},"id":7,"info":"x","spec":[]}"#),
        Say::body("application/json", br#"{"items":[null,7,"x",{"node":1}]}"#),
        Say::Json(500, json!({"code": ["x"], "detail": {}})),
        Say::Json(404, json!("gone\u{1b}[31m\r\n")),
    ] {
        let _ = all_fail(say).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_endless_ends() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n";
    for say in [
        Say::Endless("HTTP/1.1 200 OK\r\n", b"x-more: and more\r\n"),
        Say::Endless(head, b"      "),
        Say::Endless(head, b"data: xxxxxxxxxxxxxxxxxxxxxxxx\n"),
        Say::Endless("HTTP/1.1 500 No\r\n\r\n", b"no "),
    ] {
        let _ = all_fail(say).await;
    }
}

/// Pages that lead to each other, and a list that goes on for ever.
#[tokio::test(flavor = "multi_thread")]
async fn pages_that_turn_in_a_circle_are_left() {
    let fake = Fake::start(|_| Say::Json(200, json!({"items": [], "next": "again"}))).await;
    let error = fake.node().await.list_images().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unexpected);
    assert!(fake.seen().len() < 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn whether_a_call_may_be_repeated() {
    let fake = Fake::start(|_| Say::HangUp).await;
    let node = fake.node().await;
    let read = node.list_images().await.unwrap_err();
    assert_eq!((read.kind(), read.retry()), (ErrorKind::Unavailable, Retry::Safe));
    // It was sent: it may have been done.
    let write = node.create_container(&sleeper("web")).await.unwrap_err();
    assert_eq!((write.kind(), write.retry()), (ErrorKind::Unavailable, Retry::Unknown));
    let checked = node.check_container(&sleeper("web")).await.unwrap_err();
    assert_eq!(checked.retry(), Retry::Safe);
    drop(fake);
    // It never left.
    let away = loop {
        let error = node.create_container(&sleeper("web")).await.unwrap_err();
        // The listener is closed by a task.
        if error.retry() == Retry::Safe {
            break error;
        }
    };
    assert_eq!(away.kind(), ErrorKind::Unavailable);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_a_server_that_says_nothing_sensible_end() {
    let fake = Fake::start(|_| Say::Json(401, json!({"code": "unauthenticated", "detail": "who?"}))).await;
    let error = fake.node().await.events(&EventOptions::default()).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    // One that is understood once and never again.
    let fake = Fake::start(|_| {
        Say::body("text/event-stream", b"event: event\ndata: {\"time\":7}\n\nevent: error\ndata: 7\n\n")
    })
    .await;
    let mut events = fake.node().await.events(&EventOptions::default()).await.unwrap();
    let first = events.next().await.unwrap().unwrap();
    assert_eq!(first.action, roadstead_core::EventAction::Resync);
    assert_eq!(events.next().await.unwrap().unwrap_err().kind(), ErrorKind::Unexpected);
    assert!(events.next().await.is_none());
}

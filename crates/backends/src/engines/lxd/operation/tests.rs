//! Operations of a server that does what a test says, at the moment that it says.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use futures_util::SinkExt;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::broadcast;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::{Message, protocol::Role};

use super::super::transport::{Endpoint, Transport};
use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

/// What is sent to the websockets; `None` breaks them.
type Sent = Option<String>;

#[derive(Debug, Default)]
struct Asked {
    /// Requests, as method and target.
    requests: Vec<String>,
    /// Websockets that were opened.
    sockets: usize,
}

struct Script {
    /// Sent to the websockets when something is begun, before the answer.
    before: Vec<Sent>,
    /// Sent after the answer.
    after: Vec<Sent>,
    /// What is answered to who asks for the operation.
    looked: Option<Value>,
    /// Whether events of all projects may be had.
    all_projects: bool,
    /// How many websockets are served; further ones are refused.
    sockets: usize,
    may_cancel: bool,
}

impl Default for Script {
    fn default() -> Self {
        Script { before: vec![], after: vec![], looked: None, all_projects: true, sockets: 9, may_cancel: false }
    }
}

struct Server {
    _directory: tempfile::TempDir,
    path: PathBuf,
    asked: Arc<Mutex<Asked>>,
}

impl Server {
    fn start(script: Script) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("unix.socket");
        let listener = UnixListener::bind(&path).unwrap();
        let asked = Arc::new(Mutex::new(Asked::default()));
        let (news, _) = broadcast::channel(64);
        let (script, shared) = (Arc::new(script), Arc::clone(&asked));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&script), Arc::clone(&shared), news.clone()));
            }
        });
        Server { _directory: directory, path, asked }
    }

    fn client(&self) -> Client {
        let transport = Transport::new(Endpoint::Unix(self.path.clone()), PATIENCE).unwrap();
        Client::new(transport, "n", Some("p"), Duration::from_millis(200))
    }

    /// How often something whose method and target begin so was asked for.
    fn count(&self, beginning: &str) -> usize {
        self.asked.lock().unwrap().requests.iter().filter(|request| request.starts_with(beginning)).count()
    }

    async fn begin(&self, client: &Client) -> Operation {
        let operation = Request::post(&["instances"]).body(&json!({})).start(client).await.unwrap();
        assert_eq!(operation.id(), "op1");
        operation
    }
}

fn state(code: u16) -> Value {
    json!({"id": "op1", "status_code": code, "err": if code == 400 { "Instance is running" } else { "" }})
}

fn news(code: u16) -> Sent {
    Some(json!({"type": "operation", "timestamp": "", "metadata": state(code)}).to_string())
}

async fn serve(mut stream: UnixStream, script: Arc<Script>, asked: Arc<Mutex<Asked>>, news: broadcast::Sender<Sent>) {
    let (head, length) = read_head(&mut stream).await;
    let request = head.lines().next().unwrap_or_default().trim_end_matches(" HTTP/1.1").to_owned();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    asked.lock().unwrap().requests.push(request.clone());
    let refuse = |code: u16| (code, json!({"type": "error", "error": "no", "error_code": code}));
    let (code, answer) = if request.starts_with("GET /1.0/events") {
        if !script.all_projects && request.contains("all-projects") {
            refuse(403)
        } else if asked.lock().unwrap().sockets >= script.sockets {
            refuse(503)
        } else {
            asked.lock().unwrap().sockets += 1;
            return events(stream, &head, news.subscribe()).await;
        }
    } else if request.starts_with("POST") {
        script.before.iter().for_each(|sent| _ = news.send(sent.clone()));
        let mut begun = state(103);
        begun["may_cancel"] = script.may_cancel.into();
        (202, json!({"type": "async", "operation": "/1.0/operations/op1", "metadata": begun}))
    } else if request.starts_with("DELETE /1.0/operations/op1") {
        (200, json!({"type": "sync", "metadata": {}}))
    } else {
        match &script.looked {
            Some(state) => (200, json!({"type": "sync", "metadata": state})),
            None => refuse(404),
        }
    };
    let answer = answer.to_string();
    let text = format!("HTTP/1.1 {code} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{answer}", answer.len());
    stream.write_all(text.as_bytes()).await.unwrap();
    if request.starts_with("POST") {
        script.after.iter().for_each(|sent| _ = news.send(sent.clone()));
    }
}

async fn read_head(stream: &mut UnixStream) -> (String, usize) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    let length = header(&head, "content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
    (head, length)
}

fn header(head: &str, name: &str) -> Option<String> {
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.to_owned())
}

async fn events(mut stream: UnixStream, head: &str, mut news: broadcast::Receiver<Sent>) {
    let key = derive_accept_key(header(head, "sec-websocket-key").unwrap().as_bytes());
    let answer =
        format!("HTTP/1.1 101 X\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: {key}\r\n\r\n");
    stream.write_all(answer.as_bytes()).await.unwrap();
    let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
    socket.send(Message::Ping("keepalive".into())).await.unwrap();
    while let Ok(Some(text)) = news.recv().await {
        if socket.send(Message::text(text)).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn an_end_that_comes_before_the_answer_is_not_lost() {
    let server = Server::start(Script { before: vec![news(105), news(200)], ..Script::default() });
    let client = server.client();
    assert!(server.begin(&client).await.wait(PATIENCE).await.unwrap().is_final());
    assert_eq!((server.count("GET /1.0/events"), server.count("GET /1.0/operations")), (1, 0));
}

#[tokio::test]
async fn a_state_that_comes_after_the_end_changes_nothing() {
    let server = Server::start(Script { after: vec![news(105), news(400), news(103)], ..Script::default() });
    let client = server.client();
    let mut operation = server.begin(&client).await;
    let error = operation.wait(PATIENCE).await.unwrap_err();
    assert_eq!((error.kind(), error.node()), (ErrorKind::Conflict, Some("n")));
    assert_eq!(operation.changed().await.unwrap().status_code, 400);
}

#[tokio::test]
async fn what_happens_to_others_is_not_taken_for_it() {
    let other = json!({"type": "operation", "metadata": {"id": "op2", "status_code": 400}}).to_string();
    let noise = ["", "{", "[]", r#"{"type":"logging"}"#].map(|text| Some(text.to_owned()));
    let mut after = vec![Some(other)];
    after.extend(noise);
    after.push(news(200));
    let server = Server::start(Script { after, ..Script::default() });
    server.begin(&server.client()).await.wait(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn after_a_break_the_operation_is_asked_for_once() {
    let server = Server::start(Script { after: vec![None], looked: Some(state(200)), ..Script::default() });
    let client = server.client();
    server.begin(&client).await.wait(PATIENCE).await.unwrap();
    assert_eq!((server.count("GET /1.0/events"), server.count("GET /1.0/operations/op1")), (2, 1));
}

#[tokio::test]
async fn an_end_that_nobody_knows_any_more_is_told_as_unknown() {
    let server = Server::start(Script { after: vec![None], ..Script::default() });
    let error = server.begin(&server.client()).await.wait(PATIENCE).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Unknown));
}

#[tokio::test]
async fn a_server_that_stays_away_ends_the_wait() {
    let server = Server::start(Script { after: vec![None], sockets: 1, ..Script::default() });
    let error = server.begin(&server.client()).await.wait(PATIENCE).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Unknown));
    assert!(error.message().contains("away"), "{error}");
}

#[tokio::test]
async fn nothing_is_begun_when_its_end_could_not_be_told() {
    let server = Server::start(Script { sockets: 0, ..Script::default() });
    let error = Request::post(&["instances"]).start(&server.client()).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Safe));
    assert_eq!(server.count("POST"), 0);
}

#[tokio::test]
async fn what_takes_too_long_is_cancelled_if_it_can_be() {
    for may_cancel in [true, false] {
        let server = Server::start(Script { may_cancel, ..Script::default() });
        let client = server.client();
        let error = server.begin(&client).await.wait(Duration::from_millis(20)).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::DeadlineExceeded, Retry::Unknown));
        assert_eq!(server.count("DELETE /1.0/operations/op1"), usize::from(may_cancel));
    }
}

#[tokio::test]
async fn what_is_given_up_is_cancelled() {
    let server = Server::start(Script::default());
    let client = server.client();
    let mut operation = server.begin(&client).await;
    operation.cancel_when_dropped();
    drop(operation);
    let cancelled = async {
        while server.count("DELETE /1.0/operations/op1") == 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, cancelled).await.unwrap();
}

#[tokio::test]
async fn who_may_not_see_all_projects_sees_the_nodes_own() {
    let server = Server::start(Script { all_projects: false, after: vec![news(200)], ..Script::default() });
    server.begin(&server.client()).await.wait(PATIENCE).await.unwrap();
    assert_eq!(server.count("GET /1.0/events?type=operation&all-projects=true"), 1);
    assert_eq!(server.count("GET /1.0/events?type=operation&project=p"), 1);
}

#[tokio::test]
async fn many_waits_share_one_websocket() {
    let server = Server::start(Script { after: vec![news(200)], ..Script::default() });
    let client = server.client();
    let mut waits = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let client = client.clone();
        waits.spawn(async move { Request::post(&["instances"]).finish(&client, PATIENCE).await });
    }
    while let Some(wait) = waits.join_next().await {
        wait.unwrap().unwrap();
    }
    assert_eq!(server.count("GET /1.0/events"), 1);
}

//! Webhooks: what a receiver is sent, and when it is left alone.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use ring::hmac;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::rig::{Rig, config};

/// A message as the receiver got it.
#[derive(Debug)]
struct Message {
    path: String,
    id: String,
    webhook: String,
    timestamp: String,
    signature: String,
    body: Vec<u8>,
}

impl Message {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn events(&self) -> Vec<Value> {
        self.json()["data"]["events"].as_array().unwrap().clone()
    }

    /// As a receiver does it.
    fn is_signed_with(&self, secret: &str) -> bool {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        let signed = [format!("{}.{}.", self.id, self.timestamp).as_bytes(), &self.body].concat();
        let signature = STANDARD.decode(self.signature.strip_prefix("v1,").unwrap()).unwrap();
        hmac::verify(&key, &signed, &signature).is_ok()
    }
}

/// Takes messages.
struct Receiver {
    url: String,
    messages: mpsc::UnboundedReceiver<Message>,
    /// What the next ones are answered with; 204 behind them.
    answers: Arc<Mutex<VecDeque<u16>>>,
}

impl Receiver {
    fn start() -> Receiver {
        let answers: Arc<Mutex<VecDeque<u16>>> = Arc::default();
        let (sender, messages) = mpsc::unbounded_channel();
        let planned = Arc::clone(&answers);
        let server = HttpServer::new(move || {
            let (sender, planned) = (sender.clone(), Arc::clone(&planned));
            App::new().default_service(web::to(move |req: HttpRequest, body: web::Bytes| {
                let header = |name: &str| req.headers().get(name).unwrap().to_str().unwrap().to_owned();
                let message = Message {
                    path: req.path().to_owned(),
                    id: header("webhook-id"),
                    webhook: header("roadstead-webhook"),
                    timestamp: header("webhook-timestamp"),
                    signature: header("webhook-signature"),
                    body: body.to_vec(),
                };
                let status = planned.lock().unwrap().pop_front().unwrap_or(204);
                let _ = sender.send(message);
                let status = actix_web::http::StatusCode::from_u16(status).unwrap();
                async move { HttpResponse::build(status).insert_header(("location", "/elsewhere")).finish() }
            }))
        })
        .workers(1)
        .disable_signals()
        .bind("127.0.0.1:0")
        .unwrap();
        let url = format!("http://{}/hook", server.addrs()[0]);
        tokio::spawn(server.run());
        Receiver { url, messages, answers }
    }

    fn answer(&self, statuses: impl IntoIterator<Item = u16>) {
        *self.answers.lock().unwrap() = statuses.into_iter().collect();
    }

    async fn next(&mut self) -> Message {
        let message = tokio::time::timeout(Duration::from_secs(20), self.messages.recv());
        message.await.expect("a message in time").expect("it receives")
    }
}

async fn view(rig: &Rig, id: &str, is: impl Fn(&Value) -> bool) -> Value {
    let mut seen = json!(null);
    for _ in 0..800 {
        seen = rig.get(&format!("/v1/webhooks/{id}")).await.is(200).json();
        if is(&seen) {
            return seen;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("it stays {seen}");
}

async fn hook(rig: &Rig, body: Value) -> (String, Value) {
    let made = rig.post("/v1/webhooks", body).await.is(201);
    let view = made.json();
    let id = view["id"].as_str().unwrap().to_owned();
    assert_eq!(made.header("location"), format!("/v1/webhooks/{id}"));
    (id, view)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wanted_is_delivered_signed_and_in_order() {
    let rig = Rig::start().await;
    let mut receiver = Receiver::start();
    let wanted = json!({"nodes": ["sea"], "actions": ["created", "deleted"], "resources": ["container"]});
    let (id, made) = hook(&rig, json!({"url": receiver.url, "filter": wanted})).await;
    let secret = made["secret"].as_str().unwrap();
    assert_eq!((&made["state"], &made["filter"], &made["failed_attempts"]), (&json!("enabled"), &wanted, &json!(0)));
    let first = rig.container("first").await;
    let second = rig.container("second").await;
    rig.delete(&format!("/v1/nodes/sea/containers/{first}?force=true")).await.is(204);
    let (mut seen, mut ids) = (Vec::new(), Vec::new());
    let mut last = json!(null);
    while seen.len() < 3 {
        let message = receiver.next().await;
        assert!(message.is_signed_with(secret), "{message:?}");
        let age = roadstead_core::Timestamp::now().unix_seconds() - message.timestamp.parse::<i64>().unwrap();
        assert!((0..60).contains(&age), "{age}");
        assert_eq!((message.webhook.as_str(), message.path.as_str()), (id.as_str(), "/hook"));
        assert!(!ids.contains(&message.id), "it was taken already: {message:?}");
        let json = message.json();
        assert_eq!((&json["type"], &json["data"]["webhook"]), (&json!("events"), &json!(id)));
        ids.push(message.id.clone());
        for event in message.events().into_iter().filter(|event| event["action"] != "resync") {
            last = event["cursor"].clone();
            seen.push((event["action"].as_str().unwrap().to_owned(), event["id"].as_str().unwrap().to_owned()));
        }
    }
    let all = [("created", &first), ("created", &second), ("deleted", &first)];
    assert_eq!(seen, all.map(|(action, id)| (action.to_owned(), id.clone())));
    let seq = |cursor: &Value| cursor.as_str().unwrap().rsplit_once('.').unwrap().1.parse::<u64>().unwrap();
    let delivered = view(&rig, &id, |seen| seq(&seen["cursor"]) >= seq(&last)).await;
    assert_eq!((&delivered["last_success"]["status"], &delivered["secret"]), (&json!(204), &json!(null)));
    assert_eq!(rig.get("/v1/webhooks").await.is(200).json()["items"], json!([delivered]));
    // A test is signed, too, and says what came of it.
    receiver.answer([204, 503]);
    let told = rig.act(&format!("/v1/webhooks/{id}/test")).await.is(200).json();
    assert_eq!((&told["delivered"], &told["status"], &told["reason"]), (&json!(true), &json!(204), &json!(null)));
    let message = receiver.next().await;
    assert!(message.is_signed_with(secret) && message.json()["type"] == "test", "{message:?}");
    let told = rig.act(&format!("/v1/webhooks/{id}/test")).await.is(200).json();
    assert_eq!((&told["delivered"], &told["status"]), (&json!(false), &json!(503)));
    let after = rig.get(&format!("/v1/webhooks/{id}")).await.is(200).json();
    assert_eq!((&after["state"], &after["last_failure"]), (&json!("enabled"), &json!(null)), "a test changes nothing");
    // What is forgotten is told of nothing.
    rig.delete(&format!("/v1/webhooks/{id}")).await.is(204);
    rig.get(&format!("/v1/webhooks/{id}")).await.problem(404, "not_found");
    let (other, _) = hook(&rig, json!({"url": receiver.url})).await;
    rig.container("third").await;
    let _ = receiver.next().await;
    assert_eq!(receiver.next().await.webhook, other);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_fails_is_tried_again_then_left_alone_then_tried_again() {
    let rig = Rig::with(|config| config.webhook_retry_seconds = 2).await;
    let mut receiver = Receiver::start();
    // A redirection is not followed, and no success.
    receiver.answer([307, 500, 429]);
    let body =
        json!({"url": receiver.url, "filter": {"actions": ["created"]}, "secret": format!("whsec_{}", "A".repeat(32))});
    let (id, made) = hook(&rig, body).await;
    assert_eq!(made["secret"], json!(null), "whoever gave it knows it");
    let web = rig.container("web").await;
    let (first, second) = (receiver.next().await, receiver.next().await);
    assert_eq!((&first.id, &first.body), (&second.id, &second.body), "the same message");
    assert_eq!((first.path.as_str(), second.path.as_str()), ("/hook", "/hook"));
    receiver.answer(std::iter::repeat_n(500, 1000));
    let disabled = view(&rig, &id, |seen| seen["state"] == "disabled").await;
    let reason = disabled["disabled"]["reason"].as_str().unwrap();
    assert!(reason.contains("times since") && reason.contains("answered with 500"), "{reason}");
    assert!(disabled["failed_attempts"].as_u64().unwrap() >= 3 && disabled["failing_since"].is_string(), "{disabled}");
    // Nothing is on its way any more.
    while receiver.messages.try_recv().is_ok() {}
    receiver.answer([]);
    rig.container("unheard").await;
    let told = rig.act(&format!("/v1/webhooks/{id}/test")).await.is(200).json();
    assert_eq!(told["delivered"], true, "a test goes to one that is disabled, too");
    assert_eq!(receiver.next().await.json()["type"], "test");
    assert!(receiver.messages.try_recv().is_err());
    let enabled = rig.act(&format!("/v1/webhooks/{id}/enable")).await.is(200).json();
    assert_eq!((&enabled["state"], &enabled["failed_attempts"]), (&json!("enabled"), &json!(0)));
    assert_eq!((&enabled["disabled"], &enabled["failing_since"]), (&json!(null), &json!(null)));
    let mut heard = Vec::new();
    while heard.len() < 2 {
        let events = receiver.next().await.events().into_iter().filter(|event| event["action"] == "created");
        heard.extend(events.map(|event| event["name"].as_str().unwrap().to_owned()));
    }
    assert_eq!(heard, ["web", "unheard"], "from where it stopped; {web}");
    // One that is told that nothing is wanted any more does not go on.
    receiver.answer([410]);
    rig.container("last").await;
    let gone = view(&rig, &id, |seen| seen["state"] == "disabled").await;
    assert_eq!((&gone["failed_attempts"], &gone["last_failure"]["status"]), (&json!(1), &json!(410)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_taken_is_delivered_after_a_restart() {
    let rig = Rig::start().await;
    let mut receiver = Receiver::start();
    receiver.answer(std::iter::repeat_n(503, 1000));
    let (id, made) = hook(&rig, json!({"url": receiver.url, "filter": {"actions": ["created"]}})).await;
    rig.container("before").await;
    let missed = receiver.next().await;
    let failing = view(&rig, &id, |seen| seen["failed_attempts"] != 0).await;
    let Rig { directory, running, .. } = rig;
    running.shutdown().await.unwrap();
    while receiver.messages.try_recv().is_ok() {}
    receiver.answer([]);
    let rig = {
        let config = config(&directory);
        Rig::on(directory, config).await
    };
    let message = receiver.next().await;
    assert!(message.is_signed_with(made["secret"].as_str().unwrap()));
    assert_eq!(message.events()[0], missed.events()[0]);
    let taken = view(&rig, &id, |seen| seen["failing_since"] == json!(null)).await;
    assert_eq!(taken["created_at"], failing["created_at"]);
    // What is not what the store was sealed with is nowhere to be read.
    drop(rig.running.shutdown().await);
    let secret = made["secret"].as_str().unwrap().as_bytes();
    let state = rig.directory.path().join("state");
    for directory in [state.join("audit"), state] {
        let entries = std::fs::read_dir(directory).unwrap().map(Result::unwrap);
        for file in entries.filter(|entry| entry.file_type().unwrap().is_file()) {
            let bytes = std::fs::read(file.path()).unwrap();
            assert!(!bytes.windows(secret.len()).any(|bytes| bytes == secret), "{file:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_webhooks_are_refused_and_nothing_is_kept() {
    let rig = Rig::start().await;
    let good = "https://example.com/hook";
    for (body, field) in [
        (json!({}), "url"),
        (json!({"url": "http://example.com/hunter2"}), "url"),
        (json!({"url": "https://me:hunter2@example.com/"}), "url"),
        (json!({"url": good, "secret": "hunter2"}), "secret"),
        (json!({"url": good, "secret": 7}), "secret"),
        (json!({"url": good, "filter": {"actions": ["explode"]}}), "filter.actions"),
        (json!({"url": good, "filter": {"nodes": ["a b"]}}), "filter.nodes"),
        (json!({"url": good, "filter": {"resources": ["ship"]}}), "filter.resources"),
        (json!({"url": good, "filter": {"colour": "red"}}), "filter.colour"),
        (json!({"url": good, "retries": 3}), "retries"),
    ] {
        let problem = rig.post("/v1/webhooks", body.clone()).await.problem(400, "invalid_input");
        assert_eq!(problem["field"], field, "{body}");
        assert!(!problem.to_string().contains("hunter2"), "{problem}");
    }
    assert_eq!(rig.get("/v1/webhooks").await.is(200).json()["items"], json!([]));
    let absent = "0".repeat(32);
    for id in [absent.as_str(), "x", "..%2Fnodes"] {
        rig.get(&format!("/v1/webhooks/{id}")).await.problem(404, "not_found");
        rig.delete(&format!("/v1/webhooks/{id}")).await.problem(404, "not_found");
        for verb in ["enable", "test"] {
            let request = rig.request(Method::POST, &format!("/v1/webhooks/{id}/{verb}"));
            rig.send(request).await.problem(404, "not_found");
        }
    }
}

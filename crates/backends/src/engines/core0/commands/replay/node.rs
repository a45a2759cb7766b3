//! What the client speaks to: a redis-server of the test's own, and behind it a node that knows one answer, the captured one.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command as Process, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use serde_json::Value;
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

use super::super::super::address::Address;
use super::super::super::client::Client;
use super::transcripts::Exchange;

/// The node, and what was pushed to it.
pub(in crate::engines::core0) struct Node {
    server: Child,
    _log: BufReader<ChildStdout>,
    replayer: JoinHandle<()>,
    redis: MultiplexedConnection,
    socket: PathBuf,
    known: Arc<Mutex<Known>>,
    _directory: tempfile::TempDir,
}

#[derive(Default)]
struct Known {
    answer: Option<Exchange>,
    /// Those of several commands, by name, the next one first.
    script: Vec<(&'static str, Exchange)>,
    pushed: Vec<Value>,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.replayer.abort();
        // By its own handle, whose process id is not anybody else's before it was waited for.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

impl Node {
    pub(in crate::engines::core0) async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("redis.sock");
        let mut server = Process::new("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"])
            .arg(&socket)
            .current_dir(directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("redis-server must be installed: tests/engines/install does it");
        // It says when it listens; what it says later fits into the pipe.
        let mut log = BufReader::new(server.stdout.take().unwrap());
        let mut line = String::new();
        while !line.to_lowercase().contains("ready to accept connections") {
            line.clear();
            assert_ne!(log.read_line(&mut line).unwrap(), 0, "redis-server ended");
        }
        let redis = connect(&socket).await;
        let known = Arc::<Mutex<Known>>::default();
        let replayer = tokio::spawn(replay(connect(&socket).await, Arc::clone(&known)));
        Node { server, _log: log, replayer, redis, socket, known, _directory: directory }
    }

    pub(in crate::engines::core0) fn client(&self) -> Arc<Client> {
        let uri = format!("core0+unix://{}", self.socket.display()).parse().unwrap();
        Client::new(Address::read(&uri, &roadstead_core::ConnectOptions::default()).unwrap())
    }

    /// Where its Redis listens.
    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Answers what comes with this from now on, and forgets what came before.
    pub(super) fn expect(&self, exchange: &Exchange) {
        *self.known.lock().unwrap() = Known { answer: Some(exchange.clone()), ..Known::default() };
    }

    /// Answers each of these commands, in their order, with the document that stands beside it.
    pub(in crate::engines::core0) fn script(&self, answers: &[(&'static str, Value)]) {
        let exchange = |document: &Value| Exchange {
            text: String::new(),
            dispatched: None,
            accepted: true,
            result: Some(document.to_string()),
        };
        let script = answers.iter().map(|(name, document)| (*name, exchange(document))).collect();
        *self.known.lock().unwrap() = Known { script, ..Known::default() };
    }

    /// A connection to its Redis, past everything.
    pub(super) async fn connect(&self) -> MultiplexedConnection {
        connect(&self.socket).await
    }

    /// What was pushed since.
    pub(in crate::engines::core0) fn pushed(&self) -> Vec<Value> {
        std::mem::take(&mut self.known.lock().unwrap().pushed)
    }

    /// Any command of Redis.
    pub(in crate::engines::core0) async fn ask<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        ask(&mut self.redis.clone(), words).await
    }

    /// Puts a list there, as if nothing had been before.
    pub(in crate::engines::core0) async fn put(&self, key: &str, values: &[String]) {
        let _: i64 = self.ask(&["DEL", key]).await;
        for value in values {
            let _: i64 = self.ask(&["RPUSH", key, value]).await;
        }
    }
}

async fn connect(socket: &Path) -> MultiplexedConnection {
    let stream = UnixStream::connect(socket).await.unwrap();
    let settings = redis::RedisConnectionInfo::default();
    // Long waits are what this connection is for.
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(None);
    let (connection, driver) = MultiplexedConnection::new_with_config(&settings, stream, config).await.unwrap();
    tokio::spawn(driver);
    connection
}

async fn ask<T: redis::FromRedisValue>(redis: &mut MultiplexedConnection, words: &[&str]) -> T {
    let mut words = words.iter();
    let mut command = redis::cmd(words.next().unwrap());
    for word in words {
        command.arg(*word);
    }
    command.query_async(redis).await.unwrap()
}

async fn replay(mut redis: MultiplexedConnection, known: Arc<Mutex<Known>>) {
    loop {
        let found: Option<(String, String)> = ask(&mut redis, &["BLPOP", "core:default", "0"]).await;
        let Some((_, text)) = found else { continue };
        let document: Value = serde_json::from_str(&text).expect("what is pushed is JSON");
        let answer = {
            let mut known = known.lock().unwrap();
            known.pushed.push(document.clone());
            let next = known.script.iter().position(|(name, _)| document["command"] == *name);
            next.map(|next| known.script.remove(next).1).or_else(|| known.answer.clone())
        };
        let (Some(answer), Some(id)) = (answer, document["id"].as_str()) else { continue };
        let mut id = id.to_owned();
        if let Some(dispatched) = &answer.dispatched {
            // The job in the container has the id that the client asked for, or one of the node's.
            let inner = document["arguments"]["command"]["id"].as_str().filter(|id| !id.is_empty());
            let job = inner.map_or_else(|| uuid::Uuid::new_v4().to_string(), str::to_owned);
            let mut outer: Value = serde_json::from_str(dispatched).unwrap();
            if outer["state"] == "SUCCESS" {
                outer["data"] = Value::String(Value::String(job.clone()).to_string());
            }
            finish(&mut redis, &id, &outer.to_string()).await;
            id = job;
        }
        match &answer.result {
            Some(result) => finish(&mut redis, &id, result).await,
            None if answer.accepted => accept(&mut redis, &id, -1).await,
            None => {}
        }
    }
}

/// The flag alone, for so many seconds; for ever while a job runs.
async fn accept(redis: &mut MultiplexedConnection, id: &str, seconds: i64) {
    let flag = format!("result:{id}:flag");
    let _: i64 = ask(redis, &["RPUSH", &flag, ""]).await;
    if seconds >= 0 {
        let _: i64 = ask(redis, &["EXPIRE", &flag, &seconds.to_string()]).await;
    }
}

/// The flag, and then the result.
async fn finish(redis: &mut MultiplexedConnection, id: &str, result: &str) {
    let key = format!("result:{id}");
    accept(redis, id, 300).await;
    let _: i64 = ask(redis, &["RPUSH", &key, &with_id(result, id)]).await;
    let _: i64 = ask(redis, &["EXPIRE", &key, "300"]).await;
}

/// The captured text, in which only the id is another one.
fn with_id(result: &str, id: &str) -> String {
    let captured = serde_json::from_str::<Value>(result).unwrap()["id"].clone();
    let ours = Value::String(id.to_owned());
    result.replacen(&format!("\"id\":{captured}"), &format!("\"id\":{ours}"), 1)
}

/// How long nothing may happen before a test gives up; nothing waits for it to pass.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

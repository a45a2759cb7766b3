//! What jobs say, for whoever reads: the list of each job that streams, and the lists that are subscribed to.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use redis::Pipeline;
use serde_json::{Value, json};
use tokio::sync::{Mutex, mpsc};
use uuid::Uuid;

use super::arguments::Fields;
use super::builtins::Failure;
use super::message::{END, END_ERROR, Record, STREAM};
use super::redis_link::RedisLink;

/// Entries of a `stream:` list.
const STREAM_LENGTH: isize = 1000;
/// Seconds after the last entry for which a `stream:` list is kept.
const STREAM_KEPT: i64 = 60;
/// Entries which a new subscriber gets from before.
const BACKLOG: usize = 1000;

/// The logs of a node.
pub(crate) struct Logs {
    records: mpsc::Sender<Record>,
    subscriptions: Mutex<Subscriptions>,
    redis: Arc<RedisLink>,
    /// Entries of a `logger:` list.
    length: isize,
}

#[derive(Default)]
struct Subscriptions {
    backlog: VecDeque<Record>,
    /// By list: the levels it wants, all when there are none.
    lists: HashMap<String, Vec<u64>>,
}

fn wanted(levels: &[u64], record: &Record) -> bool {
    levels.is_empty() || levels.contains(&record.message.level()) || record.message.has(END | END_ERROR)
}

fn written(record: &Record) -> String {
    serde_json::to_string(record).unwrap_or_default()
}

impl Logs {
    /// `length` is how many entries a subscribed list keeps.
    pub(crate) fn start(redis: Arc<RedisLink>, length: isize) -> Arc<Self> {
        let (records, mut received) = mpsc::channel(1000);
        let logs = Arc::new(Logs { records, subscriptions: Mutex::default(), redis, length });
        let pushing = logs.clone();
        tokio::spawn(async move {
            while let Some(record) = received.recv().await {
                pushing.push(record).await;
            }
        });
        logs
    }

    /// Passes a record on; waits while too many are under way.
    pub(crate) async fn record(&self, record: Record) {
        let _ = self.records.send(record).await;
    }

    async fn push(&self, record: Record) {
        let mut commands = Pipeline::new();
        let mut any = false;
        let document = written(&record);
        if record.message.has(STREAM) {
            let list = format!("stream:{}", record.command);
            commands.rpush(&list, &document).ignore();
            commands.ltrim(&list, -STREAM_LENGTH, -1).ignore();
            commands.expire(&list, STREAM_KEPT).ignore();
            any = true;
        }
        // Held until it is pushed, so that a new list's backlog and what follows it are in order.
        let mut subscriptions = self.subscriptions.lock().await;
        for (list, levels) in &subscriptions.lists {
            if wanted(levels, &record) {
                commands.rpush(list, &document).ignore();
                commands.ltrim(list, -self.length, -1).ignore();
                any = true;
            }
        }
        subscriptions.backlog.push_back(record);
        if subscriptions.backlog.len() > BACKLOG {
            subscriptions.backlog.pop_front();
        }
        if any {
            let _ = self.redis.send::<()>(&commands).await;
        }
    }

    /// `logger.subscribe`.
    pub(crate) fn subscribe(self: Arc<Self>, arguments: Option<&Value>) -> Result<Value, Failure> {
        let mut fields = Fields::of(
            arguments,
            "struct { Queue string \"json:\\\"queue\\\"\"; Levels []uint16 \"json:\\\"levels\\\"\" }",
        )?;
        let queue = fields.text("queue");
        let levels =
            fields.elements("levels", "[]uint16").map(|levels| levels.iter().filter_map(Value::as_u64).collect());
        fields.finish(500)?;
        let queue = if queue.is_empty() { Uuid::new_v4().to_string() } else { queue };
        let list = format!("logger:{queue}");
        let answer = json!(list);
        tokio::spawn(async move { self.fill(list, levels.unwrap_or_default()).await });
        Ok(answer)
    }

    async fn fill(&self, list: String, levels: Vec<u64>) {
        let mut subscriptions = self.subscriptions.lock().await;
        if subscriptions.lists.contains_key(&list) {
            return;
        }
        let mut commands = Pipeline::new();
        for record in subscriptions.backlog.iter().filter(|record| wanted(&levels, record)) {
            commands.rpush(&list, written(record)).ignore();
        }
        commands.ltrim(&list, -self.length, -1).ignore();
        subscriptions.lists.insert(list, levels);
        let _ = self.redis.send::<()>(&commands).await;
    }

    /// `logger.unsubscribe`.
    pub(crate) async fn unsubscribe(&self, arguments: Option<&Value>) -> Result<Value, Failure> {
        let mut fields = Fields::of(arguments, "struct { Queue string \"json:\\\"queue\\\"\" }")?;
        let queue = fields.text("queue");
        fields.finish(500)?;
        if queue.is_empty() {
            return Err(Failure::new(500, "queue is required"));
        }
        self.subscriptions.lock().await.lists.remove(&queue);
        Ok(Value::Null)
    }
}

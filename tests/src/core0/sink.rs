//! The queue that commands are taken from, the flags that tell that one was accepted, and the lists that results go to.

use std::sync::Arc;

use redis::Pipeline;

use super::command::Command;
use super::engine::Engine;
use super::redis_link::RedisLink;
use super::result::{JobResult, UNKNOWN_CMD};

/// Where commands for a node are pushed.
const QUEUE: &str = "core:default";
/// Seconds for which flags and results are kept.
pub(crate) const KEPT: i64 = 300;

/// The sink of a node.
#[derive(Clone)]
pub(crate) struct Sink {
    redis: Arc<RedisLink>,
}

fn flag_of(id: &str) -> String {
    format!("result:{id}:flag")
}

impl Sink {
    pub(crate) fn new(redis: Arc<RedisLink>) -> Self {
        Sink { redis }
    }

    /// Takes commands for ever, each once.
    pub(crate) async fn serve(&self, engine: &Engine) {
        let mut connection = self.redis.connect().await;
        loop {
            let next =
                redis::cmd("BLPOP").arg(QUEUE).arg(10).query_async::<Option<(String, Vec<u8>)>>(&mut connection).await;
            match next {
                Ok(Some((_, document))) => self.take(&document, engine).await,
                Ok(None) => {}
                Err(error) => {
                    eprintln!("core0: {QUEUE}: {error}");
                    connection = self.redis.connect().await;
                }
            }
        }
    }

    /// Runs a command, or drops it without a word to whoever pushed it.
    async fn take(&self, document: &[u8], engine: &Engine) {
        let command = match Command::decode(document) {
            Ok(command) if command.id.is_empty() => return eprintln!("core0: dropped a command without an id"),
            Ok(command) => command,
            Err(reason) => return eprintln!("core0: dropped a command: {reason}"),
        };
        let mut asked = Pipeline::new();
        asked.exists(flag_of(&command.id));
        // Where that cannot be asked, a node takes it for a no.
        if matches!(self.redis.send::<(bool,)>(&asked).await, Ok((true,))) {
            return eprintln!("core0: dropped {}: its id is known", command.id);
        }
        self.flag(&command.id).await;
        if engine.run(command.clone()).is_err() {
            eprintln!("core0: {}: its id is that of a job", command.id);
        }
    }

    /// Tells that a command was accepted.
    pub(crate) async fn flag(&self, id: &str) {
        let mut flag = Pipeline::new();
        flag.rpush(flag_of(id), "");
        let _ = self.redis.send::<()>(&flag).await;
    }

    /// Reports a result, once. Whether the flag could be given its time is of no matter, and the result goes by itself.
    pub(crate) async fn forward(&self, result: &JobResult) {
        let Ok(document) = serde_json::to_string(result) else { return };
        let list = format!("result:{}", result.id);
        let (mut unflag, mut push, mut expire) = (Pipeline::new(), Pipeline::new(), Pipeline::new());
        unflag.expire(flag_of(&result.id), KEPT);
        push.rpush(&list, document);
        expire.expire(&list, KEPT);
        let _ = self.redis.send::<()>(&unflag).await;
        match self.redis.send::<()>(&push).await {
            Ok(()) => {
                let _ = self.redis.send::<()>(&expire).await;
            }
            Err(error) => eprintln!("core0: lost the result of {}: {error}", result.id),
        }
        if result.state == UNKNOWN_CMD {
            eprintln!("core0: {}: no command {}", result.id, result.command);
        }
    }

    /// Waits for the result of a flagged command without consuming it.
    pub(crate) async fn result_of(&self, id: &str) -> Option<JobResult> {
        let list = format!("result:{id}");
        let mut connection = self.redis.connect().await;
        let answer = redis::cmd("BRPOPLPUSH")
            .arg(&list)
            .arg(&list)
            .arg(KEPT)
            .query_async::<Option<String>>(&mut connection)
            .await;
        serde_json::from_str(&answer.ok()??).ok()
    }
}

//! Pushes what was pushed, and remembers what the captured ids are here.

use std::collections::HashMap;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::captures::{Capture, parsed};
use crate::compare::{results, times_left, times_left_while_it_ends};
use crate::world::World;

/// Seconds that any answer may take.
const PATIENCE: i64 = 20;

pub(crate) type Verdict = Result<(), String>;

/// What is compared once something else has happened.
pub(crate) struct Deferred {
    pub(crate) capture: Capture,
    /// The case that it waits for.
    pub(crate) until: &'static str,
}

pub(crate) struct Replayer {
    pub(crate) world: World,
    pub(crate) redis: redis::Connection,
    /// From captured containers to ours.
    containers: HashMap<u64, u64>,
    /// From captured texts, such as file descriptors, to ours.
    texts: HashMap<String, String>,
    pub(crate) deferred: Vec<Deferred>,
}

impl Replayer {
    pub(crate) fn new(world: World) -> Self {
        let redis = world.connect();
        Replayer { world, redis, containers: HashMap::new(), texts: HashMap::new(), deferred: Vec::new() }
    }

    pub(crate) fn ask<T: redis::FromRedisValue>(&mut self, command: &[&str]) -> T {
        let mut sent = redis::cmd(command[0]);
        for part in &command[1..] {
            sent.arg(*part);
        }
        sent.query(&mut self.redis).unwrap_or_else(|error| panic!("{command:?}: {error}"))
    }

    pub(crate) fn container(&self, captured: u64) -> u64 {
        self.containers.get(&captured).copied().unwrap_or(captured)
    }

    /// A captured command with our ids in it.
    fn ours(&self, command: &str) -> String {
        let Ok(mut document) = serde_json::from_str::<Value>(command) else { return command.to_owned() };
        self.replace(&mut document);
        document.to_string()
    }

    fn replace(&self, value: &mut Value) {
        match value {
            Value::Object(members) => {
                for (name, value) in members {
                    match (name.as_str(), value.as_u64()) {
                        ("container" | "query", Some(id)) => *value = json!(self.container(id)),
                        _ => self.replace(value),
                    }
                }
            }
            Value::Array(elements) => elements.iter_mut().for_each(|element| self.replace(element)),
            Value::String(text) => {
                if let Some(ours) = self.texts.get(text) {
                    text.clone_from(ours);
                }
            }
            _ => {}
        }
    }

    pub(crate) fn push(&mut self, command: &str) {
        let command = self.ours(command);
        self.ask::<i64>(&["RPUSH", "core:default", &command]);
    }

    pub(crate) fn flagged(&mut self, id: &str) -> Option<String> {
        let flag = format!("result:{id}:flag");
        self.ask(&["BRPOPLPUSH", &flag, &flag, "10"])
    }

    pub(crate) fn flag_left(&mut self, id: &str) -> i64 {
        self.ask(&["TTL", &format!("result:{id}:flag")])
    }

    /// The result of a job, when it comes.
    pub(crate) fn result(&mut self, id: &str) -> Value {
        let list = format!("result:{id}");
        let result: Option<String> = self.ask(&["BRPOPLPUSH", &list, &list, &PATIENCE.to_string()]);
        parsed(&json!(result))
    }

    /// Runs a command that no capture has.
    pub(crate) fn run(&mut self, command: &str, arguments: &Value) -> Value {
        let id = Uuid::new_v4().to_string();
        self.push(&json!({"id": id, "command": command, "arguments": arguments}).to_string());
        self.result(&id)
    }

    /// Runs one in a captured container; the id of its job.
    pub(crate) fn dispatch(&mut self, container: u64, command: &Value) -> String {
        let result = self.run("corex.dispatch", &json!({"container": container, "command": command}));
        parsed(&result["data"]).as_str().unwrap_or_default().to_owned()
    }

    /// Compares a result, and learns what the captured ids in it are here.
    pub(crate) fn compare(&mut self, ours: &Value, theirs: &Value) -> Verdict {
        let container = self.container(theirs["container"].as_u64().unwrap_or_default());
        let command = theirs["command"].as_str().unwrap_or_default();
        if ours["state"] == "SUCCESS" && theirs["state"] == "SUCCESS" {
            let (our, their) = (parsed(&ours["data"]), parsed(&theirs["data"]));
            match (command, our, their) {
                ("corex.create" | "corex.restore", Value::Number(our), Value::Number(their)) => {
                    let ids = their.as_u64().zip(our.as_u64());
                    self.containers.extend(ids);
                }
                ("filesystem.open" | "corex.dispatch", Value::String(our), Value::String(their)) => {
                    self.texts.insert(their, our);
                }
                _ => {}
            }
        }
        results(ours, theirs, container)
    }

    /// A command that was pushed and answered.
    pub(crate) fn plain(&mut self, capture: &Capture) -> Verdict {
        let members = &capture.members;
        let pushed = members["pushed"]["value"].as_str().unwrap_or_default().to_owned();
        let id = parsed(&members["pushed"]["value"])["id"].as_str().unwrap_or_default().to_owned();
        self.push(&pushed);
        if self.flagged(&id).as_deref() != members["flag_brpoplpush"].as_str() {
            return Err(format!("flag: captured {}", members["flag_brpoplpush"]));
        }
        let number = |name: &str| members[name].as_i64().unwrap_or_default();
        let left = self.flag_left(&id);
        times_left_while_it_ends("flag's TTL", left, number("flag_ttl_after_queue"))?;
        let result = self.result(&id);
        self.compare(&result, &capture.document("result_raw"))?;
        let left = self.flag_left(&id);
        times_left("flag's TTL after the result", left, number("flag_ttl_after_result"))?;
        let list = format!("result:{id}");
        let left = self.ask(&["TTL", &list]);
        times_left_while_it_ends("result's TTL", left, number("result_ttl"))?;
        let lengths: (i64, i64) = (self.ask(&["LLEN", &list]), self.ask(&["LLEN", &format!("{list}:flag")]));
        let kind: String = self.ask(&["TYPE", &list]);
        if lengths != (number("result_len"), number("flag_len")) || kind != capture.text("result_type") {
            return Err(format!("lists: {lengths:?} {kind}"));
        }
        Ok(())
    }

    /// A command for a container.
    pub(crate) fn dispatched(&mut self, capture: &Capture) -> Verdict {
        let members = &capture.members;
        let number = |name: &str| members[name].as_i64().unwrap_or_default();
        let pushed = capture.text("pushed").to_owned();
        let id = parsed(&members["pushed"])["id"].as_str().unwrap_or_default().to_owned();
        self.push(&pushed);
        if self.flagged(&id).as_deref() != members["flag"].as_str() {
            return Err(format!("flag: captured {}", members["flag"]));
        }
        let result = self.result(&id);
        self.compare(&result, &capture.document("dispatch_result_raw"))?;
        let job = parsed(&result["data"]).as_str().unwrap_or_default().to_owned();
        let left = self.flag_left(&job);
        times_left_while_it_ends("flag's TTL", left, number("flag_ttl_running"))?;
        let result = self.result(&job);
        self.compare(&result, &capture.document("result_raw"))?;
        let left = self.flag_left(&job);
        times_left("flag's TTL after the result", left, number("flag_ttl_after_result"))?;
        let left = self.ask(&["TTL", &format!("result:{job}")]);
        times_left_while_it_ends("result's TTL", left, number("result_ttl"))
    }
}

//! Captures that are more than a command and its answer.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::captures::{Capture, parsed};
use crate::compare::{records, results, times_left};
use crate::replay::id_of;
use crate::replayer::{Deferred, Replayer, Verdict};

fn is(what: &str, ours: impl PartialEq<Value> + std::fmt::Debug, theirs: &Value) -> Verdict {
    if ours == *theirs { Ok(()) } else { Err(format!("{what}: {ours:?}, captured {theirs}")) }
}

fn pause(milliseconds: u64) {
    std::thread::sleep(Duration::from_millis(milliseconds));
}

impl Replayer {
    /// `None` when the verdict comes later.
    pub(crate) fn odd(&mut self, capture: &Capture) -> Option<Verdict> {
        let later = match capture.case.as_str() {
            "recurring" => Some("job.unschedule"),
            "container killed job" => Some("dispatch.job.kill"),
            _ => None,
        };
        if let Some(until) = later {
            if let Err(reason) = self.begin(capture) {
                return Some(Err(reason));
            }
            self.deferred.push(Deferred { capture: capture.clone(), until });
            return None;
        }
        Some(match capture.case.as_str() {
            "invalid-json" | "empty-id" => self.dropped(capture),
            "minimal payload" => self.minimal(capture),
            "job-kill-running" => self.killed(capture, json!({"id": "kill-me", "signal": 9})),
            "sigterm" => self.killed(capture, json!({"id": "term-me"})),
            "duplicate-id while running" => self.duplicate(capture),
            "stream" | "stream ok builtin" => self.streamed(capture),
            "stream trailing" => self.trailing(capture),
            "stream from container" => self.streamed_inside(capture),
            "max_restart=3" => self.restarted(capture),
            "queue" => self.queued(capture),
            "logger queue" => self.logged(capture),
            "local-badjson" | "local-nomatching-tag" => self.local(capture),
            "3 concurrent BRPOPLPUSH on one result list" => self.shared(capture),
            "blpop-consumes" => self.consumed(capture),
            "statistics-queues" => self.statistics(capture),
            "redis-keyspace" => self.keys(capture),
            case if case.contains("proxy") => self.proxied(capture),
            _ => Err("an odd capture that this test does not understand".to_owned()),
        })
    }

    fn begin(&mut self, capture: &Capture) -> Verdict {
        if capture.case == "container killed job" {
            let command = json!({"id": "csleep", "command": "core.system", "arguments": {"name": "sleep", "args": ["60"]}, "tags": ["t1"]});
            self.dispatch(4, &command);
            pause(400);
            return Ok(());
        }
        self.start(capture, "start")?;
        pause(3500);
        let members = &capture.members;
        is("results", self.ask::<i64>(&["LLEN", "result:rec"]), &members["llen_result_after_3.5s"])?;
        is("flag's TTL", self.flag_left("rec"), &members["flag_ttl"])
    }

    /// The verdicts that waited for a case, or with `None` all that still wait.
    pub(crate) fn finish_those_until(&mut self, case: Option<&str>) -> Vec<(String, Verdict)> {
        let waiting = std::mem::take(&mut self.deferred);
        let (ready, waiting) = waiting.into_iter().partition(|deferred| case.is_none_or(|case| case == deferred.until));
        self.deferred = waiting;
        let ready: Vec<Deferred> = ready;
        ready.into_iter().map(|deferred| (deferred.capture.case.clone(), self.end(&deferred, case.is_some()))).collect()
    }

    fn end(&mut self, deferred: &Deferred, happened: bool) -> Verdict {
        let capture = &deferred.capture;
        let recurring = capture.case == "recurring";
        if !happened {
            if recurring {
                self.run("job.unschedule", &json!({"id": "rec"}));
            } else {
                let kill = json!({"command": "job.kill", "arguments": {"id": "csleep", "signal": 9}});
                self.dispatch(4, &kill);
            }
        }
        let result = self.result(if recurring { "rec" } else { "csleep" });
        self.compare(&result, &capture.document("result"))?;
        if recurring {
            is("results", self.ask::<i64>(&["LLEN", "result:rec"]), &capture.members["llen_after_unschedule"])?;
            let left = self.flag_left("rec");
            times_left("flag's TTL", left, capture.members["flag_ttl_end"].as_i64().unwrap_or_default())?;
        }
        Ok(())
    }

    /// Pushes what was started; its id.
    fn start(&mut self, capture: &Capture, name: &str) -> Result<String, String> {
        let started = capture.started(name).to_owned();
        let id = id_of(&started);
        self.push(&started);
        is("flag", json!(self.flagged(&id)), &capture.members[name]["flag"])?;
        let left = self.flag_left(&id);
        crate::compare::times_left_while_it_ends(
            "flag's TTL",
            left,
            capture.members[name]["flag_ttl"].as_i64().unwrap_or_default(),
        )?;
        Ok(id)
    }

    fn dropped(&mut self, capture: &Capture) -> Verdict {
        let push = capture.text("push").to_owned();
        self.push(&push);
        // Taken in order: when this one is answered, that one was dropped.
        self.run("core.ping", &json!({}));
        is("queue", self.ask::<i64>(&["LLEN", "core:default"]), &capture.members["llen_default"])?;
        if capture.has("exists") {
            let exists: Vec<i64> = ["result::flag", "result:"].map(|key| self.ask(&["EXISTS", key])).into();
            is("keys", json!(exists), &capture.members["exists"])?;
        }
        Ok(())
    }

    fn minimal(&mut self, capture: &Capture) -> Verdict {
        let push = capture.text("push").to_owned();
        self.push(&push);
        let result = self.result(&id_of(&push));
        self.compare(&result, &capture.document("result"))
    }

    fn killed(&mut self, capture: &Capture, kill: Value) -> Verdict {
        let id = self.start(capture, "start")?;
        let list = format!("result:{id}");
        if capture.has("nonblocking_result_while_running") {
            let early: Option<String> = self.ask(&["RPOPLPUSH", &list, &list]);
            is("early result", json!(early), &capture.members["nonblocking_result_while_running"])?;
        }
        pause(300);
        self.run("job.kill", &kill);
        let result = self.result(&id);
        self.compare(&result, &capture.document("result"))?;
        if let Some(left) = capture.members["flag_ttl_after"].as_i64() {
            let ours = self.flag_left(&id);
            times_left("flag's TTL", ours, left)?;
        }
        Ok(())
    }

    fn duplicate(&mut self, capture: &Capture) -> Verdict {
        let members = &capture.members;
        let id = self.start(capture, "first")?;
        let (list, flag) = (format!("result:{id}"), format!("result:{id}:flag"));
        let second = capture.text("second_push").to_owned();
        self.push(&second);
        pause(1000);
        is("results", self.ask::<i64>(&["LLEN", &list]), &members["llen_result_at_1s"])?;
        let result = self.result(&id);
        self.compare(&result, &capture.document("result"))?;
        is("results", self.ask::<i64>(&["LLEN", &list]), &members["llen_result"])?;
        is("flags", self.ask::<i64>(&["LLEN", &flag]), &members["llen_flag"])?;
        let third = capture.text("third_push_after_completion").to_owned();
        self.push(&third);
        self.run("core.ping", &json!({}));
        pause(200);
        is("results", self.ask::<i64>(&["LLEN", &list]), &members["llen_result_after_third"])?;
        is("flags", self.ask::<i64>(&["LLEN", &flag]), &members["llen_flag_after_third"])
    }

    /// Consumes a stream up to its end.
    fn entries(&mut self, id: &str) -> Vec<Value> {
        let list = format!("stream:{id}");
        let mut entries = Vec::new();
        while let Some((_, entry)) = self.ask::<Option<(String, String)>>(&["BLPOP", &list, "10"]) {
            let entry = parsed(&json!(entry));
            let last = entry["message"]["meta"].as_u64().unwrap_or_default() & 6 != 0;
            entries.push(entry);
            if last {
                break;
            }
        }
        entries
    }

    fn compare_entries(&self, ours: &[Value], theirs: &Value) -> Verdict {
        let theirs: Vec<Value> = theirs.as_array().unwrap().iter().map(parsed).collect();
        if ours.len() != theirs.len() {
            return Err(format!("entries: {ours:?}, captured {theirs:?}"));
        }
        let core = |entry: &Value| self.container(entry["core"].as_u64().unwrap_or_default());
        ours.iter().zip(&theirs).try_for_each(|(ours, theirs)| records(ours, theirs, core(theirs)))
    }

    fn streamed(&mut self, capture: &Capture) -> Verdict {
        let id = self.start(capture, "start")?;
        let entries = self.entries(&id);
        self.compare_entries(&entries, &capture.members["messages"])?;
        let result = self.result(&id);
        self.compare(&result, &capture.document("result"))?;
        if let Some(left) = capture.members["stream_ttl"].as_i64() {
            times_left("stream's TTL", self.ask(&["TTL", &format!("stream:{id}")]), left)?;
        }
        Ok(())
    }

    fn trailing(&mut self, capture: &Capture) -> Verdict {
        let id = self.start(capture, "start")?;
        let list = format!("stream:{id}");
        self.result(&id);
        pause(300);
        is("entries", self.ask::<i64>(&["LLEN", &list]), &capture.members["llen"])?;
        times_left("stream's TTL", self.ask(&["TTL", &list]), capture.members["ttl"].as_i64().unwrap_or_default())?;
        let entries: Vec<String> = self.ask(&["LRANGE", &list, "0", "-1"]);
        let entries: Vec<Value> = entries.iter().map(|entry| parsed(&json!(entry))).collect();
        self.compare_entries(&entries, &capture.members["lrange"])
    }

    fn streamed_inside(&mut self, capture: &Capture) -> Verdict {
        let script = "echo s1; sleep 0.3; echo s2";
        let arguments = json!({"name": "sh", "args": ["-c", script]});
        self.dispatch(4, &json!({"id": "cstream", "command": "core.system", "arguments": arguments, "stream": true}));
        let entries = self.entries("cstream");
        self.compare_entries(&entries, &capture.members["messages"])?;
        let result = self.result("cstream");
        self.compare(&result, &capture.document("result"))
    }

    fn restarted(&mut self, capture: &Capture) -> Verdict {
        let id = self.start(capture, "start")?;
        let result = self.result(&id);
        self.compare(&result, &capture.document("result"))?;
        let count = self.run("core.system", &json!({"name": "cat", "args": ["/tmp/mr"]}));
        is("runs", json!(count["streams"][0].as_str().map(|text| text.lines().count())), &json!(3))
    }

    fn queued(&mut self, capture: &Capture) -> Verdict {
        let clock = Instant::now();
        let ids = [self.start(capture, "a")?, self.start(capture, "b")?];
        let ours = ids.map(|id| self.result(&id));
        for (ours, name) in ours.iter().zip(["r1", "r2"]) {
            self.compare(ours, &capture.document(name))?;
        }
        let time = |result: &Value, name: &str| result[name].as_i64().unwrap_or_default();
        if time(&ours[1], "starttime") < time(&ours[0], "starttime") + time(&ours[0], "time") {
            return Err(format!("side by side: {ours:?}"));
        }
        if clock.elapsed() < Duration::from_secs(2) { Err("less than two seconds".to_owned()) } else { Ok(()) }
    }

    fn logged(&mut self, capture: &Capture) -> Verdict {
        let list = capture.text("queue").to_owned();
        let name = list.strip_prefix("logger:").unwrap_or_default();
        let subscribed = self.run("logger.subscribe", &json!({"queue": name}));
        is("list", parsed(&subscribed["data"]), &json!(list))?;
        pause(300);
        let said = self.run("core.system", &json!({"name": "echo", "args": ["to-log"]}));
        pause(300);
        let entries: Vec<String> = self.ask(&["LRANGE", &list, "0", "-1"]);
        let entries: Vec<Value> = entries.iter().map(|entry| parsed(&json!(entry))).collect();
        let tail: Vec<Value> = capture.members["tail"].as_array().unwrap().iter().map(parsed).collect();
        // The captured jobs of the tail, and what they are here. Other jobs may speak in between.
        let ids = [json!("q2"), subscribed["id"].clone(), said["id"].clone(), said["id"].clone()];
        for (captured, id) in tail.iter().zip(ids) {
            let found = entries.iter().any(|entry| {
                entry["command"] == id
                    && entry["core"] == captured["core"]
                    && entry["message"]["message"] == captured["message"]["message"]
                    && entry["message"]["meta"] == captured["message"]["meta"]
            });
            // The backlog begins with the first job; q2 was one of a capture before this.
            if !found && !(id == "q2" && self.flag_left("q2") == -2) {
                return Err(format!("not there: {captured} of {id}"));
            }
        }
        is("list's TTL", self.ask::<i64>(&["TTL", &list]), &capture.members["ttl"])
    }

    fn local(&mut self, capture: &Capture) -> Verdict {
        let sent = &capture.members["sent"];
        let sent = sent.as_str().map_or_else(|| sent.to_string(), str::to_owned);
        let mut socket = UnixStream::connect(self.world.path("node/core.sock")).map_err(|error| error.to_string())?;
        socket.write_all(sent.as_bytes()).map_err(|error| error.to_string())?;
        let mut received = String::new();
        socket.read_to_string(&mut received).map_err(|error| error.to_string())?;
        let _ = socket.shutdown(Shutdown::Both);
        results(&parsed(&json!(received)), &capture.document("received"), 0)
    }

    fn shared(&mut self, capture: &Capture) -> Verdict {
        self.push(
            &json!({"id": "shared", "command": "core.system", "arguments": {"name": "sleep", "args": ["1"]}})
                .to_string(),
        );
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let mut redis = self.world.connect();
                std::thread::spawn(move || {
                    redis::cmd("BRPOPLPUSH")
                        .arg("result:shared")
                        .arg("result:shared")
                        .arg(10)
                        .query::<Option<String>>(&mut redis)
                })
            })
            .collect();
        let replies: Vec<Value> =
            readers.into_iter().map(|reader| parsed(&json!(reader.join().unwrap().unwrap()))).collect();
        let captured = capture.members["replies"].as_array().unwrap();
        if replies.iter().any(|reply| *reply != replies[0]) || replies.len() != captured.len() {
            return Err(format!("replies: {replies:?}"));
        }
        self.compare(&replies[0], &parsed(&captured[0]))
    }

    fn consumed(&mut self, capture: &Capture) -> Verdict {
        self.push(r#"{"id": "consume", "command": "core.ping"}"#);
        let popped: Option<(String, String)> = self.ask(&["BLPOP", "result:consume", "10"]);
        let (list, result) = popped.ok_or("no result")?;
        is("list", json!(list), &capture.members["blpop"][0])?;
        self.compare(&parsed(&json!(result)), &parsed(&capture.members["blpop"][1]))?;
        let then: Option<String> = self.ask(&["RPOPLPUSH", "result:consume", "result:consume"]);
        is("what is left", json!(then), &capture.members["then_rpoplpush"])?;
        is("flag", self.ask::<i64>(&["EXISTS", "result:consume:flag"]), &capture.members["flag_exists"])
    }

    /// The keys of a metric's states.
    fn states(&mut self, metric: &str) -> Vec<String> {
        self.ask(&["KEYS", &format!("state:{metric}:*")])
    }

    /// Periods end with the clock. Instead of waiting for it, what Redis holds is put back by one period.
    fn end_period(&mut self, metric: &str) {
        for key in self.states(metric) {
            let mut state = parsed(&json!(self.ask::<String>(&["GET", &key])));
            let start = state["current"]["300"]["start"].as_i64().unwrap_or_default();
            if start > 0 {
                state["current"]["300"]["start"] = json!(start - 300);
            }
            self.ask::<()>(&["SET", &key, &state.to_string()]);
        }
    }

    fn monitor(&mut self) {
        for domain in ["disk", "memory"] {
            self.run("monitor", &json!({"domain": domain}));
        }
        // Values of one second count once.
        pause(1100);
    }

    fn statistics(&mut self, capture: &Capture) -> Verdict {
        let metric = |key: &str| key.split(':').nth(1).unwrap_or_default().to_owned();
        let points: Vec<Value> = capture.members["sample_300"].as_array().unwrap().iter().map(parsed).collect();
        self.monitor();
        self.monitor();
        for point in &points {
            self.end_period(point["key"].as_str().unwrap_or_default());
        }
        self.monitor();
        for key in capture.members["state_keys"].as_array().unwrap() {
            let ours = self.states(&metric(key.as_str().unwrap_or_default()));
            let alike = |ours: &String| ours.len() == key.as_str().unwrap_or_default().len();
            if ours.is_empty() || !ours.iter().all(alike) {
                return Err(format!("{key}: {ours:?}"));
            }
        }
        let lists: Vec<String> = self.ask(&["KEYS", "statistics:300"]);
        is("lists", json!(lists), &capture.members["keys"])?;
        let ours: Vec<String> = self.ask(&["LRANGE", "statistics:300", "0", "-1"]);
        for captured in points {
            let names =
                |point: &Value| point.as_object().map(|members| members.keys().cloned().collect::<BTreeSet<_>>());
            let mut alike =
                ours.iter().map(|point| parsed(&json!(point))).filter(|point| point["key"] == captured["key"]);
            let alike = alike.next().ok_or_else(|| format!("no {}", captured["key"]))?;
            if names(&alike) != names(&captured) || names(&alike["tags"]) != names(&captured["tags"]) {
                return Err(format!("{alike}, captured {captured}"));
            }
        }
        Ok(())
    }

    fn keys(&mut self, capture: &Capture) -> Verdict {
        let keys: Vec<String> = self.ask(&["KEYS", "*"]);
        let mut names: BTreeSet<&str> = keys.iter().filter_map(|key| key.split(':').next()).collect();
        // Streams vanish a minute after their job.
        names.remove("stream");
        // A period ends every five minutes only.
        names.insert("statistics");
        is("keys", json!(names), &capture.members["keys"])?;
        is("type", json!(self.ask::<String>(&["TYPE", "result"])), &capture.members["type_result"])
    }
}

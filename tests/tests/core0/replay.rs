//! Every capture again, in the order in which it happened, against a stand-in of this test's own.

use serde_json::{Value, json};

use crate::captures::{self, Capture, parsed};
use crate::replayer::{Replayer, Verdict};
use crate::world::{self, World};

/// Captures that cannot be repeated, and why. One that could after all fails the test.
const EXCEPTIONS: [(&str, &str); 0] = [];

/// What the captured node was asked in between, unless another capture just did it.
fn before(case: &str, replayer: &mut Replayer) -> Verdict {
    let done = |result: Value| match result["state"].as_str() {
        Some("SUCCESS") => Ok(()),
        _ => Err(format!("before it: {result}")),
    };
    let answer = |result: Value| parsed(&result["data"]);
    match case {
        "aggregator.query-custom" => {
            if answer(replayer.run("aggregator.query", &json!({"key": "my.metric"}))) != json!({}) {
                return Ok(());
            }
            let line = "echo '10::my.metric:12.5|A|id=one,colour=red'";
            done(replayer.run("core.system", &json!({"name": "sh", "args": ["-c", line]})))
        }
        "dispatch.filesystem.open-r" => {
            let script = json!({"script": "umask 022; [ -e /tmp/f1 ] || echo hello file >/tmp/f1"});
            let job = replayer.dispatch(4, &json!({"command": "bash", "arguments": script}));
            done(replayer.result(&job))
        }
        "filesystem.move-missing" => {
            if answer(replayer.run("filesystem.exists", &json!({"path": "/tmp/d/f"}))) == json!(false) {
                return Ok(());
            }
            done(replayer.run("filesystem.move", &json!({"path": "/tmp/d/f", "destination": "/tmp/d/g"})))
        }
        "bridge.create-dup" => {
            let bridges = answer(replayer.run("bridge.list", &json!({})));
            if bridges.as_array().is_some_and(|bridges| bridges.contains(&json!("br2"))) {
                return Ok(());
            }
            let network = json!({"mode": "static", "nat": true, "settings": {"cidr": "192.168.57.1/24"}});
            done(replayer.run("bridge.create", &json!({"name": "br2", "network": network})))
        }
        "socat.list-empty" => {
            if answer(replayer.run("corex.get", &json!({"query": 4}))).is_null() {
                return Ok(());
            }
            done(replayer.run("corex.terminate", &json!({"container": 4})))
        }
        _ => Ok(()),
    }
}

fn judge(capture: &Capture, replayer: &mut Replayer) -> Option<Verdict> {
    if capture.members["pushed"].is_object() {
        Some(replayer.plain(capture))
    } else if capture.has("dispatch_result_raw") {
        Some(replayer.dispatched(capture))
    } else {
        replayer.odd(capture)
    }
}

#[test]
fn answers_are_those_of_a_real_node() {
    if !world::possible("core0 replay") {
        return;
    }
    let captures = captures::all();
    let mut replayer = Replayer::new(World::new());
    let mut verdicts = Vec::new();
    for capture in &captures {
        let prepared = before(&capture.case, &mut replayer);
        let verdict = if prepared.is_err() { Some(prepared) } else { judge(capture, &mut replayer) };
        if let Some(verdict) = verdict {
            verdicts.push((capture.case.clone(), verdict));
        }
        verdicts.extend(replayer.finish_those_until(Some(&capture.case)));
    }
    verdicts.extend(replayer.finish_those_until(None));

    let (mut equal, mut excepted, mut failed) = (0, 0, Vec::new());
    for (case, verdict) in &verdicts {
        let exception = EXCEPTIONS.iter().find(|(name, _)| name == case);
        match (verdict, exception) {
            (Ok(()), None) => {
                equal += 1;
                println!("{case:44} equal");
            }
            (Err(reason), Some((_, why))) => {
                excepted += 1;
                println!("{case:44} excepted: {why} ({reason})");
            }
            (Ok(()), Some(_)) => failed.push(format!("{case}: is an exception, but equal")),
            (Err(reason), None) => failed.push(format!("{case}: {reason}")),
        }
    }
    for failure in &failed {
        println!("DIFFERS {failure}");
    }
    println!("{} captures: {equal} equal, {excepted} excepted, {} differ", captures.len(), failed.len());
    assert_eq!(verdicts.len(), captures.len(), "every capture has a verdict");
    assert!(failed.is_empty(), "{}\n{}", failed.join("\n"), replayer.world.log());
}

/// The job's id in a captured start.
pub(crate) fn id_of(pushed: &str) -> String {
    parsed(&json!(pushed))["id"].as_str().unwrap_or_default().to_owned()
}

//! Every capture again, in the order in which it happened, against a stand-in of this test's own.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::captures::{self, Capture, parsed};
use crate::replayer::{Replayer, Verdict};
use crate::world::{self, World};

/// Captures that cannot be repeated, and why. One that could after all fails the test.
const EXCEPTIONS: [(&str, &str); 0] = [];

/// What the captured node was asked in between, which is not among the captures or need not be.
fn before(case: &str, known: &HashSet<String>, replayer: &mut Replayer) -> Verdict {
    let unless = |name: &str| !known.contains(name);
    let done = |result: Value| match result["state"].as_str() {
        Some("SUCCESS") => Ok(()),
        _ => Err(format!("before it: {result}")),
    };
    match case {
        "aggregator.query-custom" => {
            let line = "echo '10::my.metric:12.5|A|id=one,colour=red'";
            done(replayer.run("core.system", &json!({"name": "sh", "args": ["-c", line]})))
        }
        "dispatch.filesystem.open-r" if unless("dispatch.filesystem.open-w") => {
            let script = json!({"script": "umask 022; echo hello file >/tmp/f1"});
            let job = replayer.dispatch(4, &json!({"command": "bash", "arguments": script}));
            done(replayer.result(&job))
        }
        "filesystem.move-missing" if unless("filesystem.move") => {
            done(replayer.run("filesystem.move", &json!({"path": "/tmp/d/f", "destination": "/tmp/d/g"})))
        }
        "bridge.create-dup" if unless("bridge.create-br2") && unless("bridge.create-static") => {
            let network = json!({"mode": "static", "nat": true, "settings": {"cidr": "192.168.57.1/24"}});
            done(replayer.run("bridge.create", &json!({"name": "br2", "network": network})))
        }
        "corex.get-ports" if unless("corex.portforward-add") => {
            let arguments = json!({"container": 4, "host_port": "9090", "container_port": 90});
            done(replayer.run("corex.portforward-add", &arguments))
        }
        "socat.list-empty" if unless("corex.terminate") => {
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
    let known: HashSet<String> = captures.iter().map(|capture| capture.case.clone()).collect();
    let mut replayer = Replayer::new(World::new());
    let mut verdicts = Vec::new();
    for capture in &captures {
        let prepared = before(&capture.case, &known, &mut replayer);
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

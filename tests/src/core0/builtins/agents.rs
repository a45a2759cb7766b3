//! `rtinfo.*` and `zerotier.*`: programs of the node that speak with others. Neither is on a machine without Zero-OS; then they
//! fail as they fail on a node without them.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use serde_json::{Map, Value, json};

use super::arguments::{Kind, Shape, TEXTS, UINT};
use super::{Answer, Failure, tool};

const START: Shape =
    Shape { go: "builtin.rtinfoParams", fields: &[("host", Kind::Text), ("port", UINT), ("disks", TEXTS)] };
const STOP: Shape = Shape {
    go: r#"struct { Host string "json:\"host\""; Port uint "json:\"port\"" }"#,
    fields: &[("host", Kind::Text), ("port", UINT)],
};

/// The agents that run, by where they send to.
#[derive(Debug, Default)]
pub(super) struct Agents(Mutex<BTreeMap<String, (Value, Child)>>);

impl Agents {
    /// The commands `rtinfo.*`; `None` for any other name.
    pub(super) fn call(&self, command: &str, arguments: &Value) -> Option<Result<Value, Failure>> {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|_, (_, child)| matches!(child.try_wait(), Ok(None)));
        Some(match command {
            "rtinfo.list" => Ok(running
                .iter()
                .map(|(key, (parameters, _))| (key.clone(), parameters.clone()))
                .collect::<Map<_, _>>()
                .into()),
            "rtinfo.start" => START.decode(arguments, 500).and_then(|arguments| {
                let (host, port) = (arguments.text("host"), arguments.whole("port").to_string());
                let key = format!("{host}:{port}");
                if running.contains_key(&key) {
                    return Err(Failure::new(406, "an rtinfo agent running already for this daemon"));
                }
                let mut command = Command::new("rtinfo-client");
                command.args(["--host", host, "--port", &port]);
                for disk in arguments.texts("disks") {
                    command.args(["--disk", &disk]);
                }
                let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
                // It is a job of its own: one that fails at once is gone from the list, and no failure of this command.
                if let Ok(child) = quiet.spawn() {
                    let disks = arguments.raw("disks").cloned().unwrap_or_default();
                    let parameters = json!({"host": host, "port": arguments.whole("port"), "disks": disks});
                    running.insert(key, (parameters, child));
                }
                Ok(Value::Null)
            }),
            "rtinfo.stop" => STOP.decode(arguments, 500).map(|arguments| {
                let key = format!("{}:{}", arguments.text("host"), arguments.whole("port"));
                if let Some((_, mut child)) = running.remove(&key) {
                    end(&mut child);
                }
                Value::Null
            }),
            _ => return None,
        })
    }
}

impl Drop for Agents {
    fn drop(&mut self) {
        let running = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        running.values_mut().for_each(|(_, child)| end(child));
    }
}

fn end(child: &mut Child) {
    // It may have ended by itself; then there is nothing to kill, but still to be waited for.
    let _ = child.kill();
    let _ = child.wait();
}

/// The commands `zerotier.*`; `None` for any other name.
pub(super) fn zerotier(command: &str, arguments: &Value) -> Option<Result<Answer, Failure>> {
    let network = || arguments["network"].as_str().unwrap_or("{network}").to_owned();
    let client = |words: &[&str]| {
        let words: Vec<String> = ["-D/tmp/zt"].iter().chain(words).map(|word| (*word).to_owned()).collect();
        tool::itself("zerotier-cli", &words)
    };
    Some(match command {
        "zerotier.join" => client(&["join", &network()]),
        "zerotier.leave" => client(&["leave", &network()]),
        "zerotier.list" => printed("zerotier-cli -D/tmp/zt listnetworks -j"),
        "zerotier.info" => printed("zerotier-cli -D/tmp/zt info -j"),
        _ => return None,
    })
}

/// What the client prints as JSON. A shell runs it on the node, too: without the client there is status 127 of the shell.
fn printed(line: &str) -> Result<Answer, Failure> {
    let answer = tool::itself("sh", &["-c".to_owned(), line.to_owned()])?;
    match &answer {
        Answer::Text { code: 0, streams: [stdout, _], .. } => {
            let value = serde_json::from_str(stdout).map_err(|error| Failure::new(500, error.to_string()))?;
            Ok(Answer::Value(value))
        }
        _ => Ok(answer),
    }
}

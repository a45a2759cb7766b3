//! That the engines of the tests' own are what other tests rely on: their containers survive a killed daemon, and
//! nothing of them is left at the end.

use std::path::Path;
use std::process::Command;

use roadstead_tests::engines::OwnEngine;
use serde_json::Value;

#[test]
fn lxd_survives_kill_and_leaves_nothing() {
    survives_kill_and_leaves_nothing(OwnEngine::lxd("engines"));
}

#[test]
fn incus_survives_kill_and_leaves_nothing() {
    survives_kill_and_leaves_nothing(OwnEngine::incus("engines"));
}

fn survives_kill_and_leaves_nothing(own: Option<OwnEngine>) {
    let Some(own) = own else { return };
    let engine = own.engine();
    let directory = engine.socket().parent().expect("a directory").to_owned();
    let networks = engine.get("/1.0/networks?recursion=1")["metadata"].clone();
    let bridge = networks.as_array().into_iter().flatten().find(|network| network["managed"] == true);
    let bridge = Path::new("/sys/class/net").join(bridge.expect("a bridge")["name"].as_str().expect("a name"));
    assert!(bridge.exists());

    let (runs, frozen) = (engine.run(&engine.name("runs")), engine.run(&engine.name("frozen")));
    let _ = engine.client_text(&["pause", &frozen]);
    let script = r#"trap 'exit 0' PWR; echo "two  words"; while :; do sleep 1; done"#;
    let commanded = engine.create(&engine.name("commanded"), &["sh", "-c", script, "two  words", ""]);
    let _ = engine.client_text(&["start", &commanded]);
    let before = [process(&own, &runs), process(&own, &frozen), process(&own, &commanded)];
    let words = std::fs::read(format!("/proc/{}/cmdline", before[2])).expect("it runs");
    assert_eq!(String::from_utf8_lossy(&words), format!("sh\0-c\0{script}\0two  words\0\0"));

    own.kill();
    for process in &before {
        assert!(alive(*process), "{process} died with the daemon");
    }
    own.start_again();
    let after = [process(&own, &runs), process(&own, &frozen), process(&own, &commanded)];
    assert_eq!(before, after);
    assert_eq!(state(&own, &frozen)["status"], "Frozen");

    // By the client certificate, and trusting the server's certificate only.
    let url = engine.tls_uri().split_once('+').expect("a scheme of two").1.to_owned();
    let conf = engine.client_directory();
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--max-time", "20"]);
    for (option, file) in [("--cert", "client.crt"), ("--key", "client.key"), ("--cacert", "server.crt")] {
        curl.arg(option).arg(conf.join(file));
    }
    let answer = curl.arg(format!("{url}/1.0")).output().expect("curl");
    assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
    let answer: Value = serde_json::from_slice(&answer.stdout).expect("JSON");
    assert_eq!(answer["metadata"]["auth"], "trusted");
    let seen = engine.client_text(&["list", "--format", "csv", "--columns", "n"]);
    assert!([&runs, &frozen, &commanded].iter().all(|name| seen.contains(name.as_str())), "{seen}");

    own.kill();
    drop(own);
    for process in &before {
        assert!(!alive(*process), "{process} is left");
    }
    assert!(!directory.exists());
    assert!(!bridge.exists());
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("the mounts");
    assert!(!mounts.contains(&format!("{}/", directory.display())), "{mounts}");
}

fn state(own: &OwnEngine, name: &str) -> Value {
    own.engine().get(&format!("/1.0/instances/{name}/state"))["metadata"].clone()
}

fn process(own: &OwnEngine, name: &str) -> i64 {
    state(own, name)["pid"].as_i64().filter(|pid| *pid > 0).unwrap_or_else(|| panic!("{name} does not run"))
}

/// The machine's process 1 takes a moment to reap what it has inherited.
fn alive(process: i64) -> bool {
    std::fs::read_to_string(format!("/proc/{process}/stat"))
        .is_ok_and(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z')))
}

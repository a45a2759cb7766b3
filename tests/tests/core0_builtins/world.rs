//! A world of its own for a test: network interfaces and `/tmp` like those of the captured node. Threads keep the namespaces
//! of the thread that starts them, so a runtime that is made here lives in it, and whatever it runs.

use std::process::Command;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use roadstead_tests::core0::builtins::{Answer, Built, Failure};
use serde_json::Value;

pub struct World {
    runtime: tokio::runtime::Runtime,
    pub node: Built,
    pub container: Built,
    _directory: tempfile::TempDir,
}

impl World {
    /// Must be on a thread that does nothing else afterwards.
    pub fn new() -> Self {
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).expect("namespaces of its own");
        let none: Option<&str> = None;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).expect("mounts stay here");
        // Before there is a /tmp that the machine does not see.
        let directory = tempfile::tempdir_in("/var/tmp").expect("a directory");
        mount(Some("tmpfs"), "/tmp", Some("tmpfs"), MsFlags::empty(), none).expect("an empty /tmp");
        ip("link set lo up");
        ip("link add eth0 type veth peer name ethp0");
        ip("link set eth0 up");
        ip("link set ethp0 up");
        ip("addr add 10.11.12.13/24 dev eth0");
        for (bridge, address) in [("core0", "172.18.0.1/16"), ("kvm0", "172.19.0.1/16")] {
            ip(&format!("link add {bridge} type bridge"));
            ip(&format!("addr add {address} dev {bridge}"));
            ip(&format!("link set {bridge} up"));
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let node = Built::new(false, directory.path());
        let container = Built::new(true, directory.path());
        Self { runtime, node, container, _directory: directory }
    }

    pub fn call(&self, built: &Built, command: &str, arguments: &Value) -> Option<Result<Answer, Failure>> {
        self.runtime.block_on(built.call(command, arguments))
    }

    /// The value that a function of the node answers.
    #[track_caller]
    pub fn value(&self, command: &str, arguments: &Value) -> Value {
        match self.call(&self.node, command, arguments) {
            Some(Ok(Answer::Value(value))) => value,
            other => panic!("{command} {arguments}: {other:?}"),
        }
    }

    /// The failure of a function of the node, as code and message.
    #[track_caller]
    pub fn failure(&self, command: &str, arguments: &Value) -> (u32, String) {
        match self.call(&self.node, command, arguments) {
            Some(Err(Failure { code, message, .. })) => (code, message),
            other => panic!("{command} {arguments}: {other:?}"),
        }
    }
}

/// Runs a test in a world of its own.
pub fn within(test: impl FnOnce(&World) + Send + 'static) {
    let thread = std::thread::spawn(|| test(&World::new()));
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

pub fn ip(line: &str) -> String {
    let output = Command::new("ip").args(line.split(' ')).output().expect("iproute2 is installed");
    assert!(output.status.success(), "ip {line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn installed(program: &str) -> bool {
    std::env::var("PATH")
        .unwrap_or_default()
        .split(':')
        .any(|directory| std::path::Path::new(directory).join(program).exists())
}

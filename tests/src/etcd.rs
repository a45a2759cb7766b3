//! etcd: the one that all tests share, and clusters of a test's own whose members it may kill or stop. What a test claims about a
//! cluster it asks the members themselves, past the program under test.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::engines::{Frozen, freeze, must, script, script_with, variable};
use crate::left_out::left_out;
use crate::raw::{Answer, Request};

/// The URI of the etcd that all tests share, with a prefix of the caller's own; noted as left out when there is none.
#[must_use]
pub fn shared(name: &str) -> Option<String> {
    let Some(uri) = variable("ROADSTEAD_TEST_ETCD_URI") else {
        left_out("needs etcd (ROADSTEAD_TEST_ETCD_URI)");
        return None;
    };
    Some(format!("{uri}/{name}-{}", std::process::id()))
}

/// An etcd of a test's own. It is stopped, and all it holds deleted, when dropped.
#[derive(Debug)]
pub struct OwnEtcd {
    instance: String,
}

impl OwnEtcd {
    /// Starts one: with three members when its name ends in `-three` or `-apart`, with TLS and users when it ends in `-tls`. Noted
    /// as left out where there is no etcd.
    #[must_use]
    pub fn start(instance: &str) -> Option<Self> {
        if variable("ROADSTEAD_TEST_ETCD_URI").is_none() {
            left_out("needs etcd (ROADSTEAD_TEST_ETCD_URI)");
            return None;
        }
        let own = OwnEtcd { instance: instance.to_owned() };
        let started = script("etcd", "start", instance);
        if !started.status.success() {
            let reason = String::from_utf8_lossy(&started.stderr);
            left_out(&format!("etcd {instance} does not start: {}", reason.lines().last().unwrap_or_default()));
            return None;
        }
        Some(own)
    }

    /// What another verb of its script says.
    ///
    /// # Panics
    /// When it fails.
    #[must_use]
    pub fn verb(&self, verb: &str) -> String {
        let done = script("etcd", verb, &self.instance);
        must(&done);
        String::from_utf8(done.stdout).expect("text").trim().to_owned()
    }

    /// Its members: host and port of each.
    #[must_use]
    pub fn members(&self) -> Vec<String> {
        self.verb("endpoints").split(',').map(str::to_owned).collect()
    }

    /// Which of its members leads, when they agree on one.
    ///
    /// # Panics
    /// When one that answers makes no sense.
    #[must_use]
    pub fn leader(&self) -> Option<usize> {
        self.members().iter().position(|member| {
            let Some(answer) = try_ask(member, "/v3/maintenance/status", &json!({})) else { return false };
            let status = answer.expect(200).json();
            status["leader"].is_string() && status["leader"] == status["header"]["member_id"]
        })
    }

    fn name(member: usize) -> &'static str {
        ["a", "b", "c"][member]
    }

    /// Ends a member with SIGKILL.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&self, member: usize) {
        must(&script_with("etcd", &["kill-member", &self.instance, Self::name(member)]));
    }

    /// Starts a member again.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_again(&self, member: usize) {
        must(&script_with("etcd", &["start-member", &self.instance, Self::name(member)]));
    }

    /// Cuts a member apart off from the others, which this machine still reaches.
    ///
    /// # Panics
    /// When the members are not apart.
    pub fn cut_peers(&self, member: usize) {
        must(&script_with("etcd", &["cut-peers", &self.instance, Self::name(member)]));
    }

    /// Cuts a member apart off from everybody.
    ///
    /// # Panics
    /// When the members are not apart.
    pub fn cut(&self, member: usize) {
        must(&script_with("etcd", &["cut-member", &self.instance, Self::name(member)]));
    }

    /// Brings the links of a member apart up again.
    ///
    /// # Panics
    /// When the members are not apart.
    pub fn join(&self, member: usize) {
        must(&script_with("etcd", &["join-member", &self.instance, Self::name(member)]));
    }

    /// Stops a member in place until the guard is dropped.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn freeze(&self, member: usize) -> Frozen {
        let file = PathBuf::from(self.verb("dir")).join(format!("{}.pid", Self::name(member)));
        let pid = std::fs::read_to_string(&file).ok().and_then(|text| text.trim().parse().ok());
        freeze(pid.unwrap_or_else(|| panic!("no process id in {}", file.display())))
    }
}

impl Drop for OwnEtcd {
    fn drop(&mut self) {
        let stopped = script("etcd", "stop", &self.instance);
        if !stopped.status.success() {
            eprintln!("etcd {}: {}", self.instance, String::from_utf8_lossy(&stopped.stderr));
        }
    }
}

/// Asks a member itself, without TLS.
///
/// # Panics
/// When it does not answer with success.
#[must_use]
pub fn ask(member: &str, path: &str, body: &Value) -> Value {
    try_ask(member, path, body).unwrap_or_else(|| panic!("{member} does not answer to {path}")).expect(200).json()
}

/// Asks a member itself, without TLS; nothing when it does not answer.
#[must_use]
pub fn try_ask(member: &str, path: &str, body: &Value) -> Option<Answer> {
    Request::new("POST", path).json(body).send_tcp(member).ok()
}

/// Bytes as etcd's JSON has them.
#[must_use]
pub fn bytes(bytes: impl AsRef<[u8]>) -> String {
    STANDARD.encode(bytes)
}

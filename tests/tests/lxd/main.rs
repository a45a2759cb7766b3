//! LXD and Incus as they are reached: certificates, trust, remotes, and connections that break; and what is mounted in
//! containers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test says that it failed"
)]

/// Makes of each async function that takes an engine one test per engine.
macro_rules! on_lxd_and_incus {
    ($($test:ident)+) => {
        mod on_lxd {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $test() {
                    if let Some(engine) = roadstead_tests::engines::lxd() {
                        super::$test(&engine).await;
                    }
                }
            )+
        }
        mod on_incus {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $test() {
                    if let Some(engine) = roadstead_tests::engines::incus() {
                        super::$test(&engine).await;
                    }
                }
            )+
        }
    };
}

mod addresses;
mod certificates;
mod joining;
mod leftovers;
mod many;
mod mounted;
mod moving;
mod outages;
mod remotes;
mod starts;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use on_lxd_and_incus;
use roadstead_core::{ConnectOptions, Node, Result};
use roadstead_tests::TestEngine;

/// Connects to a node called `n`.
async fn connect(uri: &str) -> Result<Arc<dyn Node>> {
    roadstead_backends::registry().connect("n", uri, &ConnectOptions::default()).await
}

/// A client certificate that no server knows; whoever comes to know it forgets it when this is dropped.
struct Identity {
    _directory: tempfile::TempDir,
    certificate: PathBuf,
    key: PathBuf,
    engine: TestEngine,
}

impl Identity {
    fn new(engine: &TestEngine) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let (certificate, key) = (directory.path().join("own.crt"), directory.path().join("own.key"));
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384", "-nodes", "-days", "2"])
            .args(["-subj", "/CN=roadstead"])
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&certificate)
            .output()
            .expect("openssl");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Identity { _directory: directory, certificate, key, engine: engine.clone() }
    }

    /// For a URI that has no query yet.
    fn query(&self) -> String {
        format!("?certificate={}&key={}", self.certificate.display(), self.key.display())
    }

    fn fingerprint(&self) -> String {
        fingerprint(&self.certificate)
    }

    /// Whether the server knows it.
    fn is_known(&self) -> bool {
        self.engine.ask("GET", &format!("/1.0/certificates/{}", self.fingerprint()), None).status == 200
    }
}

impl Drop for Identity {
    fn drop(&mut self) {
        let target = format!("/1.0/certificates/{}", self.fingerprint());
        let _ = roadstead_tests::Request::new("DELETE", target).send_unix(self.engine.socket());
    }
}

/// As openssl computes it, in the spelling of the servers.
fn fingerprint(certificate: &Path) -> String {
    let told = Command::new("openssl")
        .args(["x509", "-noout", "-fingerprint", "-sha256", "-in"])
        .arg(certificate)
        .output()
        .expect("openssl");
    let text = String::from_utf8(told.stdout).expect("text");
    text.trim().rsplit('=').next().unwrap_or_default().replace(':', "").to_lowercase()
}

/// The certificate that every test engine trusts, and the server's.
struct Known {
    query: String,
    server: PathBuf,
}

impl Known {
    fn of(engine: &TestEngine) -> Self {
        let directory = engine.client_directory();
        let file = |name: &str| directory.join(name);
        Known {
            query: format!("certificate={}&key={}", file("client.crt").display(), file("client.key").display()),
            server: file("server.crt"),
        }
    }
}

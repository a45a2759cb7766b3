//! Another Roadstead server, in this process: its nodes are what the engine `roadstead` reaches, over TLS with a pinned
//! certificate.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use roadstead_core::{ConnectOptions, Node, Result};
use roadstead_http::{Config, NodeConfig, Running, Server};

/// A server that serves nodes to other servers.
#[derive(Debug)]
pub struct Served {
    running: Running,
    own_state: Option<tempfile::TempDir>,
}

fn tls(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/http/tests/rest/tls").join(file)
}

impl Served {
    /// Starts one on a port of its own.
    ///
    /// # Errors
    /// When it does not start.
    ///
    /// # Panics
    /// When there is no room for its state.
    pub async fn start(nodes: &[(&str, &str)]) -> Result<Self> {
        let state = tempfile::tempdir().expect("a directory");
        let mut served = Self::start_in(state.path(), nodes).await?;
        served.own_state = Some(state);
        Ok(served)
    }

    /// Starts one on a state directory that outlives it: the next one there has the same token.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start_in(state: &Path, nodes: &[(&str, &str)]) -> Result<Self> {
        Self::start_with(state, nodes, &(tls("cert.pem"), tls("key.pem"))).await
    }

    /// The same with another certificate and its key.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start_with(state: &Path, nodes: &[(&str, &str)], files: &(PathBuf, PathBuf)) -> Result<Self> {
        let mut config = Config::default();
        config.listen = vec![([127, 0, 0, 1], 0).into()];
        config.state_dir = state.join("state");
        config.key_file = state.join("store.key");
        config.tls_cert = Some(files.0.clone());
        config.tls_key = Some(files.1.clone());
        config.drain_timeout_seconds = 1;
        for (name, uri) in nodes {
            config.nodes.insert((*name).to_owned(), NodeConfig::Uri((*uri).to_owned()));
        }
        let running = Server::start(config, roadstead_backends::registry()).await?;
        Ok(Served { running, own_state: None })
    }

    /// Where it listens.
    ///
    /// # Panics
    /// When it does not.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.running.addresses().first().expect("an address").port()
    }

    /// Its admin token.
    #[must_use]
    pub fn token(&self) -> &str {
        self.running.token().expose()
    }

    /// The file with its admin token.
    #[must_use]
    pub fn token_file(&self) -> &Path {
        self.running.token_path()
    }

    /// The URI of its node called `node`, or of its only one, by way of `port`.
    #[must_use]
    pub fn uri(&self, port: u16, node: &str) -> String {
        format!(
            "roadstead+https://127.0.0.1:{port}/{node}?token_file={}&server_certificate={}",
            self.token_file().display(),
            tls("cert.pem").display()
        )
    }

    /// Its node called `node`, or its only one, under the name `name`.
    ///
    /// # Errors
    /// When it cannot be connected.
    pub async fn node(&self, name: &str, node: &str, options: &ConnectOptions) -> Result<Arc<dyn Node>> {
        roadstead_backends::registry().connect(name, &self.uri(self.port(), node), options).await
    }

    /// Ends it.
    ///
    /// # Errors
    /// When it had failed.
    pub async fn end(self) -> Result<()> {
        let ended = self.running.shutdown().await;
        drop(self.own_state);
        ended
    }
}

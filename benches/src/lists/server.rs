//! Servers as processes of their own, ended when they are dropped.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::Outcome;
use super::load::{Address, Connection, Target};

/// A start takes this long at most.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server that runs.
#[derive(Debug)]
pub struct Server {
    child: Child,
    directory: Option<PathBuf>,
    /// What it is asked for, and by whom.
    pub target: Target,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(directory) = &self.directory {
            let _ = std::fs::remove_dir_all(directory);
        }
    }
}

fn free() -> Outcome<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Certificate and key of a server.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The chain.
    pub cert: PathBuf,
    /// The key.
    pub key: PathBuf,
}

impl Server {
    /// Starts ours on these nodes.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn ours(program: &Path, nodes: &[(String, String)], tls: Option<&Certificate>) -> Outcome<Self> {
        let at = free()?;
        let directory = std::env::temp_dir().join(format!("roadstead-lists-{}-{}", std::process::id(), at.port()));
        std::fs::create_dir_all(&directory)?;
        let mut command = Command::new(program);
        command.args(["serve", "--listen", &at.to_string(), "--state-dir"]).arg(&directory);
        command.arg("--key-file").arg(directory.join("store.key"));
        // Looking at the machine is another matter.
        command.args(["--sample-interval-seconds", "60"]);
        for (name, uri) in nodes {
            command.args(["--node", &format!("{name}={uri}")]);
        }
        if let Some(certificate) = tls {
            command.arg("--tls-cert").arg(&certificate.cert).arg("--tls-key").arg(&certificate.key);
        }
        let log = std::fs::File::create(directory.join("log"))?;
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()?;
        let address = if tls.is_some() { Address::Tls(at, None) } else { Address::Tcp(at) };
        let pid = Some(child.id());
        let target = Target { address, path: "/v1/containers".to_owned(), headers: String::new(), pid };
        let mut server = Server { child, directory: Some(directory.clone()), target };
        server.wait("/readyz").await?;
        let token = std::fs::read_to_string(directory.join("admin.token"))?;
        server.target.headers = format!("Authorization: Bearer {}\r\n", token.trim());
        Ok(server)
    }

    /// Starts this program as a server that sends the bytes of a file.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn null(body: &Path) -> Outcome<Self> {
        let at = free()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("null").arg(at.to_string()).arg(body);
        let child = command.stdin(Stdio::null()).spawn()?;
        let target =
            Target { address: Address::Tcp(at), path: "/".to_owned(), headers: String::new(), pid: Some(child.id()) };
        let server = Server { child, directory: None, target };
        server.wait("/").await?;
        Ok(server)
    }

    /// The URI under which another of ours has a node of it.
    ///
    /// # Errors
    /// When it has no token or does not listen on plain TCP.
    pub fn uri(&self, node: &str) -> Outcome<String> {
        let token = self.target.headers.trim().strip_prefix("Authorization: Bearer ").ok_or("no token")?;
        let Address::Tcp(at) = self.target.address else { return Err("not on plain TCP".into()) };
        Ok(format!("roadstead+http://:{token}@{at}/{node}"))
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    async fn wait(&self, path: &str) -> Outcome<()> {
        let until = Instant::now() + PATIENCE;
        loop {
            let asked = async {
                let mut connection = Connection::open(&self.target.address).await?;
                connection.ask(&self.target.request("GET", path, "")).await.map(drop)
            };
            match asked.await {
                Ok(()) => return Ok(()),
                Err(error) if Instant::now() > until => return Err(error),
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }
}

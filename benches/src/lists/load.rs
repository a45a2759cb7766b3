//! Load: kept connections that each ask again as soon as they have the whole answer.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::{ClientConfig, DigitallySignedStruct, Error as TlsError, SignatureScheme};

use super::Outcome;

/// Where somebody listens.
#[derive(Clone, Debug)]
pub enum Address {
    /// Plain TCP.
    Tcp(SocketAddr),
    /// TLS over TCP, with the client certificate and key of a directory (`cert.pem`, `key.pem`), if there is one.
    Tls(SocketAddr, Option<PathBuf>),
    /// A unix socket.
    Unix(PathBuf),
}

/// Who is asked for what.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where it listens.
    pub address: Address,
    /// What it is asked for.
    pub path: String,
    /// More header lines, each with its line end.
    pub headers: String,
    /// Its process, where its processor time is looked at.
    pub pid: Option<u32>,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Load {
    /// Times from a question to the end of its answer.
    pub times: Vec<Duration>,
    /// From the first question to the last answer.
    pub lasted: Duration,
    /// Processor time of the server, if it was looked at.
    pub cpu: Option<Duration>,
}

impl Load {
    /// Answers in a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.times.len() as f64 / self.lasted.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// The time that so many of a thousand answers kept.
    #[must_use]
    pub fn quantile(&self, of_thousand: usize) -> Duration {
        let mut sorted = self.times.clone();
        sorted.sort_unstable();
        let at = sorted.len() * of_thousand / 1000;
        sorted.get(at.min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
    }

    /// Adds another round.
    pub fn add(&mut self, other: Load) {
        self.times.extend(other.times);
        self.lasted += other.lasted;
        self.cpu = match (self.cpu, other.cpu) {
            (None, cpu) => cpu,
            (Some(a), b) => b.map(|b| a + b),
        };
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A kept connection.
pub struct Connection {
    stream: BufReader<Pin<Box<dyn Stream>>>,
    body: Vec<u8>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

/// Whoever listens on the loopback address is who is meant.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}

fn tls(directory: Option<&PathBuf>) -> Outcome<TlsConnector> {
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody));
    let config = match directory {
        None => config.with_no_client_auth(),
        Some(directory) => {
            let chain = CertificateDer::pem_file_iter(directory.join("cert.pem"))?.collect::<Result<Vec<_>, _>>()?;
            config.with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(directory.join("key.pem"))?)?
        }
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens there.
    pub async fn open(address: &Address) -> Outcome<Self> {
        let stream: Pin<Box<dyn Stream>> = match address {
            Address::Tcp(at) => {
                let stream = TcpStream::connect(at).await?;
                stream.set_nodelay(true)?;
                Box::pin(stream)
            }
            Address::Tls(at, directory) => {
                let stream = TcpStream::connect(at).await?;
                stream.set_nodelay(true)?;
                let name = ServerName::try_from("localhost")?;
                Box::pin(tls(directory.as_ref())?.connect(name, stream).await?)
            }
            Address::Unix(path) => Box::pin(UnixStream::connect(path).await?),
        };
        Ok(Connection { stream: BufReader::with_capacity(128 * 1024, stream), body: Vec::new() })
    }

    /// Sends a request, and gives the answer's body.
    ///
    /// # Errors
    /// When the connection breaks, or the status is not one of success.
    pub async fn ask(&mut self, request: &str) -> Outcome<&[u8]> {
        self.stream.write_all(request.as_bytes()).await?;
        let status = self.line().await?;
        if !status.split(' ').nth(1).is_some_and(|status| status.starts_with('2')) {
            return Err(format!("{status} to {}", request.lines().next().unwrap_or_default()).into());
        }
        let (mut length, mut chunked) = (0, false);
        loop {
            let line = self.line().await?.to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
            chunked |= line.starts_with("transfer-encoding:") && line.contains("chunked");
        }
        self.body.clear();
        if !chunked {
            self.read(length).await?;
            return Ok(&self.body);
        }
        loop {
            let size = usize::from_str_radix(self.line().await?.trim(), 16)?;
            self.read(size).await?;
            self.line().await?;
            if size == 0 {
                return Ok(&self.body);
            }
        }
    }

    /// The next line of an answer that goes on.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn line(&mut self) -> Outcome<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line).await? == 0 {
            return Err("the connection was closed".into());
        }
        Ok(line.trim_end().to_owned())
    }

    /// Sends a request whose answer is read line by line.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn send(&mut self, request: &str) -> Outcome<()> {
        Ok(self.stream.write_all(request.as_bytes()).await?)
    }

    async fn read(&mut self, length: usize) -> Outcome<()> {
        let begin = self.body.len();
        self.body.resize(begin + length, 0);
        let into = self.body.get_mut(begin..).unwrap_or_default();
        self.stream.read_exact(into).await?;
        Ok(())
    }
}

impl Target {
    /// The request.
    #[must_use]
    pub fn request(&self, method: &str, path: &str, body: &str) -> String {
        let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        let kind = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
        format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{}{kind}{length}\r\n{body}", self.headers)
    }

    /// The answer to what it is asked for.
    ///
    /// # Errors
    /// As [`Connection::ask`].
    pub async fn get(&self) -> Outcome<Vec<u8>> {
        Ok(Connection::open(&self.address).await?.ask(&self.request("GET", &self.path, "")).await?.to_vec())
    }

    /// So many connections for so long.
    ///
    /// # Errors
    /// When a question fails.
    pub async fn load(&self, connections: usize, time: Duration) -> Outcome<Load> {
        let mut open = Vec::new();
        for _ in 0..connections {
            open.push(Connection::open(&self.address).await?);
        }
        let cpu = self.pid.map(cpu_time).transpose()?;
        let begun = Instant::now();
        let tasks: Vec<_> = open
            .into_iter()
            .map(|mut connection| {
                let request = self.request("GET", &self.path, "");
                tokio::spawn(async move {
                    let mut times = Vec::new();
                    while begun.elapsed() < time {
                        let asked = Instant::now();
                        connection.ask(&request).await.map_err(|error| error.to_string())?;
                        times.push(asked.elapsed());
                    }
                    Ok::<_, String>(times)
                })
            })
            .collect();
        let mut load = Load::default();
        for task in tasks {
            load.times.extend(task.await??);
        }
        load.lasted = begun.elapsed();
        if let (Some(before), Some(pid)) = (cpu, self.pid) {
            load.cpu = Some(cpu_time(pid)?.saturating_sub(before));
        }
        Ok(load)
    }
}

/// The processor time that all threads of a process have used.
///
/// # Errors
/// When there is no such process.
pub fn cpu_time(pid: u32) -> Outcome<Duration> {
    let mut nanos = 0;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = std::fs::read_to_string(task?.path().join("schedstat"))?;
        nanos += text.split(' ').next().unwrap_or_default().parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanos))
}

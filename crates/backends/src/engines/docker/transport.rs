//! HTTP over whatever leads to the daemon: a unix socket, TCP, TLS, or a command run through ssh.
//!
//! The client library is given this as its transport, and the raw requests of [`super::client::Client`] use it, too.
//! A connection counts as made only within the connect deadline, so that a failure to reach the daemon is always told
//! apart from a failure after something was sent.

use std::fmt;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bollard::BollardRequest;
use hyper::Uri;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Semaphore;

use super::ssh::SshTarget;

/// How long an idle connection is kept. Short: it only serves calls that follow each other.
const IDLE: Duration = Duration::from_secs(15);

/// Where the daemon is.
#[derive(Clone)]
pub(super) enum Endpoint {
    Unix(PathBuf),
    Tcp { host: String, port: u16 },
    Tls { host: String, port: u16, name: ServerName<'static>, config: Arc<rustls::ClientConfig> },
    Ssh(SshTarget),
}

impl Endpoint {
    /// What stands before the path of every request; the daemon only looks at it behind proxies.
    pub(super) fn base(&self) -> String {
        match self {
            Endpoint::Unix(_) | Endpoint::Ssh(_) => "http://docker".to_owned(),
            Endpoint::Tcp { host, port } | Endpoint::Tls { host, port, .. } if host.contains(':') => {
                format!("http://[{host}]:{port}")
            }
            Endpoint::Tcp { host, port } | Endpoint::Tls { host, port, .. } => format!("http://{host}:{port}"),
        }
    }

    /// Connections that are costly to make are used again; a unix socket costs next to nothing, and a new connection
    /// never meets a daemon that has just closed it.
    fn idle_connections(&self) -> usize {
        match self {
            Endpoint::Unix(_) => 0,
            Endpoint::Tcp { .. } | Endpoint::Tls { .. } => 4,
            Endpoint::Ssh(_) => 8,
        }
    }

    /// How many requests may wait for their answers at once, and how many connections may be opened at once. Each
    /// connection through ssh is a process here and a login there, and servers turn away all but a few at a time.
    fn bounds(&self) -> (usize, usize) {
        match self {
            Endpoint::Unix(_) | Endpoint::Tcp { .. } | Endpoint::Tls { .. } => {
                (Semaphore::MAX_PERMITS, Semaphore::MAX_PERMITS)
            }
            Endpoint::Ssh(_) => (32, 6),
        }
    }

    async fn open(self) -> io::Result<Link> {
        Ok(match self {
            Endpoint::Unix(path) => Link::new(UnixStream::connect(path).await?),
            Endpoint::Tcp { host, port } => Link::new(tcp(&host, port).await?),
            Endpoint::Tls { host, port, name, config } => {
                let stream = tcp(&host, port).await?;
                Link::new(tokio_rustls::TlsConnector::from(config).connect(name, stream).await?)
            }
            Endpoint::Ssh(target) => Link::new(target.open().await?),
        })
    }
}

async fn tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((host, port)).await?;
    // Small requests must not wait for the acknowledgement of earlier ones.
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A connection to the daemon, whatever it runs over.
pub(super) struct Link(Box<dyn Io>);

trait Io: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Io for T {}

impl Link {
    fn new(io: impl AsyncRead + AsyncWrite + Send + Sync + Unpin + 'static) -> Self {
        Link(Box::new(io))
    }
}

impl AsyncRead for Link {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Link {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl Connection for Link {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

/// Opens connections for the HTTP client.
#[derive(Clone)]
struct Connector {
    endpoint: Endpoint,
    deadline: Duration,
    opening: Arc<Semaphore>,
}

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<Link>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let connecting = self.clone().open();
        Box::pin(async move { connecting.await.map(TokioIo::new) })
    }
}

impl Connector {
    async fn open(self) -> io::Result<Link> {
        // Never closed, so never refused.
        let _turn = self.opening.acquire().await.ok();
        match tokio::time::timeout(self.deadline, self.endpoint.open()).await {
            Ok(link) => link,
            Err(_) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("no connection within {} s", self.deadline.as_secs_f64()),
            )),
        }
    }
}

/// The head of an answer, to come.
type Answer = Pin<Box<dyn Future<Output = Result<hyper::Response<Incoming>, bollard::errors::Error>> + Send>>;

/// Sends requests to one daemon. Cheap to clone.
#[derive(Clone)]
pub(super) struct Transport {
    base: Arc<str>,
    connector: Connector,
    client: Arc<dyn Fn(BollardRequest) -> Answer + Send + Sync>,
}

impl Transport {
    pub(super) fn new(endpoint: Endpoint, deadline: Duration) -> Self {
        let (requests, openings) = endpoint.bounds();
        let connector = Connector { endpoint, deadline, opening: Arc::new(Semaphore::new(openings)) };
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(connector.endpoint.idle_connections())
            .build(connector.clone());
        let waiting = Arc::new(Semaphore::new(requests));
        let send = move |request: BollardRequest| -> Answer {
            // Some engines answer a wait only at its end; many of those must not keep others waiting.
            let waiting = (!request.uri().path().ends_with("/wait")).then(|| Arc::clone(&waiting));
            let client = client.clone();
            Box::pin(async move {
                let _turn = match &waiting {
                    Some(waiting) => waiting.acquire().await.ok(),
                    None => None,
                };
                client.request(request).await.map_err(bollard::errors::Error::from)
            })
        };
        Transport { base: connector.endpoint.base().into(), connector, client: Arc::new(send) }
    }

    /// What stands before the path of every request's URI.
    pub(super) fn base(&self) -> &str {
        &self.base
    }

    /// Opens a connection of its own, for what HTTP calls an upgrade.
    pub(super) async fn dial(&self) -> io::Result<Link> {
        self.connector.clone().open().await
    }

    /// Sends one request and gives the head of the answer, whatever its status.
    pub(super) async fn send(
        &self,
        request: BollardRequest,
    ) -> Result<hyper::Response<Incoming>, bollard::errors::Error> {
        (self.client)(request).await
    }

    /// The same as the client library wants it.
    pub(super) fn for_library(&self) -> impl Fn(BollardRequest) -> Answer + Send + Sync + 'static {
        let client = Arc::clone(&self.client);
        move |request| client(request)
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transport")
    }
}

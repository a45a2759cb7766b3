//! A way to an engine that can be cut: every connection is forwarded until the cut, and none afterwards. The engine
//! itself, which other tests use, notices only that its clients are gone.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::{AbortHandle, JoinSet};

/// Cuts the way when told to, or when dropped.
#[derive(Debug)]
pub struct Cut(AbortHandle);

impl Cut {
    /// Ends all connections; new ones are refused from now on.
    pub fn cut(&self) {
        self.0.abort();
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        self.cut();
    }
}

/// A socket in `directory` that leads to `engine`.
///
/// # Errors
/// When the socket cannot be made.
pub fn unix(engine: PathBuf, directory: &Path) -> io::Result<(PathBuf, Cut)> {
    let socket = directory.join("cut.sock");
    let listener = UnixListener::bind(&socket)?;
    let task = tokio::spawn(async move {
        // Dropped with this task, and all connections with it.
        let mut connections = JoinSet::new();
        while let Ok((client, _)) = listener.accept().await {
            connections.spawn(forward(client, UnixStream::connect(engine.clone())));
        }
    });
    Ok((socket, Cut(task.abort_handle())))
}

/// A port on the loopback address that leads to `engine`.
///
/// # Errors
/// When no port is to be had.
pub async fn tcp(engine: SocketAddr) -> io::Result<(u16, Cut)> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let port = listener.local_addr()?.port();
    let task = tokio::spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((client, _)) = listener.accept().await {
            connections.spawn(forward(client, TcpStream::connect(engine)));
        }
    });
    Ok((port, Cut(task.abort_handle())))
}

async fn forward<C, E>(mut client: C, engine: impl Future<Output = io::Result<E>>)
where
    C: AsyncRead + AsyncWrite + Unpin,
    E: AsyncRead + AsyncWrite + Unpin,
{
    if let Ok(mut engine) = engine.await {
        // A broken connection is what this is for.
        let _ = copy_bidirectional(&mut client, &mut engine).await;
    }
}

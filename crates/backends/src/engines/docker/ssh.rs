//! A connection to a daemon through ssh, as the docker command line makes it: the system's `ssh` runs
//! `docker system dial-stdio` on the other machine, and its input and output are the connection.
//!
//! The user's own ssh configuration, agent and known hosts apply; nothing is ever asked for interactively.

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::process::Stdio;
use std::task::{Context, Poll};
use std::time::Duration;

use roadstead_core::{Error, ErrorKind};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// More of what ssh and the far side say of a failure is not shown.
const COMPLAINT_MAX: u64 = 2048;
/// The head of the first answer is shorter than this.
const GREETING_MAX: usize = 16 * 1024;

/// Which program of the other machine is the way to its daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialer {
    Docker,
    Podman,
}

/// The other machine, and the daemon on it.
#[derive(Clone, Debug)]
pub(super) struct SshTarget {
    pub(super) host: String,
    pub(super) user: Option<String>,
    pub(super) port: Option<u16>,
    /// Path of the daemon's socket there; the other side's own default when absent.
    pub(super) socket: Option<String>,
    /// An ssh configuration file in place of the user's own.
    pub(super) config: Option<PathBuf>,
    pub(super) dialer: Dialer,
    pub(super) deadline: Duration,
}

impl SshTarget {
    fn arguments(&self) -> Vec<String> {
        let mut arguments: Vec<String> = Vec::new();
        if let Some(config) = &self.config {
            arguments.extend(["-F".to_owned(), config.display().to_string()]);
        }
        arguments.extend(["-T", "-o", "BatchMode=yes"].map(str::to_owned));
        let seconds = self.deadline.as_secs().max(1);
        arguments.extend(["-o".to_owned(), format!("ConnectTimeout={seconds}")]);
        if let Some(user) = &self.user {
            arguments.extend(["-l".to_owned(), user.clone()]);
        }
        if let Some(port) = self.port {
            arguments.extend(["-p".to_owned(), port.to_string()]);
        }
        arguments.extend(["--".to_owned(), self.host.clone()]);
        let program = match self.dialer {
            Dialer::Docker => "docker",
            Dialer::Podman => "podman",
        };
        arguments.push(program.to_owned());
        if let Some(socket) = &self.socket {
            let option = match self.dialer {
                Dialer::Docker => "--host",
                Dialer::Podman => "--url",
            };
            arguments.extend([option.to_owned(), quote(&format!("unix://{socket}"))]);
        }
        arguments.extend(["system", "dial-stdio"].map(str::to_owned));
        arguments
    }

    /// Starts ssh and waits until the daemon has answered through it, so that a refused login, a missing program or a
    /// missing daemon is a failure to connect and not a failure of the first request.
    pub(super) async fn open(&self) -> io::Result<SshStream> {
        let mut child = Command::new("ssh")
            .args(self.arguments())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| io::Error::new(error.kind(), format!("ssh could not be started: {error}")))?;
        let (Some(input), Some(output), Some(mut complaints)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(io::Error::other("ssh was started without pipes"));
        };
        let mut stream = SshStream { input: Some(input), output, _child: child };
        if let Err(error) = stream.greet().await {
            // Closing its input ends the far side, and with it what is still to come on standard error.
            stream.input = None;
            let mut text = Vec::new();
            let _ = tokio::time::timeout(
                Duration::from_secs(1),
                (&mut complaints).take(COMPLAINT_MAX).read_to_end(&mut text),
            )
            .await;
            let text = String::from_utf8_lossy(&text);
            let text = text.trim();
            return Err(failure(text, &error));
        }
        // Later words of ssh are of no use, but a full pipe would stop it.
        tokio::spawn(async move {
            let mut nowhere = tokio::io::sink();
            let _ = tokio::io::copy(&mut complaints, &mut nowhere).await;
        });
        Ok(stream)
    }
}

/// Why there is no connection, in the words of ssh or of the far side.
fn failure(complaint: &str, error: &io::Error) -> io::Error {
    if complaint.is_empty() {
        return io::Error::new(io::ErrorKind::ConnectionRefused, format!("ssh: {error}"));
    }
    let text = format!("ssh: {}", complaint.split_whitespace().collect::<Vec<_>>().join(" "));
    if text.contains("Permission denied (") || text.contains("Host key verification failed") {
        return io::Error::other(Error::new(ErrorKind::Unauthenticated, text));
    }
    io::Error::new(io::ErrorKind::ConnectionRefused, text)
}

/// One word for the shell on the other side.
fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// The connection; ssh ends when it is dropped.
#[derive(Debug)]
pub(super) struct SshStream {
    input: Option<ChildStdin>,
    output: ChildStdout,
    _child: Child,
}

impl SshStream {
    /// Asks the daemon for a sign of life, and reads exactly its answer, which has no body.
    async fn greet(&mut self) -> io::Result<()> {
        self.write_all(b"HEAD /_ping HTTP/1.1\r\nHost: docker\r\n\r\n").await?;
        self.flush().await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let byte = self.read_u8().await.map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => io::Error::new(error.kind(), "the connection was closed"),
                _ => error,
            })?;
            head.push(byte);
            if head.len() > GREETING_MAX {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the other side does not speak HTTP"));
            }
        }
        if head.starts_with(b"HTTP/1.") {
            Ok(())
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidData, "the other side does not speak HTTP"))
        }
    }

    fn input(&mut self) -> io::Result<Pin<&mut ChildStdin>> {
        self.input.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }
}

impl AsyncRead for SshStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.output).poll_read(cx, buf)
    }
}

impl AsyncWrite for SshStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.input()?.poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.input()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Only closing the pipe tells the far side that no more comes.
        self.input = None;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> SshTarget {
        SshTarget {
            host: "box".to_owned(),
            user: None,
            port: None,
            socket: None,
            config: None,
            dialer: Dialer::Docker,
            deadline: Duration::from_secs(7),
        }
    }

    #[test]
    fn a_refused_login_is_told_from_a_machine_that_is_not_there() {
        let closed = io::Error::from(io::ErrorKind::UnexpectedEof);
        let refused = failure("me@box: Permission denied (publickey).\r\n", &closed);
        let ours = refused.get_ref().and_then(|inner| inner.downcast_ref::<Error>()).unwrap();
        assert_eq!(ours.kind(), ErrorKind::Unauthenticated);
        assert_eq!(failure("ssh: Could not resolve hostname", &closed).kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(failure("", &closed).kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn the_command_is_the_one_of_the_docker_command_line() {
        assert_eq!(
            target().arguments().join(" "),
            "-T -o BatchMode=yes -o ConnectTimeout=7 -- box docker system dial-stdio"
        );
        let full = SshTarget {
            user: Some("me".to_owned()),
            port: Some(2222),
            socket: Some("/run/it's.sock".to_owned()),
            config: Some("/etc/roadstead/ssh".into()),
            ..target()
        };
        assert_eq!(
            full.arguments().join(" "),
            "-F /etc/roadstead/ssh -T -o BatchMode=yes -o ConnectTimeout=7 -l me -p 2222 -- box docker --host \
             'unix:///run/it'\\''s.sock' system dial-stdio"
        );
    }
}

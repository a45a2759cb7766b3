//! The websockets of an exec: one for control, and one for each stream, or one for all at a terminal.

use futures_util::future::try_join;
use roadstead_core::{Error, ErrorKind, OutputKind, Result};

use super::super::client::Client;
use super::super::operation::Operation;
use super::super::request::Request;
use super::super::websocket::{Reader, Socket, Writer};

/// All sockets of one exec.
#[derive(Debug)]
pub(super) struct Sockets {
    pub(super) control: Writer,
    pub(super) input: Writer,
    pub(super) readers: Readers,
}

/// What is read.
#[derive(Debug)]
pub(super) struct Readers {
    pub(super) control: Reader,
    /// Of standard input, where nothing but signs of life comes.
    pub(super) input: Option<Reader>,
    /// Where output comes, and from which stream. The writing halves say nothing, but keep the connections.
    pub(super) outputs: Vec<(OutputKind, Reader, Option<Writer>)>,
}

impl Sockets {
    /// Connects all of them, which starts the process.
    pub(super) async fn open(client: &Client, operation: &Operation, tty: bool) -> Result<Self> {
        let one = |name: &'static str| connect(client, operation, name);
        // Before the others: the process starts with the last of those, and may be gone before this one is there.
        let control = one("control").await?;
        let readers = |input, outputs| Readers { control: control.reader, input, outputs };
        if tty {
            let terminal = one("0").await?;
            let outputs = vec![(OutputKind::Console, terminal.reader, None)];
            return Ok(Sockets { control: control.writer, input: terminal.writer, readers: readers(None, outputs) });
        }
        let (input, (stdout, stderr)) = try_join(one("0"), try_join(one("1"), one("2"))).await?;
        let outputs = vec![
            (OutputKind::Stdout, stdout.reader, Some(stdout.writer)),
            (OutputKind::Stderr, stderr.reader, Some(stderr.writer)),
        ];
        Ok(Sockets { control: control.writer, input: input.writer, readers: readers(Some(input.reader), outputs) })
    }
}

/// Connects a websocket of an operation.
pub(in super::super) async fn connect(client: &Client, operation: &Operation, name: &str) -> Result<Socket> {
    let Some(secret) = operation.state().secret(name) else {
        return Err(Error::new(ErrorKind::Unexpected, format!("the engine's operation has no socket {name:?}")));
    };
    let request = Request::get(&["operations", operation.id(), "websocket"]).query("secret", secret.expose());
    client.websocket(request).await
}

//! The console of a running container: its streams in one, and the size of its terminal.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, future};
use roadstead_core::{
    AttachOptions, Attachment, Error, ErrorKind, InputSink, OutputChunk, OutputKind, Result, TerminalSize,
};

use super::console::{self, Link, Text};
use super::facts::Facts;
use super::recorded;
use super::shared::Lxd;

/// Sizes of the console are taken by the protocol, but do not reach the container's own terminal.
const RESIZE: &str = r#"stty rows "$1" cols "$2" </dev/console"#;

/// C150, C151.
///
/// Only who writes needs the connection to the console, of which there is one for everybody; what is written to the
/// console is read from its log.
pub(super) async fn attach(lxd: &Arc<Lxd>, id: &str, options: &AttachOptions) -> Result<Attachment> {
    if !options.stdin && !options.stdout && !options.stderr {
        return Err(Error::invalid("stdout", "at least one of stdin, stdout and stderr must be asked for"));
    }
    let facts = Facts::of(lxd, id).await?;
    facts.must_run()?;
    if options.stdin && !facts.stdin() {
        return Err(Error::new(ErrorKind::Conflict, "the container was created without standard input"));
    }
    let console = lxd.consoles.of(id, &facts);
    let look = console.look(lxd, Some(&facts), 0).await?;
    let link = if options.stdin { Some(console.link(lxd).await?) } else { None };
    let mut text = Text::new(facts.tty());
    // What was written before is passed, too, so that the ends of its lines are known.
    let before = text.pass(look.bytes);
    let before = if options.logs { before } else { Bytes::new() };
    let wanted = options.stdout || options.stderr;
    let mut sequence = 0;
    let output =
        console::follow(lxd, &console, link.clone(), look.end).map(move |piece| piece.map(|piece| text.pass(piece)));
    let output = futures_util::stream::iter([Ok(before)])
        .chain(output)
        .filter(move |piece| future::ready(piece.as_ref().map_or(true, |piece| wanted && !piece.is_empty())))
        .map(move |piece| {
            sequence += 1;
            piece.map(|piece| OutputChunk::new(sequence, OutputKind::Console, piece))
        });
    let input = link.map(|link| Box::new(Typing { link, closed: false }) as Box<dyn InputSink>);
    Ok(Attachment { output: output.boxed(), input })
}

/// The keyboard of a console. Dropping it types nothing: at a terminal, nobody there is no end.
#[derive(Debug)]
struct Typing {
    link: Arc<Link>,
    closed: bool,
}

#[async_trait]
impl InputSink for Typing {
    async fn write(&mut self, data: Bytes) -> Result<()> {
        if self.closed {
            return Err(Error::new(ErrorKind::Conflict, "the input is closed"));
        }
        self.link.write(data).await
    }

    async fn close(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.closed, true) {
            return Ok(());
        }
        self.link.end().await
    }
}

/// C152, C153.
pub(super) async fn resize(lxd: &Arc<Lxd>, id: &str, size: TerminalSize) -> Result<()> {
    size.validate()?;
    let facts = Facts::of(lxd, id).await?;
    facts.must_run()?;
    if !facts.tty() {
        return Err(Error::new(ErrorKind::Conflict, "the container was created without a terminal"));
    }
    let (rows, columns) = (size.rows.to_string(), size.columns.to_string());
    let without = || Error::unsupported("resizing the terminal of a container without the programs sh and stty");
    match recorded::run(lxd, id, &["sh", "-c", RESIZE, "sh", &rows, &columns]).await {
        Ok(output) if output.exit_code == 0 => Ok(()),
        Ok(output) if output.exit_code == 127 => Err(without()),
        Ok(output) => Err(Error::new(
            ErrorKind::Unexpected,
            format!("the container's stty could not set the size of its terminal (exit code {})", output.exit_code),
        )),
        // There is no such command.
        Err(error) if error.kind() == ErrorKind::InvalidInput => Err(without()),
        Err(error) => Err(error),
    }
}

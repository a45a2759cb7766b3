//! The log of a container: what its console showed, without times and with both streams in one.

use std::sync::Arc;

use futures_util::{StreamExt, stream};
use roadstead_core::{Capability, ItemStream, LogOptions, LogRecord, OutputKind, Result};

use super::console::{self, Text, lines, tail};
use super::facts::Facts;
use super::shared::Lxd;

/// C140–C144.
pub(super) async fn logs(lxd: &Arc<Lxd>, id: &str, options: &LogOptions) -> Result<ItemStream<LogRecord>> {
    options.validate()?;
    if options.timestamps || options.since.is_some() || options.until.is_some() {
        lxd.capabilities.require(Capability::LogTimes)?;
    }
    if !options.stdout || !options.stderr {
        lxd.capabilities.require(Capability::LogsSplit)?;
    }
    let facts = Facts::of(lxd, id).await?;
    let console = lxd.consoles.of(id, &facts);
    let look = console.look(lxd, Some(&facts), 0).await?;
    let goes_on = options.follow && !look.over;
    let mut text = Text::new(facts.tty());
    let mut kept = text.pass(look.bytes);
    if !goes_on {
        kept = [kept, text.rest()].concat().into();
    }
    if let Some(count) = options.tail {
        kept = tail(&kept, count);
    }
    let kept = stream::iter(lines(kept)).map(Ok);
    let records = if goes_on {
        kept.chain(follow(console::follow(lxd, &console, None, look.end), text)).boxed()
    } else {
        kept.boxed()
    };
    Ok(records.map(|line| line.map(|line| LogRecord::new(OutputKind::Console, line))).boxed())
}

/// Lines of what is written from now on; what has no end yet is given without.
fn follow(pieces: ItemStream<bytes::Bytes>, text: Text) -> ItemStream<bytes::Bytes> {
    let pieces = stream::unfold((pieces, text, false), |(mut pieces, mut text, over)| async move {
        if over {
            return None;
        }
        match pieces.next().await {
            Some(Ok(piece)) => {
                let piece = text.pass(piece);
                Some((Ok(piece), (pieces, text, false)))
            }
            Some(Err(error)) => Some((Err(error), (pieces, text, true))),
            None => {
                let rest = text.rest();
                Some((Ok(rest), (pieces, text, true)))
            }
        }
    });
    let lines = pieces.map(|piece| match piece {
        Ok(piece) => lines(piece).into_iter().map(Ok).collect::<Vec<_>>(),
        Err(error) => vec![Err(error)],
    });
    lines.flat_map(stream::iter).boxed()
}

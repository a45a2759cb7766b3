//! A pull as a job: a line of output for each progress. Pulling again what is there already does no harm, so the next server begins anew.

use futures_util::StreamExt;
use roadstead_core::Result;

use super::book::Stream;
use super::record::Pull;
use super::{Desk, End};
use crate::actions::line;

pub(super) async fn run(desk: &Desk, pull: &Pull) -> Result<End> {
    let work = async {
        let node = desk.app.node(&pull.node).await?;
        let mut progress = node.pull_image(&pull.options()).await?;
        while let Some(progress) = progress.next().await {
            desk.ledger.say(Stream::Stdout, &line(&progress?));
        }
        Ok(())
    };
    Ok(tokio::select! {
        pulled = work => End::with(pulled.map_or_else(|error| desk.fail(error), |()| 0)),
        signal = desk.signal() => End::killed(signal),
    })
}

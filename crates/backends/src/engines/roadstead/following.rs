//! The output of a job, as it comes: after a break the server is asked for what follows the last piece.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use roadstead_core::{Error, ItemStream, OutputChunk, OutputOptions, Result};
use tokio::time::sleep;

use super::frames::{self, Said};
use super::known::Known;
use super::request::Request;
use super::wire::Piece;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// J30 to J33. Of a job that was given up, what was read of it before.
pub(super) async fn output(known: &Arc<Known>, options: OutputOptions) -> Result<ItemStream<OutputChunk>> {
    if known.lost().is_some() {
        return Ok(stream::iter(known.kept(options.after)).map(Ok).boxed());
    }
    let said = connect(known, options).await?;
    let follower = Follower { known: Arc::clone(known), options, said, over: false };
    Ok(stream::unfold(follower, Follower::next).fuse().boxed())
}

async fn connect(known: &Known, options: OutputOptions) -> Result<ItemStream<Said>> {
    let request = Request::get(&["jobs", &known.id, "output"])
        .query("follow", if options.follow { "true" } else { "false" })
        .query("after", &options.after.to_string());
    let said = frames::open(&known.remote, request).await?;
    known.is_there();
    Ok(said)
}

struct Follower {
    known: Arc<Known>,
    options: OutputOptions,
    said: ItemStream<Said>,
    over: bool,
}

impl Follower {
    async fn next(mut self) -> Option<(Result<OutputChunk>, Self)> {
        loop {
            if self.over {
                return None;
            }
            match self.said.next().await {
                Some(Ok(Said::Data(data))) => match Piece::read(&data).and_then(Piece::chunk) {
                    Ok(chunk) if chunk.sequence <= self.options.after => {}
                    Ok(chunk) => {
                        self.options.after = chunk.sequence;
                        self.known.keep(&chunk);
                        return Some((Ok(chunk), self));
                    }
                    Err(error) => return self.ends_with(error),
                },
                Some(Ok(Said::End)) => return None,
                Some(Ok(Said::Failed(error))) => return self.ends_with(error),
                Some(Err(broke)) => {
                    if let Err(error) = self.again(broke).await {
                        return self.ends_with(error);
                    }
                }
                None => return None,
            }
        }
    }

    fn ends_with(mut self, error: Error) -> Option<(Result<OutputChunk>, Self)> {
        self.over = true;
        let error = error.with_operation("job.output").with_node(&self.known.remote.name).with_resource(&self.known.id);
        Some((Err(error), self))
    }

    /// Connects again for as long as the job is not given up.
    async fn again(&mut self, mut error: Error) -> Result<()> {
        let mut pause = FIRST_PAUSE;
        loop {
            if let Some(lost) = self.known.lost() {
                return Err(lost);
            }
            self.known.note(error)?;
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            match connect(&self.known, self.options).await {
                Ok(said) => {
                    self.said = said;
                    return Ok(());
                }
                Err(again) => error = again,
            }
        }
    }
}

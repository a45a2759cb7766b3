//! Jobs with all that core0 knows of them: levels of output, payloads, runs that recur or are repeated.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use roadstead_core::{Error, ItemStream, Result, Signal};

use super::command::Command;
use super::commands::Commands;
use super::outcome::Outcome;
use super::progress::{Progress, Step};
use super::shared::{Core0, whole};
use super::streams::Entry;
use super::{Scope, client::Client};

/// A command that a node has accepted. Dropping it leaves the command running.
#[derive(Clone, Debug)]
pub struct Core0Job {
    client: Arc<Client>,
    scope: Scope,
    id: String,
    streamed: bool,
    again: bool,
}

impl Core0Job {
    pub(super) async fn start(core0: &Arc<Core0>, scope: Scope, command: &Command) -> Result<Self> {
        let (client, command) = (Arc::clone(&core0.client), command.clone());
        whole(async move {
            let id = client.push(scope, &command).await?;
            let again = command.recurring_period.is_some() || command.max_restart.is_some_and(|runs| runs > 1);
            Ok(Core0Job { client, scope, id, streamed: command.stream, again })
        })
        .await
    }

    fn commands(&self) -> Commands {
        Commands::new(Arc::clone(&self.client), self.scope)
    }

    /// The id under which the node has its result.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Where it runs.
    #[must_use]
    pub fn scope(&self) -> Scope {
        self.scope
    }

    /// Its output on every level, of all its runs, until it has ended. What is read is taken from the node, so one reader gets
    /// all of it: a second one ends the first.
    ///
    /// # Errors
    /// `InvalidInput` when the command was not pushed with `stream`. In the stream: `Unavailable` when the node has lost the
    /// command, or cannot be reached any more.
    pub async fn entries(&self) -> Result<ItemStream<Entry>> {
        if !self.streamed {
            return Err(Error::invalid("stream", "must be set, or the node keeps no output of the command"));
        }
        let progress = Progress::begin(&self.client, self.scope, &self.id, self.again);
        let entries = stream::try_unfold(progress, |mut progress| async move {
            Ok(match progress.next().await? {
                Some(Step::Entry(entry)) => Some((entry, progress)),
                Some(Step::Ended(_)) | None => None,
            })
        });
        Ok(entries.boxed())
    }

    /// Waits for its result, whatever that is, and takes it from nobody. One that recurs has none before it is unscheduled.
    ///
    /// # Errors
    /// `DeadlineExceeded`; `NotFound` when the node does not know the command any more; `Unavailable`. Advice `unknown`: it may
    /// have done its work.
    pub async fn outcome(&self, deadline: Duration) -> Result<Outcome> {
        self.client.result(&self.id, deadline).await
    }

    /// Sends it a signal: on the node itself to its group of processes, in a container to its process alone. False when it
    /// does not run.
    ///
    /// # Errors
    /// As every command.
    pub async fn kill(&self, signal: Signal) -> Result<bool> {
        self.commands().jobs().kill(&self.id, Some(signal)).await
    }

    /// Lets it not run again: its result is that of the last run. False when it is not known.
    ///
    /// # Errors
    /// As every command.
    pub async fn unschedule(&self) -> Result<bool> {
        self.commands().jobs().unschedule(&self.id).await
    }
}

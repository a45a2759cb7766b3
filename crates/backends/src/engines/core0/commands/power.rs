//! Restarting a node's machine and turning it off: `core.reboot` and `core.poweroff`, section 12.1 of the reference.
//!
//! A node ends all jobs and containers first, which it may take three minutes for, and then goes: that the connection is lost
//! once it has accepted the command is a success.

use std::time::Duration;

use roadstead_core::{ErrorKind, Result};
use tokio::time::Instant;

use super::super::{Command, Scope};
use super::Commands;

/// Twice 90 seconds for what does not want to end, and a minute more.
const LEAVING: Duration = Duration::from_secs(240);

/// How long one look takes at most.
const ROUND: Duration = Duration::from_secs(2);

/// `core.reboot` and `core.poweroff`.
#[derive(Clone, Copy, Debug)]
pub struct Power<'a>(pub(super) &'a Commands);

impl Power<'_> {
    /// Restarts the machine.
    ///
    /// # Errors
    /// As every command, but for a connection that is lost after the node accepted the command.
    pub async fn reboot(&self) -> Result<()> {
        self.leave("core.reboot").await
    }

    /// Turns the machine off.
    ///
    /// # Errors
    /// As [`Power::reboot`].
    pub async fn power_off(&self) -> Result<()> {
        self.leave("core.poweroff").await
    }

    async fn leave(&self, name: &'static str) -> Result<()> {
        let commands = self.0;
        let command = Command::new(name, ())?;
        let until = Instant::now() + commands.deadline.unwrap_or(LEAVING);
        let id = commands.client.push(Scope::Host, &command).await?;
        loop {
            // In rounds, so that a node that is gone is not waited for until the end.
            let left = until.saturating_duration_since(Instant::now());
            match commands.client.result(&id, left.min(ROUND)).await {
                Ok(outcome) => return outcome.check(),
                Err(error) if error.kind() == ErrorKind::DeadlineExceeded && Instant::now() < until => {}
                // The node is away; or it is there again, and knows nothing of this any more.
                Err(error) if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::NotFound) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}

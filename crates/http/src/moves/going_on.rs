//! Going on with moves without being asked: with what a former server left, what another one did when it died, and what waits for an
//! engine that was away.

use std::time::Duration;

use actix_web::web::Data;
use futures_util::StreamExt;
use roadstead_core::migration::{MoveLog, MoveRecord, MoveState};
use roadstead_core::store::TableChange;
use roadstead_core::{Error, ErrorKind, Result};

use super::{Direction, Moves, lock, refuse_after_commit};
use crate::nodes::Meaning;
use crate::state::App;

/// Between two attempts to go on with what a former server or an outage left, doubled each time.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// The longest pause between two attempts.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// When a move is worked at without anybody who asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempts {
    /// At once: a former server left it.
    AtOnce,
    /// When what made it stop was an engine that was away; anything else is for a person to look at.
    AfterOutages,
}

fn was_outage(record: &MoveRecord) -> bool {
    let failure = record.failure.as_ref().map(|failure| failure.code);
    failure.is_none_or(|code| matches!(code, ErrorKind::Unavailable | ErrorKind::DeadlineExceeded))
}

/// Taken out of those that are looked after however that ends.
struct LookedAfter {
    app: Data<App>,
    id: String,
}

impl Drop for LookedAfter {
    fn drop(&mut self) {
        lock(&self.app.moves.looked_after).remove(&self.id);
    }
}

impl Moves {
    /// Whether a move that nobody works at in this moment is worked at again without being asked for: who did so has died, an engine was
    /// away, or it was called off.
    ///
    /// # Errors
    /// `NotFound`, and those of the store.
    pub(crate) async fn goes_on(&self, id: &str) -> Result<bool> {
        let kept = self.kept(id).await?;
        if kept.is_worked_at || was_outage(&kept.record) {
            return Ok(true);
        }
        Ok(self.log.wish(id)?.made().await?.is_some() && refuse_after_commit(&kept.record).is_ok())
    }

    /// Goes on with what a former server left: forward what was on its way forward, back what was on its way back. A node that
    /// is away is waited for.
    pub(crate) async fn resume(app: Data<App>) {
        let left = match app.moves.log.list().await {
            Ok(records) => records.into_iter().filter(|record| !record.state.is_final()).collect::<Vec<_>>(),
            Err(error) => return tracing::error!(%error, "the records of moves cannot be read"),
        };
        // What others leave for a person is not taken up because one more server starts.
        let alone = app.fleet.servers().await.is_ok_and(|servers| servers.len() <= 1);
        let attempts = if alone { Attempts::AtOnce } else { Attempts::AfterOutages };
        for record in left {
            Self::look_after(&app, record.id().to_owned(), attempts);
        }
        tokio::spawn(Self::stand_by(app));
    }

    /// Looks after the moves that other servers begin, since they may die. Ends with the server.
    async fn stand_by(app: Data<App>) {
        loop {
            let watched = async {
                let mut written = app.moves.log.written().await?;
                while let Some(change) = written.next().await {
                    match change? {
                        TableChange::Put(id, Ok(record))
                            if !record.value.record.state.is_final() && app.moves.is_of_others(&id) =>
                        {
                            Self::look_after(&app, id, Attempts::AfterOutages);
                        }
                        TableChange::Resync => break,
                        _ => {}
                    }
                }
                Ok::<_, Error>(())
            };
            tokio::select! {
                () = app.ending() => return,
                watched = watched => if let Err(error) = watched {
                    tracing::warn!(%error, "the moves of other servers are not followed");
                },
            }
            tokio::time::sleep(PAUSE_MIN).await;
        }
    }

    fn is_of_others(&self, id: &str) -> bool {
        !lock(&self.taken).contains(id) && !lock(&self.looked_after).contains(id)
    }

    /// Works at it again and again until it is over, unless somebody does so already.
    pub(super) fn look_after(app: &Data<App>, id: String, attempts: Attempts) {
        if !lock(&app.moves.looked_after).insert(id.clone()) {
            return;
        }
        let after = LookedAfter { app: app.clone(), id };
        tokio::spawn(async move {
            tokio::select! {
                () = after.app.ending() => {}
                () = after.app.moves.finish(&after.app, &after.id, attempts) => {}
            }
        });
    }

    /// Goes on with a move that nobody works at.
    async fn take_up(&self, app: &Data<App>, id: &str) -> Result<()> {
        let kept = self.kept(id).await?;
        if let Some(node) = app.nodes.first(&kept.meant, Meaning::Other) {
            tracing::debug!(
                migration = id,
                node,
                "the move is that of a server whose node of this name is another one"
            );
            return Ok(());
        }
        if self.log.wish(id)?.made().await?.is_some() && refuse_after_commit(&kept.record).is_ok() {
            return self.call_off(app, id, None).await.map(drop);
        }
        let mut claimed = self.claim(app, id).await?;
        // As it is now that nobody else works at it.
        let kept = self.kept(id).await?;
        let back = kept.record.state == MoveState::RollingBack;
        tracing::debug!(migration = id, back, "going on with a move that was interrupted");
        let direction = if back { Direction::Back } else { Direction::Forward };
        let taken_up = self.attempt(app, kept, direction, &mut claimed).await.map(drop);
        claimed.release().await;
        taken_up
    }

    async fn finish(&self, app: &Data<App>, id: &str, mut attempts: Attempts) {
        let mut pause = PAUSE_MIN;
        loop {
            match self.get(id).await {
                // It has deadlines of its own, and is gone from the table in a moment.
                Ok((_, Some(active))) => drop(active.job.wait(Duration::from_secs(24 * 60 * 60)).await),
                Ok((record, None)) if record.state.is_final() => return,
                Ok((_, None)) => {
                    if attempts == Attempts::AfterOutages && matches!(self.goes_on(id).await, Ok(false)) {
                        return tracing::warn!(migration = id, "the move does not go on by itself");
                    }
                    match self.take_up(app, id).await {
                        Ok(()) => attempts = Attempts::AfterOutages,
                        // Another server works at it, or has just done so.
                        Err(error) if error.kind() == ErrorKind::Conflict => {
                            tracing::debug!(migration = id, %error, "the move is not taken up");
                            pause = PAUSE_MIN;
                        }
                        Err(error) => tracing::warn!(migration = id, %error, "the move cannot go on yet"),
                    }
                }
                Err(error) if error.kind() == ErrorKind::NotFound => return,
                Err(error) => tracing::warn!(migration = id, %error, "the record of the move cannot be read"),
            }
            tokio::time::sleep(pause).await;
            pause = pause.saturating_mul(2).min(PAUSE_MAX);
        }
    }
}

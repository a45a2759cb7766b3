//! The thread that writes: takes what is asked for together to the disk, and ends leases when they are over.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use roadstead_core::store::{LeaseId, Revision, Transaction, no_lease};
use roadstead_core::{Error, Result};
use tokio::sync::watch;

use super::database::{self, Database};
use super::queue::{Answer, Jobs, Next};

/// So many commands are taken to the disk together at most.
const TOGETHER: usize = 128;

/// Leases that are over and could not be ended are tried again after so long.
const AGAIN: Duration = Duration::from_secs(1);

/// What is asked of it.
#[derive(Debug)]
pub(super) enum Command {
    Commit(Transaction, Answer<Revision>),
    Lease(Duration, Answer<LeaseId>),
    Renew(LeaseId, Answer<()>),
    Revoke(LeaseId, Answer<()>),
}

/// An answer that is given once all is on the disk.
type Later = Box<dyn FnOnce(Result<()>)>;

#[derive(Debug)]
pub(super) struct Writer {
    database: Database,
    leases: BTreeMap<LeaseId, Lease>,
    /// Leases are not ended by themselves before, since a disk that is full stays so for a while.
    not_before: Instant,
    reached: watch::Sender<Revision>,
    remembered: u64,
}

#[derive(Clone, Copy, Debug)]
struct Lease {
    life: Duration,
    over: Instant,
}

impl Lease {
    fn of(life: Duration) -> Self {
        Lease { life, over: Instant::now() + life }
    }
}

impl Writer {
    /// Leases of before live their whole life again, since for how long nobody could renew them is not known.
    pub(super) fn new(database: Database, remembered: u64) -> Result<Self> {
        let leases = database.leases()?.into_iter().map(|(id, life)| (id, Lease::of(life))).collect();
        let reached = watch::Sender::new(database.revision()?);
        Ok(Writer { database, leases, not_before: Instant::now(), reached, remembered })
    }

    /// Told the revision that is on the disk.
    pub(super) fn reached(&self) -> watch::Receiver<Revision> {
        self.reached.subscribe()
    }

    /// Works until there is nobody left who could ask.
    pub(super) fn run(mut self, jobs: &Jobs<Command>) {
        loop {
            let mut commands = match jobs.next(self.due()) {
                Next::Job(command) => vec![command],
                Next::Due => Vec::new(),
                Next::Over => return,
            };
            while commands.len() < TOGETHER
                && let Some(command) = jobs.waiting()
            {
                commands.push(command);
            }
            self.together(commands);
        }
    }

    /// When the next lease is to be ended.
    fn due(&self) -> Option<Instant> {
        self.leases.values().map(|lease| lease.over.max(self.not_before)).min()
    }

    fn together(&mut self, commands: Vec<Command>) {
        let now = Instant::now();
        self.not_before = now + AGAIN;
        let over: Vec<_> = self.leases.iter().filter(|(_, lease)| lease.over <= now).map(|(id, _)| *id).collect();
        let mut batch = match self.database.begin() {
            Ok(batch) => batch,
            Err(error) => return commands.into_iter().for_each(|command| command.fail(&error)),
        };
        let mut later: Vec<Later> = Vec::new();
        let mut ended = Vec::new();
        let mut given = Vec::new();
        let mut is_good = true;
        for lease in over {
            match batch.each(|connection| database::end_lease(connection, lease)) {
                Ok(()) => ended.push(lease),
                Err(error) => {
                    is_good = false;
                    tracing::warn!("a lease that is over cannot be ended: {error}");
                }
            }
        }
        for command in commands {
            match command {
                Command::Commit(transaction, answer) => {
                    let done = batch.each(|connection| database::commit(connection, &transaction));
                    later.push(with(answer, done));
                }
                Command::Lease(life, answer) => {
                    let done = batch.each(|connection| database::lease(connection, life));
                    if let Ok(lease) = &done {
                        given.push((*lease, life));
                    }
                    later.push(with(answer, done));
                }
                Command::Renew(lease, answer) => {
                    let known = self.leases.get_mut(&lease).filter(|_| !ended.contains(&lease));
                    answer.give(known.map(|lease| *lease = Lease::of(lease.life)).ok_or_else(no_lease));
                }
                Command::Revoke(lease, answer) => {
                    let known = self.leases.contains_key(&lease) && !ended.contains(&lease);
                    let done = match known {
                        true => batch.each(|connection| database::end_lease(connection, lease)),
                        false => Err(no_lease()),
                    };
                    if done.is_ok() {
                        ended.push(lease);
                    }
                    later.push(with(answer, done));
                }
            }
        }
        let written = batch.end(self.remembered);
        if let Ok(revision) = &written {
            if is_good {
                self.not_before = now;
            }
            for lease in ended {
                self.leases.remove(&lease);
            }
            self.leases.extend(given.into_iter().map(|(lease, life)| (lease, Lease::of(life))));
            self.reached.send_if_modified(|reached| std::mem::replace(reached, *revision) != *revision);
        }
        for answer in later {
            answer(written.as_ref().map(|_| ()).map_err(Error::repeated));
        }
    }
}

/// Gives the answer, or why it is not on the disk.
fn with<T: 'static>(answer: Answer<T>, done: Result<T>) -> Later {
    Box::new(move |written| answer.give(done.and_then(|done| written.map(|()| done))))
}

impl Command {
    fn fail(self, error: &Error) {
        match self {
            Command::Commit(_, answer) => answer.give(Err(error.repeated())),
            Command::Lease(_, answer) => answer.give(Err(error.repeated())),
            Command::Renew(_, answer) | Command::Revoke(_, answer) => answer.give(Err(error.repeated())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_ended_is_tried_again_after_a_pause() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.db");
        let mut writer = Writer::new(Database::open(&path).unwrap(), 10).unwrap();
        writer.leases.insert(LeaseId(1), Lease::of(Duration::ZERO));
        assert!(writer.due().is_some_and(|due| due <= Instant::now()));
        let broken = rusqlite::Connection::open(&path).unwrap();
        broken.execute_batch("ALTER TABLE leases RENAME TO away").unwrap();
        let begun = Instant::now();
        writer.together(Vec::new());
        assert!(writer.due().is_some_and(|due| due >= begun + AGAIN), "it would be tried without a pause");
        broken.execute_batch("ALTER TABLE away RENAME TO leases").unwrap();
        writer.together(Vec::new());
        assert_eq!((writer.leases.len(), writer.due()), (0, None));
    }
}

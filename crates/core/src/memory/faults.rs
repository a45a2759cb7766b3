//! Scripted faults: what goes wrong, in which operation, how many times.
//!
//! A script names an operation (`container.start`; `*` is every one) and what happens in it. Scripts come from
//! [`Faults`] or from the node's URI: `memory:?fault=node.list_containers:refuse:unavailable:2`; several are
//! separated by commas. The last field is how many times, without end when absent.

use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::watch;

use super::lock;
use crate::error::{Error, ErrorKind, Result, Retry};
use crate::operation::Operation;

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The answer comes late.
    Delay(Duration),
    /// The operation is refused and changes nothing.
    Refuse(ErrorKind),
    /// What the operation is about disappears meanwhile: a container is gone, one item of a list is missing, a stream
    /// is cut after its first item, a job is lost. Where nothing can disappear the answer is lost after the work has
    /// been done: `Unavailable`, and nobody knows whether it happened.
    Vanish,
    /// The engine answers with words that nobody knows: states are `unknown`, texts are odd. Where there is no text
    /// the answer makes no sense: `Unexpected`.
    Garbage,
}

#[derive(Clone, Debug)]
struct Script {
    operation: String,
    fault: Fault,
    /// Without end when absent.
    times: Option<u32>,
}

/// The faults of one node.
#[derive(Debug)]
pub struct Faults {
    scripts: Mutex<Vec<Script>>,
    calls: Mutex<Vec<&'static str>>,
    away: watch::Sender<bool>,
}

/// How many calls are remembered for [`Faults::calls`].
const CALLS_MAX: usize = 10_000;

/// What an operation has to play.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Effects {
    pub(super) vanish: bool,
    pub(super) garbage: bool,
}

impl Effects {
    /// Without garbage, where the answer has been garbled already.
    pub(super) fn readable(self) -> Self {
        Effects { garbage: false, ..self }
    }
}

impl Default for Faults {
    fn default() -> Self {
        Faults { scripts: Mutex::default(), calls: Mutex::default(), away: watch::Sender::new(false) }
    }
}

impl Faults {
    /// Scripts `fault` for the next `times` calls of `operation`, `*` being every operation. Scripts are played in the
    /// order in which they were added; a delay is followed by the next script of the same call.
    ///
    /// # Errors
    /// `InvalidInput` for an operation that does not exist.
    pub fn script(&self, operation: &str, fault: Fault, times: u32) -> Result<()> {
        self.add(operation, fault, Some(times))
    }

    /// Scripts `fault` for every further call of `operation`, until [`Faults::clear`].
    ///
    /// # Errors
    /// As [`Faults::script`].
    pub fn always(&self, operation: &str, fault: Fault) -> Result<()> {
        self.add(operation, fault, None)
    }

    fn add(&self, operation: &str, fault: Fault, times: Option<u32>) -> Result<()> {
        if operation != "*" && Operation::named(operation).is_none() {
            return Err(Error::invalid("fault", format!("there is no operation {operation:?}")));
        }
        lock(&self.scripts).push(Script { operation: operation.to_owned(), fault, times });
        Ok(())
    }

    /// Takes all scripts away.
    pub fn clear(&self) {
        lock(&self.scripts).clear();
    }

    /// The engine goes away, with every stream and every job: all calls answer `Unavailable` until [`Faults::come_back`].
    pub fn leave(&self) {
        self.away.send_replace(true);
    }

    /// The engine is back.
    pub fn come_back(&self) {
        self.away.send_replace(false);
    }

    /// The operations that were called, oldest first, the last ten thousand.
    #[must_use]
    pub fn calls(&self) -> Vec<&'static str> {
        lock(&self.calls).clone()
    }

    /// Adds the scripts of a URI's `fault` parameter.
    pub(super) fn parse(&self, text: &str) -> Result<()> {
        for script in text.split(',').filter(|script| !script.is_empty()) {
            let refuse = |reason: &str| Error::invalid("uri", format!("fault {script:?}: {reason}"));
            let mut fields = script.split(':');
            let operation = fields.next().unwrap_or_default();
            let fault = match fields.next() {
                Some("delay") => {
                    let milliseconds = fields.next().and_then(|number| number.parse().ok());
                    Fault::Delay(Duration::from_millis(milliseconds.ok_or_else(|| refuse("milliseconds expected"))?))
                }
                Some("refuse") => {
                    let code = fields.next().unwrap_or_default();
                    let kind = ErrorKind::ALL.iter().find(|kind| kind.row().code == code);
                    Fault::Refuse(*kind.ok_or_else(|| refuse("an error kind such as unavailable expected"))?)
                }
                Some("vanish") => Fault::Vanish,
                Some("garbage") => Fault::Garbage,
                _ => return Err(refuse("delay, refuse, vanish or garbage expected")),
            };
            let times = match fields.next() {
                None => None,
                Some(times) => Some(times.parse().map_err(|_| refuse("a number of times expected"))?),
            };
            if fields.next().is_some() {
                return Err(refuse("too many fields"));
            }
            self.add(operation, fault, times).map_err(|error| refuse(error.message()))?;
        }
        Ok(())
    }

    /// Waits until the engine goes away.
    pub(super) async fn gone(&self) {
        self.watch().await;
    }

    /// As [`Faults::gone`], without keeping the node alive.
    pub(super) fn watch(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut away = self.away.subscribe();
        async move {
            let _ = away.wait_for(|away| *away).await;
        }
    }

    pub(super) fn is_away(&self) -> bool {
        *self.away.borrow()
    }

    pub(super) fn away() -> Error {
        Error::new(ErrorKind::Unavailable, "the engine went away")
    }

    /// Called at the beginning of every operation.
    pub(super) async fn enter(&self, operation: &'static Operation) -> Result<Effects> {
        {
            let mut calls = lock(&self.calls);
            if calls.len() == CALLS_MAX {
                calls.remove(0);
            }
            calls.push(operation.name);
        }
        let mut effects = Effects::default();
        for fault in self.take(operation.name) {
            match fault {
                Fault::Delay(duration) => tokio::time::sleep(duration).await,
                // Refused before anything was done, whatever the kind.
                Fault::Refuse(kind) => {
                    return Err(Error::new(kind, "refused by a scripted fault").with_retry(match kind {
                        ErrorKind::Unavailable | ErrorKind::ResourceExhausted => Retry::Safe,
                        ErrorKind::DeadlineExceeded | ErrorKind::Unexpected | ErrorKind::Cancelled => Retry::Unknown,
                        _ => Retry::Never,
                    }));
                }
                Fault::Vanish => effects.vanish = true,
                Fault::Garbage => effects.garbage = true,
            }
        }
        if *self.away.borrow() {
            return Err(Faults::away().with_retry(Retry::Safe));
        }
        Ok(effects)
    }

    /// The faults of one call: leading delays, and the first that is no delay.
    fn take(&self, operation: &str) -> Vec<Fault> {
        let mut scripts = lock(&self.scripts);
        let mut taken = Vec::new();
        for script in scripts.iter_mut() {
            if (script.operation != "*" && script.operation != operation) || script.times == Some(0) {
                continue;
            }
            script.times = script.times.map(|times| times - 1);
            taken.push(script.fault.clone());
            if !matches!(script.fault, Fault::Delay(_)) {
                break;
            }
        }
        scripts.retain(|script| script.times != Some(0));
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation;

    #[tokio::test(start_paused = true)]
    async fn scripts_are_played_in_order_and_as_often_as_they_say() {
        let faults = Faults::default();
        faults.parse("node.ping:delay:50:1,node.ping:refuse:unavailable:1,*:garbage:1").unwrap();
        let before = tokio::time::Instant::now();
        let refused = faults.enter(&operation::NODE_PING).await.unwrap_err();
        assert_eq!((refused.kind(), refused.retry()), (ErrorKind::Unavailable, Retry::Safe));
        assert_eq!(before.elapsed(), Duration::from_millis(50));
        assert!(faults.enter(&operation::NODE_INFO).await.unwrap().garbage);
        assert_eq!(faults.enter(&operation::NODE_PING).await.unwrap(), Effects::default());
        assert_eq!(faults.calls(), ["node.ping", "node.info", "node.ping"]);
        faults.leave();
        assert!(faults.enter(&operation::NODE_PING).await.is_err());
    }

    #[test]
    fn nonsense_is_refused() {
        for text in
            ["x", "x:vanish", "node.ping:fly", "node.ping:delay:x", "node.ping:refuse:x", "*:vanish:x", "*:vanish:1:2"]
        {
            assert_eq!(Faults::default().parse(text).unwrap_err().field(), Some("uri"), "{text}");
        }
    }
}

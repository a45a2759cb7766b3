//! Carries what a process does from its sockets and its operation into its job.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use roadstead_core::jobs::JobProgress;
use roadstead_core::{Error, ErrorKind, OutputKind, Result};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::super::operation::{Operation, OperationState};
use super::super::websocket::{Message, Reader};
use super::sockets::Readers;
use super::{Exec, broken, end};

type Progress = mpsc::Sender<Result<JobProgress>>;

/// Output that was written before the process ended is on its way for so long at most.
const DRAIN: Duration = Duration::from_secs(10);
/// The server may take so long to tell the end of a process that is gone and whose output has ended.
const TELL: Duration = Duration::from_secs(30);
/// The connection of a stream broke: if the process had ended by then, its end is told within this.
const BROKEN: Duration = Duration::from_secs(5);
/// Servers of LXD 5.0 tell the end of a process only when nobody holds its output any more, such as its children. Of
/// one that was killed, and is gone, so much is waited.
const HELD: Duration = Duration::from_secs(2);
/// 128 + SIGKILL.
const KILLED: i32 = 137;

/// What is known so far.
#[derive(Default)]
struct Known {
    /// How the output ended.
    output: Option<Result<()>>,
    /// How the operation ended.
    operation: Option<Result<OperationState>>,
    /// How long to wait for the rest.
    until: Option<Instant>,
}

impl Known {
    /// Whether nothing more is awaited; sets how long the rest is awaited.
    fn enough(&mut self, ended: bool, killed: bool) -> bool {
        let patience = match (&self.operation, &self.output) {
            (Some(Err(_)), _) | (Some(Ok(_)), Some(_)) => return true,
            (Some(Ok(_)), None) => Some(DRAIN),
            (None, Some(Err(_))) => Some(BROKEN),
            (None, Some(Ok(()))) if ended => Some(TELL),
            (None, None) if ended && killed => Some(HELD),
            (None, _) => None,
        };
        match patience {
            Some(patience) => {
                let latest = Instant::now() + patience;
                self.until = Some(self.until.map_or(latest, |until| until.min(latest)));
            }
            None => self.until = None,
        }
        false
    }

    /// The end of the job.
    fn end(self, ended: bool, killed: bool) -> Result<i32> {
        match (self.operation, self.output) {
            (Some(state), _) => end::exit_code(state?),
            (None, Some(Err(error))) => Err(error),
            (None, None) if ended && killed => Ok(KILLED),
            (None, _) => Err(Error::new(ErrorKind::Unexpected, "the engine does not tell how the job ended")),
        }
    }
}

/// Runs until the job has ended or nobody keeps it.
pub(super) async fn run(exec: Arc<Exec>, operation: Operation, readers: Readers, progress: Progress) {
    let Readers { mut control, input, outputs } = readers;
    let control = async {
        drain(&mut control).await;
        exec.ended.store(true, Ordering::Release);
    };
    let silent = async {
        if let Some(mut input) = input {
            drain(&mut input).await;
        }
    };
    let (mut keep, mut streams) = (Vec::new(), Vec::new());
    for (kind, reader, writer) in outputs {
        keep.extend(writer);
        streams.push(forward(kind, reader, &progress));
    }
    let outputs = async { join_all(streams).await.into_iter().collect::<Result<()>>() };
    let operation = end::of(operation);
    tokio::pin!(control, silent, outputs, operation);
    let (mut control_open, mut input_open) = (true, true);
    let mut known = Known::default();
    loop {
        let (ended, killed) = (exec.ended(), exec.killed.load(Ordering::Acquire));
        if known.enough(ended, killed) {
            break;
        }
        let until = known.until.unwrap_or_else(|| Instant::now() + TELL);
        tokio::select! {
            result = &mut outputs, if known.output.is_none() => {
                known.output = Some(result);
                if exec.tty {
                    exec.hang_up().await;
                }
            }
            result = &mut operation, if known.operation.is_none() => known.operation = Some(result),
            () = &mut control, if control_open => control_open = false,
            () = &mut silent, if input_open => input_open = false,
            () = sleep_until(until) => if known.until.is_some() { break },
            () = progress.closed() => return,
        }
    }
    let end = known.end(exec.ended(), exec.killed.load(Ordering::Acquire));
    drop(keep);
    // Nobody keeps the job: nobody is told.
    let _ = progress.send(end.map(JobProgress::Ended)).await;
}

/// Reads until the server hangs up; of its signs of life each one is answered.
async fn drain(reader: &mut Reader) {
    while let Some(Ok(_)) = reader.next().await {}
}

/// Carries one stream to its end, which is a text message.
async fn forward(kind: OutputKind, mut reader: Reader, progress: &Progress) -> Result<()> {
    loop {
        match reader.next().await {
            Some(Ok(Message::Binary(data))) => {
                if progress.send(Ok(JobProgress::Output(kind, data))).await.is_err() {
                    return Ok(());
                }
            }
            Some(Ok(Message::Text(_))) | None => return Ok(()),
            Some(Err(error)) => return Err(broken(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn known(output: Option<Result<()>>, operation: Option<Result<i32>>) -> Known {
        let state = |code| OperationState::parse(json!({"id": "a", "status_code": 200, "metadata": {"return": code}}));
        let operation = operation.map(|end| end.map(|code| state(code).unwrap()));
        Known { output, operation, until: None }
    }

    fn lost() -> Error {
        Error::new(ErrorKind::Unavailable, "away")
    }

    #[test]
    fn an_end_needs_the_operation_and_the_output() {
        assert!(known(Some(Ok(())), Some(Ok(3))).enough(false, false));
        assert_eq!(known(Some(Ok(())), Some(Ok(3))).end(true, false).unwrap(), 3);
        // The end is known although a stream broke.
        assert_eq!(known(Some(Err(lost())), Some(Ok(4))).end(false, false).unwrap(), 4);
        for waiting in [known(None, Some(Ok(3))), known(Some(Err(lost())), None)] {
            let mut waiting = waiting;
            assert!(!waiting.enough(false, false) && waiting.until.is_some());
        }
        // Output that has ended says nothing while the process goes on.
        let mut closed = known(Some(Ok(())), None);
        assert!(!closed.enough(false, false) && closed.until.is_none());
        assert!(!closed.enough(true, false) && closed.until.is_some());
    }

    #[test]
    fn a_job_is_lost_with_its_engine() {
        let mut gone = known(None, Some(Err(lost())));
        assert!(gone.enough(false, false));
        assert_eq!(gone.end(false, false).unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(known(Some(Err(lost())), None).end(true, false).unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(known(Some(Ok(())), None).end(true, false).unwrap_err().kind(), ErrorKind::Unexpected);
    }

    #[test]
    fn of_what_was_killed_children_are_not_waited_for() {
        let mut held = known(None, None);
        assert!(!held.enough(true, false) && held.until.is_none(), "its children write on");
        assert!(!held.enough(true, true) && held.until.is_some());
        assert_eq!(held.end(true, true).unwrap(), 137);
    }
}

//! How a process ended, from its result: exit codes as everywhere else, and what a node says of one that never began.

use roadstead_core::{Error, Timestamp};

use super::outcome::Outcome;
use super::record::End;

/// What a node's code says when a signal ended the process, whichever it was.
const BY_SIGNAL: u32 = 999;
/// What shells give for a program that cannot be run.
const NOT_FOUND: i32 = 127;

/// Whether there was a process at all: of one that could not be started, nodes tell no streams.
pub(super) fn began(outcome: &Outcome) -> bool {
    outcome.succeeded() || outcome.streams.is_some() || outcome.code == BY_SIGNAL
}

/// The exit code. Nodes do not tell which signal ended a process, so it is the last one that was sent; SIGKILL when there was
/// none.
pub(super) fn exit_code(outcome: &Outcome, signal: Option<u8>) -> Option<i32> {
    match outcome.code {
        BY_SIGNAL => Some(128 + i32::from(signal.unwrap_or(9))),
        _ => outcome.exit_code().or((!began(outcome)).then_some(NOT_FOUND)),
    }
}

/// The end of a run. It is the same whoever reads the result, and whenever.
pub(super) fn of(run: u64, outcome: &Outcome, signal: Option<u8>) -> End {
    let exit_code = exit_code(outcome, signal);
    let finished_at = outcome.started_at.map_or_else(Timestamp::now, |at| at.saturating_add(outcome.duration));
    let error = (!began(outcome) || exit_code.is_none()).then(|| outcome.message()).filter(|error| !error.is_empty());
    End { run, finished_at: Some(finished_at), exit_code, error }
}

/// The end of a run that did not come about.
pub(super) fn failed(run: u64, error: &Error) -> End {
    End {
        run,
        finished_at: Some(Timestamp::now()),
        exit_code: Some(NOT_FOUND),
        error: Some(error.message().to_owned()),
    }
}

/// The end of a run that nobody knows anything of.
pub(super) fn unknown(run: u64) -> End {
    let error = "the node does not know any more how it ended".to_owned();
    End { run, finished_at: None, exit_code: None, error: Some(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(members: &str, signal: Option<u8>) -> (Option<i32>, Option<String>) {
        let outcome = Outcome::parse(format!(r#"{{"id":"i","command":"core.system",{members}}}"#).as_bytes()).unwrap();
        let end = of(1, &outcome, signal);
        (end.exit_code, end.error)
    }

    #[test]
    fn every_way_to_end() {
        let streams = r#""streams":["",""]"#;
        assert_eq!(end(&format!(r#""state":"SUCCESS",{streams}"#), None), (Some(0), None));
        assert_eq!(end(&format!(r#""state":"ERROR","code":1003,{streams}"#), Some(15)), (Some(3), None));
        assert_eq!(end(&format!(r#""state":"ERROR","code":999,{streams}"#), Some(15)), (Some(143), None));
        assert_eq!(end(&format!(r#""state":"TIMEOUT","code":999,{streams}"#), None), (Some(137), None));
        let missing = r#""state":"ERROR","code":404,"level":0,"data":"exec: \"x\": not found""#;
        assert_eq!(end(missing, None), (Some(127), Some("exec: \"x\": not found".to_owned())));
        let directory = r#""state":"ERROR","code":0,"data":"fork/exec /bin/sh: no such file or directory""#;
        assert_eq!(end(directory, None).0, Some(127));
        assert_eq!(end(r#""state":"ERROR","code":999"#, None), (Some(137), None));
    }

    #[test]
    fn the_time_of_the_end_is_the_nodes() {
        let outcome =
            Outcome::parse(br#"{"state":"SUCCESS","streams":["",""],"starttime":1509000000123,"time":1000}"#).unwrap();
        assert_eq!(of(1, &outcome, None), of(1, &outcome, None));
        assert_eq!(of(1, &outcome, None).finished_at.unwrap().to_string(), "2017-10-26T06:40:01.123Z");
    }
}

//! How a process ended, from its result: exit codes as everywhere else, and what a node says of one that never began.
//!
//! The word of the state counts first. The oldest nodes tell no code, and what is not told is not made up: a failure without
//! a code has no exit code, and what contradicts itself is no end that is known.

use roadstead_core::{Error, Timestamp};

use super::outcome::{Outcome, OutcomeState};
use super::record::End;

/// What a node's code says when a signal ended the process, whichever it was.
const BY_SIGNAL: u32 = 999;
/// What shells give for a program that cannot be run.
pub(super) const NOT_FOUND: i32 = 127;
/// What is said of a result that tells no end.
pub(super) const UNTOLD: &str = "the node's result does not tell how it ended";

/// The way in which a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// With this exit code: 128 and the signal where one ended it.
    Exited(i32),
    /// The node killed it when its `max_time` was over.
    TimedOut(i32),
    /// It could not be started.
    NeverBegan,
    /// Without success; no code says more.
    Failed,
    /// The result says nothing that could be understood.
    Unknown,
}

/// The way in which it ended. Nodes do not tell which signal ended a process, so it is the last one that was sent; SIGKILL
/// when there was none.
pub(super) fn way(outcome: &Outcome, signal: Option<u8>) -> Way {
    match (&outcome.state, outcome.code) {
        (OutcomeState::Timeout, _) => Way::TimedOut(outcome.exit_code().unwrap_or(128 + 9)),
        (OutcomeState::UnknownCommand, _) => Way::NeverBegan,
        (_, Some(BY_SIGNAL)) => Way::Exited(128 + i32::from(signal.unwrap_or(9))),
        // Of what could not be started, nodes that tell codes tell no streams.
        (OutcomeState::Error, Some(0..BY_SIGNAL)) if outcome.streams.is_none() => Way::NeverBegan,
        (state, _) => match outcome.exit_code() {
            Some(exit_code) => Way::Exited(exit_code),
            None if *state == OutcomeState::Error => Way::Failed,
            None => Way::Unknown,
        },
    }
}

/// Whether there was a process, for all that is known.
pub(super) fn began(outcome: &Outcome) -> bool {
    way(outcome, None) != Way::NeverBegan
}

/// What a node says about why it failed; what it wrote itself is no reason.
pub(super) fn reason(outcome: &Outcome) -> Option<String> {
    let message = outcome.message();
    let streams = outcome.streams.as_ref();
    let written = streams.is_some_and(|(stdout, stderr)| [stdout, stderr].iter().any(|text| text.trim() == message));
    (!message.is_empty() && !written).then_some(message)
}

/// The end of a run. It is the same whoever reads the result, and whenever.
pub(super) fn of(run: u64, outcome: &Outcome, signal: Option<u8>) -> End {
    let (exit_code, error) = match way(outcome, signal) {
        Way::Exited(exit_code) | Way::TimedOut(exit_code) => (Some(exit_code), None),
        Way::NeverBegan => (Some(NOT_FOUND), reason(outcome)),
        Way::Failed => {
            let words = || "it failed, and the node tells no exit code".to_owned();
            (None, Some(reason(outcome).unwrap_or_else(words)))
        }
        Way::Unknown => (None, Some(UNTOLD.to_owned())),
    };
    let finished_at = outcome.started_at.map_or_else(Timestamp::now, |at| at.saturating_add(outcome.duration));
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

    fn outcome(members: &str) -> Outcome {
        Outcome::parse(format!(r#"{{"id":"i","command":"core.system",{members}}}"#).as_bytes()).unwrap()
    }

    fn end(members: &str, signal: Option<u8>) -> (Option<i32>, Option<String>) {
        let end = of(1, &outcome(members), signal);
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
        // What the node kills at the end of its time it kills with SIGKILL, whatever it was sent before.
        assert_eq!(way(&outcome(r#""state":"TIMEOUT","code":999"#), Some(15)), Way::TimedOut(137));
    }

    #[test]
    fn without_a_code_only_the_state_counts() {
        let ways = |members: &str| way(&outcome(members), Some(15));
        for streams in [r#","streams":["out","err"]"#, ""] {
            assert_eq!(ways(&format!(r#""state":"SUCCESS"{streams}"#)), Way::Exited(0));
            assert_eq!(ways(&format!(r#""state":"ERROR"{streams}"#)), Way::Failed);
            assert_eq!(ways(&format!(r#""state":"ERROR","code":null{streams}"#)), Way::Failed);
            assert_eq!(ways(&format!(r#""state":"ERROR","code":"x"{streams}"#)), Way::Failed);
            assert_eq!(ways(&format!(r#""state":"TIMEOUT"{streams}"#)), Way::TimedOut(137));
            assert_eq!(ways(&format!(r#""state":"UNKNOWN_CMD"{streams}"#)), Way::NeverBegan);
            assert_eq!(ways(&format!(r#""state":"SUCCESS","code":"x"{streams}"#)), Way::Unknown);
            assert_eq!(ways(&format!(r#""state":"LATER"{streams}"#)), Way::Unknown);
        }
        assert!(began(&outcome(r#""state":"ERROR""#)));
        let failed = "it failed, and the node tells no exit code".to_owned();
        assert_eq!(end(r#""state":"ERROR","streams":["","long words"]"#, None), (None, Some(failed.clone())));
        assert_eq!(end(r#""state":"ERROR""#, None), (None, Some(failed)));
        assert_eq!(end(r#""state":"ERROR","data":"why""#, None), (None, Some("why".to_owned())));
        let refused = r#""state":"ERROR","code":500,"level":20,"data":"\"why\"","streams":["",""]"#;
        assert_eq!(end(refused, None), (None, Some("why".to_owned())));
        assert_eq!(end(r#""state":"LATER""#, None), (None, Some(UNTOLD.to_owned())));
    }

    #[test]
    fn the_time_of_the_end_is_the_nodes() {
        let outcome =
            Outcome::parse(br#"{"state":"SUCCESS","streams":["",""],"starttime":1509000000123,"time":1000}"#).unwrap();
        assert_eq!(of(1, &outcome, None), of(1, &outcome, None));
        assert_eq!(of(1, &outcome, None).finished_at.unwrap().to_string(), "2017-10-26T06:40:01.123Z");
    }
}

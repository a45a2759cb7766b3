//! What the server's errors mean in Roadstead's words; those of the transport are [`crate::broken`]'s.
//!
//! Servers answer with an envelope whose code is mostly exact. Where they put what a caller can act on into 400 or 500
//! and a sentence, or into the error of a background operation (always a sentence), the sentences are read by one table.

use roadstead_core::{Error, ErrorKind, Retry};

pub(super) use crate::broken::{broken, nothing_changed, translate};
use ErrorKind::{
    AlreadyExists, Conflict, InvalidInput, NotFound, PermissionDenied, ResourceExhausted, Unauthenticated, Unavailable,
    Unsupported,
};

/// What Incus says when it connects to what serves the files of a stopped container before that listens, or after its end:
/// nothing was asked of it yet.
pub(super) const FILE_SERVER: &str = "forkfile.sock: connect:";

/// Sentences that tell more than their code. The first row whose words are all in the message counts; lower case.
const SENTENCES: &[(&[&str], ErrorKind)] = &[
    (&[FILE_SERVER], Unavailable),
    // The command of an exec, or of the container itself, cannot be run.
    (&["command not found"], InvalidInput),
    (&["command not executable"], InvalidInput),
    // The machine is full. Before the others: such sentences name files that then were "not found".
    (&["no space left on device"], ResourceExhausted),
    (&["disk quota exceeded"], ResourceExhausted),
    (&["quota", "exceeded"], ResourceExhausted),
    (&["reached maximum number of"], ResourceExhausted),
    (&["cannot allocate memory"], ResourceExhausted),
    (&["too many open files"], ResourceExhausted),
    // Ports and addresses are taken by somebody; the name is free.
    (&["address already in use"], Conflict),
    (&["ip address", "already defined"], Conflict),
    // Names that are taken.
    (&["already exists"], AlreadyExists),
    (&["already in use"], AlreadyExists),
    (&["unique constraint failed"], AlreadyExists),
    // States in which it cannot be done.
    (&["is already running"], Conflict),
    (&["already running"], Conflict),
    (&["is already stopped"], Conflict),
    (&["already stopped"], Conflict),
    (&["is running"], Conflict),
    (&["is not running"], Conflict),
    (&["isn't running"], Conflict),
    (&["not running"], Conflict),
    (&["is currently in use"], Conflict),
    (&["is in use"], Conflict),
    (&["currently in use"], Conflict),
    (&["busy running"], Conflict),
    (&["already frozen"], Conflict),
    (&["is frozen"], Conflict),
    (&["is protected from being deleted"], Conflict),
    (&["must be stopped"], Conflict),
    // What is not there.
    (&["not found"], NotFound),
    (&["no such object"], NotFound),
    (&["doesn't exist"], NotFound),
    // What may not be done.
    (&["not authorized"], PermissionDenied),
    (&["is restricted"], PermissionDenied),
    // What the server was built without.
    (&["not implemented"], Unsupported),
];

/// The kind for an answer of the server; a code of 0 is none.
fn answered(code: u16, message: &str) -> ErrorKind {
    let message = message.to_lowercase();
    let told = SENTENCES.iter().find(|(words, _)| words.iter().all(|word| message.contains(word)));
    match (code, told) {
        (404, _) => NotFound,
        (401, _) => Unauthenticated,
        (403, _) => PermissionDenied,
        // Answers a name that is taken, and a state that forbids.
        (409, Some((_, AlreadyExists))) => AlreadyExists,
        (409 | 412 | 423, _) => Conflict,
        (_, Some((_, kind))) => *kind,
        (400 | 406 | 411 | 413 | 415 | 422, None) => InvalidInput,
        (405 | 501, None) => Unsupported,
        (408 | 504, None) => ErrorKind::DeadlineExceeded,
        (429 | 507, None) => ResourceExhausted,
        (502 | 503, None) => Unavailable,
        _ => ErrorKind::Unexpected,
    }
}

/// The server's answer with this code and message as an error.
pub(super) fn from_answer(code: u16, message: &str) -> Error {
    let kind = answered(code, message);
    let text = one_line(message);
    let text = if text.is_empty() { format!("the engine answered with status {code}") } else { text };
    let error = Error::new(kind, text).with_context("engine_status", code.to_string());
    // The engine has said that it did not do it.
    if code == 503 || message.contains(FILE_SERVER) { error.with_retry(Retry::Safe) } else { error }
}

/// The error of a background operation that failed: a sentence, and a code that says no more than "failed".
pub(super) fn from_operation(message: &str) -> Error {
    from_answer(0, message).with_retry(Retry::Never)
}

/// Engines pass the words of tools on, which take several lines.
fn one_line(text: &str) -> String {
    text.split(['\r', '\n']).map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recorded_answers_have_the_right_kind() {
        for (code, message, kind) in [
            (404, "Instance not found", NotFound),
            (409, "Instance \"web\" already exists", AlreadyExists),
            (400, "Instance is running", Conflict),
            (400, "The instance is already running", Conflict),
            (400, "The instance is already stopped", Conflict),
            (500, "Failed to create instance: write /x: no space left on device", ResourceExhausted),
            (0, "Failed creating instance record: Instance \"web\" already exists", AlreadyExists),
            (0, "Command not found", InvalidInput),
            (0, "Image not found", NotFound),
            (403, "not authorized", PermissionDenied),
            (412, "ETag doesn't match", Conflict),
            (503, "LXD daemon not ready", Unavailable),
            (500, "dial unix /proc/self/fd/34/forkfile.sock: connect: no such file or directory", Unavailable),
            (500, "", ErrorKind::Unexpected),
        ] {
            assert_eq!(from_answer(code, message).kind(), kind, "{code} {message}");
        }
    }

    #[test]
    fn the_line_for_a_person_is_one_line() {
        assert_eq!(from_answer(500, "a\n b\r\n").message(), "a b");
        assert_eq!(from_answer(500, "").message(), "the engine answered with status 500");
        assert_eq!(from_operation("it\nbroke").retry(), Retry::Never);
    }
}

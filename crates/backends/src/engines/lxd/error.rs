//! What the server's and the transport's errors mean in Roadstead's words.
//!
//! Servers answer with an envelope whose code is mostly exact. Where they put what a caller can act on into 400 or 500
//! and a sentence, or into the error of a background operation (always a sentence), the sentences are read by one table.

use std::error::Error as StdError;
use std::io;

use roadstead_core::{Error, ErrorKind, Retry};

use crate::tls::Mistrust;
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

/// The same error, with the advice that repeating is safe when it is the engine that could not be reached.
pub(super) fn nothing_changed(error: Error) -> Error {
    match error.kind() {
        Unavailable | ErrorKind::DeadlineExceeded => error.with_retry(Retry::Safe),
        _ => error,
    }
}

/// Translates an error of the HTTP client.
pub(super) fn translate(error: reqwest::Error) -> Error {
    // The address stands in the node's URI; in the message it would be noise.
    let error = error.without_url();
    let connecting = error.is_connect();
    if error.is_builder() {
        return Error::new(InvalidInput, format!("the request makes no sense: {}", root(&error))).with_source(error);
    }
    broken(&error, connecting).with_source(error)
}

/// The deepest cause's words.
fn root(error: &(dyn StdError + 'static)) -> String {
    std::iter::successors(Some(error), |cause| deeper(*cause)).last().map(ToString::to_string).unwrap_or_default()
}

/// A connection that could not be made, or broke.
pub(super) fn broken(error: &(dyn StdError + 'static), connecting: bool) -> Error {
    let chain = || std::iter::successors(Some(error), |cause| deeper(*cause));
    if let Some(ours) = chain().find_map(|cause| cause.downcast_ref::<Error>()) {
        // What the caller streams to the engine failed on the caller's side.
        return Error::new(ours.kind(), ours.message().to_owned()).with_retry(ours.retry());
    }
    let root = root(error);
    if let Some(tls) = chain().find_map(|cause| cause.downcast_ref::<rustls::Error>()) {
        if let rustls::Error::InvalidCertificate(rustls::CertificateError::Other(why)) = tls
            && let Some(why) = why.0.downcast_ref::<Mistrust>()
        {
            return Error::new(Unauthenticated, why.to_string()).with_retry(Retry::Never);
        }
        return match tls {
            rustls::Error::InvalidCertificate(_) | rustls::Error::AlertReceived(_) | rustls::Error::General(_) => {
                Error::new(Unauthenticated, format!("TLS: {tls}")).with_retry(Retry::Never)
            }
            _ => Error::new(Unavailable, format!("TLS: {tls}")).with_retry(advice(connecting)),
        };
    }
    if chain().filter_map(|cause| cause.downcast_ref::<hyper::Error>()).any(|cause| cause.is_parse()) {
        return Error::new(ErrorKind::Unexpected, format!("the engine does not speak HTTP: {root}"));
    }
    let kind = chain().find_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
    if connecting && kind == Some(io::ErrorKind::PermissionDenied) {
        return Error::new(PermissionDenied, format!("the engine's socket may not be opened: {root}"));
    }
    let text = if connecting {
        format!("the engine cannot be reached: {root}")
    } else {
        format!("the connection to the engine broke: {root}")
    };
    Error::new(Unavailable, text).with_retry(advice(connecting))
}

/// An `io::Error` that wraps another error gives that error's source as its own and so hides the error itself.
fn deeper<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}

const fn advice(connecting: bool) -> Retry {
    if connecting { Retry::Safe } else { Retry::Unknown }
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

    #[test]
    fn a_broken_connection_is_unavailable_and_a_write_may_have_happened() {
        let error = broken(&io::Error::from(io::ErrorKind::ConnectionReset), false);
        assert_eq!((error.kind(), error.retry()), (Unavailable, Retry::Unknown));
        assert_eq!(nothing_changed(error).retry(), Retry::Safe);
        let ours = io::Error::other(Error::invalid("archive", "is broken"));
        assert_eq!(broken(&ours, false).kind(), InvalidInput);
    }
}

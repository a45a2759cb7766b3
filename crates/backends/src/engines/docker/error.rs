//! What the daemon's and the transport's errors mean in Roadstead's words.
//!
//! Daemons put much of what a caller can act on into status 500 and a sentence (Podman 4.3 almost everything), so the
//! sentences are read, by one table. What no row knows is judged by its status alone.

use std::error::Error as StdError;
use std::io;

use bollard::errors::Error as Cause;
use roadstead_core::{Error, ErrorKind, Retry};

use ErrorKind::{
    AlreadyExists, Conflict, InvalidInput, NotFound, PermissionDenied, ResourceExhausted, Unauthenticated, Unavailable,
    Unsupported,
};

/// Sentences that tell more than their status. The first row whose words are all in the message counts; lower case.
const SENTENCES: &[(&[&str], ErrorKind)] = &[
    // Starting a command that cannot be run: dockerd says 400 or 500, Podman 500.
    (&["executable file not found"], InvalidInput),
    (&["command that was not found"], InvalidInput),
    (&["exec: ", "no such file or directory"], InvalidInput),
    (&["exec: ", "permission denied"], InvalidInput),
    (&["exec: ", "not a directory"], InvalidInput),
    (&["exec format error"], InvalidInput),
    (&["unable to find user"], InvalidInput),
    (&["unable to find group"], InvalidInput),
    (&["no matching entries in passwd file"], InvalidInput),
    (&["no matching entries in group file"], InvalidInput),
    (&["statfs ", "no such file or directory"], InvalidInput),
    (&["bind source path does not exist"], InvalidInput),
    // Ports and addresses are taken by somebody; the name is free.
    (&["address already in use"], Conflict),
    (&["port is already allocated"], Conflict),
    (&["removal", "already in progress"], Conflict),
    // Names that are taken.
    (&["name", "is already in use"], AlreadyExists),
    (&["already used:"], AlreadyExists),
    (&["already exists"], AlreadyExists),
    // What is not there.
    (&["no such container"], NotFound),
    (&["no container with name or id"], NotFound),
    (&["no such image"], NotFound),
    (&["image not known"], NotFound),
    (&["no such network"], NotFound),
    (&["network not found"], NotFound),
    (&["unable to find network"], NotFound),
    (&["no such volume"], NotFound),
    (&["no such exec"], NotFound),
    (&["manifest unknown"], NotFound),
    // States in which it cannot be done.
    (&["is not running"], Conflict),
    (&["is not paused"], Conflict),
    (&["is already paused"], Conflict),
    (&["is paused"], Conflict),
    (&["paused container"], Conflict),
    (&["container state improper"], Conflict),
    (&["can only kill running containers"], Conflict),
    (&["is restarting, wait until"], Conflict),
    (&["marked for removal"], Conflict),
    (&["has active endpoints"], Conflict),
    (&["network is being used"], Conflict),
    (&["has associated containers"], Conflict),
    (&["volume is in use"], Conflict),
    (&["volume is being used"], Conflict),
    (&["is being used by"], Conflict),
    (&["is using its referenced image"], Conflict),
    (&["image is in use"], Conflict),
    // What a registry says.
    (&["pull access denied"], PermissionDenied),
    (&["requested access to the resource is denied"], PermissionDenied),
    (&["toomanyrequests"], ResourceExhausted),
    // The machine is full.
    (&["no space left on device"], ResourceExhausted),
    (&["cannot allocate memory"], ResourceExhausted),
    (&["too many open files"], ResourceExhausted),
    // Versions that do not meet.
    (&["client version", "is too new"], Unsupported),
    (&["client version", "is too old"], Unsupported),
];

/// The kind for an answer of the daemon.
fn answered(status: u16, message: &str) -> ErrorKind {
    let message = message.to_lowercase();
    let told = SENTENCES.iter().find(|(words, _)| words.iter().all(|word| message.contains(word)));
    match (status, told) {
        // A status that is exact already is believed, but for the two things that daemons say with it in other words.
        (404, Some((_, kind @ (InvalidInput | PermissionDenied)))) => *kind,
        (404, _) => NotFound,
        (_, Some((_, kind))) => *kind,
        (400 | 406 | 411 | 413 | 415 | 422, None) => InvalidInput,
        (401, None) => Unauthenticated,
        (403, None) => PermissionDenied,
        (405 | 501, None) => Unsupported,
        (408 | 504, None) => ErrorKind::DeadlineExceeded,
        (409 | 412, None) => Conflict,
        (429, None) => ResourceExhausted,
        (502 | 503, None) => Unavailable,
        _ => ErrorKind::Unexpected,
    }
}

/// The daemon's answer with this status and message as an error.
pub(super) fn from_answer(status: u16, message: &str) -> Error {
    let kind = answered(status, message);
    let message = message.trim();
    let text = if message.is_empty() {
        format!("the engine answered with status {status}")
    } else {
        message.replace(['\r', '\n'], " ")
    };
    Error::new(kind, text).with_context("engine_status", status.to_string())
}

/// The same error, with the advice that repeating is safe when it is the engine that could not be reached.
pub(super) fn nothing_changed(error: Error) -> Error {
    match error.kind() {
        Unavailable | ErrorKind::DeadlineExceeded => error.with_retry(Retry::Safe),
        _ => error,
    }
}

/// Translates an error of the client library.
pub(super) fn translate(error: Cause) -> Error {
    match error {
        Cause::DockerResponseServerError { status_code, message } => from_answer(status_code, &message),
        // Told in the middle of a stream whose status was good.
        Cause::DockerStreamError { error } => from_answer(500, &error),
        Cause::DockerContainerWaitError { error, .. } => from_answer(500, &error),
        Cause::RequestTimeoutError => Error::new(ErrorKind::DeadlineExceeded, "the engine did not answer in time"),
        Cause::HyperLegacyError { err } => {
            let connecting = err.is_connect();
            broken(&err, connecting).with_source(err)
        }
        Cause::HyperResponseError { err } => broken(&err, false).with_source(err),
        Cause::IOError { err } => broken(&err, false).with_source(err),
        Cause::JsonDataError { .. } | Cause::JsonSerdeError { .. } => {
            Error::new(ErrorKind::Unexpected, format!("the engine's answer makes no sense: {error}")).with_source(error)
        }
        other => Error::new(ErrorKind::Unexpected, other.to_string()).with_source(other),
    }
}

/// A connection that could not be made, or broke.
fn broken(error: &(dyn StdError + 'static), connecting: bool) -> Error {
    let chain = || std::iter::successors(Some(error), |cause| deeper(*cause));
    if let Some(ours) = chain().find_map(|cause| cause.downcast_ref::<Error>()) {
        // An archive that the caller streams to the engine failed on the caller's side.
        return ours.repeated();
    }
    let root = chain().last().map(ToString::to_string).unwrap_or_default();
    if let Some(tls) = chain().find_map(|cause| cause.downcast_ref::<rustls::Error>()) {
        return match tls {
            rustls::Error::InvalidCertificate(_) | rustls::Error::AlertReceived(_) => {
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
        let docker = [
            (
                409,
                r#"Conflict. The container name "/web" is already in use by container "9945". You have to remove (or rename) that container to be able to reuse that name."#,
                AlreadyExists,
            ),
            (404, "No such image: nosuch/image:1", NotFound),
            (
                400,
                r#"failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: "nosuchcmd": executable file not found in $PATH: unknown"#,
                InvalidInput,
            ),
            (
                400,
                r#"failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: "/nosuch": stat /nosuch: no such file or directory: unknown"#,
                InvalidInput,
            ),
            (409, "Cannot kill container: t1: Container 9945 is not running", Conflict),
            (500, "Container 9945 is not paused", Conflict),
            (409, "Container 9945 is already paused", Conflict),
            (409, "cannot start a paused container, try unpause instead", Conflict),
            (409, "removal of container 9945 is already in progress", Conflict),
            (
                409,
                "You cannot remove a running container 9945. Stop the container before attempting removal or force remove",
                Conflict,
            ),
            (404, "Cannot kill container: x: No such container: x", NotFound),
            (
                500,
                "driver failed programming external connectivity on endpoint web: Bind for 0.0.0.0:80 failed: port is already allocated",
                Conflict,
            ),
            (409, "network with name n1 already exists", AlreadyExists),
            (403, "error while removing network: network n1 id 12ab has active endpoints", Conflict),
            (409, "remove v1: volume is in use - [9945]", Conflict),
            (
                409,
                "conflict: unable to remove repository reference \"a\" (must force) - container 1 is using its referenced image 2",
                Conflict,
            ),
            (
                404,
                "pull access denied for nosuch, repository does not exist or may require 'docker login'",
                PermissionDenied,
            ),
            (400, "client version 1.55 is too new. Maximum supported API version is 1.41", Unsupported),
            (400, "Invalid signal: SIG99", InvalidInput),
            (400, "invalid mount config for type \"bind\": bind source path does not exist: /nosuch", InvalidInput),
            (500, "something else", ErrorKind::Unexpected),
            (503, "", Unavailable),
        ];
        let podman = [
            (
                500,
                r#"container create: creating container storage: the container name "t1" is already in use by f24d. You have to remove that container to be able to reuse that name.: that name is already in use"#,
                AlreadyExists,
            ),
            (404, "no such image: docker.io/nosuch/image:1: image not known", NotFound),
            (
                500,
                r#"runc: runc create failed: unable to start container process: exec: "nosuchcmd": executable file not found in $PATH: OCI runtime attempted to invoke a command that was not found"#,
                InvalidInput,
            ),
            (500, "can only kill running containers. f24d is in state created: container state improper", Conflict),
            (500, r#""created" is not running, can't pause: container state improper"#, Conflict),
            (500, r#""f24d" is already paused: container state improper"#, Conflict),
            (
                500,
                "container f24d must be in Created or Stopped state to be started: container state improper",
                Conflict,
            ),
            (404, r#"no container with name or ID "t1" found: no such container"#, NotFound),
            (404, "", NotFound),
            (409, "network name n1 already used: network already exists", AlreadyExists),
            (500, "rootlessport listen tcp 0.0.0.0:80: bind: address already in use", Conflict),
        ];
        for (status, message, kind) in docker.into_iter().chain(podman) {
            assert_eq!(from_answer(status, message).kind(), kind, "{status} {message}");
        }
    }

    #[test]
    fn the_line_for_a_person_is_one_line() {
        let error = from_answer(500, "a\nb\r\n");
        assert_eq!(error.message(), "a b");
        assert_eq!(from_answer(404, "").message(), "the engine answered with status 404");
    }

    #[test]
    fn a_broken_connection_is_unavailable_and_a_write_may_have_happened() {
        let error = translate(Cause::IOError { err: io::ErrorKind::ConnectionReset.into() });
        assert_eq!((error.kind(), error.retry()), (Unavailable, Retry::Unknown));
        assert_eq!(nothing_changed(error).retry(), Retry::Safe);
        let ours = io::Error::other(Error::invalid("archive", "is broken"));
        assert_eq!(translate(Cause::IOError { err: ours }).kind(), InvalidInput);
        assert_eq!(translate(Cause::RequestTimeoutError).kind(), ErrorKind::DeadlineExceeded);
    }
}

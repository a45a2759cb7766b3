//! Connections that cannot be made, or break: what the errors of the HTTP client and of TLS mean in Roadstead's words.

use std::error::Error as StdError;
use std::io;

use roadstead_core::{Error, ErrorKind, Retry};

use crate::tls::Mistrust;

/// The same error, with the advice that repeating is safe when it is the engine that could not be reached.
pub(crate) fn nothing_changed(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Unavailable | ErrorKind::DeadlineExceeded => error.with_retry(Retry::Safe),
        _ => error,
    }
}

/// Translates an error of the HTTP client.
pub(crate) fn translate(error: reqwest::Error) -> Error {
    // The address stands in the node's URI; in the message it would be noise.
    let error = error.without_url();
    let connecting = error.is_connect();
    if error.is_builder() {
        return Error::new(ErrorKind::InvalidInput, format!("the request makes no sense: {}", root(&error)))
            .with_source(error);
    }
    broken(&error, connecting).with_source(error)
}

/// The deepest cause's words.
fn root(error: &(dyn StdError + 'static)) -> String {
    std::iter::successors(Some(error), |cause| deeper(*cause)).last().map(ToString::to_string).unwrap_or_default()
}

/// A connection that could not be made, or broke.
pub(crate) fn broken(error: &(dyn StdError + 'static), connecting: bool) -> Error {
    let chain = || std::iter::successors(Some(error), |cause| deeper(*cause));
    if let Some(ours) = chain().find_map(|cause| cause.downcast_ref::<Error>()) {
        // What the caller streams to the engine failed on the caller's side.
        let error = Error::new(ours.kind(), ours.message().to_owned()).with_retry(ours.retry());
        return match ours.field() {
            Some(field) => error.with_field(field),
            None => error,
        };
    }
    let root = root(error);
    if let Some(tls) = chain().find_map(|cause| cause.downcast_ref::<rustls::Error>()) {
        if let rustls::Error::InvalidCertificate(rustls::CertificateError::Other(why)) = tls
            && let Some(why) = why.0.downcast_ref::<Mistrust>()
        {
            return Error::new(ErrorKind::Unauthenticated, why.to_string()).with_retry(Retry::Never);
        }
        return match tls {
            rustls::Error::InvalidCertificate(_) | rustls::Error::AlertReceived(_) | rustls::Error::General(_) => {
                Error::new(ErrorKind::Unauthenticated, format!("TLS: {tls}")).with_retry(Retry::Never)
            }
            _ => Error::new(ErrorKind::Unavailable, format!("TLS: {tls}")).with_retry(advice(connecting)),
        };
    }
    if chain().filter_map(|cause| cause.downcast_ref::<hyper::Error>()).any(|cause| cause.is_parse()) {
        return Error::new(ErrorKind::Unexpected, format!("the engine does not speak HTTP: {root}"));
    }
    let kind = chain().find_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
    if connecting && kind == Some(io::ErrorKind::PermissionDenied) {
        return Error::new(ErrorKind::PermissionDenied, format!("the engine's socket may not be opened: {root}"));
    }
    let text = if connecting {
        format!("the engine cannot be reached: {root}")
    } else {
        format!("the connection to the engine broke: {root}")
    };
    Error::new(ErrorKind::Unavailable, text).with_retry(advice(connecting))
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
    fn a_broken_connection_is_unavailable_and_a_write_may_have_happened() {
        let error = broken(&io::Error::from(io::ErrorKind::ConnectionReset), false);
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Unknown));
        assert_eq!(nothing_changed(error).retry(), Retry::Safe);
        let ours = io::Error::other(Error::invalid("archive", "is broken"));
        let error = broken(&ours, false);
        assert_eq!((error.kind(), error.field()), (ErrorKind::InvalidInput, Some("archive")));
    }
}

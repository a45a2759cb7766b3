//! Errors of the connection to a node's Redis as ours.

use std::error::Error as StdError;
use std::io;

use redis::RedisError;
use roadstead_core::{Error, ErrorKind, Retry};

use crate::tls::Mistrust;

/// Something that Redis, or the proxy in front of it, says; or that its connection broke.
pub(super) fn of(error: &RedisError) -> Error {
    let words = error.to_string();
    let error = meant(error, &words);
    // Of commands that were sent together those before the first one that was refused have been carried out.
    let is_partial = words.starts_with("Pipeline failure") && !words.contains("(Index 0, ");
    if is_partial { error.with_retry(Retry::Unknown) } else { error }
}

fn meant(error: &RedisError, words: &str) -> Error {
    let lower = words.to_lowercase();
    // The first word of an answer is quoted, as if it were a code.
    let plain = lower.replace("\": ", " ").replace('"', "");
    let says = |parts: &[&str]| parts.iter().any(|part| plain.contains(part));
    let answers = |codes: &[&str]| codes.iter().any(|code| lower.contains(code));
    if let Some(mistrust) = mistrust(error) {
        return mistrust;
    }
    if says(&["please call auth first", "noauth"]) {
        let words = "the node wants a token: give it as core0+rediss://:TOKEN@host or token_file=FILE";
        return Error::new(ErrorKind::Unauthenticated, words).with_retry(Retry::Never);
    }
    if says(&["invalid jwt", "wrongpass", "invalid password", "authentication failed", "authenticationfailed"]) {
        return Error::new(ErrorKind::Unauthenticated, "the node does not take the token").with_retry(Retry::Never);
    }
    if says(&["without any password configured", "no password is set"]) {
        return Error::invalid("uri", "has a token, but the node takes none");
    }
    if says(&["noperm", "permission denied"]) {
        return Error::new(ErrorKind::PermissionDenied, format!("the node refuses: {words}")).with_retry(Retry::Never);
    }
    if says(&["oom command not allowed", "misconf"]) {
        return Error::new(ErrorKind::ResourceExhausted, format!("the node's Redis cannot write: {words}"));
    }
    // What the proxy could not ask its Redis it answers with Go's words for why: of whatever it was asked nothing is known.
    if answers(&["\"eof\"", "\"unexpected\": eof", "\"dial\": ", "\"read\": ", "\"write\": ", "\"redigo:\""]) {
        let error = Error::new(ErrorKind::Unavailable, format!("the node's proxy does not reach its Redis: {words}"));
        // Unless there was no connection for it, nor thus for the first of what was asked.
        let never = words.starts_with("\"dial\": ") || words.contains("(Index 0, error: \"dial\": ");
        return if never { error.with_retry(Retry::Safe) } else { error };
    }
    if error.is_io_error() || error.is_unrecoverable_error() || error.is_connection_dropped() || says(&["loading"]) {
        return Error::new(ErrorKind::Unavailable, format!("the connection to the node broke: {words}"));
    }
    Error::new(ErrorKind::Unexpected, format!("the node's Redis says: {words}")).with_retry(Retry::Never)
}

/// A connection that could not be made.
pub(super) fn broken(error: &io::Error) -> Error {
    mistrust(error).unwrap_or_else(|| {
        Error::new(ErrorKind::Unavailable, format!("the node cannot be reached: {error}")).with_retry(Retry::Safe)
    })
}

/// Why the other side is not trusted, if that is it: nothing was sent, and another try brings the same.
fn mistrust(error: &(dyn StdError + 'static)) -> Option<Error> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let tls = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()).or_else(|| error.downcast_ref());
        if let Some(rustls::Error::InvalidCertificate(why)) = tls {
            let words = match why {
                rustls::CertificateError::Other(other) => {
                    other.0.downcast_ref::<Mistrust>().map_or_else(|| why.to_string(), Mistrust::to_string)
                }
                why => why.to_string(),
            };
            let words = format!(
                "the node is not trusted: {words}; a node makes another certificate at every start, and \
                 trust=unverified takes any"
            );
            return Some(Error::new(ErrorKind::Unauthenticated, words).with_retry(Retry::Never));
        }
        cause = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use redis::Value;

    use super::super::commands::replay::node::Node;
    use super::*;

    fn said(words: &str) -> Error {
        let answer = redis::parse_redis_value(format!("-{words}\r\n").as_bytes());
        let error = answer.and_then(Value::extract_error).unwrap_err();
        of(&error)
    }

    #[test]
    fn a_proxy_without_its_redis_is_away() {
        for words in [
            "EOF",
            "unexpected EOF",
            "dial unix /var/run/redis.sock: connect: connection refused",
            "read unix @->/var/run/redis.sock: read: connection reset by peer",
            "write unix @->/var/run/redis.sock: write: broken pipe",
            "redigo: connection pool exhausted",
            "LOADING Redis is loading the dataset in memory",
        ] {
            let error = said(words);
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{words}: {error:?}");
            assert_ne!(error.retry(), Retry::Never, "{words}");
            assert_eq!(error.retry() == Retry::Safe, words.starts_with("dial"), "{words}: {error:?}");
        }
        for words in ["ERR unknown command `READ`", "WRONGTYPE Operation against a key", "READONLY You can't write"] {
            assert_eq!(said(words).kind(), ErrorKind::Unexpected, "{words}");
        }
    }

    #[tokio::test]
    async fn what_was_refused_alone_or_among_others_is_told_apart() {
        let node = Node::start().await;
        let links = &node.client().links;
        let pushes = |count| {
            let mut pipeline = redis::Pipeline::new();
            for _ in 0..count {
                pipeline.cmd("RPUSH").arg("a").arg("b");
            }
            pipeline
        };
        let _: () = node.ask(&["CONFIG", "SET", "maxmemory", "1"]).await;
        for count in [1, 2] {
            let refused = links.ask::<Vec<i64>>(&pushes(count)).await.unwrap_err();
            assert_eq!((refused.kind(), refused.retry()), (ErrorKind::ResourceExhausted, Retry::Safe), "{refused:?}");
        }
        let mut partial = redis::Pipeline::new();
        partial.cmd("PING").cmd("RPUSH").arg("a").arg("b");
        let refused = links.ask::<Vec<Value>>(&partial).await.unwrap_err();
        assert_eq!((refused.kind(), refused.retry()), (ErrorKind::ResourceExhausted, Retry::Unknown), "{refused:?}");
    }
}

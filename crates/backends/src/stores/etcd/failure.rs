//! What etcd says when something fails, in our words, and above all: whether it may have been done, and what to try next.

use roadstead_core::store::no_lease;
use roadstead_core::{Error, ErrorKind, Result, Retry};
use serde_json::Value;

use super::wire;
use crate::broken;

/// Of words that are no answer of etcd's, so many characters are repeated.
const WORDS_MAX: usize = 200;

/// A try that failed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: Error,
    pub(super) next: Next,
}

/// What to do after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It fails everywhere, and nothing was done.
    Stop,
    /// Nothing was done, and another member may do it.
    Elsewhere,
    /// It may have been done, or be done yet. Another member may know.
    Unclear,
    /// Nothing was done, since what we showed for who we are is over.
    Renew,
    /// The answer was longer than any that is taken.
    TooLong,
    /// etcd has forgotten what it was asked for.
    Compacted,
}

impl Failure {
    pub(super) fn new(kind: ErrorKind, text: impl Into<String>, next: Next) -> Self {
        let retry = match (kind, next) {
            (_, Next::Unclear) => Retry::Unknown,
            (ErrorKind::Unavailable | ErrorKind::DeadlineExceeded | ErrorKind::ResourceExhausted, _) => Retry::Safe,
            _ => Retry::Never,
        };
        Failure { error: Error::new(kind, text.into()).with_retry(retry), next }
    }

    /// Nothing was heard in time, though it was sent.
    pub(super) fn silent(member: &str) -> Self {
        Failure::new(ErrorKind::DeadlineExceeded, format!("etcd at {member} does not answer"), Next::Unclear)
    }

    /// Of the HTTP client.
    pub(super) fn transport(member: &str, cause: reqwest::Error) -> Self {
        let next = if cause.is_connect() || cause.is_builder() { Next::Elsewhere } else { Next::Unclear };
        let cause = broken::translate(cause);
        let text = format!("etcd at {member}: {}", cause.message().replace("the engine", "it"));
        let Failure { error, next } = Failure::new(cause.kind(), text, next);
        Failure { error: error.with_source(cause), next }
    }

    /// An answer that cannot be understood. What was in it is not repeated.
    pub(super) fn nonsense(member: &str, cause: &serde_json::Error) -> Self {
        let place = format!("line {} column {}", cause.line(), cause.column());
        Failure::new(
            ErrorKind::Unexpected,
            format!("etcd at {member} answers what makes no sense ({place})"),
            Next::Unclear,
        )
    }

    /// An answer that says that something failed.
    pub(super) fn answer(member: &str, status: u16, body: &[u8]) -> Self {
        if let Ok(json) = serde_json::from_slice::<Value>(body)
            && let Some((code, words)) = wire::failure(&json)
        {
            return Failure::words(member, code, words);
        }
        let text = String::from_utf8_lossy(body);
        let text: String = text.trim().chars().filter(|c| !c.is_control()).take(WORDS_MAX).collect();
        match status {
            404 => Failure::new(
                ErrorKind::Unexpected,
                format!("at {member} is no etcd with its JSON gateway (--enable-grpc-gateway)"),
                Next::Elsewhere,
            ),
            // Of the gateway, before it asks etcd: for a certificate with a common name, or an unknown name of the host.
            400 | 401 | 403 | 421 => {
                Failure::new(ErrorKind::Unauthenticated, format!("etcd at {member}: {text}"), Next::Elsewhere)
            }
            502..=504 => Failure::new(ErrorKind::Unavailable, format!("etcd at {member}: {text}"), Next::Unclear),
            _ => Failure::new(
                ErrorKind::Unexpected,
                format!("etcd at {member} answers with status {status}: {text}"),
                Next::Unclear,
            ),
        }
    }

    /// By gRPC's code and etcd's words. The words decide where one code stands for several things.
    pub(super) fn words(member: &str, code: u64, words: &str) -> Self {
        let said = words.trim_start_matches("etcdserver: ");
        let fail = |kind, next| Failure::new(kind, format!("etcd at {member}: {said}"), next);
        match said {
            "requested lease not found" => return Failure { error: no_lease(), next: Next::Stop },
            "mvcc: required revision has been compacted" => return fail(ErrorKind::Conflict, Next::Compacted),
            // The write that reaches the limit is done and then answered like this.
            "mvcc: database space exceeded" => {
                let full = format!(
                    "etcd at {member} is full (--quota-backend-bytes): it has to be compacted and defragmented"
                );
                let failure = Failure::new(ErrorKind::ResourceExhausted, full, Next::Stop);
                return Failure { error: failure.error.with_retry(Retry::Unknown), ..failure };
            }
            "request is too large" | "too many operations in txn request" => {
                let text =
                    format!("etcd takes less than it does by default (--max-request-bytes, --max-txn-ops): {said}");
                return Failure { error: Error::invalid("transaction", text), next: Next::Stop };
            }
            // Each of these is said before anything is handed to the others.
            "no leader" | "not capable" | "too many requests" | "raft proposal dropped" => {
                return fail(ErrorKind::Unavailable, Next::Elsewhere);
            }
            "invalid auth token" | "revision of auth store is old" => {
                return fail(ErrorKind::Unauthenticated, Next::Renew);
            }
            "authentication failed, invalid user ID or password" | "user name is empty" => {
                return fail(ErrorKind::Unauthenticated, Next::Stop);
            }
            // Up to 3.5 the gateway takes no more than four mebibytes from etcd itself.
            _ if said.starts_with("grpc: received message larger than max") => {
                return fail(ErrorKind::ResourceExhausted, Next::TooLong);
            }
            _ => {}
        }
        match code {
            4 => fail(ErrorKind::DeadlineExceeded, Next::Unclear),
            5 => fail(ErrorKind::NotFound, Next::Stop),
            7 => fail(ErrorKind::PermissionDenied, Next::Stop),
            8 => fail(ErrorKind::ResourceExhausted, Next::Unclear),
            // Among them that the request timed out, or that the leader changed: what was proposed may be done yet.
            14 => fail(ErrorKind::Unavailable, Next::Unclear),
            16 => fail(ErrorKind::Unauthenticated, Next::Stop),
            3 | 9 | 11 | 12 => fail(ErrorKind::Unexpected, Next::Stop),
            _ => fail(ErrorKind::Unexpected, Next::Unclear),
        }
    }

    /// Whether waiting changes nothing, such as when a member is not trusted, or is none.
    pub(super) fn is_hopeless(&self) -> bool {
        !matches!(
            self.error.kind(),
            ErrorKind::Unavailable | ErrorKind::DeadlineExceeded | ErrorKind::ResourceExhausted
        ) && self.next != Next::Unclear
    }

    /// The same, when it does not matter whether it was done.
    pub(super) fn harmless(self) -> Error {
        match self.error.kind() {
            ErrorKind::Unavailable | ErrorKind::DeadlineExceeded | ErrorKind::Unexpected => {
                self.error.with_retry(Retry::Safe)
            }
            _ => self.error,
        }
    }
}

/// A try.
pub(super) type Tried<T> = Result<T, Failure>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_have_been_done_is_told_from_what_was_not() {
        for (code, words, kind, next, retry) in [
            (14, "etcdserver: no leader", ErrorKind::Unavailable, Next::Elsewhere, Retry::Safe),
            (14, "etcdserver: request timed out", ErrorKind::Unavailable, Next::Unclear, Retry::Unknown),
            (14, "etcdserver: leader changed", ErrorKind::Unavailable, Next::Unclear, Retry::Unknown),
            (2, "raft proposal dropped", ErrorKind::Unavailable, Next::Elsewhere, Retry::Safe),
            (2, "something new", ErrorKind::Unexpected, Next::Unclear, Retry::Unknown),
            (5, "etcdserver: requested lease not found", ErrorKind::NotFound, Next::Stop, Retry::Never),
            (8, "etcdserver: mvcc: database space exceeded", ErrorKind::ResourceExhausted, Next::Stop, Retry::Unknown),
            (8, "etcdserver: too many requests", ErrorKind::Unavailable, Next::Elsewhere, Retry::Safe),
            (16, "etcdserver: invalid auth token", ErrorKind::Unauthenticated, Next::Renew, Retry::Never),
            (
                8,
                "grpc: received message larger than max (7340114 vs. 4194304)",
                ErrorKind::ResourceExhausted,
                Next::TooLong,
                Retry::Safe,
            ),
            (7, "etcdserver: permission denied", ErrorKind::PermissionDenied, Next::Stop, Retry::Never),
            (3, "etcdserver: request is too large", ErrorKind::InvalidInput, Next::Stop, Retry::Never),
        ] {
            let failure = Failure::words("one:2379", code, words);
            assert_eq!((failure.error.kind(), failure.next, failure.error.retry()), (kind, next, retry), "{words}");
        }
        let lease = Failure::words("one:2379", 5, "etcdserver: requested lease not found").error;
        assert_eq!(lease.resource(), Some("lease"));
    }

    #[test]
    fn answers_of_others_than_etcd() {
        let none = Failure::answer("one:2379", 404, b"404 page not found");
        assert!(none.error.message().contains("--enable-grpc-gateway"), "{none:?}");
        let proxy = Failure::answer("one:2379", 503, b"<html>\x1b[31mno backend</html>");
        assert_eq!((proxy.error.kind(), proxy.next), (ErrorKind::Unavailable, Next::Unclear));
        assert!(!proxy.error.message().contains('\x1b'));
        let long = Failure::answer("one:2379", 500, &[b'x'; 10_000]);
        assert!(long.error.message().len() < 400, "{long:?}");
    }
}

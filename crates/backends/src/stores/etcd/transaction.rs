//! Transactions in etcd's words, and which guard did not hold.

use roadstead_core::store::{Guard, Key, Transaction, Write, changed};
use roadstead_core::{Error, ErrorKind, Retry};
use serde_json::{Value, json};

use super::members::Care;
use super::space::Space;
use super::wire::{self, Txn, bytes, some_number};

/// What etcd is told to do. When a guard does not hold it gives the entries that guards are about instead, as they are at that very
/// moment: that tells which guard it was.
pub(super) fn request(space: &Space, transaction: &Transaction) -> Value {
    let compare = |guard: &Guard| match guard {
        Guard::Unchanged(key, revision) => json!({
            "key": bytes(space.key(key)), "target": "MOD", "result": "EQUAL", "mod_revision": some_number(revision.0),
        }),
        guard => json!({
            "key": bytes(space.key(guard.key())), "target": "CREATE", "result": "EQUAL", "create_revision": "0",
        }),
    };
    let write = |write: &Write| match write {
        Write::Put { key, value, lease: None } => {
            json!({"request_put": {"key": bytes(space.key(key)), "value": bytes(value)}})
        }
        Write::Put { key, value, lease: Some(lease) } => json!({
            "request_put": {"key": bytes(space.key(key)), "value": bytes(value), "lease": some_number(lease.0)},
        }),
        write => json!({"request_delete_range": {"key": bytes(space.key(write.key()))}}),
    };
    let look = |guard: &Guard| json!({"request_range": {"key": bytes(space.key(guard.key())), "keys_only": true}});
    json!({
        "compare": transaction.guards().iter().map(compare).collect::<Vec<_>>(),
        "success": transaction.writes().iter().map(write).collect::<Vec<_>>(),
        "failure": transaction.guards().iter().map(look).collect::<Vec<_>>(),
    })
}

/// Whether it may be sent again when it is not known whether it was done.
///
/// It may when it writes an entry that must be unchanged for it: done or not, the revision that it asks for never comes again, so of
/// all that was sent one is done at most, however late it arrives. What must be absent may be so again, when others deleted it.
pub(super) fn care(transaction: &Transaction) -> Care {
    if transaction.writes().is_empty() {
        return Care::Reads;
    }
    let written = |key: &Key| transaction.writes().iter().any(|write| write.key() == key);
    let fenced = |guard: &Guard| matches!(guard, Guard::Unchanged(key, _) if written(key));
    if transaction.guards().iter().any(fenced) { Care::Repeats } else { Care::Once }
}

/// The error of a transaction that etcd did not do.
pub(super) fn refused(transaction: &Transaction, answer: &Txn) -> Error {
    let fails = |(guard, step): &(&Guard, &wire::Step)| {
        let found = step.response_range.as_ref().and_then(|range| range.kvs.first());
        match guard {
            Guard::Unchanged(_, revision) => found.is_none_or(|found| found.mod_revision != revision.0),
            _ => found.is_some(),
        }
    };
    match transaction.guards().iter().zip(&answer.responses).find(fails) {
        Some((guard, _)) => changed(guard.key()),
        None => {
            Error::new(ErrorKind::Unexpected, "etcd refuses a transaction whose guards hold").with_retry(Retry::Safe)
        }
    }
}

/// The same, when an earlier try may have been done: then that may be what is in the way.
pub(super) fn unclear(error: Error) -> Error {
    let text = format!("it may have been done, since etcd did not answer at first; then: {}", error.message());
    let resource = error.resource().map(str::to_owned);
    let unclear = Error::new(ErrorKind::Unavailable, text).with_retry(Retry::Unknown).with_source(error);
    match resource {
        Some(resource) => unclear.with_resource(resource),
        None => unclear,
    }
}

#[cfg(test)]
mod tests {
    use roadstead_core::store::{LeaseId, Revision};

    use super::*;

    fn key(name: &str) -> Key {
        Key::new(name).unwrap()
    }

    #[test]
    fn only_what_cannot_be_done_twice_is_sent_twice() {
        let put = |name: &str| Transaction::new().put(key(name), "1");
        assert_eq!(care(&Transaction::new().when(Guard::Absent(key("a")))), Care::Reads);
        assert_eq!(care(&put("a")), Care::Once);
        assert_eq!(care(&Transaction::new().create(key("a"), "1")), Care::Once);
        assert_eq!(care(&put("b").when(Guard::Unchanged(key("a"), Revision(1)))), Care::Once);
        assert_eq!(care(&put("b").replace(key("a"), Revision(1), "1")), Care::Repeats);
        let delete = Transaction::new().when(Guard::Unchanged(key("a"), Revision(1))).delete(key("a"));
        assert_eq!(care(&delete), Care::Repeats);
    }

    #[test]
    fn revisions_and_leases_that_are_none_are_never_there() {
        let space = Space::new("/s/".to_owned());
        let all = Transaction::new().replace(key("a"), Revision(0), "1").put_with(key("b"), "1", LeaseId(0));
        let told = request(&space, &all);
        // In etcd 0 is the revision of what is not there, and the lease of what hangs on none.
        assert_eq!(told["compare"][0]["mod_revision"], "-1");
        assert_eq!(told["success"][1]["request_put"]["lease"], "-1");
    }
}

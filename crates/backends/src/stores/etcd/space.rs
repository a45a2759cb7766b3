//! Where our keys are among those of etcd.

use roadstead_core::store::{Change, Entry, Key, LeaseId, Prefix, Revision};

use super::wire::{Event, KeyValue};

/// The part of etcd that is ours: all keys that begin so.
#[derive(Clone, Debug)]
pub(super) struct Space(String);

/// Keys from the first one on, before the second one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) begin: String,
    pub(super) end: String,
}

impl Space {
    /// The keys that begin with `root`, which ends with a slash.
    pub(super) fn new(root: String) -> Self {
        Space(root)
    }

    /// A key that is ours, and never there: no key of the store is empty.
    pub(super) fn nowhere(&self) -> &str {
        &self.0
    }

    /// A key, as etcd has it.
    pub(super) fn key(&self, key: &Key) -> String {
        format!("{}{key}", self.0)
    }

    /// Whatever begins so.
    pub(super) fn below(&self, prefix: &Prefix) -> Span {
        let begin = format!("{}{}", self.0, prefix.as_str());
        // Both end with a slash, and what follows it among bytes is a zero.
        let end = format!("{}0", begin.trim_end_matches('/'));
        Span { begin, end }
    }

    /// The key of the store; nothing when somebody else wrote what is no key of ours.
    fn own(&self, key: &[u8]) -> Option<Key> {
        let text = std::str::from_utf8(key).ok()?;
        Key::new(text.strip_prefix(&self.0)?).ok()
    }

    /// An entry of the store.
    pub(super) fn entry(&self, kv: KeyValue) -> Option<Entry> {
        let key = self.own(&kv.key)?;
        let mut entry = Entry::new(key, kv.value.into(), Revision(kv.mod_revision));
        entry.lease = (kv.lease != 0).then_some(LeaseId(kv.lease));
        Some(entry)
    }

    /// A change of an entry.
    pub(super) fn change(&self, event: Event) -> Option<Change> {
        match event.kind.as_deref() {
            Some("DELETE") => self.own(&event.kv.key).map(Change::Deleted),
            _ => self.entry(event.kv).map(Change::Put),
        }
    }
}

impl Span {
    /// Those behind this key.
    pub(super) fn behind(mut self, key: &str) -> Self {
        // No key is between one and the same with a NUL behind it.
        let next = format!("{key}\0");
        if next > self.begin {
            self.begin = next;
        }
        self
    }

    /// Whether there can be none.
    pub(super) fn is_empty(&self) -> bool {
        self.begin >= self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_hold_what_begins_so_and_nothing_else() {
        let space = Space::new("/fleet/".to_owned());
        let all = space.below(&Prefix::default());
        assert_eq!((all.begin.as_str(), all.end.as_str()), ("/fleet/", "/fleet0"));
        let nodes = space.below(&Prefix::new("nodes/").unwrap());
        for (key, within) in
            [("nodes/a", true), ("nodes/~", true), ("nodes", false), ("nodes-old/a", false), ("nodes0", false)]
        {
            let key = space.key(&Key::new(key).unwrap());
            assert_eq!((nodes.begin.as_str()..nodes.end.as_str()).contains(&key.as_str()), within, "{key}");
        }
        assert_eq!(nodes.clone().behind("/fleet/a"), nodes);
        assert_eq!(nodes.clone().behind("/fleet/nodes/a").begin, "/fleet/nodes/a\0");
        assert!(nodes.clone().behind("/fleet/nodes0").is_empty() && !nodes.is_empty());
    }

    #[test]
    fn keys_of_others_are_passed_over() {
        let space = Space::new("/fleet/".to_owned());
        for key in [&b"/fleet/"[..], b"/fleet/a//b", b"/fleet/\xff", b"/other/a", b""] {
            assert_eq!(space.entry(KeyValue { key: key.to_vec(), ..KeyValue::default() }), None);
        }
        let kv = KeyValue { key: b"/fleet/a".to_vec(), value: vec![1], mod_revision: 7, lease: 9 };
        let entry = space.entry(kv).unwrap();
        assert_eq!((entry.key.as_str(), entry.revision, entry.lease), ("a", Revision(7), Some(LeaseId(9))));
    }
}

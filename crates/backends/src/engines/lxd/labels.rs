//! Labels in the configuration of a server's objects: the label `key` is the configuration key `user.key`.
//!
//! Everything that a server stores has such free keys. Those under `user.roadstead.` are our own bookkeeping and are not
//! shown; `user.roadstead` followed by anything but a dot is a label like any other.

use std::collections::BTreeMap;

/// What the configuration keys of labels begin with.
pub(super) const PREFIX: &str = "user.";
/// The part of them that is not shown.
const BOOKKEEPING: &str = "user.roadstead.";
/// Labels that begin as our bookkeeping does and are shown all the same.
const SHOWN: &str = "user.roadstead.move";

/// A configuration, taken apart.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Split {
    pub(super) labels: BTreeMap<String, String>,
    /// What is neither label nor the server's own bookkeeping.
    pub(super) options: BTreeMap<String, String>,
}

/// Takes a configuration apart.
pub(super) fn split(config: Option<BTreeMap<String, Option<String>>>) -> Split {
    let mut split = Split::default();
    for (key, value) in config.unwrap_or_default() {
        let value = value.unwrap_or_default();
        if key.starts_with(BOOKKEEPING) && key != SHOWN || key.starts_with("volatile.") {
            continue;
        }
        match key.strip_prefix(PREFIX) {
            Some(label) => split.labels.insert(label.to_owned(), value),
            None => split.options.insert(key, value),
        };
    }
    split
}

/// Labels as they stand in a configuration.
pub(super) fn written(labels: &BTreeMap<String, String>) -> impl Iterator<Item = (String, String)> {
    labels.iter().map(|(key, value)| (format!("{PREFIX}{key}"), value.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_come_out_as_they_went_in() {
        let labels = BTreeMap::from([
            ("a.b".to_owned(), "c".to_owned()),
            ("roadstead.move".to_owned(), "d".to_owned()),
            ("roadsteads".to_owned(), String::new()),
        ]);
        let mut config: BTreeMap<_, _> = written(&labels).map(|(key, value)| (key, Some(value))).collect();
        config.insert("user.roadstead.spec".to_owned(), Some("{}".to_owned()));
        config.insert("volatile.base".to_owned(), None);
        config.insert("size".to_owned(), None);
        let found = split(Some(config));
        assert_eq!(found.labels, labels);
        assert_eq!(found.options.into_keys().collect::<Vec<_>>(), ["size"]);
        assert_eq!(split(None), Split::default());
    }
}

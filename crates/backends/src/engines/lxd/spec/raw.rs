//! `raw.lxc`: lines for the library below the server, where the server itself has no key for something.

use std::fmt;

/// The lines, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct RawLxc(Vec<(String, String)>);

impl RawLxc {
    pub(in super::super) fn parse(text: &str) -> Self {
        let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
        RawLxc(
            lines
                .filter_map(|line| line.split_once('='))
                .map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()))
                .collect(),
        )
    }

    pub(super) fn push(&mut self, key: &str, value: impl Into<String>) {
        self.0.push((key.to_owned(), value.into()));
    }

    /// Adds the lines of another.
    pub(in super::super) fn append(&mut self, other: &RawLxc) {
        self.0.extend(other.0.iter().cloned());
    }

    /// In place of every line with this key.
    pub(in super::super) fn set(&mut self, key: &str, value: impl Into<String>) {
        self.0.retain(|(known, _)| known != key);
        self.push(key, value);
    }

    /// The last line with this key, which is the one that counts.
    pub(in super::super) fn get(&self, key: &str) -> Option<&str> {
        self.all(key).last()
    }

    /// The keys of all lines.
    pub(in super::super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(key, _)| key.as_str())
    }

    /// All lines, as keys and values.
    pub(in super::super) fn lines(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    pub(super) fn all<'a>(&'a self, key: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        let key = key.to_owned();
        self.0.iter().filter(move |(known, _)| *known == key).map(|(_, value)| value.as_str())
    }
}

impl fmt::Display for RawLxc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(key, value)| writeln!(f, "{key} = {value}"))
    }
}

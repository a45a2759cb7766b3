//! What the journal holds, and where it stands in the store: batches of records by the number of their first one, and a head that says
//! which numbers there are.

use std::fmt;
use std::str::FromStr;

use roadstead_core::store::{Key, Prefix};
use roadstead_core::{Error, Event, EventAction, NodeError, Result, Timestamp};
use serde::{Deserialize, Serialize};

/// The most records of a batch. Part of what is kept: a batch that holds a number begins at most so many before it.
pub(super) const BATCH_MAX: usize = 100;
/// The most bytes of a batch, unless one record alone has more.
pub(super) const BATCH_BYTES: usize = 64 * 1024;
/// What of a text is kept that an engine gave without measure.
const TEXT_MAX: usize = 4096;
/// The most bytes of a record; of one with more the attributes are left out.
const RECORD_BYTES: usize = 32 * 1024;

/// Where a reader of the journal is: it has the record of this number and those before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// Of which journal; another one after the store was made anew.
    pub(crate) epoch: String,
    /// Numbers begin at 1; 0 is before the first.
    pub(crate) seq: u64,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.seq)
    }
}

impl FromStr for Cursor {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refuse = || Error::invalid("cursor", "is not one that this server gave");
        let (epoch, seq) = text.split_once('.').ok_or_else(refuse)?;
        let is_epoch = epoch.len() == EPOCH_DIGITS && epoch.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_number = !seq.is_empty() && seq.bytes().all(|byte| byte.is_ascii_digit());
        let seq = seq.parse().ok().filter(|_| is_epoch && is_number && text.len() <= 64).ok_or_else(refuse)?;
        Ok(Cursor { epoch: epoch.to_owned(), seq })
    }
}

impl Serialize for Cursor {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cursor {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|_| serde::de::Error::custom("no cursor"))
    }
}

const EPOCH_DIGITS: usize = 16;

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum What {
    /// An event of an engine, an alert, or the word that something may have been missed.
    Event(Event),
    /// A node cannot be followed; told once, until it can be again.
    NodeError(NodeError),
}

/// One record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    #[serde(flatten)]
    pub(crate) what: What,
    /// Which server watches the node, when that is one of the server's own and not one of the store: another server may have one of
    /// the same name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) server: Option<String>,
}

impl Record {
    pub(crate) fn node(&self) -> &str {
        match &self.what {
            What::Event(event) => &event.node,
            What::NodeError(error) => &error.node,
        }
    }

    /// Whether it says that an alert is over.
    pub(super) fn is_cleared(&self) -> bool {
        matches!(&self.what, What::Event(event) if event.action == EventAction::AlertCleared)
    }

    /// Within what a batch may have.
    pub(super) fn fit(mut self) -> Self {
        if let What::NodeError(error) = &mut self.what {
            truncate(&mut error.detail);
        }
        if serde_json::to_vec(&self).map_or(0, |json| json.len()) > RECORD_BYTES
            && let What::Event(event) = &mut self.what
        {
            event.attributes.clear();
            event.attributes.insert("left_out".to_owned(), "the attributes were too large".to_owned());
            truncate(&mut event.id);
            truncate(&mut event.engine_action);
            event.name.iter_mut().for_each(truncate);
        }
        self
    }
}

fn truncate(text: &mut String) {
    if text.len() > TEXT_MAX {
        let end = (0..=TEXT_MAX).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
    }
}

/// Records that were written together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Batch {
    /// Another one for each batch: by it a writer knows whether it was its own that was written.
    pub(super) id: String,
    /// When it was written, by the clock of the server.
    pub(super) at: Timestamp,
    pub(super) records: Vec<Record>,
}

impl Batch {
    pub(super) fn len(&self) -> u64 {
        u64::try_from(self.records.len()).unwrap_or(u64::MAX)
    }
}

/// Which numbers there are. Whoever writes a batch replaces it, so that no two get the same numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) epoch: String,
    /// The number of the next record.
    pub(super) next: u64,
    /// The number of the first record that is kept; that of the next one when none is.
    pub(super) oldest: u64,
}

impl Head {
    pub(super) fn new() -> Self {
        let mut epoch = uuid::Uuid::new_v4().simple().to_string();
        epoch.truncate(EPOCH_DIGITS);
        Head { epoch, next: 1, oldest: 1 }
    }

    pub(super) fn count(&self) -> u64 {
        self.next.saturating_sub(self.oldest)
    }
}

/// Where the journal stands in the store.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) head: Key,
    pub(super) batches: Prefix,
}

impl Place {
    /// The key of the batch that begins with this number.
    pub(super) fn key(&self, first: u64) -> Result<Key> {
        self.batches.key(&format!("{first:016x}"))
    }

    /// The number that a batch begins with.
    pub(super) fn first(&self, key: &Key) -> Option<u64> {
        u64::from_str_radix(key.behind(&self.batches)?, 16).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use roadstead_core::ResourceKind;

    #[test]
    fn cursors_are_read_as_they_are_written_and_nothing_else_is() {
        let cursor = Cursor { epoch: "0123456789abcdef".to_owned(), seq: 42 };
        assert_eq!(cursor.to_string().parse::<Cursor>().unwrap(), cursor);
        let long = format!("0123456789abcdef.{}1", "0".repeat(60));
        for bad in ["", ".", "7", "0123456789abcdef", "0123456789abcdef.", "0123456789abcdef.-1", "x.1", &long] {
            assert_eq!(bad.parse::<Cursor>().unwrap_err().field(), Some("cursor"), "{bad}");
        }
    }

    #[test]
    fn a_record_without_measure_is_cut() {
        let mut event =
            Event::new(Timestamp::now(), "n", ResourceKind::Container, EventAction::Created, "ä".repeat(60_000));
        event.attributes.insert("label".to_owned(), "x".repeat(100_000));
        let record = Record { what: What::Event(event), server: None }.fit();
        assert!(serde_json::to_vec(&record).unwrap().len() <= RECORD_BYTES);
        let json = serde_json::to_vec(&record).unwrap();
        assert_eq!(serde_json::from_slice::<Record>(&json).unwrap(), record);
    }
}

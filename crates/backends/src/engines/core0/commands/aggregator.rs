//! Metrics that a node gathers: `aggregator.query` and `monitor`, section 9 of the reference.
//!
//! The node's own metrics of memory, disks and networks, which it counts in KiB and MiB, are given in bytes and bytes a second
//! ([`Metric::unit`]); all others, which programs print as they like, are as they are.

use std::collections::BTreeMap;

use serde::de::{Deserialize, Deserializer};
use serde_json::{Value, json};

use roadstead_core::{Result, Timestamp};

use super::Commands;
use super::reading::{Named, Read, at_seconds, member, record, whole, words};

/// `aggregator.query` and `monitor`.
#[derive(Clone, Copy, Debug)]
pub struct Metrics<'a>(pub(super) &'a Commands);

words! {
    /// What a node samples every 30 seconds.
    pub enum Domain {
        /// Processors.
        Cpu = "cpu",
        /// Disks.
        Disk = "disk",
        /// Networks.
        Network = "network",
        /// Memory.
        Memory = "memory",
    }
}

/// How samples become one value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Aggregation {
    /// By their average.
    #[default]
    Average,
    /// By how fast they grow, a second: they are a counter.
    Rate,
    /// In a way that is newer than this library.
    Other(String),
}

/// What the values of a metric are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unit {
    /// As whoever measures sees fit.
    #[default]
    Own,
    /// Bytes.
    Bytes,
    /// Bytes a second.
    BytesPerSecond,
}

record! {
    /// The samples of a period.
    pub struct Aggregate {
        /// Their average.
        average: f64 = "avg";
        /// Their sum.
        total: f64 = "total";
        /// The largest.
        max: f64 = "max";
        /// How many there are.
        count: u64 = "count";
        /// When the period began.
        started_at: Option<Timestamp> = "start" in at_seconds;
    }
}

/// A metric.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Metric {
    /// How samples become one value.
    pub aggregation: Aggregation,
    /// What the values are.
    pub unit: Unit,
    /// The latest sample, of a counter its standing.
    pub last_value: f64,
    /// When it was taken.
    pub last_at: Option<Timestamp>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// The periods that have not ended, by their length in seconds: 300 and 3600.
    pub current: BTreeMap<u64, Aggregate>,
    /// The last periods that have, five at most, by their length in seconds.
    pub history: BTreeMap<u64, Vec<Aggregate>>,
}

/// The unit that a node's own metric is given in, and what its values are multiplied with for it.
fn unit(metric: &str) -> (Unit, f64) {
    const KIB: f64 = 1024.0;
    const MIB: f64 = 1024.0 * 1024.0;
    // An id behind a slash is no part of the name.
    match metric.split('/').next().unwrap_or_default() {
        "disk.throughput.read" | "disk.throughput.write" => (Unit::BytesPerSecond, KIB),
        "disk.size.total" | "disk.size.free" => (Unit::Bytes, 1.0),
        "machine.memory.ram.available" | "machine.memory.swap.left" | "machine.memory.swap.used" => (Unit::Bytes, MIB),
        "network.throughput.incoming" | "network.throughput.outgoing" => (Unit::BytesPerSecond, MIB),
        // Counted by libvirt in KiB, divided by 1024.
        "kvm.memory.max" => (Unit::Bytes, MIB),
        _ => (Unit::Own, 1.0),
    }
}

impl Read for Metric {
    fn read(value: &Value) -> Option<Self> {
        value.is_object().then(|| Metric {
            aggregation: match member(value, &["op"], String::read).trim() {
                "A" | "" => Aggregation::Average,
                "D" => Aggregation::Rate,
                other => Aggregation::Other(other.to_owned()),
            },
            unit: Unit::Own,
            last_value: member(value, &["last_value"], f64::read),
            last_at: member(value, &["last_time"], at_seconds),
            tags: member(value, &["tags"], tags),
            current: by_period(member(value, &["current"], BTreeMap::read)),
            history: by_period(member(value, &["history"], BTreeMap::read)),
        })
    }
}

impl<'de> Deserialize<'de> for Metric {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        whole(deserializer, "metric")
    }
}

/// The newline of the line that a program printed stays at the end of its last tag.
fn tags(list: &Value) -> Option<BTreeMap<String, String>> {
    let tag = |tag: &Value| {
        let key = member(tag, &["key"], String::read);
        (key.trim().to_owned(), member(tag, &["value"], String::read).trim().to_owned())
    };
    Some(list.as_array()?.iter().map(tag).collect())
}

fn by_period<T>(members: BTreeMap<String, T>) -> BTreeMap<u64, T> {
    members.into_iter().filter_map(|(period, value)| Some((period.trim().parse().ok()?, value))).collect()
}

impl Metric {
    fn in_our_units(mut self, key: &str) -> Self {
        let (unit, factor) = unit(key);
        self.unit = unit;
        self.last_value *= factor;
        for aggregate in self.current.values_mut().chain(self.history.values_mut().flatten()) {
            aggregate.average *= factor;
            aggregate.total *= factor;
            aggregate.max *= factor;
        }
        self
    }
}

pub(super) fn metrics(Named(found): Named<Metric>) -> BTreeMap<String, Metric> {
    found
        .into_iter()
        .map(|(key, metric)| {
            let metric = metric.in_our_units(key.trim());
            (key.trim().to_owned(), metric)
        })
        .collect()
}

/// `aggregator.query` and `monitor`.
impl Metrics<'_> {
    /// Metrics by name, and by id after a slash: those with this name and all of these tags; all there are when neither is
    /// given: `aggregator.query`.
    ///
    /// # Errors
    /// As every command.
    pub async fn query(&self, name: Option<&str>, tags: &BTreeMap<String, String>) -> Result<BTreeMap<String, Metric>> {
        let mut arguments = serde_json::Map::new();
        if let Some(name) = name {
            arguments.insert("key".to_owned(), json!(name));
        }
        if !tags.is_empty() {
            arguments.insert("tags".to_owned(), json!(tags));
        }
        self.0.call("aggregator.query", arguments).await.map(metrics)
    }

    /// Takes one sample now: `monitor`.
    ///
    /// # Errors
    /// As every command; `InvalidInput` for a domain that the node does not know.
    pub async fn sample(&self, domain: &Domain) -> Result<()> {
        self.0.done("monitor", json!({"domain": domain})).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tags_and_units() {
        let found: Named<Metric> = serde_json::from_value(json!({
            "machine.memory.ram.available\n": {"op": "A\n", "last_value": 2.5, "last_time": 1_509_000_000, "tags": null,
                "current": {"300": {"avg": 1, "total": 2, "max": "3", "count": 2, "start": 0}, "x": {}}, "history": null},
            "my.metric/one": {"op": "D", "last_value": 7, "tags": [{"key": "colour", "value": "red\n"}, null],
                "history": {"300": [{"avg": 1}, 3]}},
            "none": null,
        }))
        .unwrap();
        let found = metrics(found);
        let ram = &found["machine.memory.ram.available"];
        assert_eq!((ram.unit, &ram.aggregation, ram.last_value), (Unit::Bytes, &Aggregation::Average, 2_621_440.0));
        assert_eq!((ram.current[&300].max, ram.current.len()), (3_145_728.0, 1));
        assert_eq!(ram.last_at.unwrap().unix_seconds(), 1_509_000_000);
        let own = &found["my.metric/one"];
        assert_eq!((own.unit, &own.aggregation, own.tags["colour"].as_str()), (Unit::Own, &Aggregation::Rate, "red"));
        assert_eq!((own.history[&300].len(), found.len()), (1, 2));
    }
}

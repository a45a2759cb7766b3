//! What the loci bear at the moment: by what their agents measured of late, and by what the server itself sees where no agent measures.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use roadstead_core::{Result, Timestamp, UsageOptions};
use tokio::time::Instant;

use super::records::{KpiLink, KpiResource};
use super::{Monitor, stored};
use crate::nodes::NodeSlot;
use crate::series::{Record, Wanted};
use crate::state::{App, within};

/// Averages are those of so long.
pub(super) const RECENT: Duration = Duration::from_secs(30);
/// A node is asked for its machine no more often than this.
const OWN_LIFE: Duration = Duration::from_secs(5);
/// One that does not tell of its machine is not asked again for so long: where the engine is asked container by container, it costs.
const OWN_SILENCE: Duration = Duration::from_secs(60);
/// So long is waited for a node's answer.
const OWN_WAIT: Duration = Duration::from_secs(2);

/// A moment so long ago.
pub(super) fn ago(time: Duration) -> Timestamp {
    let nanos = i128::try_from(time.as_nanos()).unwrap_or(i128::MAX);
    let now = Timestamp::now();
    Timestamp::from_unix_nanos(now.unix_nanos().saturating_sub(nanos)).unwrap_or(now)
}

/// An average that is made one number at a time.
#[derive(Clone, Copy, Debug, Default)]
struct Mean {
    sum: f64,
    count: f64,
}

impl Mean {
    fn add(&mut self, number: f64) {
        self.sum += number;
        self.count += 1.0;
    }

    fn value(self) -> Option<f64> {
        let value = self.sum / self.count;
        value.is_finite().then_some(value)
    }
}

/// What a locus bears. What nobody measured is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Load {
    /// Percent of the machine.
    pub(super) cpu: Option<f64>,
    /// Percent of its memory.
    pub(super) memory: Option<f64>,
    /// Mbit/s.
    pub(super) throughput: Option<f64>,
    /// Milliseconds, one way, of all links from it and to it.
    pub(super) latency: Option<f64>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Means {
    cpu: Mean,
    memory: Mean,
    throughput: Mean,
    latency: Mean,
}

/// The averages of what was measured, by locus.
pub(super) fn averages(resources: &[Record<KpiResource>], links: &[Record<KpiLink>]) -> BTreeMap<String, Load> {
    let mut means: BTreeMap<&str, Means> = BTreeMap::new();
    for KpiResource { locus_id, cpu, memory } in resources.iter().map(|record| &record.what) {
        let of_locus = means.entry(locus_id).or_default();
        of_locus.cpu.add(*cpu);
        of_locus.memory.add(*memory);
    }
    for link in links.iter().map(|record| &record.what) {
        means.entry(&link.locus1_id).or_default().throughput.add(link.throughput);
        for locus in [&link.locus1_id, &link.locus2_id] {
            let latency = &mut means.entry(locus).or_default().latency;
            latency.add(link.latency_median_1to2);
            latency.add(link.latency_median_2to1);
        }
    }
    let loads = means.into_iter().map(|(locus, means)| {
        let load = Load {
            cpu: means.cpu.value(),
            memory: means.memory.value(),
            throughput: means.throughput.value(),
            latency: means.latency.value(),
        };
        (locus.to_owned(), load)
    });
    loads.collect()
}

/// What agents measured of late, by locus.
///
/// # Errors
/// Those of the store.
pub(super) async fn loads(app: &App) -> Result<BTreeMap<String, Load>> {
    let monitor = Monitor::of(app);
    let since = Some(ago(RECENT));
    let (resources, links) = (Wanted { since, ..Wanted::default() }, Wanted { since, ..Wanted::default() });
    let read = async { tokio::try_join!(monitor.resources.newest(&resources), monitor.links.newest(&links)) };
    let (resources, links) = stored(app, read).await?;
    Ok(averages(&resources, &links))
}

/// How busy a machine is, in percent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Machine {
    pub(super) cpu: Option<f64>,
    pub(super) memory: Option<f64>,
}

/// What the server itself sees of the machines of nodes, for a moment.
#[derive(Debug, Default)]
pub(super) struct Machines(Mutex<BTreeMap<String, (Instant, Option<Machine>)>>);

impl Machines {
    /// The machine of a node, where the node tells of it.
    pub(super) async fn of(&self, slot: &Arc<NodeSlot>) -> Option<Machine> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(slot.id()).copied();
        if let Some((at, machine)) = known
            && at.elapsed() < if machine.is_some() { OWN_LIFE } else { OWN_SILENCE }
        {
            return machine;
        }
        let usage = within(OWN_WAIT, async {
            let node = slot.node(OWN_WAIT).await?;
            // Where it is not told at all, that is known without asking.
            if !node.capabilities().usage {
                return Ok(None);
            }
            Ok(node.usage(&UsageOptions::default()).await?.machine)
        });
        let machine = usage.await.ok().flatten().map(|machine| {
            let memory = &machine.memory;
            let total = memory.total_bytes as f64;
            Machine {
                cpu: machine.cpu.percent,
                memory: (total > 0.0).then(|| memory.used_bytes as f64 / total * 100.0),
            }
        });
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Of nodes that are gone nothing is kept.
        known.retain(|_, (at, _)| at.elapsed() < OWN_SILENCE);
        known.insert(slot.id().to_owned(), (Instant::now(), machine));
        machine
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::records::Kind;
    use super::*;
    use crate::dialects::copa::form::Form;
    use serde_json::{Value, json};

    /// Records of documents as they are in the store.
    pub(in super::super) fn records<K: Kind>(documents: &[Value]) -> Vec<Record<K>> {
        let record = |(id, document): (usize, &Value)| {
            let mut members = document.clone();
            for name in K::FIELDS {
                let members = members.as_object_mut().unwrap();
                members.entry(*name).or_insert(json!(0));
            }
            let what = K::read(&Form::of_json(members).unwrap()).unwrap();
            serde_json::from_value(json!({"id": id + 1, "at": Timestamp::now(), "by": 0, "what": what})).unwrap()
        };
        documents.iter().enumerate().map(record).collect()
    }

    #[test]
    fn averages_are_of_each_locus() {
        let resources = records::<KpiResource>(&[
            json!({"locus": "a", "CPU": 10, "memory": 30}),
            json!({"locus": "b", "CPU": 99, "memory": 1}),
            json!({"locus": "a", "CPU": 20, "memory": 50}),
        ]);
        let links = records::<KpiLink>(&[
            json!({"locus1": "a", "locus2": "b", "latency_median_1to2": 2, "latency_median_2to1": 4, "throughput": 8}),
            json!({"locus1": "c", "locus2": "a", "latency_median_1to2": 9, "latency_median_2to1": 9, "throughput": 1}),
        ]);
        let found = averages(&resources, &links);
        let load = |cpu, memory, throughput, latency| Load { cpu, memory, throughput, latency };
        assert_eq!(found["a"], load(Some(15.0), Some(40.0), Some(8.0), Some(6.0)));
        assert_eq!(found["b"], load(Some(99.0), Some(1.0), None, Some(3.0)));
        assert_eq!(found["c"], load(None, None, Some(1.0), Some(9.0)));
        assert!(averages(&[], &[]).is_empty());
    }
}

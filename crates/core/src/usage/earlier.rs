//! What was told of containers before, with which what is told now has rates.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::{NodeUsage, Rates};
use crate::stats::ContainerStats;

/// Rates are over this time at least, once there are numbers so old: several ask, and what was used between two of them says little.
const APART: Duration = Duration::from_secs(1);

/// The last numbers of each container, by its id.
#[derive(Debug, Default)]
pub(super) struct Earlier(HashMap<String, Before>);

/// What is remembered of a container.
#[derive(Clone, Debug)]
struct Before {
    last: ContainerStats,
    /// At least [`APART`] older.
    earlier: Option<ContainerStats>,
}

impl Before {
    fn new(last: ContainerStats) -> Self {
        Before { last, earlier: None }
    }

    /// Whether `stats` can be compared with the last ones.
    fn is_apart(&self, stats: &ContainerStats) -> bool {
        stats.observed_at.since(self.last.observed_at) >= APART
    }

    fn rates(&self, stats: &ContainerStats) -> Option<Rates> {
        let earlier = self.earlier.as_ref().filter(|_| !self.is_apart(stats));
        Rates::between(earlier.unwrap_or(&self.last), stats)
    }

    /// What is not apart from the last ones does not take their place, or those who ask often would never see numbers that are.
    fn remember(&mut self, stats: ContainerStats) {
        if self.is_apart(&stats) {
            self.earlier = Some(std::mem::replace(&mut self.last, stats));
        } else if self.last.observed_at.since(stats.observed_at) >= APART {
            // The clock was set back.
            *self = Before::new(stats);
        }
    }
}

impl Earlier {
    /// Adds rates since the numbers before, and remembers these. Of `all` containers that run, those that are left out are forgotten.
    pub(super) fn compare(&mut self, usage: &mut NodeUsage, all: bool) {
        for container in &mut usage.containers {
            container.rates = self.0.get(&container.id).and_then(|before| before.rates(&container.stats));
        }
        if all {
            // What could not be told for once goes on.
            let told = usage.containers.iter().map(|container| container.id.as_str());
            let here: HashSet<&str> = told.chain(usage.errors.iter().map(|error| error.container.as_str())).collect();
            self.0.retain(|id, _| here.contains(id.as_str()));
        }
        for container in &usage.containers {
            let stats = container.stats.clone();
            match self.0.entry(container.id.clone()) {
                Entry::Occupied(mut before) => before.get_mut().remember(stats),
                Entry::Vacant(none) => {
                    none.insert(Before::new(stats));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, ErrorKind};
    use crate::time::Timestamp;
    use crate::usage::{ContainerUsage, UsageError};

    /// What is told of one container after so many milliseconds in which it used half a core, and the time that its rates are over.
    fn compared(earlier: &mut Earlier, millis: u32) -> Option<f64> {
        let begun = Timestamp::from_unix_seconds(1_000_000).unwrap();
        let mut stats = ContainerStats::at(begun.saturating_add(Duration::from_millis(millis.into())));
        stats.cpu.total_seconds = f64::from(millis) / 2000.0;
        let mut usage = NodeUsage::at("n", stats.observed_at);
        usage.containers.push(ContainerUsage::new("c", "c", stats));
        earlier.compare(&mut usage, true);
        let rates = usage.containers[0].rates?;
        assert!((rates.cpu_percent - 50.0).abs() < 1e-6, "{rates:?}");
        Some((rates.interval_seconds * 1000.0).round() / 1000.0)
    }

    #[test]
    fn numbers_that_could_not_be_had_for_once() {
        let mut earlier = Earlier::default();
        assert_eq!(compared(&mut earlier, 0), None);
        let mut failed = NodeUsage::at("n", Timestamp::now());
        failed.errors.push(UsageError::new("c", &Error::new(ErrorKind::Unavailable, "busy")));
        earlier.compare(&mut failed, true);
        assert_eq!(compared(&mut earlier, 4000), Some(4.0));
        // It has ended.
        earlier.compare(&mut NodeUsage::at("n", Timestamp::now()), true);
        assert_eq!(compared(&mut earlier, 6000), None);
    }

    #[test]
    fn rates_between_two_who_ask() {
        let mut earlier = Earlier::default();
        // A second one asks shortly before each look of the first.
        let rates = [0, 1970, 2000, 3970, 4000].map(|millis| compared(&mut earlier, millis));
        assert_eq!(rates, [None, Some(1.97), Some(2.0), Some(2.0), Some(2.03)]);
        // And one who asks all the time.
        let rates = [4500, 4900, 5000, 5500].map(|millis| compared(&mut earlier, millis));
        assert_eq!(rates, [Some(2.53), Some(2.93), Some(1.03), Some(1.53)]);
        // The clock is set back.
        let rates = [100, 200].map(|millis| compared(&mut earlier, millis));
        assert_eq!(rates, [None, Some(0.1)]);
    }
}

//! What counters mean for the time between two samples.

use serde::{Deserialize, Serialize};

use crate::stats::ContainerStats;

/// What was used per second, and how much of the processor, between two samples. Members whose counters are not told are absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct Rates {
    /// The time between the two samples, in seconds.
    pub interval_seconds: f64,
    /// Processor time in percent of one core: two busy cores are 200.
    pub cpu_percent: f64,
    /// Of the time, in percent, how long its limit held it back; several threads add up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttled_percent: Option<f64>,
    /// Bytes read from block devices per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_bytes_per_second: Option<f64>,
    /// Bytes written to block devices per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written_bytes_per_second: Option<f64>,
    /// Bytes received per second, all interfaces together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received_bytes_per_second: Option<f64>,
    /// Bytes sent per second, all interfaces together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_bytes_per_second: Option<f64>,
}

impl Rates {
    /// Between two samples of one container, by the moments at which they were observed. A counter that went down began anew: then
    /// what it shows came since.
    ///
    /// `None` when no time is between them.
    #[must_use]
    pub fn between(earlier: &ContainerStats, later: &ContainerStats) -> Option<Self> {
        Rates::over(earlier, later, later.observed_at.since(earlier.observed_at).as_secs_f64())
    }

    /// The same where so many seconds are between them, by a clock that nobody sets.
    #[must_use]
    pub fn over(earlier: &ContainerStats, later: &ContainerStats, seconds: f64) -> Option<Self> {
        if seconds <= 0.0 {
            return None;
        }
        let io = |stats: &ContainerStats| stats.block_io.clone().unwrap_or_default();
        let both_io = earlier.block_io.is_some() && later.block_io.is_some();
        // One by one: an interface that is taken away takes its numbers out of a sum.
        let network = |of: fn(&crate::stats::NetworkStats) -> u64| {
            let before = |name: &str| earlier.networks.iter().find(|network| network.name == name);
            let both = later.networks.iter().filter_map(|network| Some((of(before(&network.name)?), of(network))));
            let both: Vec<_> = both.collect();
            (!both.is_empty()).then(|| both.into_iter().map(|(a, b)| Rates::of_counters(a, b, seconds)).sum())
        };
        let throttled = earlier.cpu.throttled_seconds.zip(later.cpu.throttled_seconds);
        Some(Rates {
            interval_seconds: seconds,
            cpu_percent: grown(earlier.cpu.total_seconds, later.cpu.total_seconds) / seconds * 100.0,
            throttled_percent: throttled.map(|(earlier, later)| grown(earlier, later) / seconds * 100.0),
            read_bytes_per_second: both_io
                .then(|| Rates::of_counters(io(earlier).read_bytes, io(later).read_bytes, seconds)),
            written_bytes_per_second: both_io
                .then(|| Rates::of_counters(io(earlier).written_bytes, io(later).written_bytes, seconds)),
            received_bytes_per_second: network(|network| network.received_bytes),
            sent_bytes_per_second: network(|network| network.sent_bytes),
        })
    }

    /// How fast a counter grew, per second.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "a rate has no more digits than a double")]
    pub fn of_counters(earlier: u64, later: u64, seconds: f64) -> f64 {
        later.checked_sub(earlier).unwrap_or(later) as f64 / seconds
    }
}

fn grown(earlier: f64, later: f64) -> f64 {
    if later >= earlier { later - earlier } else { later }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::{BlockIoStats, NetworkStats};
    use crate::time::Timestamp;

    fn sample(second: i64, cpu: f64, bytes: u64) -> ContainerStats {
        let mut stats = ContainerStats::at(Timestamp::from_unix_seconds(second).unwrap());
        stats.cpu.total_seconds = cpu;
        stats.block_io = Some(BlockIoStats { read_bytes: bytes, written_bytes: 2 * bytes });
        let network = |name: &str| NetworkStats {
            name: name.to_owned(),
            received_bytes: bytes,
            sent_bytes: 3 * bytes,
            ..NetworkStats::default()
        };
        stats.networks = vec![network("eth0"), network("eth1")];
        stats
    }

    #[test]
    fn what_was_used_between_two_samples() {
        let rates = Rates::between(&sample(10, 1.0, 100), &sample(12, 4.0, 300)).unwrap();
        assert!((rates.cpu_percent - 150.0).abs() < 1e-9 && (rates.interval_seconds - 2.0).abs() < 1e-9);
        let numbers = [
            rates.read_bytes_per_second,
            rates.written_bytes_per_second,
            rates.received_bytes_per_second,
            rates.sent_bytes_per_second,
            rates.throttled_percent,
        ];
        assert_eq!(numbers, [Some(100.0), Some(200.0), Some(200.0), Some(600.0), None]);
        assert_eq!(Rates::between(&sample(10, 1.0, 1), &sample(10, 2.0, 2)), None);
    }

    #[test]
    fn an_interface_that_is_taken_away_takes_nothing_from_the_others() {
        let (before, mut after) = (sample(10, 1.0, 100_000), sample(12, 1.0, 100_200));
        after.networks.pop();
        let rates = Rates::between(&before, &after).unwrap();
        assert_eq!((rates.received_bytes_per_second, rates.sent_bytes_per_second), (Some(100.0), Some(300.0)));
        after.networks.clear();
        assert_eq!(Rates::between(&before, &after).unwrap().received_bytes_per_second, None);
    }

    #[test]
    fn a_counter_that_began_anew_is_no_negative_rate() {
        let rates = Rates::between(&sample(10, 9.0, 900), &sample(11, 0.5, 50)).unwrap();
        assert_eq!((rates.cpu_percent, rates.read_bytes_per_second), (50.0, Some(50.0)));
    }
}

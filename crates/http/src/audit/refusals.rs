//! Requests without an identity, counted: whoever is not let in must not be able to fill the log. Of each minute the first one is
//! told by itself, and the others by their number.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// For so long they are counted together.
pub(super) const WINDOW: Duration = Duration::from_secs(60);
/// So many addresses are told apart.
const PEERS_MAX: usize = 8;
/// What the others are told as.
const OTHERS: &str = "others";

/// Those of the present window.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    since: Option<Instant>,
    counted: u64,
    peers: BTreeMap<String, u64>,
}

/// How many there were, in all and from each address.
pub(super) type Counted = (u64, BTreeMap<String, u64>);

impl Refusals {
    /// One more. Says whether it is the first of a window, which is told by itself.
    pub(super) fn add(&mut self, peer: &str, now: Instant) -> bool {
        if self.since.is_none() {
            self.since = Some(now);
            return true;
        }
        self.counted += 1;
        let known = self.peers.contains_key(peer) || self.peers.len() < PEERS_MAX;
        *self.peers.entry(if known { peer } else { OTHERS }.to_owned()).or_default() += 1;
        false
    }

    /// Those of a window that is over, or of the present one when they are wanted `early`.
    pub(super) fn take(&mut self, now: Instant, early: bool) -> Option<Counted> {
        let over = self.since.is_some_and(|since| now.saturating_duration_since(since) >= WINDOW);
        if over {
            self.since = None;
        }
        if self.counted == 0 || !(over || early) {
            return None;
        }
        Some((std::mem::take(&mut self.counted), std::mem::take(&mut self.peers)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_two_lines_a_minute() {
        let mut refusals = Refusals::default();
        let begun = Instant::now();
        let mut lines = 0;
        for number in 0..60_000_u64 {
            let now = begun + Duration::from_millis(number * 5);
            lines += u64::from(refusals.take(now, false).is_some());
            lines += u64::from(refusals.add(&format!("10.0.0.{}", number % 100), now));
        }
        let (counted, peers) = refusals.take(begun + Duration::from_secs(600), false).unwrap();
        assert!(lines <= 10, "{lines} lines in five minutes");
        assert_eq!((counted, peers.len()), (11_999, PEERS_MAX + 1));
        assert_eq!(peers.values().sum::<u64>(), counted);
        assert!(refusals.take(begun + Duration::from_secs(700), true).is_none());
        assert!(refusals.add("a", begun) && !refusals.add("a", begun));
        assert_eq!(refusals.take(begun, true).unwrap().0, 1, "early");
    }
}

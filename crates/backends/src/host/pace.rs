//! How often it is looked: as often as was asked for, unless that costs more of the processor than was allowed.
//!
//! What a look costs is the processor time of the thread that looks. The pause after it is so long that looking stays within the
//! budget on average; a look that cost much counts at once, and is forgotten slowly, so that a machine whose load goes up and down
//! is not looked at too often in between.

use std::time::Duration;

/// How much of a dearer look before is still counted with the next one.
const REMEMBERED: f64 = 0.75;

/// The pace of a sampler.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// From the beginning of a look to that of the next.
    asked: Duration,
    /// The part of one processor that may be used: 0.02 is two percent.
    budget: f64,
    cost_seconds: f64,
    interval: Duration,
}

impl Pace {
    /// `budget` is more than nothing and at most one processor.
    pub(super) fn new(asked: Duration, budget: f64) -> Self {
        Pace { asked, budget: budget.clamp(0.0001, 1.0), cost_seconds: 0.0, interval: asked }
    }

    /// Notes what a look cost; gives how long after its beginning the next one is due.
    pub(super) fn after(&mut self, cost: Duration) -> Duration {
        let cost = cost.as_secs_f64();
        self.cost_seconds = cost.max(self.cost_seconds * REMEMBERED + cost * (1.0 - REMEMBERED));
        let needed = Duration::try_from_secs_f64(self.cost_seconds / self.budget).unwrap_or(Duration::MAX);
        self.interval = self.asked.max(needed);
        self.interval
    }

    /// The interval that holds now.
    pub(super) fn interval(&self) -> Duration {
        self.interval
    }

    /// Whether it is longer than was asked for.
    pub(super) fn is_slowed(&self) -> bool {
        self.interval > self.asked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn what_is_cheap_is_looked_at_as_asked() {
        let mut pace = Pace::new(2000 * MS, 0.02);
        for _ in 0..10 {
            assert_eq!(pace.after(40 * MS), 2000 * MS);
            assert!(!pace.is_slowed());
        }
    }

    #[test]
    fn what_is_dear_is_looked_at_less_often() {
        let mut pace = Pace::new(1000 * MS, 0.01);
        assert_eq!(pace.after(50 * MS), 5000 * MS);
        assert!(pace.is_slowed());
        // And as asked again, some looks after it became cheap.
        let intervals: Vec<_> = (0..30).map(|_| pace.after(MS)).collect();
        assert!(intervals.is_sorted_by(|a, b| a >= b));
        assert_eq!((intervals[0] > 3000 * MS, pace.interval(), pace.is_slowed()), (true, 1000 * MS, false));
    }

    #[test]
    fn the_budget_holds_whatever_looks_cost() {
        let mut pace = Pace::new(1000 * MS, 0.01);
        let (mut used, mut passed) = (0.0, 0.0);
        for look in 0..1000_u32 {
            // Between one and a hundred milliseconds, in no order.
            let cost = MS * (1 + look.wrapping_mul(2_654_435_761) % 100);
            used += cost.as_secs_f64();
            passed += pace.after(cost).as_secs_f64();
        }
        assert!(used / passed <= 0.01, "{}", used / passed);
    }
}

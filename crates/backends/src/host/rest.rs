//! When a container is at rest, so that what cannot have changed in it is not read again.
//!
//! The kernel charges a group's processor time, in nanoseconds, whenever one of its processes stops to run. Where that time, the
//! memory and the number of processes are what they were, nothing in it ran: it was not held back, nothing of it was ended for want
//! of memory, and its processes are as they were. What others bring about goes on, and is read: packets that come; pages that are
//! written back for it, while it has any; and for a while the pressure of processes that wait without running, and the number of
//! those that ended until somebody asks for how. What remains is rare, as that the kernel takes pages from a container while as many
//! come to it by another way; so all of it is read anew once in a while whatever it looks like.

use std::time::{Duration, Instant};

use super::files::group::Pressure;
use super::groups::Counters;

/// All of it is read again when it was not for so long,
const AGAIN: Duration = Duration::from_secs(8);
/// and of many containers not at the same look, but spread over so long.
const SPREAD_MS: u64 = 8000;
/// The kernel renews the averages of pressure every two seconds: zero for longer than that is zero.
const SETTLED: Duration = Duration::from_secs(5);

/// What is known of a container that may be at rest.
#[derive(Debug)]
pub(super) struct Rest {
    again: Duration,
    last: Option<Last>,
}

/// When all of it was read.
#[derive(Debug)]
struct Last {
    /// But its interfaces.
    counters: Counters,
    read: Instant,
    /// When it was first seen to have run for as long as it has.
    ran: Instant,
    /// It has rested for so long, and without pressure, that neither that nor what has ended will show.
    is_settled: bool,
}

impl Rest {
    /// Containers with other numbers are read anew at other times.
    pub(super) fn new(number: u32) -> Self {
        // Neighbouring numbers are far apart, so that what began one after the other is spread, too.
        let spread = u64::from(number.wrapping_mul(0x9e37_79b9) >> 16) % SPREAD_MS;
        Rest { again: AGAIN + Duration::from_millis(spread), last: None }
    }

    /// Notes that all of it was read.
    pub(super) fn is_read(&mut self, now: Instant, counters: &mut Counters) {
        let ran = self.last.as_ref().filter(|last| last.counters.cpu == counters.cpu).map_or(now, |last| last.ran);
        let nics = counters.nics.take();
        let mut last = Last { counters: counters.clone(), read: now, ran, is_settled: false };
        counters.nics = nics;
        last.settle(now);
        self.last = Some(last);
    }

    /// Notes that something ran meanwhile.
    pub(super) fn is_over(&mut self) {
        self.last = None;
    }

    /// What it was when all of it was read, but its interfaces; nothing when that is to be done again.
    pub(super) fn before(&self, now: Instant) -> Option<&Counters> {
        self.last.as_ref().filter(|last| now.duration_since(last.read) < self.again).map(|last| &last.counters)
    }

    /// Whether it has rested for so long that its pressure and the number of its processes are what they were.
    pub(super) fn is_settled(&self) -> bool {
        self.last.as_ref().is_some_and(|last| last.is_settled)
    }

    /// Whether nothing of it is still to be written to a disk, besides.
    pub(super) fn is_written(&self) -> bool {
        self.last.as_ref().is_some_and(|last| {
            let memory = &last.counters.memory;
            last.is_settled && (memory.dirty, memory.writeback) == (Some(0), Some(0))
        })
    }

    /// Notes what its pressure is while it rests.
    pub(super) fn waits(&mut self, now: Instant, pressure: [Option<Pressure>; 3]) {
        if let Some(last) = &mut self.last {
            last.counters.pressure = pressure;
            last.settle(now);
        }
    }
}

impl Last {
    fn settle(&mut self, now: Instant) {
        let all = self.counters.pressure.iter().flatten().flat_map(|pressure| [pressure.some, pressure.full]);
        let is_zero = all.flatten().all(|(percent, _)| percent <= 0.0);
        self.is_settled = is_zero && now.duration_since(self.ran) >= SETTLED;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::files::group::Cpu;

    fn counters(total_ns: u64, percent: f64) -> Counters {
        let pressure = Pressure { some: Some((percent, 1)), full: Some((0.0, 0)) };
        Counters {
            cpu: Cpu { total_ns, ..Cpu::default() },
            pressure: [None, Some(pressure), None],
            nics: Some(Vec::new()),
            ..Counters::default()
        }
    }

    #[test]
    fn all_of_it_is_read_again_once_in_a_while() {
        let begin = Instant::now();
        let agains: Vec<_> = (100..1100).map(|number| Rest::new(number).again.as_millis() / 1000).collect();
        for second in 8..16 {
            let then = agains.iter().filter(|again| **again == second).count();
            assert!((80..180).contains(&then), "{then} of 1000 after {second} s");
        }
        let mut rest = Rest::new(7);
        assert!(rest.before(begin).is_none() && !rest.is_settled());
        let mut read = counters(5, 0.0);
        rest.is_read(begin, &mut read);
        assert_eq!(read.nics, Some(Vec::new()), "it is left as it was");
        let before = rest.before(begin + Duration::from_secs(7)).unwrap();
        assert_eq!((before.cpu.total_ns, &before.nics), (5, &None));
        assert!(rest.before(begin + Duration::from_secs(16)).is_none());
    }

    #[test]
    fn pressure_is_looked_at_until_none_can_show() {
        let begin = Instant::now();
        let after = |seconds| begin + Duration::from_secs(seconds);
        let mut rest = Rest::new(7);
        rest.is_read(begin, &mut counters(5, 0.0));
        assert!(!rest.is_settled(), "it may have begun to wait just now");
        rest.waits(after(4), counters(5, 0.0).pressure);
        assert!(!rest.is_settled());
        rest.waits(after(6), counters(5, 0.01).pressure);
        assert!(!rest.is_settled() && rest.before(after(7)).unwrap().pressure == counters(5, 0.01).pressure);
        rest.waits(after(8), counters(5, 0.0).pressure);
        assert!(rest.is_settled());
        rest.is_read(after(20), &mut counters(5, 0.0));
        assert!(rest.is_settled(), "it has not run since");
        rest.is_read(after(22), &mut counters(6, 0.0));
        assert!(!rest.is_settled() && rest.before(after(23)).is_some());
        let mut written = counters(6, 0.0);
        (written.memory.dirty, written.memory.writeback) = (Some(0), Some(4096));
        rest.is_read(after(30), &mut written);
        assert!(rest.is_settled() && !rest.is_written(), "the rest is about to be charged to it");
        written.memory.writeback = Some(0);
        rest.is_read(after(30), &mut written);
        assert!(rest.is_written());
        rest.is_read(after(31), &mut Counters { cpu: counters(7, 0.0).cpu, ..written });
        assert!(!rest.is_settled() && !rest.is_written());
        rest.is_over();
        assert!(!rest.is_settled() && rest.before(after(23)).is_none());
    }
}

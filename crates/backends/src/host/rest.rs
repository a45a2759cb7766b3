//! When a container is at rest, so that what cannot have changed in it is not read again.
//!
//! The kernel charges a group's processor time whenever one of its processes stops to run. Where that time and the memory are what
//! they were, nothing in it ran: it was not held back, nothing of it was ended for want of memory, and its processes are as they
//! were. It rests once that is so for some seconds, since some things come a little later: the parts of its memory, which the kernel
//! adds up every two seconds, the pressure of processes that wait without running, and the end of those that nobody has asked about.
//! What others bring about goes on, and is read: packets that come, and pages that are written back for it while it has any. What
//! remains is rare, as that the kernel takes pages from a container while as many come to it by another way; so all of it is read
//! anew once in a while whatever it looks like.

use std::time::{Duration, Instant};

use super::groups::Counters;

/// After which times it rests, and is read anew.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// It rests when it has not run for so long. The kernel brings the parts of memory and the averages of pressure up to date every
    /// two seconds.
    pub(super) settled: Duration,
    /// All of it is read again when it was not for so long, and up to so long again, so that many are not read at the same look.
    pub(super) again: Duration,
}

impl Times {
    /// Those of this machine.
    pub(super) const HERE: Times = Times { settled: Duration::from_secs(5), again: Duration::from_secs(8) };
}

/// What is known of a container that may be at rest.
#[derive(Debug)]
pub(super) struct Rest {
    again: Duration,
    settled: Duration,
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
    /// It had rested for long enough then, and without pressure.
    rests: bool,
}

impl Rest {
    /// Containers with other numbers are read anew at other times.
    pub(super) fn new(number: u32, times: Times) -> Self {
        // A spread has sixteen bits.
        let again = times.again + times.again * spread(number) / (1 << 16);
        Rest { again, settled: times.settled, last: None }
    }

    /// Notes that all of it was read; `is_proven` when nothing in it ran since its processes were looked at.
    pub(super) fn is_read(&mut self, now: Instant, counters: &mut Counters, is_proven: bool) {
        let ran = self.last.as_ref().filter(|last| last.counters.cpu == counters.cpu).map_or(now, |last| last.ran);
        let pressure = counters.pressure.iter().flatten().flat_map(|pressure| [pressure.some, pressure.full]);
        let waits = pressure.flatten().any(|(percent, _)| percent > 0.0);
        let rests = is_proven && !waits && now.duration_since(ran) >= self.settled;
        let nics = counters.nics.take();
        self.last = Some(Last { counters: counters.clone(), read: now, ran, rests });
        counters.nics = nics;
    }

    /// What it was when all of it was read, but its interfaces; nothing when it did not rest then, or that is to be done again.
    pub(super) fn before(&self, now: Instant) -> Option<&Counters> {
        let last = self.last.as_ref().filter(|last| last.rests && now.duration_since(last.read) < self.again)?;
        Some(&last.counters)
    }
}

/// Nothing of it is still to be written to a disk.
pub(super) fn is_written(counters: &Counters) -> bool {
    (counters.memory.dirty, counters.memory.writeback) == (Some(0), Some(0))
}

/// Another number for each, far apart for neighbouring ones: what began one after the other is not all done at once.
pub(super) fn spread(number: u32) -> u32 {
    number.wrapping_mul(0x9e37_79b9) >> 16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::files::group::{Cpu, Pressure};

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
        let agains: Vec<_> = (100..1100).map(|pid| Rest::new(pid, Times::HERE).again.as_millis() / 1000).collect();
        for second in 8..16 {
            let then = agains.iter().filter(|again| **again == second).count();
            assert!((80..180).contains(&then), "{then} of 1000 after {second} s");
        }
        let mut rest = Rest::new(7, Times { settled: Duration::ZERO, ..Times::HERE });
        assert!(rest.before(begin).is_none());
        let mut read = counters(5, 0.0);
        rest.is_read(begin, &mut read, true);
        assert_eq!(read.nics, Some(Vec::new()), "it is left as it was");
        let before = rest.before(begin + Duration::from_secs(7)).unwrap();
        assert_eq!((before.cpu.total_ns, &before.nics), (5, &None));
        assert!(rest.before(begin + Duration::from_secs(16)).is_none());
    }

    #[test]
    fn it_rests_when_it_has_neither_run_nor_waited_for_a_while() {
        let begin = Instant::now();
        let mut rest = Rest::new(7, Times::HERE);
        let mut read = |second, total_ns, percent, is_proven| {
            let then = begin + Duration::from_secs(second);
            rest.is_read(then, &mut counters(total_ns, percent), is_proven);
            rest.before(then + Duration::from_secs(1)).is_some()
        };
        assert!(!read(0, 5, 0.0, true), "it may have run just now");
        assert!(!read(4, 5, 0.0, true));
        assert!(!read(5, 5, 0.01, true), "it waits for something");
        assert!(!read(6, 5, 0.0, false), "something may have run since its processes were looked at");
        assert!(read(7, 5, 0.0, true));
        assert!(read(20, 5, 0.0, true), "it has not run since");
        assert!(!read(22, 6, 0.0, true));
        assert!(!read(26, 6, 0.0, true) && read(27, 6, 0.0, true));
    }

    #[test]
    fn what_is_to_be_written_is_told_by_both_numbers() {
        let mut counters = counters(1, 0.0);
        assert!(!is_written(&counters), "a kernel that does not tell");
        for (dirty, writeback) in [(0, 0), (4096, 0), (0, 4096)] {
            (counters.memory.dirty, counters.memory.writeback) = (Some(dirty), Some(writeback));
            assert_eq!(is_written(&counters), dirty + writeback == 0);
        }
    }
}

//! What the kernel tells of a process: its share of a processor and its memory.

use std::fs;

use serde::Serialize;

/// Ticks a second in `/proc`, on every Linux there is.
pub(crate) const TICKS: f64 = 100.0;
const PAGE: u64 = 4096;

/// What a process uses.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Usage {
    /// Percent of one processor since its start.
    pub(crate) cpu: f64,
    /// Bytes.
    pub(crate) rss: u64,
    /// Bytes.
    pub(crate) vms: u64,
    /// Bytes.
    pub(crate) swap: u64,
}

impl Usage {
    /// Nothing for a process that is gone.
    pub(crate) fn of(pid: i32) -> Self {
        Usage::read(pid).unwrap_or_default()
    }

    fn read(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name before it may have blanks and brackets.
        let fields: Vec<&str> = stat.get(stat.rfind(')')? + 2..)?.split(' ').collect();
        let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
        let uptime = fs::read_to_string("/proc/uptime").ok()?;
        let uptime: f64 = uptime.split(' ').next()?.parse().ok()?;
        let ticks = |index| number(index).map(|ticks| ticks as f64 / TICKS);
        let (worked, age) = (ticks(11)? + ticks(12)?, uptime - ticks(19)?);
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let swap = status
            .lines()
            .find_map(|line| line.strip_prefix("VmSwap:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        Some(Usage {
            cpu: if age > 0.0 { worked / age * 100.0 } else { 0.0 },
            rss: number(21)? * PAGE,
            vms: number(20)?,
            swap: swap.unwrap_or_default() * 1024,
        })
    }
}

impl std::ops::AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.cpu += other.cpu;
        self.rss += other.rss;
        self.vms += other.vms;
        self.swap += other.swap;
    }
}

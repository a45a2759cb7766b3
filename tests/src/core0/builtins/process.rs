//! `process.*`: the processes that this one sees in `/proc`.

use std::fs;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use procfs::process::Process;
use serde_json::{Value, json};

use super::arguments::{INT, INT32, Shape};
use super::{Failure, errors};

const LIST: Shape = Shape { go: "builtin.processListArguments", fields: &[("pid", INT32)] };
const KILL: Shape = Shape { go: "builtin.processKillArguments", fields: &[("pid", INT32), ("signal", INT)] };

/// The commands of this group; `None` for any other name.
pub(super) fn call(command: &str, arguments: &Value) -> Option<Result<Value, Failure>> {
    Some(match command {
        "process.list" => LIST.decode(arguments, 500).and_then(|arguments| list(arguments.whole("pid"))),
        "process.kill" => {
            KILL.decode(arguments, 500).and_then(|arguments| signal(arguments.whole("pid"), arguments.whole("signal")))
        }
        _ => return None,
    })
}

fn list(pid: i64) -> Result<Value, Failure> {
    let pids: Vec<i32> = if pid > 0 {
        i32::try_from(pid).into_iter().collect()
    } else {
        let entries = fs::read_dir("/proc").map_err(errors::at("open", "/proc"))?.flatten();
        let mut pids: Vec<i32> = entries.filter_map(|entry| entry.file_name().to_string_lossy().parse().ok()).collect();
        pids.sort_unstable();
        pids
    };
    let stat = errors::read("/proc/stat")?;
    let boot = stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse::<u64>().ok()).unwrap_or(0);
    // One that ended between the two looks is left out.
    Ok(pids.into_iter().filter_map(|pid| describe(pid, boot)).collect())
}

fn describe(pid: i32, boot: u64) -> Option<Value> {
    let process = Process::new(pid).ok()?;
    let stat = process.stat().ok()?;
    let status = process.status().ok();
    let cmdline = process.cmdline().unwrap_or_default();
    let ticks = procfs::ticks_per_second();
    #[expect(clippy::cast_precision_loss, reason = "seconds since a boot")]
    let seconds = |time: u64| time as f64 / ticks as f64;
    // The kernel cuts a name after 15 bytes; the program's own has it in full.
    let base = cmdline.first().and_then(|program| program.rsplit('/').next()).unwrap_or_default();
    let name = if stat.comm.len() >= 15 && base.starts_with(&stat.comm) { base } else { &stat.comm };
    let swap = status.and_then(|status| status.vmswap).unwrap_or(0) * 1024;
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).ok().and_then(|text| limits(&text));
    let open = fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
    Some(json!({
        "pid": pid, "ppid": stat.ppid, "cmdline": cmdline.join(" "), "name": name,
        "createtime": (stat.starttime / ticks + boot) * 1000,
        "cpu": {
            "guestnice": 0, "idle": 0, "iowait": seconds(stat.delayacct_blkio_ticks.unwrap_or(0)), "irq": 0, "nice": 0,
            "softirq": 0, "steal": 0, "stolen": 0, "system": seconds(stat.stime), "user": seconds(stat.utime),
        },
        "rss": stat.rss * procfs::page_size(), "vms": stat.vsize, "swap": swap,
        "rlimit": limits.unwrap_or_else(|| json!([])), "ofd": open,
    }))
}

/// Limits in the order of their numbers. The node has 32 bits for each: no limit is the largest of them, and one that does
/// not fit leaves it without any.
fn limits(text: &str) -> Option<Value> {
    let limit = |word: &str| if word == "unlimited" { Some(i32::MAX) } else { word.parse::<i32>().ok() };
    let mut limits = Vec::new();
    for (number, line) in text.lines().skip(1).enumerate() {
        // Names have blanks within, and are 26 columns wide.
        let mut words = line.get(26..)?.split_whitespace();
        limits.push(json!({"resource": number, "soft": limit(words.next()?)?, "hard": limit(words.next()?)?}));
    }
    Some(Value::Array(limits))
}

fn signal(pid: i64, number: i64) -> Result<Value, Failure> {
    let failed = |errno: Errno| Failure::new(500, errors::errno(errno as i32));
    if pid <= 1 {
        return Err(Failure::new(500, "invalid PID"));
    }
    let pid = Pid::from_raw(i32::try_from(pid).map_err(|_| failed(Errno::ESRCH))?);
    // 0 asks only whether it is there.
    let signal = match i32::try_from(number) {
        Ok(0) => None,
        Ok(number) => Some(Signal::try_from(number).map_err(|_| failed(Errno::EINVAL))?),
        Err(_) => return Err(failed(Errno::EINVAL)),
    };
    kill(pid, signal).map_err(failed)?;
    Ok(Value::Null)
}

//! The processes of a container as typed values: from `/proc` where the server is on this machine, otherwise from a command
//! inside, which counts as the container does.

use std::io;
use std::sync::Arc;

use roadstead_core::{Error, ErrorKind, Process, ProcessState, Result, Signal, Timestamp};

use super::instance::{Instance, Now, not_running};
use super::recorded;
use super::shared::Lxd;
use crate::host::Cgroup;

/// Prints the three files of every process, each with a line before it. Only what every shell has is used.
const SCRIPT: &str = r#"cd /proc && grep '^btime ' stat && for p in [0-9]*; do
  s=$(cat $p/stat 2>/dev/null) || continue
  printf 'stat %s\n' "$s"
  while read -r k v; do case $k in Uid:) printf 'uid %s\n' "$v";; esac; done <$p/status 2>/dev/null
  printf 'cmd '; tr '\000\n' '\n ' <$p/cmdline 2>/dev/null | while IFS= read -r w || [ -n "$w" ]; do printf '%s\001' "$w"; done; echo
done"#;

/// C170, C171.
pub(super) async fn processes(lxd: &Arc<Lxd>, id: &str) -> Result<Vec<Process>> {
    Instance::read(lxd, id).await?.must_have_processes()?;
    let pid = Now::read(lxd, id).await?.pid().ok_or_else(not_running)?;
    if let Some(cgroup) = cgroup(lxd, pid, id) {
        return cgroup.processes().map_err(ended);
    }
    let output = recorded::run(lxd, id, &["/bin/sh", "-c", SCRIPT]).await?;
    if output.exit_code == 127 || output.exit_code == 126 {
        return Err(Error::unsupported("listing processes of a container that has no shell, from another machine"));
    }
    let mut processes = parse(&output.stdout);
    processes.sort_by_key(|process| process.pid);
    if processes.is_empty() {
        return Err(Error::new(ErrorKind::Unexpected, "the container's processes cannot be read"));
    }
    Ok(processes)
}

/// The container's cgroup, when it is on this machine.
pub(super) fn cgroup(lxd: &Lxd, pid: u32, id: &str) -> Option<Cgroup> {
    if !lxd.local {
        return None;
    }
    Cgroup::named(pid, &group_name(lxd, id))
}

/// The name of the container's cgroup, unless another server on the machine had it first.
pub(super) fn group_name(lxd: &Lxd, id: &str) -> String {
    match lxd.client.project() {
        None | Some("default") => format!("lxc.payload.{id}"),
        Some(project) => format!("lxc.payload.{project}_{id}"),
    }
}

/// Sends a signal to a process that is known to be the container's.
pub(super) fn send(pid: u32, signal: Signal) -> Result<()> {
    let target = i32::try_from(pid).map_err(|_| not_running())?;
    // Through the number: the real-time signals have no name there.
    let sent = nix::sys::signal::Signal::try_from(i32::from(signal.number()));
    match sent.and_then(|signal| nix::sys::signal::kill(nix::unistd::Pid::from_raw(target), signal)) {
        Ok(()) => Ok(()),
        Err(nix::errno::Errno::ESRCH) => Err(not_running()),
        Err(nix::errno::Errno::EPERM) => {
            Err(Error::new(ErrorKind::PermissionDenied, "signals to this process need more rights on this machine"))
        }
        Err(nix::errno::Errno::EINVAL) => Err(Error::unsupported(format!("sending signal {signal}"))),
        Err(errno) => Err(Error::new(ErrorKind::Unexpected, format!("the signal was not sent: {errno}"))),
    }
}

/// What the kernel says of a container that ends while it is looked at.
pub(super) fn ended(error: io::Error) -> Error {
    if error.kind() == io::ErrorKind::NotFound {
        not_running()
    } else {
        Error::new(ErrorKind::Unexpected, format!("the kernel's files cannot be read: {error}")).with_source(error)
    }
}

/// Clock ticks and pages are not told inside; Linux has had these for users on every machine for decades.
const TICKS: u64 = 100;
const PAGE: u64 = 4096;

pub(super) fn parse(text: &str) -> Vec<Process> {
    let mut boot = None;
    let mut processes: Vec<Process> = Vec::new();
    // A carriage return before the end of a line is part of a word.
    for line in text.split('\n') {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match (word, processes.last_mut()) {
            ("btime", _) => boot = rest.trim().parse::<u64>().ok(),
            ("stat", _) => processes.extend(stat(rest, boot)),
            ("uid", Some(process)) => {
                // The second is the effective one.
                process.user = rest.split_ascii_whitespace().nth(1).unwrap_or_default().to_owned();
            }
            ("cmd", Some(process)) => {
                process.cmdline = rest.split_terminator('\u{1}').map(str::to_owned).collect();
            }
            _ => {}
        }
    }
    processes
}

/// A line of `/proc/PID/stat`, whose second member is a name in parentheses that may hold anything.
fn stat(line: &str, boot: Option<u64>) -> Option<Process> {
    let (pid, rest) = line.split_once(" (")?;
    let (name, rest) = rest.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    // Counted from the state, which is the third member of the line.
    let number = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
    let mut process = Process::default();
    process.pid = pid.parse().ok()?;
    process.name = name.to_owned();
    process.state = ProcessState::from_letter(fields.first()?.chars().next()?);
    process.ppid = number(1).and_then(|ppid| u32::try_from(ppid).ok()).unwrap_or(0);
    let (user, system) = (number(11)?, number(12)?);
    process.cpu_seconds = seconds(user.saturating_add(system));
    process.cpu_user_seconds = Some(seconds(user));
    process.cpu_system_seconds = Some(seconds(system));
    process.threads = number(17).and_then(|count| u32::try_from(count).ok());
    process.vms_bytes = number(20);
    process.rss_bytes = number(21).map(|pages| pages.saturating_mul(PAGE));
    process.started_at = boot.zip(number(19)).and_then(|(boot, ticks)| {
        Timestamp::from_unix_nanos(
            i128::from(boot) * 1_000_000_000 + i128::from(ticks) * 1_000_000_000 / i128::from(TICKS),
        )
    });
    Some(process)
}

#[allow(clippy::cast_precision_loss, reason = "ticks of centuries fit")]
pub(super) fn seconds(ticks: u64) -> f64 {
    ticks as f64 / TICKS as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_script_prints_is_read() {
        let output = std::process::Command::new("/bin/sh").args(["-c", SCRIPT]).output().unwrap();
        let found = parse(&String::from_utf8_lossy(&output.stdout));
        let own = found.iter().find(|process| process.pid == std::process::id()).unwrap();
        assert!(own.rss_bytes > Some(0) && own.vms_bytes > own.rss_bytes && own.threads >= Some(1));
        let expected: Vec<_> = std::env::args().collect();
        assert_eq!(own.cmdline, expected);
        assert!(own.user.parse::<u32>().is_ok(), "{own:?}");
        let age = Timestamp::now().since(own.started_at.unwrap());
        assert!(age.as_secs() < 3600, "{age:?}");
        assert!(found.iter().any(|process| process.pid == 1 && process.ppid == 0));
    }

    #[test]
    fn strange_lines_are_left_out() {
        let text = "btime x\nstat 5 (a) b) S 1 5 5 0 -1 0 0 0 0 0 250 50 0 0 20 0 3 0 100 4096 2 0\nuid 7\t8\t7\t7\ncmd a b\u{1}\u{1}\nstat x\nuid\ncmd z\u{1}\n";
        let found = parse(text);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].name.as_str(), found[0].state, found[0].ppid), ("a) b", ProcessState::Sleeping, 1));
        assert!((found[0].cpu_seconds - 3.0).abs() < 1e-9);
        assert_eq!((found[0].cpu_user_seconds, found[0].cpu_system_seconds), (Some(2.5), Some(0.5)));
        assert_eq!((found[0].rss_bytes, found[0].started_at), (Some(8192), None));
    }

    #[test]
    fn a_word_may_end_with_a_carriage_return() {
        let text = "stat 5 (a) S 1 5 5 0 -1 0 0 0 0 0 250 50 0 0 20 0 3 0 100 4096 2 0\ncmd a b\r\n";
        assert_eq!(parse(text)[0].cmdline, ["a b\r"]);
    }
}

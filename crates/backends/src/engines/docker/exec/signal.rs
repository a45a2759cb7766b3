//! Signals to the process of an exec, for which Docker has no call.
//!
//! Where the engine runs on this machine its process id is a process of ours, which is signalled directly, once it is
//! certain that the id still belongs to it. Elsewhere a shell is run inside the container, which finds the process by
//! a variable that the job was given, and signals it.

use std::time::Duration;

use futures_util::StreamExt;
use nix::errno::Errno;
use nix::unistd::Pid;
use procfs::process::Process;
use roadstead_core::{Error, ErrorKind, Result, Signal};
use tokio::time::{sleep, timeout};

use super::{Command, Exec, Inspected, MARK, create, exit_code, start};

/// Time for the shell inside the container.
const SHELL_DEADLINE: Duration = Duration::from_secs(20);

/// Of all processes with the mark, which children inherit, the oldest is the job's own. Only what the shell itself can
/// do is used; `read` drops the NULs between variables, so the mark is looked for within the line.
const FIND_AND_SIGNAL: &str = r#"
best= least=
for dir in /proc/[0-9]*; do
  found=
  { while IFS= read -r line || [ "$line" ]; do case $line in *"$2"*) found=1;; esac; done; } 2>/dev/null <"$dir/environ"
  [ "$found" ] || continue
  { IFS= read -r stat; } 2>/dev/null <"$dir/stat" || continue
  signal=$1 mark=$2
  set -- ${stat##*) }
  if [ $# -ge 20 ]; then
    shift 19
    if [ -z "$least" ] || [ "$1" -lt "$least" ]; then least=$1 best=${dir#/proc/}; fi
  fi
  set -- "$signal" "$mark"
done
[ "$best" ] || exit 3
kill -"$1" "$best" || exit 4
"#;

/// The process id inside the container is known already.
const SIGNAL: &str = r#"kill -"$1" "$2" || exit 4"#;

/// A process of this machine, told from a later one with the same number by its start time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HostProcess {
    pid: i32,
    start_ticks: u64,
}

impl HostProcess {
    /// The process with this number, if it belongs to the container.
    pub(super) fn in_container(pid: u32, container: &str) -> Option<Self> {
        let process = Process::new(i32::try_from(pid).ok()?).ok()?;
        let start_ticks = process.stat().ok()?.starttime;
        // Every engine puts the container's id into the name of its control group.
        let inside = process.cgroups().ok()?.into_iter().any(|group| group.pathname.contains(container));
        inside.then_some(HostProcess { pid: process.pid(), start_ticks })
    }

    /// Whether the process is still there.
    fn alive(self) -> bool {
        Process::new(self.pid)
            .and_then(|process| process.stat())
            .is_ok_and(|stat| stat.starttime == self.start_ticks && stat.state != 'Z')
    }

    /// Its number as processes inside the container see it.
    fn number_inside(self) -> Option<i32> {
        Process::new(self.pid).ok()?.status().ok()?.nspid?.last().copied()
    }
}

/// Sends a signal to the process of `exec`. `NotFound` when it has ended.
pub(super) async fn send(exec: &Exec, signal: Signal) -> Result<()> {
    let inspected = super::inspect(&exec.client, &exec.id).await?;
    if inspected.running == Some(false) {
        return Err(gone());
    }
    let Err(error) = signal_running(exec, &inspected, signal).await else { return Ok(()) };
    if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Unavailable) {
        return Err(error);
    }
    // The process may have ended meanwhile; the engine notices that a little later.
    for _ in 0..10 {
        match super::inspect(&exec.client, &exec.id).await {
            Ok(Inspected { running: Some(false), .. }) => return Err(gone()),
            Ok(_) => sleep(Duration::from_millis(100)).await,
            Err(_) => break,
        }
    }
    Err(error)
}

async fn signal_running(exec: &Exec, inspected: &Inspected, signal: Signal) -> Result<()> {
    if let Some(mark) = &exec.mark {
        return inside(exec, signal, FIND_AND_SIGNAL, &format!("{MARK}={mark}")).await;
    }
    exec.note_pid(inspected);
    let process = *exec.process.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let Some(process) = process else {
        return Err(Error::new(
            ErrorKind::Unsupported,
            "the engine does not tell the job's process, or this program may not look at it",
        ));
    };
    if !process.alive() {
        return Err(gone());
    }
    if let Ok(named) = nix::sys::signal::Signal::try_from(i32::from(signal.number())) {
        match nix::sys::signal::kill(Pid::from_raw(process.pid), named) {
            Ok(()) => return Ok(()),
            Err(Errno::ESRCH) => return Err(gone()),
            // Not root: the engine may do what this program may not.
            Err(Errno::EPERM) => {}
            Err(cause) => {
                return Err(Error::new(ErrorKind::Unexpected, format!("the signal could not be sent: {cause}")));
            }
        }
    }
    // A real-time signal, or no permission.
    let number = process.number_inside().ok_or_else(|| {
        Error::new(ErrorKind::Unsupported, "the system does not tell the number of the job's process in its container")
    })?;
    inside(exec, signal, SIGNAL, &number.to_string()).await
}

fn gone() -> Error {
    Error::new(ErrorKind::NotFound, "the job's process is gone")
}

/// Runs a script in the container: as the job's own user, which is enough unless the job has become another; then as
/// root with all capabilities, which not every engine allows.
async fn inside(exec: &Exec, signal: Signal, script: &str, target: &str) -> Result<()> {
    let command = ["sh", "-c", script, "sh", &signal.number().to_string(), target].map(str::to_owned);
    let mut last = gone();
    for (user, privileged) in [(exec.user.as_deref(), false), (Some("0"), true)] {
        let request = Command { command: &command, spec: None, mark: None, user, privileged };
        let (code, words) = match timeout(SHELL_DEADLINE, shell(exec, &request)).await {
            Ok(Ok(end)) => end,
            Ok(Err(error)) if error.kind() == ErrorKind::Unavailable => return Err(error),
            Ok(Err(error)) => {
                last = error;
                continue;
            }
            Err(_) => {
                last = Error::new(ErrorKind::DeadlineExceeded, "the shell in the container did not end in time");
                continue;
            }
        };
        let (kind, message) = match code {
            0 => return Ok(()),
            3 => (
                ErrorKind::Unsupported,
                "the job runs, but its process cannot be found in the container to be signalled: it has cleared its \
                 environment, or its files in /proc may not be read"
                    .to_owned(),
            ),
            4 => (ErrorKind::PermissionDenied, format!("the signal could not be sent: {words}")),
            126 | 127 if words.contains("not found") || words.contains("no such file") => return Err(no_shell()),
            _ if privileged => continue,
            _ => (ErrorKind::Unexpected, format!("the shell in the container ended with {code}: {words}")),
        };
        last = Error::new(kind, message);
    }
    Err(last)
}

fn no_shell() -> Error {
    Error::new(
        ErrorKind::Unsupported,
        "a job on another machine is signalled through a shell in its container, and this container has no sh",
    )
}

/// Runs a command to its end: exit code, and the beginning of what it wrote.
async fn shell(exec: &Exec, command: &Command<'_>) -> Result<(i32, String)> {
    let id = create(&exec.client, &exec.container, command).await?;
    let (mut output, _input) = start(&exec.client, &id, false, None).await?.split(false);
    let mut words = Vec::new();
    while let Some(piece) = output.next().await {
        let (_, data) = piece?;
        if words.len() < 1024 {
            words.extend_from_slice(&data);
        }
    }
    words.truncate(1024);
    Ok((exit_code(&exec.client, &id).await?, String::from_utf8_lossy(&words).trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use std::io::BufRead as _;

    use super::*;

    #[test]
    fn a_process_of_another_container_or_of_another_time_is_not_touched() {
        let own = std::process::id();
        assert_eq!(HostProcess::in_container(own, "no-such-container"), None);
        let now = HostProcess::in_container(own, "").unwrap();
        assert!(now.alive());
        assert!(!HostProcess { start_ticks: now.start_ticks + 1, ..now }.alive());
        assert_eq!(now.number_inside(), Some(now.pid));
    }

    #[test]
    fn the_oldest_process_with_the_mark_gets_the_signal() {
        // The shell that stands for the job, and a child that inherits the mark.
        let mark = format!("unit-{}", std::process::id());
        let mut job = std::process::Command::new("sh")
            .args(["-c", "trap 'exit 42' USR1; sleep 30 & echo ready; while :; do sleep 0.05; done"])
            .env(MARK, &mark)
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        std::io::BufReader::new(job.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        let find = |mark: &str| {
            std::process::Command::new("sh")
                .args(["-c", FIND_AND_SIGNAL, "sh", "10", &format!("{MARK}={mark}")])
                .status()
                .unwrap()
                .code()
        };
        assert_eq!(find("unit-none"), Some(3));
        assert_eq!(find(&mark), Some(0));
        assert_eq!(job.wait().unwrap().code(), Some(42));
        // The child inherits the mark and is now the oldest.
        let _ = std::process::Command::new("sh")
            .args(["-c", FIND_AND_SIGNAL, "sh", "9", &format!("{MARK}={mark}")])
            .status();
    }
}

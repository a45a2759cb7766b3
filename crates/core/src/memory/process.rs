//! A simulated process: its input and output, its signals, its share of time.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::{Notify, watch};

use super::clock::Clock;
use super::files::View;
use super::{lock, shell};
use crate::error::{Error, ErrorKind, Result};
use crate::process::ProcessState;
use crate::signal::Signal;
use crate::stream::{OutputKind, TerminalSize};
use crate::time::Timestamp;

/// Input that a process has not read yet is bounded as a pipe is, though more generously.
const INPUT_MAX_BYTES: usize = 16 * 1024 * 1024;

/// After so many commands without a pause a process gives way for a moment, so that an endless loop harms nobody.
const STEPS_PER_TURN: u64 = 64;

/// What a process does about a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Handling {
    Ignore,
    /// Kept for the process to look at.
    Catch,
}

/// Where output goes.
pub(super) type Output = Box<dyn Fn(OutputKind, Bytes) + Send + Sync>;
/// Finds the address of a name on the process's networks.
pub(super) type Resolver = Box<dyn Fn(&str) -> Option<IpAddr> + Send + Sync>;

/// What a process starts with.
pub(super) struct Start {
    pub(super) pid: u32,
    pub(super) parent: u32,
    pub(super) command: Vec<String>,
    pub(super) env: BTreeMap<String, String>,
    pub(super) directory: String,
    pub(super) hostname: String,
    pub(super) user: User,
    /// Process 1 of a container has no default actions: the kernel's rule.
    pub(super) first: bool,
    pub(super) may_chown: bool,
    pub(super) stdin: bool,
    pub(super) tty: Option<TerminalSize>,
    pub(super) view: View,
    pub(super) clock: Clock,
    pub(super) frozen: watch::Receiver<bool>,
    pub(super) output: Output,
    pub(super) resolver: Resolver,
}

/// One simulated process.
pub(super) struct Process {
    pub(super) pid: u32,
    pub(super) parent: u32,
    pub(super) command: Vec<String>,
    pub(super) env: BTreeMap<String, String>,
    pub(super) directory: String,
    pub(super) hostname: String,
    pub(super) user: User,
    first: bool,
    pub(super) may_chown: bool,
    pub(super) view: View,
    pub(super) started_at: Timestamp,
    clock: Clock,
    frozen: watch::Receiver<bool>,
    output: Output,
    resolver: Resolver,
    input: Mutex<Input>,
    input_changed: Notify,
    handled: Mutex<BTreeMap<u8, Handling>>,
    pending: Mutex<VecDeque<u8>>,
    pending_changed: Notify,
    terminal: Mutex<Option<TerminalSize>>,
    /// The exit code that a signal ended it with.
    fatal: watch::Sender<Option<i32>>,
    steps: AtomicU64,
}

#[derive(Debug, Default)]
struct Input {
    data: BytesMut,
    open: bool,
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").field("pid", &self.pid).field("command", &self.command).finish_non_exhaustive()
    }
}

impl Process {
    pub(super) fn new(start: Start) -> Arc<Self> {
        Arc::new(Process {
            pid: start.pid,
            parent: start.parent,
            command: start.command,
            env: start.env,
            directory: start.directory,
            hostname: start.hostname,
            first: start.first,
            may_chown: start.may_chown && start.user.uid == 0,
            user: start.user,
            view: start.view,
            started_at: start.clock.now(),
            clock: start.clock,
            frozen: start.frozen,
            output: start.output,
            resolver: start.resolver,
            input: Mutex::new(Input { data: BytesMut::new(), open: start.stdin }),
            input_changed: Notify::new(),
            handled: Mutex::default(),
            pending: Mutex::default(),
            pending_changed: Notify::new(),
            terminal: Mutex::new(start.tty),
            fatal: watch::Sender::new(None),
            steps: AtomicU64::new(0),
        })
    }

    /// Runs it to its end, and gives the exit code: 128 + n when signal n ended it.
    pub(super) async fn run(self: Arc<Self>) -> i32 {
        let mut fatal = self.fatal.subscribe();
        let ended_by_signal = async {
            let code = match fatal.wait_for(Option::is_some).await {
                Ok(code) => code.unwrap_or(137),
                Err(_) => 137,
            };
            self.thawed().await;
            code
        };
        tokio::select! {
            biased;
            code = ended_by_signal => code,
            code = shell::main(Arc::clone(&self)) => code,
        }
    }

    // What the programs use.

    /// Counts a command, and gives way from time to time.
    pub(super) async fn step(&self) {
        self.thawed().await;
        if self.steps.fetch_add(1, Ordering::Relaxed) % STEPS_PER_TURN == STEPS_PER_TURN - 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        } else {
            tokio::task::yield_now().await;
        }
    }

    async fn thawed(&self) {
        // An error means that the container is gone, and the process with it.
        let _ = self.frozen.clone().wait_for(|frozen| !frozen).await;
    }

    pub(super) async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
        self.thawed().await;
    }

    pub(super) async fn write(&self, kind: OutputKind, data: Bytes) {
        self.thawed().await;
        self.emit(kind, data);
    }

    fn emit(&self, kind: OutputKind, data: Bytes) {
        if data.is_empty() {
            return;
        }
        if lock(&self.terminal).is_some() {
            // The line discipline: one stream, carriage return before line feed.
            let mut cooked = BytesMut::with_capacity(data.len());
            for byte in data {
                if byte == b'\n' {
                    cooked.extend_from_slice(b"\r\n");
                } else {
                    cooked.extend_from_slice(&[byte]);
                }
            }
            (self.output)(OutputKind::Console, cooked.freeze());
        } else {
            (self.output)(kind, data);
        }
    }

    /// What is there to read, or what comes next; none at the end of the input.
    pub(super) async fn read(&self) -> Option<Bytes> {
        self.read_with(|data| Some(data.len()).filter(|length| *length > 0)).await
    }

    /// A line without its end.
    pub(super) async fn read_line(&self) -> Option<Bytes> {
        let line = self.read_with(|data| data.iter().position(|byte| *byte == b'\n').map(|end| end + 1)).await?;
        Some(line.strip_suffix(b"\n").map_or_else(|| line.clone(), Bytes::copy_from_slice))
    }

    /// Takes as much as `wanted` says once it says something, or all that is left at the end of the input.
    async fn read_with(&self, wanted: impl Fn(&[u8]) -> Option<usize>) -> Option<Bytes> {
        loop {
            let changed = self.input_changed.notified();
            {
                let mut input = lock(&self.input);
                if let Some(length) = wanted(&input.data) {
                    return Some(input.data.split_to(length).freeze());
                }
                if !input.open {
                    let rest = input.data.split().freeze();
                    return (!rest.is_empty()).then_some(rest);
                }
            }
            changed.await;
        }
    }

    pub(super) fn handle(&self, signal: u8, handling: Option<Handling>) {
        let mut handled = lock(&self.handled);
        match handling {
            Some(handling) => handled.insert(signal, handling),
            None => handled.remove(&signal),
        };
    }

    /// A caught signal that has not been looked at.
    pub(super) fn next_signal(&self) -> Option<u8> {
        lock(&self.pending).pop_front()
    }

    /// Waits for a caught signal.
    pub(super) async fn signalled(&self) {
        loop {
            let changed = self.pending_changed.notified();
            if !lock(&self.pending).is_empty() {
                return;
            }
            changed.await;
        }
    }

    pub(super) fn resolve(&self, name: &str) -> Option<IpAddr> {
        (self.resolver)(name)
    }

    /// Seconds since 1970, for files.
    pub(super) fn now(&self) -> u64 {
        u64::try_from(self.clock.now().unix_seconds()).unwrap_or_default()
    }

    // What the engine uses.

    pub(super) fn terminal_size(&self) -> Option<TerminalSize> {
        *lock(&self.terminal)
    }

    /// `false` when it has no terminal.
    pub(super) fn resize(&self, size: TerminalSize) -> bool {
        match lock(&self.terminal).as_mut() {
            Some(terminal) => {
                *terminal = size;
                true
            }
            None => false,
        }
    }

    pub(super) fn write_input(&self, data: &Bytes) -> Result<()> {
        {
            let mut input = lock(&self.input);
            if !input.open {
                return Err(Error::new(ErrorKind::Conflict, "standard input is closed"));
            }
            if input.data.len() + data.len() > INPUT_MAX_BYTES {
                return Err(Error::new(ErrorKind::ResourceExhausted, "the process does not read its input"));
            }
            input.data.extend_from_slice(data);
        }
        if self.terminal_size().is_some() {
            self.emit(OutputKind::Console, data.clone());
        }
        self.input_changed.notify_waiters();
        Ok(())
    }

    pub(super) fn close_input(&self) {
        lock(&self.input).open = false;
        self.input_changed.notify_waiters();
    }

    /// Sends a signal, with the kernel's default actions.
    pub(super) fn signal(&self, signal: Signal) {
        let number = signal.number();
        let handling = lock(&self.handled).get(&number).copied();
        // SIGCHLD, SIGCONT, SIGURG and SIGWINCH do nothing by default; stopping by signal is not simulated.
        let harmless = matches!(number, 17..=23 | 28);
        match handling {
            _ if signal == Signal::KILL => self.end(137),
            Some(Handling::Ignore) => {}
            Some(Handling::Catch) => {
                lock(&self.pending).push_back(number);
                self.pending_changed.notify_waiters();
            }
            None if harmless || self.first => {}
            None => self.end(128 + i32::from(number)),
        }
    }

    /// Ends it with this code.
    pub(super) fn end(&self, code: i32) {
        self.fatal.send_if_modified(|fatal| {
            let first = fatal.is_none();
            fatal.get_or_insert(code);
            first
        });
    }

    /// Processor time: a start and every command cost a little.
    pub(super) fn cpu_seconds(&self) -> f64 {
        START_USER_SECONDS + self.system_seconds()
    }

    /// That of the kernel: commands are calls of it.
    fn system_seconds(&self) -> f64 {
        let steps = u32::try_from(self.steps.load(Ordering::Relaxed)).unwrap_or(u32::MAX);
        f64::from(steps) * 0.000_01
    }

    /// As a list of processes shows it.
    pub(super) fn view_as_process(&self) -> crate::process::Process {
        crate::process::Process {
            pid: self.pid,
            ppid: self.parent,
            user: self.user.name.clone(),
            name: self
                .command
                .first()
                .map(|program| program.rsplit('/').next().unwrap_or(program).chars().take(15).collect())
                .unwrap_or_default(),
            state: if *self.frozen.borrow() { ProcessState::DiskSleep } else { ProcessState::Sleeping },
            cpu_seconds: self.cpu_seconds(),
            cpu_user_seconds: Some(START_USER_SECONDS),
            cpu_system_seconds: Some(self.system_seconds()),
            rss_bytes: Some(RESIDENT_BYTES),
            vms_bytes: Some(4 * RESIDENT_BYTES),
            started_at: Some(self.started_at),
            cmdline: self.command.clone(),
            threads: Some(1),
            ..crate::process::Process::default()
        }
    }
}

/// What the start of every simulated process takes in user mode.
const START_USER_SECONDS: f64 = 0.002;

/// Resident memory of every simulated process: about what busybox takes.
pub(super) const RESIDENT_BYTES: u64 = 512 * 1024;

/// Whom a process runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl User {
    /// Finds `user`, `uid`, `user:group` or `uid:gid` in the files of the container; root when absent. `None` when
    /// there is no such user.
    pub(super) fn find(view: &View, wanted: Option<&str>) -> Option<User> {
        let wanted = wanted.unwrap_or("0");
        let (user, group) = wanted.split_once(':').map_or((wanted, None), |(user, group)| (user, Some(group)));
        let passwd = read_table(view, "/etc/passwd");
        let known =
            passwd.iter().find(|(name, numbers)| name == user || numbers.first().is_some_and(|uid| uid == user));
        let uid = match known {
            Some((_, numbers)) => numbers.first()?.parse().ok()?,
            None if user == "root" => 0,
            None => user.parse().ok()?,
        };
        let gid = match group {
            // As engines do: an unlisted number has the group 0.
            None => known.and_then(|(_, numbers)| numbers.get(1)?.parse().ok()).unwrap_or(0),
            Some("root") => 0,
            Some(group) => match group.parse() {
                Ok(gid) => gid,
                Err(_) => {
                    let groups = read_table(view, "/etc/group");
                    groups.iter().find(|(name, _)| name == group)?.1.first()?.parse().ok()?
                }
            },
        };
        let name =
            known.map_or_else(|| if uid == 0 { "root".to_owned() } else { uid.to_string() }, |(name, _)| name.clone());
        Some(User { name, uid, gid })
    }
}

/// Names and numbers of `/etc/passwd` or `/etc/group`.
fn read_table(view: &View, path: &str) -> Vec<(String, Vec<String>)> {
    let text = view.read(path).unwrap_or_default();
    let row = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?.to_owned();
        Some((name, fields.skip(1).take(2).map(str::to_owned).collect()))
    };
    String::from_utf8_lossy(&text).lines().filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name_and_number() {
        let view = View::of(&crate::memory::node::busybox().shared());
        let find = |wanted: &str| User::find(&view, Some(wanted)).map(|user| (user.name, user.uid, user.gid));
        assert_eq!(User::find(&view, None).map(|user| user.uid), Some(0));
        assert_eq!(find("nobody"), Some(("nobody".to_owned(), 65_534, 65_534)));
        assert_eq!(find("65534:7"), Some(("nobody".to_owned(), 65_534, 7)));
        assert_eq!(find("1234"), Some(("1234".to_owned(), 1234, 0)));
        assert_eq!(find("stranger"), None);
        assert_eq!(find("0:strangers"), None);
    }
}

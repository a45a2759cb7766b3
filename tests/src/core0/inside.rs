//! Process 1 of a container: sets up its root, and runs the same engine as a node, whose socket it is connected to by its
//! standard input.
//!
//! Unlike the real one it keeps all capabilities, also in an unprivileged container.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream as StdStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::{Mode, SFlag, makedev, mknod, umask};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{Pid, chdir, pivot_root, sethostname};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Mutex;
use tokio::time::{interval, timeout};

use super::builtins::Built;
use super::command::Command;
use super::engine::{Engine, Outlet, Statistic};
use super::message::{Document, Message};
use super::result::JobResult;

/// What the program is called when it is process 1 of a container.
pub(crate) const NAME: &str = "/coreX";
/// Where functions keep what they have to.
const STATE: &str = "/dev/.corex";
/// How long killed jobs may take to be reported.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// Whose parent is gone is reaped by process 1, who looks around so often.
const REAPING: Duration = Duration::from_secs(2);
const JOBS: usize = 1000;

/// What the node sends first.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Setup {
    pub(crate) root: PathBuf,
    pub(crate) hostname: String,
    pub(crate) privileged: bool,
    /// From the node's path to the container's.
    pub(crate) mounts: Vec<(String, String)>,
}

/// What a container tells its node, a line each.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", content = "payload", rename_all = "lowercase")]
pub(crate) enum Said {
    /// It takes commands.
    Ready,
    Result(JobResult),
    Log {
        job: String,
        message: Document,
    },
    Statistic(Statistic),
}

struct NodeSocket {
    writer: Mutex<OwnedWriteHalf>,
}

impl NodeSocket {
    async fn say(&self, said: &Said) {
        let Ok(line) = serde_json::to_string(said) else { return };
        // Without a node the reading half ends everything.
        let _ = self.writer.lock().await.write_all((line + "\n").as_bytes()).await;
    }
}

#[async_trait]
impl Outlet for NodeSocket {
    async fn message(&self, job: &str, message: &Message) {
        self.say(&Said::Log { job: job.to_owned(), message: message.document() }).await;
    }

    async fn result(&self, result: JobResult) {
        self.say(&Said::Result(result)).await;
    }

    async fn statistic(&self, statistic: Statistic) {
        self.say(&Said::Statistic(statistic)).await;
    }
}

pub(crate) fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("coreX: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> io::Result<()> {
    prctl::set_name(c"coreX")?;
    let mut socket = StdStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let setup: Setup = serde_json::from_slice(&first_line(&mut socket)?)?;
    set_up(&setup).map_err(|error| io::Error::other(format!("setup: {error}")))?;
    socket.set_nonblocking(true)?;
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(serve(socket))
}

/// Not a byte more than the first line: the rest is read by others.
fn first_line(socket: &mut StdStream) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    let mut byte = [0];
    loop {
        socket.read_exact(&mut byte)?;
        if byte == *b"\n" {
            return Ok(line);
        }
        line.extend(byte);
    }
}

async fn serve(socket: StdStream) -> io::Result<()> {
    let (reader, writer) = UnixStream::from_std(socket)?.into_split();
    let mut terminated = signal(SignalKind::terminate())?;
    let node = Arc::new(NodeSocket { writer: Mutex::new(writer) });
    std::fs::create_dir_all(STATE)?;
    let engine = Engine::new(node.clone(), Built::new(true, Path::new(STATE)), true, JOBS);
    let mut commands = BufReader::new(reader).lines();
    let mut reaping = interval(REAPING);
    let mut orphans = Vec::new();
    node.say(&Said::Ready).await;
    loop {
        tokio::select! {
            _ = terminated.recv() => break,
            _ = reaping.tick() => orphans = reap(&orphans),
            line = commands.next_line() => {
                // The node is gone.
                let Some(line) = line? else { return Ok(()) };
                match Command::decode(line.as_bytes()) {
                    Ok(command) => if engine.run(command).is_err() {
                        eprintln!("coreX: duplicate job id");
                    },
                    Err(reason) => eprintln!("coreX: {reason}"),
                }
            }
        }
    }
    let ended = async {
        // Everybody but process 1, also those whom no job knows.
        let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
        engine.shut_down(Duration::ZERO).await;
    };
    let _ = timeout(LAST_WORDS, ended).await;
    Ok(())
}

/// Reaps the zombies among `before`, which their starter would have reaped long since, and returns those that are there now.
fn reap(before: &[i32]) -> Vec<i32> {
    let mut zombies = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        if stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with("Z 1 ")) {
            zombies.push(pid);
        }
    }
    zombies.retain(|pid| {
        let old = before.contains(pid);
        if old {
            let _ = waitpid(Pid::from_raw(*pid), Some(WaitPidFlag::WNOHANG));
        }
        !old
    });
    zombies
}

fn set_up(setup: &Setup) -> io::Result<()> {
    const NONE: Option<&str> = None;
    let told = |what: &'static str| move |error: nix::Error| io::Error::other(format!("{what}: {error}"));
    let root = &setup.root;
    // Nothing that is mounted here may reach the node.
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE).map_err(told("private mounts"))?;
    mount(Some(root), root, NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE).map_err(told("root"))?;
    for (source, guest) in &setup.mounts {
        let target = root.join(guest.trim_start_matches('/'));
        mount(Some(source.as_str()), &target, NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE).map_err(told("mount"))?;
    }
    chdir(root).map_err(told("chdir"))?;
    pivot_root(".", ".").map_err(told("pivot_root"))?;
    umount2(".", MntFlags::MNT_DETACH).map_err(told("old root"))?;
    chdir("/").map_err(told("chdir"))?;

    let guarded = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC | MsFlags::MS_RELATIME;
    mount(Some("none"), "/sys", Some("sysfs"), guarded | MsFlags::MS_RDONLY, NONE).map_err(told("/sys"))?;
    let proc_flags = if setup.privileged { guarded } else { guarded | MsFlags::MS_RDONLY };
    mount(Some("none"), "/proc", Some("proc"), proc_flags, NONE).map_err(told("/proc"))?;
    mount(Some("none"), "/dev", Some("tmpfs"), MsFlags::MS_NOSUID, Some("mode=755")).map_err(told("/dev"))?;
    make_devices()?;
    std::fs::create_dir_all("/dev/pts")?;
    mount(Some("none"), "/dev/pts", Some("devpts"), MsFlags::empty(), Some("newinstance,ptmxmode=0666"))
        .map_err(told("/dev/pts"))?;
    std::fs::create_dir_all("/dev/shm")?;
    mount(Some("shm"), "/dev/shm", Some("tmpfs"), guarded, Some("size=65536k")).map_err(told("/dev/shm"))?;

    let name = &setup.hostname;
    sethostname(name).map_err(told("hostname"))?;
    std::fs::write("/etc/hostname", name)?;
    std::fs::write(
        "/etc/hosts",
        format!("127.0.0.1    {name}.local {name}\n127.0.0.1    localhost.localdomain localhost\n"),
    )?;
    let _ = std::fs::remove_file("/etc/mtab");
    std::os::unix::fs::symlink("../proc/self/mounts", "/etc/mtab")
}

fn make_devices() -> io::Result<()> {
    let before = umask(Mode::empty());
    for (name, mode, major, minor) in [
        ("console", 0o600, 136, 2),
        ("full", 0o666, 1, 7),
        ("null", 0o666, 1, 3),
        ("random", 0o666, 1, 8),
        ("tty", 0o666, 5, 0),
        ("urandom", 0o666, 1, 9),
        ("zero", 0o666, 1, 5),
    ] {
        let path = Path::new("/dev").join(name);
        mknod(&path, SFlag::S_IFCHR, Mode::from_bits_truncate(mode), makedev(major, minor))?;
    }
    umask(before);
    for (target, link) in [
        ("/proc/self/fd/0", "/dev/stdin"),
        ("/proc/self/fd/1", "/dev/stdout"),
        ("/proc/self/fd/2", "/dev/stderr"),
        ("/proc/self/fd", "/dev/fd"),
        ("/dev/pts/ptmx", "/dev/ptmx"),
    ] {
        std::os::unix::fs::symlink(target, link)?;
    }
    Ok(())
}

//! The birth of a container: this very program again, under another name, as process 1 of namespaces of its own.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sched::{CloneFlags, unshare};
use tokio::process::Child;
use tokio::runtime::Handle;

use super::super::inside;

/// What to start.
pub(super) struct Birth<'a> {
    pub(super) hostname: &'a str,
    pub(super) privileged: bool,
    pub(super) host_network: bool,
    pub(super) env: &'a BTreeMap<String, String>,
    pub(super) log: &'a Path,
}

/// Starts it; it waits for its setup on the socket that is returned, and ends when that is closed.
///
/// # Errors
/// When there can be no namespaces, or no process.
pub(super) fn spawn(birth: &Birth<'_>) -> io::Result<(Child, UnixStream)> {
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let log = File::create(birth.log)?;
    // Not its path: that may be a newer program meanwhile.
    let mut command = Command::new(format!("/proc/{}/exe", std::process::id()));
    command.arg0(inside::NAME).args(["-hostname", birth.hostname]);
    if !birth.privileged {
        command.arg("-unprivileged");
    }
    command.env_clear().envs(birth.env).current_dir("/");
    command.stdin(OwnedFd::from(theirs)).stdout(log.try_clone()?).stderr(Stdio::from(log));
    let mut flags =
        CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWIPC;
    if !birth.host_network {
        flags |= CloneFlags::CLONE_NEWNET;
    }
    // Namespaces are a thread's, and this one's children are born into them.
    let runtime = Handle::current();
    let midwife = std::thread::spawn(move || {
        let _runtime = runtime.enter();
        unshare(flags)?;
        tokio::process::Command::from(command).spawn()
    });
    let child = midwife.join().unwrap_or_else(|_| Err(io::Error::other("no thread to start it")))?;
    Ok((child, ours))
}

//! Programs that jobs run: found in the path, given their input, their output cut into messages, their end told.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Stdio;

use nix::sys::signal::{self, Signal};
use nix::unistd::{AccessFlags, Pid, access, getpgid};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc::Sender;

use super::go;
use super::message::{Message, STDERR, STDOUT};
use super::output::{Cutter, READ};

/// Why a job could not begin.
#[derive(Debug)]
pub(crate) enum NotBegun {
    /// The node's program itself fell over it.
    Panic(String),
    /// There was nothing to run: the code and the text of the result.
    Refused(u32, String),
}

/// A process that runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    /// Whether signals go to its group.
    pub(crate) group: bool,
}

impl Process {
    /// Sends a signal; a process that is gone needs none.
    pub(crate) fn signal(self, number: i32) {
        let Ok(signal) = Signal::try_from(number) else {
            eprintln!("core0: no signal {number}");
            return;
        };
        let pid = Pid::from_raw(self.pid);
        let target = if self.group { getpgid(Some(pid)).map(|group| Pid::from_raw(-group.as_raw())) } else { Ok(pid) };
        if let Err(error) = target.and_then(|target| signal::kill(target, signal)) {
            eprintln!("core0: signal {signal} to {pid}: {error}");
        }
    }
}

/// What `core.system` takes. Members of wrong types count as absent.
#[derive(Clone, Debug, Default)]
pub(crate) struct SystemArguments {
    pub(crate) name: String,
    pub(crate) dir: String,
    pub(crate) args: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) stdin: String,
}

impl SystemArguments {
    pub(crate) fn of(arguments: &Value) -> Self {
        let mut found = SystemArguments::default();
        let Value::Object(members) = arguments else { return found };
        for (name, value) in members {
            match (name.to_ascii_lowercase().as_str(), value) {
                ("name", Value::String(text)) => found.name.clone_from(text),
                ("dir", Value::String(text)) => found.dir.clone_from(text),
                ("stdin", Value::String(text)) => found.stdin.clone_from(text),
                ("args", Value::Array(elements)) => {
                    found.args =
                        elements.iter().map(|element| element.as_str().unwrap_or_default().to_owned()).collect();
                }
                ("env", Value::Object(members)) => {
                    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                    found.env = members.iter().map(|(name, value)| (name.clone(), text(value))).collect();
                }
                _ => {}
            }
        }
        found
    }

    /// What `bash` makes of its arguments: a shell with the script.
    pub(crate) fn script(arguments: &Value) -> Self {
        let member = |name: &str| arguments.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        // A member that is missing stays the placeholder that it is.
        let script = arguments.get("script").map_or_else(
            || "{script}".to_owned(),
            |value| match value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            },
        );
        SystemArguments {
            name: "sh".to_owned(),
            args: vec!["-c".to_owned(), script],
            stdin: member("stdin"),
            ..SystemArguments::default()
        }
    }
}

fn executable(path: &Path) -> Result<(), String> {
    match path.metadata() {
        Err(error) => Err(format!("stat {}: {}", path.display(), go::errno(&error))),
        Ok(found) if found.is_dir() => Err("is a directory".to_owned()),
        Ok(_) => access(path, AccessFlags::X_OK).map_err(|error| go::errno(&error.into())),
    }
}

/// The program's path, by the rules of Go's `exec.LookPath`.
fn look_up(name: &str) -> Result<String, String> {
    if name.contains('/') {
        return match executable(Path::new(name)) {
            Ok(()) => Ok(name.to_owned()),
            Err(reason) => Err(format!("exec: {name:?}: {reason}")),
        };
    }
    let directories = std::env::var("PATH").unwrap_or_default();
    let found = directories.split(':').map(|directory| {
        let directory = if directory.is_empty() { "." } else { directory };
        format!("{directory}/{name}")
    });
    found
        .into_iter()
        .find(|path| !name.is_empty() && executable(Path::new(path)).is_ok())
        .ok_or_else(|| format!("exec: {name:?}: executable file not found in $PATH"))
}

/// Starts a program; what it prints and how it ends goes to `messages`. On a node it leads a process group of its own.
///
/// # Errors
/// When it cannot be started.
pub(crate) async fn start(
    arguments: &SystemArguments,
    inside: bool,
    messages: Sender<Message>,
) -> Result<Process, NotBegun> {
    let path = look_up(&arguments.name).map_err(|text| NotBegun::Refused(404, text))?;
    let mut command = tokio::process::Command::new(&path);
    command.args(&arguments.args).envs(&arguments.env).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.stdin(if arguments.stdin.is_empty() { Stdio::null() } else { Stdio::piped() });
    if !arguments.dir.is_empty() {
        command.current_dir(&arguments.dir);
    }
    if !inside {
        command.process_group(0);
    }
    let failed = |error: io::Error| NotBegun::Refused(0, format!("fork/exec {path}: {}", go::errno(&error)));
    let mut child = command.spawn().map_err(failed)?;
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).unwrap_or(-1);
    if let Some(mut stdin) = child.stdin.take() {
        let input = arguments.stdin.clone();
        tokio::spawn(async move {
            // A program need not read what it is given.
            let _ = stdin.write_all(input.as_bytes()).await;
        });
    }
    let readers = [
        child.stdout.take().map(|stream| tokio::spawn(read(stream, STDOUT, messages.clone()))),
        child.stderr.take().map(|stream| tokio::spawn(read(stream, STDERR, messages.clone()))),
    ];
    tokio::spawn(async move {
        let status = child.wait().await;
        for reader in readers.into_iter().flatten() {
            let _ = reader.await;
        }
        let code = status.ok().map_or(-1, exit_status);
        let end = if code == 0 {
            Message::end(STDOUT, "", 0, false)
        } else {
            Message::end(STDERR, "", u32::try_from(1000 + code).unwrap_or(999), true)
        };
        let _ = messages.send(end).await;
    });
    Ok(Process { pid, group: !inside })
}

/// −1 after a signal.
fn exit_status(status: std::process::ExitStatus) -> i32 {
    if status.signal().is_some() { -1 } else { status.code().unwrap_or(-1) }
}

async fn read(mut stream: impl AsyncRead + Unpin, level: u16, messages: Sender<Message>) {
    let mut cutter = Cutter::new(level);
    let mut buffer = vec![0; READ];
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        for message in cutter.take(&buffer[..length]) {
            if messages.send(message).await.is_err() {
                return;
            }
        }
    }
}

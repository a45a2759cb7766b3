//! Clauses of logs, statistics and processes.

use super::check::{Check, During, drain, ensure, equal, failed, next, refused};
use super::declare;
use super::scene::{Scene, details, ended, logs};
use crate::capabilities::Capability;
use crate::container::LogOptions;
use crate::error::ErrorKind;
use crate::process::ProcessState;
use crate::signal::Signal;
use crate::stream::{LogRecord, OutputKind};

declare! {
    C140 "logs: what was written, stdout and stderr apart" [Create Logs] what_was_written;
    C141 "logs: tail" [Create Logs] tail;
    C142 "logs: follow until the end" [Create Logs Kill] follow;
    C143 "logs: timestamps" [Create Logs LogTimes] timestamps;
    C144 "logs: since" [Create Logs LogTimes] since;
    C160 "stats: above zero, and cpu never goes down" [Create Stats] stats;
    C161 "stats: Conflict when it does not run" [Create Stats] stats_stopped;
    C170 "processes: the main process" [Create Processes] processes;
    C171 "processes: Conflict when it does not run" [Create Processes] processes_stopped;
}

/// Log options with some members set.
fn options(set: impl FnOnce(&mut LogOptions)) -> LogOptions {
    let mut options = LogOptions::default();
    set(&mut options);
    options
}

async fn what_was_written(scene: &Scene) -> Check {
    let container = scene.start(&scene.script("writer", "echo out one; echo err one >&2; echo out two")).await?;
    ended(&*container).await?;
    let all = logs(&*container, &LogOptions::default(), None).await?;
    for line in ["out one\n", "err one\n", "out two\n"] {
        ensure(all.contains(line), format!("{line:?} is missing in {all:?}"))?;
    }
    equal("the length of the log", all.len(), 24)?;
    if !scene.has(Capability::LogsSplit) {
        return Ok(());
    }
    let everything = LogOptions::default();
    equal("stdout", logs(&*container, &everything, Some(OutputKind::Stdout)).await?, "out one\nout two\n")?;
    equal("stderr", logs(&*container, &everything, Some(OutputKind::Stderr)).await?, "err one\n")?;
    let only_stdout = options(|options| options.stderr = false);
    equal("the log without stderr", logs(&*container, &only_stdout, None).await?, "out one\nout two\n")?;
    let only_stderr = options(|options| options.stdout = false);
    equal("the log without stdout", logs(&*container, &only_stderr, None).await?, "err one\n")
}

async fn tail(scene: &Scene) -> Check {
    let container = scene.start(&scene.script("writer", "for n in 1 2 3 4 5; do echo line $n; done")).await?;
    ended(&*container).await?;
    for (lines, expected) in [(2, "line 4\nline 5\n"), (0, ""), (9, "line 1\nline 2\nline 3\nline 4\nline 5\n")] {
        let found = logs(&*container, &options(|options| options.tail = Some(lines)), None).await?;
        equal(&format!("the log with tail {lines}"), found, expected)?;
    }
    Ok(())
}

async fn follow(scene: &Scene) -> Check {
    let container = scene.ready("writer", "trap 'echo more' USR1; trap 'echo last; exit 0' USR2").await?;
    let mut log = container.logs(&options(|options| options.follow = true)).await.during("logs")?;
    for (signal, expected) in [(None, "ready\n"), (Some(Signal::USR1), "more\n"), (Some("USR2".parse()?), "last\n")] {
        if let Some(signal) = signal {
            container.kill(signal).await.during("kill")?;
        }
        let record = next(expected, &mut log).await?;
        equal("the next record", record.map(|record| super::check::text(&record.data)), Some(expected.to_owned()))?;
    }
    equal("what follows the end", next("the end of the log", &mut log).await?, None)
}

async fn dated(scene: &Scene, container: &dyn crate::Container) -> Check<Vec<LogRecord>> {
    let options = options(|options| options.timestamps = true);
    let mut stream = container.logs(&options).await.during("logs")?;
    let records = drain("logs", &mut stream).await?;
    let first = records.first().and_then(|record| record.time);
    let Some(first) = first else { return failed("the first record has no time") };
    let told = scene.node().info().await.is_ok() && first.is_never();
    ensure(!told, "the first record has no real time")?;
    Ok(records)
}

async fn timestamps(scene: &Scene) -> Check {
    // More than a second from the first to the last: some engines tell whole seconds only.
    let container =
        scene.start(&scene.script("writer", "echo one; sleep 0.6; echo two; sleep 0.6; echo three")).await?;
    ended(&*container).await?;
    let records = dated(scene, &*container).await?;
    let lines: Vec<String> = records.iter().map(|record| super::check::text(&record.data)).collect();
    equal("the records", lines, ["one\n", "two\n", "three\n"])?;
    let Some(times) = records.iter().map(|record| record.time).collect::<Option<Vec<_>>>() else {
        return failed("a record has no time");
    };
    ensure(times.is_sorted() && times.first() < times.last(), format!("the times do not grow: {times:?}"))?;
    let plain = drain("logs", &mut container.logs(&LogOptions::default()).await?).await?;
    ensure(plain.iter().all(|record| record.time.is_none()), "times that were not asked for")
}

async fn since(scene: &Scene) -> Check {
    let container = scene.start(&scene.script("writer", "echo one; sleep 1.2; echo two; echo three")).await?;
    ended(&*container).await?;
    let records = dated(scene, &*container).await?;
    let Some(second) = records.get(1).and_then(|record| record.time) else { return failed("there is no second line") };
    let found = logs(&*container, &options(|options| options.since = Some(second)), None).await?;
    equal("the log since the second line", found, "two\nthree\n")?;
    let found = logs(&*container, &options(|options| options.until = Some(second)), None).await?;
    equal("the log until the second line", found, "one\n")
}

async fn stats(scene: &Scene) -> Check {
    let container = scene.ready("busy", "true").await?;
    let first = container.stats().await.during("stats")?;
    ensure(first.cpu.total_seconds > 0.0, format!("cpu is {:?}", first.cpu))?;
    ensure(first.memory.usage_bytes > 0, format!("memory is {:?}", first.memory))?;
    ensure(first.pids.current > 0, format!("pids are {:?}", first.pids))?;
    let second = container.stats().await.during("stats")?;
    ensure(
        second.cpu.total_seconds >= first.cpu.total_seconds,
        format!("cpu seconds went down from {} to {}", first.cpu.total_seconds, second.cpu.total_seconds),
    )?;
    ensure(second.observed_at >= first.observed_at, "the second observation is older than the first")
}

async fn stats_stopped(scene: &Scene) -> Check {
    for container in [scene.created("created").await?, scene.stopped("stopped").await?] {
        refused("stats", container.stats().await, ErrorKind::Conflict)?;
    }
    Ok(())
}

async fn processes(scene: &Scene) -> Check {
    let container = scene.running("sleeper").await?;
    let main = details(&*container).await?.pid;
    let local = scene.node().info().await.during("info")?.local;
    let found = container.processes().await.during("processes")?;
    ensure(found.is_sorted_by_key(|process| process.pid), "the processes are not in the order of their pids")?;
    // Of an engine elsewhere, only the container's own count may be told.
    let is_main = |pid: u32| Some(pid) == main || (!local && pid == 1);
    let Some(process) = found.iter().find(|process| is_main(process.pid)) else {
        return failed(format!("the main process {main:?} is not there: {found:?}"));
    };
    // Some agents look the program up themselves, and name it by its path.
    let line = process.cmdline.join(" ");
    ensure(line == "sleep 300" || line.ends_with("/sleep 300"), format!("the command line is {line:?}"))?;
    ensure(!matches!(process.state, ProcessState::Unknown | ProcessState::Zombie), format!("{:?}", process.state))?;
    ensure(process.ppid != process.pid, "the main process is its own parent")?;
    ensure(matches!(process.user.as_str(), "root" | "0"), format!("the user is {:?}", process.user))
}

async fn processes_stopped(scene: &Scene) -> Check {
    for container in [scene.created("created").await?, scene.stopped("stopped").await?] {
        refused("processes", container.processes().await, ErrorKind::Conflict)?;
    }
    Ok(())
}

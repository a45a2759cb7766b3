//! Clauses of a running job: output, input, terminal, signals, waiting.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::try_join_all;

use super::check::{Check, During, SOON, drain, ensure, equal, failed, next, refused, text};
use super::declare;
use super::scene::{MOMENT, SLEEP, Scene, exec, finished, in_state, waiting_script};
use crate::container::{Container, ContainerState};
use crate::error::ErrorKind;
use crate::job::{Job, JobSpec, JobState, OutputOptions};
use crate::signal::Signal;
use crate::stream::{ItemStream, OutputChunk, OutputKind, TerminalSize};

declare! {
    J30 "stdout and stderr are apart, one with a terminal" [Create Jobs] streams_apart;
    J31 "output arrives while it runs, and ends with it" [Create Jobs JobStdin] output_follows;
    J32 "after continues without gap or repetition" [Create Jobs JobStdin] output_continues;
    J33 "any byte passes unchanged" [Create Jobs JobStdin OutputBytes] every_byte;
    J40 "input reaches the process, and its end" [Create Jobs JobStdin] input;
    J41 "Conflict when there is no input" [Create Jobs] no_input;
    J50 "resize: the terminal has the new size" [Create Jobs JobTty] resize;
    J51 "resize: Conflict without a terminal" [Create Jobs JobTty] resize_nothing;
    J60 "kill: the process gets the signal" [Create Jobs JobKill] kill;
    J61 "kill: a finished job is left alone" [Create Jobs JobKill] kill_finished;
    J62 "kill: others are not touched" [Create Jobs JobKill] kill_one;
    J70 "wait: the final status" [Create Jobs] wait;
    J71 "wait: DeadlineExceeded" [Create Jobs] wait_too_long;
    J72 "wait: any number of callers" [Create Jobs JobStdin] many_wait;
}

async fn shell(container: &dyn Container, script: &str) -> Check<Arc<dyn Job>> {
    container.run(&JobSpec::new(["sh", "-c", script])).await.during("run")
}

async fn with_input(container: &dyn Container, script: &str) -> Check<Arc<dyn Job>> {
    container.run(&JobSpec::new(["sh", "-c", script]).with_stdin()).await.during("run")
}

async fn follow(job: &dyn Job) -> Check<ItemStream<OutputChunk>> {
    job.output(OutputOptions::follow()).await.during("output")
}

async fn say(job: &dyn Job, line: &'static str) -> Check {
    job.write_stdin(Bytes::from_static(line.as_bytes())).await.during("write")
}

/// Reads until the output holds `wanted`, which has to come soon however much else comes.
async fn until(output: &mut ItemStream<OutputChunk>, wanted: &str) -> Check {
    let mut seen = String::new();
    let reading = async {
        while !seen.contains(wanted) {
            match next(wanted, output).await? {
                Some(chunk) => seen.push_str(&text(&chunk.data)),
                None => return failed(format!("the output ended with {seen:?} instead of {wanted:?}")),
            }
        }
        Ok(())
    };
    match tokio::time::timeout(SOON, reading).await {
        Ok(read) => read,
        Err(_) => failed(format!("the output is {seen:?} instead of {wanted:?}")),
    }
}

async fn streams_apart(scene: &Scene) -> Check {
    let container = scene.running("c").await?;
    let result = exec(&*container, "echo out; echo err >&2").await?;
    equal("stdout and stderr", (result.stdout.as_str(), result.stderr.as_str()), ("out\n", "err\n"))?;
    equal("the terminal's output", result.console.as_str(), "")?;
    if scene.has(crate::Capability::JobTty) {
        let spec =
            JobSpec::new(["sh", "-c", "echo out; echo err >&2"]).with_terminal(TerminalSize { columns: 80, rows: 24 });
        let result = finished(&*container.run(&spec).await.during("run")?).await?;
        equal("the terminal's output", result.console.as_str(), "out\r\nerr\r\n")?;
        equal("stdout and stderr", (result.stdout.as_str(), result.stderr.as_str()), ("", ""))?;
    }
    Ok(())
}

async fn output_follows(scene: &Scene) -> Check {
    let container = scene.running("c").await?;
    let job = with_input(&*container, "echo one; read line; echo two $line").await?;
    let mut output = follow(&*job).await?;
    until(&mut output, "one\n").await?;
    equal("the state", job.status().await?.state, JobState::Running)?;
    say(&*job, "x\n").await?;
    until(&mut output, "two x\n").await?;
    equal("what follows the end", next("the end of the output", &mut output).await?, None)?;
    equal("the state", job.wait(SOON).await?.state, JobState::Succeeded)
}

async fn output_continues(scene: &Scene) -> Check {
    let container = scene.running("c").await?;
    let job = with_input(&*container, "while read line; do echo got $line; done").await?;
    let mut live = follow(&*job).await?;
    for (line, answer) in [("a\n", "got a\n"), ("b\n", "got b\n"), ("c\n", "got c\n")] {
        say(&*job, line).await?;
        until(&mut live, answer).await?;
    }
    let all = drain("output", &mut job.output(OutputOptions::kept()).await?).await?;
    let numbers: Vec<u64> = all.iter().map(|chunk| chunk.sequence).collect();
    equal("the numbers", &numbers, &(1..).take(all.len()).collect::<Vec<u64>>())?;
    for already in 0..=all.len() {
        let sequence = u64::try_from(already).unwrap_or_default();
        let rest = drain("output", &mut job.output(OutputOptions::kept().after(sequence)).await?).await?;
        equal(&format!("the output after {already}"), rest.as_slice(), all.get(already..).unwrap_or_default())?;
    }
    // The same while it goes on.
    let last = numbers.last().copied().unwrap_or_default();
    let mut resumed = job.output(OutputOptions::follow().after(last)).await.during("output")?;
    say(&*job, "d\n").await?;
    job.close_stdin().await.during("close")?;
    let rest = drain("the resumed output", &mut resumed).await?;
    equal("the first number", rest.first().map(|chunk| chunk.sequence), Some(last + 1))?;
    equal("the resumed output", text(&rest.iter().map(|c| c.data.clone()).collect::<Vec<_>>().concat()), "got d\n")
}

async fn every_byte(scene: &Scene) -> Check {
    let container = scene.running("c").await?;
    let job = container.run(&JobSpec::new(["cat"]).with_stdin()).await.during("run")?;
    let sent: Vec<u8> = (0..=255).cycle().take(64 * 1024).collect();
    for piece in sent.chunks(10_000) {
        job.write_stdin(Bytes::copy_from_slice(piece)).await.during("write")?;
    }
    job.close_stdin().await.during("close")?;
    let chunks = drain("output", &mut follow(&*job).await?).await?;
    ensure(chunks.iter().all(|chunk| chunk.kind == OutputKind::Stdout), "output that is not from stdout")?;
    let received = chunks.into_iter().map(|chunk| chunk.data).collect::<Vec<_>>().concat();
    equal("the number of bytes", received.len(), sent.len())?;
    ensure(received == sent, "the bytes came back changed")
}

async fn input(scene: &Scene) -> Check {
    let container = scene.running("c").await?;
    let job = with_input(&*container, "read one; read two; cat; echo end of $one and $two; exit 6").await?;
    for line in ["1\n", "2\n", "rest\n"] {
        say(&*job, line).await?;
    }
    job.close_stdin().await.during("close")?;
    job.close_stdin().await.during("close again")?;
    let result = finished(&*job).await?;
    equal("the output", result.stdout.as_str(), "rest\nend of 1 and 2\n")?;
    equal("the exit code", result.status.exit_code, Some(6))
}

async fn no_input(scene: &Scene) -> Check {
    let container = scene.running("c").await?;
    let write = |job: Arc<dyn Job>| async move { job.write_stdin(Bytes::from_static(b"x\n")).await };
    // Without input it reads the end of file.
    let none = shell(&*container, "cat; exit 5").await?;
    equal("the exit code", none.wait(SOON).await.during("wait")?.exit_code, Some(5))?;
    let none = container.run(&JobSpec::new(SLEEP)).await.during("run")?;
    refused("write to a job without input", write(none).await, ErrorKind::Conflict)?;
    if scene.has(crate::Capability::JobStdin) {
        let closed = container.run(&JobSpec::new(SLEEP).with_stdin()).await.during("run")?;
        closed.close_stdin().await.during("close")?;
        refused("write to a closed input", write(closed).await, ErrorKind::Conflict)?;
        let gone = with_input(&*container, "exit 0").await?;
        gone.wait(SOON).await.during("wait")?;
        refused("write to an ended job", write(gone).await, ErrorKind::Conflict)?;
    }
    Ok(())
}

async fn resize(scene: &Scene) -> Check {
    let container = scene.running("c").await?;
    let spec = JobSpec::new(["sh", "-c", "while true; do stty size; sleep 0.1; done"])
        .with_terminal(TerminalSize { columns: 91, rows: 31 });
    let job = container.run(&spec).await.during("run")?;
    let mut output = follow(&*job).await?;
    until(&mut output, "31 91\r\n").await?;
    // Podman 4.3 now and then takes a resize and loses it; asking again is what a terminal's user does, too.
    let asked_again_after = Duration::from_secs(3);
    for patience in 1..=5 {
        job.resize(TerminalSize { columns: 123, rows: 45 }).await.during("resize")?;
        match tokio::time::timeout(asked_again_after, until(&mut output, "45 123\r\n")).await {
            Ok(seen) => {
                seen?;
                break;
            }
            Err(_) if patience == 5 => return failed("the new size is not seen, though asked for five times"),
            Err(_) => {}
        }
    }
    let zero = job.resize(TerminalSize { columns: 0, rows: 45 }).await;
    refused("resize to nothing", zero, ErrorKind::InvalidInput).map(drop)
}

async fn resize_nothing(scene: &Scene) -> Check {
    let container = scene.running("c").await?;
    let job = container.run(&JobSpec::new(SLEEP)).await.during("run")?;
    refused("resize", job.resize(TerminalSize { columns: 80, rows: 24 }).await, ErrorKind::Conflict).map(drop)
}

async fn kill(scene: &Scene) -> Check {
    let container = scene.running("c").await?;
    for (signal, code) in [(Signal::TERM, 143), (Signal::KILL, 137)] {
        let job = container.run(&JobSpec::new(SLEEP)).await.during("run")?;
        job.kill(signal).await.during("kill")?;
        let status = job.wait(SOON).await.during(&format!("wait after {signal}"))?;
        equal("state and exit code", (status.state, status.exit_code), (JobState::Killed, Some(code)))?;
    }
    // A signal that is handled is not an end.
    let job = shell(&*container, &waiting_script("trap 'echo got it' USR1; trap 'exit 4' USR2")).await?;
    let mut output = follow(&*job).await?;
    until(&mut output, "ready\n").await?;
    job.kill(Signal::USR1).await.during("kill")?;
    until(&mut output, "got it\n").await?;
    equal("the state", job.status().await?.state, JobState::Running)?;
    job.kill("USR2".parse()?).await.during("kill")?;
    equal("the exit code", job.wait(SOON).await.during("wait")?.exit_code, Some(4))
}

async fn kill_finished(scene: &Scene) -> Check {
    let container = scene.running("c").await?;
    let job = shell(&*container, "exit 2").await?;
    let before = job.wait(SOON).await.during("wait")?;
    job.kill(Signal::KILL).await.during("kill")?;
    equal("the status", job.status().await.during("status")?, before)
}

async fn kill_one(scene: &Scene) -> Check {
    let container = scene.running("c").await?;
    let (one, two) = (container.run(&JobSpec::new(SLEEP)).await?, container.run(&JobSpec::new(SLEEP)).await?);
    one.kill(Signal::KILL).await.during("kill")?;
    equal("the killed job", one.wait(SOON).await.during("wait")?.state, JobState::Killed)?;
    refused("wait for the other", two.wait(MOMENT).await, ErrorKind::DeadlineExceeded)?;
    equal("the other job", two.status().await?.state, JobState::Running)?;
    in_state(&*container, ContainerState::Running).await.map(drop)
}

async fn wait(scene: &Scene) -> Check {
    let container = scene.running("c").await?;
    let job = shell(&*container, "sleep 0.5; exit 3").await?;
    let status = job.wait(SOON).await.during("wait")?;
    equal("state and exit code", (status.state, status.exit_code), (JobState::Failed, Some(3)))?;
    ensure(status.ended_at.is_some(), "an ended job has no time of its end")?;
    equal("the status, at once", job.wait(Duration::from_millis(1)).await.during("wait")?, status)
}

async fn wait_too_long(scene: &Scene) -> Check {
    let container = scene.running("c").await?;
    let job = container.run(&JobSpec::new(SLEEP)).await.during("run")?;
    refused("wait", job.wait(MOMENT).await, ErrorKind::DeadlineExceeded)?;
    equal("the state", job.status().await?.state, JobState::Running)
}

async fn many_wait(scene: &Scene) -> Check {
    let container = scene.running("c").await?;
    let job = with_input(&*container, "read line; exit 7").await?;
    let waiters = try_join_all((0..20).map(|_| job.wait(SOON)));
    // One caller that gives up takes nothing from the others.
    refused("a short wait", job.wait(MOMENT).await, ErrorKind::DeadlineExceeded)?;
    let (statuses, said) = tokio::join!(waiters, say(&*job, "go\n"));
    said?;
    let statuses = statuses.during("wait")?;
    equal("the number of answers", statuses.len(), 20)?;
    ensure(statuses.iter().all(|status| status.exit_code == Some(7)), "a waiter got another exit code")
}

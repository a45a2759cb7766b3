//! The same jobs through the Rust API: what REST shows is what the library does.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use roadstead_core::{
    ConnectOptions, ErrorKind, ItemStream, Job, JobSpec, JobState, Node, OutputChunk, OutputKind, OutputOptions,
    Signal, TerminalSize,
};
use roadstead_tests::TestEngine;
use tokio::time::timeout;

use crate::SOON;

async fn connect(engine: &TestEngine) -> Arc<dyn Node> {
    let registry = roadstead_backends::registry();
    registry.connect(engine.kind(), engine.uri(), &ConnectOptions::default()).await.expect("the engine answers")
}

async fn next(output: &mut ItemStream<OutputChunk>) -> Option<OutputChunk> {
    timeout(SOON, output.next()).await.expect("output or its end comes").map(|chunk| chunk.expect("no error"))
}

/// Reads on until the output so far holds `wanted`, and gives the number of the last piece.
async fn until(output: &mut ItemStream<OutputChunk>, so_far: &mut String, wanted: &str) -> u64 {
    loop {
        let chunk = timeout(SOON, output.next()).await.unwrap_or_else(|_| panic!("no {wanted:?} in time: {so_far:?}"));
        let chunk = chunk.unwrap_or_else(|| panic!("ended without {wanted:?}: {so_far:?}")).expect("no error");
        so_far.push_str(&String::from_utf8_lossy(&chunk.data));
        if so_far.contains(wanted) {
            return chunk.sequence;
        }
    }
}

async fn follow(job: &Arc<dyn Job>, after: u64) -> ItemStream<OutputChunk> {
    job.output(OutputOptions::follow().after(after)).await.expect("the output can be read")
}

async fn a_job_through_the_rust_api(engine: &TestEngine) {
    let _cleaner = engine.cleaner();
    let id = engine.run(&engine.name("api"));
    let node = connect(engine).await;
    let container = node.container(&id);

    let script = "echo one; read word; echo got $word; read word; echo got $word; exit 3";
    let job = container.run(&JobSpec::new(["sh", "-c", script]).with_stdin()).await.expect("it starts");
    let mut output = follow(&job, 0).await;
    let mut seen = String::new();
    until(&mut output, &mut seen, "one\n").await;
    assert_eq!(job.status().await.unwrap().state, JobState::Running);
    job.write_stdin("two\n".into()).await.unwrap();
    let last = until(&mut output, &mut seen, "got two\n").await;
    drop(output);
    let mut output = follow(&job, last).await;
    job.write_stdin("three\n".into()).await.unwrap();
    let mut rest = String::new();
    while let Some(chunk) = next(&mut output).await {
        rest.push_str(&String::from_utf8_lossy(&chunk.data));
    }
    assert_eq!(rest, "got three\n");
    let status = job.wait(SOON).await.unwrap();
    assert_eq!((status.state, status.exit_code), (JobState::Failed, Some(3)));
    // By its id it is found again, with all that it wrote.
    let again = node.job(job.id()).await.expect("it is kept");
    assert_eq!(again.status().await.unwrap(), status);
    let kept: Vec<_> = again.output(OutputOptions::kept()).await.unwrap().map(Result::unwrap).collect().await;
    let text: Vec<u8> = kept.iter().flat_map(|chunk| chunk.data.to_vec()).collect();
    assert_eq!(text, b"one\ngot two\ngot three\n");
    assert!(kept.iter().all(|chunk| chunk.kind == OutputKind::Stdout));
    assert!(node.capabilities().jobs_kept_seconds >= 600);
    assert!(container.jobs().await.unwrap().iter().any(|known| known.id == status.id));

    for (signal, exit_code) in [(Signal::TERM, 143), (Signal::KILL, 137)] {
        let job = container.run(&JobSpec::new(["sh", "-c", "echo ready; exec sleep 1000"])).await.expect("it starts");
        until(&mut follow(&job, 0).await, &mut String::new(), "ready\n").await;
        let error = job.wait(Duration::from_millis(1)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
        job.kill(signal).await.unwrap();
        let status = job.wait(SOON).await.unwrap();
        assert_eq!((status.state, status.exit_code), (JobState::Killed, Some(exit_code)));
        job.kill(signal).await.expect("killing once more is fine");
    }

    let size = |columns, rows| TerminalSize { columns, rows };
    let spec = JobSpec::new(["sh", "-c", super::TERMINAL_SCRIPT]).with_stdin().with_terminal(size(93, 31));
    let job = container.run(&spec).await.expect("it starts");
    let mut output = follow(&job, 0).await;
    let mut seen = String::new();
    until(&mut output, &mut seen, "31 93").await;
    job.resize(size(101, 41)).await.unwrap();
    job.write_stdin("\n".into()).await.unwrap();
    let again = async {
        loop {
            tokio::time::sleep(super::RESIZE_AGAIN).await;
            let _ = job.resize(size(101, 41)).await;
        }
    };
    tokio::select! {
        _ = until(&mut output, &mut seen, "41 101") => {}
        () = again => {}
    }
    assert_eq!(job.wait(SOON).await.unwrap().state, JobState::Succeeded);

    let main = engine.get(&format!("/containers/{id}/json"));
    assert_eq!(main["State"]["Running"], true, "the container's main process was not touched");
}

/// Many jobs at once keep their own output and exit codes, and each of many waiters gets the result.
async fn many_jobs_at_once(engine: &TestEngine) {
    let _cleaner = engine.cleaner();
    let id = engine.run(&engine.name("many"));
    let node = connect(engine).await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..20 {
        let container = node.container(&id);
        tasks.spawn(async move {
            let script = format!("echo job {number}; exit {number}");
            let job = container.run(&JobSpec::new(["sh", "-c", &script])).await.expect("it starts");
            let (one, two) = tokio::join!(job.wait(SOON), job.wait(SOON));
            assert_eq!(one.unwrap().exit_code, Some(number));
            assert_eq!(two.unwrap().exit_code, Some(number));
            let mut text = String::new();
            let mut output = job.output(OutputOptions::kept()).await.unwrap();
            while let Some(chunk) = next(&mut output).await {
                text.push_str(&String::from_utf8_lossy(&chunk.data));
            }
            assert_eq!(text, format!("job {number}\n"));
        });
    }
    tasks.join_all().await;
    assert_eq!(node.container(&id).jobs().await.unwrap().len(), 20);
}

/// Whoever asks for a job and leaves before the answer leaves a job that is listed and can be killed, or nothing.
async fn a_caller_who_leaves_leaves_a_job(engine: &TestEngine) {
    let _cleaner = engine.cleaner();
    let id = engine.run(&engine.name("left"));
    let node = connect(engine).await;
    let container = node.container(&id);
    let mut left = 0;
    for milliseconds in (0..40).step_by(2).chain((40..400).step_by(20)) {
        let spec = JobSpec::new(["sleep", &(10_000 + milliseconds).to_string()]);
        left += usize::from(timeout(Duration::from_millis(milliseconds), container.run(&spec)).await.is_err());
    }
    assert!(left > 0, "every call was answered before its caller could leave");
    // What has been begun is finished; each process that runs then has its job.
    let sleeps = |text: &str| text.split_whitespace().skip_while(|word| *word != "sleep").nth(1).map(str::to_owned);
    let mut same = 0;
    let mut seen = (Vec::new(), Vec::new());
    for _ in 0..200 {
        let processes = container.processes().await.expect("they can be listed");
        let mut running: Vec<_> = processes.iter().filter_map(|process| sleeps(&process.cmdline.join(" "))).collect();
        running.retain(|seconds| seconds.len() == 5);
        running.sort();
        let jobs = container.jobs().await.unwrap().into_iter().filter(|job| job.state == JobState::Running);
        let mut listed: Vec<_> = jobs.filter_map(|job| sleeps(&job.command.join(" "))).collect();
        listed.sort();
        seen = (running, listed);
        same = if seen.0 == seen.1 { same + 1 } else { 0 };
        if same == 20 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(seen.0, seen.1, "the processes and the jobs");
    assert!(same == 20 && !seen.0.is_empty());
    for status in container.jobs().await.unwrap() {
        let job = node.job(&status.id).await.unwrap();
        job.kill(Signal::KILL).await.unwrap();
        assert_eq!(job.wait(SOON).await.unwrap().state, JobState::Killed);
    }
}

/// A process that hides from signals, on an engine of another machine: killing it says so and does not claim success.
async fn a_kill_that_cannot_be_is_told(engine: &TestEngine) {
    let _cleaner = engine.cleaner();
    let id = engine.run(&engine.name("hides"));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("{}+tcp://{}", engine.kind(), listener.local_addr().unwrap());
    let socket = engine.socket().to_owned();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let mut far = tokio::net::UnixStream::connect(&socket).await.expect("the engine is there");
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut near, &mut far).await });
        }
    });
    let registry = roadstead_backends::registry();
    let node = registry.connect(engine.kind(), &uri, &ConnectOptions::default()).await.expect("the engine answers");
    let job = node.container(&id).run(&JobSpec::new(["env", "-i", "sleep", "1000"])).await.expect("it starts");
    // It hides once `env` has become `sleep`.
    let hidden = async {
        while !node.container(&id).processes().await.unwrap().iter().any(|p| p.cmdline.join(" ").trim() == "sleep 1000")
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, hidden).await.expect("it sleeps");
    let error = job.kill(Signal::KILL).await.expect_err("nothing was killed");
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
    assert_eq!(job.status().await.unwrap().state, JobState::Running);
    // One that has ended is fine, hidden or not.
    let job = node.container(&id).run(&JobSpec::new(["env", "-i", "true"])).await.expect("it starts");
    job.kill(Signal::KILL).await.expect("it ends meanwhile, or is reached");
    job.wait(SOON).await.unwrap();
    job.kill(Signal::KILL).await.expect("it has ended");
}

crate::on_both_engines! {
    a_job_through_the_rust_api
    many_jobs_at_once
    a_caller_who_leaves_leaves_a_job
    a_kill_that_cannot_be_is_told
}

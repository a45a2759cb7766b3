//! A thousand jobs that run and write at the same time, read through the proxy before a node's Redis.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use roadstead_core::JobState;
use roadstead_tests::engines::OwnEngine;

use crate::MAX_CONNECTIONS;
use crate::world::{SOON, begun, connect, output, shell, tls};

const JOBS: i32 = 1000;
const LINES: usize = 20;

/// The port at which the engine's proxy listens.
fn proxy_port(engine: &OwnEngine) -> u16 {
    let uri = engine.verb("tls-uri");
    uri.rsplit_once(':').expect("a port").1.parse().expect("a number")
}

/// How many connections there are from this machine to that port of it.
fn connections_to(port: u16) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("the table of connections");
    let other_side = format!(":{port:04X}");
    let counts = |line: &&str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words[2].ends_with(&other_side) && words[3] == "01"
    };
    table.lines().skip(1).filter(counts).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_live_jobs_are_read_whole_through_the_proxy() {
    let Some(engine) = OwnEngine::core0("live-thousand") else { return };
    let node = connect(&tls(&engine)).await;
    let port = proxy_port(&engine);
    let done = Arc::new(AtomicBool::new(false));
    let over = Arc::clone(&done);
    let watch = tokio::spawn(async move {
        let mut most = 0;
        while !over.load(Ordering::Acquire) {
            most = most.max(connections_to(port));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        most
    });
    // A shell that waits for a line from a pipe starts nothing for it.
    let go = format!("{}/go", engine.verb("dir"));
    assert!(std::process::Command::new("mkfifo").arg(&go).status().expect("mkfifo").success());
    // For reading and writing: it neither waits for who reads nor is it at its end for them.
    let mut gate = std::fs::File::options().read(true).write(true).open(&go).expect("the pipe");
    let jobs = join_all((0..JOBS).map(|number| {
        let script = format!(
            "echo begun {number}; read line <{go}; n=0; while [ $n -lt {LINES} ]; do n=$((n + 1)); echo {number} $n; done; \
             echo bad {number} >&2; exit {}",
            number % 200
        );
        let node = &node;
        async move { (number, node.run(&shell(&script)).await.expect("it starts")) }
    }))
    .await;
    begun(&jobs).await;
    for (number, job) in &jobs {
        let status = job.status().await.expect("a status");
        assert_eq!(status.state, JobState::Running, "job {number}: all run at once");
    }
    gate.write_all(&vec![b'\n'; jobs.len()]).expect("they go on");
    let ended = join_all(jobs.iter().map(|(_, job)| job.wait(SOON * 4))).await;
    done.store(true, Ordering::Release);
    for ((number, job), status) in jobs.iter().zip(ended) {
        assert_eq!(status.expect("none is lost").exit_code, Some(number % 200), "job {number}");
        let told = output(&**job).await;
        // Standard error has no place among the lines of standard output.
        let (bad, lines): (Vec<_>, Vec<_>) = told.lines().partition(|line| line.starts_with("bad"));
        let mut written = vec![format!("begun {number}")];
        written.extend((1..=LINES).map(|line| format!("{number} {line}")));
        assert_eq!(lines, written, "job {number}");
        assert_eq!(bad, [format!("bad {number}")]);
    }
    let most = watch.await.expect("it watched");
    println!("{most} connections at most");
    assert!((1..=MAX_CONNECTIONS).contains(&most), "{most} connections");
}

//! The stream against a daemon that is scripted: what it remembers, and when it hangs up.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use roadstead_core::jobs::{JobKeeper, JobLimits};
use roadstead_core::{Capabilities, EventAction};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch as signal;

use super::super::transport::{Endpoint, Transport};
use super::*;

/// A daemon that knows `/_ping` and `/events`.
struct Daemon {
    directory: tempfile::TempDir,
    /// Seconds at which something happened, as far as it remembers.
    memory: Mutex<Vec<u64>>,
    /// How often the memory has changed, and how often live streams were ended.
    pulse: signal::Sender<(u64, u64)>,
}

impl Daemon {
    fn start(memory: &[u64]) -> Arc<Self> {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("socket")).unwrap();
        let daemon =
            Arc::new(Daemon { directory, memory: Mutex::new(memory.to_vec()), pulse: signal::Sender::new((0, 0)) });
        let serving = Arc::clone(&daemon);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(Arc::clone(&serving).serve(stream));
            }
        });
        daemon
    }

    fn client(&self) -> Arc<Client> {
        let socket: PathBuf = self.directory.path().join("socket");
        let transport = Transport::new(Endpoint::Unix(socket), Duration::from_secs(2));
        let version = bollard::ClientVersion { major_version: 1, minor_version: 41 };
        let docker = bollard::Docker::connect_with_custom_transport(
            transport.for_library(),
            Some(transport.base()),
            5,
            &version,
        )
        .unwrap();
        Arc::new(Client {
            docker,
            transport,
            name: "n".to_owned(),
            uri: "docker+unix:///socket".to_owned(),
            capabilities: Capabilities::all(),
            cores: None,
            members: Arc::new(crate::host::Members::new(false)),
            jobs: JobKeeper::new("n", JobLimits::default()),
            local: true,
            reconnect_deadline: Duration::from_millis(400),
            volume_create: tokio::sync::Mutex::new(()),
        })
    }

    async fn serve(self: Arc<Self>, mut stream: UnixStream) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            if stream.read_exact(&mut byte).await.is_err() {
                return;
            }
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        let target = head.split(' ').nth(1).unwrap().to_owned();
        if target.contains("_ping") {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nOK").await;
            return;
        }
        let parameter = |name: &str| -> Option<f64> {
            let value = target.split(['?', '&']).find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
            value.parse().ok()
        };
        let (since, until) = (parameter("since").unwrap(), parameter("until"));
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        let mut pulse = self.pulse.subscribe();
        let endings = pulse.borrow().1;
        let mut told = Vec::new();
        loop {
            let memory = self.memory.lock().unwrap().clone();
            for second in memory {
                let at = second as f64;
                if at >= since && until.is_none_or(|until| at <= until) && !told.contains(&second) {
                    told.push(second);
                    let line = format!(
                        "{{\"Type\":\"container\",\"Action\":\"start\",\"Actor\":{{\"ID\":\"c{second}\"}},\"time\":{second}}}\n"
                    );
                    let _ = stream.write_all(format!("{:x}\r\n{line}\r\n", line.len()).as_bytes()).await;
                }
            }
            if until.is_some() {
                let _ = stream.write_all(b"0\r\n\r\n").await;
                return;
            }
            if pulse.changed().await.is_err() || pulse.borrow_and_update().1 != endings {
                return;
            }
        }
    }

    fn happens(&self, second: u64) {
        self.memory.lock().unwrap().push(second);
        self.pulse.send_modify(|pulse| pulse.0 += 1);
    }

    /// Ends the live streams; what comes afterwards finds this memory.
    fn hang_up(&self, memory: &[u64]) {
        *self.memory.lock().unwrap() = memory.to_vec();
        self.pulse.send_modify(|pulse| pulse.1 += 1);
    }
}

const START: u64 = 1_795_243_842;

async fn next(events: &mut ItemStream<Event>) -> String {
    let event = timeout(Duration::from_secs(5), events.next()).await.unwrap().unwrap().unwrap();
    if event.action == EventAction::Resync { "resync".to_owned() } else { event.id }
}

async fn begin(client: &Arc<Client>) -> ItemStream<Event> {
    let since = Timestamp::from_unix_seconds(i64::try_from(START).unwrap()).unwrap();
    stream(client, &EventOptions::since(since)).await.unwrap()
}

fn id(offset: u64) -> String {
    format!("c{}", START + offset)
}

#[tokio::test]
async fn a_break_that_lost_nothing_is_not_noticed() {
    let daemon = Daemon::start(&[START - 1, START]);
    let mut events = begin(&daemon.client()).await;
    assert_eq!(next(&mut events).await, id(0));
    daemon.happens(START + 1);
    assert_eq!(next(&mut events).await, id(1));
    daemon.hang_up(&[START, START + 1, START + 2]);
    // Neither is the last one repeated, nor is a resync given.
    assert_eq!(next(&mut events).await, id(2));
    daemon.happens(START + 3);
    assert_eq!(next(&mut events).await, id(3));
}

#[tokio::test]
async fn a_daemon_that_has_forgotten_makes_a_resync() {
    let daemon = Daemon::start(&[START - 1, START]);
    let mut events = begin(&daemon.client()).await;
    assert_eq!(next(&mut events).await, id(0));
    daemon.hang_up(&[START + 5]);
    assert_eq!(next(&mut events).await, "resync");
    assert_eq!(next(&mut events).await, id(5));
}

#[tokio::test]
async fn a_past_that_is_forgotten_makes_a_resync() {
    let daemon = Daemon::start(&[START + 7]);
    let mut events = begin(&daemon.client()).await;
    assert_eq!(next(&mut events).await, "resync");
    assert_eq!(next(&mut events).await, id(7));
}

#[tokio::test]
async fn a_daemon_that_stays_away_ends_the_stream_in_time() {
    let daemon = Daemon::start(&[START - 1, START]);
    let mut events = begin(&daemon.client()).await;
    assert_eq!(next(&mut events).await, id(0));
    std::fs::remove_file(daemon.directory.path().join("socket")).unwrap();
    daemon.hang_up(&[]);
    let end = timeout(Duration::from_secs(5), events.next()).await.unwrap().unwrap().unwrap_err();
    assert_eq!(end.kind(), ErrorKind::Unavailable);
    assert!(events.next().await.is_none());
    assert!(events.next().await.is_none(), "asking once more is harmless");
}

#[test]
fn what_was_seen_is_remembered_for_a_while() {
    let mut seen = Seen::default();
    for key in 0..=REMEMBERED as u64 {
        assert!(seen.insert(key));
    }
    assert!(!seen.insert(REMEMBERED as u64));
    assert!(!seen.insert(1));
    assert!(seen.insert(0), "the oldest is forgotten");
    assert_eq!(seen.keys.len(), REMEMBERED);
}

#[test]
fn time_before_a_time() {
    let time: Timestamp = "2026-11-21T06:50:42.5Z".parse().unwrap();
    assert_eq!(before(time, OVERLAP).to_string(), "2026-11-21T06:50:41.5Z");
}

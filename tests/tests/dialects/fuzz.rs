//! Requests of every shape at every dialect: whatever comes, the answer is neither 500 nor silence, and the server lives.
//!
//! It knows the words of the dialects and no schema. A run prints its seed; `ROADSTEAD_FUZZ_SEED` repeats it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use libtest_mimic::{Failed, Trial};
use roadstead_tests::left_out::soak;
use roadstead_tests::server::{Server, ServerOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// So many requests, where nobody asked for a soak.
const REQUESTS: u64 = 5_000;
const REQUESTS_SOAK: u64 = 100_000;
/// So many at once.
const AT_ONCE: u64 = 16;
/// Whoever is not answered in this time hangs.
const DEADLINE: Duration = Duration::from_secs(60);

pub(super) fn trials() -> Vec<Trial> {
    vec![Trial::test("fuzz::nothing_is_answered_with_500", fuzz)]
}

fn fuzz() -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let seed = std::env::var("ROADSTEAD_FUZZ_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| {
        u64::from(std::process::id()) << 32
            | u64::from(std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.subsec_nanos()))
    });
    let all = if soak() { REQUESTS_SOAK } else { REQUESTS };
    println!("ROADSTEAD_FUZZ_SEED={seed}, {all} requests");
    runtime.block_on(run(seed, all))
}

/// The doors that are knocked at: address, what the paths begin with, and the token that is shown.
struct Target {
    address: String,
    prefix: &'static str,
    token: Option<String>,
}

async fn run(seed: u64, all: u64) -> Result<(), Failed> {
    let server = ServerOptions::default()
        .node("server1", "memory:")
        .node("server2", "memory:")
        .argument("--dialect=pharos=127.0.0.1:0,anonymous=admin,node_uri=memory://pharos@{host}")
        .argument("--dialect=copa=127.0.0.1:0,anonymous=admin,node_uri=memory://copa@{host}")
        .start();
    // Something that verbs can be done to, on both.
    for node in ["server1", "server2"] {
        let spec = serde_json::json!({ "name": "web", "image": roadstead_core::memory::PRESET_IMAGE, "command": ["sleep", "3600"] });
        let _ = server.post_json(&format!("/v1/nodes/{node}/containers"), &spec).await.expect(201);
    }
    let host = |url: String| url.trim_start_matches("http://").to_owned();
    let own = |name: &str| Target { address: host(server.dialect(name)), prefix: "", token: None };
    let main = |prefix| Target { address: server.address().to_owned(), prefix, token: Some(server.token().to_owned()) };
    let targets = Arc::new([own("pharos"), own("copa"), main("/pharos"), main("/copa")]);
    let next = Arc::new(AtomicU64::new(0));
    let mut tasks = Vec::new();
    for _ in 0..AT_ONCE {
        let (targets, next) = (Arc::clone(&targets), Arc::clone(&next));
        tasks.push(tokio::spawn(async move {
            let mut statuses = std::collections::BTreeMap::<u16, u64>::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= all {
                    return Ok(statuses);
                }
                let mut dice = Dice(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
                let target = &targets[dice.below(targets.len())];
                let (request, is_whole) = request(&mut dice, target);
                let shown = String::from_utf8_lossy(&request[..request.len().min(600)]).into_owned();
                let answer = tokio::time::timeout(DEADLINE, send(&target.address, &request, is_whole)).await;
                let status = match answer {
                    Err(_) => return Err(format!("no answer within {DEADLINE:?} to number {number}: {shown}")),
                    // The server may close a connection of which the head is no HTTP.
                    Ok(status) => status.unwrap_or(0),
                };
                if status == 0 && is_whole {
                    return Err(format!("no status to number {number}: {shown}"));
                }
                if status == 500 {
                    return Err(format!("500 to number {number}: {shown}"));
                }
                *statuses.entry(status).or_default() += 1;
            }
        }));
    }
    let mut statuses = std::collections::BTreeMap::<u16, u64>::new();
    for task in tasks {
        for (status, count) in task.await?? {
            *statuses.entry(status).or_default() += count;
        }
    }
    println!("{statuses:?}");
    alive(&server).await;
    // One that answered nothing but refusals would have tried nothing.
    let ok = statuses.get(&200).copied().unwrap_or(0);
    if ok < all / 20 {
        return Err(format!("only {ok} of {all} were understood: {statuses:?}").into());
    }
    Ok(())
}

async fn alive(server: &Server) {
    let _ = server.get("/healthz").await.expect(200);
    for dialect in ["pharos/nodes", "copa/REST/pools"] {
        let _ = server.get(&format!("/{dialect}")).await.expect(200);
    }
    assert!(!server.log().contains("panicked"), "{}", server.log());
}

/// Sends a request and gives the status of the answer, which is read to its end, unless it is a stream.
async fn send(address: &str, request: &[u8], is_whole: bool) -> Option<u16> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    // The server may answer and close before it has read everything.
    let _ = stream.write_all(request).await;
    if !is_whole {
        // Nobody waits for the rest. Of a whole request the side stays open: a client that closes it is taken as gone.
        let _ = stream.shutdown().await;
    }
    let mut answer = Vec::new();
    loop {
        match stream.read_buf(&mut answer).await {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
        if answer.windows(17).any(|part| part == b"text/event-stream") || answer.len() > 8 * 1024 * 1024 {
            break;
        }
    }
    // What goes on is no answer yet.
    let interim = b"HTTP/1.1 100 Continue\r\n\r\n";
    let answer = answer.strip_prefix(interim).unwrap_or(&answer);
    let line = String::from_utf8_lossy(answer.get(..answer.len().min(64))?).into_owned();
    line.split(' ').nth(1)?.parse().ok()
}

/// Numbers that look random and come again with the seed (splitmix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.roll() % end as u64).expect("below the length of something")
    }

    fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    fn pick<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len())]
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        (0..self.below(most + 1)).map(|_| self.roll().to_le_bytes()[0]).collect()
    }
}

const METHODS: [&str; 12] =
    ["GET", "GET", "GET", "POST", "POST", "POST", "DELETE", "PUT", "PATCH", "HEAD", "OPTIONS", "BREW"];
const PATHS: [&str; 30] = [
    "/core/",
    "/core/containers_list/",
    "/core/containers_list/new",
    "/core/containers_list/add",
    "/core/containers_list/start/server1/web",
    "/core/containers_list/migrate/server1/web/server2",
    "/nodes",
    "/nodes/",
    "/nodes/server1/metrics",
    "/nodes/{}/metrics",
    "/containers",
    "/containers/{}/metrics",
    "/containers/web/metrics",
    "/events",
    "/events/stream",
    "/REST/pools",
    "/REST/pools/",
    "/REST/container/",
    "/REST/container",
    "/REST/image/",
    "/REST/network/locus/",
    "/REST/network/kpilink/",
    "/REST/network/kpicommand",
    "/REST/network/kpiresource/",
    "/REST/network/kpiwireless/",
    "/REST/network/configuration/",
    "/REST/network/dashboard",
    "/REST/network/dashboardlinks/",
    "/core/containers_list/api/",
    "/{}",
];
const NAMES: [&str; 44] = [
    "operation",
    "container_pool",
    "container_name",
    "ip",
    "destination_pool",
    "image_type",
    "image_pool",
    "host",
    "all",
    "status",
    "id",
    "limit",
    "offset",
    "locus",
    "last",
    "locus1",
    "locus2",
    "jitter_1to2",
    "latency_max_1to2",
    "latency_median_1to2",
    "latency_min_1to2",
    "jitter_2to1",
    "latency_max_2to1",
    "latency_median_2to1",
    "latency_min_2to1",
    "throughput",
    "cmd",
    "cmd_type",
    "proc_time",
    "response_time",
    "CPU",
    "memory",
    "mac",
    "signal",
    "rx_bytes",
    "delegation_mode",
    "auto_delegation_type",
    "id_last_item",
    "since",
    "until",
    "_id",
    "method",
    "args",
    "quiet",
];
const VALUES: [&str; 40] = [
    "",
    "add",
    "remove",
    "delete",
    "list_containers",
    "information",
    "start",
    "stop",
    "freeze",
    "unfreeze",
    "migrate",
    "create",
    "command_execution",
    "images_list",
    "copa_host_command",
    "copa_module_execution",
    "server1",
    "server2",
    "ghost",
    "web",
    "1.1.1.1",
    "box:1",
    "::1",
    "true",
    "all",
    "die",
    "1",
    "0",
    "-1",
    "1e400",
    "NaN",
    "inf",
    "3.5",
    "999999999999999999999",
    "a",
    "m",
    "v",
    "threshold_cpu",
    "2026-11-28T00:00:00Z",
    "roadstead/busybox:latest",
];

fn value(dice: &mut Dice) -> Vec<u8> {
    match dice.below(8) {
        0 => dice.bytes(40),
        1 => "x".repeat(dice.below(70_000)).into_bytes(),
        2 => "é\u{0}\u{202e}\n".as_bytes().to_vec(),
        _ => dice.pick(&VALUES).as_bytes().to_vec(),
    }
}

fn percent(bytes: &[u8]) -> String {
    form_urlencoded::byte_serialize(bytes).collect()
}

fn form(dice: &mut Dice) -> Vec<u8> {
    let pairs = (0..dice.below(9)).map(|_| format!("{}={}", dice.pick(&NAMES), percent(&value(dice))));
    let mut form = pairs.collect::<Vec<_>>().join("&").into_bytes();
    if dice.one_in(10) {
        form.extend(dice.bytes(30));
    }
    form
}

fn json(dice: &mut Dice, depth: usize) -> serde_json::Value {
    let text = |dice: &mut Dice| serde_json::Value::from(String::from_utf8_lossy(&value(dice)).into_owned());
    match dice.below(if depth > 3 { 5 } else { 8 }) {
        0 => serde_json::Value::Null,
        1 => dice.one_in(2).into(),
        2 => dice.roll().cast_signed().into(),
        3 => f64::from_bits(dice.roll()).into(),
        4 => text(dice),
        5 => (0..dice.below(4)).map(|_| json(dice, depth + 1)).collect(),
        _ => (0..dice.below(9))
            .map(|_| {
                let name = dice.pick(&NAMES).to_owned();
                let member = if dice.one_in(3) { json(dice, depth + 1) } else { text(dice) };
                (name, member)
            })
            .collect(),
    }
}

/// A body and what it is called.
fn body(dice: &mut Dice) -> (Vec<u8>, &'static str) {
    match dice.below(8) {
        0 => (Vec::new(), "application/x-www-form-urlencoded"),
        1 => (
            dice.bytes(300),
            dice.pick(&["application/octet-stream", "application/json", "multipart/form-data", "text/plain"]),
        ),
        2 => {
            let mut body = Vec::new();
            for _ in 0..dice.below(6) {
                body.extend(
                    format!("--b\r\nContent-Disposition: form-data; name=\"{}\"\r\n\r\n", dice.pick(&NAMES)).as_bytes(),
                );
                body.extend(value(dice));
                body.extend(b"\r\n");
            }
            body.extend(dice.pick(&["--b--\r\n", "--b", "", "--c--\r\n"]).as_bytes());
            (body, "multipart/form-data; boundary=b")
        }
        3 | 4 => {
            let mut body = json(dice, 0).to_string().into_bytes();
            if dice.one_in(6) {
                body.truncate(dice.below(body.len() + 1));
            }
            (body, dice.pick(&["application/json", "application/json; charset=utf-8", "text/json"]))
        }
        5 => ("[".repeat(dice.below(5000)).into_bytes(), "application/json"),
        _ => (form(dice), "application/x-www-form-urlencoded"),
    }
}

/// A member of a body, and what it may be.
type Likely = (&'static str, &'static [&'static str]);

/// Bodies as clients make them, of which a member now and then is another one or missing: path, names, and values of each.
const LIKELY: [(&str, &[Likely]); 7] = [
    (
        "/REST/container/",
        &[
            ("operation", &["start", "stop", "freeze", "unfreeze", "delete", "create", "migrate"]),
            ("container_pool", &["server1", "server2"]),
            ("container_name", &["web", "web", "other"]),
            ("destination_pool", &["server1", "server2"]),
            ("image_type", &["roadstead/busybox:latest", "busybox"]),
        ],
    ),
    (
        "/core/containers_list/api/",
        &[
            (
                "operation",
                &["start", "stop", "freeze", "information", "command_execution", "create", "images_list", "migrate"],
            ),
            ("container_pool", &["server1", "server2"]),
            ("container_name", &["web", "other"]),
            ("destination_pool", &["server2"]),
            ("image_type", &["roadstead/busybox:latest", "0"]),
        ],
    ),
    (
        "/REST/network/kpilink/",
        &[
            ("locus1", &["server1", "server2"]),
            ("locus2", &["server1", "server2"]),
            ("jitter_1to2", &["1", "0.5"]),
            ("latency_max_1to2", &["3"]),
            ("latency_median_1to2", &["2"]),
            ("latency_min_1to2", &["1"]),
            ("jitter_2to1", &["1e3"]),
            ("latency_max_2to1", &["3"]),
            ("latency_median_2to1", &["2"]),
            ("latency_min_2to1", &["1"]),
            ("throughput", &["100"]),
        ],
    ),
    (
        "/REST/network/kpiwireless/",
        &[
            ("locus", &["server1", "server2"]),
            ("mac", &["00:00:00:00:00:01", "00:00:00:00:00:02"]),
            ("mfb", &["true"]),
            ("tdls", &["false"]),
            ("wmm", &["True"]),
            ("authenticated", &["true"]),
            ("authorized", &["true"]),
            ("expected_throughput", &["1"]),
            ("inactive_time", &["1"]),
            ("preamble", &["long"]),
            ("rx_bitrate", &["1"]),
            ("rx_bytes", &["1"]),
            ("rx_packets", &["1"]),
            ("signal", &["-40 dBm"]),
            ("signal_avg", &["-40"]),
            ("tx_bitrate", &["1"]),
            ("tx_bytes", &["1"]),
            ("tx_failed", &["0"]),
            ("tx_retries", &["0"]),
        ],
    ),
    ("/REST/network/kpiresource/", &[("locus", &["server1"]), ("CPU", &["99", "3"]), ("memory", &["40"])]),
    (
        "/REST/network/kpicommand/",
        &[
            ("locus", &["server2"]),
            ("cmd", &["a"]),
            ("cmd_type", &["v", "g"]),
            ("proc_time", &["1"]),
            ("response_time", &["2"]),
        ],
    ),
    ("/REST/pools/", &[("operation", &["add", "remove"]), ("container_pool", &["third"]), ("ip", &["1.1.1.1", "box"])]),
];

/// One of these: path, body, and what it is called.
fn likely(dice: &mut Dice) -> (&'static str, Vec<u8>, &'static str) {
    let (path, members) = LIKELY[dice.below(LIKELY.len())];
    let mut given = Vec::new();
    for (name, values) in members {
        match dice.below(60) {
            0 => {}
            1 => given.push((*name, value(dice))),
            _ => given.push((*name, dice.pick(values).as_bytes().to_vec())),
        }
    }
    if path.ends_with("/api/") || dice.one_in(4) {
        let text = |value: &[u8]| serde_json::Value::from(String::from_utf8_lossy(value).into_owned());
        let mut object: serde_json::Map<_, _> =
            given.iter().map(|(name, value)| ((*name).to_owned(), text(value))).collect();
        object.insert("cmd".to_owned(), serde_json::json!(["sh", "-c", "echo hi"]));
        return (path, serde_json::Value::Object(object).to_string().into_bytes(), "application/json");
    }
    let pairs: Vec<String> = given.iter().map(|(name, value)| format!("{name}={}", percent(value))).collect();
    (path, pairs.join("&").into_bytes(), "application/x-www-form-urlencoded")
}

/// A request, and whether it is one to its end.
fn request(dice: &mut Dice, target: &Target) -> (Vec<u8>, bool) {
    let mut path = dice.pick(&PATHS).to_owned();
    if path.contains("{}") {
        let junk = value(dice);
        path = path.replace("{}", &percent(&junk[..junk.len().min(3000)]));
    }
    if dice.one_in(3) {
        let query = form(dice);
        // As it is, not all of it is a head that could be sent.
        let clean: String = query.iter().filter(|byte| byte.is_ascii_graphic()).map(|byte| char::from(*byte)).collect();
        path = format!("{path}?{}", &clean[..clean.len().min(20_000)]);
    }
    if dice.one_in(30) {
        path = path.replacen('/', dice.pick(&["//", "/../", "/%2e%2e/", "/%00", "/./", "\\", "/;"]), 1);
    }
    let (mut body, mut kind) = body(dice);
    let mut method = dice.pick(&METHODS);
    if dice.one_in(3) {
        let (of, likely, called) = likely(dice);
        (path, body, kind, method) = (of.to_owned(), likely, called, "POST");
    }
    let mut head = format!(
        "{method} {}{path} HTTP/1.{}\r\nHost: localhost\r\nConnection: close\r\n",
        target.prefix,
        usize::from(!dice.one_in(10))
    );
    if let Some(token) = &target.token {
        head.push_str(&format!("Authorization: Bearer {token}\r\n"));
    }
    head.push_str(&format!("Content-Type: {kind}\r\n"));
    if dice.one_in(15) {
        head.push_str(dice.pick(&[
            "Content-Encoding: gzip\r\n",
            "Accept: text/html;q=x\r\n",
            "Accept-Encoding: gzip\r\n",
            "Origin: http://evil.example\r\n",
            "Last-Event-ID: x\r\n",
            "If-Match: \"x\"\r\n",
            "Idempotency-Key: x\r\n",
            "Expect: 100-continue\r\n",
            "X-Request-Id: \u{7f}\r\n",
        ]));
    }
    if dice.one_in(12) {
        head.push_str("Transfer-Encoding: chunked\r\n\r\n");
        let mut request = head.into_bytes();
        for piece in body.chunks(97) {
            request.extend(format!("{:x}\r\n", piece.len()).as_bytes());
            request.extend(piece);
            request.extend(b"\r\n");
        }
        let end = dice.pick(&["0\r\n\r\n", "zz\r\n", ""]);
        request.extend(end.as_bytes());
        (request, end.starts_with("0\r"))
    } else {
        let length = if dice.one_in(40) { body.len() * 2 + 7 } else { body.len() };
        let is_whole = length == body.len();
        head.push_str(&format!("Content-Length: {length}\r\n\r\n"));
        let mut request = head.into_bytes();
        request.extend(body);
        (request, is_whole)
    }
}

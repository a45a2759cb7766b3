//! Starting, serving and ending: what the binary refuses, what it prints, what it keeps, how it goes.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use roadstead_tests::engines;
use roadstead_tests::server::{command, run_to_end};
use roadstead_tests::{Request, ServerOptions};

use crate::SOON;

/// Stands where a password stands; must never be shown.
const SECRET: &str = "hunter2-is-a-secret";

#[test]
fn an_open_address_without_tls_is_refused() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:7070"] {
        let state = tempfile::tempdir().unwrap();
        let (status, out, err) =
            run_to_end(command().args(["serve", "--listen", address, "--state-dir"]).arg(state.path()));
        assert_eq!(status.code(), Some(2), "{address}: {out}\n{err}");
        assert!(err.contains("listen") && err.contains("tls"), "it says neither what nor how to mend it: {err}");
        assert!(!state.path().join("admin.token").exists(), "it refused, but made a token");
    }
}

#[test]
fn bad_command_lines_are_refused_by_name() {
    let state = tempfile::tempdir().unwrap();
    for (arguments, wanted) in [
        (&["serve", "--listne", "127.0.0.1:0"][..], "--listne"),
        (&["serve", "--listen", "nowhere"], "nowhere"),
        (&["serve", "--node", "noequals"], "NAME=URI"),
        (&["serve", "--node", "a b=memory:"], "node"),
        (&["serve", "--node", "a=nosuch://x"], "nosuch"),
        (&["serve", "--config", "/no/such/file.toml"], "/no/such/file.toml"),
        (&["explode"], "explode"),
    ] {
        let (status, out, err) =
            run_to_end(command().args(arguments).env("ROADSTEAD_STATE_DIR", state.path()).env("HOME", state.path()));
        assert_eq!(status.code(), Some(2), "{arguments:?}: {out}\n{err}");
        assert!(err.contains(wanted), "{arguments:?} is not told: {err}");
    }
}

#[test]
fn a_bad_configuration_file_is_refused_by_line() {
    let state = tempfile::tempdir().unwrap();
    let file = state.path().join("roadstead.toml");
    for (text, wanted) in [
        ("listne = [\"127.0.0.1:0\"]\n", "listne"),
        ("listen = 7\n", "line 1"),
        ("\n\n[nodes]\na = \"no uri\"\n", "nodes.a"),
        ("listen = [\n", "line"),
    ] {
        std::fs::write(&file, text).unwrap();
        let (status, _, err) =
            run_to_end(command().arg("serve").arg("--config").arg(&file).arg("--state-dir").arg(state.path()));
        assert_eq!(status.code(), Some(2), "{text:?}: {err}");
        assert!(err.contains(wanted), "{text:?}: {err}");
    }
}

#[test]
fn print_config_shows_no_secret_and_changes_nothing() {
    let state = tempfile::tempdir().unwrap();
    let directory = state.path().join("state");
    let node = format!("far=docker+https://me:{SECRET}@192.0.2.1:2376");
    let (status, out, err) = run_to_end(
        command()
            .args(["serve", "--print-config", "--listen", "127.0.0.1:0", "--node", &node, "--state-dir"])
            .arg(&directory),
    );
    assert_eq!(status.code(), Some(0), "{err}");
    assert!(out.contains("127.0.0.1:0") && out.contains("192.0.2.1"), "{out}");
    assert!(!format!("{out}{err}").contains(SECRET), "it shows a password: {out}{err}");
    assert!(!directory.exists(), "it leaves a state directory behind");
    // What it prints is a configuration file.
    let file = state.path().join("printed.toml");
    std::fs::write(&file, &out).unwrap();
    let (status, again, err) = run_to_end(command().args(["serve", "--print-config", "--config"]).arg(&file));
    assert_eq!(status.code(), Some(0), "{err}");
    assert_eq!(again, out);
}

#[test]
fn check_tells_of_each_node_and_changes_nothing() {
    let state = tempfile::tempdir().unwrap();
    let directory = state.path().join("state");
    let check =
        |node: &str| run_to_end(command().args(["serve", "--check", "--node", node, "--state-dir"]).arg(&directory));
    let (status, out, err) = check("good=memory:");
    assert_eq!(status.code(), Some(0), "{out}{err}");
    assert!(out.contains("good: ok"), "{out}");
    let (status, out, err) = check("away=docker+unix:///no/such/directory/docker.sock");
    assert_eq!(status.code(), Some(1), "{out}{err}");
    assert!(out.contains("away: failed"), "{out}");
    // Nobody listens on the discard port.
    let (status, out, err) = check(&format!("secretive=docker+tcp://me:{SECRET}@127.0.0.1:9"));
    assert_ne!(status.code(), Some(0), "{out}{err}");
    assert!(!format!("{out}{err}").contains(SECRET), "it shows a password: {out}{err}");
    assert!(!directory.exists(), "a check leaves a state directory behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_is_private_and_stays() {
    let parent = tempfile::tempdir().unwrap();
    let server = ServerOptions::default().node("m", "memory:").start_in(&parent.path().join("made/by/the/server"));
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(server.state_dir()), 0o700);
    let token = server.state_dir().join("admin.token");
    assert_eq!(mode(&token), 0o600);
    assert!(server.token().len() >= 32, "the token is short");
    assert!(
        server.log().contains(&token.display().to_string()),
        "it does not say where the token is: {}",
        server.log()
    );
    assert!(!server.log().contains(server.token()), "it prints the token");
    assert_eq!(server.get("/v1/nodes").await.status, 200);
    // The next server on the same directory takes the same token.
    let (directory, token) = (server.state_dir().to_owned(), server.token().to_owned());
    drop(server);
    let next = ServerOptions::default().node("m", "memory:").start_in(&directory);
    assert_eq!(next.token(), token);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_others_can_read_is_refused() {
    let state = tempfile::tempdir().unwrap();
    let token = state.path().join("admin.token");
    std::fs::write(&token, "0123456789abcdef0123456789abcdef0123456789abcdef\n").unwrap();
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o644)).unwrap();
    let (status, out, err) = run_to_end(
        command().args(["serve", "--listen", "127.0.0.1:0", "--node", "m=memory:", "--state-dir"]).arg(state.path()),
    );
    assert_ne!(status.code(), Some(0), "{out}");
    assert!(err.contains("admin.token"), "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn health_needs_no_token_and_tells_nothing() {
    let server = ServerOptions::default().node("secret-node", "memory:").start();
    for path in ["/healthz", "/readyz"] {
        let answer = Request::new("GET", path).send_tcp(server.address()).unwrap();
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert!(!answer.text().contains("secret-node"), "{}", answer.text());
    }
}

/// Started by a hand that knows no engine, it says that nothing is real, and serves.
#[tokio::test(flavor = "multi_thread")]
async fn without_an_engine_it_says_that_nothing_is_real() {
    let empty = tempfile::tempdir().unwrap();
    // An environment that names an engine which is not there would count as one; a machine's usual sockets would, too.
    let usual = ["/var/run/docker.sock", "/run/docker.sock", "/run/podman/podman.sock"];
    if let Some(found) = usual.iter().find(|socket| std::path::Path::new(socket).exists()) {
        roadstead_tests::left_out::left_out(&format!("this machine has an engine at {found}"));
        return;
    }
    let server = ServerOptions::default().environment("HOME", &empty.path().display().to_string()).start();
    assert!(server.prints("nothing on it is real"), "it does not say so");
    let nodes = server.get("/v1/nodes").await.expect(200).json();
    let node = &nodes["items"][0];
    assert!(node["uri"].as_str().is_some_and(|uri| uri.starts_with("memory:")), "{nodes}");
    let name = node["name"].as_str().expect("a name");
    let info = server.get(&format!("/v1/nodes/{name}")).await.expect(200).json();
    assert!(info.to_string().contains("\"simulated\":true"), "{info}");
}

/// The environment of the docker command line leads to the engine that it names.
#[tokio::test(flavor = "multi_thread")]
async fn it_finds_what_docker_host_names() {
    let Some(engine) = engines::docker() else { return };
    let _cleaner = engine.cleaner();
    let id = engine.create(&engine.name("found"), &["true"]);
    let empty = tempfile::tempdir().unwrap();
    let server = ServerOptions::default()
        .environment("HOME", &empty.path().display().to_string())
        .environment("DOCKER_HOST", &format!("unix://{}", engine.socket().display()))
        .start();
    let list = server.get("/v1/containers").await.expect(200).json();
    assert!(list["items"].as_array().expect("items").iter().any(|item| item["id"] == id.as_str()), "{list}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_context_is_an_error_not_another_engine() {
    let empty = tempfile::tempdir().unwrap();
    let (status, out, err) = run_to_end(
        command()
            .args(["serve", "--check", "--state-dir"])
            .arg(empty.path())
            .env("HOME", empty.path())
            .env("DOCKER_CONTEXT", "no-such-context"),
    );
    // Either the check fails for it, or it serves and the node tells; silence would be wrong.
    assert!(
        format!("{out}{err}").contains("no-such-context"),
        "the missing context is not told ({status}): {out}{err}"
    );
}

/// A node that is away at the start is unavailable, hides nothing, and works when it is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_may_come_later() {
    let Some(engine) = engines::docker() else { return };
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("later.sock");
    let server = ServerOptions::with(&engine).node("later", &format!("docker+unix://{}", socket.display())).start();
    server.get("/v1/nodes/later/containers").await.expect_problem(503, "unavailable");
    assert_eq!(server.get("/v1/nodes/docker/containers").await.status, 200);
    std::os::unix::fs::symlink(engine.socket(), &socket).unwrap();
    let until = tokio::time::Instant::now() + SOON;
    loop {
        let answer = server.get("/v1/nodes/later/containers").await;
        if answer.status == 200 {
            break;
        }
        answer.expect_problem(503, "unavailable");
        assert!(tokio::time::Instant::now() < until, "it stays away: {}", answer.text());
        // It remembers for a moment that the node was away; nothing tells when that moment is over.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A node added over the API is there after a restart; one from the command line cannot be removed.
#[tokio::test(flavor = "multi_thread")]
async fn added_nodes_survive_a_kill() {
    let Some(engine) = engines::docker() else { return };
    let state = tempfile::tempdir().unwrap();
    let mut server = ServerOptions::default().node("fixed", "memory:").start_in(state.path());
    let body = serde_json::json!({"name": "added", "uri": engine.uri()});
    let added = server.post_json("/v1/nodes", &body).await;
    assert_eq!(added.status, 201, "{}", added.text());
    assert_eq!(added.header("location"), Some("/v1/nodes/added"));
    server.delete("/v1/nodes/fixed").await.expect_problem(409, "conflict");
    server.kill();
    // A URI may hold a password.
    for entry in std::fs::read_dir(state.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "others can read {:?}", entry.file_name());
    }

    let server = ServerOptions::default().node("fixed", "memory:").start_in(state.path());
    assert_eq!(server.get("/v1/nodes/added/containers").await.status, 200);
    assert_eq!(server.delete("/v1/nodes/added").await.status, 204);
    server.get("/v1/nodes/added").await.expect_problem(404, "not_found");
}

/// SIGTERM: no new requests, the one under way gets its answer, event streams end, and the exit code is 0.
#[tokio::test(flavor = "multi_thread")]
async fn sigterm_drains() {
    let Some(engine) = engines::docker() else { return };
    let _cleaner = engine.cleaner();
    let container = engine.run(&engine.name("drain"));
    let mut server = ServerOptions::with(&engine).start();
    let mut events = server.events("/v1/events", None).await;

    // A request that has begun and is not whole yet: an archive whose second half comes after the signal.
    let archive = crate::lifecycle::archive("drained", b"all of it");
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let (first, second) = archive.split_at(archive.len() / 2);
    write!(
        stream,
        "PUT /v1/nodes/docker/containers/{container}/files?path=/tmp HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Authorization: Bearer {}\r\nContent-Type: application/x-tar\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        server.token(),
        archive.len()
    )
    .unwrap();
    // The server asks for the body when the handler has the request.
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).unwrap();
    assert_eq!(&go_on[..], b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(first).unwrap();
    server.terminate();
    let last = events.rest(SOON).await;
    assert!(last.iter().all(|event| event.event != "error"), "{last:?}");
    stream.write_all(second).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");
    assert_eq!(server.wait_end().code(), Some(0), "{}", server.log());
    assert!(TcpStream::connect(server.address()).is_err(), "somebody still listens");
    let there = engine.ask("HEAD", &format!("/containers/{container}/archive?path=/tmp/drained"), None);
    assert_eq!(there.status, 200);
}

#[test]
fn a_state_directory_has_one_server() {
    let server = ServerOptions::default().node("a", "memory:").start();
    let second = run_to_end(
        command().args(["--listen", "127.0.0.1:0", "--node", "b=memory:", "--state-dir"]).arg(server.state_dir()),
    );
    let (status, _, err) = second;
    assert_eq!(status.code(), Some(1), "{err}");
    assert!(err.contains("is in use by another server"), "{err}");
}

#[test]
fn a_check_finds_what_the_start_would_refuse() {
    let directory = tempfile::tempdir().unwrap();
    let check = |arguments: &[&str]| {
        run_to_end(command().args(["--check", "--state-dir"]).arg(directory.path().join("state")).args(arguments))
    };
    let (status, _, err) = check(&["--node", "a=memory:", "--tls-cert", "/no/cert", "--tls-key", "/no/key"]);
    assert_eq!(status.code(), Some(2), "{err}");
    assert!(err.contains("tls_cert"), "{err}");
    assert_eq!(check(&["--node", "a=memory:"]).0.code(), Some(0));
}

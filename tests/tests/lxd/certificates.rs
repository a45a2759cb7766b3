//! Whose certificates are trusted, and what is said when they are not.

use roadstead_core::{ContainerSpec, ErrorKind, Retry};
use roadstead_http::{Config, Records, StateDir};
use roadstead_tests::engines::image;
use roadstead_tests::{ServerOptions, TestEngine};
use serde_json::json;

use crate::{Identity, Known, connect, fingerprint};

async fn a_server_is_trusted_by_its_certificate(engine: &TestEngine) {
    let known = Known::of(engine);
    let print = fingerprint(&known.server);
    let spelled: Vec<String> =
        print.to_uppercase().as_bytes().chunks(2).map(|pair| String::from_utf8_lossy(pair).into()).collect();
    for trust in [
        format!("server_certificate={}", known.server.display()),
        format!("fingerprint={print}"),
        format!("fingerprint={}", spelled.join(":")),
    ] {
        let node = connect(&format!("{}?{trust}&{}", engine.tls_uri(), known.query)).await.expect("it is trusted");
        node.ping().await.expect("it answers");
        assert!(!node.info().await.expect("it tells").local);
    }
}

async fn first_use_tells_what_to_trust_from_then_on(engine: &TestEngine) {
    let known = Known::of(engine);
    let first = connect(&format!("{}?trust=first-use&{}", engine.tls_uri(), known.query)).await.expect("it is trusted");
    let uri = first.uri().to_owned();
    assert!(uri.contains(&format!("fingerprint={}", fingerprint(&known.server))), "{uri}");
    assert!(!uri.contains("first-use"), "{uri}");
    assert_eq!(first.lasting_uri(), Some(uri.as_str()));
    let second = connect(&uri).await.expect("it is the same");
    assert_eq!((second.uri(), second.lasting_uri()), (uri.as_str(), None));
    second.ping().await.expect("it answers");
}

/// What is kept of a node over REST is what was trusted, and nothing that was good once.
async fn a_server_keeps_what_it_trusted(engine: &TestEngine) {
    let known = Known::of(engine);
    let own = Identity::new(engine);
    let untrusted = format!("{}{}&trust=first-use", engine.tls_uri(), own.query());
    let state = tempfile::tempdir().expect("a state directory");
    let mut server = ServerOptions::default().start_in(state.path());
    let add = |uri: &str| json!({"name": "kept", "uri": uri});
    // It is the engine that knows nobody of this certificate, and not we who know nobody of the token.
    let refused = server.post_json("/v1/nodes", &add(&untrusted)).await.expect(403).json();
    assert!(refused["detail"].as_str().unwrap_or_default().contains("does not let this server in"), "{refused}");
    let uri = format!("{}?trust=first-use&{}", engine.tls_uri(), known.query);
    let added = server.post_json("/v1/nodes", &add(&uri)).await.expect(201).json();
    let print = fingerprint(&known.server);
    let shown = server.get("/v1/nodes/kept").await.expect(200).text();
    for place in [added["uri"].as_str().unwrap_or_default(), &shown] {
        assert!(place.contains(&print) && !place.contains("first-use"), "{place}");
    }
    let trusted = kept_uri(server.state_dir()).await;
    assert!(trusted.contains(&print) && !trusted.contains("first-use"), "{trusted}");
    // The same after a start anew.
    server.terminate();
    let _ = server.wait_end();
    let mut server = ServerOptions::default().start_in(state.path());
    let node = server.get("/v1/nodes/kept").await.expect(200).json();
    assert_eq!(node["state"], "connected", "{node}");
    // Older versions kept what was asked for: that becomes what was trusted as soon as it is connected.
    server.terminate();
    let _ = server.wait_end();
    let asked = trusted.replace(&format!("fingerprint={print}"), "trust=first-use");
    assert!(asked.contains("first-use") && !asked.contains(&print));
    let file = server.state_dir().join("nodes.json");
    let text = json!({"version": 1, "nodes": [{"name": "kept", "uri": asked}]}).to_string();
    std::fs::write(&file, text).expect("it is written");
    let server = ServerOptions::default().start_in(state.path());
    let node = server.get("/v1/nodes/kept").await.expect(200).json();
    assert_eq!(node["state"], "connected", "{node}");
    assert_eq!(kept_uri(server.state_dir()).await, trusted);
    assert!(!file.exists(), "the file of older versions stays");
}

/// The URI of the only node that a server keeps, as its store has it.
async fn kept_uri(state_dir: &std::path::Path) -> String {
    let mut config = Config::default();
    config.state_dir = state_dir.to_owned();
    config.key_file = state_dir.join("store.key");
    let records = Records::peek(&config, &StateDir::at(state_dir)).await.expect("the store is there");
    let mut nodes = records.kept_nodes().await.expect("the kept nodes");
    assert_eq!(nodes.len(), 1);
    nodes.remove(0).uri
}

async fn another_server_is_not_talked_to(engine: &TestEngine) {
    let known = Known::of(engine);
    let print = fingerprint(&known.server);
    let other = Identity::new(engine);
    let zeros = "0".repeat(64);
    for (trust, parts) in [
        (format!("fingerprint={zeros}"), vec![zeros.clone(), "URI".to_owned()]),
        (
            format!("server_certificate={}", other.certificate.display()),
            vec![other.certificate.display().to_string(), other.fingerprint()],
        ),
        (format!("authority={}", other.certificate.display()), vec![format!("fingerprint={print}")]),
        // Nobody whom this machine knows vouches for it.
        (String::new(), vec![format!("fingerprint={print}")]),
    ] {
        let error = connect(&format!("{}?{trust}&{}", engine.tls_uri(), known.query).replace("?&", "?"))
            .await
            .expect_err("it is another server");
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Unauthenticated, Retry::Never), "{error}");
        for part in parts.iter().chain([&print]) {
            assert!(error.message().contains(part.as_str()), "{part} is missing in: {error}");
        }
        assert!(!error.message().contains('\n'));
    }
}

async fn a_client_that_is_not_trusted_is_told_what_to_do(engine: &TestEngine) {
    let before = engine.get("/1.0/certificates");
    let known = Known::of(engine);
    let own = Identity::new(engine);
    let uri = format!("{}{}&server_certificate={}", engine.tls_uri(), own.query(), known.server.display());
    let error = connect(&uri).await.expect_err("nobody knows it");
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unauthenticated, Retry::Never));
    let command = if engine.kind() == "lxd" { "lxc config trust add" } else { "incus config trust add-certificate" };
    let command = format!("{command} {}", own.certificate.display());
    for part in [&command, &own.fingerprint()] {
        assert!(error.message().contains(part.as_str()), "{part} is missing in: {error}");
    }
    // What is said works.
    let words: Vec<&str> = command.split(' ').skip(1).collect();
    let _ = engine.client_text(&words);
    connect(&uri).await.expect("it is trusted now").ping().await.expect("it answers");
    drop(own);

    let nobody = format!("{}?server_certificate={}", engine.tls_uri(), known.server.display());
    let error = connect(&nobody).await.expect_err("no certificate is shown");
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert!(error.message().contains("certificate=FILE"), "{error}");
    assert_eq!(engine.get("/1.0/certificates"), before);
}

async fn trust_that_is_taken_back_is_noticed(engine: &TestEngine) {
    let own = Identity::new(engine);
    let _ = engine.client_text(&if engine.kind() == "lxd" {
        vec!["config", "trust", "add", own.certificate.to_str().expect("a path")]
    } else {
        vec!["config", "trust", "add-certificate", own.certificate.to_str().expect("a path")]
    });
    let known = Known::of(engine);
    let uri = format!("{}{}&server_certificate={}", engine.tls_uri(), own.query(), known.server.display());
    let node = connect(&uri).await.expect("it is trusted");
    let target = format!("/1.0/certificates/{}", own.fingerprint());
    assert_eq!(engine.ask("DELETE", &target, None).status, 200);
    assert_eq!(node.ping().await.expect_err("it is not trusted any more").kind(), ErrorKind::Unauthenticated);
    let kind = node.list_networks().await.expect_err("it may not").kind();
    assert!(matches!(kind, ErrorKind::PermissionDenied | ErrorKind::Unauthenticated), "{kind}");
    // What is public is shown to anybody: that is not all that there is.
    assert_eq!(node.list_images().await.expect_err("it may not").kind(), ErrorKind::PermissionDenied);
    let spec = ContainerSpec::new(image()).name(engine.name("untrusted"));
    assert_eq!(node.create_container(&spec).await.expect_err("it may not").kind(), ErrorKind::PermissionDenied);
}

async fn a_certificate_of_another_key_is_invalid_input(engine: &TestEngine) {
    let (one, two) = (Identity::new(engine), Identity::new(engine));
    let query = format!("?certificate={}&key={}&trust=first-use", one.certificate.display(), two.key.display());
    let error = connect(&format!("{}{query}", engine.tls_uri())).await.expect_err("they do not fit");
    assert_eq!((error.kind(), error.field()), (ErrorKind::InvalidInput, Some("key")), "{error}");
}

crate::on_lxd_and_incus! {
    a_server_is_trusted_by_its_certificate
    first_use_tells_what_to_trust_from_then_on
    a_server_keeps_what_it_trusted
    another_server_is_not_talked_to
    a_client_that_is_not_trusted_is_told_what_to_do
    trust_that_is_taken_back_is_noticed
    a_certificate_of_another_key_is_invalid_input
}

//! Servers by the names that the products' own clients gave them.

use roadstead_backends::engines::lxd::config::{Environment, Product, infer};
use roadstead_core::ErrorKind;
use roadstead_tests::{ServerOptions, TestEngine};

use crate::{connect, fingerprint};

fn product(engine: &TestEngine) -> (Product, &'static str) {
    if engine.kind() == "lxd" { (Product::Lxd, "LXD") } else { (Product::Incus, "INCUS") }
}

async fn a_remote_that_the_client_added_is_found(engine: &TestEngine) {
    let (product, prefix) = product(engine);
    let directory = engine.client_directory();
    let environment = Environment::new([
        (format!("{prefix}_CONF"), directory.display().to_string()),
        (format!("{prefix}_DIR"), engine.socket().parent().expect("a directory").display().to_string()),
    ]);
    // The client's own file has the server under this name.
    let found = infer(&environment, product, Some("main")).expect("it is there");
    assert!(found.uri.starts_with(&engine.tls_uri()), "{}", found.uri);
    connect(&found.uri).await.expect("it is trusted").ping().await.expect("it answers");
    // Without a name it is the client's default.
    let default = infer(&environment, product, None).expect("there is one");
    assert_eq!((default.remote.as_str(), default.uri.as_str()), ("local", engine.uri()));
    let missing = infer(&environment, product, Some("nosuch")).expect_err("it is not there");
    assert_eq!((missing.kind(), missing.resource()), (ErrorKind::NotFound, Some("nosuch")));
    assert!(missing.message().contains("config.yml"), "{missing}");
}

async fn a_certificate_that_changed_is_told_with_its_file(engine: &TestEngine) {
    let (product, prefix) = product(engine);
    let directory = tempfile::tempdir().expect("a directory");
    let copy = |from: &str, to: &str| {
        let to = directory.path().join(to);
        std::fs::create_dir_all(to.parent().expect("a directory")).expect("a directory");
        std::fs::copy(engine.client_directory().join(from), to).expect("a copy");
    };
    for file in ["config.yml", "client.crt", "client.key"] {
        copy(file, file);
    }
    // Not the server's.
    copy("client.crt", "servercerts/main.crt");
    let environment = Environment::new([(format!("{prefix}_CONF"), directory.path().display().to_string())]);
    let found = infer(&environment, product, Some("main")).expect("it is there");
    let error = connect(&found.uri).await.expect_err("it is another server");
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    let file = directory.path().join("servercerts/main.crt").display().to_string();
    let server = fingerprint(&engine.client_directory().join("server.crt"));
    for part in [&file, &server] {
        assert!(error.message().contains(part.as_str()), "{part} is missing in: {error}");
    }
}

async fn a_node_is_named_by_its_remote(engine: &TestEngine) {
    let (_, prefix) = product(engine);
    let directory = engine.client_directory().display().to_string();
    let uri = format!("{}:main", engine.kind());
    let server = ServerOptions::default()
        .node("near", &uri)
        .node("lost", &format!("{}:nosuch", engine.kind()))
        .environment(&format!("{prefix}_CONF"), &directory)
        .start();
    let near = server.get("/v1/nodes/near").await.expect(200).json();
    assert_eq!(near["uri"].as_str(), Some(uri.as_str()), "{near}");
    let lost = server.get("/v1/nodes/lost/containers").await;
    // A node that cannot be connected to is away, whatever the reason.
    assert_eq!(lost.status, 503, "{}", lost.text());
    assert!(lost.text().contains("nosuch"), "{}", lost.text());
}

crate::on_lxd_and_incus! {
    a_remote_that_the_client_added_is_found
    a_certificate_that_changed_is_told_with_its_file
    a_node_is_named_by_its_remote
}

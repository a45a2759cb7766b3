use std::os::unix::fs::PermissionsExt;

use crate::rig::{Rig, config};
use reqwest::Method;
use roadstead_core::Registry;
use roadstead_core::memory::MemoryEngine;
use roadstead_http::Server;

#[tokio::test(flavor = "multi_thread")]
async fn without_the_token_nothing_is_told() {
    let rig = Rig::start().await;
    for path in ["/v1/nodes", "/v1/openapi.json", "/v1/docs/", "/v1/nothing", "/", "/v1/nodes/sea/containers?x=1"] {
        let reply = rig.send(rig.client.get(rig.url(path))).await;
        assert!(reply.header("www-authenticate").starts_with("Bearer"), "{path}");
        reply.problem(401, "unauthenticated");
    }
    let token = rig.running.token().expose().to_owned();
    for wrong in ["x".to_owned(), String::new(), format!("{token}x"), token[1..].to_owned()] {
        rig.send(rig.client.get(rig.url("/v1/nodes")).bearer_auth(wrong)).await.problem(401, "unauthenticated");
    }
    let twice = rig.request(Method::GET, "/v1/nodes").header("Authorization", "Bearer other");
    rig.send(twice).await.problem(401, "unauthenticated");
    rig.get("/v1/nodes").await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn health_needs_no_token() {
    let rig = Rig::start().await;
    for path in ["/healthz", "/readyz"] {
        let reply = rig.send(rig.client.get(rig.url(path))).await.is(200);
        assert_eq!(reply.json()["status"], "ok");
    }
    rig.send(rig.client.get(rig.url("/healthz?x=1"))).await.problem(400, "invalid_input");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_may_read_the_documentation_and_do_nothing_else() {
    let rig = Rig::start().await;
    let token = rig.running.token().expose().to_owned();
    let basic = |method: Method, path: &str| rig.client.request(method, rig.url(path)).basic_auth("me", Some(&token));
    for path in ["/v1/docs/", "/v1/docs/swagger-ui.css", "/v1/docs/swagger-ui-bundle.js", "/v1/openapi.json"] {
        let reply = rig.send(basic(Method::GET, path)).await.is(200);
        assert!(reply.header("content-security-policy").contains("'self'") || path.ends_with("json"), "{path}");
    }
    let page = rig.send(basic(Method::GET, "/v1/docs/")).await;
    let text = String::from_utf8(page.body).unwrap();
    assert!(!text.contains("http://") && !text.contains("https://"), "nothing from outside is loaded: {text}");
    assert_eq!(rig.send(basic(Method::GET, "/v1/docs")).await.is(307).header("location"), "/v1/docs/");
    rig.send(basic(Method::GET, "/v1/nodes")).await.problem(401, "unauthenticated");
    rig.send(basic(Method::POST, "/v1/nodes")).await.problem(401, "unauthenticated");
    let challenge = rig.send(rig.client.get(rig.url("/v1/docs/"))).await;
    let challenges: Vec<_> = challenge.headers.get_all("www-authenticate").iter().collect();
    assert_eq!(challenges.len(), 2, "{challenges:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_file_is_private_and_stays() {
    let rig = Rig::start().await;
    let path = rig.running.token_path().to_owned();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let token = rig.running.token().clone();
    rig.running.shutdown().await.unwrap();
    let again = Rig::on_directory(rig.directory).await;
    assert_eq!(again.running.token(), &token);
    let directory = again.directory;
    again.running.shutdown().await.unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let error = Server::start(config(&directory), Registry::new().with(MemoryEngine)).await.unwrap_err();
    assert!(error.to_string().contains("chmod 600"), "{error}");
}

impl Rig {
    pub(crate) async fn on_directory(directory: tempfile::TempDir) -> Rig {
        let config = config(&directory);
        Rig::on(directory, config).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_machines_are_not_served_without_tls() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config(&directory);
    config.listen = vec!["0.0.0.0:0".parse().unwrap()];
    let error = Server::start(config, Registry::new().with(MemoryEngine)).await.unwrap_err();
    assert_eq!(error.field(), Some("listen"));
    assert!(!directory.path().join("state").exists(), "nothing was made");
}

/// A certificate made for these tests, and for nothing else.
fn tls(name: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rest/tls").join(name)
}

#[tokio::test(flavor = "multi_thread")]
async fn with_tls_the_server_may_be_reached_from_everywhere() {
    let mut rig = Rig::with(|config| {
        config.listen = vec!["0.0.0.0:0".parse().unwrap()];
        config.tls_cert = Some(tls("cert.pem"));
        config.tls_key = Some(tls("key.pem"));
    })
    .await;
    let certificate = reqwest::Certificate::from_pem(&std::fs::read(tls("cert.pem")).unwrap()).unwrap();
    rig.client = reqwest::Client::builder().tls_certs_only([certificate]).build().unwrap();
    let url = format!("https://127.0.0.1:{}/v1/nodes", rig.running.addresses()[0].port());
    assert!(rig.running.urls()[0].starts_with("https://"));
    let reply = rig.send(rig.client.get(&url).bearer_auth(rig.running.token().expose())).await;
    reply.is(200);
    let plain = rig.client.get(url.replace("https", "http")).send().await;
    assert!(plain.is_err() || plain.unwrap().status().is_client_error());

    let directory = tempfile::tempdir().unwrap();
    let mut swapped = config(&directory);
    swapped.tls_cert = Some(tls("key.pem"));
    swapped.tls_key = Some(tls("key.pem"));
    let error = Server::start(swapped, Registry::new().with(MemoryEngine)).await.unwrap_err();
    assert_eq!(error.field(), Some("tls_cert"));
}

//! Becoming trusted by a password or a token.

use std::time::Duration;

use roadstead_backends::engines::lxd::{Joined, Proof, join};
use roadstead_core::{ConnectOptions, ErrorKind, Result, Retry, Secret};
use roadstead_tests::engines::OwnEngine;
use roadstead_tests::{TestEngine, engines};
use serde_json::json;

use crate::{Identity, Known, connect, fingerprint};

const PASSWORD: &str = "roadstead-test";

/// A new token, got by the product's own client.
fn token(engine: &TestEngine, name: &str) -> String {
    let name = engine.name(name);
    let words = if engine.kind() == "lxd" {
        vec!["config", "trust", "add", "--name", &name]
    } else {
        vec!["config", "trust", "add", &name]
    };
    engine.client_text(&words).lines().last().expect("a token").trim().to_owned()
}

async fn try_to_join(uri: &str, proof: Proof) -> Result<Joined> {
    join(uri, &proof, &ConnectOptions::default()).await
}

#[tokio::test]
async fn a_password_makes_lxd_trust_us() {
    let Some(engine) = engines::lxd() else { return };
    let (known, own) = (Known::of(&engine), Identity::new(&engine));
    let uri = format!("{}{}&server_certificate={}", engine.tls_uri(), own.query(), known.server.display());
    let wrong = try_to_join(&uri, Proof::Password(Secret::new("hunter2"))).await.expect_err("it is wrong");
    assert_eq!((wrong.kind(), wrong.retry()), (ErrorKind::Unauthenticated, Retry::Never));
    assert!(wrong.message().contains("password") && !format!("{wrong:?}").contains("hunter2"), "{wrong:?}");
    let wrong = connect(&format!("{uri}&trust_password=hunter2")).await.expect_err("it is wrong");
    assert_eq!(wrong.kind(), ErrorKind::Unauthenticated);
    assert!(!format!("{wrong:?}").contains("hunter2"), "{wrong:?}");
    assert!(!own.is_known());

    let node = connect(&format!("{uri}&trust_password={PASSWORD}")).await.expect("it is right");
    assert!(!format!("{} {node:?}", node.uri()).contains(PASSWORD));
    assert!(own.is_known());
    connect(&uri).await.expect("it is remembered").ping().await.expect("it answers");
    let again = try_to_join(&uri, Proof::Password(Secret::new(PASSWORD))).await.expect("it is no harm");
    assert!(again.already);
}

#[tokio::test]
async fn a_password_does_not_make_incus_trust_us() {
    let Some(engine) = engines::incus() else { return };
    let own = Identity::new(&engine);
    let uri = format!("{}{}&trust=first-use", engine.tls_uri(), own.query());
    let error = try_to_join(&uri, Proof::Password(Secret::new(PASSWORD))).await.expect_err("it takes tokens only");
    assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error}");
    assert!(error.message().contains("tokens"), "{error}");
    assert!(!own.is_known());
}

async fn a_token_is_good_for_one_client_of_one_server(engine: &TestEngine) {
    let (own, late) = (Identity::new(engine), Identity::new(engine));
    let secret = token(engine, "once");
    let proof = || Proof::Token(Secret::new(&secret));
    // It says itself which server it is of.
    let joined = try_to_join(&format!("{}{}", engine.tls_uri(), own.query()), proof()).await.expect("it is good");
    assert!(own.is_known() && !joined.already);
    assert_eq!(joined.server_fingerprint, fingerprint(&Known::of(engine).server));
    connect(&joined.uri).await.expect("it is trusted").ping().await.expect("it answers");

    let uri = format!("{}{}", engine.tls_uri(), late.query());
    let error = try_to_join(&uri, proof()).await.expect_err("it was used");
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unauthenticated, Retry::Never));
    assert!(error.message().contains("used before"), "{error}");
    assert!(!late.is_known());

    let error = try_to_join(&uri, Proof::Token(Secret::new("hunter2"))).await.expect_err("it is no token");
    assert_eq!((error.kind(), error.field()), (ErrorKind::InvalidInput, Some("token")));
    let error = try_to_join(&engine.tls_uri(), proof()).await.expect_err("nobody shall be trusted");
    assert_eq!((error.kind(), error.field()), (ErrorKind::InvalidInput, Some("certificate")));

    let secret = token(engine, "uri");
    let node = connect(&format!("{uri}&token={}", secret.replace('+', "%2B"))).await.expect("it is good");
    assert!(!format!("{} {node:?}", node.uri()).contains(&secret));
    assert!(node.uri().contains(&joined.server_fingerprint), "{}", node.uri());
    connect(node.uri()).await.expect("it is trusted");
}

#[tokio::test]
async fn a_token_is_not_shown_to_another_server() {
    let (Some(engine), Some(second)) = (engines::lxd(), engines::lxd_second()) else { return };
    let own = Identity::new(&second);
    let secret = token(&second, "elsewhere");
    let uri = format!("{}{}", engine.tls_uri(), own.query());
    let error = try_to_join(&uri, Proof::Token(Secret::new(&secret))).await.expect_err("it is another server");
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert!(error.message().contains("the token says"), "{error}");
    // So it is good still.
    let uri = format!("{}{}", second.tls_uri(), own.query());
    try_to_join(&uri, Proof::Token(Secret::new(&secret))).await.expect("it is good");
}

#[tokio::test]
async fn an_expired_token_of_lxd_is_told_as_such() {
    if let Some(own) = OwnEngine::lxd("expiry") {
        an_expired_token_is_told_as_such(own.engine()).await;
    }
}

#[tokio::test]
async fn an_expired_token_of_incus_is_told_as_such() {
    if let Some(own) = OwnEngine::incus("expiry") {
        an_expired_token_is_told_as_such(own.engine()).await;
    }
}

async fn an_expired_token_is_told_as_such(engine: &TestEngine) {
    let own = Identity::new(engine);
    let expiry = json!({"config": {"core.remote_token_expiry": "1S"}});
    assert_eq!(engine.ask("PATCH", "/1.0", Some(&expiry)).status, 200);
    let secret = token(engine, "late");
    tokio::time::sleep(Duration::from_secs(2)).await;
    let uri = format!("{}{}", engine.tls_uri(), own.query());
    let error = try_to_join(&uri, Proof::Token(Secret::new(&secret))).await.expect_err("its time is over");
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unauthenticated, Retry::Never), "{error}");
    assert!(error.message().contains("expired"), "{error}");
    assert!(!format!("{error:?}").contains(&secret));
    assert!(!own.is_known());
}

#[tokio::test]
async fn who_may_open_the_socket_is_trusted() {
    let Some(engine) = engines::lxd() else { return };
    let error = try_to_join(engine.uri(), Proof::Password(Secret::new(PASSWORD))).await.expect_err("nothing to join");
    assert_eq!((error.kind(), error.field()), (ErrorKind::InvalidInput, Some("uri")));
}

crate::on_lxd_and_incus! {
    a_token_is_good_for_one_client_of_one_server
}

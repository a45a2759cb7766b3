//! Who is let in, whom is trusted, and what is never shown.

use roadstead_core::{ConnectOptions, ErrorKind, Retry};
use roadstead_tests::served::Served;

use crate::connect;

const OTHER: &str = "1111111111111111111111111111111111111111111111111111111111111111";

async fn two() -> Served {
    Served::start(&[("one", "memory:"), ("two", "memory:?without=freeze")]).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_token_is_not_let_in() {
    let server = two().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "not-the-token").unwrap();
    let uri = server
        .uri(server.port(), "one")
        .replace(&server.token_file().display().to_string(), file.path().to_str().unwrap());
    let error = connect("near", &uri).await.unwrap_err();
    assert_eq!((error.kind(), error.node()), (ErrorKind::Unauthenticated, Some("near")), "{error:?}");
    assert!(!format!("{error} {error:?}").contains("not-the-token"));
    server.end().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn another_certificate_is_refused_by_name() {
    let server = two().await;
    let token = server.token_file().display().to_string();
    let at = format!("roadstead+https://127.0.0.1:{}/one?token_file={token}", server.port());
    let pinned = connect("near", &format!("{at}&fingerprint={OTHER}")).await.unwrap_err();
    assert_eq!((pinned.kind(), pinned.retry()), (ErrorKind::Unauthenticated, Retry::Never), "{pinned:?}");
    assert!(pinned.message().contains(OTHER) && pinned.message().contains("the fingerprint in the URI"), "{pinned}");
    // What nobody vouches for is told with the fingerprint that may be pinned, and then is.
    let unknown = connect("near", &at).await.unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::Unauthenticated, "{unknown:?}");
    let shown = unknown.message().rsplit_once("fingerprint=").expect("the fingerprint").1.to_owned();
    let node = connect("near", &format!("{at}&fingerprint=sha256:{shown}")).await.unwrap();
    node.ping().await.unwrap();
    // Its own authority vouches for it, and for its name.
    let certificate = server.uri(1, "").rsplit_once("server_certificate=").unwrap().1.to_owned();
    connect("near", &format!("{at}&authority={certificate}")).await.unwrap().ping().await.unwrap();
    server.end().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_is_named_where_there_are_several() {
    let server = two().await;
    for node in ["", "three"] {
        let error = connect("near", &server.uri(server.port(), node)).await.unwrap_err();
        assert_eq!((error.kind(), error.field()), (ErrorKind::InvalidInput, Some("uri")), "{error:?}");
        assert!(error.message().contains("one, two"), "{error}");
    }
    let node = connect("near", &server.uri(server.port(), "two")).await.unwrap();
    assert!(!node.capabilities().freeze && node.capabilities().create && !node.capabilities().copy);
    let info = node.info().await.unwrap();
    assert_eq!((info.name.as_str(), info.engine.as_str(), info.local), ("near", "memory", false));
    let engine = node.engine().downcast_ref::<roadstead_backends::engines::roadstead::RoadsteadNode>();
    assert_eq!(engine.unwrap().name_there(), "two");
    server.end().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_roadstead_server_is_called_so() {
    use crate::fake::{Fake, Say};
    let fake = Fake::start(|_| Say::body("text/html", b"<html>welcome</html>")).await;
    let uri = fake.uri().replace("/far", "");
    let error = connect("near", &uri).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unexpected);
    assert!(error.message().contains("not a Roadstead server"), "{error}");
    let nobody = connect("near", "roadstead+http://:t@127.0.0.1:1").await.unwrap_err();
    assert_eq!((nobody.kind(), nobody.retry()), (ErrorKind::Unavailable, Retry::Safe), "{nobody:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_is_shown_nowhere() {
    let server = two().await;
    let token = server.token().to_owned();
    let uri = server.uri(server.port(), "one");
    let inline = uri.replace("roadstead+https://", &format!("roadstead+https://:{token}@"));
    let (_, trust) = inline.split_once("&server_certificate").unwrap();
    let inline = format!("{}?server_certificate{trust}", inline.split_once('?').unwrap().0);
    for uri in [uri, inline] {
        let node = roadstead_backends::registry().connect("near", &uri, &ConnectOptions::default()).await.unwrap();
        let error = node.container("missing").inspect().await.unwrap_err();
        let shown = format!("{node:?} {node:#?} {} {error} {error:?} {:?}", node.uri(), node.container("x"));
        assert!(!shown.contains(&token));
    }
    server.end().await.unwrap();
}

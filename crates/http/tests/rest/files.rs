use crate::rig::{Rig, pieces, tar, untar};
use futures_util::StreamExt;
use reqwest::Method;

#[tokio::test(flavor = "multi_thread")]
async fn files_go_in_and_come_out() {
    let rig = Rig::start().await;
    let id = rig.container("web").await;
    let place = format!("/v1/nodes/sea/containers/{id}");
    let files = format!("{place}/files?path=/tmp");
    // Larger than the bound of JSON bodies, in pieces.
    let content: Vec<u8> = (0..3_000_000_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
    let put = rig.request(Method::PUT, &files).header("Content-Type", "application/x-tar");
    rig.send(put.body(pieces(&tar("big", &content), 100_000))).await.is(204);
    let out = rig.get(&format!("{place}/files?path=/tmp/big")).await.is(200);
    assert_eq!(out.header("content-type"), "application/x-tar");
    assert_eq!(untar(&out.body, "big").unwrap(), content);
    let export = rig.get(&format!("{place}/export")).await.is(200);
    assert_eq!(untar(&export.body, "tmp/big").unwrap(), content);
    let absent = rig.request(Method::PUT, &format!("{place}/files?path=/absent")).body(tar("x", b"x"));
    rig.send(absent).await.problem(404, "not_found");
    rig.send(rig.request(Method::PUT, &files).body("this is no tar")).await.problem(400, "invalid_input");
    let json = rig.request(Method::PUT, &files).header("Content-Type", "application/json").body("{}");
    rig.send(json).await.problem(415, "unsupported_media_type");
}

#[tokio::test(flavor = "multi_thread")]
async fn archives_are_bounded() {
    let rig = Rig::with(|config| config.max_archive_bytes = 100_000).await;
    let id = rig.container("web").await;
    let files = format!("/v1/nodes/sea/containers/{id}/files?path=/tmp");
    let body = tar("big", &vec![1; 300_000]);
    rig.send(rig.request(Method::PUT, &files).body(body.clone())).await.problem(413, "payload_too_large");
    rig.send(rig.request(Method::PUT, &files).body(pieces(&body, 10_000))).await.problem(413, "payload_too_large");
    rig.get(&format!("/v1/nodes/sea/containers/{id}/files?path=/tmp/big")).await.problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_that_stall_do_not_shut_a_node() {
    let rig = Rig::start().await;
    let id = rig.container("web").await;
    let mut uploads = Vec::new();
    for _ in 0..70 {
        let piece = futures_util::stream::iter([Ok::<_, std::io::Error>(vec![0_u8])]);
        let body = reqwest::Body::wrap_stream(piece.chain(futures_util::stream::pending()).boxed());
        let files = format!("/v1/nodes/sea/containers/{id}/files?path=/tmp");
        uploads.push(tokio::spawn(rig.request(Method::PUT, &files).body(body).send()));
    }
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    let begun = std::time::Instant::now();
    rig.get("/v1/nodes/sea/containers").await.is(200);
    rig.get(&format!("/v1/nodes/sea/containers/{id}/export")).await.is(200);
    assert!(begun.elapsed() < std::time::Duration::from_secs(10), "{:?}", begun.elapsed());
    assert!(uploads.iter().all(|upload| !upload.is_finished()));
    for upload in uploads {
        upload.abort();
    }
}

//! Archives on their way to and from another server: as they come, whole or not at all, and refused half-way in words.

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use roadstead_core::memory::PRESET_IMAGE;
use roadstead_core::{ByteStream, ContainerSpec, CopyInOptions, Error, ErrorKind};
use roadstead_tests::served::Served;

use crate::{SOON, connect, sleeper};

/// A tar archive of one file of zeros.
fn archive(name: &str, pieces: u64) -> ByteStream {
    const PIECE: usize = 1 << 20;
    let mut header = tar::Header::new_ustar();
    header.set_path(name).unwrap();
    header.set_size(pieces * PIECE as u64);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_cksum();
    let head = Bytes::copy_from_slice(header.as_bytes());
    let zeros = Bytes::from(vec![0; PIECE]);
    let body = (0..pieces).map(move |_| Ok(zeros.clone()));
    stream::iter([Ok(head)]).chain(stream::iter(body)).chain(stream::iter([Ok(Bytes::from(vec![0; 1024]))])).boxed()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_half_way_is_told() {
    let server = Served::start(&[("far", "memory:")]).await.unwrap();
    let node = connect("near", &server.uri(server.port(), "")).await.unwrap();
    node.create_container(&sleeper("web")).await.unwrap();
    let (web, options) = (node.container("web"), CopyInOptions::default());
    for round in 0..20 {
        let sent = web.copy_in("/no/such/place", archive("big", 48), &options);
        let error = tokio::time::timeout(SOON, sent).await.unwrap().unwrap_err();
        assert_eq!((error.kind(), error.node()), (ErrorKind::NotFound, Some("near")), "round {round}: {error:?}");
    }
    server.end().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_off_here_is_never_a_shorter_archive_there() {
    let server = Served::start(&[("far", "memory:")]).await.unwrap();
    let node = connect("near", &server.uri(server.port(), "")).await.unwrap();
    node.create_container(&ContainerSpec::new(PRESET_IMAGE).name("web")).await.unwrap();
    let web = node.container("web");
    let broken = archive("cut", 2).take(2).chain(stream::iter([Err(Error::invalid("archive", "the disk is gone"))]));
    let error = web.copy_in("/", broken.boxed(), &CopyInOptions::default()).await.unwrap_err();
    // The caller's own words come back, and not what became of the connection.
    assert_eq!((error.kind(), error.field()), (ErrorKind::InvalidInput, Some("archive")), "{error:?}");
    assert!(error.message().contains("the disk is gone"), "{error}");
    assert_eq!(web.copy_out("/cut").await.err().unwrap().kind(), ErrorKind::NotFound);
    web.copy_in("/", archive("whole", 3), &CopyInOptions::default()).await.unwrap();
    let mut size = 0;
    let mut out = web.copy_out("/whole").await.unwrap();
    while let Some(piece) = out.next().await {
        size += piece.unwrap().len();
    }
    assert!(size > 3 << 20, "{size}");
    server.end().await.unwrap();
}

//! Copies between stores of every kind, in every direction.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use roadstead_core::ErrorKind;
use roadstead_core::store::{
    ListEntries, MemoryStore, Prefix, Store, Transaction, VALUE_MAX, WRAPPING_MAX, copy, ensure_whole,
};
use roadstead_tests::etcd;
use roadstead_tests::server::{ServerOptions, command, run_to_end};

use crate::{key, open};

/// Fills a store with a bit of everything.
async fn fill(store: &dyn Store) {
    for number in 0..250 {
        let some = Transaction::new().put(key(&format!("nodes/{number}")), format!("node {number}"));
        store.commit(&some).await.unwrap();
    }
    let bytes: Vec<u8> = (0..=255).cycle().take(VALUE_MAX + WRAPPING_MAX - "large".len()).collect();
    store.commit(&Transaction::new().wrapped(WRAPPING_MAX).put(key("large"), bytes)).await.unwrap();
    let lease = store.lease(Duration::from_secs(600)).await.unwrap();
    store.commit(&Transaction::new().put_with(key("alive"), "1", lease).put(key("empty"), "")).await.unwrap();
}

async fn all(store: &dyn Store) -> Vec<(String, Vec<u8>)> {
    let listed = store.list(&ListEntries::of(Prefix::default())).await.unwrap();
    assert!(!listed.more);
    let entries = listed.entries.into_iter().filter(|entry| entry.lease.is_none());
    entries.map(|entry| (entry.key.as_str().to_owned(), entry.value.to_vec())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn between_stores_of_every_kind() {
    let Some(uri) = etcd::shared("copies") else { return };
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| format!("sqlite:{}/{name}", directory.path().display());
    let filled: Arc<dyn Store> = Arc::new(MemoryStore::new());
    fill(&*filled).await;
    // Round and round, so that each is copied from and to.
    let way: Vec<Arc<dyn Store>> = vec![
        filled,
        open(&file("one.db")).await,
        open(&format!("{uri}/one")).await,
        open(&format!("{uri}/two")).await,
        open(&file("two.db")).await,
        Arc::new(MemoryStore::new()),
        open(&format!("{uri}/three")).await,
    ];
    let wanted = all(&*way[0]).await;
    for (number, pair) in way.windows(2).enumerate() {
        let copied = copy(&*pair[0], &*pair[1]).await.unwrap();
        assert_eq!((copied.entries, copied.leased), (252, u64::from(number == 0)));
        ensure_whole(&*pair[1]).await.unwrap();
        assert!(all(&*pair[1]).await == wanted, "copy {number}");
        let error = copy(&*pair[0], &*pair[1]).await.unwrap_err();
        assert_eq!((error.kind(), error.resource()), (ErrorKind::Conflict, Some("empty")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_cut_off_is_begun_anew() {
    let Some(uri) = etcd::shared("cut-copies") else { return };
    let from: Arc<dyn Store> = Arc::new(MemoryStore::new());
    fill(&*from).await;
    let wanted = all(&*from).await;
    let directory = tempfile::tempdir().unwrap();
    for (number, uri) in [format!("sqlite:{}/cut.db", directory.path().display()), uri].into_iter().enumerate() {
        let to = open(&uri).await;
        // Dropped while it waits for its target, each time a little later.
        let mut unfinished = 0;
        for polls in 1.. {
            let mut copying = Box::pin(copy(&*from, &*to));
            let mut left = polls;
            let cut = std::future::poll_fn(|context| {
                if left == 0 {
                    return std::task::Poll::Ready(None);
                }
                left -= 1;
                copying.as_mut().poll(context).map(Some)
            });
            match cut.await {
                Some(done) => {
                    done.unwrap();
                    break;
                }
                None => drop(copying),
            }
            // What was on its way when it was dropped may still arrive.
            unfinished += u32::from(ensure_whole(&*to).await.is_err());
            if to.get(&key("empty")).await.unwrap().is_some() {
                assert!(ensure_whole(&*to).await.is_err() || all(&*to).await == wanted, "a part looks like the whole");
            }
            if ensure_whole(&*to).await.is_ok() && !all(&*to).await.is_empty() {
                break;
            }
        }
        assert!(unfinished > 0, "{number}: it was never cut");
        assert!(all(&*to).await == wanted);
        ensure_whole(&*to).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_goes_on_from_a_copy() {
    let Some(uri) = etcd::shared("served-copies") else { return };
    let directory = tempfile::tempdir().unwrap();
    let (before, after) = (directory.path().join("before"), directory.path().join("after"));
    let file = |state: &Path| format!("sqlite:{}/roadstead.db", state.display());
    let copy = |from: &str, to: &str| run_to_end(command().args(["store", "copy", from, to]));
    let mut server = ServerOptions::default().node("fixed", "memory:").start_in(&before);
    let body = serde_json::json!({"name": "added", "uri": "memory:"});
    assert_eq!(server.post_json("/v1/nodes", &body).await.status, 201);
    let (status, _, err) = copy(&file(&before), &uri);
    assert!(status.code() == Some(1) && err.contains("FROM: ") && err.contains("in use"), "{status} {err}");
    server.terminate();
    assert!(server.wait_end().success());

    let (status, out, err) = copy(&file(&before), &uri);
    assert!(status.success() && out.contains("entries are copied"), "{status} {out} {err}");
    let (status, _, err) = copy(&file(&before), &uri);
    assert!(status.code() == Some(1) && err.contains("is not empty"), "{status} {err}");
    let (status, _, err) = copy(&file(&directory.path().join("nowhere")), &format!("{uri}/other"));
    assert!(status.code() == Some(1) && err.contains("FROM: "), "{status} {err}");
    std::fs::create_dir(&after).unwrap();
    let (status, _, err) = copy(&uri, &file(&after));
    assert!(status.success(), "{status} {err}");
    // The key goes its own way.
    std::fs::copy(before.join("store.key"), after.join("store.key")).unwrap();
    let mut server = ServerOptions::default().node("fixed", "memory:").start_in(&after);
    assert_eq!(server.get("/v1/nodes/added").await.status, 200);
    server.terminate();
    assert!(server.wait_end().success());

    // A server does not take a part for the whole.
    let store = open(&file(&after)).await;
    store.commit(&Transaction::new().put(key("store/copying"), "")).await.unwrap();
    store.close().await.unwrap();
    let (status, _, err) = run_to_end(
        command()
            .args(["--listen", "127.0.0.1:0", "--node", "a=memory:", "--state-dir"])
            .arg(&after)
            .arg("--key-file")
            .arg(after.join("store.key")),
    );
    assert!(status.code() == Some(1) && err.contains("unfinished copy"), "{status} {err}");
}

//! The store in a file keeps the clauses, and what is in the file.

use std::os::unix::fs::PermissionsExt;

use roadstead_core::store::conformance::{StoreFixture, clauses, run};

use super::*;

fn key(name: &str) -> Key {
    Key::new(name).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_every_clause() {
    for remembered in [REMEMBERED, 250] {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::remembering(&directory.path().join("store.db"), remembered).await.unwrap();
        let fixture = StoreFixture::new(move || {
            let store: Arc<dyn Store> = Arc::new(store.clone());
            Box::pin(async move { Ok(store) })
        });
        for clause in clauses() {
            assert_eq!(run(clause, &fixture).await, Ok(()), "{clause:?}");
        }
    }
}

#[tokio::test]
async fn everything_is_there_after_another_start() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    let store = SqliteStore::open(&path).await.unwrap();
    let lease = store.lease(Duration::from_secs(60)).await.unwrap();
    let put = Transaction::new().put(key("a"), "1").put_with(key("b"), "2", lease);
    let revision = store.commit(&put).await.unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let error = SqliteStore::open(&path).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Conflict && error.to_string().contains("in use"), "{error}");
    drop(store);
    let store = SqliteStore::open(&path).await.unwrap();
    assert_eq!(store.revision().await.unwrap(), revision);
    let all = store.list(&ListEntries::of(Prefix::default())).await.unwrap();
    let told: Vec<_> = all.entries.iter().map(|entry| (entry.key.as_str(), &entry.value[..], entry.lease)).collect();
    assert_eq!(told, [("a", &b"1"[..], None), ("b", &b"2"[..], Some(lease))]);
    // A watch goes on over it, and the lease lives.
    let mut watch = store.watch(&Prefix::default(), Revision(revision.0 - 1)).await.unwrap();
    let Some(Ok(Watched::Changes { changes, .. })) = watch.next().await else { panic!("nothing is told") };
    assert_eq!(changes.len(), 2);
    store.renew(lease).await.unwrap();
    store.revoke(lease).await.unwrap();
    assert_eq!(store.get(&key("b")).await.unwrap(), None);
    assert_ne!(store.lease(Duration::from_secs(60)).await.unwrap(), lease, "no number is given twice");
}

#[tokio::test]
async fn files_of_others_and_of_newer_ones_are_not_touched() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    drop(SqliteStore::open(&path).await.unwrap());
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.pragma_update(None, "user_version", 9999).unwrap();
    drop(connection);
    let error = SqliteStore::open(&path).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Conflict && error.to_string().contains("9999"), "{error}");
    let other = directory.path().join("other.db");
    let connection = rusqlite::Connection::open(&other).unwrap();
    connection.execute_batch("CREATE TABLE x (y); PRAGMA user_version = 3").unwrap();
    drop(connection);
    let error = SqliteStore::open(&other).await.unwrap_err();
    assert!(error.to_string().contains("another program"), "{error}");
    let text = directory.path().join("text");
    std::fs::write(&text, "no database ".repeat(100)).unwrap();
    let error = SqliteStore::open(&text).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unexpected);
    assert_eq!(std::fs::read_to_string(&text).unwrap(), "no database ".repeat(100));
    assert!(SqliteStore::open(&directory.path().join("no/such")).await.unwrap_err().to_string().contains("no/such"));
}

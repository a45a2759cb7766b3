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
    for (number, version) in [(0, ""), (1, "; PRAGMA user_version = 3")] {
        let other = directory.path().join(format!("other-{number}.db"));
        let connection = rusqlite::Connection::open(&other).unwrap();
        connection.execute_batch(&format!("CREATE TABLE x (y){version}")).unwrap();
        drop(connection);
        let before = std::fs::read(&other).unwrap();
        let error = SqliteStore::open(&other).await.unwrap_err();
        assert!(error.to_string().contains("another program"), "{error}");
        assert_eq!(std::fs::read(&other).unwrap(), before);
    }
    let text = directory.path().join("text");
    std::fs::write(&text, "no database ".repeat(100)).unwrap();
    let error = SqliteStore::open(&text).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unexpected);
    assert_eq!(std::fs::read_to_string(&text).unwrap(), "no database ".repeat(100));
    assert!(SqliteStore::open(&directory.path().join("no/such")).await.unwrap_err().to_string().contains("no/such"));
}

/// Where a process of the test below finds the file that it writes to until it is killed.
const WRITES_TO: &str = "ROADSTEAD_TEST_STORE";

/// Writes pairs, several at once, and prints each once it is acknowledged.
#[allow(clippy::print_stdout, reason = "the process that kills this one reads it")]
async fn write_until_killed(path: &Path) {
    let store = SqliteStore::open(path).await.unwrap();
    let writers = (0..8).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move {
            for number in 0_u64.. {
                let value = number.to_string();
                let (left, right) = (key(&format!("left/{writer}")), key(&format!("right/{writer}")));
                let mut write = Transaction::new().put(left, value.clone()).put(right, value);
                write = if number % 2 == 0 { write.create(key(&format!("odd/{writer}/{number}")), "") } else { write };
                store.commit(&write).await.unwrap();
                println!("{writer} {number}");
            }
        })
    });
    futures_util::future::join_all(writers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};
    if let Some(path) = std::env::var_os(WRITES_TO) {
        return write_until_killed(Path::new(&path)).await;
    }
    let rounds = if std::env::var_os("ROADSTEAD_SOAK").is_some_and(|soak| soak == "1") { 300 } else { 15 };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    let mut last = Revision::default();
    for round in 0..rounds {
        let own = std::env::current_exe().unwrap();
        let name = "stores::sqlite::tests::nothing_acknowledged_is_lost_when_the_process_is_killed";
        let mut child = Command::new(own)
            .args(["--exact", name, "--nocapture"])
            .env(WRITES_TO, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Killed after another number of writes each time, whenever that is.
        let mut acknowledged = [None; 8];
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut heard = 0;
        for line in lines {
            let Ok(line) = line else { break };
            let mut words = line.split(' ').map(str::parse::<u64>);
            let (Some(Ok(writer)), Some(Ok(number))) = (words.next(), words.next()) else { continue };
            acknowledged[usize::try_from(writer).unwrap()] = Some(number);
            heard += 1;
            if heard == 1 + (round * 7) % 40 {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(heard > 0, "nothing was acknowledged");
        let store = SqliteStore::open(&path).await.unwrap();
        let reached = store.revision().await.unwrap();
        assert!(reached > last);
        last = reached;
        let mut rest = Transaction::new();
        for (writer, acknowledged) in acknowledged.into_iter().enumerate() {
            let value = |side: &str| {
                let (store, key) = (store.clone(), key(&format!("{side}/{writer}")));
                async move { store.get(&key).await.unwrap().map(|entry| String::from_utf8_lossy(&entry.value).into_owned()) }
            };
            let (left, right) = (value("left").await, value("right").await);
            assert_eq!(left, right, "half of a transaction");
            let number = left.as_deref().and_then(|number| number.parse::<u64>().ok());
            assert!(number >= acknowledged, "{acknowledged:?} was acknowledged, {number:?} is there");
            let numbers = Prefix::new(format!("odd/{writer}/")).unwrap();
            let kept = store.list(&ListEntries::of(numbers)).await.unwrap().entries;
            assert_eq!(u64::try_from(kept.len()).unwrap(), number.map_or(0, |number| number / 2 + 1));
            // The next round begins anew.
            for entry in kept {
                store.commit(&Transaction::new().delete(entry.key)).await.unwrap();
            }
            rest = rest.delete(key(&format!("left/{writer}"))).delete(key(&format!("right/{writer}")));
        }
        last = last.max(store.commit(&rest).await.unwrap());
    }
}

#[tokio::test]
async fn it_is_looked_into_beside_its_owner_and_given_up_when_it_is_closed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    assert!(SqliteStore::read_only(&path).await.unwrap().is_none() && !path.exists(), "nothing is made");
    let store = SqliteStore::open(&path).await.unwrap();
    let beside = SqliteStore::read_only(&path).await.unwrap().unwrap();
    store.commit(&Transaction::new().put(key("a"), "1")).await.unwrap();
    assert_eq!(&beside.get(&key("a")).await.unwrap().unwrap().value[..], b"1");
    let refused = beside.commit(&Transaction::new().put(key("a"), "2")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    store.close().await.unwrap();
    // The first one is still held, and yet the file is free.
    let next = SqliteStore::open(&path).await.unwrap();
    assert_eq!(&next.get(&key("a")).await.unwrap().unwrap().value[..], b"1");
    drop(store);
    assert_eq!(SqliteStore::open(&path).await.unwrap_err().kind(), ErrorKind::Conflict, "dropping the first freed it");
}

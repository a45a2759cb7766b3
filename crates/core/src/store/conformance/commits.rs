//! Clauses of transactions: all or nothing, and only when what they rely on still holds.

use futures_util::future::join_all;

use super::Scene;
use crate::conformance::check::{Check, During, ensure, equal, failed, refused};
use crate::error::ErrorKind;
use crate::store::{Guard, KEY_MAX, Key, LEASE_MAX, LeaseId, ListEntries, Revision, STEPS_MAX, Transaction, VALUE_MAX};

pub(super) async fn all_or_nothing(scene: &Scene<'_>) -> Check {
    let both = Transaction::new().put(scene.key("a")?, "1").put(scene.key("b")?, "1");
    let revision = scene.store.commit(&both).await.during("writing")?;
    let listed = scene.store.list(&ListEntries::of(scene.prefix.clone())).await.during("listing")?;
    let revisions: Vec<_> = listed.entries.iter().map(|entry| entry.revision).collect();
    equal("revisions", revisions, [revision, revision])?;
    let other =
        Transaction::new().when(Guard::Absent(scene.key("b")?)).put(scene.key("a")?, "2").delete(scene.key("b")?);
    refused("a transaction", scene.store.commit(&other).await, ErrorKind::Conflict)?;
    equal("after it", scene.all().await?, [("a".to_owned(), "1".to_owned()), ("b".to_owned(), "1".to_owned())])?;
    let mixed = Transaction::new().put(scene.key("c")?, "3").delete(scene.key("b")?).put(scene.key("a")?, "3");
    scene.store.commit(&mixed).await.during("writing")?;
    equal("after all", scene.all().await?, [("a".to_owned(), "3".to_owned()), ("c".to_owned(), "3".to_owned())])
}

pub(super) async fn a_guard_names_its_key(scene: &Scene<'_>) -> Check {
    let (a, b, c) = (scene.key("a")?, scene.key("b")?, scene.key("c")?);
    let first = scene.put("a", "1").await?;
    let write = |guards: Vec<Guard>| guards.into_iter().fold(Transaction::new().put(c.clone(), "1"), Transaction::when);
    let unchanged = |key: &Key, revision| Guard::Unchanged(key.clone(), revision);
    let absent = |key: &Key| Guard::Absent(key.clone());
    for (guards, key) in [
        (vec![absent(&a)], &a),
        (vec![unchanged(&b, first)], &b),
        (vec![unchanged(&a, Revision(first.0 + 1))], &a),
        (vec![unchanged(&a, first), absent(&b), absent(&a), unchanged(&b, first)], &a),
        (vec![unchanged(&a, first), unchanged(&b, first), absent(&a)], &b),
    ] {
        let error = refused("a commit", scene.store.commit(&write(guards)).await, ErrorKind::Conflict)?;
        equal("its resource", error.resource(), Some(key.as_str()))?;
    }
    equal("what was written", scene.value("c").await?, None)?;
    let good = write(vec![unchanged(&a, first), absent(&b), absent(&c)]);
    scene.store.commit(&good).await.during("a commit whose guards hold")?;
    equal("what was written", scene.value("c").await?.as_deref(), Some("1"))
}

pub(super) async fn one_of_many(scene: &Scene<'_>) -> Check {
    let key = scene.key("counter")?;
    let mut before = scene.put("counter", "0").await?;
    for round in 0..5 {
        let tries = (0..16).map(|number| {
            let transaction = Transaction::new().replace(key.clone(), before, format!("{round}-{number}"));
            async move { scene.store.commit(&transaction).await }
        });
        let mut done = Vec::new();
        for tried in join_all(tries).await {
            match tried {
                Ok(revision) => done.push(revision),
                Err(error) => ensure(error.kind() == ErrorKind::Conflict, format!("{error:?}"))?,
            }
        }
        let [revision] = done.as_slice() else { return failed(format!("{} of 16 were done", done.len())) };
        before = *revision;
    }
    Ok(())
}

pub(super) async fn nothing_is_no_error(scene: &Scene<'_>) -> Check {
    let key = scene.key("a")?;
    scene.store.commit(&Transaction::new().delete(key.clone())).await.during("deleting what is not there")?;
    scene.store.commit(&Transaction::new()).await.during("nothing at all")?;
    let looks = Transaction::new().when(Guard::Absent(key.clone()));
    scene.store.commit(&looks).await.during("looking")?;
    scene.put("a", "1").await?;
    refused("looking", scene.store.commit(&looks).await, ErrorKind::Conflict).map(|_| ())
}

pub(super) async fn no_entries_without_a_lease(scene: &Scene<'_>) -> Check {
    let lease = scene.store.lease(LEASE_MAX).await.during("a lease")?;
    scene.store.revoke(lease).await.during("revoking")?;
    for lease in [lease, LeaseId(u64::from(u32::MAX))] {
        let put = Transaction::new().put(scene.key("a")?, "1").put_with(scene.key("b")?, "1", lease);
        let error = refused("a commit", scene.store.commit(&put).await, ErrorKind::NotFound)?;
        equal("its resource", error.resource(), Some("lease"))?;
    }
    equal("what was written", scene.all().await?.len(), 0)
}

pub(super) async fn too_much_is_refused(scene: &Scene<'_>) -> Check {
    let mut many = Transaction::new();
    for number in 0..=STEPS_MAX {
        many = many.put(scene.key(&format!("k{number}"))?, "1");
    }
    let twice = Transaction::new().put(scene.key("a")?, "1").delete(scene.key("a")?);
    let large = Transaction::new().put(scene.key("a")?, vec![0; VALUE_MAX]);
    for transaction in [many, twice, large] {
        let error = refused("a commit", scene.store.commit(&transaction).await, ErrorKind::InvalidInput)?;
        ensure(error.to_string().contains("transaction"), format!("{error} does not name the transaction"))?;
    }
    equal("what was written", scene.all().await?.len(), 0)?;
    // As large as it may be.
    let mut most = Transaction::new();
    for number in 0..STEPS_MAX {
        let name = format!("k{number}");
        let key = scene.key(&format!("{name}{}", "x".repeat(KEY_MAX - scene.prefix.as_str().len() - name.len())))?;
        let bytes = (VALUE_MAX / STEPS_MAX) - key.as_str().len();
        most = most.put(key, vec![b'v'; bytes]);
    }
    scene.store.commit(&most).await.during("as much as there may be")?;
    equal("what was written", scene.all().await?.len(), STEPS_MAX)
}

//! Clauses of leases: what hangs on one is there as long as it is.

use std::time::Duration;

use super::Scene;
use super::watches::next;
use crate::conformance::check::{Check, During, ensure, equal, eventually, refused};
use crate::error::ErrorKind;
use crate::store::{LEASE_MAX, LEASE_MIN, Transaction};

pub(super) async fn leases_take_along(scene: &Scene<'_>) -> Check {
    let lease = scene.store.lease(LEASE_MIN).await.during("a lease")?;
    let put = Transaction::new().put_with(scene.key("a")?, "1", lease).put_with(scene.key("b")?, "1", lease);
    let put = put.put(scene.key("stays")?, "1");
    let revision = scene.store.commit(&put).await.during("writing")?;
    let entry = scene.store.get(&scene.key("a")?).await.during("reading")?;
    equal("its lease", entry.and_then(|entry| entry.lease), Some(lease))?;
    // What is written without it does not hang on it any more.
    scene.put("b", "2").await?;
    let mut watch = scene.watch(revision).await?;
    let (changes, _) = next(&mut watch).await?;
    equal("what was written", scene.told(&changes), ["b=2"])?;
    let (changes, _) = next(&mut watch).await?;
    equal("what is gone", scene.told(&changes), ["-a"])?;
    equal("what stays", scene.all().await?, [("b".to_owned(), "2".to_owned()), ("stays".to_owned(), "1".to_owned())])
}

pub(super) async fn lives_of_leases(scene: &Scene<'_>) -> Check {
    for life in [Duration::ZERO, LEASE_MIN - Duration::from_millis(1), LEASE_MAX + Duration::from_millis(1)] {
        let error = refused("a lease", scene.store.lease(life).await, ErrorKind::InvalidInput)?;
        ensure(error.to_string().contains("life"), format!("{error} does not name life"))?;
    }
    Ok(())
}

pub(super) async fn leases_are_renewed(scene: &Scene<'_>) -> Check {
    let (lives, ends) = (
        scene.store.lease(Duration::from_secs(2)).await.during("a lease")?,
        scene.store.lease(Duration::from_secs(2)).await.during("a lease")?,
    );
    let put = Transaction::new().put_with(scene.key("lives")?, "1", lives).put_with(scene.key("ends")?, "1", ends);
    scene.store.commit(&put).await.during("writing")?;
    eventually("the one that is not renewed goes", || async {
        scene.store.renew(lives).await.during("renewing")?;
        Ok((scene.value("ends").await?.is_none()).then_some(()))
    })
    .await?;
    equal("the one that is renewed", scene.value("lives").await?.as_deref(), Some("1"))?;
    let error = refused("renewing one that is over", scene.store.renew(ends).await, ErrorKind::NotFound)?;
    equal("its resource", error.resource(), Some("lease"))?;
    scene.store.revoke(lives).await.during("revoking")
}

pub(super) async fn leases_are_revoked(scene: &Scene<'_>) -> Check {
    let lease = scene.store.lease(LEASE_MAX).await.during("a lease")?;
    scene.store.commit(&Transaction::new().put_with(scene.key("a")?, "1", lease)).await.during("writing")?;
    scene.store.revoke(lease).await.during("revoking")?;
    equal("what hung on it", scene.value("a").await?, None)?;
    let error = refused("revoking it again", scene.store.revoke(lease).await, ErrorKind::NotFound)?;
    equal("its resource", error.resource(), Some("lease"))
}

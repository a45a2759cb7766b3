//! Members that die or stand still: as long as a majority lives, everything goes on.

use std::sync::Arc;
use std::time::Duration;

use futures_util::TryFutureExt;
use roadstead_core::store::{Guard, LEASE_MIN, Prefix, Store, Transaction, Watched};
use roadstead_core::{ErrorKind, Retry};
use roadstead_tests::etcd::OwnEtcd;

use crate::writers::Work;
use crate::{SOON, key, leader, next, open, until};

/// How often everybody writes before and after each event.
const SOME: u64 = 20;

/// A store that asks this member first.
async fn first(own: &OwnEtcd, member: usize, prefix: &str) -> Arc<dyn Store> {
    let mut members = own.members();
    members.rotate_left(member);
    open(&format!("etcd+http://{}/{prefix}", members.join(","))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_when_a_member_is_killed() {
    let Some(own) = OwnEtcd::start("kill-three") else { return };
    for (leads, asked_first) in [(true, true), (true, false), (false, true)] {
        let leader = leader(&own).await;
        let victim = if leads { leader } else { (leader + 1) % 3 };
        let store =
            first(&own, if asked_first { victim } else { (victim + 2) % 3 }, &format!("killed-{leads}-{asked_first}"))
                .await;
        let work = Work::begin(store).await;
        work.goes_on(SOME).await;
        own.kill(victim);
        work.goes_on(SOME).await;
        own.start_again(victim);
        work.goes_on(SOME).await;
        work.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_told_twice_when_a_member_stands_still() {
    let Some(own) = OwnEtcd::start("still-three") else { return };
    for (leads, asked_first) in [(true, true), (false, true)] {
        let leader = leader(&own).await;
        let victim = if leads { leader } else { (leader + 1) % 3 };
        let store =
            first(&own, if asked_first { victim } else { (victim + 2) % 3 }, &format!("still-{leads}-{asked_first}"))
                .await;
        let work = Work::begin(store).await;
        work.goes_on(SOME).await;
        let frozen = own.freeze(victim);
        work.goes_on(SOME).await;
        // What it was sent before arrives now.
        drop(frozen);
        work.goes_on(SOME).await;
        work.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_little_patience_does_not_ask_the_silent_member_each_time() {
    let Some(own) = OwnEtcd::start("patience-three") else { return };
    let victim = (leader(&own).await + 1) % 3;
    let store = first(&own, victim, "patience").await;
    let lease = store.lease(Duration::from_secs(60)).await.unwrap();
    let frozen = own.freeze(victim);
    // Less than a member is given before the next one is asked.
    until("it is renewed", async || {
        tokio::time::timeout(Duration::from_millis(500), store.renew(lease)).await.is_ok_and(|renewed| renewed.is_ok())
    })
    .await;
    drop(frozen);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_majority_calls_fail_by_their_deadline_and_recover() {
    let Some(own) = OwnEtcd::start("minority-three") else { return };
    let uri = format!("{}?deadline_seconds=3", own.verb("uri"));
    let store = open(&uri).await;
    let put = |value: &str| Transaction::new().put(key("a"), value.to_owned());
    let begun = store.commit(&put("1")).await.unwrap();
    let lease = store.lease(Duration::from_secs(60)).await.unwrap();
    let mut watch = store.watch(&Prefix::default(), begun).await.unwrap();
    let frozen = [own.freeze(1), own.freeze(2)];
    let (changes, looks) = (put("2"), Transaction::new().when(Guard::Absent(key("b"))));
    let a = key("a");
    let failed = tokio::join!(
        store.get(&a).map_ok(drop),
        store.revision().map_ok(drop),
        store.commit(&changes).map_ok(drop),
        store.commit(&looks).map_ok(drop),
        store.renew(lease),
        async { store.watch(&Prefix::default(), begun).await.map(drop) },
    );
    let failed = [failed.0, failed.1, failed.2, failed.3, failed.4, failed.5];
    for (number, answer) in failed.into_iter().enumerate() {
        let error = answer.err().unwrap_or_else(|| panic!("call {number} is done without a majority"));
        let away = matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::DeadlineExceeded);
        assert!(away && error.retry() != Retry::Never, "{number}: {error:?}");
    }
    drop(frozen);
    until("it recovers", async || store.get(&key("a")).await.is_ok()).await;
    let last = store.commit(&put("3")).await.unwrap();
    store.renew(lease).await.unwrap();
    // The watch has lived through it, or went on elsewhere.
    loop {
        let Some(Ok(Watched::Changes { revision, .. })) = next(&mut watch).await else { panic!("the watch ended") };
        if revision == last {
            break;
        }
    }
    drop(own);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_sent_is_safe_to_repeat() {
    let Some(own) = OwnEtcd::start("alone") else { return };
    let store = open(&format!("{}?deadline_seconds=2", own.verb("uri"))).await;
    let lease = store.lease(LEASE_MIN).await.unwrap();
    store.commit(&Transaction::new().put_with(key("leased"), "1", lease)).await.unwrap();
    until("the member was not heard of for a while", async || {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        true
    })
    .await;
    let frozen = own.freeze(0);
    let error = store.commit(&Transaction::new().create(key("a"), "1")).await.unwrap_err();
    assert_eq!(error.retry(), Retry::Safe, "{error:?}");
    drop(frozen);
    until("it answers again", async || store.revision().await.is_ok()).await;
    assert_eq!(store.get(&key("a")).await.unwrap(), None);
    own.kill(0);
    let error = store.commit(&Transaction::new().create(key("a"), "1")).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Safe), "{error:?}");
    // What hangs on a lease that nobody renews goes, also over a restart.
    own.start_again(0);
    let gone = async || matches!(store.get(&key("leased")).await, Ok(None));
    until("the lease is over", gone).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_of_another_etcd_is_not_taken_for_one_of_these() {
    let (Some(one), Some(other)) = (OwnEtcd::start("one"), OwnEtcd::start("other")) else { return };
    let uri = format!("etcd+http://{},{}/s?deadline_seconds=3", one.members()[0], other.members()[0]);
    let store = open(&uri).await;
    store.commit(&Transaction::new().put(key("a"), "1")).await.unwrap();
    one.kill(0);
    for error in [
        store.get(&key("a")).await.unwrap_err(),
        store.commit(&Transaction::new().put(key("a"), "2")).await.unwrap_err(),
        store.lease(LEASE_MIN).await.unwrap_err(),
    ] {
        assert_ne!(error.retry(), Retry::Unknown, "{error:?}");
    }
    let elsewhere = open(&format!("etcd+http://{}/s", other.members()[0])).await;
    assert_eq!(elsewhere.get(&key("a")).await.unwrap(), None);
    one.start_again(0);
    tokio::time::timeout(SOON, async { while store.commit(&Transaction::new().put(key("a"), "3")).await.is_err() {} })
        .await
        .expect("it goes on");
}

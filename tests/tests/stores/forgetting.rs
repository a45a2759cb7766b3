//! What etcd forgets is said to be missing, and nothing else is.

use roadstead_core::store::{ListEntries, Prefix, Revision, Transaction, Watched};
use roadstead_tests::etcd::{OwnEtcd, ask, bytes, try_ask};
use serde_json::json;

use crate::{key, next, open, until};

fn compact(own: &OwnEtcd, revision: Revision) {
    let _ = ask(&own.members()[0], "/v3/kv/compaction", &json!({"revision": revision.0.to_string(), "physical": true}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_from_what_is_forgotten_says_so() {
    let Some(own) = OwnEtcd::start("forgets") else { return };
    let store = open(&own.verb("uri")).await;
    let put = |name: &str, value: &str| Transaction::new().put(key(name), value.to_owned());
    let before = store.commit(&put("a", "1")).await.unwrap();
    store.commit(&put("gone", "1")).await.unwrap();
    let deleted = store.commit(&Transaction::new().delete(key("gone"))).await.unwrap();
    let last = store.commit(&put("a", "2")).await.unwrap();
    // Up to a deletion, which this etcd forgets with it.
    compact(&own, deleted);
    for after in [Revision(0), before, Revision(deleted.0 - 1)] {
        let mut watch = store.watch(&Prefix::default(), after).await.unwrap();
        assert_eq!(next(&mut watch).await.unwrap().unwrap(), Watched::Resync, "{after:?}");
        assert!(next(&mut watch).await.is_none(), "a watch goes on after it said that something is missing");
    }
    let mut watch = store.watch(&Prefix::default(), deleted).await.unwrap();
    let Some(Ok(Watched::Changes { revision, .. })) = next(&mut watch).await else { panic!("nothing is told") };
    assert_eq!(revision, last);
    // List and watch together miss nothing, also just behind what is forgotten.
    compact(&own, last);
    let listed = store.list(&ListEntries::of(Prefix::default())).await.unwrap();
    let mut watch = store.watch(&Prefix::default(), listed.revision).await.unwrap();
    let after = store.commit(&put("a", "3")).await.unwrap();
    let Some(Ok(Watched::Changes { revision, .. })) = next(&mut watch).await else { panic!("nothing is told") };
    assert_eq!(revision, after);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_asked_to_has_etcd_forget() {
    let Some(own) = OwnEtcd::start("compacts") else { return };
    // Two of them, as two servers.
    let uri = format!("{}?compact_after_seconds=1", own.verb("uri"));
    let (store, _other) = (open(&uri).await, open(&uri).await);
    let first = store.commit(&Transaction::new().put(key("a"), "1")).await.unwrap();
    store.commit(&Transaction::new().put(key("a"), "2")).await.unwrap();
    until("it is forgotten", async || {
        let old = json!({"key": bytes("/roadstead/a"), "revision": first.0.to_string()});
        let answer = try_ask(&own.members()[0], "/v3/kv/range", &old).expect("etcd answers");
        answer.status == 400 && answer.text().contains("compacted")
    })
    .await;
    assert_eq!(store.get(&key("a")).await.unwrap().unwrap().value, "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_others_are_passed_over() {
    let Some(own) = OwnEtcd::start("others") else { return };
    let store = open(&own.verb("uri")).await;
    let begun = store.revision().await.unwrap();
    let mut watch = store.watch(&Prefix::default(), begun).await.unwrap();
    let others = ["/roadstead//x", "/roadstead/a b", "/roadstead0", "/other", "/roadstead/"];
    for other in others {
        let _ = ask(&own.members()[0], "/v3/kv/put", &json!({"key": bytes(other), "value": bytes("1")}));
    }
    store.commit(&Transaction::new().put(key("b"), "1").put(key("a"), "1")).await.unwrap();
    let mut options = ListEntries::of(Prefix::default());
    options.limit = 1;
    let mut names = Vec::new();
    loop {
        let page = store.list(&options).await.unwrap();
        names.extend(page.entries.iter().map(|entry| entry.key.as_str().to_owned()));
        options.after = page.entries.last().map(|entry| entry.key.clone());
        if !page.more {
            break;
        }
    }
    assert_eq!(names, ["a", "b"]);
    let Some(Ok(Watched::Changes { changes, .. })) = next(&mut watch).await else { panic!("nothing is told") };
    assert_eq!(changes.len(), 2);
}

//! The clauses of stores, each time with handles of its own, as several servers have.

use roadstead_core::store::conformance::{StoreFixture, clauses, run};
use roadstead_tests::etcd::{self, OwnEtcd};

use crate::open;

async fn keeps_every_clause(uri: String) {
    let fixture = StoreFixture::new(move || {
        let uri = uri.clone();
        Box::pin(async move { Ok(open(&uri).await) })
    });
    for clause in clauses() {
        assert_eq!(run(clause, &fixture).await, Ok(()), "{clause:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_member_keeps_every_clause() {
    if let Some(uri) = etcd::shared("clauses") {
        keeps_every_clause(uri).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_members_keep_every_clause() {
    if let Some(own) = OwnEtcd::start("clauses-three") {
        keeps_every_clause(own.verb("uri")).await;
    }
}

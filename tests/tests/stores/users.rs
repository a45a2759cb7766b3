//! TLS, certificates, and users with passwords.

use std::sync::Arc;

use roadstead_backends::stores::etcd::{EtcdOptions, EtcdStore};
use roadstead_core::store::conformance::{StoreFixture, clauses, run};
use roadstead_core::store::{Prefix, Revision, Store, Transaction};
use roadstead_core::{ErrorKind, Secret};
use roadstead_tests::etcd::OwnEtcd;

use crate::key;

fn options(own: &OwnEtcd) -> EtcdOptions {
    let endpoints = own.verb("endpoints");
    let [authority, certificate, key, password] =
        ["authority", "certificate", "key", "password"].map(|verb| own.verb(verb));
    let uri = format!(
        "etcd+https://roadstead:{password}@{endpoints}/roadstead?authority={authority}&certificate={certificate}&key={key}"
    );
    EtcdOptions::from_uri(&uri).expect("options")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_clause_with_tls_and_a_password() {
    let Some(own) = OwnEtcd::start("clauses-tls") else { return };
    let options = options(&own);
    let fixture = StoreFixture::new(move || {
        let options = options.clone();
        Box::pin(async move { Ok(Arc::new(EtcdStore::open(&options).await?) as Arc<dyn Store>) })
    });
    for clause in clauses() {
        assert_eq!(run(clause, &fixture).await, Ok(()), "{clause:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_forgot_who_we_are_is_told_again() {
    let Some(own) = OwnEtcd::start("token-tls") else { return };
    let store = EtcdStore::open(&options(&own)).await.expect("the store opens");
    store.commit(&Transaction::new().put(key("a"), "1")).await.expect("a commit");
    // What it gave us to show is kept in its memory only.
    own.kill(0);
    own.start_again(0);
    store.commit(&Transaction::new().put(key("a"), "2")).await.expect("a commit");
    own.kill(0);
    own.start_again(0);
    let mut watch = store.watch(&Prefix::default(), Revision(0)).await.expect("a watch");
    assert!(crate::next(&mut watch).await.expect("an item").is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_is_told_why() {
    let Some(own) = OwnEtcd::start("refused-tls") else { return };
    let good = options(&own);
    type Change = fn(&mut EtcdOptions);
    let wrong: [(Change, ErrorKind, &str); 5] = [
        (
            |options| options.password = Some(Secret::new("hunter2")),
            ErrorKind::Unauthenticated,
            "invalid user ID or password",
        ),
        (|options| (options.user, options.password) = (None, None), ErrorKind::Unauthenticated, "user name is empty"),
        (|options| options.prefix = "elsewhere".to_owned(), ErrorKind::PermissionDenied, "permission denied"),
        (|options| options.authority = None, ErrorKind::Unauthenticated, "no authority vouches for"),
        (|options| (options.certificate, options.key) = (None, None), ErrorKind::Unauthenticated, "ertificate"),
    ];
    for (change, kind, words) in wrong {
        let mut options = good.clone();
        change(&mut options);
        let error = EtcdStore::open(&options).await.expect_err("it is refused");
        assert!(error.kind() == kind && error.message().contains(words), "{words}: {error:?}");
        assert!(!format!("{error:?} {options:?} {options}").contains("hunter2"));
    }
    EtcdStore::open(&good).await.expect("it opens");
}

//! Much at once: more than etcd's gateway takes in one answer.

use roadstead_core::store::{Change, ListEntries, Prefix, Transaction, VALUE_MAX, Watched};
use roadstead_tests::etcd::OwnEtcd;

use crate::{key, next, open};

/// Together far more than four mebibytes.
const MANY: usize = 24;
const LARGE: usize = VALUE_MAX - 100;

#[tokio::test(flavor = "multi_thread")]
async fn much_is_listed_and_told() {
    let Some(own) = OwnEtcd::start("large") else { return };
    let store = open(&own.verb("uri")).await;
    let begun = store.revision().await.unwrap();
    for number in 0..MANY {
        let value = vec![u8::try_from(number).unwrap(); LARGE];
        store.commit(&Transaction::new().put(key(&format!("large/{number:02}")), value)).await.unwrap();
    }
    // As many small ones as a transaction may have, with all that it may hold.
    let all = (0..128).fold(Transaction::new(), |all, number| {
        all.put(key(&format!("small/{number:03}")), vec![1; VALUE_MAX / 128 - 10])
    });
    let last = store.commit(&all).await.unwrap();

    let mut options = ListEntries::of(Prefix::new("large/").unwrap());
    let mut listed = 0;
    loop {
        let page = store.list(&options).await.unwrap();
        for entry in &page.entries {
            assert!(entry.value.len() == LARGE && usize::from(entry.value[0]) == listed, "{entry:?}");
            listed += 1;
        }
        options.after = page.entries.last().map(|entry| entry.key.clone());
        if !page.more {
            break;
        }
    }
    assert_eq!(listed, MANY);

    // One that begins far behind is told all of it, each transaction whole.
    let mut watch = store.watch(&Prefix::default(), begun).await.unwrap();
    for number in 0..=MANY {
        let Some(Ok(Watched::Changes { changes, revision })) = next(&mut watch).await else { panic!("{number}") };
        assert_eq!(changes.len(), if number < MANY { 1 } else { 128 });
        let Change::Put(entry) = &changes[0] else { panic!("{changes:?}") };
        assert!(number == MANY || usize::from(entry.value[0]) == number, "{number}: {entry:?}");
        assert_eq!(number == MANY, revision == last);
    }
}

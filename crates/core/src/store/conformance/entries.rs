//! Clauses of entries: what is there, lists of it, and that it stays.

use std::time::Duration;

use futures_util::StreamExt;
use tokio::time::timeout;

use super::{Scene, value_of};
use crate::conformance::check::{Check, During, ensure, equal, failed, refused};
use crate::error::ErrorKind;
use crate::store::{Entry, Key, LIST_MAX, ListEntries, Prefix, Transaction};

pub(super) async fn revisions_grow(scene: &Scene<'_>) -> Check {
    let first = scene.put("a", "1").await?;
    let second = scene.put("a", "2").await?;
    ensure(second > first, format!("{second:?} after {first:?}"))?;
    let again = (scene.open)().await.during("opening again")?;
    let reached = again.revision().await.during("the revision")?;
    ensure(reached >= second, format!("{reached:?} after {second:?} and another start"))
}

pub(super) async fn what_was_acknowledged_stays(scene: &Scene<'_>) -> Check {
    let revision = scene.put("a", "1").await?;
    let again = (scene.open)().await.during("opening again")?;
    let entry = again.get(&scene.key("a")?).await.during("reading")?;
    let found = entry.map(|entry| (value_of(&entry), entry.revision));
    equal("after another start", found, Some(("1".to_owned(), revision)))
}

pub(super) async fn what_is_there(scene: &Scene<'_>) -> Check {
    equal("nothing", scene.value("a").await?, None)?;
    let revision = scene.put("a", "").await?;
    let entry = scene.store.get(&scene.key("a")?).await.during("reading")?;
    equal("an empty value", entry, Some(Entry::new(scene.key("a")?, bytes::Bytes::new(), revision)))?;
    equal("what has it as a beginning", scene.value("a/b").await?, None)?;
    let bytes: Vec<u8> = (0..=255).collect();
    let put = Transaction::new().put(scene.key("a")?, bytes.clone());
    scene.store.commit(&put).await.during("writing")?;
    let entry = scene.store.get(&scene.key("a")?).await.during("reading")?;
    equal("bytes", entry.map(|entry| entry.value.to_vec()), Some(bytes))
}

pub(super) async fn lists_in_order(scene: &Scene<'_>) -> Check {
    for name in ["b", "a/2", "a", "c", "a-1"] {
        scene.put(name, name).await?;
    }
    // Byte by byte a minus is before a slash.
    let names: Vec<String> = scene.all().await?.into_iter().map(|(name, _)| name).collect();
    equal("all", names, ["a", "a-1", "a/2", "b", "c"])?;
    let mut below = ListEntries::of(Prefix::new(format!("{}a/", scene.prefix.as_str())).during("a prefix")?);
    let listed = scene.store.list(&below).await.during("listing")?;
    equal("below a", (listed.entries.len(), listed.more), (1, false))?;
    below = ListEntries::of(scene.prefix.clone());
    below.limit = 4;
    let listed = scene.store.list(&below).await.during("listing")?;
    equal("four of five", (listed.entries.len(), listed.more), (4, true))?;
    below.limit = 5;
    let listed = scene.store.list(&below).await.during("listing")?;
    equal("five of five", (listed.entries.len(), listed.more), (5, false))?;
    let last = listed.entries.iter().map(|entry| entry.revision).max();
    ensure(last <= Some(listed.revision), format!("{last:?} at {:?}", listed.revision))?;
    // Two entries that are always written together are the same in every list.
    let write = async {
        for number in 0..50 {
            let put =
                Transaction::new().put(scene.key("b")?, number.to_string()).put(scene.key("c")?, number.to_string());
            scene.store.commit(&put).await.during("writing")?;
        }
        Ok(())
    };
    let read = async {
        for _ in 0..50 {
            let all = scene.all().await?;
            let [.., (_, b), (_, c)] = all.as_slice() else { return failed("not all are listed") };
            ensure(b == c || b == "b", format!("b is {b} and c is {c}"))?;
        }
        Ok(())
    };
    let (written, read) = tokio::join!(write, read);
    Check::and(written, read)
}

pub(super) async fn lists_go_on(scene: &Scene<'_>) -> Check {
    for number in 0..7 {
        scene.put(&format!("k{number}"), "").await?;
    }
    let mut options = ListEntries::of(scene.prefix.clone());
    options.limit = 3;
    let mut pages = Vec::new();
    loop {
        let page = scene.store.list(&options).await.during("listing")?;
        pages.push(page.entries.len());
        options.after = page.entries.last().map(|entry| entry.key.clone());
        if !page.more {
            break;
        }
    }
    equal("pages", pages, [3, 3, 1])?;
    options.after = Some(scene.key("k3a")?);
    let rest = scene.store.list(&options).await.during("listing")?;
    equal("behind what is not there", rest.entries.len(), 3)?;
    options.after = Some(Key::new("conformance").during("a key")?);
    let all = scene.store.list(&options).await.during("listing")?;
    equal("behind what is before the prefix", (all.entries.len(), all.more), (3, true))?;
    options.after = Some(Key::new("d").during("a key")?);
    let none = scene.store.list(&options).await.during("listing")?;
    equal("behind what is behind the prefix", (none.entries.len(), none.more), (0, false))
}

pub(super) async fn lists_of_too_many(scene: &Scene<'_>) -> Check {
    for limit in [0, LIST_MAX + 1] {
        let mut options = ListEntries::of(scene.prefix.clone());
        options.limit = limit;
        let error = refused("a list", scene.store.list(&options).await, ErrorKind::InvalidInput)?;
        ensure(error.to_string().contains("limit"), format!("{error} does not name limit"))?;
    }
    Ok(())
}

pub(super) async fn the_revision_reached(scene: &Scene<'_>) -> Check {
    let before = scene.put("a", "1").await?;
    let reached = scene.store.revision().await.during("the revision")?;
    ensure(reached >= before, format!("{reached:?} after {before:?}"))
}

pub(super) async fn a_closed_store_answers_nothing(scene: &Scene<'_>) -> Check {
    let revision = scene.store.revision().await.during("the revision")?;
    let mut watch = scene.watch(revision).await?;
    scene.store.close().await.during("closing")?;
    scene.store.close().await.during("closing again")?;
    let key = scene.key("a")?;
    let life = Duration::from_secs(60);
    refused("reading", scene.store.get(&key).await, ErrorKind::Unavailable)?;
    refused("listing", scene.store.list(&ListEntries::of(scene.prefix.clone())).await, ErrorKind::Unavailable)?;
    refused("the revision", scene.store.revision().await, ErrorKind::Unavailable)?;
    let put = Transaction::new().put(key, "1");
    refused("writing", scene.store.commit(&put).await, ErrorKind::Unavailable)?;
    refused("a lease", scene.store.lease(life).await, ErrorKind::Unavailable)?;
    refused("watching", scene.store.watch(&scene.prefix, revision).await.map(drop), ErrorKind::Unavailable)?;
    let rest = timeout(Duration::from_secs(10), async { while watch.next().await.is_some() {} }).await;
    ensure(rest.is_ok(), "a watch goes on after the store was closed")
}

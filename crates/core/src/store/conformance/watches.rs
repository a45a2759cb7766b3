//! Clauses of watches: what is changed is told once, whole, and in its order, or that it is missing.

use futures_util::future::join_all;

use super::Scene;
use crate::conformance::check::{Check, During, Failure, ensure, equal, failed, next as item};
use crate::store::{Change, Key, ListEntries, Revision, Transaction, Watched};
use crate::stream::ItemStream;

/// The next transaction that a watch tells.
pub(super) async fn next(watch: &mut ItemStream<Watched>) -> Check<(Vec<Change>, Revision)> {
    match item("a watch", watch).await? {
        Some(Watched::Changes { changes, revision }) => Ok((changes, revision)),
        Some(Watched::Resync) => failed("a watch says that something is missing"),
        None => failed("a watch ended"),
    }
}

pub(super) async fn watches_tell_all(scene: &Scene<'_>) -> Check {
    scene.put("a", "0").await?;
    let listed = scene.store.list(&ListEntries::of(scene.prefix.clone())).await.during("listing")?;
    let begun = scene.put("a", "1").await?;
    let mut watch = scene.watch(listed.revision).await?;
    let both = Transaction::new().put(scene.key("c")?, "2").put(scene.key("b")?, "2").delete(scene.key("nothing")?);
    let second = scene.store.commit(&both).await.during("writing")?;
    // Elsewhere, which is not told.
    let elsewhere = Key::new(format!("{}-else", scene.prefix.as_str().trim_end_matches('/'))).during("a key")?;
    scene.store.commit(&Transaction::new().put(elsewhere.clone(), "x")).await.during("writing")?;
    scene.store.commit(&Transaction::new().delete(elsewhere)).await.during("deleting")?;
    let third = scene
        .store
        .commit(&Transaction::new().delete(scene.key("b")?).put(scene.key("a")?, "3"))
        .await
        .during("writing")?;
    for (revision, told) in [(begun, vec!["a=1"]), (second, vec!["b=2", "c=2"]), (third, vec!["a=3", "-b"])] {
        let (changes, at) = next(&mut watch).await?;
        equal(
            "a transaction",
            (at, scene.told(&changes)),
            (revision, told.iter().map(|one| (*one).to_owned()).collect()),
        )?;
        for change in &changes {
            if let Change::Put(entry) = change {
                equal("the revision of an entry", entry.revision, revision)?;
            }
        }
    }
    // Many, by many, each in its order.
    let begin = scene.store.revision().await.during("the revision")?;
    let mut watch = scene.watch(begin).await?;
    let writes = (0..8).map(|writer| async move {
        for number in 0..25 {
            scene.put(&format!("w{writer}"), &number.to_string()).await?;
        }
        Ok::<(), Failure>(())
    });
    let written = async { join_all(writes).await.into_iter().collect::<Check>() };
    let read = async {
        let (mut last, mut seen) = (begin, vec![0; 8]);
        while seen.iter().sum::<i32>() < 200 {
            let (changes, revision) = next(&mut watch).await?;
            ensure(revision > last, format!("{revision:?} after {last:?}"))?;
            last = revision;
            for told in scene.told(&changes) {
                let (writer, number) = told.trim_start_matches('w').split_once('=').unwrap_or(("0", ""));
                let at = seen.get_mut(writer.parse::<usize>().unwrap_or(0));
                let Some(at) = at else { return failed(format!("an unknown writer: {told}")) };
                equal("what a writer wrote next", number, at.to_string())?;
                *at += 1;
            }
        }
        Ok(())
    };
    let (written, read) = tokio::join!(written, read);
    Check::and(written, read)
}

pub(super) async fn watches_say_what_they_miss(scene: &Scene<'_>) -> Check {
    let begun = scene.put("a", "0").await?;
    let mut watch = scene.watch(begun).await?;
    // Nothing that is remembered may be missing, and what is not must be said: either all of it is told, or that it is not.
    const MANY: usize = 300;
    for number in 0..MANY {
        scene.put("a", &number.to_string()).await?;
    }
    let mut told = 0;
    while told < MANY {
        match item("a watch", &mut watch).await? {
            Some(Watched::Changes { changes, .. }) => {
                equal("a change", scene.told(&changes), [format!("a={told}")])?;
                told += 1;
            }
            Some(Watched::Resync) => {
                let after = item("a watch", &mut watch).await?;
                return ensure(after.is_none(), "a watch goes on after it said that something is missing");
            }
            None => return failed(format!("a watch ended after {told} of {MANY} changes")),
        }
    }
    Ok(())
}

pub(super) async fn watches_wait(scene: &Scene<'_>) -> Check {
    let begun = scene.put("a", "0").await?;
    let mut watch = scene.watch(Revision(begun.0 + 2)).await?;
    let mut last = begun;
    while last <= Revision(begun.0 + 2) {
        last = scene.put("a", &last.0.to_string()).await?;
    }
    let (_, revision) = next(&mut watch).await?;
    equal("the first that is told", revision, last)
}

//! Changes, their revisions and who watches them: M7, M8 and M10.

use std::collections::BTreeMap;

use super::*;

/// M7: a revision for each change, and none where nothing changed.
#[tokio::test(start_paused = true)]
async fn each_change_has_a_revision() {
    let rig = Rig::new().await;
    let moment = async || rig.mirror.read(PATIENCE).await.unwrap().snapshot.moment();
    moment().await;
    let first = rig.mirror.changes().now();
    let id = create(&*rig.node, "web").await;
    let container = rig.node.container(&id);
    for step in 1..=4 {
        match step {
            1 => {}
            2 => container.start().await.unwrap(),
            3 => container.freeze().await.unwrap(),
            _ => container.unfreeze().await.unwrap(),
        }
        assert_eq!(moment().await.revision(), first.revision() + step);
    }
    let last = moment().await;
    for _ in 0..5 {
        rig.mirror.refresh(PATIENCE).await.unwrap();
        tokio::time::sleep(Duration::from_secs(400)).await;
        // Starting what runs is fine, and no change.
        container.start().await.unwrap();
    }
    assert_eq!(moment().await, last);
    assert_eq!(rig.mirror.changes().now(), last);
    assert_eq!(last.epoch(), first.epoch());
    assert_ne!(Changes::new().now().epoch(), first.epoch());
    let changed_at = rig.mirror.snapshot().changed_at();
    assert!(changed_at <= rig.mirror.read(PATIENCE).await.unwrap().observed_at);
}

/// What a watcher knows.
#[derive(Default)]
struct Known(BTreeMap<ItemKey, ContainerSummary>);

impl Known {
    fn of(snapshot: &Snapshot) -> Known {
        Known(snapshot.iter().map(|item| (item.key().clone(), item.summary().clone())).collect())
    }

    fn apply(&mut self, change: &Change) {
        match change {
            Change::Put(item) => {
                self.0.retain(|key, _| key.id() != item.key().id());
                self.0.insert(item.key().clone(), item.summary().clone());
            }
            Change::Deleted { id, .. } => self.0.retain(|key, _| key.id() != &**id),
            // From the time before the mirror was ready.
            Change::Here { .. } => {}
            other => panic!("nothing else happened: {other:?}"),
        }
    }

    fn is(&self, snapshot: &Snapshot) -> bool {
        self.0.values().eq(snapshot.iter().map(|item| item.summary()))
    }
}

/// M8: from any moment on, what is told makes what is shown later; and each moment that is told is one to go on from.
#[tokio::test(start_paused = true)]
async fn a_watcher_has_what_comes_after() {
    let rig = Rig::new().await;
    let mut snapshots = vec![rig.mirror.read(PATIENCE).await.unwrap().snapshot];
    let mut ids = Vec::new();
    for number in 0..60 {
        match number % 4 {
            0 | 1 => ids.push(create(&*rig.node, &format!("c{number}")).await),
            2 => rig.node.container(&ids[number % ids.len()]).start().await.unwrap(),
            _ => {
                rig.node.container(&ids.remove(0)).delete(&FORCE).await.unwrap();
            }
        }
        snapshots.push(rig.mirror.read(PATIENCE).await.unwrap().snapshot);
    }
    let last = snapshots.last().unwrap();
    for begun in &snapshots {
        let mut known = Known::of(begun);
        let mut from = begun.moment();
        let mut watch = rig.mirror.changes().watch(Some(from), Some("sea"));
        let mut told = 0;
        while from.revision() < last.moment().revision() {
            let next = watch.next().await;
            assert!(next.moment.revision() > from.revision());
            from = next.moment;
            known.apply(&next.change);
            told += 1;
            if told % 3 == 0 {
                // It comes back later.
                watch = rig.mirror.changes().watch(Some(from), None);
            }
        }
        assert!(known.is(last));
    }
    let mut other = rig.mirror.changes().watch(Some(snapshots[0].moment()), Some("lake"));
    assert!(tokio::time::timeout(Duration::from_secs(60), other.next()).await.is_err(), "another node's");
}

/// M8: who is too late, or of another time, is told so, and goes on from there.
#[tokio::test(start_paused = true)]
async fn who_missed_something_is_told_so() {
    let changes = Changes::new();
    let mirror = Mirror::new("sea", Arc::clone(&changes));
    let summary = |number: u64| ContainerSummary {
        node: "sea".to_owned(),
        id: (number % 10).to_string(),
        name: number.to_string(),
        ..ContainerSummary::default()
    };
    let begun = changes.now();
    let mut slow = changes.watch(None, None);
    for number in 0..3000 {
        mirror.publish(vec![summary(number)], &[]);
    }
    // It is told of ten containers as they are now, and not of three thousand changes.
    for number in 2990..3000 {
        match slow.next().await.change {
            Change::Put(item) => assert_eq!(*item.summary(), summary(number)),
            other => panic!("{other:?}"),
        }
    }
    for number in 0..5000 {
        mirror.publish(vec![summary(number)], &[]);
    }
    let other_process = Changes::new().now();
    let ahead = changes.at(changes.now().revision() + 1);
    assert!(!changes.is_recent(begun) && !changes.is_recent(other_process) && changes.is_recent(changes.now()));
    let late = [changes.watch(Some(begun), None), changes.watch(Some(other_process), None)];
    for mut watch in late.into_iter().chain([changes.watch(Some(ahead), None), slow]) {
        let told = watch.next().await;
        assert!(matches!(told.change, Change::Resync), "{told:?}");
        assert_eq!(told.moment, changes.now());
        mirror.publish(Vec::new(), &["0".into()]);
        assert!(matches!(watch.next().await.change, Change::Deleted { .. }));
        mirror.publish(vec![summary(0)], &[]);
        assert!(matches!(watch.next().await.change, Change::Put(_)));
    }
    mirror.close();
    let mut watch = changes.watch(Some(changes.at(changes.now().revision() - 10)), None);
    for _ in 0..10 {
        assert!(
            matches!(watch.next().await.change, Change::Deleted { .. }),
            "a node that is gone takes its containers along"
        );
    }
}

/// M8: that a node is away is told, and what happened meanwhile before that it is back.
#[tokio::test(start_paused = true)]
async fn a_watcher_learns_that_a_node_is_away() {
    let rig = Rig::new().await;
    rig.read().await;
    let mut watch = rig.mirror.changes().watch(None, None);
    rig.faults().leave();
    match watch.next().await.change {
        Change::Away { node, reason } => assert_eq!((&*node, reason.contains("went away")), ("sea", true)),
        other => panic!("{other:?}"),
    }
    rig.faults().come_back();
    rig.create("web").await;
    assert!(matches!(watch.next().await.change, Change::Put(_)));
    assert!(matches!(watch.next().await.change, Change::Here { .. }));
}

/// M10: what did not change is shared between snapshots, and its JSON with it.
#[tokio::test(start_paused = true)]
async fn a_change_costs_what_changed() {
    let mirror = Mirror::new("sea", Changes::new());
    let summary = |number: u32, state| ContainerSummary {
        node: "sea".to_owned(),
        id: number.to_string(),
        name: format!("web-{number}"),
        state,
        ..ContainerSummary::default()
    };
    mirror.publish((0..10_000).map(|number| summary(number, ContainerState::Running)).collect(), &[]);
    let before = mirror.snapshot();
    mirror.publish(vec![summary(77, ContainerState::Stopped)], &[]);
    let after = mirror.snapshot();
    let differ: Vec<_> = before.iter().zip(after.iter()).filter(|(a, b)| !Arc::ptr_eq(a, b)).collect();
    assert_eq!(differ.len(), 1);
    let (old, new) = differ[0];
    assert_eq!((old.summary().state, new.summary().state), (ContainerState::Running, ContainerState::Stopped));
    for item in [old, new] {
        assert_eq!(item.json()[..], serde_json::to_vec(item.summary()).unwrap());
    }
    let key = before.iter().nth(4999).unwrap().key();
    assert_eq!(after.after(key).count(), 5000);
}

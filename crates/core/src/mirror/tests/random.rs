//! Random operations on an engine whose events are lost, repeated, late and mixed up, and whose answers are on their way for long:
//! after one resync the mirror is the engine's list.

use proptest::prelude::*;

use super::*;
use crate::conformance::Unreliable;

#[derive(Clone, Copy, Debug)]
enum Act {
    Create,
    Start(u8),
    Freeze(u8),
    Unfreeze(u8),
    Kill(u8),
    Rename(u8),
    Delete(u8),
    /// Time passes, in milliseconds.
    Wait(u16),
    /// Everything breaks, and is back.
    Break,
    Read,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => Just(Act::Create),
        4 => any::<u8>().prop_map(Act::Start),
        2 => any::<u8>().prop_map(Act::Freeze),
        2 => any::<u8>().prop_map(Act::Unfreeze),
        2 => any::<u8>().prop_map(Act::Kill),
        2 => any::<u8>().prop_map(Act::Rename),
        3 => any::<u8>().prop_map(Act::Delete),
        4 => (0_u16..300).prop_map(Act::Wait),
        1 => Just(Act::Break),
        2 => Just(Act::Read),
    ]
}

#[derive(Clone, Debug)]
struct Weather {
    lost: u32,
    twice: u32,
    late: u32,
    /// Milliseconds.
    lateness: u64,
    answers: u64,
    seed: u64,
}

fn weather() -> impl Strategy<Value = Weather> {
    (0_u32..100, 0_u32..60, 0_u32..60, 0_u64..3000, prop_oneof![Just(0), 0_u64..200], any::<u64>())
        .prop_map(|(lost, twice, late, lateness, answers, seed)| Weather { lost, twice, late, lateness, answers, seed })
}

async fn with(
    container: Option<Arc<dyn crate::Container>>,
    act: impl AsyncFn(&dyn crate::Container) -> Result<()>,
) -> Result<()> {
    match container {
        Some(container) => act(&*container).await,
        None => Ok(()),
    }
}

async fn run(acts: &[Act], weather: &Weather) {
    let engine = engine();
    let mut unreliable = Unreliable::new(weather.seed);
    (unreliable.lost, unreliable.twice, unreliable.late) = (weather.lost, weather.twice, weather.late);
    unreliable.lateness = Duration::from_millis(weather.lateness);
    unreliable.answers = Duration::from_millis(weather.answers);
    let unreliable = Arc::new(unreliable);
    let rig = Rig::on(engine, |node| layers::wrap(node, unreliable));
    rig.mirror.wait_ready(PATIENCE).await.unwrap();
    let begun = rig.mirror.snapshot().moment();
    let mut watch = rig.mirror.changes().watch(Some(begun), None);
    let mut known: std::collections::BTreeMap<String, ContainerSummary> =
        shown(&rig.mirror.snapshot()).into_iter().map(|item| (item.id.clone(), item)).collect();
    let mut ids: Vec<String> = Vec::new();
    let mut names = 0;
    for act in acts {
        let of = |number: u8| ids.get(usize::from(number) % ids.len().max(1)).map(|id| rig.engine.container(id));
        // What the engine refuses is as good as what it does.
        let _ = match *act {
            Act::Create => {
                names += 1;
                ids.push(rig.create(&format!("c{names}")).await);
                Ok(())
            }
            Act::Start(number) => with(of(number), async |c| c.start().await).await,
            Act::Freeze(number) => with(of(number), async |c| c.freeze().await).await,
            Act::Unfreeze(number) => with(of(number), async |c| c.unfreeze().await).await,
            Act::Kill(number) => with(of(number), async |c| c.kill(crate::Signal::KILL).await).await,
            Act::Rename(number) => {
                names += 1;
                with(of(number), async |c| c.rename(&format!("c{names}")).await).await
            }
            Act::Delete(number) => {
                if !ids.is_empty() {
                    let id = ids.remove(usize::from(number) % ids.len());
                    rig.delete(&id).await;
                }
                Ok(())
            }
            Act::Wait(milliseconds) => {
                tokio::time::sleep(Duration::from_millis(milliseconds.into())).await;
                Ok(())
            }
            Act::Break => {
                rig.faults().leave();
                tokio::time::sleep(Duration::from_millis(3)).await;
                rig.faults().come_back();
                Ok(())
            }
            Act::Read => {
                let _ = rig.mirror.read(Duration::from_millis(500)).await;
                Ok(())
            }
        };
    }
    // The engine needs a moment for what was killed.
    tokio::time::sleep(Duration::from_millis(50)).await;
    rig.mirror.wait_ready(PATIENCE).await.unwrap();
    let view = rig.mirror.refresh(PATIENCE).await.unwrap();
    let listed = rig.listed().await;
    assert_eq!(shown(&view.snapshot), listed, "{weather:?}");
    // And so does who watched from the beginning.
    let end = rig.mirror.changes().now();
    let mut from = begun.revision();
    while from < end.revision() {
        let told = watch.next().await;
        from = told.moment.revision();
        match told.change {
            Change::Put(item) => drop(known.insert(item.summary().id.clone(), item.summary().clone())),
            Change::Deleted { id, .. } => drop(known.remove(&*id)),
            Change::Away { .. } | Change::Here { .. } => {}
            Change::Resync => panic!("too few changes for that"),
        }
    }
    let mut known: Vec<_> = known.into_values().collect();
    known.sort_by_key(ItemKey::of);
    assert_eq!(known, listed);
    // It stays so.
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(rig.read().await, listed);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    /// M4: whatever is lost, late or mixed up, after one resync the mirror is the list, and nothing that comes later undoes it.
    #[test]
    fn after_one_resync_it_is_the_list(acts in prop::collection::vec(act(), 0..120), weather in weather()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(run(&acts, &weather));
    }
}

/// M4: an answer that was overtaken does not undo what is known by then.
#[tokio::test(start_paused = true)]
async fn an_answer_that_was_overtaken_says_nothing() {
    for seed in 0..40 {
        let engine = engine();
        let mut slow = Unreliable::new(seed);
        slow.answers = Duration::from_millis(400);
        let rig = Rig::on(engine, |node| layers::wrap(node, Arc::new(slow)));
        rig.mirror.wait_ready(PATIENCE).await.unwrap();
        let id = create(&*rig.node, "web").await;
        rig.start(&id).await;
        for round in 0..30 {
            let container = rig.node.container(&id);
            if round % 2 == 0 {
                container.freeze().await.unwrap();
            } else {
                container.unfreeze().await.unwrap();
            }
            if round % 5 == 0 {
                rig.mirror.resync();
            }
            tokio::time::sleep(Duration::from_millis(seed * 7 % 90)).await;
        }
        // No read is told what is older than what the one before was told.
        assert_eq!(rig.read().await, rig.listed().await, "{seed}");
        rig.node.container(&id).freeze().await.unwrap();
        for _ in 0..20 {
            assert_eq!(rig.read().await[0].state, ContainerState::Frozen, "{seed}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

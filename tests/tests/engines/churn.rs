//! Containers that come and go faster than any engine makes them, under a sampler that looks ten times a second: nothing fails,
//! nothing is left, and what lives long enough to be seen twice is seen.

use std::collections::{HashMap, VecDeque};
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use roadstead_backends::host::{Sampler, SamplerOptions};
use roadstead_benches::host::groups::{self, Group};
use roadstead_tests::left_out;

/// So many begin and end in a second.
const PER_SECOND: u32 = 50;
const INTERVAL: Duration = Duration::from_millis(100);
/// Those that do not end by themselves are ended after so long, and were in some samples by then.
const LIFE: Duration = Duration::from_secs(1);

/// After so many looks nothing is kept of what had gone before them.
const LOOKS: usize = 3;

/// For how long: `ROADSTEAD_SOAK=1` makes it a minute.
fn whole() -> Duration {
    Duration::from_secs(if left_out::soak() { 60 } else { 6 })
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").expect("our own descriptors").count()
}

/// Files that are open and tell of this test's groups, or of processes that have gone.
fn ghosts_kept() -> Vec<PathBuf> {
    let open = fs::read_dir("/proc/self/fd").expect("our own descriptors").flatten();
    let paths = open.filter_map(|entry| fs::read_link(entry.path()).ok());
    let is_ghost =
        |path: &PathBuf| path.to_string_lossy().contains(groups::PARENT) || path.starts_with("/proc") && !path.exists();
    paths.filter(is_ghost).collect()
}

/// Until there is a look that began after this.
async fn look_after(sampler: &Sampler, moment: roadstead_core::Timestamp) {
    let look = async {
        while sampler.sample().await.expect("a look").observed_at() <= moment {
            tokio::time::sleep(INTERVAL / 4).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), look).await.expect("it goes on looking");
}

/// The groups of this test that the sampler knows, each with how much it used.
async fn known(sampler: &Sampler) -> HashMap<String, f64> {
    let sample = sampler.sample().await.expect("a look never fails");
    let ours = sample.groups().iter().filter(|group| group.path().contains(groups::PARENT));
    ours.map(|group| (group.path().to_owned(), group.stats().cpu.total_seconds)).collect()
}

#[allow(clippy::print_stdout, reason = "the figures of a soak are what it is for")]
#[tokio::test]
async fn containers_that_come_and_go_leave_nothing_behind() {
    let hierarchies = groups::hierarchies().expect("hierarchies");
    let sampler = Sampler::new();
    let mut options = SamplerOptions::default();
    (options.interval, options.budget_percent) = (INTERVAL, 100.0);
    sampler.configure(options).expect("options that hold");
    assert!(known(&sampler).await.is_empty(), "of a run before");
    let before = descriptors();

    let (begun, mut alive, mut seen) = (Instant::now(), VecDeque::new(), HashMap::new());
    let mut made = 0;
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / PER_SECOND);
    while begun.elapsed() < whole() {
        ticks.tick().await;
        let id = groups::id(made);
        // One in three ends by itself, whenever the sampler may look at it, and its group is taken away later.
        let lives = if made % 3 == 0 { "0.25" } else { "60" };
        let group = Group::begin(&hierarchies, &id, &mut groups::sleep(lives)).expect("a group");
        alive.push_back((Instant::now(), group));
        made += 1;
        while alive.pop_front_if(|(since, _)| since.elapsed() > LIFE).is_some() {}
        seen.extend(known(&sampler).await);
    }
    assert!(made >= 100 && seen.len() >= made / 3, "{} of {made} were seen", seen.len());
    drop(alive);

    // Every look that began after the end shows none of them, and keeps no file of them.
    let ended = roadstead_core::Timestamp::now();
    look_after(&sampler, ended).await;
    let left = known(&sampler).await;
    assert!(left.is_empty(), "{left:?}");
    // Processes and containers of others come and go, too: what is kept of those that have gone is let go of with the next look.
    let mut ghosts = ghosts_kept();
    for _ in 0..LOOKS {
        look_after(&sampler, roadstead_core::Timestamp::now()).await;
        let kept = ghosts_kept();
        ghosts.retain(|ghost| kept.contains(ghost));
    }
    assert!(ghosts.is_empty(), "{ghosts:?}");
    let after = descriptors();
    println!("{made} containers, {} of them seen; descriptors {before} before, {after} after", seen.len());
    groups::clear();
}

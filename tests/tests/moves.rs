//! Moves between real engines, cut at every point.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test says that it failed"
)]

use roadstead_core::migration::{MoveSpec, WayChoice};
use roadstead_core::{ContainerSpec, Mount, MountKind, RestartPolicy};
use roadstead_tests::engines::{self, OwnEngine, image};
use roadstead_tests::left_out::soak;
use roadstead_tests::moves::{Cut, End, Trial};

/// A container with as much to lose as two engines of one kind can carry.
fn rich() -> ContainerSpec {
    let mut spec = ContainerSpec::new(image()).label("team", "sea");
    spec.env.insert("KEY".to_owned(), "two  words".to_owned());
    spec.hostname = Some("moving-host".to_owned());
    spec.working_directory = Some("/tmp".to_owned());
    spec.restart = RestartPolicy::UnlessStopped;
    spec.stop_timeout_seconds = Some(5);
    spec.limits.memory_bytes = Some(64 << 20);
    spec.mounts = vec![
        mount(MountKind::Volume, None, "/store"),
        mount(MountKind::Volume, Some("kept"), "/srv/kept"),
        mount(MountKind::Tmpfs, None, "/scratch"),
    ];
    spec
}

fn mount(kind: MountKind, source: Option<&str>, target: &str) -> Mount {
    let source = source.map(str::to_owned);
    Mount { kind, source, target: target.to_owned(), read_only: false, size_bytes: None }
}

fn portable() -> MoveSpec {
    by(WayChoice::Portable)
}

/// The same for engines that have no restart policies.
fn rich_system() -> ContainerSpec {
    let mut spec = rich();
    spec.restart = RestartPolicy::Never;
    spec
}

/// The same without what engines of this kind do not copy themselves.
fn rich_native() -> ContainerSpec {
    let mut spec = rich_system();
    spec.mounts.retain(|mount| mount.kind != MountKind::Volume);
    spec
}

fn by(way: WayChoice) -> MoveSpec {
    let mut how = MoveSpec::default();
    how.way = way;
    how
}

/// Running and stopped, by `way`.
async fn running_and_stopped(source: &End, target: &End, spec: ContainerSpec, way: WayChoice) {
    Trial::new(source, target, spec.clone()).how(by(way)).uncut().await;
    Trial::new(source, target, spec).how(by(way)).stopped().uncut().await;
}

/// Two engines of the test's own.
type Own = fn(&str) -> Option<OwnEngine>;

fn pair(name: &str, source: Own, target: Own) -> Option<(End, End)> {
    let source = source(&format!("{name}-a"))?;
    let target = target(&format!("{name}-b"))?;
    Some((End::own("here", source), End::own("there", target)))
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_to_docker_survives_the_death_of_the_server_anywhere() {
    let Some((source, target)) = pair("mvl", OwnEngine::docker, OwnEngine::docker) else { return };
    Trial::new(&source, &target, rich()).how(portable()).cut_everywhere(&[Cut::Server]).await;
}

/// Behind `ROADSTEAD_SOAK=1` this process, every line and every engine is cut at every point, which takes a quarter of an
/// hour for each of the following tests; otherwise the move is tried uncut, between the same engines.
async fn cut_when_soaking(trial: Trial<'_>) {
    if soak() {
        let cuts = trial.cut_everywhere(&Cut::ALL).await;
        assert!(cuts >= 5 * 27, "{cuts} cuts only");
    } else {
        trial.uncut().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_to_docker_survives_every_cut_when_soaking() {
    let Some((source, target)) = pair("mvk", OwnEngine::docker, OwnEngine::docker) else { return };
    cut_when_soaking(Trial::new(&source, &target, rich()).how(portable())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lxd_to_incus_survives_every_cut_when_soaking() {
    let Some((source, target)) = pair("mvx", OwnEngine::lxd, OwnEngine::incus) else { return };
    cut_when_soaking(Trial::new(&source, &target, rich_native())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn incus_to_lxd_survives_every_cut_when_soaking() {
    let Some((source, target)) = pair("mvy", OwnEngine::incus, OwnEngine::lxd) else { return };
    cut_when_soaking(Trial::new(&source, &target, rich_native())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_to_lxd_survives_every_cut_when_soaking() {
    let Some((source, target)) = pair("mvu", OwnEngine::docker, OwnEngine::lxd) else { return };
    cut_when_soaking(Trial::new(&source, &target, rich())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lxd_to_docker_survives_every_cut_when_soaking() {
    let Some((source, target)) = pair("mvv", OwnEngine::lxd, OwnEngine::docker) else { return };
    cut_when_soaking(Trial::new(&source, &target, rich_system())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn between_docker_and_podman_both_ways_running_and_stopped() {
    let (Some(docker), Some(podman)) = (engines::docker(), engines::podman()) else { return };
    let (docker, podman) = (End::shared("docker", docker), End::shared("podman", podman));
    for (source, target) in [(&docker, &podman), (&podman, &docker)] {
        Trial::new(source, target, rich()).how(portable()).uncut().await;
        Trial::new(source, target, rich()).how(portable()).stopped().uncut().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lxd_to_lxd_by_every_way_running_and_stopped() {
    let (Some(source), Some(target)) = (engines::lxd(), engines::lxd_second()) else { return };
    let (source, target) = (End::shared("here", source), End::shared("there", target));
    running_and_stopped(&source, &target, rich_native(), WayChoice::Auto).await;
    for way in [WayChoice::Pull, WayChoice::Push, WayChoice::Relay, WayChoice::Portable] {
        Trial::new(&source, &target, rich_native()).how(by(way)).uncut().await;
    }
    // With volumes it is carried as files.
    running_and_stopped(&source, &target, rich_system(), WayChoice::Auto).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn between_lxd_and_incus_both_ways_running_and_stopped() {
    let (Some(lxd), Some(incus)) = (engines::lxd(), engines::incus()) else { return };
    let (lxd, incus) = (End::shared("lxd", lxd), End::shared("incus", incus));
    for (source, target) in [(&lxd, &incus), (&incus, &lxd)] {
        running_and_stopped(source, target, rich_native(), WayChoice::Auto).await;
    }
    running_and_stopped(&incus, &lxd, rich_system(), WayChoice::Auto).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_docker_to_lxd_and_incus_running_and_stopped() {
    let (Some(docker), Some(lxd), Some(incus)) = (engines::docker(), engines::lxd(), engines::incus()) else { return };
    let docker = End::shared("docker", docker);
    for target in [End::shared("lxd", lxd), End::shared("incus", incus)] {
        running_and_stopped(&docker, &target, rich(), WayChoice::Auto).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn from_lxd_and_incus_to_docker_running_and_stopped() {
    let (Some(docker), Some(lxd), Some(incus)) = (engines::docker(), engines::lxd(), engines::incus()) else { return };
    let docker = End::shared("docker", docker);
    for source in [End::shared("lxd", lxd), End::shared("incus", incus)] {
        running_and_stopped(&source, &docker, rich_system(), WayChoice::Auto).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lxd_and_incus_show_only_of_running_containers_stays_and_is_named() {
    let (Some(docker), Some(lxd), Some(incus)) = (engines::docker(), engines::lxd(), engines::incus()) else { return };
    let docker = End::shared("docker", docker);
    for source in [End::shared("lxd", lxd), End::shared("incus", incus)] {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("row"), "the machine's").unwrap();
        let mut spec = rich_system();
        spec.mounts.push(mount(MountKind::Bind, directory.path().to_str(), "/bound"));
        running_and_stopped(&source, &docker, spec, WayChoice::Auto).await;
        let left: Vec<_> = std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["row"]);
        assert_eq!(std::fs::read_to_string(directory.path().join("row")).unwrap(), "the machine's");
    }
}

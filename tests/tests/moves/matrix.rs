//! Moves from every engine to every other, running and stopped, by every way.

use roadstead_core::MountKind;
use roadstead_core::migration::WayChoice;
use roadstead_tests::engines::{self};
use roadstead_tests::moves::{End, Trial};

use super::{by, mount, portable, rich, rich_native, rich_system, running_and_stopped};

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

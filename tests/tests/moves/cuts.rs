//! Moves that are cut at every point: one runnable copy whatever happens, and a move that ends when it goes on.

use roadstead_tests::engines::OwnEngine;
use roadstead_tests::left_out::soak;
use roadstead_tests::moves::{Cut, Trial};

use super::{pair, portable, rich, rich_native, rich_system};

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

//! Moves between real engines, cut at every point.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test says that it failed"
)]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use roadstead_core::migration::{
    self, Canceller, MemoryLog, MoveLog, MovePlan, MoveRecord, MoveSpec, MoveState, Mover, Observer, Phase, Point,
    Step, WayChoice,
};
use roadstead_core::{
    CommitOptions, ContainerSpec, ContainerState, CopyInOptions, DeleteOptions, ErrorKind, EventAction, EventOptions,
    Mount, MountKind, NetworkAttachment, Node, RestartPolicy, WaitFor,
};
use roadstead_tests::engines::{self, OwnEngine, TestEngine, image};
use roadstead_tests::left_out::soak;
use roadstead_tests::moves::{Away, Cut, End, Trial};

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
        mount(MountKind::Tmpfs, None, "/cache"),
        mount(MountKind::Volume, None, "/cache/kept"),
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
    // These would mount the temporary file system over the volume.
    spec.mounts.retain(|mount| !mount.target.starts_with("/cache"));
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

/// What the plan says is not carried.
fn losses(plan: &MovePlan) -> Vec<&str> {
    plan.not_carried.iter().map(|lost| lost.field.as_str()).collect()
}

/// Moves a container as it was planned.
async fn apply(source: &End, target: &End, plan: MovePlan) -> MoveRecord {
    let log = Arc::new(MemoryLog::default()) as Arc<dyn MoveLog>;
    let mover = Mover::new(source.direct().await, target.direct().await, log);
    mover.apply(MoveRecord::new(plan)).await.expect("the move")
}

/// Nothing was lost but what the plan says.
fn as_planned(record: &MoveRecord) {
    assert_eq!(record.state, MoveState::Done);
    assert!(!record.notes.iter().any(|note| note.contains("not carried")), "{:?}", record.notes);
}

/// Makes an instance with settings of the engine's own, past the program under test.
fn instance(engine: &TestEngine, name: &str, settings: &serde_json::Value) {
    let mut body = serde_json::json!({"name": name, "source": {"type": "image", "alias": image()}});
    body.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    let _ = engine.operate("POST", "/1.0/instances", Some(&body));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lxd_does_not_take_of_docker_is_planned_and_the_rest_moves() {
    let (Some(docker), Some(lxd), Some(incus)) = (engines::docker(), engines::lxd(), engines::incus()) else { return };
    let source = End::shared("docker", docker);
    for target in [End::shared("lxd", lxd), End::shared("incus", incus)] {
        let name = source.engine().name("odd");
        let body = serde_json::json!({
            "Image": image(), "Cmd": ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done"],
            "Env": ["LINES=one\ntwo", "KEPT=yes"], "Labels": {"kept": "yes"},
            "HostConfig": {"CpuShares": 512, "Init": true, "PidsLimit": 50, "NetworkMode": "none", "ShmSize": 1 << 20,
                "Ulimits": [{"Name": "nofile", "Soft": 64, "Hard": 128}], "OomScoreAdj": 100, "GroupAdd": ["7"],
                "Devices": [{"PathOnHost": "/dev/null", "PathInContainer": "/dev/own", "CgroupPermissions": "rw"}],
                "Sysctls": {"net.ipv4.ip_forward": "0"}, "SecurityOpt": ["no-new-privileges"],
                "LogConfig": {"Type": "json-file", "Config": {"max-file": "2"}}}
        });
        let made = source.engine().ask("POST", &format!("/containers/create?name={name}"), Some(&body));
        assert_eq!(made.status, 201, "{}", made.text());
        let (from, to) = (source.direct().await, target.direct().await);
        let plan = migration::plan(&from, &to, &MoveSpec::new(&name)).await.expect("a plan");
        let lost = losses(&plan);
        for field in [
            "limits.cpu_shares",
            "init",
            "env.LINES",
            "HostConfig.Devices",
            "HostConfig.GroupAdd",
            "HostConfig.LogConfig",
            "HostConfig.OomScoreAdj",
            "HostConfig.SecurityOpt",
            "HostConfig.ShmSize",
            "HostConfig.Sysctls",
            "HostConfig.Ulimits",
        ] {
            assert_eq!(lost.iter().filter(|named| **named == field).count(), 1, "{field} in {lost:?}");
        }
        assert!(!lost.iter().any(|field| field.starts_with("networks")), "{lost:?}");
        let record = apply(&source, &target, plan).await;
        as_planned(&record);
        let copy = to.container(&name);
        copy.start().await.expect("it starts");
        let details = copy.inspect().await.expect("it is there");
        assert_eq!(details.summary.state, ContainerState::Running);
        assert_eq!(details.spec.env.get("KEPT").map(String::as_str), Some("yes"));
        assert_eq!((details.spec.env.get("LINES"), details.spec.limits.pids), (None, Some(50)));
        assert_eq!(details.spec.networks, [NetworkAttachment::new("none")]);
        assert_eq!(details.endpoints, []);
        copy.delete(&DeleteOptions::force()).await.expect("it is deleted");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_docker_has_no_place_for_of_lxd_is_planned_and_the_host_name_stays() {
    let (Some(docker), Some(lxd), Some(incus)) = (engines::docker(), engines::lxd(), engines::incus()) else { return };
    let target = End::shared("docker", docker);
    for source in [End::shared("lxd", lxd), End::shared("incus", incus)] {
        let name = source.engine().name("odd");
        let settings = serde_json::json!({
            "config": {"limits.kernel.nofile": "64", "limits.cpu.priority": "3", "limits.memory": "64MiB",
                "limits.memory.swap": "false", "security.nesting": "true", "boot.autostart.priority": "1",
                "raw.lxc": "lxc.init.cmd = sleep 1000\nlxc.environment = A=b"},
            "devices": {"own": {"type": "unix-char", "source": "/dev/null", "path": "/dev/own"}, "eth0": {"type": "none"}}
        });
        instance(source.engine(), &name, &settings);
        let (from, to) = (source.direct().await, target.direct().await);
        let plan = migration::plan(&from, &to, &MoveSpec::new(&name)).await.expect("a plan");
        let lost = losses(&plan);
        for field in [
            "config.boot.autostart.priority",
            "config.limits.cpu.priority",
            "config.limits.kernel.nofile",
            "config.limits.memory.swap",
            "config.raw.lxc",
            "config.security.nesting",
            "devices.own",
        ] {
            assert_eq!(lost.iter().filter(|named| **named == field).count(), 1, "{field} in {lost:?}");
        }
        assert_eq!(lost.len(), 9, "the image, what engines make themselves, and these: {lost:?}");
        let record = apply(&source, &target, plan).await;
        as_planned(&record);
        let copy = to.container(&name);
        let details = copy.inspect().await.expect("it is there");
        assert_eq!(details.spec.hostname.as_deref(), Some(name.as_str()));
        assert_eq!(details.spec.networks, [NetworkAttachment::new("none")]);
        assert_eq!(details.spec.limits.memory_bytes, Some(64 << 20));
        copy.delete(&DeleteOptions::force()).await.expect("it is deleted");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_the_target_does_not_take_needs_another_one() {
    let (Some(docker), Some(lxd), Some(incus)) = (engines::docker(), engines::lxd(), engines::incus()) else { return };
    let source = End::shared("docker", docker);
    let name = source.engine().name("under_score");
    let _ = source.engine().create(&name, &["true"]);
    for target in [End::shared("lxd", lxd), End::shared("incus", incus)] {
        let (from, to) = (source.direct().await, target.direct().await);
        let error = migration::plan(&from, &to, &MoveSpec::new(&name)).await.unwrap_err();
        assert_eq!(error.field(), Some("new_name"), "{error:?}");
        assert!(error.message().contains(&name), "{error}");
        let mut how = MoveSpec::new(&name);
        how.new_name = Some(target.engine().name("no-score"));
        migration::plan(&from, &to, &how).await.expect("a plan");
    }
}

/// An image of the usual one with two more files: a link to a directory, and a file with a name in another one.
async fn linked(end: &End) -> String {
    let mut builder = tar::Builder::new(Vec::new());
    let mut add = |kind: tar::EntryType, path: &str, link: &str, data: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o755);
        header.set_uid(7);
        header.set_gid(8);
        header.set_size(data.len() as u64);
        if link.is_empty() {
            builder.append_data(&mut header, path, data).unwrap();
        } else {
            builder.append_link(&mut header, path, link).unwrap();
        }
    };
    add(tar::EntryType::Directory, "real/", "", b"");
    add(tar::EntryType::Symlink, "way", "/real", b"");
    add(tar::EntryType::Directory, "store/", "", b"");
    add(tar::EntryType::Regular, "store/a", "", &[3; 5000]);
    add(tar::EntryType::Link, "zz/b", "store/a", b"");
    add(tar::EntryType::Link, "zz/c", "store/a", b"");
    let archive = bytes::Bytes::from(builder.into_inner().unwrap());
    let node = end.direct().await;
    let name = end.engine().name("linked");
    let _ = node.create_container(&ContainerSpec::new(image()).name(&name)).await.expect("a container");
    let container = node.container(&name);
    let archive = Box::pin(futures_util::stream::once(async { Ok(archive) }));
    container.copy_in("/", archive, &CopyInOptions::default()).await.expect("files are put into it");
    let image = format!("roadstead/{name}:latest");
    let _ = container.commit(&CommitOptions::new(&image)).await.expect("an image");
    container.delete(&DeleteOptions::force()).await.expect("it is deleted");
    image
}

#[tokio::test(flavor = "multi_thread")]
async fn mounts_below_links_and_files_with_hidden_names_move() {
    let (Some(docker), Some(lxd), Some(incus), Some(podman)) =
        (engines::docker(), engines::lxd(), engines::incus(), engines::podman())
    else {
        return;
    };
    let (docker, podman) = (End::shared("docker", docker), End::shared("podman", podman));
    let (lxd, incus) = (End::shared("lxd", lxd), End::shared("incus", incus));
    let hidden = |image: &str| {
        let mut spec = rich_system();
        image.clone_into(&mut spec.image);
        spec
    };
    let from_docker = linked(&docker).await;
    let mut spec = hidden(&from_docker);
    spec.mounts.push(mount(MountKind::Volume, None, "/way/app"));
    for target in [&lxd, &incus, &podman] {
        Trial::new(&docker, target, spec.clone()).uncut().await;
    }
    docker.direct().await.delete_image(&from_docker, true).await.expect("the image is deleted");
    for source in [&lxd, &incus] {
        let image = linked(source).await;
        Trial::new(source, &docker, hidden(&image)).uncut().await;
        source.direct().await.delete_image(&image, true).await.expect("the image is deleted");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_files_lose_is_planned_and_a_socket_is_told_by_what_it_is() {
    let (Some(docker), Some(lxd)) = (engines::docker(), engines::lxd()) else { return };
    let (source, target) = (End::shared("docker", docker), End::shared("lxd", lxd));
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    std::fs::create_dir(at("a.sock")).unwrap();
    let _listens = std::os::unix::net::UnixListener::bind(at("listens")).unwrap();
    let script = "chmod 0711 /; chown 5:6 /; touch /done; trap 'exit 0' TERM; while :; do sleep 0.1; done";
    let mut spec = ContainerSpec::new(image()).name(source.engine().name("odd")).command(["sh", "-c", script]);
    spec.mounts = vec![
        mount(MountKind::Bind, at("a.sock").to_str(), "/bound"),
        mount(MountKind::Bind, at("listens").to_str(), "/socket"),
    ];
    let (from, to) = (source.direct().await, target.direct().await);
    let name = from.create_container(&spec).await.expect("a container").name;
    let container = from.container(&name);
    container.start().await.expect("it starts");
    for _ in 0..600 {
        match container.copy_out("/done").await {
            Ok(_) => break,
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
        }
    }
    let plan = migration::plan(&from, &to, &MoveSpec::new(&name)).await.expect("a plan");
    let why = |field: &str| {
        let lost = plan.not_carried.iter().find(|lost| lost.field == field);
        lost.map(|lost| lost.reason.clone()).unwrap_or_else(|| panic!("{field} in {:?}", plan.not_carried))
    };
    assert!(why("files.root").contains("mode 711 and belongs to 5:6"), "{}", why("files.root"));
    assert!(why("files.attributes").contains("extended attributes"), "{}", why("files.attributes"));
    assert!(why("files.made_by_engines").contains("/etc/hosts"), "{}", why("files.made_by_engines"));
    assert!(why("mounts[0]").contains("becomes a part"), "{}", why("mounts[0]"));
    assert!(why("mounts[1]").contains("is a socket"), "{}", why("mounts[1]"));
    let record = apply(&source, &target, plan).await;
    as_planned(&record);
    to.container(&name).delete(&DeleteOptions::force()).await.expect("it is deleted");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_beyond_the_specification_of_plain_containers() {
    for engine in [engines::docker(), engines::podman(), engines::lxd(), engines::incus()].into_iter().flatten() {
        let end = End::shared("plain", engine);
        let node = end.direct().await;
        let theirs = end.engine().name("theirs");
        if matches!(end.engine().kind(), "lxd" | "incus") {
            instance(end.engine(), &theirs, &serde_json::json!({}));
        } else {
            let body = serde_json::json!({"Image": image(), "Cmd": ["sleep", "1000"]});
            let made = end.engine().ask("POST", &format!("/containers/create?name={theirs}"), Some(&body));
            assert_eq!(made.status, 201, "{}", made.text());
        }
        let mut spec = rich_system().name(end.engine().name("ours")).command(["sleep", "1000"]);
        // Trials make the volume with a name before; nobody has here.
        spec.mounts.retain(|mount| mount.kind != MountKind::Volume || mount.source.is_none());
        let ours = node.create_container(&spec).await.expect("the container is made").name;
        for name in [theirs, ours] {
            let container = node.container(&name);
            let created = container.inspect().await.expect("it is there");
            assert_eq!(created.beyond_spec, [], "{} on {}", name, end.engine().kind());
            assert_ne!(created.spec.networks, [NetworkAttachment::new("none")], "{name}");
            container.start().await.expect("it starts");
            let running = container.inspect().await.expect("it is there");
            assert_eq!(running.beyond_spec, [], "{} runs on {}", name, end.engine().kind());
            container.delete(&DeleteOptions::force()).await.expect("it is deleted");
        }
    }
}

/// What makes a move end in the middle of a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    CalledOff,
    LineBroken,
    ServerDead,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_was_told_to_stop_runs_when_the_move_is_rolled_back() {
    const GRANTED: u32 = 4;
    let (Some(docker), Some(podman)) = (engines::docker(), engines::podman()) else { return };
    let (source, target) = (End::shared("docker", docker), End::shared("podman", podman));
    let direct = source.direct().await;
    for ends in [Ends::CalledOff, Ends::LineBroken, Ends::ServerDead] {
        let name = source.engine().name("stubborn");
        let mut spec = ContainerSpec::new(image()).name(&name);
        spec = spec.command(["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"]);
        spec.stop_timeout_seconds = Some(GRANTED);
        direct.create_container(&spec).await.expect("the container is made");
        let container = direct.container(&name);
        container.start().await.expect("it starts");
        let plan = migration::plan(&direct, &target.direct().await, &MoveSpec::new(&name)).await.expect("a plan");
        let log = Arc::new(MemoryLog::default());
        let canceller = Canceller::default();
        let kept = || Arc::clone(&log) as Arc<dyn MoveLog>;
        let mut events = direct.events(&EventOptions::default()).await.expect("events");
        let mover = Mover::new(source.connect().await, target.direct().await, kept()).cancelled_by(canceller.clone());
        let mut apply = Box::pin(mover.apply(MoveRecord::new(plan)));
        // It is told to stop, and is not ended yet.
        let told = async {
            loop {
                let event = events.next().await.expect("an event").expect("an event");
                if event.action == EventAction::Killed && event.name.as_deref() == Some(&name) {
                    break;
                }
            }
        };
        tokio::select! {
            () = told => {}
            done = &mut apply => panic!("{ends:?}: over before the stop: {done:?}"),
        }
        assert_eq!(container.inspect().await.expect("it is there").summary.state, ContainerState::Running);
        match ends {
            Ends::CalledOff => {
                canceller.cancel();
                assert_eq!((&mut apply).await.unwrap_err().kind(), ErrorKind::Cancelled);
            }
            Ends::LineBroken => {
                source.leave(Away::Unreachable);
                assert_eq!((&mut apply).await.unwrap_err().kind(), ErrorKind::Unavailable);
            }
            Ends::ServerDead => {}
        }
        drop(apply);
        source.come_back();
        let mut record = log.list().await.expect("the log").pop().expect("a record");
        if ends != Ends::CalledOff {
            assert_ne!(record.state, MoveState::RolledBack, "{ends:?}");
            let mover = Mover::new(source.connect().await, target.direct().await, kept());
            record = mover.roll_back(record).await.expect("it is rolled back");
        }
        assert_eq!((record.state, record.ran), (MoveState::RolledBack, true), "{ends:?}");
        assert_eq!(container.inspect().await.expect("it is there").summary.state, ContainerState::Running);
        let limit = Duration::from_secs(u64::from(GRANTED) + 3);
        let ended = container.wait(WaitFor::NextEnd, limit).await;
        assert_eq!(ended.expect_err("it goes on running").kind(), ErrorKind::DeadlineExceeded, "{ends:?}");
        container.delete(&DeleteOptions::force()).await.expect("it is deleted");
    }
}

/// Writes a file into the source once the copy was made.
#[derive(Debug)]
struct Writes {
    source: Arc<dyn Node>,
    container: String,
}

#[async_trait]
impl Observer for Writes {
    async fn reached(&self, point: Point) {
        if point == (Point { step: Step::Copy, phase: Phase::After }) {
            let mut builder = tar::Builder::new(Vec::new());
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o644);
            header.set_size(4);
            builder.append_data(&mut header, "late", &b"kept"[..]).expect("an archive in memory");
            let archive = builder.into_inner().expect("an archive in memory").into();
            let archive = futures_util::stream::once(async { Ok(archive) }).boxed();
            self.source
                .container(&self.container)
                .copy_in("/tmp", archive, &Default::default())
                .await
                .expect("written");
        }
    }

    fn changed(&self, _: &MoveRecord) {}

    fn copied(&self, _: u64) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_into_a_source_that_was_copied_already_is_not_lost() {
    let (Some(docker), Some(podman), Some(lxd)) = (engines::docker(), engines::podman(), engines::lxd()) else {
        return;
    };
    let [docker, podman, lxd] =
        [("docker", docker), ("podman", podman), ("lxd", lxd)].map(|(name, engine)| End::shared(name, engine));
    for (source, target) in [(&docker, &podman), (&lxd, &docker)] {
        let (from, to) = (source.direct().await, target.direct().await);
        let name = source.engine().name("written");
        let mut spec = ContainerSpec::new(image()).name(&name).command(["sleep", "1000"]);
        spec.stop_timeout_seconds = Some(0);
        from.create_container(&spec).await.expect("the container is made");
        let container = from.container(&name);
        container.start().await.expect("it starts");
        let plan = migration::plan(&from, &to, &MoveSpec::new(&name)).await.expect("a plan");
        let log = Arc::new(MemoryLog::default());
        let writes = Writes { source: Arc::clone(&from), container: name.clone() };
        let mover = Mover::new(Arc::clone(&from), Arc::clone(&to), Arc::clone(&log) as Arc<dyn MoveLog>);
        let error = mover.observed_by(Arc::new(writes)).apply(MoveRecord::new(plan)).await.expect_err("it went");
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        assert!(error.message().contains("was changed while it was moved: /tmp/late"), "{error}");
        let record = log.list().await.expect("the log").pop().expect("a record");
        assert_eq!(record.state, MoveState::RolledBack);
        assert_eq!(container.inspect().await.expect("it is there").summary.state, ContainerState::Running);
        let written: Vec<_> = container.copy_out("/tmp/late").await.expect("the file").collect().await;
        assert!(written.iter().flatten().any(|piece| piece.windows(4).any(|bytes| bytes == b"kept")));
        let copy = to.container(&name).inspect().await.expect_err("the copy is left");
        assert_eq!(copy.kind(), ErrorKind::NotFound);
        container.delete(&DeleteOptions::force()).await.expect("it is deleted");
    }
}

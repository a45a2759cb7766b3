//! What a plan says of what cannot be carried, and that nothing else is lost.

use roadstead_core::migration::{self, MoveSpec};
use roadstead_core::{ContainerSpec, ContainerState, DeleteOptions, MountKind, NetworkAttachment};
use roadstead_tests::engines::{self, image};
use roadstead_tests::moves::End;

use super::{apply, as_planned, instance, losses, mount, rich_system};

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

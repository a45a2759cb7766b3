//! What containers are: configuration, devices and labels, made by one side and read by the other.

use roadstead_core::{
    ContainerFilter, ContainerState, LabelSelector, Mount, MountKind, PortMapping, Protocol, VolumeSpec,
};
use serde_json::Value;

use crate::scene::{Scene, soon};

fn mount(volume: &str) -> Mount {
    Mount {
        kind: MountKind::Volume,
        source: Some(volume.to_owned()),
        target: "/data".to_owned(),
        read_only: false,
        size_bytes: None,
    }
}

fn port() -> PortMapping {
    PortMapping { container_port: 80, host_port: None, host_address: None, protocol: Protocol::Tcp }
}

pub(crate) async fn we_create(scene: &Scene) {
    let volume = scene.name("v");
    scene.node().create_volume(&VolumeSpec::new(&volume)).await.expect("we make a volume");
    let mut spec = scene.spec("c").label("team", "sea").command(["sleep", "4321"]);
    spec.env.insert("COLOUR".to_owned(), "deep  blue".to_owned());
    spec.working_directory = Some("/tmp".to_owned());
    spec.hostname = Some("harbour".to_owned());
    spec.user = Some("1:1".to_owned());
    spec.limits.memory_bytes = Some(64 << 20);
    spec.limits.pids = Some(40);
    spec.limits.cpus = Some(0.5);
    spec.mounts = vec![mount(&volume)];
    spec.ports = vec![port()];
    let container = scene.we_create_as(&spec).await;
    let name = container.id();

    let keys = ["user.team", "environment.COLOUR", "limits.memory", "limits.processes", "limits.cpu.allowance"];
    let values = keys.map(|key| scene.config(name, key));
    assert_eq!(values, ["sea", "deep  blue", "67108864", "40", "50ms/100ms"]);
    let listed = scene.listed(name).expect("it is listed");
    assert_eq!(listed["type"], "container");
    let devices = listed["devices"].as_object().expect("devices");
    let has = |kind: &str, key: &str, value: &str| {
        devices.values().any(|device| device["type"] == kind && device[key] == value)
    };
    assert!(has("disk", "source", &volume) && has("disk", "path", "/data"), "{devices:?}");
    assert!(has("proxy", "connect", "tcp:127.0.0.1:80"), "{devices:?}");

    let _ = scene.client(&["start", name]);
    assert_eq!(
        scene.they_run(name, "hostname; tr '\\0' ' ' </proc/1/cmdline; echo; readlink /proc/1/cwd"),
        "harbour\nsleep 4321 \n/tmp\n"
    );
    assert_eq!(
        scene.they_run(name, "tr '\\0' '\\n' </proc/1/environ | grep COLOUR; stat -c '%u %g' /proc/1"),
        "COLOUR=deep  blue\n1 1\n"
    );
    assert!(scene.they_run(name, "cat /proc/mounts").contains(" /data "));
}

pub(crate) async fn they_refuse_what_we_do(scene: &Scene) {
    let image = roadstead_tests::engines::image();
    for rest in ["plain", "CAPITALS", "under_score", "with.dot", "end-", &"long".repeat(20)] {
        let name = scene.name(rest);
        let spec = scene.spec("any").name(&name);
        let checked = scene.node().check_container(&spec).await;
        assert!(scene.listed(&name).is_none(), "{name} was made by checking it");
        let taken = scene.succeeds(&["init", &image, &name]);
        assert_eq!(checked.is_ok(), taken, "{name}: {checked:?}");
        assert!(taken || checked.is_err_and(|error| error.field() == Some("name")), "{name}");
    }
}

pub(crate) async fn they_create(scene: &Scene) {
    let volume = scene.name("v");
    let _ = scene.client(&["storage", "volume", "create", "default", &volume]);
    let name = scene.they_init_with(
        "c",
        &[
            "-c",
            "user.team=sea",
            "-c",
            "environment.COLOUR=deep  blue",
            "-c",
            "limits.memory=64MiB",
            "-c",
            "limits.processes=40",
            "-c",
            "limits.cpu.allowance=50ms/100ms",
            "-c",
            "security.privileged=true",
        ],
    );
    let _ = scene.client(&[
        "config",
        "device",
        "add",
        &name,
        "data",
        "disk",
        "pool=default",
        &format!("source={volume}"),
        "path=/data",
    ]);
    let _ = scene.client(&[
        "config",
        "device",
        "add",
        &name,
        "web",
        "proxy",
        "listen=tcp:127.0.0.1:28080",
        "connect=tcp:127.0.0.1:80",
    ]);
    let listed = scene.listed(&name).expect("it is listed");

    let details = scene.details(&name).await;
    let summary = &details.summary;
    assert_eq!(
        (summary.id.as_str(), summary.name.as_str(), summary.state),
        (name.as_str(), name.as_str(), ContainerState::Created)
    );
    assert_eq!(summary.node, scene.product().name());
    assert_eq!(summary.labels.get("team").map(String::as_str), Some("sea"));
    assert_eq!(summary.image_id.as_deref(), listed["config"]["volatile.base_image"].as_str());
    assert!(!summary.image.is_empty());
    let created = listed["created_at"].as_str().and_then(|time| time.parse().ok());
    assert_eq!(summary.created_at, created);
    let spec = &details.spec;
    assert_eq!(spec.env.get("COLOUR").map(String::as_str), Some("deep  blue"));
    assert_eq!((spec.limits.memory_bytes, spec.limits.pids, spec.limits.cpus), (Some(64 << 20), Some(40), Some(0.5)));
    assert!(spec.privileged);
    assert_eq!(spec.mounts, [mount(&volume)]);
    assert_eq!(
        spec.ports,
        [PortMapping {
            host_port: Some(28080),
            host_address: Some("127.0.0.1".parse().expect("an address")),
            ..port()
        }]
    );
    let network = listed["expanded_devices"]["eth0"]["network"].as_str().expect("the profile has a network");
    assert_eq!(spec.networks.iter().map(|network| network.network.as_str()).collect::<Vec<_>>(), [network]);
}

/// What they change of one that exists, and what happens to it, is seen by the next inspection.
pub(crate) async fn they_change_one(scene: &Scene) {
    let container = scene.we_create_as(&scene.spec("c").label("team", "sea").label("old", "1")).await;
    let name = container.id();
    let _ = scene.client(&["config", "set", name, "user.team=land", "environment.NEW=1"]);
    let _ = scene.client(&["config", "unset", name, "user.old"]);
    let _ =
        scene.client(&["config", "device", "add", name, "tmp", "disk", "source=/tmp", "path=/host", "readonly=true"]);
    let _ = scene.client(&["start", name]);
    let addresses = soon("the container gets an address", async || {
        let state = scene.listed(name)?["state"].clone();
        let addresses = state["network"]["eth0"]["addresses"].as_array()?.clone();
        addresses.iter().any(|address| address["family"] == "inet").then_some(addresses)
    })
    .await;
    let details = scene.details(name).await;
    assert_eq!(details.summary.labels.iter().collect::<Vec<_>>(), [(&"team".to_owned(), &"land".to_owned())]);
    assert_eq!(details.spec.env.get("NEW").map(String::as_str), Some("1"));
    let mounts: Vec<_> = details
        .spec
        .mounts
        .iter()
        .map(|mount| (mount.kind, mount.source.as_deref(), mount.target.as_str(), mount.read_only))
        .collect();
    assert_eq!(mounts, [(MountKind::Bind, Some("/tmp"), "/host", true)]);
    assert_eq!(details.summary.state, ContainerState::Running);
    let endpoint = details.endpoints.first().expect("it is on a network");
    let theirs =
        addresses.iter().find(|address| address["family"] == "inet").and_then(|address| address["address"].as_str());
    assert!(endpoint.addresses.iter().any(|ours| Some(ours.to_string().as_str()) == theirs), "{endpoint:?} {theirs:?}");
}

/// The list follows what they do, and a filter finds what they set.
pub(crate) async fn they_change_the_list(scene: &Scene) {
    let names: [String; 3] =
        ["a", "b", "c"].map(|rest| scene.they_init_with(rest, &["-c", &format!("user.rest={rest}")]));
    let [first, second, third] = &names;
    let _ = scene.client(&["start", first]);
    let _ = scene.client(&["start", second]);
    let _ = scene.client(&["pause", second]);
    let all = async |filter: &ContainerFilter| {
        let listed = scene.node().list_containers(filter).await.expect("we list");
        let mut own: Vec<_> =
            listed.into_iter().filter(|container| names.contains(&container.name)).map(|c| (c.name, c.state)).collect();
        own.sort();
        own
    };
    let theirs = || -> Vec<(String, String)> {
        let list = scene.json(&["list", "--format", "json"]);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let listed = list
            .as_array()
            .expect("a list")
            .iter()
            .map(|instance| (text(&instance["name"]), text(&instance["status"])));
        let mut own: Vec<_> = listed.filter(|(name, _)| names.contains(name)).collect();
        own.sort();
        own
    };
    let word = |state| match state {
        ContainerState::Running => "Running",
        ContainerState::Frozen => "Frozen",
        _ => "Stopped",
    };
    let same = async || {
        let ours: Vec<_> = all(&ContainerFilter::all())
            .await
            .into_iter()
            .map(|(name, state)| (name, word(state).to_owned()))
            .collect();
        assert_eq!(ours, theirs());
        ours.len()
    };
    assert_eq!(same().await, 3);
    let mut running = ContainerFilter::all();
    running.states.push(ContainerState::Running);
    assert_eq!(all(&running).await, [(first.clone(), ContainerState::Running)]);
    let mut labelled = ContainerFilter::all();
    labelled.labels.push(LabelSelector::equals("rest", "c"));
    assert_eq!(all(&labelled).await, [(third.clone(), ContainerState::Created)]);
    let _ = scene.client(&["stop", first, "--force"]);
    let _ = scene.client(&["delete", third]);
    assert_eq!(same().await, 2);
}

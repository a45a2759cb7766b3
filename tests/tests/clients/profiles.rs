//! Profiles and projects, which only this engine has: their client makes them, we see them and what is in them.

use roadstead_backends::engines::lxd::InstanceOptions;
use roadstead_core::{ContainerFilter, ContainerSpec, ErrorKind};
use roadstead_tests::engines::image;

use crate::scene::Scene;

pub(crate) async fn they_create(scene: &Scene) {
    let profile = scene.name("p");
    let _ = scene.client(&["profile", "create", &profile]);
    let _ = scene.client(&["profile", "set", &profile, "limits.processes=40", "user.team=sea"]);
    let _ = scene.client(&["profile", "device", "add", &profile, "host", "disk", "source=/tmp", "path=/host"]);
    let name = scene.they_init_with("c", &["--profile", "default", "--profile", &profile]);
    let found = scene.lxd().profile(&profile).await.expect("we inspect it");
    assert_eq!(found.options.get("limits.processes").map(String::as_str), Some("40"));
    assert_eq!(found.labels.get("team").map(String::as_str), Some("sea"));
    assert_eq!(found.devices["host"]["path"], "/host");
    assert!(found.used_by.iter().any(|path| path.ends_with(&name)), "{:?}", found.used_by);
    let listed = scene.lxd().profiles().await.expect("we list");
    assert_eq!(listed.iter().find(|other| other.name == profile), Some(&found));
    // What the profile gives, the container has.
    let details = scene.details(&name).await;
    assert_eq!(details.spec.limits.pids, Some(40));
    assert!(details.spec.mounts.iter().any(|mount| mount.target == "/host"), "{:?}", details.spec.mounts);

    let _ = scene.client(&["delete", &name]);
    let _ = scene.client(&["profile", "delete", &profile]);
    let error = scene.lxd().profile(&profile).await.expect_err("it is gone");
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

/// With profiles, keys and devices of the server's own.
pub(crate) async fn we_use(scene: &Scene) {
    let profile = scene.name("p");
    let _ = scene.client(&["profile", "create", &profile]);
    let _ = scene.client(&["profile", "set", &profile, "limits.processes=40"]);
    let mut options = InstanceOptions::default();
    options.profiles = Some(vec!["default".to_owned(), profile.clone()]);
    options.description = Some("ours".to_owned());
    options.config.insert("boot.autostart.priority".to_owned(), "7".to_owned());
    let device = [("type", "disk"), ("source", "/tmp"), ("path", "/host"), ("readonly", "true")];
    let device = device.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    options.devices.insert("host".to_owned(), device);
    let made = scene.lxd().create_instance(&scene.spec("c").label("team", "sea"), &options).await.expect("we create");
    let listed = scene.listed(&made.id).expect("it is listed");
    assert_eq!(listed["profiles"], serde_json::json!(["default", profile]));
    assert_eq!((&listed["description"], &listed["devices"]["host"]["path"]), (&"ours".into(), &"/host".into()));
    assert_eq!(
        (&listed["config"]["boot.autostart.priority"], &listed["config"]["user.team"]),
        (&"7".into(), &"sea".into())
    );
    let _ = scene.client(&["start", &made.id]);
    assert!(scene.they_run(&made.id, "cat /proc/mounts").contains(" /host "));
    assert_eq!(scene.details(&made.id).await.spec.limits.pids, Some(40));
}

/// A node of ours works in one project, and sees what is in it and nothing else.
pub(crate) async fn they_create_a_project(scene: &Scene) {
    let project = scene.name("p");
    let shared = ["features.images=false", "features.profiles=false", "features.networks=false"];
    let shared: Vec<&str> = shared.iter().flat_map(|key| ["--config", key]).collect();
    let _ = scene.client(&[&["project", "create", &project], shared.as_slice()].concat());
    let _ = scene.client(&["project", "set", &project, "user.team=sea"]);
    let found = scene.lxd().project(&project).await.expect("we inspect it");
    assert_eq!(found.labels.get("team").map(String::as_str), Some("sea"));
    assert_eq!(found.options.get("features.images").map(String::as_str), Some("false"));
    let listed = scene.lxd().projects().await.expect("we list");
    assert!(listed.contains(&found), "{listed:?}");

    let (theirs, ours) = (scene.name("theirs"), scene.name("ours"));
    let _ = scene.client(&["init", "--quiet", &image(), &theirs, "--project", &project]);
    let node = scene.in_project(&project).await;
    let created = node.create_container(&ContainerSpec::new(image()).name(&ours)).await.expect("we create in it");
    let mut inside: Vec<_> =
        node.list_containers(&ContainerFilter::all()).await.expect("we list").into_iter().map(|c| c.name).collect();
    inside.sort();
    assert_eq!(inside, [ours.clone(), theirs.clone()]);
    assert!(scene.client(&["list", "--project", &project, "--format", "csv", "--columns", "n"]).contains(&ours));
    assert_eq!((scene.state(&theirs).await, scene.state(&ours).await), (None, None));
    for name in [&theirs, &created.id] {
        let _ = scene.client(&["delete", name, "--project", &project]);
    }
    let _ = scene.client(&["project", "delete", &project]);
    let error = scene.lxd().project(&project).await.expect_err("it is gone");
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

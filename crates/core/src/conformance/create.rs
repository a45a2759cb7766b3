//! Clauses of creation: what was asked for is what the main process sees.

use std::time::Duration;

use super::check::{Check, During, Failure, ensure, equal, eventually, failed};
use super::declare;
use super::scene::{Scene, all_logs, details, ended, exec, logs};
use crate::capabilities::Capability;
use crate::container::{
    ContainerState, Health, HealthCheck, Limits, LogOptions, Mount, MountKind, NetworkAttachment, PortMapping,
    Protocol, RestartPolicy,
};
use crate::network::NetworkSpec;
use crate::stream::OutputKind;
use crate::volume::VolumeSpec;

declare! {
    N33 "command, environment, directory, user and hostname" [Create Logs] the_process_sees_its_settings;
    N34 "mounts, read-only ones too" [Create Logs Mounts Volumes] mounts;
    N35 "limits are in effect" [Create] limits;
    N36 "a published port answers on the node" [Create Ports Jobs] published_port;
    N37 "containers on one network reach each other by name" [Create Networks NetworkNames Jobs] reached_by_name;
    N38 "a restart policy starts it again" [Create Logs RestartPolicy] restarted_by_policy;
    N39 "a health check tells its result" [Create HealthCheck] health;
    N40 "a read-only root, dropped kernel capabilities" [Create Logs Privileges] confinement;
}

async fn the_process_sees_its_settings(scene: &Scene) -> Check {
    let mut spec = scene.script("main", "echo \"$CF_VALUE\"; pwd; id -u; id -g; hostname; exit 4");
    let users = scene.has(Capability::Users);
    spec.env.insert("CF_VALUE".to_owned(), "two  words, = and ü".to_owned());
    spec.working_directory = Some("/bin".to_owned());
    spec.user = users.then(|| "1234:1235".to_owned());
    spec.hostname = Some("cf-host".to_owned());
    let (code, output) = scene.result_of(&spec).await?;
    let ids = if users { "1234\n1235" } else { "0\n0" };
    equal("the output", output, format!("two  words, = and ü\n/bin\n{ids}\ncf-host\n"))?;
    scene.exited("the main process", code, 4)?;
    let mut spec = scene.spec("entry");
    spec.entrypoint = Some(vec!["echo".to_owned(), "from the entrypoint:".to_owned()]);
    spec.command = Some(vec!["$HOME *".to_owned(), String::new(), "'end".to_owned()]);
    scene.gives("entrypoint and command", &spec, 0, "from the entrypoint: $HOME *  'end\n").await
}

fn mount(kind: MountKind, source: Option<&str>, target: &str, read_only: bool) -> Mount {
    Mount { kind, source: source.map(str::to_owned), target: target.to_owned(), read_only, size_bytes: None }
}

async fn mounts(scene: &Scene) -> Check {
    let name = scene.volume_name("data");
    let volume = scene.node().create_volume(&VolumeSpec::new(&name)).await.during("create volume")?;
    let mut writer = scene.script("writer", "echo kept > /data/file; echo lost > /scratch/file; cat /scratch/file");
    writer.mounts =
        vec![mount(MountKind::Volume, Some(&name), "/data", false), mount(MountKind::Tmpfs, None, "/scratch", false)];
    scene.gives("the writer", &writer, 0, "lost\n").await?;
    let mut targets = vec![mount(MountKind::Volume, Some(&name), "/data", true)];
    if let Some(path) = &volume.path {
        targets.push(mount(MountKind::Bind, Some(path), "/bound", true));
        targets.push(mount(MountKind::Bind, Some(path), "/writable", false));
    }
    for (number, target) in targets.into_iter().enumerate() {
        let directory = target.target.clone();
        let read_only = target.read_only;
        let script = format!("cat {directory}/file; if echo x > {directory}/new; then echo written; fi");
        let mut reader = scene.script(&format!("reader{number}"), &script);
        reader.mounts = vec![target];
        let container = scene.start(&reader).await?;
        ended(&*container).await?;
        let seen = stdout(scene, &*container).await?;
        equal(&format!("what is seen at {directory}"), seen.contains("kept\n"), true)?;
        equal(&format!("{directory} was written"), seen.contains("written\n"), !read_only)?;
    }
    Ok(())
}

/// Standard output where it can be told apart, otherwise everything.
async fn stdout(scene: &Scene, container: &dyn crate::Container) -> Check<String> {
    let kind = scene.has(Capability::LogsSplit).then_some(OutputKind::Stdout);
    logs(container, &LogOptions::default(), kind).await
}

async fn limits(scene: &Scene) -> Check {
    let mut wanted = Limits::default();
    if scene.has(Capability::LimitMemory) {
        wanted.memory_bytes = Some(64 * 1024 * 1024);
    }
    if scene.has(Capability::LimitCpu) {
        wanted.cpus = Some(0.5);
    }
    if scene.has(Capability::LimitPids) {
        wanted.pids = Some(42);
    }
    if wanted.is_empty() {
        return Err(Failure::Gated("limit_memory, limit_cpu, limit_pids".to_owned()));
    }
    let mut spec = scene.spec("limited");
    spec.limits = wanted.clone();
    let container = scene.start(&spec).await?;
    limits_hold(scene, &*container, &wanted).await
}

/// Fails unless the limits are shown, and counted by where the engine tells numbers.
pub(super) async fn limits_hold(scene: &Scene, container: &dyn crate::Container, wanted: &Limits) -> Check {
    let shown = details(container).await?.spec.limits;
    equal("the memory limit", shown.memory_bytes, wanted.memory_bytes)?;
    equal("the pids limit", shown.pids, wanted.pids)?;
    match (shown.cpus, wanted.cpus) {
        (None, None) => {}
        (Some(shown), Some(wanted)) if (shown - wanted).abs() < 0.001 => {}
        (shown, wanted) => return failed(format!("the cpu limit is {shown:?}, expected {wanted:?}")),
    }
    if scene.has(Capability::Stats) {
        let stats = container.stats().await.during("stats")?;
        if wanted.memory_bytes.is_some() {
            equal("the memory limit of the statistics", stats.memory.limit_bytes, wanted.memory_bytes)?;
        }
        if let Some(pids) = wanted.pids {
            equal("the pids limit of the statistics", stats.pids.limit, Some(u64::from(pids)))?;
        }
    }
    Ok(())
}

async fn published_port(scene: &Scene) -> Check {
    let mut spec = scene.script("server", "echo answered > /index.html; exec httpd -f -p 8080 -h /");
    spec.ports =
        vec![PortMapping { container_port: 8080, host_port: None, host_address: None, protocol: Protocol::Tcp }];
    let server = scene.start(&spec).await?;
    let shown = details(&*server).await?;
    // Docker 20.10 may pick different ports for IPv4 and IPv6, and shows both; the client asks by IPv4.
    let published = shown.summary.ports.iter().filter(|port| port.container_port == 8080);
    let ports: Vec<u16> = published.filter_map(|port| port.host_port).collect();
    if ports.is_empty() {
        return failed(format!("no port was published: {:?}", shown.summary.ports));
    }
    // The gateway of the container's network is an address of the node.
    let Some(node) = shown.endpoints.iter().find_map(|endpoint| endpoint.gateway) else {
        return Err(Failure::Gated("the address of the node is not told".to_owned()));
    };
    let client = scene.running("client").await?;
    eventually("an answer of the published port", || async {
        for port in &ports {
            let asked = exec(&*client, &format!("wget -q -O - http://{node}:{port}/index.html")).await?;
            if asked.stdout == "answered\n" {
                return Ok(Some(()));
            }
        }
        Ok(None)
    })
    .await
}

async fn reached_by_name(scene: &Scene) -> Check {
    let network = scene.network_name("net");
    scene.node().create_network(&NetworkSpec::new(&network)).await.during("create network")?;
    let mut names = Vec::new();
    let mut containers = Vec::new();
    for rest in ["one", "two"] {
        let mut spec = scene.spec(rest);
        let mut attachment = NetworkAttachment::new(&network);
        attachment.aliases = vec![format!("{rest}-alias")];
        spec.networks = vec![attachment];
        containers.push(scene.start(&spec).await?);
        names.extend(spec.name);
        names.push(format!("{rest}-alias"));
    }
    for container in &containers {
        let endpoints = details(&**container).await?.endpoints;
        equal("the networks", endpoints.iter().map(|e| e.network.as_str()).collect::<Vec<_>>(), [network.as_str()])?;
        for name in &names {
            eventually(&format!("an answer of {name}"), || async {
                let asked = exec(&**container, &format!("ping -c 1 -W 2 {name}")).await?;
                Ok((asked.status.exit_code == Some(0)).then_some(()))
            })
            .await?;
        }
    }
    Ok(())
}

async fn restarted_by_policy(scene: &Scene) -> Check {
    let mut spec = scene.script("always", "echo started; exit 0");
    spec.restart = RestartPolicy::Always;
    let container = scene.start(&spec).await?;
    eventually("the second start", || async {
        Ok((all_logs(&*container).await?.matches("started").count() >= 2).then_some(()))
    })
    .await?;
    container.stop(&crate::StopOptions::after_seconds(0)).await.during("stop")?;
    equal("the state after a stop on purpose", details(&*container).await?.summary.state, ContainerState::Stopped)?;
    let mut spec = scene.script("failing", "echo started; exit 3");
    spec.restart = RestartPolicy::OnFailure { max_retries: Some(1) };
    let container = scene.start(&spec).await?;
    eventually("the end of a container that may be restarted once", || async {
        let starts = all_logs(&*container).await?.matches("started").count();
        let state = details(&*container).await?.summary.state;
        Ok((starts == 2 && state == ContainerState::Stopped).then_some(()))
    })
    .await
}

async fn health(scene: &Scene) -> Check {
    for (rest, check, expected) in [("well", "true", Health::Healthy), ("ill", "false", Health::Unhealthy)] {
        let mut spec = scene.spec(rest);
        spec.health_check = Some(HealthCheck {
            interval_seconds: Some(Duration::from_millis(200).as_secs_f64()),
            timeout_seconds: Some(5.0),
            retries: Some(1),
            ..HealthCheck::new([check])
        });
        let container = scene.start(&spec).await?;
        ensure(details(&*container).await?.health.is_some(), "a container with a health check has no health")?;
        eventually(&format!("the health {expected:?}"), || async {
            Ok((details(&*container).await?.health == Some(expected)).then_some(()))
        })
        .await?;
    }
    let without = scene.running("without").await?;
    equal("the health without a check", details(&*without).await?.health, None)
}

async fn confinement(scene: &Scene) -> Check {
    let write = "if echo x > /written; then echo done; fi";
    let own = "touch /owned; if chown 1 /owned; then echo done; fi";
    for (rest, script, confined) in [("a", write, false), ("b", write, true), ("c", own, false), ("d", own, true)] {
        let mut spec = scene.script(rest, script);
        if confined && script == write {
            spec.read_only_root = true;
        } else if confined {
            spec.capabilities_drop = vec!["CHOWN".to_owned()];
        }
        let (_, output) = scene.result_of(&spec).await?;
        equal(&format!("{script:?} was done (confined: {confined})"), output.contains("done"), !confined)?;
    }
    Ok(())
}

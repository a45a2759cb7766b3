//! Clauses of checking a specification: what creating would refuse is told without creating, and nothing else is.

use super::check::{Check, During, Failure, ensure, equal, failed, refused, refused_as};
use super::declare;
use super::scene::Scene;
use crate::container::{ContainerSpec, DeleteOptions, Mount, MountKind, NetworkAttachment, PortMapping, Protocol};
use crate::error::{Error, ErrorKind};

declare! {
    N41 "what creating refuses, checking refuses: same kind, same field" [Create] refused_alike;
    N42 "what checking accepts, creating does not refuse" [Create] accepted_alike;
}

const REFUSALS: [ErrorKind; 2] = [ErrorKind::InvalidInput, ErrorKind::Unsupported];

fn tmpfs(target: &str) -> Mount {
    Mount { kind: MountKind::Tmpfs, source: None, target: target.to_owned(), read_only: false, size_bytes: None }
}

fn port(protocol: Protocol) -> PortMapping {
    PortMapping { container_port: 8080, host_port: None, host_address: None, protocol }
}

/// Specifications that one engine or another refuses, and some that every engine does.
fn odd_specs(scene: &Scene) -> Vec<(&'static str, ContainerSpec)> {
    let mut specs = Vec::new();
    let mut add = |what: &'static str, change: &dyn Fn(&mut ContainerSpec)| {
        let mut spec = scene.spec(&format!("odd{}", specs.len()));
        change(&mut spec);
        specs.push((what, spec));
    };
    add("a relative directory", &|spec| spec.working_directory = Some("relative".to_owned()));
    add("a directory with a line end", &|spec| spec.working_directory = Some("/a\nb".to_owned()));
    add("a variable with a line end", &|spec| drop(spec.env.insert("CF_LINES".to_owned(), "one\ntwo".to_owned())));
    add("a label of our own", &|spec| drop(spec.labels.insert("roadstead.conformance".to_owned(), "x".to_owned())));
    add("an init process", &|spec| spec.init = true);
    add("cpu shares", &|spec| spec.limits.cpu_shares = Some(512));
    add("a swap limit", &|spec| {
        spec.limits.memory_bytes = Some(64 << 20);
        spec.limits.swap_bytes = Some(8 << 20);
    });
    add("a swap limit alone", &|spec| spec.limits.swap_bytes = Some(8 << 20));
    add("more cores than any machine has", &|spec| spec.limits.cpus = Some(4096.0));
    add("a core that no machine has", &|spec| spec.limits.cpu_set = Some("4095".to_owned()));
    add("a port of SCTP", &|spec| spec.ports = vec![port(Protocol::Tcp), port(Protocol::Sctp)]);
    add("the network none", &|spec| spec.networks = vec![NetworkAttachment::new("none")]);
    add("the network host", &|spec| spec.networks = vec![NetworkAttachment::new("host")]);
    add("the network none twice", &|spec| spec.networks = vec![NetworkAttachment::new("none"); 2]);
    add("a mount over the root", &|spec| spec.mounts = vec![tmpfs("/")]);
    add("two mounts in one place", &|spec| spec.mounts = vec![tmpfs("/scratch"), tmpfs("/scratch/")]);
    add("a capability that no kernel has", &|spec| spec.capabilities_add = vec!["FLY".to_owned()]);
    add("all capabilities dropped and added", &|spec| {
        spec.capabilities_add = vec!["ALL".to_owned()];
        spec.capabilities_drop = vec!["ALL".to_owned()];
    });
    add("a user by number", &|spec| spec.user = Some("1234:1235".to_owned()));
    for (what, rest) in
        [("a name with an underscore", "odd_name"), ("a name with a dot", "odd.name"), ("a name in capitals", "ODD")]
    {
        specs.push((what, scene.spec(rest)));
    }
    let long = scene.name(&"l".repeat(80));
    specs.push(("a long name", scene.spec("x").name(long)));
    specs.push(("nothing odd", scene.spec("plain")));
    specs
}

/// What creating says of a specification; what it makes is deleted.
async fn created(scene: &Scene, spec: &ContainerSpec) -> Check<Option<Error>> {
    match scene.node().create_container(spec).await {
        Err(error) => Ok(Some(error)),
        Ok(made) => {
            scene.node().container(&made.id).delete(&DeleteOptions::force()).await.during("delete")?;
            Ok(None)
        }
    }
}

async fn refused_alike(scene: &Scene) -> Check {
    let mut tried = 0;
    for (what, spec) in odd_specs(scene) {
        let checked = scene.node().check_container(&spec).await;
        if let Err(error) = &checked {
            ensure(REFUSALS.contains(&error.kind()), format!("checking {what}: {error:?}"))?;
            ensure(error.field().is_some(), format!("checking {what} names no field: {error}"))?;
        }
        // One that a server cannot even look for is not there either.
        let name = spec.name.as_deref().unwrap_or_default();
        refused_as(
            what,
            scene.node().container(name).inspect().await,
            &[ErrorKind::NotFound, ErrorKind::InvalidInput],
        )?;
        let Some(error) = created(scene, &spec).await?.filter(|error| REFUSALS.contains(&error.kind())) else {
            continue;
        };
        let checked = refused(what, checked, error.kind())?;
        equal(&format!("the field of {what}"), checked.field(), error.field())?;
        tried += 1;
    }
    if tried == 0 { failed("nothing was refused, not even a relative directory") } else { Ok(()) }
}

async fn accepted_alike(scene: &Scene) -> Check {
    let mut tried = 0;
    for (what, spec) in odd_specs(scene) {
        if scene.node().check_container(&spec).await.is_ok() {
            let refusal = created(scene, &spec).await?.filter(|error| REFUSALS.contains(&error.kind()));
            if let Some(error) = refusal {
                return failed(format!("{what} was accepted, but creating says: {error:?}"));
            }
            tried += 1;
        }
    }
    if tried == 0 { Err(Failure::Failed("not even a plain container was accepted".to_owned())) } else { Ok(()) }
}

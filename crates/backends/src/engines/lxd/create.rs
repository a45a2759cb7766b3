//! From a specification to an instance.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use roadstead_core::{ContainerSpec, CreatedContainer, Error, ErrorKind, Result, Retry, names};
use serde_json::{Value, json};

use super::instance::Instance;
use super::lifecycle::is_taken_address;
use super::provision::InstanceOptions;
use super::request::Request;
use super::shared::Lxd;
use super::spec::{self, Plan, Surroundings};
use super::{apart, images, inside, server, surroundings};

/// An image may be unpacked, and its owners shifted, for so long.
pub(super) const CREATE_DEADLINE: Duration = Duration::from_secs(1800);
/// Names that are made up begin so.
const NAME: &str = "roadstead";
/// Addresses that turn out to be taken are picked again so often.
const PICKS: usize = 5;

/// N30 to N40.
pub(super) async fn create_container(lxd: &Arc<Lxd>, spec: &ContainerSpec) -> Result<CreatedContainer> {
    create(lxd, spec, &InstanceOptions::default()).await
}

/// N41, N42. What a specification becomes depends on the server only in what is not looked at here.
pub(super) fn check(lxd: &Lxd, spec: &ContainerSpec) -> Result<()> {
    spec.require(&lxd.capabilities)?;
    spec.validate()?;
    names::image_reference("image", &spec.image)?;
    if let Some(name) = &spec.name {
        instance_name("name", name)?;
    }
    spec::plan(spec, &Surroundings::default()).map(drop)
}

/// The same, and with what only this engine has.
pub(super) async fn create(
    lxd: &Arc<Lxd>,
    spec: &ContainerSpec,
    options: &InstanceOptions,
) -> Result<CreatedContainer> {
    check(lxd, spec)?;
    let name = match &spec.name {
        Some(name) => name.clone(),
        None => format!("{NAME}-{:016x}", spec::chance()),
    };
    server::must_have_cpus(lxd, &spec.limits).await?;
    let mut around = surroundings::ask(lxd, spec, options.profiles.as_deref()).await?;
    let planned = |around: &Surroundings| {
        spec::plan(spec, around).map(|mut plan| {
            options.apply(&mut plan);
            plan
        })
    };
    let mut plan = planned(&around)?;
    let (image, _) = images::find(&lxd.client, &spec.image).await.map_err(|error| match error.kind() {
        // An empty project has no images, and what cannot be an alias is none.
        ErrorKind::NotFound => error.with_resource(&spec.image),
        _ => error,
    })?;
    let source = json!({"type": "image", "fingerprint": image.fingerprint()});
    for volume in &around.anonymous {
        let body = json!({"name": volume, "description": "made for a container"});
        Request::post(&["storage-pools", &around.pool, "volumes", "custom"]).body(&body).done(&lxd.client).await?;
    }
    let finished = async {
        let mut picks = 0;
        while let Err(error) = make(lxd, &name, &source, &plan, options).await {
            if picks == PICKS || !is_taken_address(&error) || asks_for_addresses(spec) {
                return Err(error);
            }
            picks += 1;
            around.networks = surroundings::ask(lxd, spec, options.profiles.as_deref()).await?.networks;
            plan = planned(&around)?;
        }
        have_own_addresses(lxd, &name, spec, &around).await?;
        inside::finish(lxd, &name, spec, &plan).await
    }
    .await;
    if let Err(error) = finished {
        // A name that is taken is somebody else's, and half a container is none.
        if error.kind() != ErrorKind::AlreadyExists {
            let _ = Request::delete(&["instances", &name]).done(&lxd.client).await;
        }
        for volume in &around.anonymous {
            let path = ["storage-pools", &around.pool, "volumes", "custom", volume];
            let _ = Request::delete(&path).done(&lxd.client).await;
        }
        return Err(error);
    }
    let mut created = CreatedContainer::default();
    created.id.clone_from(&name);
    created.name = name;
    created.warnings = plan.warnings;
    Ok(created)
}

/// Has the server make an instance, and waits for it.
async fn make(lxd: &Lxd, name: &str, source: &Value, plan: &Plan, options: &InstanceOptions) -> Result<()> {
    let body = json!({
        "name": name,
        "type": "container",
        "source": source,
        "config": plan.config,
        "devices": plan.devices,
        // Without a list the server takes its default one.
        "profiles": options.profiles,
        "description": options.description.as_deref().unwrap_or_default(),
    });
    let request = Request::post(&["instances"]).query_some("target", lxd.member.as_deref()).body(&body);
    let created = request.finish(&lxd.client, CREATE_DEADLINE).await;
    created.map(|_| ()).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => Error::new(ErrorKind::AlreadyExists, format!("the name {name} is taken"))
            .with_resource(name)
            .with_source(error),
        _ => about_a_mount(error),
    })
}

/// Two that are made in one moment may be given one address. Whichever is made later sees both, and takes another.
async fn have_own_addresses(lxd: &Lxd, name: &str, spec: &ContainerSpec, around: &Surroundings) -> Result<()> {
    if around.networks.is_empty() || asks_for_addresses(spec) {
        return Ok(());
    }
    for _ in 0..PICKS {
        let devices = Instance::read(lxd, name).await?.devices;
        let mut shares = false;
        for keys in devices.values() {
            let Some(network) = keys.get("network").filter(|network| around.networks.contains_key(*network)) else {
                continue;
            };
            let address = keys.get("ipv4.address").and_then(|address| address.parse::<Ipv4Addr>().ok());
            let taken = surroundings::leases(lxd, network).await?;
            shares |= taken.iter().filter(|taken| Some(**taken) == address).count() > 1;
        }
        if !shares {
            break;
        }
        match apart::set_apart(lxd, name).await {
            // Somebody took the new one, too.
            Err(error) if is_taken_address(&error) => {}
            moved => moved.map(drop)?,
        }
    }
    Ok(())
}

/// One that was asked for stays, and starting it says that it is taken.
fn asks_for_addresses(spec: &ContainerSpec) -> bool {
    spec.networks.iter().any(|attachment| attachment.address.is_some())
}

/// A directory that is to be mounted and is not there: the server names the device, which bears the number of the mount.
fn about_a_mount(error: Error) -> Error {
    let number = error.message().split_once("Missing source path").and_then(|(_, rest)| {
        let number = rest.split(spec::MOUNT).last()?.trim_end_matches('"');
        number.parse::<usize>().ok()
    });
    match number {
        Some(number) => {
            let words = "is a directory that the node does not have";
            Error::invalid(format!("mounts[{number}].source"), words).with_source(error)
        }
        None => error,
    }
}

/// The server's own rule for names, which are host names there.
pub(super) fn instance_name(field: &str, name: &str) -> Result<()> {
    let allowed = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if !allowed
        || name.is_empty()
        || name.len() > 63
        || name.starts_with(|first: char| !first.is_ascii_alphabetic())
        || name.ends_with('-')
    {
        return Err(Error::invalid(
            field,
            format!("{name:?} must be letters, digits and '-', at most 63, and begin with a letter on this engine"),
        ));
    }
    Ok(())
}

/// Changes the given keys of the configuration, and of the given devices all, only if nobody else has changed it meanwhile.
pub(super) async fn change(lxd: &Lxd, name: &str, patch: &Value) -> Result<()> {
    let (_, etag) = Instance::read_with_etag(lxd, name).await?;
    Request::patch(&["instances", name])
        .if_match(&etag)
        .body(patch)
        .done(&lxd.client)
        .await
        .map_err(|error| if error.kind() == ErrorKind::Conflict { error.with_retry(Retry::Safe) } else { error })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_missing_is_named() {
        let words =
            "Failed add validation for device \"mount12\": Missing source path \"/no/mount\" for disk \"mount12\"";
        let error = about_a_mount(Error::new(ErrorKind::Unexpected, words));
        assert_eq!((error.kind(), error.field()), (ErrorKind::InvalidInput, Some("mounts[12].source")));
        for other in ["Missing source path \"/no/mount3\" for disk \"data\"", "Failed for \"mount1\""] {
            assert_eq!(
                about_a_mount(Error::new(ErrorKind::Unexpected, other)).kind(),
                ErrorKind::Unexpected,
                "{other}"
            );
        }
    }

    #[test]
    fn names_follow_the_servers_rule() {
        for name in ["a", "A-b", "web1"] {
            instance_name("name", name).unwrap();
        }
        for name in ["", "1a", "-a", "a-", "a_b", "a.b", "é", &"a".repeat(64)] {
            assert_eq!(instance_name("name", name).unwrap_err().field(), Some("name"), "{name}");
        }
    }
}

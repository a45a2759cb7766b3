//! Which containers there are, in one call.

use std::sync::Arc;

use roadstead_core::{ContainerFilter, ContainerSummary, Result};

use super::instance::Instance;
use super::request::Request;
use super::shared::Lxd;
use super::spec::{self, Kept};

/// N20 to N23. Never with the state of each, which takes the server 20 to 35 ms per instance.
pub(super) async fn list_containers(lxd: &Arc<Lxd>, filter: &ContainerFilter) -> Result<Vec<ContainerSummary>> {
    filter.validate()?;
    let instances: Vec<Instance> = Request::get(&["instances"])
        .query("recursion", "1")
        .query("instance-type", "container")
        .json(&lxd.client)
        .await?;
    // Any member of a cluster lists the containers of all.
    let here = |instance: &&Instance| lxd.member.is_none() || instance.location == lxd.member;
    let containers =
        instances.iter().filter(here).filter(|instance| instance.is_container() && !instance.name.is_empty());
    let mut containers: Vec<_> =
        containers.map(|instance| summary(&lxd.name, instance)).filter(|container| filter.matches(container)).collect();
    containers.sort_by_key(|container| std::cmp::Reverse(container.created_at));
    Ok(containers)
}

/// An instance as a list shows it.
pub(super) fn summary(node: &str, instance: &Instance) -> ContainerSummary {
    let config = instance.effective();
    let mut summary = ContainerSummary::default();
    summary.node = node.to_owned();
    // Names are the only ids there are.
    summary.id.clone_from(&instance.name);
    summary.name.clone_from(&instance.name);
    let kept = Kept::read(config);
    summary.image = spec::image(config, &kept);
    summary.image_id = spec::base_image(config);
    summary.state = instance.state();
    summary.labels = spec::labels(config, &kept);
    summary.created_at = instance.created_at;
    if summary.state.has_processes() {
        summary.ports = spec::published(instance);
    }
    summary
}

#[cfg(test)]
mod tests {
    use roadstead_core::ContainerState;

    use super::*;

    #[test]
    fn recorded_instances_become_summaries() {
        let list: Vec<Instance> = serde_json::from_str(
            r#"[{"name":"s1","type":"container","status":"Frozen","status_code":110,"created_at":"2026-11-21T11:46:22.8Z",
            "last_used_at":"2026-11-21T11:46:23.7Z","config":{"volatile.base_image":"9d09"},"profiles":["default"],
            "expanded_config":{"user.a":"b","user.roadstead.spec":"{\"image\":\"roadstead/busybox:latest\",\"later\":1}",
            "volatile.base_image":"9d09"},
            "expanded_devices":{"p":{"type":"proxy","listen":"tcp:0.0.0.0:28080","connect":"tcp:127.0.0.1:80"}}},
            {"name":"vm","type":"virtual-machine"},{}]"#,
        )
        .unwrap();
        let found = summary("n", &list[0]);
        assert_eq!((found.name.as_str(), found.id.as_str(), found.state), ("s1", "s1", ContainerState::Frozen));
        assert_eq!((found.image.as_str(), found.image_id.as_deref()), ("roadstead/busybox:latest", Some("9d09")));
        assert_eq!((found.labels.len(), found.ports[0].host_port), (1, Some(28080)));
        assert!(!list[1].is_container());
    }
}

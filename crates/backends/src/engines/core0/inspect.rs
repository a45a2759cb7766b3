//! Containers as they are shown: in lists, and one with all that is known of it.

use std::net::IpAddr;
use std::sync::Arc;

use roadstead_core::{
    ContainerDetails, ContainerFilter, ContainerInterface, ContainerSummary, InterfaceAddress, NetworkEndpoint, Result,
    Timestamp,
};

use super::commands::corex::{Nic, NicState};
use super::commands::info;
use super::commands::ip::Route;
use super::found::{self, Found};
use super::shared::Core0;
use super::{kept, processes, sweep};

/// N20 to N23.
pub(super) async fn list(core0: &Arc<Core0>, filter: &ContainerFilter) -> Result<Vec<ContainerSummary>> {
    filter.validate()?;
    sweep::soon(core0);
    let all = found::all(core0).await?;
    let mut all: Vec<(u64, ContainerSummary)> =
        all.iter().map(|found| (found.container.id, summary(core0, found))).collect();
    all.retain(|(_, summary)| filter.matches(summary));
    // Ids grow, so the highest is the newest.
    all.sort_by_key(|(id, _)| std::cmp::Reverse(*id));
    Ok(all.into_iter().map(|(_, summary)| summary).collect())
}

/// C10, C11.
pub(super) async fn inspect(core0: &Arc<Core0>, id: &str) -> Result<ContainerDetails> {
    let found = found::one(core0, id).await?;
    let (pid, endpoints) = tokio::join!(processes::main_pid(core0, &found), endpoints(core0, &found));
    let mut details = ContainerDetails::default();
    details.summary = summary(core0, &found);
    details.spec = kept::spec(&found.container.arguments, found.kept.as_ref());
    details.spec.name = Some(found.name());
    details.started_at = found.run.begun_at.filter(|_| found.run.number > 0);
    details.pid = pid?;
    (details.endpoints, details.interfaces) = endpoints?;
    if let Some(end) = &found.end {
        details.finished_at = end.finished_at;
        details.exit_code = end.exit_code;
        details.error.clone_from(&end.error);
    }
    Ok(details)
}

fn summary(core0: &Core0, found: &Found) -> ContainerSummary {
    let arguments = &found.container.arguments;
    let mut summary = ContainerSummary::default();
    summary.node.clone_from(&core0.name);
    summary.id = found.id();
    summary.name = found.name();
    summary.image = match &found.kept {
        Some(kept) => kept.spec.image.clone(),
        None => arguments.root.clone(),
    };
    summary.state = found.state;
    summary.labels = kept::labels(&arguments.tags);
    summary.created_at =
        found.kept.as_ref().map(|kept: &kept::Kept| kept.created_at).filter(|at: &Timestamp| !at.is_never());
    summary.ports = super::ports::read(&arguments.port);
    summary
}

/// The networks that it is on, and its interfaces. Which addresses it has, it is asked itself.
async fn endpoints(core0: &Core0, found: &Found) -> Result<(Vec<NetworkEndpoint>, Vec<ContainerInterface>)> {
    let nics = &found.container.arguments.nics;
    let own = |nic: &&Nic| nic.state != NicState::Destroyed;
    if found.container.arguments.host_network || !nics.iter().any(|nic| own(&nic)) {
        return Ok(Default::default());
    }
    let inside = core0.inside(found.container.id);
    let (info, ip) = (inside.info(), inside.ip());
    let (links, routes) = tokio::try_join!(info.nics(), ip.routes())?;
    let all = nics.iter().enumerate().filter(|(_, nic)| own(nic));
    let endpoints = all.map(|(place, nic)| endpoint(place, nic, &links, &routes)).collect();
    Ok((endpoints, links.iter().map(interface).collect()))
}

/// How far an address reaches the node does not tell; it follows from the address.
fn interface(link: &info::Nic) -> ContainerInterface {
    let has = |wanted: &str| link.flags.iter().any(|flag| flag == wanted);
    let address = |cidr: &String| {
        let (address, prefix) = cidr.split_once('/')?;
        Some(InterfaceAddress::new(address.parse().ok()?, prefix.parse().ok()?))
    };
    let mut interface = ContainerInterface::default();
    interface.name.clone_from(&link.name);
    interface.mac_address = Some(link.mac.clone()).filter(|mac| !mac.is_empty());
    interface.mtu = u32::try_from(link.mtu_bytes).ok().filter(|mtu| *mtu > 0);
    (interface.up, interface.loopback) = (has("up"), has("loopback"));
    interface.addresses = link.addresses.iter().filter_map(address).collect();
    interface
}

fn endpoint(place: usize, nic: &Nic, links: &[info::Nic], routes: &[Route]) -> NetworkEndpoint {
    let name = if nic.name.is_empty() { format!("eth{place}") } else { nic.name.clone() };
    let everywhere = |route: &&Route| {
        route.device == name
            && matches!(route.destination.as_str(), "" | "default" | "0.0.0.0/0")
            && !route.gateway.is_empty()
    };
    let link = links.iter().find(|link| link.name == name);
    let address = |cidr: &String| cidr.split('/').next()?.parse::<IpAddr>().ok();
    let mut endpoint = NetworkEndpoint::default();
    endpoint.network = kept::network(nic);
    endpoint.addresses = link.iter().flat_map(|link| link.addresses.iter().filter_map(address)).collect();
    endpoint.mac_address = link.map(|link| link.mac.clone()).filter(|mac| !mac.is_empty());
    endpoint.gateway = routes.iter().find(everywhere).and_then(|route| route.gateway.parse().ok());
    endpoint
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_are_those_that_the_container_tells_of() {
        let mut link = info::Nic::default();
        "eth0".clone_into(&mut link.name);
        "02:42:00:00:00:01".clone_into(&mut link.mac);
        link.mtu_bytes = 1500;
        link.flags = ["up", "broadcast"].map(str::to_owned).to_vec();
        link.addresses = ["10.0.0.5/24", "fe80::1/64", "nonsense", "10.0.0.6/300"].map(str::to_owned).to_vec();
        assert_eq!(
            serde_json::to_value(interface(&link)).unwrap(),
            serde_json::json!({"name": "eth0", "mac_address": "02:42:00:00:00:01", "mtu": 1500, "up": true, "loopback": false,
                "addresses": [{"address": "10.0.0.5", "prefix": 24, "scope": "global"},
                    {"address": "fe80::1", "prefix": 64, "scope": "link"}]})
        );
        let lo = info::Nic { name: "lo".to_owned(), flags: vec!["loopback".to_owned()], ..info::Nic::default() };
        let lo = interface(&lo);
        assert!(lo.loopback && !lo.up && lo.mac_address.is_none() && lo.mtu.is_none());
    }
}

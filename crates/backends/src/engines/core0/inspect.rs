//! Containers as they are shown: in lists, and one with all that is known of it.

use std::net::IpAddr;
use std::sync::Arc;

use roadstead_core::{ContainerDetails, ContainerFilter, ContainerSummary, NetworkEndpoint, Result, Timestamp};

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
    details.endpoints = endpoints?;
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

/// The networks that it is on. Which addresses it has, it is asked itself.
async fn endpoints(core0: &Core0, found: &Found) -> Result<Vec<NetworkEndpoint>> {
    let nics = &found.container.arguments.nics;
    let own = |nic: &&Nic| nic.state != NicState::Destroyed;
    if found.container.arguments.host_network || !nics.iter().any(|nic| own(&nic)) {
        return Ok(Vec::new());
    }
    let inside = core0.inside(found.container.id);
    let (info, ip) = (inside.info(), inside.ip());
    let (links, routes) = tokio::try_join!(info.nics(), ip.routes())?;
    let all = nics.iter().enumerate().filter(|(_, nic)| own(nic));
    Ok(all.map(|(place, nic)| endpoint(place, nic, &links, &routes)).collect())
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

//! The members of a cluster, which only this engine has: each a node of a pool.
//!
//! Any member answers for the whole cluster and passes on what is for another one. So the nodes of the pool share the way to
//! the member that we are connected with, and differ in whose containers they list, where they create, and whose machine they
//! tell of. Where that member is away, all are.

use std::collections::BTreeMap;
use std::sync::Arc;

use roadstead_core::jobs::{JobKeeper, JobLimits};
use roadstead_core::{Error, ErrorKind, Member, Node, Result, StaticPool};
use serde::{Deserialize, Serialize};

use super::capabilities::{self, Reported};
use super::gateways::Gateways;
use super::node::LxdNode;
use super::request::Request;
use super::shared::Lxd;

/// A member of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ClusterMember {
    /// Its name.
    pub name: String,
    /// URL at which the other members reach it.
    pub url: String,
    /// The server's word for its state, for example `Online`.
    pub status: String,
    /// More of it in words.
    pub message: String,
    /// What it does for the cluster, for example `database`.
    pub roles: Vec<String>,
    /// In the kernel's word, for example `x86_64`.
    pub architecture: String,
    /// Its labels: what its configuration has below `user.`.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Which new instances the cluster places on it by itself: `all`, `manual` for none, `group`; empty where that is not told.
    #[serde(default)]
    pub places: String,
}

impl ClusterMember {
    /// Why no new containers are placed on it.
    fn cordon(&self) -> Option<String> {
        if !matches!(self.status.as_str(), "" | "Online") {
            return Some(format!("the cluster says that it is {}: {}", self.status.to_lowercase(), self.message));
        }
        (self.places == "manual").then(|| "the cluster places nothing on it by itself".to_owned())
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Wire {
    server_name: Option<String>,
    url: Option<String>,
    status: Option<String>,
    message: Option<String>,
    roles: Option<Vec<String>>,
    architecture: Option<String>,
    config: Option<BTreeMap<String, Option<String>>>,
}

impl Wire {
    fn member(self) -> ClusterMember {
        let config = self.config.unwrap_or_default();
        let label = |(key, value): (&String, &Option<String>)| {
            Some((key.strip_prefix("user.")?.to_owned(), value.clone().unwrap_or_default()))
        };
        ClusterMember {
            name: self.server_name.unwrap_or_default(),
            url: self.url.unwrap_or_default(),
            status: self.status.unwrap_or_default(),
            message: self.message.unwrap_or_default(),
            roles: self.roles.unwrap_or_default(),
            architecture: self.architecture.unwrap_or_default(),
            labels: config.iter().filter_map(label).collect(),
            places: config.get("scheduler.instance").cloned().flatten().unwrap_or_default(),
        }
    }
}

async fn members(lxd: &Lxd) -> Result<Vec<ClusterMember>> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Cluster {
        enabled: Option<bool>,
    }
    if !lxd.has("clustering") {
        return Ok(Vec::new());
    }
    // A server that is in no cluster answers the question for members with an error of its own.
    let cluster: Cluster = Request::get(&["cluster"]).json(&lxd.client).await?;
    if !cluster.enabled.unwrap_or(false) {
        return Ok(Vec::new());
    }
    let request = Request::get(&["cluster", "members"]).query("recursion", "1");
    let members: Vec<Wire> = request.json(&lxd.client).await?;
    Ok(members.into_iter().map(Wire::member).collect())
}

/// Members of the cluster.
impl LxdNode {
    /// The members of the cluster that the server is in; none when it is in none.
    ///
    /// # Errors
    /// As every call on the node.
    pub async fn cluster_members(&self) -> Result<Vec<ClusterMember>> {
        self.call("lxd.cluster_members", None, "", members(&self.0)).await
    }

    /// The cluster as a pool called `name`, whose nodes are the members, by their own names.
    ///
    /// # Errors
    /// [`roadstead_core::ErrorKind::Conflict`] when the server is in no cluster.
    pub async fn cluster(&self, name: &str) -> Result<StaticPool> {
        self.call("lxd.cluster", None, "", self.cluster_of(name)).await
    }

    pub(super) async fn cluster_of(&self, name: &str) -> Result<StaticPool> {
        let members = members(&self.0).await?;
        if members.is_empty() {
            return Err(Error::new(ErrorKind::Conflict, "the server is in no cluster"));
        }
        let known = members.into_iter().map(|told| {
            let cordon = told.cordon();
            let member = Member::new(Arc::new(self.member(&told.name)) as Arc<dyn Node>).labels(told.labels);
            match cordon {
                Some(why) => member.cordoned(why),
                None => member,
            }
        });
        Ok(StaticPool::of(name, known))
    }

    fn member(&self, member: &str) -> LxdNode {
        let lxd = &self.0;
        let mut limits = JobLimits::default();
        limits.keep = std::time::Duration::from_secs(lxd.capabilities.jobs_kept_seconds);
        LxdNode(Arc::new(Lxd {
            name: member.to_owned(),
            uri: lxd.uri.clone(),
            joined: lxd.joined,
            client: lxd.client.named(member),
            capabilities: capabilities::derive(&Reported { extensions: &lxd.extensions, local: false }, &limits),
            extensions: lxd.extensions.clone(),
            jobs: JobKeeper::new(member, limits),
            members: Arc::new(crate::host::Members::new(false)),
            // What is read of a console by one is gone for the other.
            consoles: Arc::clone(&lxd.consoles),
            gateways: Gateways::default(),
            // Which processes are on this machine is known of the member that we are connected with only.
            local: false,
            member: Some(member.to_owned()),
        }))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nulls_and_absent_members_are_nothing() {
        let wire: Vec<Wire> = serde_json::from_value(json!([
            {"server_name": "a", "status": "Online", "roles": null, "config": {"user.zone": "b", "user.rack": null}},
            {},
            {"server_name": "c", "status": "Online", "config": {"scheduler.instance": "manual"}},
            {"server_name": "d", "status": "Offline", "message": "no heartbeat for 30 s"}
        ]))
        .unwrap();
        let members: Vec<_> = wire.into_iter().map(Wire::member).collect();
        assert_eq!((members[0].name.as_str(), members[0].roles.len()), ("a", 0));
        assert_eq!((members[0].labels["zone"].as_str(), members[0].labels["rack"].as_str()), ("b", ""));
        assert_eq!(members[1], ClusterMember::default());
        let cordons: Vec<_> = members.iter().map(ClusterMember::cordon).collect();
        let manual = Some("the cluster places nothing on it by itself".to_owned());
        let offline = Some("the cluster says that it is offline: no heartbeat for 30 s".to_owned());
        assert_eq!(cordons, [None, None, manual, offline]);
    }
}

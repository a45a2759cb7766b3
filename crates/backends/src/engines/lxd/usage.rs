//! What the machine, its containers and its processes use: from the kernel where the server is on this machine, otherwise
//! instance by instance from the server.

use async_trait::async_trait;
use roadstead_core::usage::{HistoryOptions, HostFacts, UsageHistory};
use roadstead_core::{
    Capability, ContainerFilter, ContainerSummary, ItemStream, Metrics, NodeUsage, Process, ProcessOptions, Result,
    UsageOptions,
};

use super::instance::{Now, not_running};
use super::node::LxdNode;
use super::{list, processes};
use crate::host::{Cgroup, Owner, OwnerName};

#[async_trait]
impl Metrics for LxdNode {
    async fn host(&self) -> Result<HostFacts> {
        self.call("metrics.host", None, "", async {
            self.0.capabilities.require(Capability::Host)?;
            crate::host::facts().await
        })
        .await
    }

    async fn usage(&self, options: &UsageOptions) -> Result<NodeUsage> {
        let work = async {
            self.0.capabilities.require(Capability::Usage)?;
            self.0.members.usage(self, options).await
        };
        self.call("metrics.usage", None, "", work).await
    }

    async fn watch_usage(&self, options: &UsageOptions) -> Result<ItemStream<NodeUsage>> {
        let work = async {
            self.0.capabilities.require(Capability::Usage)?;
            self.0.members.watch(self.clone(), options.clone()).await
        };
        self.call("metrics.watch", None, "", work).await
    }

    async fn usage_history(&self, options: &HistoryOptions) -> Result<UsageHistory> {
        let work = async {
            self.0.capabilities.require(Capability::UsageHistory)?;
            self.0.members.history(self, options).await
        };
        self.call("metrics.history", None, "", work).await
    }

    async fn list_processes(&self, options: &ProcessOptions) -> Result<Vec<Process>> {
        let work = async {
            self.0.capabilities.require(Capability::NodeProcesses)?;
            self.0.members.processes(self, options).await
        };
        self.call("metrics.processes", None, "", work).await
    }
}

#[async_trait]
impl Owner for LxdNode {
    async fn containers(&self) -> Result<Vec<ContainerSummary>> {
        list::list_containers(&self.0, &ContainerFilter::all()).await
    }

    fn named(&self, container: &ContainerSummary) -> OwnerName {
        OwnerName::Group(processes::group_name(&self.0, &container.id))
    }

    async fn cgroup(&self, container: &str) -> Result<Option<Cgroup>> {
        let pid = Now::read(&self.0, container).await?.pid().ok_or_else(not_running)?;
        Ok(processes::cgroup(&self.0, pid, container))
    }
}

//! What the machine, its containers and its processes use: from the kernel where the daemon is on this machine, otherwise
//! container by container from the daemon.

use async_trait::async_trait;
use roadstead_core::usage::{HistoryOptions, HostFacts, UsageHistory};
use roadstead_core::{
    Capability, ContainerFilter, ContainerSummary, ItemStream, Metrics, NodeUsage, Process, ProcessOptions, Result,
    UsageOptions,
};

use super::node::DockerNode;
use super::{inspect, list, stats};
use crate::host::{Cgroup, Owner, OwnerName};

#[async_trait]
impl Metrics for DockerNode {
    async fn host(&self) -> Result<HostFacts> {
        self.call("metrics.host", async {
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
        self.call("metrics.usage", work).await
    }

    async fn watch_usage(&self, options: &UsageOptions) -> Result<ItemStream<NodeUsage>> {
        let work = async {
            self.0.capabilities.require(Capability::Usage)?;
            self.0.members.watch(self.clone(), options.clone()).await
        };
        self.call("metrics.watch", work).await
    }

    async fn usage_history(&self, options: &HistoryOptions) -> Result<UsageHistory> {
        let work = async {
            self.0.capabilities.require(Capability::UsageHistory)?;
            self.0.members.history(self, options).await
        };
        self.call("metrics.history", work).await
    }

    async fn list_processes(&self, options: &ProcessOptions) -> Result<Vec<Process>> {
        let work = async {
            self.0.capabilities.require(Capability::NodeProcesses)?;
            self.0.members.processes(self, options).await
        };
        self.call("metrics.processes", work).await
    }
}

#[async_trait]
impl Owner for DockerNode {
    async fn containers(&self) -> Result<Vec<ContainerSummary>> {
        list::list(&self.0, &ContainerFilter::all()).await
    }

    fn named(&self, container: &ContainerSummary) -> OwnerName {
        OwnerName::Id(container.id.clone())
    }

    async fn cgroup(&self, container: &str) -> Result<Option<Cgroup>> {
        let inspected = inspect::inspect(&self.0, container).await?;
        inspected.must_have_processes()?;
        Ok(stats::cgroup(&self.0, &inspected))
    }
}

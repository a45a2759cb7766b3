//! What the containers of a daemon use: container by container, as the engine tells it.

use std::sync::Arc;

use async_trait::async_trait;
use roadstead_core::usage::{self, Asked, HistoryOptions, HostFacts, Polled, UsageHistory};
use roadstead_core::{
    Capability, Error, ItemStream, Metrics, NodeUsage, Process, ProcessOptions, Result, UsageOptions,
};

use super::node::DockerNode;

#[async_trait]
impl Metrics for DockerNode {
    async fn host(&self) -> Result<HostFacts> {
        let work = async { Err(Error::unsupported(Capability::Host.text())) };
        self.call("metrics.host", work).await
    }

    async fn usage(&self, options: &UsageOptions) -> Result<NodeUsage> {
        let work = async {
            self.0.capabilities.require(Capability::Usage)?;
            self.0.polled.usage(self, options).await
        };
        self.call("metrics.usage", work).await
    }

    async fn watch_usage(&self, options: &UsageOptions) -> Result<ItemStream<NodeUsage>> {
        let work = async {
            self.0.capabilities.require(Capability::Usage)?;
            options.validate()?;
            // What is not there, or does not run, is told at once.
            usage::running(self, &options.containers).await?;
            Ok(Polled::watch(DockerNode(Arc::clone(&self.0)), options.clone()))
        };
        self.call("metrics.watch", work).await
    }

    async fn usage_history(&self, _: &HistoryOptions) -> Result<UsageHistory> {
        let work = async { Err(Error::unsupported(Capability::UsageHistory.text())) };
        self.call("metrics.history", work).await
    }

    async fn list_processes(&self, options: &ProcessOptions) -> Result<Vec<Process>> {
        let work = async {
            self.0.capabilities.require(Capability::NodeProcesses)?;
            usage::processes(self, options).await
        };
        self.call("metrics.processes", work).await
    }
}

#[async_trait]
impl Asked for DockerNode {
    async fn usage(&self, options: &UsageOptions) -> Result<NodeUsage> {
        Metrics::usage(self, options).await
    }
}

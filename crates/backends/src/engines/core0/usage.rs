//! What the containers of a node use: container by container, as the engine tells it.

use std::sync::Arc;

use async_trait::async_trait;
use roadstead_core::usage::{self, Asked, HistoryOptions, HostFacts, Polled, UsageHistory};
use roadstead_core::{
    Capability, Error, ItemStream, Metrics, Node, NodeUsage, Process, ProcessOptions, Result, UsageOptions,
};

use super::machine;
use super::node::Core0Node;

#[async_trait]
impl Metrics for Core0Node {
    async fn host(&self) -> Result<HostFacts> {
        let work = machine::facts(&self.0);
        self.call("metrics.host", Some(Capability::Host), "", work).await
    }

    async fn usage(&self, options: &UsageOptions) -> Result<NodeUsage> {
        let work = async { self.0.polled.usage(self, options).await };
        self.call("metrics.usage", Some(Capability::Usage), "", work).await
    }

    async fn watch_usage(&self, options: &UsageOptions) -> Result<ItemStream<NodeUsage>> {
        let work = async { Polled::watch(Core0Node(Arc::clone(&self.0)), options.clone()).await };
        self.call("metrics.watch", Some(Capability::Usage), "", work).await
    }

    async fn usage_history(&self, _: &HistoryOptions) -> Result<UsageHistory> {
        let work = async { Err(Error::unsupported(Capability::UsageHistory.text())) };
        self.call("metrics.history", Some(Capability::UsageHistory), "", work).await
    }

    async fn list_processes(&self, options: &ProcessOptions) -> Result<Vec<Process>> {
        self.call("metrics.processes", Some(Capability::NodeProcesses), "", usage::processes(self, options)).await
    }
}

#[async_trait]
impl Asked for Core0Node {
    fn node(&self) -> &dyn Node {
        self
    }

    async fn usage(&self, options: &UsageOptions) -> Result<NodeUsage> {
        Metrics::usage(self, options).await
    }
}

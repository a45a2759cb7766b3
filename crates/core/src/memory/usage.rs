//! Usage of the simulated node: that of its containers, since there is no machine.

use std::sync::Arc;

use async_trait::async_trait;

use super::node::MemoryNode;
use crate::capabilities::Capability;
use crate::error::{Error, Result};
use crate::node::Node;
use crate::operation as op;
use crate::process::Process;
use crate::stream::ItemStream;
use crate::usage::{
    self, Asked, HistoryOptions, HostFacts, Metrics, NodeUsage, Polled, ProcessOptions, UsageHistory, UsageOptions,
};

#[async_trait]
impl Metrics for MemoryNode {
    async fn host(&self) -> Result<HostFacts> {
        Err(unsupported(Capability::Host))
    }

    async fn usage(&self, options: &UsageOptions) -> Result<NodeUsage> {
        self.shared.capabilities.require(Capability::Usage)?;
        options.validate()?;
        let effects = self.shared.enter(&op::METRICS_USAGE).await?;
        let mut usage = self.shared.polled.usage(self, options).await?;
        if effects.vanish {
            usage.containers.pop();
        }
        Ok(usage)
    }

    async fn watch_usage(&self, options: &UsageOptions) -> Result<ItemStream<NodeUsage>> {
        self.shared.capabilities.require(Capability::Usage)?;
        options.validate()?;
        self.shared.enter(&op::METRICS_WATCH).await?;
        Polled::watch(MemoryNode { shared: Arc::clone(&self.shared) }, options.clone()).await
    }

    async fn usage_history(&self, _: &HistoryOptions) -> Result<UsageHistory> {
        Err(unsupported(Capability::UsageHistory))
    }

    async fn list_processes(&self, options: &ProcessOptions) -> Result<Vec<Process>> {
        self.shared.capabilities.require(Capability::NodeProcesses)?;
        self.shared.enter(&op::METRICS_PROCESSES).await?;
        usage::processes(self, options).await
    }
}

#[async_trait]
impl Asked for MemoryNode {
    fn node(&self) -> &dyn Node {
        self
    }

    async fn usage(&self, options: &UsageOptions) -> Result<NodeUsage> {
        Metrics::usage(self, options).await
    }
}

/// The error of a call that this engine never can do.
fn unsupported(capability: Capability) -> Error {
    Error::unsupported(capability.text()).with_context("capability", capability.name())
}

//! The commands that only a node has, and which need more of it than a function of its own: logs, measurements, power,
//! containers, and the list of forwarded ports.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::builtins::{Answer, Failure};
use super::command::Command;
use super::containers::Containers;
use super::engine::{Answered, Commands, Engine};
use super::logs::Logs;
use super::metrics::Metrics;
use super::statistics::Statistics;

/// How long jobs and containers may take to end before the machine goes.
pub(crate) const GRACE: Duration = Duration::from_secs(90);

/// The commands of a node.
pub(crate) struct NodeCommands {
    pub(crate) engine: Engine,
    pub(crate) logs: Arc<Logs>,
    pub(crate) statistics: Arc<Statistics>,
    pub(crate) metrics: Metrics,
    pub(crate) containers: Arc<Containers>,
    /// Told when the machine is to go.
    pub(crate) off: Arc<Notify>,
}

#[async_trait]
impl Commands for NodeCommands {
    async fn call(&self, command: &Command) -> Option<Answered> {
        let arguments = command.arguments.as_ref();
        let answer = match command.command.as_str() {
            "aggregator.query" => self.statistics.query(arguments).await,
            "logger.subscribe" => self.logs.clone().subscribe(arguments),
            "logger.unsubscribe" => self.logs.unsubscribe(arguments).await,
            "monitor" => return self.monitor(command).await,
            "socat.list" => Ok(self.containers.forward_rules()),
            "core.reboot" => return Some(self.go_off(command, "rebooting...\n").await),
            "core.poweroff" => return Some(self.go_off(command, "powering off...\n").await),
            name if name.starts_with("corex.") => return self.containers.call(command).await,
            _ => return None,
        };
        Some(answer.map(Answer::Value))
    }
}

impl NodeCommands {
    /// The function says what is wrong with the arguments; the sample is taken here.
    async fn monitor(&self, command: &Command) -> Option<Answered> {
        let answered = self.engine.built(command).await?;
        if answered.is_ok() {
            let domain =
                command.arguments.as_ref().and_then(|arguments| arguments.get("domain")).and_then(Value::as_str);
            for statistic in self.metrics.sample(domain.unwrap_or_default()) {
                self.statistics.feed(statistic).await;
            }
        }
        Some(answered)
    }

    /// Ends everything, answers, and then the machine goes: here, the stand-in.
    async fn go_off(&self, command: &Command, word: &str) -> Answered {
        self.engine.shut_down(GRACE).await;
        let Some(job) = self.engine.job(&command.id) else { return Err(Failure::new(500, "no job")) };
        let off = self.off.clone();
        tokio::spawn(async move {
            job.wait().await;
            off.notify_one();
        });
        Ok(Answer::Text { data: String::new(), code: 0, streams: [word.to_owned(), String::new()] })
    }

    /// The jobs that every node runs: they measure it.
    pub(crate) fn start_monitors(&self) {
        for domain in ["cpu", "disk", "network", "memory"] {
            let mut command = Command::new(format!("monitor.{domain}"), "monitor", json!({"domain": domain}));
            command.recurring_period = 30;
            let _ = self.engine.run(command);
        }
    }
}

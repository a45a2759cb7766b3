//! Logs of a node: `logger.*`, section 8.2 of the reference. What is logged is read from the list that a subscription names.

use serde::Serialize;
use serde_json::json;

use roadstead_core::Result;

use super::Commands;
use super::reading::words;
use super::writing::plain;

/// `logger.*`.
#[derive(Clone, Copy, Debug)]
pub struct Logger<'a>(pub(super) &'a Commands);

words! {
    /// From which severity upwards a node logs about itself.
    pub enum Severity {
        /// What ends it.
        Critical = "CRITICAL",
        /// What fails.
        Error = "ERROR",
        /// What may fail.
        Warning = "WARNING",
        /// What is out of the ordinary.
        Notice = "NOTICE",
        /// What happens.
        Info = "INFO",
        /// Everything.
        Debug = "DEBUG",
    }
}

/// What to subscribe to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct Subscription {
    /// The name of its list; the node chooses one when empty.
    #[serde(skip_serializing_if = "plain")]
    pub queue: String,
    /// Levels (section 7 of the reference) that are wanted; all when empty. The ends of streams always come.
    #[serde(skip_serializing_if = "plain")]
    pub levels: Vec<u16>,
}

/// `logger.*`.
impl Logger<'_> {
    /// Begins a subscription and gives the name of the list that it fills, first with what was logged before:
    /// `logger.subscribe`. The list is cut to the node's size, and stays until [`Logger::unsubscribe`].
    ///
    /// # Errors
    /// As every command.
    pub async fn subscribe(&self, subscription: &Subscription) -> Result<String> {
        self.0.call("logger.subscribe", subscription).await
    }

    /// Ends a subscription, by the name that [`Logger::subscribe`] gave: `logger.unsubscribe`.
    ///
    /// # Errors
    /// As every command; `InvalidInput` without a name.
    pub async fn unsubscribe(&self, list: &str) -> Result<()> {
        self.0.done("logger.unsubscribe", json!({"queue": list})).await
    }

    /// Sets what a node logs about itself: `logger.set_level`.
    ///
    /// # Errors
    /// As every command; `InvalidInput` for a word that the node does not know.
    pub async fn set_level(&self, severity: &Severity) -> Result<()> {
        self.0.done("logger.set_level", json!({"level": severity})).await
    }

    /// Opens the files again that are logged to: `logger.reopen`.
    ///
    /// # Errors
    /// As every command.
    pub async fn reopen(&self) -> Result<()> {
        self.0.done("logger.reopen", ()).await
    }
}

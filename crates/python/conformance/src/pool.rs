//! Pools of the package as pools of the library.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pyo3::prelude::*;
use roadstead_core::{ContainerFilter, ContainerSummary, Listing, Member, Node, Pool, Result};
use serde_json::json;

use crate::beyond;
use crate::hand::Hand;
use crate::node::{Driven, filter_arguments};

#[derive(Debug)]
pub(crate) struct DrivenPool {
    hand: Hand,
    name: String,
}

impl DrivenPool {
    pub(crate) fn new(hand: Hand) -> Result<Self> {
        let name = hand.inner("name")?.data()?;
        Ok(DrivenPool { hand, name })
    }
}

#[async_trait]
impl Pool for DrivenPool {
    fn name(&self) -> &str {
        &self.name
    }

    fn members(&self) -> Vec<Member> {
        let members = Python::attach(|py| -> PyResult<Vec<Member>> {
            let nodes = self.hand.object(py).call_method0("nodes")?;
            let node = |node: PyResult<Bound<'_, PyAny>>| {
                let node = Driven::new(py, self.hand.with(node?.unbind()))?;
                Ok(Member::new(Arc::new(node) as Arc<dyn Node>))
            };
            nodes.try_iter()?.map(node).collect()
        });
        members.expect("the members are told without asking anybody")
    }

    async fn list_containers(&self, filter: &ContainerFilter, deadline: Duration) -> Result<Listing<ContainerSummary>> {
        let mut keywords = filter_arguments(filter);
        keywords.insert("timeout".to_owned(), json!(deadline.as_secs_f64()));
        let listed = self.hand.ask("containers", json!([]), keywords.into()).await?;
        let members = json!({
            "items": listed.inner("items")?.data::<serde_json::Value>()?,
            "errors": listed.inner("errors")?.data::<serde_json::Value>()?,
            "nodes": listed.inner("nodes")?.data::<serde_json::Value>()?,
        });
        serde_json::from_value(members).map_err(|error| beyond(&error.to_string()))
    }
}

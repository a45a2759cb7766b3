//! The wrapper of a pool: its members are wrapped, and what it asks of them itself goes through the layer.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::node::LayeredNode;
use super::{Around, Call};
use crate::container::{ContainerFilter, ContainerSummary};
use crate::error::Result;
use crate::operation;
use crate::pool::{Listing, Member, Pool};

#[derive(Debug)]
pub(super) struct LayeredPool<A> {
    inner: Arc<dyn Pool>,
    layer: Arc<A>,
}

impl<A: Around> LayeredPool<A> {
    pub(super) fn new(inner: Arc<dyn Pool>, layer: Arc<A>) -> Self {
        LayeredPool { inner, layer }
    }
}

#[async_trait]
impl<A: Around> Pool for LayeredPool<A> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn members(&self) -> Vec<Member> {
        let wrapped = |member: Member| {
            let node = Arc::new(LayeredNode::new(Arc::clone(&member.node), Arc::clone(&self.layer)));
            Member { node, ..member }
        };
        self.inner.members().into_iter().map(wrapped).collect()
    }

    async fn list_containers(&self, filter: &ContainerFilter, deadline: Duration) -> Result<Listing<ContainerSummary>> {
        // It answers by its own deadline, so that of the layer is beside it.
        let call = Call::new(&operation::NODE_LIST_CONTAINERS, self.inner.name(), "").granted(deadline);
        self.layer.around(call, || Some(self.inner.list_containers(filter, deadline))).await
    }
}

//! A pool: a named set of nodes that is addressed as one.
//!
//! [`Pool`] is what a kind of pool has to tell: its members, and their containers. What can be done with any pool is built on
//! top of that in [`PoolExt`]: verbs over many containers ([`many`](ManyOptions)), sums ([`PoolTotals`]), the choice of a member
//! for a new container ([`Placement`]), what it takes to empty a member ([`DrainPlan`]), and what it takes to relieve those that bear
//! too much ([`Relief`]).

mod capacity;
mod drain;
mod fixed;
mod gather;
mod load;
mod many;
mod member;
mod outline;
mod place;
mod relief;
#[cfg(all(test, feature = "memory"))]
mod tests;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

pub use capacity::{NodeCapacity, PoolTotals};
pub use drain::{DrainOptions, DrainPlan, PlannedMove, Staying};
pub use fixed::StaticPool;
pub use gather::{Listing, NodeAnswer, NodeError, gather};
pub use load::{ContainerLoad, Criterion, MemberLoad};
pub use many::{ActLog, Acted, ActedItem, ActionOutcome, ContainerAction, ManyOptions};
pub use member::Member;
pub use outline::{Outline, outlined};
pub use place::{Candidate, Decision, PlacedContainer, Placement, Strategy};
pub use relief::{Relief, ReliefOptions, Strained};

use crate::container::{ContainerFilter, ContainerSpec, ContainerSummary};
use crate::error::{Error, ErrorKind, Result};
use crate::node::Node;

/// A named set of nodes that is addressed as one.
///
/// * **P1**: one sick node never hides the healthy ones, nor their items.
/// * **P2**: the whole answers by its deadline; a node that has not answered by then is an error of the listing.
/// * **P3**: every node of the pool is in `nodes`, in the pool's order, and is in `errors` exactly when it is not `ok`.
#[async_trait]
pub trait Pool: Debug + Send + Sync {
    /// Its name.
    fn name(&self) -> &str;

    /// Its members, in a stable order, no two of one name.
    fn members(&self) -> Vec<Member>;

    /// The containers of all members that pass `filter`, by `deadline`.
    ///
    /// * **P5**: holds each member's containers, each with its node's name.
    async fn list_containers(&self, filter: &ContainerFilter, deadline: Duration) -> Result<Listing<ContainerSummary>>;
}

/// What can be done with every pool.
///
/// All of it may be cancelled by dropping its future; writes that were sent may or may not have happened then.
#[async_trait]
pub trait PoolExt: Pool {
    /// The nodes of its members.
    fn nodes(&self) -> Vec<Arc<dyn Node>> {
        self.members().into_iter().map(|member| member.node).collect()
    }

    /// The node of the member with this name.
    ///
    /// * **P4**: `NotFound` when there is none.
    fn node(&self, name: &str) -> Result<Arc<dyn Node>> {
        self.members()
            .into_iter()
            .find(|member| member.name() == name)
            .map(|member| member.node)
            .ok_or_else(|| no_such_node(name))
    }

    /// Does the same to every container that passes the filter, several at a time, by the deadline of the options.
    ///
    /// * **P6**: every container that passes is an item with its own outcome, and nothing happens to any other.
    /// * **P7**: a dry run changes nothing, and names the containers that would be reached; one whose node cannot do it is
    ///   `failed` with `Unsupported` already.
    /// * **P8**: the whole answers by its deadline: what had not begun by then is `not_begun`, what had is `unknown`, and a
    ///   node that has not told its containers is in `errors`.
    async fn act(&self, action: &ContainerAction, options: &ManyOptions) -> Result<Acted> {
        many::act(self.members(), action, options).await
    }

    /// Like [`PoolExt::act`], written down as it goes, and going on with what was written down before: what had not begun is done
    /// now, and what had begun without a known end is looked at and never sent again.
    async fn act_logged(&self, action: &ContainerAction, options: &ManyOptions, log: &dyn ActLog) -> Result<Acted> {
        many::act_logged(self.members(), action, options, log).await
    }

    /// What all members have, and what of it is used, by `deadline`.
    ///
    /// * **P9**: the sums are those of the members that answered, whose parts are told, too.
    async fn totals(&self, deadline: Duration) -> PoolTotals {
        capacity::totals(&self.members(), deadline).await
    }

    /// On which member a container would be made, and why. Nothing is made.
    ///
    /// * **P10**: every member is a candidate with a reason: why it may take the container, or why it may not.
    /// * **P11**: no member is chosen that is cordoned, lacks a label that is asked for, has less free memory than that, or
    ///   cannot make such a container.
    async fn place(&self, spec: &ContainerSpec, placement: &Placement, deadline: Duration) -> Result<Decision> {
        place::decide(&self.members(), spec, placement, deadline).await
    }

    /// Makes a container on the member that [`PoolExt::place`] would choose; where that one refuses in a way that leaves
    /// nothing behind, on the next one. The choice takes at most half of `deadline`.
    ///
    /// * **P12**: the container is on the node that is told, and on no other. `Conflict` with the reasons when no member may
    ///   take it.
    async fn create_container(
        &self,
        spec: &ContainerSpec,
        placement: &Placement,
        deadline: Duration,
    ) -> Result<PlacedContainer> {
        place::create(&self.members(), spec, placement, deadline).await
    }

    /// What it takes to empty a member: a move to another member for each of its containers, or why one has to stay. Nothing
    /// is changed.
    ///
    /// * **P13**: every container of the member is in exactly one of `moves` and `stays`; nothing goes to a member that is
    ///   cordoned. `NotFound` when there is no such member.
    async fn plan_drain(&self, node: &str, options: &DrainOptions) -> Result<DrainPlan> {
        drain::plan(&self.members(), node, options).await
    }

    /// What it takes to relieve the members that bear too much, as `loads` tells it: for each of them one move of a container to a
    /// member that can take it, or why there is none. Nothing is changed.
    ///
    /// * **P14**: every member over a threshold is told once: as the source of one move, or as strained with a reason; others are not
    ///   told. Nothing that rests goes, and nothing goes to a member that is not measured, is cordoned, or would come within the margin
    ///   of a threshold with it. `InvalidInput` that names the field when the options make no sense.
    async fn plan_relief(&self, loads: &[MemberLoad], options: &ReliefOptions) -> Result<Relief> {
        relief::plan(&self.members(), loads, options).await
    }
}

impl<P: Pool + ?Sized> PoolExt for P {}

/// The error of a member that is not there.
fn no_such_node(name: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("no such node: {name}")).with_resource(name)
}

/// The moment at which `deadline` is over. One beyond the clock's range is none; a day stands for it.
fn until(deadline: Duration) -> tokio::time::Instant {
    let now = tokio::time::Instant::now();
    now.checked_add(deadline).unwrap_or(now + Duration::from_secs(86_400))
}

//! Moving a container from one node to another so that nothing is lost, whatever is cut.
//!
//! [`plan`] says what will be done and what cannot be carried; [`Mover::apply`] does it, and [`Mover::roll_back`] undoes what
//! was begun. Both work for any two nodes through the traits: by the engines' own means where the target has a way
//! ([`crate::Node::copy_ways`]), otherwise as a file system and a portable configuration.
//!
//! **There is one commit, and it is one call**: the rename of the stopped source ([`Step::RetireSource`]). Before it the
//! source is the container, and the copy on the target is incoming; after it the copy, which was found complete before, is
//! the container. [`runnable_copy`] is this rule as a function. The other one of the two never runs, and no engine starts it,
//! because its restart policy is `never`.
//!
//! **Every step looks at what is really there** before it does anything, so a record ([`MoveRecord`], kept in a [`MoveLog`])
//! can be applied again after any crash of the caller, of either engine or of the network. What is interrupted before the
//! commit is rolled back as soon as the source answers, so that a container is not down for a target that is away; applying
//! it again starts over. After the commit a move only goes forward, with one exception: a copy that cannot be started the first
//! time, and therefore never worked, gives the name back to the source. One that was started once ([`CopyState`]) may hold what
//! the source does not, and is never taken away. When somebody deletes or renames the source before the commit, or the copy
//! after it was started, the move is [`MoveState::Lost`]: nothing is left to do, and what there is stays for a person to look at.
//!
//! **What is written into the source during the move is not lost where the content is compared** ([`MovePlan::check`]): the
//! source is read last, right before the commit, and the move goes back when it is not what the copy is. What is written
//! between this look and the commit is not found.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! use std::sync::Arc;
//! use roadstead_core::memory::{MemoryEngine, PRESET_IMAGE};
//! use roadstead_core::migration::{self, MemoryLog, MoveRecord, MoveSpec, MoveState, Mover};
//! use roadstead_core::{ConnectOptions, ContainerSpec, Registry};
//!
//! let registry = Registry::new().with(MemoryEngine);
//! let here = registry.connect("here", "memory:", &ConnectOptions::default()).await?;
//! let there = registry.connect("there", "memory:", &ConnectOptions::default()).await?;
//! here.create_container(&ContainerSpec::new(PRESET_IMAGE).name("web").command(["sleep", "60"])).await?;
//!
//! let plan = migration::plan(&here, &there, &MoveSpec::new("web")).await?;
//! let mover = Mover::new(here.clone(), there.clone(), Arc::new(MemoryLog::default()));
//! let moved = mover.apply(MoveRecord::new(plan)).await?;
//! assert_eq!(moved.state, MoveState::Done);
//! assert!(there.container("web").inspect().await.is_ok() && here.container("web").inspect().await.is_err());
//! # Ok::<(), roadstead_core::Error>(()) }).unwrap();
//! ```

mod archive;
mod back;
mod carry;
mod commit;
mod compare;
mod draft;
mod facts;
mod fit;
mod forward;
mod layout;
mod log;
mod mover;
mod observer;
mod planner;
mod record;
mod spec;
mod step;
#[cfg(all(test, feature = "memory"))]
mod tests;

pub use archive::{Content, VOLATILE};
pub use facts::{Side, SourcePlace, runnable_copy, source_place, target_has_copy};
pub use log::{MemoryLog, MoveLog};
pub use mover::Mover;
pub use observer::{Canceller, Observer, Unobserved};
pub use planner::plan;
pub use record::{CopyState, MARK, MoveFailure, MoveRecord, MoveState, StepRecord, Stopped};
pub use spec::{CopiedMount, MovePlan, MoveSpec, MoveWay, WayChoice};
pub use step::{Phase, Point, Step};

//! The server as a client sees it, on the in-memory engine: every route, every refusal.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod alerts;
mod attach;
mod audit;
mod auth;
mod binary;
mod containers;
mod events;
mod files;
mod idempotency;
mod jobs;
mod logs;
mod metrics;
mod migrations;
mod mirror;
mod nodes;
mod openapi;
mod pools;
mod preconditions;
mod refusals;
mod resources;
mod rig;
mod shutdown;
mod snapshots;
mod usage;
mod webhooks;
mod work;

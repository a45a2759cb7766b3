//! Roadstead over REST.
//!
//! [`Server::start`] serves the nodes of a [`roadstead_core::Registry`] by a [`Config`]; the binary `roadstead` is a thin
//! shell around it. A handler parses, authorises, calls core and renders; it knows no engine.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

mod actions;
mod alerts;
mod archive;
mod audit;
mod auth;
mod changes;
pub mod cli;
mod config;
mod containers;
mod dialects;
mod envelope;
mod etag;
mod extract;
mod fanout;
mod fleet;
mod idempotency;
mod journal;
mod listener;
mod metrics;
mod mirrors;
mod moves;
mod nodes;
mod objects;
mod page;
mod pools;
mod precondition;
mod problem;
mod records;
mod routes;
mod series;
mod server;
mod state;
mod state_dir;
mod stream;
mod v1;
mod webhooks;
mod wish;
mod work;

pub use alerts::AlertConfig;
pub use auth::Role;
pub use config::{Config, Layer, LogFormat, NodeConfig, NodeTable, StoreConfig};
pub use dialects::{Dialect, DialectConfig};
pub use nodes::{NewNode, NodeSlot, NodeSource, Nodes, Place, StoredNode};
pub use problem::{Document, HTTP_ROWS, HttpRow, PROBLEM_JSON, Problem};
pub use records::Records;
pub use server::{Running, Server, assemble, warnings};
pub use state_dir::StateDir;
pub use v1::openapi::openapi;

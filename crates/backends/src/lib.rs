//! The engines that are built in, behind one registry.
//!
//! ```
//! let registry = roadstead_backends::registry();
//! assert!(registry.schemes().contains(&"docker+unix"));
//! ```
//!
//! No type of a client library stands in a public signature: everything is spoken through `roadstead_core`.
#![cfg_attr(
    any(test, fuzzing),
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

#[cfg(any(feature = "core0", feature = "docker", feature = "lxd"))]
mod archive;
#[cfg(any(feature = "etcd", feature = "lxd", feature = "roadstead"))]
mod broken;
pub mod engines;
#[cfg(any(feature = "docker", feature = "lxd", feature = "roadstead"))]
mod flow;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod host;
#[cfg(any(feature = "core0", feature = "lxd"))]
mod link;
#[cfg(any(feature = "etcd", feature = "sealed", feature = "sqlite"))]
pub mod stores;
#[cfg(any(feature = "core0", feature = "etcd", feature = "lxd", feature = "roadstead"))]
mod tls;

/// Every engine that was compiled in, by its URI schemes; the in-memory one for trying things out is always there.
#[must_use]
pub fn registry() -> roadstead_core::Registry {
    let registry = roadstead_core::Registry::new().with(roadstead_core::memory::MemoryEngine);
    #[cfg(feature = "docker")]
    let registry = registry.with(engines::docker::DockerEngine::default());
    #[cfg(feature = "lxd")]
    let registry = registry.with(engines::lxd::LxdEngine::default());
    #[cfg(feature = "core0")]
    let registry = registry.with(engines::core0::Core0Engine::default());
    #[cfg(feature = "roadstead")]
    let registry = registry.with(engines::roadstead::RoadsteadEngine::default());
    registry
}

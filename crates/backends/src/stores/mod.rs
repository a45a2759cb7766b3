//! Where a server keeps what it must remember, each store by its URI.

#[cfg(feature = "etcd")]
pub mod etcd;
#[cfg(feature = "sealed")]
pub mod sealed;
#[cfg(feature = "sqlite")]
pub mod sqlite;

#[cfg(any(feature = "etcd", feature = "sqlite"))]
mod uri;

#[cfg(any(feature = "etcd", feature = "sqlite"))]
pub use uri::{StoreUri, open, open_existing};

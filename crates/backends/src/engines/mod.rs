//! One folder for each kind of engine.

#[cfg(feature = "core0")]
pub mod core0;
#[cfg(feature = "docker")]
pub mod docker;
#[cfg(feature = "lxd")]
pub mod lxd;
#[cfg(feature = "roadstead")]
pub mod roadstead;

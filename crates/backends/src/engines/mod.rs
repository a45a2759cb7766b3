//! One folder for each kind of engine.

#[cfg(feature = "docker")]
pub mod docker;
#[cfg(feature = "lxd")]
pub mod lxd;

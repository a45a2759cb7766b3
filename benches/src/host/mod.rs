//! Containers that are nothing but control groups with a sleeping process each, for measuring what looking at them costs.

pub mod cost;
pub mod groups;
pub mod kernel;

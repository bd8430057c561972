//! Natter, a horizontally scaled chat server. ARCHITECTURE.md has the map; the module list below is in the order of
//! dependence: a module uses only what stands above it.
#![forbid(unsafe_code)]

pub mod limits;
pub mod model;

pub mod channel_layer;
pub mod control_log;
pub mod presence;
pub mod sessions;
pub mod store;

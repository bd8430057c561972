//! Rooms: what is said in which order, and the rules of who may do what.

pub mod actor;
pub mod cluster;
pub mod counters;
pub mod directory;
pub mod doubt;
pub mod envelope;
pub mod hub;
pub mod live;
pub mod ring;
pub mod seen;
pub mod state;

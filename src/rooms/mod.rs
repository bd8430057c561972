//! Rooms: what is said in which order, and the rules of who may do what.

pub mod directory;
pub mod live;

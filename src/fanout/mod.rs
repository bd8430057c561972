//! Who gets bytes: the writing end of each connection and the registry of all of them on this node.
//!
//! Nothing here knows what the bytes mean. A connection has one [`Link`]; rooms write into it directly, without a
//! queue or a task between them and the socket, because the system call is what a delivery costs.

mod identity;
pub mod link;
mod outbox;
mod outlet;
mod readiness;
pub mod registry;
mod signals;
mod socket;
pub mod traffic;

pub use identity::Identity;
pub use link::Link;
pub use outlet::{Outlet, Taken};
pub use readiness::Readiness;
pub use registry::Registry;
pub use signals::Signals;
pub use socket::{Notifier, Pipe, Socket};
pub use traffic::Traffic;

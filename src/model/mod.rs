//! The words of the product as values: ids, time, names, messages, rooms, users, permissions.
//!
//! Nothing here does I/O or draws randomness by itself, and what tells the time can be exchanged, so that every rule can be
//! tested and replayed. Everything above may use this module; it uses nothing.

pub mod clock;
pub mod id;
pub mod message;
pub mod moment;
pub mod name;
pub mod permission;
pub mod room;
pub mod timestamp;
pub mod user;

pub use clock::{HybridClock, SharedClock, SystemTime, WallClock};
pub use id::{BootId, ConnectionId, EventId, RoomId, UserId};
pub use message::{Author, Change, ChangeKind, Event, EventKind, Message, NewMessage, Nonce};
pub use moment::Moment;
pub use name::Name;
pub use permission::{Action, Verdict};
pub use room::{Member, Role, Room, RoomKind, Standing};
pub use timestamp::Timestamp;
pub use user::User;

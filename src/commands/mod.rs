//! The commands besides `serve`. Each is one file with its arguments and its `run`; `main` only dispatches.
//!
//! They open what they need by themselves and never reach into a running server: those that concern one talk to it as
//! any client does.

pub mod archive;
pub mod bench;
pub mod check;
pub mod createsuperuser;
pub mod healthcheck;
pub mod migrate;
pub mod seed;
pub mod smoke;
mod storage;
#[cfg(test)]
mod tests;

//! The program; all it does is in the library.
#![forbid(unsafe_code)]

fn main() {}

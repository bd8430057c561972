//! Everything that can be wrong with a configuration, each with its key, its place and what to do.

use std::path::PathBuf;

use super::Origin;

/// What can be wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The file has a key that does not exist.
    #[error("{origin}: there is no key {key:?}{}", did_you_mean(.meant.as_ref()))]
    UnknownKey {
        /// What was given.
        key: String,
        /// Where.
        origin: Origin,
        /// What was probably meant.
        meant: Option<String>,
    },
    /// A variable looks like one of ours and is none.
    #[error("variable {name}: there is no such variable{}", did_you_mean(.meant.as_ref()))]
    UnknownVariable {
        /// What was given.
        name: String,
        /// What was probably meant.
        meant: Option<String>,
    },
    /// A value is not what its key takes.
    #[error("{origin}: {key} can't be {value:?}: expected {what}{}", did_you_mean(.meant.as_ref()))]
    BadValue {
        /// The key.
        key: &'static str,
        /// Where the value came from.
        origin: Origin,
        /// The value, without secrets.
        value: String,
        /// What the key takes.
        what: String,
        /// What was probably meant.
        meant: Option<String>,
    },
    /// Keys that don't go together, or one without another that it needs.
    #[error("{origin}: {key} {why}")]
    Unfit {
        /// The key.
        key: &'static str,
        /// Where its value came from.
        origin: Origin,
        /// What does not fit, and what to do.
        why: String,
    },
    /// A table or something else where a text, number, switch or list belongs.
    #[error("{origin}: {key} must be a text, a number, true or false, or a list of texts")]
    NotPlain {
        /// The key.
        key: &'static str,
        /// Where.
        origin: Origin,
    },
    /// A variable that is not UTF-8.
    #[error("{origin}: its value is not UTF-8")]
    NotText {
        /// Where.
        origin: Origin,
    },
    /// The file can't be read.
    #[error("the configuration file {} can't be read: {why}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        why: String,
    },
    /// The file is not TOML.
    #[error("{origin}: not TOML: {why}")]
    Syntax {
        /// Where.
        origin: Origin,
        /// What the reader stumbled over.
        why: String,
    },
    /// Several things are wrong.
    #[error("{}", lines(.0))]
    Several(Vec<Error>),
}

fn did_you_mean(meant: Option<&String>) -> String {
    meant.map_or_else(String::new, |meant| format!("; did you mean {meant:?}?"))
}

fn lines(errors: &[Error]) -> String {
    errors.iter().map(Error::to_string).collect::<Vec<_>>().join("\n")
}

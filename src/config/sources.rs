//! Gathers the text of every key from flag, variable, file and default, and remembers where it came from.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::flags::Flags;
use super::keys::{self, KEYS, OTHER_VARIABLES, PREFIX, TEST_PREFIX};
use super::nearest::nearest;
use super::{Error, FILE_BYTES_MAX, redacted};

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nothing was given.
    Default,
    /// A line of a file.
    File {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
    },
    /// An environment variable.
    Variable(String),
    /// A flag, without its dashes.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => write!(f, "variable {name}"),
            Self::Flag(name) => write!(f, "flag --{name}"),
        }
    }
}

/// The text of one key.
#[derive(Clone, PartialEq, Eq)]
pub struct Raw {
    /// The text.
    pub text: String,
    /// Where it came from.
    pub origin: Origin,
}

impl fmt::Debug for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} ({})", redacted(&self.text), self.origin)
    }
}

/// The text of every key.
pub type Values = BTreeMap<&'static str, Raw>;

/// Gathers all keys; what is wrong with their names goes to `problems`.
pub fn gather(
    flags: &Flags,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
    problems: &mut Vec<Error>,
) -> Values {
    let mut values: Values = KEYS
        .iter()
        .map(|key| {
            let text = key.default.to_owned();
            let origin = Origin::Default;
            (key.name, Raw { text, origin })
        })
        .collect();
    let mut file = None;
    let mut from_variables = Vec::new();
    for (name, value) in variables {
        read_variable(&name, value, &mut file, &mut from_variables, problems);
    }
    if let Some(path) = flags.file.as_ref().or(file.as_ref()) {
        match read_file(path, problems) {
            Ok(found) => values.extend(found),
            Err(error) => problems.push(error),
        }
    }
    values.extend(from_variables);
    for (name, text) in &flags.values {
        let origin = Origin::Flag(name);
        let text = text.clone();
        values.insert(name, Raw { text, origin });
    }
    values
}

fn read_variable(
    name: &OsString,
    value: OsString,
    file: &mut Option<PathBuf>,
    found: &mut Vec<(&'static str, Raw)>,
    problems: &mut Vec<Error>,
) {
    let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else {
        return;
    };
    let key = KEYS.iter().find(|key| key.variable() == name);
    if name == "NATTER_CONFIG" {
        *file = Some(PathBuf::from(value)).filter(|path| !path.as_os_str().is_empty());
    } else if let Some(key) = key {
        let origin = Origin::Variable(name.to_owned());
        match value.into_string() {
            Ok(text) => found.push((key.name, Raw { text, origin })),
            Err(_) => problems.push(Error::NotText { origin }),
        }
    } else if !(OTHER_VARIABLES.contains(&name) || name.starts_with(TEST_PREFIX) || is_service_link(name, &value)) {
        let known: Vec<String> = KEYS.iter().map(keys::Key::variable).collect();
        let candidates = known.iter().map(String::as_str).chain(OTHER_VARIABLES);
        problems.push(Error::UnknownVariable {
            name: name.to_owned(),
            meant: nearest(name, candidates).map(str::to_owned),
        });
    }
}

/// Kubernetes sets such variables in every pod beside a service whose name begins with "natter"; nobody wrote them.
fn is_service_link(name: &str, value: &OsString) -> bool {
    let url = value
        .to_str()
        .is_some_and(|value| ["tcp://", "udp://", "sctp://"].iter().any(|s| value.starts_with(s)));
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || (url && name.contains("_PORT"))
        || (name.contains("_PORT_") && ["_PROTO", "_PORT", "_ADDR"].iter().any(|end| name.ends_with(end)))
}

fn read_file(path: &Path, problems: &mut Vec<Error>) -> Result<Vec<(&'static str, Raw)>, Error> {
    let unreadable = |why: String| Error::File {
        path: path.to_owned(),
        why,
    };
    let size = std::fs::metadata(path)
        .map_err(|error| unreadable(error.to_string()))?
        .len();
    if size > FILE_BYTES_MAX {
        return Err(unreadable(format!("it has more than {FILE_BYTES_MAX} bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
    let line_at = |offset: usize| 1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count();
    let table = DeTable::parse(&text).map_err(|error| Error::Syntax {
        origin: Origin::File {
            path: path.to_owned(),
            line: line_at(error.span().map_or(0, |span| span.start)),
        },
        why: error.message().to_owned(),
    })?;
    let mut found = Vec::new();
    for (name, value) in table.get_ref() {
        let origin = Origin::File {
            path: path.to_owned(),
            line: line_at(name.span().start),
        };
        let name = name.get_ref();
        match (keys::find(name), text_of(value.get_ref())) {
            (None, _) => problems.push(Error::UnknownKey {
                key: name.to_string(),
                origin,
                meant: nearest(&name.replace('_', "-"), KEYS.iter().map(|key| key.name)).map(str::to_owned),
            }),
            (Some(key), Some(text)) => found.push((key.name, Raw { text, origin })),
            (Some(key), None) => problems.push(Error::NotPlain { key: key.name, origin }),
        }
    }
    Ok(found)
}

/// The text of a TOML value: a list is joined by commas and true is "on", as flags and variables have them.
fn text_of(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Boolean(true) => Some("on".to_owned()),
        DeValue::Boolean(false) => Some("off".to_owned()),
        DeValue::Array(items) => {
            let texts: Option<Vec<String>> = items.iter().map(|item| text_of(item.get_ref())).collect();
            texts.map(|texts| texts.join(","))
        }
        DeValue::Float(number) => Some(number.to_string()),
        DeValue::Datetime(_) | DeValue::Table(_) => None,
    }
}

//! Addresses in the configuration: the public one, and how addresses are shown without their secrets.

/// The server's address as people have it: scheme, host and port, no path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl {
    origin: String,
    https: bool,
}

impl PublicUrl {
    /// Reads an address; `None` if it is not http or https, or has a path, a query or a user.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let uri: http::Uri = text.parse().ok()?;
        let https = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let authority = uri.authority()?;
        let plain = matches!(uri.path(), "" | "/") && uri.query().is_none() && !authority.as_str().contains('@');
        if !plain || authority.host().is_empty() {
            return None;
        }
        // Browsers leave the usual port out of Origin, and write hosts in lower case.
        let host = authority.host().to_ascii_lowercase();
        let scheme = if https { "https" } else { "http" };
        let origin = match authority.port_u16() {
            None if authority.as_str().len() != authority.host().len() => return None,
            Some(port) if port != if https { 443 } else { 80 } => format!("{scheme}://{host}:{port}"),
            _ => format!("{scheme}://{host}"),
        };
        Some(Self { origin, https })
    }

    /// Scheme, host and port as browsers send them in `Origin`.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Whether browsers reach the server over https.
    #[must_use]
    pub const fn is_https(&self) -> bool {
        self.https
    }
}

/// Where traces are collected: OTLP over HTTP, without TLS, so beside the server or in its own network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtlpEndpoint {
    /// A name or an address; IPv6 without brackets.
    pub host: String,
    /// The port; 4318 where none is given.
    pub port: u16,
}

impl OtlpEndpoint {
    /// Reads an address; `None` if it is not http, or has a path, a query or a user.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let uri: http::Uri = text.parse().ok()?;
        let authority = uri.authority()?;
        let plain = matches!(uri.path(), "" | "/") && uri.query().is_none() && !authority.as_str().contains('@');
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let strange = authority.port().is_none() && authority.as_str().len() != authority.host().len();
        if uri.scheme_str() != Some("http") || !plain || host.is_empty() || strange {
            return None;
        }
        Some(Self {
            host: host.to_owned(),
            port: authority.port_u16().unwrap_or(4318),
        })
    }
}

impl std::fmt::Display for OtlpEndpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// A text in which the password of every address, and every query parameter, is replaced by `***`. Several addresses
/// may stand in it, separated by commas.
#[must_use]
pub fn redacted(text: &str) -> String {
    let mut addresses: Vec<String> = Vec::new();
    for part in text.split(',') {
        match addresses.last_mut() {
            // A password may hold a comma: what has no scheme belongs to the address before it.
            Some(last) if last.contains("://") && !part.contains("://") => {
                last.push(',');
                last.push_str(part);
            }
            _ => addresses.push(part.to_owned()),
        }
    }
    addresses
        .iter()
        .map(|address| redacted_address(address))
        .collect::<Vec<_>>()
        .join(",")
}

fn redacted_address(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    // An unescaped slash in a password would end the authority early, so the last "@" of the whole text decides.
    let (user, rest) = match rest.rsplit_once('@') {
        Some((user, rest)) => (Some(user), rest),
        None => (None, rest),
    };
    let user = user.map_or_else(String::new, |user| match user.split_once(':') {
        Some((name, _)) => format!("{name}:***@"),
        None => "***@".to_owned(),
    });
    let rest = match rest.split_once('?') {
        Some((path, _)) => format!("{path}?***"),
        None => rest.to_owned(),
    };
    format!("{scheme}://{user}{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_as_browsers_write_them() {
        let origin = |text: &str| PublicUrl::parse(text).map(|url| (url.origin().to_owned(), url.is_https()));
        assert_eq!(
            origin("https://Chat.Example.org/"),
            Some(("https://chat.example.org".to_owned(), true))
        );
        assert_eq!(
            origin("https://a.example:443"),
            Some(("https://a.example".to_owned(), true))
        );
        assert_eq!(
            origin("http://a.example:8080"),
            Some(("http://a.example:8080".to_owned(), false))
        );
        assert_eq!(
            origin("http://[::1]:8080"),
            Some(("http://[::1]:8080".to_owned(), false))
        );
        for wrong in [
            "a.example",
            "ftp://a.example",
            "https://a/chat",
            "https://a?x",
            "https://u:p@a",
            "https://a:x",
        ] {
            assert_eq!(origin(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_collector_is_a_host_and_a_port() {
        let shown = |text: &str| OtlpEndpoint::parse(text).map(|endpoint| endpoint.to_string());
        assert_eq!(shown("http://otel:4317/"), Some("otel:4317".to_owned()));
        assert_eq!(shown("http://otel"), Some("otel:4318".to_owned()));
        assert_eq!(shown("http://[::1]"), Some("[::1]:4318".to_owned()));
        for wrong in [
            "otel:4318",
            "https://otel",
            "http://otel/v1/traces",
            "http://u:p@otel",
            "http://otel:x",
        ] {
            assert_eq!(shown(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn no_secret_survives() {
        assert_eq!(redacted("sqlite:./x"), "sqlite:./x");
        assert_eq!(redacted("nats://h:4222"), "nats://h:4222");
        assert_eq!(redacted("redis://u:geheim@h:1/0?x=geheim"), "redis://u:***@h:1/0?***");
        assert_eq!(redacted("redis://geheim@h"), "redis://***@h");
        for text in [
            "nats://u:ge,heim@a,nats://u:ge/heim@b",
            "redis://:ge@heim@h",
            "scylla://u:p?geheim@h,h2",
        ] {
            assert!(!redacted(text).contains("heim"), "{}", redacted(text));
        }
    }
}

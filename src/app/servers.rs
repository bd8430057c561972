//! How the servers of the configuration are reached: secrets and certificates are read from their files here, and an
//! address becomes what the client of its server takes.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use redis::InfoDict;

use crate::channel_layer::nats::{ClientCertificate, Login, NatsLayer, NatsOptions};
use crate::config::{
    ChannelLayerAt, Config, Credentials, NatsAddress, NatsAuth, RedisAddress, RedisKind, Secret, SessionsAt, TlsFiles,
};
use crate::limits;
use crate::redis_link::{RedisLink, RedisOptions};

use super::place;

/// The largest file of a secret or a certificate, in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

fn file(key: &str, path: &Path) -> anyhow::Result<Vec<u8>> {
    let read = || -> std::io::Result<Vec<u8>> {
        if std::fs::metadata(path)?.len() > FILE_BYTES_MAX {
            return Err(std::io::Error::other("it is larger than such files are"));
        }
        std::fs::read(path)
    };
    read().with_context(|| format!("the file of {key}, {}, can't be read", path.display()))
}

/// The first line of a file.
fn secret(key: &str, path: &Path) -> anyhow::Result<Secret> {
    let bytes = file(key, path)?;
    let text = std::str::from_utf8(&bytes).ok().and_then(|text| text.lines().next());
    match text.map(str::trim).filter(|line| !line.is_empty()) {
        Some(line) => Ok(Secret::new(line.to_owned())),
        None => bail!("the file of {key}, {}, has nothing in its first line", path.display()),
    }
}

/// The password of an address, from there or from its file.
fn password(key: &str, credentials: &Credentials) -> anyhow::Result<Option<Secret>> {
    match &credentials.password_file {
        Some(path) => secret(key, path).map(Some),
        None => Ok(credentials.password.clone()),
    }
}

/// A text in which everything that could mean something in an address is written as `%XX`.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

fn redis_options(address: &RedisAddress, namespace: &str) -> anyhow::Result<RedisOptions> {
    let mut text = String::from(if address.tls.is_some() { "rediss" } else { "redis" });
    text.push_str(match address.kind {
        RedisKind::Single => "://",
        RedisKind::Sentinel(_) => "+sentinel://",
        RedisKind::Cluster => "+cluster://",
    });
    let user = address.credentials.user.as_deref().unwrap_or_default();
    match password("redis-password-file", &address.credentials)? {
        Some(password) => write!(text, "{}:{}@", encoded(user), encoded(password.reveal()))?,
        None if !user.is_empty() => bail!("the address of sessions has a user without a password"),
        None => {}
    }
    let servers: Vec<String> = address.servers.iter().map(ToString::to_string).collect();
    text.push_str(&servers.join(","));
    match &address.kind {
        RedisKind::Single => write!(text, "/{}", address.database)?,
        RedisKind::Sentinel(master) => write!(text, "/{}/{}", encoded(master), address.database)?,
        RedisKind::Cluster => {}
    }
    let options = RedisOptions::parse(&text)?.with_prefix(&format!("{namespace}:"))?;
    match &address.tls {
        Some(files) => redis_tls(options, files),
        None => Ok(options),
    }
}

fn redis_tls(options: RedisOptions, files: &TlsFiles) -> anyhow::Result<RedisOptions> {
    let ca = files.ca.as_deref().map(|path| file("redis-ca", path)).transpose()?;
    let own = match &files.certificate {
        Some((certificate, key)) => Some((file("redis-cert", certificate)?, file("redis-key", key)?)),
        None => None,
    };
    Ok(options.with_certificates(ca, own))
}

fn nats_options(address: &NatsAddress, namespace: &str) -> anyhow::Result<NatsOptions> {
    let login = match &address.auth {
        NatsAuth::None => Login::Open,
        NatsAuth::Password(user, password) => Login::User {
            user: user.clone(),
            password: password.reveal().to_owned(),
        },
        NatsAuth::Token(token) => Login::Token(token.reveal().to_owned()),
        NatsAuth::TokenFile(path) => Login::Token(secret("nats-token-file", path)?.reveal().to_owned()),
        NatsAuth::Nkey(path) => Login::Nkey(secret("nats-nkey", path)?.reveal().to_owned()),
        NatsAuth::Creds(path) => Login::Credentials(path.clone()),
    };
    let own = address.files.certificate.as_ref();
    Ok(NatsOptions {
        servers: address.servers.iter().map(ToString::to_string).collect(),
        tls: address.tls,
        login,
        ca: address.files.ca.clone(),
        client_certificate: own.map(|(certificate, key)| ClientCertificate {
            certificate: certificate.clone(),
            key: key.clone(),
        }),
        prefix: namespace.to_owned(),
        subscription_capacity: address.queue,
        ..NatsOptions::default()
    })
}

/// The channel layer of the configuration; `None` if this process is alone.
///
/// # Errors
/// A file that can't be read, or why NATS does not let this node in, and what to do.
pub async fn nats(config: &Config) -> anyhow::Result<Option<Arc<NatsLayer>>> {
    let ChannelLayerAt::Nats(address) = &config.channel_layer else {
        return Ok(None);
    };
    let context = || {
        format!(
            "{} can't be used; see that NATS runs there and lets this node in, and try `natter check`",
            place(config, "channel-layer")
        )
    };
    let options = nats_options(address, &config.namespace).with_context(context)?;
    let layer = NatsLayer::connect(options).await.with_context(context)?;
    // A frame of status that does not fit would be missed by all others, who would then read their rooms without end.
    layer.carries(limits::STATUS_BYTES_MAX).with_context(|| {
        format!(
            "{}: raise the NATS server's max_payload to 1 MiB, its default",
            place(config, "channel-layer")
        )
    })?;
    Ok(Some(layer))
}

/// A connection to the Redis of the configuration; `None` if there is none.
///
/// # Errors
/// A file that can't be read, or why Redis does not answer, and what to do.
pub async fn redis(config: &Config) -> anyhow::Result<Option<RedisLink>> {
    let SessionsAt::Redis(address) = &config.sessions else {
        return Ok(None);
    };
    let context = || {
        format!(
            "{} can't be used; see that Redis runs there and lets this node in, and try `natter check`",
            place(config, "sessions")
        )
    };
    let options = redis_options(address, &config.namespace).with_context(context)?;
    let link = RedisLink::connect(options).await.with_context(context)?;
    new_enough(&link).await.with_context(context)?;
    Ok(Some(link))
}

/// The least version of Redis that has what the scripts ask of it: `ZADD` with `GT`, and ranges without their ends.
const REDIS_LEAST: (u32, u32) = (6, 2);

/// Refuses a Redis that is too old to be used. One that does not tell its version is taken as it is.
async fn new_enough(link: &RedisLink) -> anyhow::Result<()> {
    // A Cluster answers for each of its nodes, and not every server lets everybody ask.
    let info = link.repeatable::<InfoDict>(redis::cmd("INFO").arg("server")).await;
    let Some(version) = info.ok().and_then(|info| info.get::<String>("redis_version")) else {
        return Ok(());
    };
    let mut numbers = version.split('.').map(str::parse::<u32>);
    let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else {
        return Ok(());
    };
    let (least_major, least_minor) = REDIS_LEAST;
    if (major, minor) < REDIS_LEAST {
        bail!(
            "this is Redis {version}, and {least_major}.{least_minor} is the oldest that has all commands: update it"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Flags;
    use crate::redis_link::Topology;

    fn config(values: &[(&'static str, &str)]) -> Config {
        let values = values.iter().map(|(key, text)| (*key, (*text).to_owned())).collect();
        Config::load(&Flags { file: None, values }, []).unwrap()
    }

    fn redis_of(config: &Config) -> anyhow::Result<RedisOptions> {
        let SessionsAt::Redis(address) = &config.sessions else {
            panic!("{:?}", config.sessions);
        };
        redis_options(address, &config.namespace)
    }

    #[test]
    fn an_address_reaches_the_client_as_it_was_meant() {
        let config = config(&[
            ("sessions", "rediss+sentinel://u:p%40%2Fw@s1,s2:7/my%40master/3"),
            ("namespace", "one"),
        ]);
        let options = redis_of(&config).unwrap();
        assert_eq!(options.prefix(), "one:");
        let Topology::Sentinel { sentinels, master } = options.topology() else {
            panic!("{options:?}");
        };
        assert_eq!((sentinels.len(), sentinels[1].port), (2, 7));
        assert_eq!(master, "my%40master");
    }

    #[test]
    fn secrets_come_from_their_files_and_missing_files_are_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "p@ss/word\nsecond line\n").unwrap();
        let path = file.path().to_str().unwrap();
        let good = config(&[("sessions", "redis://r1"), ("redis-password-file", path)]);
        assert!(redis_of(&good).is_ok());
        std::fs::write(file.path(), "\n").unwrap();
        let error = redis_of(&good).unwrap_err().to_string();
        assert!(error.contains("redis-password-file") && error.contains(path), "{error}");
        let missing = config(&[("sessions", "redis://r1"), ("redis-password-file", "no-such-file")]);
        let error = redis_of(&missing).unwrap_err().to_string();
        assert!(error.contains("no-such-file, can't be read"), "{error}");
    }

    /// A server that answers every command as Redis would, and says that it has a version.
    async fn pretending(version: &'static str) -> std::net::SocketAddr {
        use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (read, mut write) = stream.into_split();
                    let mut lines = BufReader::new(read).lines();
                    // A command is a line with the number of its parts, each a line after one of its length.
                    while let Ok(Some(head)) = lines.next_line().await {
                        let parts: usize = head.trim_start_matches('*').parse().unwrap();
                        let mut command = Vec::new();
                        for _ in 0..2 * parts {
                            command.push(lines.next_line().await.unwrap().unwrap());
                        }
                        let info = format!("redis_version:{version}\r\n");
                        let answer = match command[1].as_str() {
                            "INFO" => format!("${}\r\n{info}\r\n", info.len()),
                            _ => "+OK\r\n".to_owned(),
                        };
                        write.write_all(answer.as_bytes()).await.unwrap();
                    }
                });
            }
        });
        address
    }

    #[tokio::test]
    async fn redis_that_is_too_old_is_refused() {
        for (version, refused) in [("5.0.14", true), ("6.0.16", true), ("6.2.0", false), ("10.0.1", false)] {
            let address = format!("redis://{}", pretending(version).await);
            let link = redis(&config(&[("sessions", &address)])).await;
            assert_eq!(link.is_err(), refused, "{version}");
            if let Err(error) = link {
                let text = format!("{error:#}");
                assert!(text.contains(&format!("this is Redis {version}, and 6.2 is")), "{text}");
            }
        }
    }

    #[tokio::test]
    async fn redis_out_of_reach_is_named_with_what_to_do() {
        // A port that was free a moment ago: nobody listens there.
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let address = format!("redis://:geheim@127.0.0.1:{port}");
        let error = redis(&config(&[("sessions", &address)])).await.unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains(&format!("redis://:***@127.0.0.1:{port}")), "{text}");
        assert!(
            text.contains("natter check") && text.contains("flag --sessions"),
            "{text}"
        );
        assert!(!text.contains("geheim"), "{text}");
    }
}

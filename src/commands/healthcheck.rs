//! `natter healthcheck`: asks the operators' side of a running server, for container runtimes and scripts.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;

use clap::Args;
use http::Method;

use crate::client::{Error, Target};
use crate::config::Config;

/// What to ask, and where.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    /// Ask whether it lives (/livez) instead of whether it is ready (/readyz)
    #[arg(long)]
    pub live: bool,
    /// The operators' address as http://HOST:PORT; without it, admin-listen of the configuration is asked
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
}

/// Asks; the exit code is 0 if the answer is yes, 1 if it is no or there is none.
///
/// # Errors
/// [`Error`] if nothing answers.
pub async fn run(config: &Config, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let target = match &arguments.url {
        Some(url) => Target::resolve(url).await?,
        None => Target::at(reachable(config.admin_listen)),
    };
    let path = if arguments.live { "/livez" } else { "/readyz" };
    let answer = target.request(Method::GET, path, None, None).await?;
    if answer.status.is_success() {
        println!("{path}: ok");
        return Ok(ExitCode::SUCCESS);
    }
    let refused = answer.json(path).err();
    Err(refused
        .unwrap_or_else(|| Error::Protocol(format!("{path}: {}", answer.status)))
        .into())
}

/// Where a listener on all interfaces is reached from the same machine.
const fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

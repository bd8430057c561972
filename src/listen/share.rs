//! The addresses that people can be told: what was bound, and what a neighbour can reach.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

/// The lines to print once the server listens: where people and operators connect, and what to share.
#[must_use]
pub fn announcement(people: SocketAddr, operators: SocketAddr, public_url: Option<&str>) -> Vec<String> {
    let mut lines = vec![
        format!("listening on http://{people}"),
        format!("operators on http://{operators}"),
    ];
    if let Some(url) = public_url {
        lines.push(format!("share {url}"));
    } else if people.ip().is_unspecified() {
        lines.extend(own_address(people.ip()).map(|ip| format!("share http://{}", SocketAddr::new(ip, people.port()))));
    }
    lines
}

/// An address of this machine that others may reach; `None` if it has only the loopback.
fn own_address(bound: IpAddr) -> Option<IpAddr> {
    let v4 = towards("0.0.0.0:0", "192.0.2.1:9").or_else(from_routing_table);
    if bound.is_ipv6() {
        return v4.or_else(|| towards("[::]:0", "[2001:db8::1]:9"));
    }
    v4
}

/// The address from which the system would send to an address. Connecting a UDP socket only looks up the route; nothing
/// is sent, and the addresses asked for are reserved for documents.
fn towards(from: &str, to: &str) -> Option<IpAddr> {
    let socket = UdpSocket::bind(from).ok()?;
    socket.connect(to).ok()?;
    usable(socket.local_addr().ok()?.ip())
}

/// A machine without a route to the world can still have neighbours: Linux lists its own addresses here.
fn from_routing_table() -> Option<IpAddr> {
    let table = std::fs::read_to_string("/proc/net/fib_trie").ok()?;
    local_addresses(&table).find_map(usable)
}

fn local_addresses(table: &str) -> impl Iterator<Item = IpAddr> {
    let lines = table.lines().zip(table.lines().skip(1));
    lines
        .filter(|(_, next)| next.contains("/32 host LOCAL"))
        .filter_map(|(line, _)| line.split_whitespace().last()?.parse::<Ipv4Addr>().ok().map(IpAddr::V4))
}

fn usable(address: IpAddr) -> Option<IpAddr> {
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_its_line() {
        let people = "127.0.0.1:8080".parse().unwrap();
        let operators = "127.0.0.1:8081".parse().unwrap();
        assert_eq!(
            announcement(people, operators, None),
            [
                "listening on http://127.0.0.1:8080",
                "operators on http://127.0.0.1:8081"
            ]
        );
        let lines = announcement(people, operators, Some("https://chat.example.org"));
        assert_eq!(lines[2], "share https://chat.example.org");
    }

    #[test]
    fn a_shared_address_is_never_the_loopback() {
        let lines = announcement("0.0.0.0:80".parse().unwrap(), "127.0.0.1:81".parse().unwrap(), None);
        assert!(lines.len() <= 3, "{lines:?}");
        for line in lines.iter().skip(2) {
            assert!(line.starts_with("share http://") && line.ends_with(":80"), "{line}");
            assert!(!line.contains("127.0.0.1") && !line.contains("0.0.0.0"), "{line}");
        }
    }

    #[test]
    fn own_addresses_are_read_from_the_routing_table() {
        let table = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 127.0.0.1\n        /32 host LOCAL\n     |-- 192.168.1.0\n        \
                     /24 link UNICAST\n     |-- 192.168.1.7\n        /32 host LOCAL\n";
        let found: Vec<_> = local_addresses(table)
            .filter_map(usable)
            .map(|ip| ip.to_string())
            .collect();
        assert_eq!(found, ["192.168.1.7"]);
    }
}

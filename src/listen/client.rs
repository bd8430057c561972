//! Whose request it is behind trusted proxies: a pure function from the peer and what proxies wrote.

use std::net::{IpAddr, SocketAddr};

use crate::config::Network;
use crate::limits;

/// The address that throttles and logs go by. `forwarded` are the values of all `X-Forwarded-For` headers, in order.
///
/// Only what a trusted proxy wrote is believed, so the list is read from the right, where the nearest proxy adds what it
/// saw: the first address that is not itself a trusted proxy is the client's. Whatever stands further left may have
/// been written by the client. Something unreadable ends the search at the last address that was believed.
pub fn client_address<'a>(
    peer: IpAddr,
    forwarded: impl DoubleEndedIterator<Item = &'a [u8]>,
    trusted: &[Network],
) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    let mut believed = peer.to_canonical();
    let hops = forwarded.rev().flat_map(|value| value.rsplit(|byte| *byte == b','));
    for hop in hops.take(limits::PROXY_HOPS_MAX) {
        if !is_trusted(believed) {
            return believed;
        }
        // Only this hop is read as text: what a client wrote further left may be anything.
        match str::from_utf8(hop).ok().and_then(|hop| parse(hop.trim())) {
            Some(address) => believed = address.to_canonical(),
            None => return believed,
        }
    }
    believed
}

/// An address as proxies write it: bare, or with a port.
fn parse(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address);
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(address.ip());
    }
    text.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(peer: &str, forwarded: &[&str], trusted: &[&str]) -> String {
        let trusted: Vec<_> = trusted.iter().map(|text| Network::parse(text).unwrap()).collect();
        resolve_bytes(
            peer,
            &forwarded.iter().map(|text| text.as_bytes()).collect::<Vec<_>>(),
            &trusted,
        )
    }

    fn resolve_bytes(peer: &str, forwarded: &[&[u8]], trusted: &[Network]) -> String {
        client_address(peer.parse().unwrap(), forwarded.iter().copied(), trusted).to_string()
    }

    #[test]
    fn what_a_client_wrote_can_not_hide_what_a_proxy_added() {
        let trusted = [Network::parse("10.0.0.0/8").unwrap()];
        let written: &[u8] = b"\xff\xfe nonsense \xc3, 198.51.100.1";
        assert_eq!(resolve_bytes("10.0.0.1", &[written], &trusted), "198.51.100.1");
        assert_eq!(
            resolve_bytes("10.0.0.1", &[b"1.1.1.1", b"\xff,198.51.100.1, 10.9.9.9"], &trusted),
            "198.51.100.1"
        );
        assert_eq!(
            resolve_bytes("10.0.0.1", &[b"198.51.100.1, \xff"], &trusted),
            "10.0.0.1"
        );
    }

    #[test]
    fn nobody_is_believed_unless_trusted() {
        assert_eq!(resolve("203.0.113.5", &["198.51.100.1"], &[]), "203.0.113.5");
        assert_eq!(
            resolve("203.0.113.5", &["198.51.100.1"], &["10.0.0.0/8"]),
            "203.0.113.5"
        );
        assert_eq!(resolve("10.0.0.1", &[], &["10.0.0.0/8"]), "10.0.0.1");
    }

    #[test]
    fn the_first_untrusted_from_the_right_is_the_client() {
        let trusted = ["10.0.0.0/8", "::1"];
        assert_eq!(resolve("10.0.0.1", &["198.51.100.1"], &trusted), "198.51.100.1");
        assert_eq!(
            resolve("10.0.0.1", &["1.1.1.1, 198.51.100.1, 10.9.9.9"], &trusted),
            "198.51.100.1"
        );
        assert_eq!(
            resolve("10.0.0.1", &["1.1.1.1", "198.51.100.1", "10.9.9.9"], &trusted),
            "198.51.100.1"
        );
        assert_eq!(resolve("::1", &["10.2.2.2,10.3.3.3"], &trusted), "10.2.2.2");
        assert_eq!(
            resolve("::ffff:10.0.0.1", &["::ffff:198.51.100.1"], &trusted),
            "198.51.100.1"
        );
    }

    #[test]
    fn what_a_client_invents_is_not_believed() {
        let trusted = ["10.0.0.0/8"];
        // The client wrote the first part; the proxy added what it saw.
        assert_eq!(
            resolve("10.0.0.1", &["127.0.0.1, 198.51.100.1"], &trusted),
            "198.51.100.1"
        );
        assert_eq!(resolve("10.0.0.1", &["10.1.1.1, nonsense"], &trusted), "10.0.0.1");
        assert_eq!(
            resolve("10.0.0.1", &["198.51.100.1, nonsense, 10.1.1.1"], &trusted),
            "10.1.1.1"
        );
        assert_eq!(resolve("10.0.0.1", &["", " , "], &trusted), "10.0.0.1");
        let endless = vec!["10.0.0.2"; 10_000];
        assert_eq!(resolve("10.0.0.1", &endless, &trusted), "10.0.0.2");
    }

    #[test]
    fn ports_and_brackets_are_understood() {
        let trusted = ["10.0.0.0/8"];
        assert_eq!(resolve("10.0.0.1", &["198.51.100.1:5555"], &trusted), "198.51.100.1");
        assert_eq!(resolve("10.0.0.1", &["[2001:db8::7]:5555"], &trusted), "2001:db8::7");
        assert_eq!(resolve("10.0.0.1", &["[2001:db8::7]"], &trusted), "2001:db8::7");
    }
}

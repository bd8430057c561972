//! The WebSocket handshake, and a lean reader of the server's frames for loads in which every nanosecond counts.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{Error, PATIENCE, Result, Target, shortened};

/// The key of RFC 6455's own example and what it is answered with: a fixed pair spares this client a SHA-1, and the
/// key is no secret.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
/// The largest head of an answer, in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// The largest frame that is taken from a server, in bytes.
const FRAME_BYTES_MAX: usize = 1024 * 1024;

/// A connection after the handshake.
#[derive(Debug)]
pub struct Upgraded {
    /// The connection.
    pub stream: TcpStream,
    /// What the server sent right behind its answer.
    pub rest: Vec<u8>,
}

impl Target {
    /// Opens a WebSocket on a path.
    ///
    /// # Errors
    /// [`Error::Refused`] with the server's answer if it is not 101; [`Error`] if the connection fails.
    pub async fn upgrade(&self, path: &str, cookie: &str, from: Option<std::net::SocketAddr>) -> Result<Upgraded> {
        let stream = self.connect(from).await?;
        tokio::time::timeout(PATIENCE, self.handshake(stream, path, cookie))
            .await
            .map_err(|_| Error::Silent("shaking hands for a WebSocket"))?
    }

    async fn handshake(&self, mut stream: TcpStream, path: &str, cookie: &str) -> Result<Upgraded> {
        let broken = |error: std::io::Error| Error::Broken("shaking hands for a WebSocket", error.to_string());
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Protocol: natter.v1\r\n\
             Cookie: {cookie}\r\n\r\n",
            self.host
        );
        stream.write_all(head.as_bytes()).await.map_err(broken)?;
        let mut answer = Vec::with_capacity(1024);
        let end = loop {
            if let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            if answer.len() > HEAD_BYTES_MAX {
                return Err(Error::Protocol("the head of an answer is too long".to_owned()));
            }
            if stream.read_buf(&mut answer).await.map_err(broken)? == 0 {
                return Err(Error::Broken(
                    "shaking hands for a WebSocket",
                    "the server closed".to_owned(),
                ));
            }
        };
        let rest = answer.split_off(end);
        let head = String::from_utf8_lossy(&answer).into_owned();
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
        if status != 101 {
            return Err(self.refusal(stream, path, status, rest).await);
        }
        let accepted = head
            .lines()
            .filter_map(|line| line.split_once(':'))
            .any(|(name, value)| name.eq_ignore_ascii_case("sec-websocket-accept") && value.trim() == ACCEPT);
        if !accepted {
            return Err(Error::Protocol(
                "the handshake's answer has no or a wrong Sec-WebSocket-Accept".to_owned(),
            ));
        }
        Ok(Upgraded { stream, rest })
    }

    async fn refusal(&self, mut stream: TcpStream, path: &str, status: u16, mut body: Vec<u8>) -> Error {
        // The answer may leave the connection open, so what has come by now has to do; it is only for people.
        if body.is_empty() {
            let read = stream.read_buf(&mut body);
            let _ = tokio::time::timeout(std::time::Duration::from_secs(1), read).await;
        }
        Error::Refused {
            what: format!("GET {path}"),
            status,
            body: shortened(&String::from_utf8_lossy(&body)),
        }
    }
}

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    /// UTF-8 text: a frame of the chat protocol.
    Text,
    /// The server closes.
    Close,
    /// Asks for a pong.
    Ping,
    /// Answers a ping.
    Pong,
}

/// What a server may not send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// A frame that is masked, fragmented, too large, or of an unknown kind.
    #[error("a frame that this server never sends: first bytes {0:#04x} {1:#04x}")]
    Unexpected(u8, u8),
}

/// Splits a stream of bytes into frames. Frames that lie whole in what was read are handed out without being copied.
#[derive(Debug, Default)]
pub struct FrameReader {
    rest: Vec<u8>,
}

impl FrameReader {
    /// A reader that already has these bytes.
    #[must_use]
    pub const fn new(rest: Vec<u8>) -> Self {
        Self { rest }
    }

    /// Takes in bytes and hands each whole frame to `take`.
    ///
    /// # Errors
    /// [`WireError`] for what a server of this protocol never sends; reading can't go on after it.
    pub fn feed(&mut self, bytes: &[u8], mut take: impl FnMut(Opcode, &[u8])) -> std::result::Result<(), WireError> {
        if self.rest.is_empty() {
            let used = frames(bytes, &mut take)?;
            if used < bytes.len() {
                self.rest.extend_from_slice(&bytes[used..]);
            }
            return Ok(());
        }
        self.rest.extend_from_slice(bytes);
        let used = frames(&self.rest, &mut take)?;
        self.rest.drain(..used);
        if self.rest.is_empty() {
            // Thousands of connections wait at once: none keeps a buffer that it does not need.
            self.rest = Vec::new();
        }
        Ok(())
    }
}

fn frames(bytes: &[u8], take: &mut impl FnMut(Opcode, &[u8])) -> std::result::Result<usize, WireError> {
    let mut used = 0;
    while let Some((opcode, head, length)) = frame_head(&bytes[used..])? {
        let Some(payload) = bytes[used..].get(head..head + length) else {
            break;
        };
        take(opcode, payload);
        used += head + length;
    }
    Ok(used)
}

fn frame_head(bytes: &[u8]) -> std::result::Result<Option<(Opcode, usize, usize)>, WireError> {
    let [first, second, rest @ ..] = bytes else {
        return Ok(None);
    };
    let wrong = WireError::Unexpected(*first, *second);
    let opcode = match first {
        0x81 => Opcode::Text,
        0x88 => Opcode::Close,
        0x89 => Opcode::Ping,
        0x8a => Opcode::Pong,
        _ => return Err(wrong),
    };
    let (head, length) = match (second, rest) {
        (126, [a, b, ..]) => (4, usize::from(u16::from_be_bytes([*a, *b]))),
        (127, [a, b, c, d, e, f, g, h, ..]) => {
            let length = u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]);
            (10, usize::try_from(length).unwrap_or(usize::MAX))
        }
        (126 | 127, _) => return Ok(None),
        (0..126, _) => (2, usize::from(*second)),
        (128.., _) => return Err(wrong),
    };
    if length > FRAME_BYTES_MAX {
        return Err(wrong);
    }
    Ok(Some((opcode, head, length)))
}

/// A client's frame: final, masked. The mask is there to satisfy the protocol; it protects browsers' proxies, not us.
#[must_use]
pub fn mask_frame(opcode: Opcode, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let first = match opcode {
        Opcode::Text => 0x81,
        Opcode::Close => 0x88,
        Opcode::Ping => 0x89,
        Opcode::Pong => 0x8a,
    };
    let mut frame = Vec::with_capacity(payload.len() + 14);
    frame.push(first);
    match payload.len() {
        length @ 0..126 => frame.push(0x80 | u8::try_from(length).unwrap_or(0)),
        length @ 126..65_536 => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&u16::try_from(length).unwrap_or(0).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn server_frame(payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0x81];
        match payload.len() {
            length @ 0..126 => frame.push(length as u8),
            length @ 126..65_536 => {
                frame.push(126);
                frame.extend_from_slice(&(length as u16).to_be_bytes());
            }
            length => {
                frame.push(127);
                frame.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        frame.extend_from_slice(payload);
        frame
    }

    proptest! {
        #[test]
        fn frames_come_out_whole_however_they_are_cut(
            sizes in proptest::collection::vec(prop_oneof![0..200usize, 65_530..65_540usize], 0..6),
            cuts in proptest::collection::vec(1..4_000usize, 1..8),
        ) {
            let payloads: Vec<Vec<u8>> = sizes.iter().enumerate().map(|(i, n)| vec![i as u8; *n]).collect();
            let bytes: Vec<u8> = payloads.iter().flat_map(|payload| server_frame(payload)).collect();
            let mut reader = FrameReader::default();
            let mut read = Vec::new();
            let mut rest = &bytes[..];
            let mut cuts = cuts.iter().cycle();
            while !rest.is_empty() {
                let (now, later) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
                reader.feed(now, |opcode, payload| {
                    assert_eq!(opcode, Opcode::Text);
                    read.push(payload.to_vec());
                }).unwrap();
                rest = later;
            }
            prop_assert_eq!(read, payloads);
            prop_assert!(reader.rest.is_empty());
        }
    }

    #[test]
    fn what_no_server_sends_is_refused() {
        for bytes in [[0x01, 0x00], [0x82, 0x00], [0x81, 0x80], [0xc1, 0x00]] {
            let outcome = FrameReader::default().feed(&bytes, |_, _| {});
            assert_eq!(outcome, Err(WireError::Unexpected(bytes[0], bytes[1])));
        }
        let huge = [0x81, 127, 0xff, 0, 0, 0, 0, 0, 0, 0];
        assert!(FrameReader::default().feed(&huge, |_, _| {}).is_err());
    }

    #[test]
    fn masked_frames_unmask_to_what_they_were() {
        for length in [0, 5, 125, 126, 65_535, 65_536] {
            let payload: Vec<u8> = (0..length).map(|i: usize| i as u8).collect();
            let frame = mask_frame(Opcode::Text, &payload, [1, 2, 3, 4]);
            let head = frame.len() - length;
            assert_eq!(&frame[head - 4..head], [1, 2, 3, 4]);
            let plain: Vec<u8> = frame[head..]
                .iter()
                .zip([1u8, 2, 3, 4].iter().cycle())
                .map(|(a, b)| a ^ b)
                .collect();
            assert_eq!(plain, payload);
            assert_eq!(frame[1] & 0x80, 0x80);
        }
    }
}

//! The floor: what delivering costs a server that does nothing else.
//!
//! One thread waits on epoll. For each message it prepares one frame and writes it to each other socket of the room, one
//! system call each; the sender gets a short answer. No accounts, no store, no order, no care for slow readers. Whatever
//! a chat server's delivery costs above this is the server's own; a server that costs less merges several messages into
//! one write. It speaks just enough WebSocket for `natter bench --dialect plain`:
//!
//! ```text
//! cargo run --release --example floor -- 127.0.0.1:9000
//! natter bench --dialect plain --url http://127.0.0.1:9000
//! ```
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::io::{self, Read as _, Write as _};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

/// The handshake's only key, of RFC 6455's example, and its answer: the generator uses no other.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
const LISTENER: Token = Token(usize::MAX);
const READ_BYTES: usize = 64 * 1024;
/// Bytes that wait for one socket; past it the socket is closed.
const PENDING_BYTES_MAX: usize = 256 * 1024 * 1024;

struct Connection {
    stream: TcpStream,
    /// `None` until the handshake is done.
    room: Option<usize>,
    /// Bytes of a head or a frame that is not whole yet.
    rest: Vec<u8>,
    /// What the kernel did not take.
    pending: Vec<u8>,
}

impl Connection {
    /// Writes, and keeps what is not taken. False: the peer is gone.
    fn write(&mut self, bytes: &[u8]) -> bool {
        let taken = if self.pending.is_empty() {
            match self.stream.write(bytes) {
                Ok(taken) => taken,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(_) => return false,
            }
        } else {
            0
        };
        self.pending.extend_from_slice(&bytes[taken..]);
        self.pending.len() <= PENDING_BYTES_MAX
    }

    fn flush(&mut self) -> bool {
        while !self.pending.is_empty() {
            match self.stream.write(&self.pending) {
                Ok(taken) => drop(self.pending.drain(..taken)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(_) => return false,
            }
        }
        self.pending = Vec::new();
        true
    }
}

#[derive(Default)]
struct Floor {
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    rooms: HashMap<String, usize>,
    members: Vec<Vec<usize>>,
    /// The frame under way, kept for its memory.
    frame: Vec<u8>,
    gone: Vec<usize>,
}

impl Floor {
    fn accept(&mut self, listener: &TcpListener, poll: &Poll) -> io::Result<()> {
        loop {
            let mut stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            stream.set_nodelay(true)?;
            let number = self.free.pop().unwrap_or(self.connections.len());
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut stream, Token(number), interest)?;
            let connection = Connection {
                stream,
                room: None,
                rest: Vec::new(),
                pending: Vec::new(),
            };
            if number == self.connections.len() {
                self.connections.push(Some(connection));
            } else {
                self.connections[number] = Some(connection);
            }
        }
    }

    fn readable(&mut self, number: usize, buffer: &mut [u8]) {
        loop {
            let Some(connection) = &mut self.connections[number] else {
                return;
            };
            let count = match connection.stream.read(buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => break,
            };
            let fine = if connection.room.is_none() {
                connection.rest.extend_from_slice(&buffer[..count]);
                self.handshake(number)
            } else if connection.rest.is_empty() {
                self.frames(number, &mut buffer[..count])
            } else {
                let mut rest = std::mem::take(&mut connection.rest);
                rest.extend_from_slice(&buffer[..count]);
                self.frames(number, &mut rest)
            };
            if !fine {
                break;
            }
            if count < buffer.len() {
                return;
            }
        }
        self.gone.push(number);
    }

    /// Answers a whole head with 101, then says that the room is live.
    fn handshake(&mut self, number: usize) -> bool {
        let Some(connection) = &mut self.connections[number] else {
            return true;
        };
        let Some(end) = connection.rest.windows(4).position(|part| part == b"\r\n\r\n") else {
            return connection.rest.len() < READ_BYTES;
        };
        let head = String::from_utf8_lossy(&connection.rest[..end]).into_owned();
        let path = head.split(' ').nth(1).unwrap_or_default();
        if !head.contains(KEY) {
            // The outcome does not matter: the connection ends either way.
            let _ = connection
                .stream
                .write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
            return false;
        }
        let next = self.rooms.len();
        let room = *self.rooms.entry(path.to_owned()).or_insert(next);
        if room == self.members.len() {
            self.members.push(Vec::new());
        }
        self.members[room].push(number);
        connection.room = Some(room);
        let mut answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-accept: {ACCEPT}\r\n\r\n"
        )
        .into_bytes();
        text_frame(&mut answer, &[br#"{"type":"live"}"#]);
        let mut rest = connection.rest.split_off(end + 4);
        connection.rest = Vec::new();
        connection.write(&answer) && self.frames(number, &mut rest)
    }

    /// Takes the client's whole frames and keeps the rest. False: it closes, or says what this does not speak.
    fn frames(&mut self, number: usize, bytes: &mut [u8]) -> bool {
        let mut at = 0;
        while let [first, second, ..] = bytes[at..] {
            let (head, length) = match second & 0x7f {
                126 => {
                    let Some(&[a, b]) = bytes.get(at + 2..at + 4) else {
                        break;
                    };
                    (8, usize::from(u16::from_be_bytes([a, b])))
                }
                127 => return false,
                length => (6, usize::from(length)),
            };
            let Some(frame) = bytes.get_mut(at..at + head + length) else {
                break;
            };
            if second & 0x80 == 0 || first == 0x88 {
                return false;
            }
            let (head, payload) = frame.split_at_mut(head);
            let mask: [u8; 4] = head[head.len() - 4..].try_into().unwrap_or_default();
            for (byte, key) in payload.iter_mut().zip(mask.iter().cycle()) {
                *byte ^= key;
            }
            if first == 0x81 && !self.deliver(number, payload) {
                return false;
            }
            at += frame.len();
        }
        if let Some(connection) = &mut self.connections[number] {
            connection.rest.extend_from_slice(&bytes[at..]);
        }
        true
    }

    fn deliver(&mut self, sender: usize, payload: &[u8]) -> bool {
        let Some((reference, text)) = parts(payload) else {
            return false;
        };
        let Some(room) = self.connections[sender].as_ref().and_then(|sender| sender.room) else {
            return false;
        };
        let mut frame = std::mem::take(&mut self.frame);
        frame.clear();
        // As long as Natter's own, which carries names, ids and a time besides the text.
        text_frame(&mut frame, &[FIELDS, text, b"\"}"]);
        for &member in &self.members[room] {
            if member != sender
                && let Some(connection) = &mut self.connections[member]
                && !connection.write(&frame)
            {
                self.gone.push(member);
            }
        }
        frame.clear();
        text_frame(&mut frame, &[br#"{"type":"ack","ref":"#, reference, b"}"]);
        let told = self.connections[sender]
            .as_mut()
            .is_some_and(|sender| sender.write(&frame));
        self.frame = frame;
        told
    }

    fn bury(&mut self) {
        for number in std::mem::take(&mut self.gone) {
            let Some(connection) = self.connections[number].take() else {
                continue;
            };
            if let Some(room) = connection.room {
                self.members[room].retain(|member| *member != number);
            }
            self.free.push(number);
        }
    }
}

const FIELDS: &[u8] = br#"{"type":"message","room":"bench-r0","room_id":"0190163d-8694-739b-aea5-966c26f8ad91","author":"bench-00000000-0","author_id":"0190163d-8694-739b-aea5-966c26f8ad91","id_":"0190163d-8694-739b-aea5-966c26f8ad91","at":"2026-11-24T00:00:00.000Z","message":""#;

/// The `ref` and the text of a send of the generator's, which writes them in this order and the text last.
fn parts(payload: &[u8]) -> Option<(&[u8], &[u8])> {
    let after = |bytes: &[u8], what: &[u8]| {
        bytes
            .windows(what.len())
            .position(|part| part == what)
            .map(|at| at + what.len())
    };
    let reference = after(payload, b"\"ref\":")?;
    let digits = payload[reference..]
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let text = reference + after(&payload[reference..], b"\"message\":\"")?;
    Some((
        &payload[reference..reference + digits],
        payload[text..].strip_suffix(b"\"}")?,
    ))
}

fn text_frame(frame: &mut Vec<u8>, parts: &[&[u8]]) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    frame.push(0x81);
    match u8::try_from(length) {
        Ok(short @ 0..126) => frame.push(short),
        _ => {
            frame.push(126);
            frame.extend_from_slice(&u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes());
        }
    }
    for part in parts {
        frame.extend_from_slice(part);
    }
}

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9000".to_owned());
    let address = address.parse().map_err(io::Error::other)?;
    let mut listener = TcpListener::bind(address)?;
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    println!("listening on http://{}", listener.local_addr()?);
    let mut events = Events::with_capacity(1024);
    let mut buffer = vec![0; READ_BYTES];
    let mut floor = Floor::default();
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            outcome => outcome?,
        }
        for event in &events {
            if event.token() == LISTENER {
                floor.accept(&listener, &poll)?;
                continue;
            }
            let Token(number) = event.token();
            if event.is_writable()
                && let Some(connection) = &mut floor.connections[number]
                && !connection.flush()
            {
                floor.gone.push(number);
            }
            if event.is_readable() {
                floor.readable(number, &mut buffer);
            }
        }
        floor.bury();
    }
}

//! A connection between a person and a node, without a network: bytes that wait in memory, as many as a small socket
//! buffer holds.

use std::collections::VecDeque;
use std::io;
use std::net::Shutdown;
use std::sync::Arc;

use natter::fanout::{Notifier, Pipe};
use parking_lot::Mutex;

/// What a socket's buffers hold.
const CAPACITY: usize = 8 * 1024;

#[derive(Debug, Default)]
struct Wire {
    to_node: VecDeque<u8>,
    to_person: VecDeque<u8>,
    node_gone: bool,
    refused: bool,
    full: bool,
    person_gone: bool,
    /// The node had to keep something, and is told when there is room again.
    wants_room: bool,
    notifier: Option<Notifier>,
}

/// Changes a wire, and then tells the node what there is to tell. Not under the lock: who is told may be the last to hold
/// the wire.
fn change(wire: &Mutex<Wire>, change: impl FnOnce(&mut Wire) -> bool, tell: fn(&Notifier)) {
    let notifier = {
        let wire = &mut *wire.lock();
        change(wire).then(|| wire.notifier.clone()).flatten()
    };
    if let Some(notifier) = notifier {
        tell(&notifier);
    }
}

/// The node's end.
#[derive(Debug)]
pub struct NodeEnd(Arc<Mutex<Wire>>);

/// The person's end.
#[derive(Debug)]
pub struct PersonEnd(Arc<Mutex<Wire>>);

/// A new connection.
pub fn pipe() -> (NodeEnd, PersonEnd) {
    let wire = Arc::<Mutex<Wire>>::default();
    (NodeEnd(Arc::clone(&wire)), PersonEnd(wire))
}

impl Pipe for NodeEnd {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut wire = self.0.lock();
        if wire.person_gone || wire.node_gone {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let count = bytes.len().min(CAPACITY.saturating_sub(wire.to_person.len()));
        wire.full |= count < bytes.len();
        wire.wants_room |= count < bytes.len();
        if count == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        wire.to_person.extend(&bytes[..count]);
        Ok(count)
    }

    fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut wire = self.0.lock();
        let count = buffer.len().min(wire.to_node.len());
        if count == 0 {
            return if wire.person_gone || wire.node_gone {
                Ok(0)
            } else {
                Err(io::ErrorKind::WouldBlock.into())
            };
        }
        for (place, byte) in buffer.iter_mut().zip(wire.to_node.drain(..count)) {
            *place = byte;
        }
        Ok(count)
    }

    fn watch(&self, notifier: Notifier) {
        let (readable, writable, ended) = {
            let mut wire = self.0.lock();
            wire.notifier = Some(notifier.clone());
            let ended = wire.person_gone || wire.node_gone;
            (!wire.to_node.is_empty(), wire.to_person.len() < CAPACITY, ended)
        };
        if readable {
            notifier.readable();
        }
        if writable {
            notifier.writable();
        }
        if ended {
            notifier.ended();
        }
    }

    fn shutdown(&self, _how: Shutdown) {
        let gone = |wire: &mut Wire| {
            wire.node_gone = true;
            true
        };
        change(&self.0, gone, Notifier::ended);
    }
}

impl NodeEnd {
    /// There is no such session.
    pub fn refuse(self) {
        self.0.lock().refused = true;
    }
}

impl Drop for NodeEnd {
    fn drop(&mut self) {
        self.0.lock().node_gone = true;
    }
}

impl PersonEnd {
    /// Writes a frame with this text.
    pub fn say(&self, text: &str) {
        let write = |wire: &mut Wire| {
            wire.to_node.extend(frame_of(text));
            true
        };
        change(&self.0, write, Notifier::readable);
    }

    /// Takes what is there; the second answer says that nothing more will come.
    pub fn take(&self, into: &mut Vec<u8>) -> bool {
        let mut node_gone = false;
        let read = |wire: &mut Wire| {
            into.extend(wire.to_person.drain(..));
            node_gone = wire.node_gone;
            std::mem::take(&mut wire.wants_room)
        };
        change(&self.0, read, Notifier::writable);
        node_gone
    }

    /// Whether it was ever full, so that the node had to keep something for later.
    pub fn was_full(&self) -> bool {
        self.0.lock().full
    }

    /// Whether the handshake was refused for want of a session.
    pub fn is_refused(&self) -> bool {
        self.0.lock().refused
    }

    /// The node is gone, and what it had written last with it.
    pub fn cut(&self) {
        let mut wire = self.0.lock();
        wire.to_person.clear();
        wire.node_gone = true;
    }
}

impl Drop for PersonEnd {
    fn drop(&mut self) {
        let gone = |wire: &mut Wire| {
            wire.person_gone = true;
            true
        };
        change(&self.0, gone, Notifier::ended);
    }
}

/// A client's frame with this text, masked by a key that changes nothing.
fn frame_of(text: &str) -> Vec<u8> {
    let length = text.len();
    let mut frame = vec![0x81];
    if length < 126 {
        frame.push(0x80 | u8::try_from(length).expect("a short one"));
    } else if let Ok(length) = u16::try_from(length) {
        frame.push(0x80 | 126);
        frame.extend(length.to_be_bytes());
    } else {
        panic!("a frame of {length} bytes");
    }
    frame.extend([0; 4]);
    frame.extend(text.as_bytes());
    frame
}

/// Takes the first whole frame off what was read: its opcode and its payload.
pub fn first_frame(bytes: &mut Vec<u8>) -> Option<(u8, Vec<u8>)> {
    let (opcode, short) = (*bytes.first()? & 0x0f, usize::from(*bytes.get(1)? & 0x7f));
    let (length, head) = match short {
        126 => (usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)), 4),
        127 => {
            let length = u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?);
            (usize::try_from(length).ok()?, 10)
        }
        short => (short, 2),
    };
    let payload = bytes.get(head..head + length)?.to_vec();
    bytes.drain(..head + length);
    Some((opcode, payload))
}

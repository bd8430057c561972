//! The byte stream under a link: a TCP socket; or, where the whole server is run without a network, a pipe.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Weak};

use super::link::Link;
use super::signals::Signals;

/// A byte stream that is no socket. It behaves like one that never blocks, in an epoll instance that is edge-triggered.
pub trait Pipe: std::fmt::Debug + Send + Sync {
    /// Takes some of the bytes.
    ///
    /// # Errors
    /// `WouldBlock` while it takes none; any other error is the end.
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize>;

    /// Gives some bytes; none at the end of the stream.
    ///
    /// # Errors
    /// `WouldBlock` while there are none; any other error is the end.
    fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize>;

    /// From now on tells what it becomes ready for: whenever bytes have come, whenever it takes bytes again after it
    /// took fewer than it was given, and when it has ended; at once if any of it holds already.
    fn watch(&self, notifier: Notifier);

    /// Ends one or both directions.
    fn shutdown(&self, how: Shutdown);
}

/// Tells a connection what its pipe has become ready for. What it is told may be no longer so when the connection looks.
#[derive(Debug, Clone)]
pub struct Notifier {
    link: Weak<Link>,
}

impl Notifier {
    pub(super) fn new(link: &Arc<Link>) -> Self {
        Self {
            link: Arc::downgrade(link),
        }
    }

    /// A read may give something.
    pub fn readable(&self) {
        self.tell(Signals::READ);
    }

    /// A write may take something.
    pub fn writable(&self) {
        self.tell(Signals::WRITE);
    }

    /// The peer is gone, or the stream was shut down.
    pub fn ended(&self) {
        self.tell(Signals::READ | Signals::ENDED | Signals::WRITE);
    }

    fn tell(&self, signals: u8) {
        if let Some(link) = self.link.upgrade() {
            link.signal(signals);
        }
    }
}

/// What a link writes to and reads from.
#[derive(Debug)]
pub enum Socket {
    /// A connection of the network, which does not block.
    Tcp(TcpStream),
    /// Anything else.
    Pipe(Arc<dyn Pipe>),
}

impl From<TcpStream> for Socket {
    fn from(stream: TcpStream) -> Self {
        Self::Tcp(stream)
    }
}

impl Socket {
    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => uninterrupted(|| (&*stream).write(bytes)),
            Self::Pipe(pipe) => pipe.try_write(bytes),
        }
    }

    pub(super) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => uninterrupted(|| (&*stream).read(buffer)),
            Self::Pipe(pipe) => pipe.try_read(buffer),
        }
    }

    /// The outcome does not matter: either it was open, or it has ended already.
    pub(super) fn shutdown(&self, how: Shutdown) {
        match self {
            Self::Tcp(stream) => {
                let _ = stream.shutdown(how);
            }
            Self::Pipe(pipe) => pipe.shutdown(how),
        }
    }
}

fn uninterrupted(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

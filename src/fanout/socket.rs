//! The byte stream under a link: a TCP socket; or, where the whole server is run without a network, a pipe.

use std::io;
use std::net::Shutdown;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::net::TcpStream;

/// A byte stream that is no socket. It behaves like one that never blocks.
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

    /// Waits until a read may give something.
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()>;

    /// Waits until a write may take something.
    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()>;

    /// Ends one or both directions.
    fn shutdown(&self, how: Shutdown);
}

/// What a link writes to and reads from.
#[derive(Debug)]
pub enum Socket {
    /// A connection of the network.
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
    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_write(bytes),
            Self::Pipe(pipe) => pipe.try_write(bytes),
        }
    }

    pub(super) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_read(buffer),
            Self::Pipe(pipe) => pipe.try_read(buffer),
        }
    }

    /// An error counts as readable: it shows when the read is tried.
    pub(super) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Tcp(stream) => stream.poll_read_ready(cx).map(|_| ()),
            Self::Pipe(pipe) => pipe.poll_readable(cx),
        }
    }

    pub(super) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Tcp(stream) => stream.poll_write_ready(cx).map(|_| ()),
            Self::Pipe(pipe) => pipe.poll_writable(cx),
        }
    }

    pub(super) fn shutdown(&self, how: Shutdown) {
        match self {
            Self::Tcp(stream) => {
                let _ = socket2::SockRef::from(stream).shutdown(how);
            }
            Self::Pipe(pipe) => pipe.shutdown(how),
        }
    }
}

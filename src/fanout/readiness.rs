//! Which sockets have something to read, or take bytes again: one epoll instance for all connections of the node.
//!
//! The runtime could watch them too, but its watch takes 256 bytes for each socket and a task that waits there. Ours
//! takes none: the kernel keeps the place of the connection in the [`Registry`], and the link itself keeps what its
//! socket is ready for. The instance is a file, so the runtime watches that one, and no thread waits here.

use std::io;
use std::os::fd::{AsRawFd as _, RawFd};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use tokio::io::unix::AsyncFd;

use super::link::Link;
use super::registry::Registry;
use super::signals::Signals;
use super::socket::{Notifier, Socket};
use crate::limits;

/// The epoll instance, as the registry adds sockets to it. There is none until somebody asks it which are ready.
#[derive(Debug, Default)]
pub(super) struct Selector {
    sockets: OnceLock<mio::Registry>,
}

impl Selector {
    fn open(&self) -> io::Result<Poll> {
        let poll = Poll::new()?;
        let sockets = poll.registry().try_clone()?;
        match self.sockets.set(sockets) {
            Ok(()) => Ok(poll),
            Err(_) => Err(io::Error::other("the readiness of sockets is watched already")),
        }
    }

    /// Watches a socket, both ways and until it is closed. What it is ready for is told once each time that this
    /// begins (edge-triggered), so whoever was told goes on until the kernel has no more. A pipe tells its link itself.
    pub(super) fn watch(&self, link: &Arc<Link>, place: u32) -> io::Result<()> {
        match link.stream() {
            Socket::Tcp(stream) => {
                let sockets = self.sockets.get();
                let sockets = sockets.ok_or_else(|| io::Error::other("nobody watches sockets"))?;
                let both = Interest::READABLE | Interest::WRITABLE;
                sockets.register(&mut SourceFd(&stream.as_raw_fd()), Token(place as usize), both)
            }
            Socket::Pipe(pipe) => {
                pipe.watch(Notifier::new(link));
                Ok(())
            }
        }
    }
}

/// What wakes connections whose sockets have become ready.
#[derive(Debug)]
pub struct Readiness {
    registry: Arc<Registry>,
    poll: AsyncFd<Watched>,
}

/// The instance as a file that can be watched.
#[derive(Debug)]
struct Watched(Poll);

impl std::os::fd::AsRawFd for Watched {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl Readiness {
    #[expect(
        deprecated,
        reason = "its successor is unsafe and asks for what holds here: the same file for as long as it is watched"
    )]
    pub(super) fn new(registry: Arc<Registry>, selector: &Selector) -> io::Result<Self> {
        let poll = Watched(selector.open()?);
        let poll = AsyncFd::with_interest(poll, tokio::io::Interest::READABLE)?;
        Ok(Self { registry, poll })
    }

    /// Runs until the task is dropped.
    pub async fn run(mut self) {
        let mut events = Events::with_capacity(limits::READY_AT_ONCE);
        let mut found = Vec::new();
        loop {
            if let Err(error) = self.take(&mut events).await {
                // Nobody could be read any more, and only the system knows why.
                tracing::error!(%error, "the readiness of sockets can't be asked for");
                tokio::time::sleep(limits::ACCEPT_PAUSE).await;
                continue;
            }
            let places = events.iter().map(|event| (event.token().0, signals_of(event)));
            self.registry.found(places, &mut found);
            let full = found.len() >= limits::READY_AT_ONCE;
            for (link, signals) in found.drain(..) {
                link.signal(signals);
            }
            if full {
                // Those that were woken get their turn before more are.
                tokio::task::yield_now().await;
            }
        }
    }

    /// Waits until some socket is ready, and takes what is known.
    async fn take(&mut self, events: &mut Events) -> io::Result<()> {
        let mut ready = self.poll.readable_mut().await?;
        match ready.get_inner_mut().0.poll(events, Some(Duration::ZERO)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                events.clear();
                return Ok(());
            }
            taken => taken?,
        }
        // A full list may not have been all of them.
        if events.iter().count() < limits::READY_AT_ONCE {
            ready.clear_ready();
        }
        Ok(())
    }
}

impl Drop for Readiness {
    fn drop(&mut self) {
        self.registry.abandon();
    }
}

fn signals_of(event: &Event) -> u8 {
    let ended = event.is_read_closed() || event.is_error();
    let mut signals = 0;
    if event.is_readable() || ended {
        signals |= Signals::READ;
    }
    if ended {
        signals |= Signals::ENDED;
    }
    if event.is_writable() || event.is_write_closed() || event.is_error() {
        signals |= Signals::WRITE;
    }
    signals
}

//! No wake-up is lost, and nobody runs twice at once.

use std::collections::VecDeque;
use std::io;
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Waker;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::*;
use crate::fanout::{Identity, Link, Notifier, Pipe, Socket};
use crate::model::{Author, ConnectionId, Name, Timestamp, UserId};
use crate::sessions::SessionHandle;

/// How long a state may take that only a defect keeps from coming.
const PATIENCE: Duration = Duration::from_secs(60);

/// Notes that it was woken.
#[derive(Debug)]
struct Noting(mpsc::Sender<Noting>);

impl Sleeper for Noting {
    fn woken(self, _seat: Arc<Seat<Self>>) {
        let told = self.0.clone();
        told.try_send(self).unwrap();
    }
}

#[test]
fn who_is_woken_before_it_sits_does_not_rest() {
    let (told, mut woken) = mpsc::channel(4);
    let seat = Arc::new(Seat::default());
    let waker = Waker::from(Arc::clone(&seat));
    waker.wake_by_ref();
    waker.wake_by_ref();
    let who = seat.sit(Noting(told)).expect("it was woken meanwhile");
    assert!(woken.try_recv().is_err(), "it goes on by itself");
    assert!(seat.sit(who).is_none(), "that was one wake-up");
    assert!(woken.try_recv().is_err(), "it rests");
    waker.wake_by_ref();
    let who = woken.try_recv().expect("it was woken");
    assert!(woken.try_recv().is_err(), "once");
    // A second wake-up while it runs again keeps it from resting.
    waker.wake();
    assert!(seat.sit(who).is_some());
}

#[test]
fn who_rests_goes_with_the_last_waker() {
    let (told, mut woken) = mpsc::channel(4);
    let seat = Arc::new(Seat::default());
    let waker = Waker::from(Arc::clone(&seat));
    assert!(seat.sit(Noting(told)).is_none());
    drop(seat);
    assert_eq!(woken.try_recv().unwrap_err(), mpsc::error::TryRecvError::Empty);
    drop(waker);
    assert_eq!(woken.try_recv().unwrap_err(), mpsc::error::TryRecvError::Disconnected);
}

/// Bytes that somebody else writes.
#[derive(Debug, Default)]
struct Written {
    bytes: Mutex<VecDeque<u8>>,
    notifier: Mutex<Option<Notifier>>,
}

impl Written {
    fn write(&self, byte: u8) {
        self.bytes.lock().push_back(byte);
        if let Some(notifier) = &*self.notifier.lock() {
            notifier.readable();
        }
    }
}

impl Pipe for Written {
    fn try_write(&self, _bytes: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.bytes.lock().pop_front() {
            Some(byte) => {
                buffer[0] = byte;
                Ok(1)
            }
            None => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn watch(&self, notifier: Notifier) {
        *self.notifier.lock() = Some(notifier);
    }

    fn shutdown(&self, _how: Shutdown) {}
}

/// Reads what comes, as a connection does: looks round, reads, and rests when there is nothing.
struct Reader {
    link: Arc<Link>,
    runtime: Handle,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    read: AtomicUsize,
    runs: AtomicUsize,
    running: AtomicBool,
}

impl Sleeper for Reader {
    fn woken(self, seat: Arc<Seat<Self>>) {
        let runtime = self.runtime.clone();
        runtime.spawn(self.run(seat));
    }
}

impl Reader {
    async fn run(self, seat: Arc<Seat<Self>>) {
        let mut me = self;
        loop {
            let counts = Arc::clone(&me.counts);
            assert!(!counts.running.swap(true, Ordering::SeqCst), "two run at once");
            counts.runs.fetch_add(1, Ordering::Relaxed);
            while me.link.look(true).is_some() {
                let mut buffer = [0; 2];
                if me.link.try_read(&mut buffer).is_ok() {
                    counts.read.fetch_add(1, Ordering::SeqCst);
                }
            }
            counts.running.store(false, Ordering::SeqCst);
            if !me.link.rest(&Waker::from(Arc::clone(&seat)), true) {
                continue;
            }
            match seat.sit(me) {
                Some(awake) => me = awake,
                None => return,
            }
        }
    }
}

fn link_over(written: &Arc<Written>) -> Arc<Link> {
    let identity = Identity {
        connection: ConnectionId::random(),
        author: Author {
            id: UserId::random(),
            name: Name::parse("ann").unwrap(),
        },
        session: SessionHandle::of(tower_sessions::session::Id::default()),
        one_room: true,
        echo: false,
    };
    let socket = Socket::Pipe(Arc::<Written>::clone(written));
    Arc::new(Link::new(
        identity,
        socket,
        Arc::default(),
        0,
        Timestamp::from_millis(0),
    ))
}

/// Each byte is written as soon as the one before was read: just when the reader is about to rest.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_comes_while_it_is_about_to_rest_wakes_it() {
    const BYTES: usize = 50_000;
    let registry = crate::fanout::Registry::new();
    let written = Arc::<Written>::default();
    let (link, counts) = (link_over(&written), Arc::<Counts>::default());
    registry.add(&link).unwrap();
    let reader = Reader {
        link: Arc::clone(&link),
        runtime: Handle::current(),
        counts: Arc::clone(&counts),
    };
    reader.run(Arc::default()).await;
    let write = {
        let counts = Arc::clone(&counts);
        move || {
            for count in 0..BYTES {
                written.write(7);
                let deadline = std::time::Instant::now() + PATIENCE;
                while counts.read.load(Ordering::SeqCst) <= count {
                    assert!(std::time::Instant::now() < deadline, "byte {count} woke nobody");
                    std::thread::yield_now();
                }
            }
        }
    };
    tokio::task::spawn_blocking(write).await.unwrap();
    assert_eq!(counts.read.load(Ordering::SeqCst), BYTES);
    assert!(counts.runs.load(Ordering::Relaxed) > 1, "it rested");
    registry.abandon();
}

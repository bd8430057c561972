//! The registry with real sockets on the loopback.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::*;
use crate::fanout::{Identity, Outlet as _, Signals, Taken};
use crate::model::{Author, ConnectionId, Name, Timestamp};
use crate::sessions::SessionHandle;

/// How long a state may take that only a defect keeps from coming.
const PATIENCE: Duration = Duration::from_secs(60);

struct Pair {
    link: Arc<Link>,
    peer: TcpStream,
}

fn pair(registry: &Registry, user: UserId) -> Pair {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let stream = listener.accept().unwrap().0;
    stream.set_nonblocking(true).unwrap();
    let identity = Identity {
        connection: ConnectionId::random(),
        author: Author {
            id: user,
            name: Name::parse("ann").unwrap(),
        },
        session: SessionHandle::of(tower_sessions::session::Id::default()),
        one_room: true,
        echo: false,
    };
    let traffic = Arc::clone(registry.traffic());
    let link = Arc::new(Link::new(identity, stream, traffic, 0, Timestamp::from_millis(0)));
    Pair { link, peer }
}

fn ids(links: &[Arc<Link>]) -> Vec<ConnectionId> {
    let mut ids: Vec<_> = links.iter().map(|link| link.connection()).collect();
    ids.sort_unstable();
    ids
}

#[tokio::test]
async fn connections_are_found_by_user_until_they_are_removed() {
    let registry = Arc::new(Registry::new());
    let _watched = registry.readiness().unwrap();
    let users = [UserId::random(), UserId::random(), UserId::random()];
    let (mut open, mut removed): (Vec<Pair>, u64) = (Vec::new(), 0);
    // A walk in which connections come and go in all positions of their user's chain.
    for step in 0..120_usize {
        if step % 3 == 2 || open.len() > 12 {
            let gone = open.swap_remove(step * 7 % open.len());
            removed += 1;
            registry.remove(&gone.link);
            registry.remove(&gone.link);
            assert!(!registry.all().iter().any(|link| Arc::ptr_eq(link, &gone.link)));
            registry.release(&gone.link);
        } else {
            let pair = pair(&registry, users[step * 5 % 3]);
            registry.add(&pair.link).unwrap();
            open.push(pair);
        }
        let links: Vec<_> = open.iter().map(|pair| Arc::clone(&pair.link)).collect();
        assert_eq!(ids(&registry.all()), ids(&links));
        assert_eq!(registry.len(), links.len());
        let mut people = 0;
        for user in users {
            let of_user: Vec<_> = links.iter().filter(|link| link.author().id == user).cloned().collect();
            people += usize::from(!of_user.is_empty());
            assert_eq!(ids(&registry.of_user(user)), ids(&of_user));
        }
        assert_eq!(registry.people(), people);
    }
    let closed: u64 = registry.traffic().closed().map(|(_, count)| count).sum();
    assert_eq!(closed, removed);
}

/// Notes that it was woken.
struct Woken(mpsc::Sender<()>);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        let _ = self.0.try_send(());
    }
}

/// Rests until there is something to read.
async fn readable(link: &Link) {
    let waiting = async {
        while !link.look(true).is_some_and(Signals::readable) {
            let (woken, mut told) = mpsc::channel(16);
            if link.rest(&Waker::from(Arc::new(Woken(woken))), true) {
                told.recv().await.unwrap();
            }
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap();
}

#[tokio::test]
async fn a_resting_connection_is_woken_by_its_socket() {
    let registry = Arc::new(Registry::new());
    let readiness = registry.readiness().unwrap();
    assert!(registry.readiness().is_err(), "it runs once");
    let running = tokio::spawn(readiness.run());
    let (idle, mut spoken) = (pair(&registry, UserId::random()), pair(&registry, UserId::random()));
    registry.add(&idle.link).unwrap();
    registry.add(&spoken.link).unwrap();
    let mut buffer = [0; 16];
    for text in [&b"one"[..], b"two"] {
        spoken.peer.write_all(text).unwrap();
        readable(&spoken.link).await;
        assert_eq!(spoken.link.try_read(&mut buffer).unwrap(), 3);
        assert_eq!(&buffer[..3], text);
        assert!(
            !spoken.link.look(true).is_some_and(Signals::readable),
            "it was read to the end"
        );
    }
    // More than one read takes, and the end, which came before either was read.
    spoken.peer.write_all(&[7; 20]).unwrap();
    spoken.peer.shutdown(std::net::Shutdown::Write).unwrap();
    for count in [16, 4, 0] {
        readable(&spoken.link).await;
        assert_eq!(spoken.link.try_read(&mut buffer).unwrap(), count);
    }
    assert!(
        !idle.link.look(true).is_some_and(Signals::readable),
        "nothing happened on the other one"
    );
    running.abort();
}

#[tokio::test]
async fn what_waits_is_written_once_the_socket_takes_it() {
    let registry = Arc::new(Registry::new());
    let running = tokio::spawn(registry.readiness().unwrap().run());
    let Pair { link, mut peer } = pair(&registry, UserId::random());
    registry.add(&link).unwrap();
    let frames = Bytes::from(vec![1; 32 * 1024]);
    let mut taken = 0;
    while link.events(&frames) == Taken::Yes {
        taken += frames.len();
    }
    assert!(link.waiting() > 0 && link.waiting() <= crate::limits::OUTBOX_BYTES_MAX);
    let reader = std::thread::spawn(move || {
        let mut buffer = vec![0; taken];
        peer.read_exact(&mut buffer).unwrap();
        buffer
    });
    let drained = async {
        while !link.drain(0) {
            std::future::poll_fn(|cx| link.poll(cx, false)).await;
        }
    };
    tokio::time::timeout(PATIENCE, drained).await.unwrap();
    assert!(reader.join().unwrap().iter().all(|byte| *byte == 1));
    running.abort();
}

//! What stands between a node and a server: passes bytes on, holds them back, delays them, or cuts the connections.
//!
//! Held bytes arrive once they are let go, as they would after a partition that TCP has outlived; what a side closes
//! meanwhile stays closed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What happens to bytes of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// They pass.
    Pass,
    /// They wait, and nobody is told.
    Hold,
    /// They pass so much later.
    Delay(Duration),
}

#[derive(Debug, Clone, Copy)]
struct State {
    /// From the node to the server.
    up: Flow,
    /// From the server to the node.
    down: Flow,
    /// Where new connections lead.
    target: SocketAddr,
    /// New connections are reset.
    cut: bool,
    /// Connections that were made under an earlier number are reset.
    age: u64,
}

/// A listener in front of a server.
pub struct Proxy {
    address: SocketAddr,
    state: Arc<watch::Sender<State>>,
}

impl Proxy {
    /// Listens, on the current runtime.
    pub async fn before(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let state = State {
            up: Flow::Pass,
            down: Flow::Pass,
            target,
            cut: false,
            age: 0,
        };
        let state = Arc::new(watch::Sender::new(state));
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(carry(stream, shared.subscribe()));
            }
        });
        Self { address, state }
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Says what happens to bytes from the node and to the node.
    pub fn flow(&self, up: Flow, down: Flow) {
        self.state.send_modify(|state| (state.up, state.down) = (up, down));
    }

    /// Holds both directions.
    pub fn hold(&self) {
        self.flow(Flow::Hold, Flow::Hold);
    }

    /// Resets every connection, and new ones until it is healed.
    pub fn cut(&self) {
        self.state.send_modify(|state| {
            state.cut = true;
            state.age += 1;
        });
    }

    /// Resets every connection once.
    pub fn flap(&self) {
        self.state.send_modify(|state| state.age += 1);
    }

    /// Leads to another server from now on: every connection is reset.
    pub fn lead_to(&self, target: SocketAddr) {
        self.state.send_modify(|state| {
            state.target = target;
            state.age += 1;
        });
    }

    /// Lets everything pass.
    pub fn heal(&self) {
        self.flow(Flow::Pass, Flow::Pass);
        self.state.send_modify(|state| state.cut = false);
    }
}

fn reset(stream: &TcpStream) {
    // Closing with a linger of zero is a reset.
    let _ = stream.set_zero_linger();
}

async fn carry(stream: TcpStream, mut state: watch::Receiver<State>) {
    let State { cut, age, target, .. } = *state.borrow();
    if cut {
        return reset(&stream);
    }
    let Ok(server) = TcpStream::connect(target).await else {
        return reset(&stream);
    };
    let _ = (stream.set_nodelay(true), server.set_nodelay(true));
    let ends = [socket2::SockRef::from(&stream), socket2::SockRef::from(&server)].map(|end| end.try_clone());
    let ((from_node, to_node), (from_server, to_server)) = (stream.into_split(), server.into_split());
    let up = pump(from_node, to_server, state.clone(), |state| state.up);
    let down = pump(from_server, to_node, state.clone(), |state| state.down);
    let both = async { tokio::join!(up, down) };
    tokio::select! {
        _ = both => {}
        _ = state.wait_for(|now| now.age != age) => {
            for end in ends.into_iter().flatten() {
                let _ = end.set_linger(Some(Duration::ZERO));
            }
        }
    }
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut state: watch::Receiver<State>,
    flow: fn(&State) -> Flow,
) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut buffer).await;
        let Ok(now) = state
            .wait_for(|state| flow(state) != Flow::Hold)
            .await
            .map(|state| flow(&state))
        else {
            return;
        };
        if let Flow::Delay(time) = now {
            tokio::time::sleep(time).await;
        }
        match read {
            Ok(count) if count > 0 => {
                if to.write_all(&buffer[..count]).await.is_err() {
                    return;
                }
            }
            _ => {
                let _ = to.shutdown().await;
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.split();
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                });
            }
        });
        address
    }

    async fn says(stream: &mut TcpStream, text: &[u8]) -> std::io::Result<Vec<u8>> {
        stream.write_all(text).await?;
        let mut back = vec![0; text.len()];
        stream.read_exact(&mut back).await?;
        Ok(back)
    }

    #[tokio::test]
    async fn it_passes_holds_and_cuts() {
        let proxy = Proxy::before(echo().await).await;
        let mut stream = TcpStream::connect(proxy.address()).await.expect("a connection");
        assert_eq!(says(&mut stream, b"one").await.expect("an echo"), b"one");
        for (up, down) in [(Flow::Hold, Flow::Pass), (Flow::Pass, Flow::Hold)] {
            proxy.flow(up, down);
            stream.write_all(b"two").await.expect("room");
            let mut back = [0; 3];
            let early = tokio::time::timeout(Duration::from_millis(50), stream.read_exact(&mut back)).await;
            assert!(early.is_err(), "held bytes came");
            proxy.heal();
            stream.read_exact(&mut back).await.expect("they come now");
            assert_eq!(&back, b"two");
        }
        proxy.cut();
        assert!(says(&mut stream, b"three").await.is_err());
        let mut again = TcpStream::connect(proxy.address()).await.expect("a connection");
        assert!(says(&mut again, b"four").await.is_err());
        proxy.heal();
        let mut again = TcpStream::connect(proxy.address()).await.expect("a connection");
        assert_eq!(says(&mut again, b"five").await.expect("an echo"), b"five");
        proxy.flap();
        assert!(says(&mut again, b"six").await.is_err());
        proxy.lead_to(echo().await);
        let mut again = TcpStream::connect(proxy.address()).await.expect("a connection");
        assert_eq!(says(&mut again, b"seven").await.expect("an echo"), b"seven");
    }
}

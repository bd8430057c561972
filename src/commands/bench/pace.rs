//! Sends at the planned times, from a thread of its own: a runtime's timer is a millisecond coarse, and its threads are
//! busy reading.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use tokio::runtime::Handle;

use crate::client::Opcode;

use super::connection::{Connection, Load, Outgoing};

/// Starts sending; the thread answers how many messages were handed to connections and how many were not.
pub(super) fn start(
    load: &Arc<Load>,
    connections: &[Connection],
    start: Instant,
    nonces: bool,
) -> io::Result<JoinHandle<(u64, u64)>> {
    let load = Arc::clone(load);
    let senders: Vec<Arc<Outgoing>> = connections[..load.plan.senders]
        .iter()
        .map(|connection| Arc::clone(&connection.outgoing))
        .collect();
    let runtime = Handle::current();
    std::thread::Builder::new()
        .name("pace".to_owned())
        .spawn(move || send(&load, &senders, start, nonces, &runtime))
}

fn send(load: &Load, senders: &[Arc<Outgoing>], start: Instant, nonces: bool, runtime: &Handle) -> (u64, u64) {
    let plan = &load.plan;
    let (mut sent, mut unsent) = (0, 0);
    for number in 0..plan.sends {
        let (sender, seq) = plan.sender_of(number);
        let intended = plan.intended(sender, seq);
        let wait = (start + intended).saturating_duration_since(Instant::now());
        if !wait.is_zero() {
            std::thread::sleep(wait);
        }
        let nonce = if nonces {
            format!(",\"nonce\":\"{:08x}-{sender}-{seq}\"", plan.run)
        } else {
            String::new()
        };
        let text = plan.text(sender, seq);
        let frame = format!("{{\"type\":\"send\",\"ref\":{seq}{nonce},\"message\":\"{text}\"}}");
        if senders[sender].send(Opcode::Text, frame.as_bytes(), runtime) {
            sent += 1;
            if intended >= plan.warmup {
                load.lag
                    .record(Instant::now().saturating_duration_since(start + intended));
            }
        } else {
            unsent += 1;
        }
    }
    (sent, unsent)
}

//! Sends at the planned times, from a thread of its own: a runtime's timer is a millisecond coarse, and its threads are
//! busy reading.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Instant;

use tokio::runtime::Handle;

use crate::client::{Opcode, mask_frame};

use super::connection::{Connection, Outgoing};
use super::load::Load;

/// Starts sending.
pub(super) fn start(
    load: &Arc<Load>,
    connections: &[Connection],
    start: Instant,
    nonces: bool,
) -> io::Result<JoinHandle<()>> {
    let load = Arc::clone(load);
    let senders: Vec<Arc<Outgoing>> = connections[..load.plan.senders]
        .iter()
        .map(|connection| Arc::clone(&connection.outgoing))
        .collect();
    let runtime = Handle::current();
    std::thread::Builder::new().name("pace".to_owned()).spawn(move || {
        if load.plan.window > 0 {
            fill_windows(&load, &senders, start, &runtime);
        } else {
            send(&load, &senders, start, nonces, &runtime);
        }
    })
}

fn send(load: &Load, senders: &[Arc<Outgoing>], start: Instant, nonces: bool, runtime: &Handle) {
    let plan = &load.plan;
    for number in 0..plan.sends {
        let (sender, seq) = plan.sender_of(number);
        let intended = plan.intended(sender, seq);
        let wait = (start + intended).saturating_duration_since(Instant::now());
        if !wait.is_zero() {
            std::thread::sleep(wait);
        }
        let frame = load.frame(sender, seq, nonces);
        if senders[sender].send(Opcode::Text, frame.as_bytes(), runtime) {
            load.sent.fetch_add(1, Ordering::Relaxed);
            if intended >= plan.warmup {
                load.lag
                    .record(Instant::now().saturating_duration_since(start + intended));
            }
        } else {
            load.unsent.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Sends the first messages of each sender; from then on each answer makes it send another.
fn fill_windows(load: &Load, senders: &[Arc<Outgoing>], start: Instant, runtime: &Handle) {
    std::thread::sleep(start.saturating_duration_since(Instant::now()));
    for (sender, outgoing) in senders.iter().enumerate() {
        send_next(load, sender, &mut 0, load.plan.window, outgoing, runtime);
    }
}

/// Where answers set the pace: sends so many more messages in one write, unless the time for sends is over.
pub(super) fn send_next(
    load: &Load,
    sender: usize,
    next: &mut u64,
    count: usize,
    outgoing: &Arc<Outgoing>,
    runtime: &Handle,
) {
    let Some(start) = *load.start.lock() else { return };
    let from_start = start.elapsed();
    if from_start >= load.plan.until {
        return;
    }
    let mut frames = Vec::new();
    for seq in *next..*next + count as u64 {
        load.note_time(sender, seq, from_start);
        let frame = load.frame(sender, seq, false);
        frames.extend_from_slice(&mask_frame(Opcode::Text, frame.as_bytes(), rand::random()));
    }
    *next += count as u64;
    let counter = if outgoing.put(&frames, runtime) {
        &load.sent
    } else {
        &load.unsent
    };
    counter.fetch_add(count as u64, Ordering::Relaxed);
}

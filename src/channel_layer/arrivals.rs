//! What has arrived for one node and waits for its `next`, in two queues under one bound.
//!
//! Durable payloads and broadcasts are taken first, and when the bound is reached an ephemeral one gives way, so typing
//! and presence never cost a message its place. What is dropped all the same is counted and told before anything else,
//! since the sooner a repair starts the less it has to read. Putting never waits for a slow taker.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{Class, Error, Incoming, Result};
use crate::limits;

pub(super) struct Arrivals {
    capacity: usize,
    waiting: Mutex<Waiting>,
    arrived: Notify,
}

#[derive(Default)]
struct Waiting {
    kept: VecDeque<Incoming>,
    ephemeral: VecDeque<Incoming>,
    /// Of all payloads that wait.
    bytes: usize,
    lost: u64,
    interrupted: bool,
    closed: bool,
}

fn bytes_of(incoming: &Incoming) -> usize {
    match incoming {
        Incoming::Payload { payload, .. } | Incoming::Broadcast { payload } => payload.len(),
        Incoming::Lost { .. } => 0,
    }
}

impl Waiting {
    fn is_full(&self, capacity: usize, more: usize) -> bool {
        self.kept.len() + self.ephemeral.len() >= capacity || self.bytes + more > limits::LAYER_QUEUE_BYTES_MAX
    }

    fn take(&mut self) -> Option<Result<Incoming>> {
        if self.closed {
            return Some(Err(Error::Closed));
        }
        if self.lost > 0 || self.interrupted {
            let interrupted = std::mem::take(&mut self.interrupted);
            let lost = std::mem::take(&mut self.lost);
            // Once an interruption is among the reasons, the sum is not known.
            let count = if interrupted { 0 } else { lost };
            return Some(Ok(Incoming::Lost { count }));
        }
        let first = self.kept.pop_front().or_else(|| self.ephemeral.pop_front())?;
        self.bytes -= bytes_of(&first);
        Some(Ok(first))
    }
}

impl Arrivals {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            waiting: Mutex::default(),
            arrived: Notify::new(),
        }
    }

    /// Lets a payload or broadcast wait; answers how many were dropped for want of room, itself included.
    pub(super) fn put(&self, incoming: Incoming) -> u64 {
        let mut waiting = self.waiting.lock();
        if waiting.closed {
            return 0;
        }
        let bytes = bytes_of(&incoming);
        let mut dropped = 0;
        while waiting.is_full(self.capacity, bytes) {
            dropped += 1;
            let Some(given_way) = waiting.ephemeral.pop_front() else {
                let durable = matches!(
                    incoming,
                    Incoming::Payload {
                        class: Class::Durable,
                        ..
                    }
                );
                waiting.lost += u64::from(durable);
                drop(waiting);
                self.arrived.notify_one();
                return dropped;
            };
            waiting.bytes -= bytes_of(&given_way);
        }
        waiting.bytes += bytes;
        match incoming {
            Incoming::Payload {
                class: Class::Ephemeral,
                ..
            } => waiting.ephemeral.push_back(incoming),
            _ => waiting.kept.push_back(incoming),
        }
        drop(waiting);
        self.arrived.notify_one();
        dropped
    }

    /// The connection was interrupted, or something was dropped where nobody counts: told as a loss of unknown size.
    pub(super) fn interrupted(&self) {
        self.waiting.lock().interrupted = true;
        self.arrived.notify_one();
    }

    /// Lets go of what waits; from now on `next` answers `Closed`.
    pub(super) fn close(&self) {
        *self.waiting.lock() = Waiting {
            closed: true,
            ..Waiting::default()
        };
        self.arrived.notify_one();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.waiting.lock().closed
    }

    pub(super) async fn next(&self) -> Result<Incoming> {
        loop {
            if let Some(first) = self.waiting.lock().take() {
                return first;
            }
            // `notify_one` leaves a permit behind when nobody waits, so nothing that came in between is missed.
            self.arrived.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::model::RoomId;

    fn payload(class: Class, bytes: usize) -> Incoming {
        Incoming::Payload {
            room: RoomId::random(),
            class,
            payload: Bytes::from(vec![0; bytes]),
        }
    }

    #[tokio::test]
    async fn bytes_are_bounded_and_ephemeral_ones_give_way() {
        let arrivals = Arrivals::new(100);
        let half = limits::LAYER_QUEUE_BYTES_MAX / 2;
        assert_eq!(arrivals.put(payload(Class::Ephemeral, half / 2)), 0);
        assert_eq!(arrivals.put(payload(Class::Ephemeral, half / 2)), 0);
        assert_eq!(arrivals.put(payload(Class::Durable, half)), 0);
        assert_eq!(arrivals.put(payload(Class::Durable, half)), 2, "both ephemeral ones");
        assert_eq!(arrivals.put(payload(Class::Durable, half)), 1, "itself");
        assert_eq!(arrivals.next().await, Ok(Incoming::Lost { count: 1 }));
        for _ in 0..2 {
            assert!(matches!(
                arrivals.next().await,
                Ok(Incoming::Payload {
                    class: Class::Durable,
                    ..
                })
            ));
        }
        assert_eq!(
            arrivals.put(payload(Class::Durable, 2 * half)),
            0,
            "all room is free again"
        );
    }

    #[tokio::test]
    async fn a_broadcast_that_finds_no_room_is_no_loss() {
        let arrivals = Arrivals::new(1);
        let broadcast = Incoming::Broadcast { payload: Bytes::new() };
        assert_eq!(arrivals.put(broadcast.clone()), 0);
        assert_eq!(arrivals.put(broadcast.clone()), 1);
        assert_eq!(arrivals.next().await, Ok(broadcast));
    }

    #[tokio::test]
    async fn an_interruption_makes_the_count_unknown() {
        let arrivals = Arrivals::new(1);
        arrivals.put(payload(Class::Durable, 1));
        arrivals.put(payload(Class::Durable, 1));
        arrivals.interrupted();
        assert_eq!(arrivals.next().await, Ok(Incoming::Lost { count: 0 }));
        assert!(matches!(arrivals.next().await, Ok(Incoming::Payload { .. })));
    }
}

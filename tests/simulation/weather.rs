//! What goes wrong when: spells of faults, drawn from a run's own mix.

use crate::ground::Weather;

/// A fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Packets between nodes vanish, and nobody is told.
    Loss,
    /// They vanish, and who should have got them is told that something was lost.
    SlowConsumer,
    /// They take seconds, and overtake each other.
    Delay,
    /// They come twice.
    Twice,
    /// A node is cut off from the channel layer, and told so.
    Cut,
    /// It hears nobody, or nobody hears it, and nobody is told.
    Deaf,
    /// One node does not hear one other.
    OneWay,
    /// A node is stopped, then goes on.
    Pause,
    /// A node is killed, and comes back as another process.
    Kill,
    /// It is killed between a write and what it would have said of it.
    Fuse,
    /// A node is cut off from the store.
    StoreAway,
    /// Everybody is.
    StoreDown,
    /// The store takes seconds.
    StoreSlow,
    /// It does not answer some writes, which land later or never.
    StoreSilent,
    /// A node is cut off from the control log and the sessions.
    LogAway,
    /// Everybody is.
    LogDown,
    /// The control log loses everything.
    LogEmptied,
    /// A node's clock is set, within what is allowed.
    ClockStep,
    /// A node's clock is set far off.
    ClockOff,
    /// A node is cut off from the channel layer and from the store.
    Island,
    /// One node does not hear one other, and can't read the store either.
    Blind,
}

/// Every one of them, once.
pub const ALL: &[Fault] = &[
    Fault::Loss,
    Fault::SlowConsumer,
    Fault::Delay,
    Fault::Twice,
    Fault::Cut,
    Fault::Deaf,
    Fault::OneWay,
    Fault::Pause,
    Fault::Kill,
    Fault::Fuse,
    Fault::StoreAway,
    Fault::StoreDown,
    Fault::StoreSlow,
    Fault::StoreSilent,
    Fault::LogAway,
    Fault::LogDown,
    Fault::LogEmptied,
    Fault::ClockStep,
    Fault::ClockOff,
];

impl Fault {
    /// For how long it lasts, in milliseconds.
    pub const fn lasts(self) -> std::ops::RangeInclusive<u64> {
        match self {
            Self::Pause => 1_000..=30_000,
            Self::Cut | Self::Deaf | Self::OneWay | Self::StoreAway | Self::LogAway | Self::LogDown => 2_000..=25_000,
            Self::StoreDown => 2_000..=14_000,
            Self::Kill | Self::Fuse => 1_000..=15_000,
            Self::ClockStep | Self::LogEmptied => 100..=200,
            _ => 2_000..=12_000,
        }
    }

    /// Begins or ends in the shared weather, for one node among so many.
    pub fn set(self, weather: &mut Weather, node: usize, nodes: usize, begins: bool) {
        let put = |set: &mut std::collections::BTreeSet<usize>, node: usize| {
            if begins {
                set.insert(node);
            } else {
                set.remove(&node);
            }
        };
        let next = (node + 1) % nodes;
        match self {
            Self::Loss => (weather.loss, weather.reported) = (if begins { 25 } else { 0 }, false),
            Self::SlowConsumer => (weather.loss, weather.reported) = (if begins { 40 } else { 0 }, true),
            Self::Delay => weather.delay = if begins { 2_500 } else { 0 },
            Self::Twice => weather.twice = if begins { 30 } else { 0 },
            Self::Cut => put(&mut weather.cut, node),
            Self::Island => {
                put(&mut weather.cut, node);
                put(&mut weather.store_away, node);
            }
            Self::Blind => {
                put(&mut weather.store_away, node);
                if begins {
                    weather.one_way.insert((next, node));
                } else {
                    weather.one_way.remove(&(next, node));
                }
            }
            Self::Deaf | Self::OneWay => {
                let mut ways = vec![(node, next)];
                if self == Self::Deaf {
                    ways = (0..nodes)
                        .filter(|other| *other != node)
                        .map(|other| (other, node))
                        .collect();
                }
                for way in ways {
                    if begins {
                        weather.one_way.insert(way);
                    } else {
                        weather.one_way.remove(&way);
                    }
                }
            }
            Self::StoreAway => put(&mut weather.store_away, node),
            Self::StoreDown => (0..nodes).for_each(|node| put(&mut weather.store_away, node)),
            Self::StoreSlow => weather.store_slow = if begins { 6_500 } else { 0 },
            Self::StoreSilent => weather.store_silent = if begins { 30 } else { 0 },
            Self::LogAway => put(&mut weather.log_away, node),
            Self::LogDown => (0..nodes).for_each(|node| put(&mut weather.log_away, node)),
            Self::Fuse => put(&mut weather.fuse, node),
            Self::Pause | Self::Kill | Self::LogEmptied | Self::ClockStep | Self::ClockOff => {}
        }
    }
}

impl Fault {
    /// Whether the two can't be told apart, or are more than is promised to be survived.
    pub fn excludes(self, other: Self) -> bool {
        let kind = |fault: Self| match fault {
            Self::Loss | Self::SlowConsumer => 1,
            Self::Delay => 2,
            Self::Twice => 3,
            Self::Deaf | Self::OneWay => 4,
            Self::StoreAway | Self::StoreDown => 5,
            Self::LogAway | Self::LogDown => 6,
            Self::Kill | Self::Fuse | Self::Pause => 7,
            Self::ClockStep | Self::ClockOff => 8,
            Self::StoreSlow => 9,
            Self::StoreSilent => 10,
            Self::Cut => 11,
            Self::Island => 13,
            Self::Blind => 14,
            Self::LogEmptied => 12,
        };
        // Where the layer is split and the log is out of reach at once, a node that begins is not noticed.
        let split = |fault: Self| matches!(fault, Self::Deaf | Self::OneWay);
        let log = |fault: Self| matches!(fault, Self::LogAway | Self::LogDown);
        kind(self) == kind(other) || (split(self) && log(other)) || (log(self) && split(other))
    }
}

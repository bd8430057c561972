//! The kinds of metric families, and how each is made and registered.

use std::sync::Arc;

use parking_lot::Mutex;
use prometheus::core::{Collector, Desc};
use prometheus::proto::{self, MetricFamily, MetricType};
use prometheus::{CounterVec, HistogramOpts, HistogramVec as RawHistogramVec, IntCounterVec, Opts, Registry};

pub use prometheus::{Gauge, Histogram, IntCounter, IntGauge};

/// A family that can be made from its name, its help text and its shape.
pub trait Family: Sized {
    /// What the kind needs besides name and help.
    type Shape;

    /// Makes the family and registers it.
    ///
    /// # Panics
    /// If the name is malformed or taken. Names are literals, and a test makes all of them.
    fn make(registry: &Registry, name: &str, help: &str, shape: Self::Shape) -> Self;
}

fn register<C: Collector + Clone + 'static>(registry: &Registry, family: Result<C, prometheus::Error>) -> C {
    let family = family.expect("metric names are literals that a test has made");
    registry
        .register(Box::new(family.clone()))
        .expect("metric names are distinct, as a test has shown");
    family
}

impl Family for IntCounter {
    type Shape = ();

    fn make(registry: &Registry, name: &str, help: &str, (): ()) -> Self {
        register(registry, Self::new(name, help))
    }
}

impl Family for IntGauge {
    type Shape = ();

    fn make(registry: &Registry, name: &str, help: &str, (): ()) -> Self {
        register(registry, Self::new(name, help))
    }
}

impl Family for Gauge {
    type Shape = ();

    fn make(registry: &Registry, name: &str, help: &str, (): ()) -> Self {
        register(registry, Self::new(name, help))
    }
}

impl Family for Histogram {
    type Shape = &'static [f64];

    fn make(registry: &Registry, name: &str, help: &str, buckets: &'static [f64]) -> Self {
        let opts = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        register(registry, Self::with_opts(opts))
    }
}

/// A counter for each value of one label. The values are fixed, so counting never takes a lock and the number of series
/// never grows.
#[derive(Debug, Clone)]
pub struct Labelled {
    values: &'static [&'static str],
    counters: Box<[IntCounter]>,
}

impl Labelled {
    /// The counter of a value; one that is not known counts as the last, which is `other`.
    ///
    /// # Panics
    /// Never: a family has at least one value.
    #[must_use]
    pub fn of(&self, value: &str) -> &IntCounter {
        let place = self.values.iter().position(|known| *known == value);
        &self.counters[place.unwrap_or(self.counters.len() - 1)]
    }

    /// The sum over all values.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counters.iter().map(IntCounter::get).sum()
    }
}

impl Family for Labelled {
    type Shape = (&'static str, &'static [&'static str]);

    fn make(registry: &Registry, name: &str, help: &str, (label, values): Self::Shape) -> Self {
        let family = register(registry, IntCounterVec::new(Opts::new(name, help), &[label]));
        let counters = values.iter().map(|value| family.with_label_values(&[*value])).collect();
        Self { values, counters }
    }
}

/// A histogram for each value of one label. The values are fixed, as for [`Labelled`].
#[derive(Debug, Clone)]
pub struct LabelledTimes {
    values: &'static [&'static str],
    histograms: Box<[Histogram]>,
}

impl LabelledTimes {
    /// The histogram of a value; one that is not known counts as the last.
    #[must_use]
    pub fn of(&self, value: &str) -> &Histogram {
        let place = self.values.iter().position(|known| *known == value);
        &self.histograms[place.unwrap_or(self.histograms.len() - 1)]
    }
}

impl Family for LabelledTimes {
    type Shape = (&'static str, &'static [&'static str], &'static [f64]);

    fn make(registry: &Registry, name: &str, help: &str, (label, values, buckets): Self::Shape) -> Self {
        let opts = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        let family = register(registry, RawHistogramVec::new(opts, &[label]));
        let histograms = values.iter().map(|value| family.with_label_values(&[*value])).collect();
        Self { values, histograms }
    }
}

/// HTTP requests by route and status. Routes are patterns of the router, never what a client wrote.
#[derive(Debug, Clone)]
pub struct Requests(IntCounterVec);

impl Requests {
    /// Counts a request. Give the matched pattern, or `unmatched`.
    pub fn count(&self, route: &str, status: u16) {
        self.0.with_label_values(&[route, &status.to_string()]).inc();
    }
}

impl Family for Requests {
    type Shape = ();

    fn make(registry: &Registry, name: &str, help: &str, (): ()) -> Self {
        Self(register(
            registry,
            IntCounterVec::new(Opts::new(name, help), &["route", "status"]),
        ))
    }
}

/// A counter for each name that the program itself gives, such as those of statements; made when it is first raised.
#[derive(Debug, Clone)]
pub struct Named(CounterVec);

impl Named {
    /// Brings the counter of a name up to a count that is kept elsewhere; it never goes back.
    pub fn raise(&self, name: &'static str, to: f64) {
        let counter = self.0.with_label_values(&[name]);
        counter.inc_by((to - counter.get()).max(0.0));
    }
}

impl Family for Named {
    type Shape = &'static str;

    fn make(registry: &Registry, name: &str, help: &str, label: &'static str) -> Self {
        Self(register(registry, CounterVec::new(Opts::new(name, help), &[label])))
    }
}

/// A histogram for each route.
#[derive(Debug, Clone)]
pub struct RequestTimes(RawHistogramVec);

impl RequestTimes {
    /// Counts a request that took so many seconds.
    pub fn observe(&self, route: &str, seconds: f64) {
        self.0.with_label_values(&[route]).observe(seconds);
    }
}

impl Family for RequestTimes {
    type Shape = &'static [f64];

    fn make(registry: &Registry, name: &str, help: &str, buckets: &'static [f64]) -> Self {
        let opts = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        Self(register(registry, RawHistogramVec::new(opts, &["route"])))
    }
}

/// A histogram that is kept elsewhere and copied here when somebody asks.
#[derive(Debug, Clone)]
pub struct Distribution {
    name: String,
    help: String,
    desc: Desc,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    /// Each bucket's upper bound in seconds, and how many values it holds alone.
    buckets: Vec<(f64, u64)>,
    /// Values above the last bound.
    beyond: u64,
    /// The sum of all values, in seconds.
    sum: f64,
}

impl Distribution {
    /// Replaces the histogram: each bucket's upper bound in seconds with how many values it holds alone, the values
    /// above the last bound, and the sum of all of them in seconds.
    pub fn set(&self, buckets: Vec<(f64, u64)>, beyond: u64, sum: f64) {
        *self.kept.lock() = Kept { buckets, beyond, sum };
    }
}

impl Collector for Distribution {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let kept = self.kept.lock();
        let mut count = 0;
        let bucket = |&(bound, alone): &(f64, u64)| {
            count += alone;
            let mut bucket = proto::Bucket::default();
            bucket.set_upper_bound(bound);
            bucket.set_cumulative_count(count);
            bucket
        };
        let buckets: Vec<_> = kept.buckets.iter().map(bucket).collect();
        let mut histogram = proto::Histogram::default();
        histogram.set_bucket(buckets);
        histogram.set_sample_count(count + kept.beyond);
        histogram.set_sample_sum(kept.sum);
        let mut metric = proto::Metric::default();
        metric.set_histogram(histogram);
        let mut family = MetricFamily::default();
        family.set_name(self.name.clone());
        family.set_help(self.help.clone());
        family.set_field_type(MetricType::HISTOGRAM);
        family.set_metric(vec![metric]);
        vec![family]
    }
}

impl Family for Distribution {
    type Shape = ();

    fn make(registry: &Registry, name: &str, help: &str, (): ()) -> Self {
        let desc = Desc::new(
            name.to_owned(),
            help.to_owned(),
            Vec::new(),
            std::collections::HashMap::new(),
        );
        let made = desc.map(|desc| Self {
            name: name.to_owned(),
            help: help.to_owned(),
            desc,
            kept: Arc::default(),
        });
        register(registry, made)
    }
}

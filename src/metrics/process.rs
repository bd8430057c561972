//! Metrics of the process itself, read when somebody asks, under the names that every Prometheus dashboard knows.

use prometheus::core::{Collector, Desc};
use prometheus::{Counter, Gauge, Opts, Registry, proto::MetricFamily};

use crate::process;

struct Process {
    cpu: Counter,
    resident: Gauge,
    threads: Gauge,
    open_files: Gauge,
    most_files: Gauge,
}

/// Registers the families of the process.
///
/// # Panics
/// Never: names are literals, and a test makes all of them.
pub fn register(registry: &Registry) {
    let gauge = |name, help| Gauge::new(name, help).expect("metric names are literals that a test has made");
    let cpu = Counter::new(
        "process_cpu_seconds_total",
        "Processor time, user and system, in seconds.",
    );
    let process = Process {
        cpu: cpu.expect("metric names are literals that a test has made"),
        resident: gauge("process_resident_memory_bytes", "Memory in use, in bytes."),
        threads: gauge("process_threads", "Threads."),
        open_files: gauge("process_open_fds", "Open files, sockets included."),
        most_files: gauge("process_max_fds", "How many files may be open."),
    };
    registry
        .register(Box::new(process))
        .expect("metric names are distinct, as a test has shown");
    let opts = Opts::new("natter_build_info", "Always 1; the label tells the version.");
    let build = Gauge::with_opts(opts.const_label("version", env!("CARGO_PKG_VERSION")));
    let build = build.expect("metric names are literals that a test has made");
    build.set(1.0);
    registry
        .register(Box::new(build))
        .expect("metric names are distinct, as a test has shown");
}

impl Process {
    const fn families(&self) -> [&dyn Collector; 5] {
        [
            &self.cpu,
            &self.resident,
            &self.threads,
            &self.open_files,
            &self.most_files,
        ]
    }
}

impl Collector for Process {
    fn desc(&self) -> Vec<&Desc> {
        let families = self.families();
        families.into_iter().flat_map(|family| family.desc()).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let Some(usage) = process::usage(None) else {
            return Vec::new();
        };
        self.cpu.reset();
        self.cpu.inc_by(usage.cpu.as_secs_f64());
        #[allow(clippy::cast_precision_loss, reason = "sizes and counts far below 2^52")]
        {
            self.resident.set(usage.resident as f64);
            self.threads.set(usage.threads as f64);
            self.open_files.set(process::open_files(None).unwrap_or(0) as f64);
            self.most_files
                .set(rlimit::Resource::NOFILE.get().map_or(0, |limit| limit.0) as f64);
        }
        self.families()
            .into_iter()
            .flat_map(|family| family.collect())
            .collect()
    }
}

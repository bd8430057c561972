//! What Prometheus would have scraped while an alert's condition was caused. `scripts/alerts.py` reads it: each file is
//! one scrape of one node, the first before the cause, the last under it; an empty one is a scrape that failed.

use std::path::PathBuf;

use crate::common::Server;
use crate::metrics::until;

/// The scrapes for some alerts that have one cause. Kept only where the environment says where to.
pub struct Samples {
    folder: Option<PathBuf>,
    alerts: &'static [&'static str],
    next: u32,
}

impl Samples {
    /// Scrapes a node once it is well: nothing is left of an earlier cause.
    pub async fn before(server: &Server, alerts: &'static [&'static str]) -> Self {
        for (name, most) in [
            ("natter_publishers_in_doubt", 0.5),
            ("natter_rooms_held", 0.5),
            ("natter_connections_behind", 0.5),
            ("natter_clock_refusing", 0.5),
            ("natter_clock_offset_seconds", 0.5),
            ("natter_control_log_lag_seconds", 1.9),
        ] {
            until(server, name, |value| value.abs() < most).await;
        }
        for name in [
            "natter_store_up",
            "natter_redis_up",
            "natter_channel_layer_up",
            "natter_delivering",
        ] {
            until(server, name, |value| value > 0.5).await;
        }
        Self::under_another(server, alerts).await
    }

    /// Scrapes a node that lacks something, but not what these alerts are for.
    pub async fn under_another(server: &Server, alerts: &'static [&'static str]) -> Self {
        let folder = std::env::var_os("NATTER_TEST_ALERT_SAMPLES").map(PathBuf::from);
        if let Some(folder) = &folder {
            std::fs::create_dir_all(folder).expect("the folder of samples");
        }
        let mut samples = Self {
            folder,
            alerts,
            next: 0,
        };
        samples.take(server).await;
        samples
    }

    /// Scrapes a node under the cause.
    pub async fn take(&mut self, server: &Server) {
        let text = server.metrics().await.expect("metrics");
        self.put(&text);
    }

    /// Notes a scrape that failed.
    pub fn fail(&mut self) {
        self.put("");
    }

    /// Keeps what was scraped otherwise.
    pub fn put(&mut self, text: &str) {
        self.write(&self.next.to_string(), text);
        self.next += 1;
    }

    /// Scrapes a node that is well again.
    pub async fn resolved(self, server: &Server) {
        let text = server.metrics().await.expect("metrics");
        self.write("resolved", &text);
    }

    fn write(&self, name: &str, text: &str) {
        let Some(folder) = &self.folder else { return };
        for alert in self.alerts {
            std::fs::write(folder.join(format!("{alert}.{name}.prom")), text).expect("a sample");
        }
    }
}

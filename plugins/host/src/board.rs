//! What became of each plugin: as a list, as metrics, and in the log.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts};
use serde::Serialize;
use tepui_plugin_abi::Kind;
use tracing::{error, info};

use crate::{Failure, Refused};

/// Bounds of the histogram of calls, in seconds.
const BOUNDS: [f64; 12] =
    [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0];

/// How a plugin stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Standing {
    /// It is being loaded.
    Opening,
    /// It does its work.
    InUse,
    /// It decides beside the one in use, and nothing that it decides is acted on.
    Beside,
    /// It is built in, and takes over when a plugin fails.
    StandsBy,
    /// It was replaced by configuration.
    Retired,
    /// It was not taken at all.
    Refused {
        /// Why, in one line.
        reason: String,
    },
    /// It failed, and somebody else does its work until the daemon loads its configuration anew.
    Failed {
        /// How, in one line.
        reason: String,
        /// Who does its work.
        instead: String,
    },
}

impl Standing {
    /// It was to be used, and is not.
    fn is_out(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::Failed { .. })
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opening => f.write_str("opening"),
            Self::InUse => f.write_str("in use"),
            Self::Beside => f.write_str("shadow, nothing is acted on"),
            Self::StandsBy => f.write_str("stands by"),
            Self::Retired => f.write_str("retired"),
            Self::Refused { reason } => write!(f, "refused: {reason}"),
            Self::Failed { reason, instead } => write!(f, "failed, {instead} instead: {reason}"),
        }
    }
}

/// A plugin as it is listed.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The name of its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its own version.
    pub version: String,
    /// The version of the sdk that it was built with.
    pub sdk: String,
    /// Its file.
    pub path: String,
    /// The hash of its file.
    pub sha256: String,
    /// The operator named that hash.
    pub pinned: bool,
    /// How it stands.
    #[serde(flatten)]
    pub standing: Standing,
}

/// The names of a kind and of a plugin.
type Key = (String, String);

fn key(name: &str, kind: Kind) -> Key {
    (kind.name().to_owned(), name.to_owned())
}

/// What became of each plugin of a daemon.
#[derive(Debug)]
pub struct Board {
    reports: Mutex<BTreeMap<Key, Report>>,
    /// Who is at work, whatever became of the attempt to load it anew.
    at_work: Mutex<BTreeSet<Key>>,
    /// Who decides beside: no configuration of who is at work says anything of these.
    beside: Mutex<BTreeSet<Key>>,
    calls: HistogramVec,
    errors: IntCounterVec,
}

impl Board {
    /// Of a daemon that has no plugins yet.
    ///
    /// # Errors
    ///
    /// When a family cannot be made: a mistake in this file, found by its test.
    pub fn new() -> prometheus::Result<Self> {
        let calls =
            HistogramOpts::new("tepui_plugin_call_seconds", "How long calls of plugins take");
        let errors = Opts::new("tepui_plugin_errors_total", "Calls of plugins that failed");
        Ok(Self {
            reports: Mutex::default(),
            at_work: Mutex::default(),
            beside: Mutex::default(),
            calls: HistogramVec::new(calls.buckets(BOUNDS.to_vec()), &["plugin", "hook"])?,
            errors: IntCounterVec::new(errors, &["plugin"])?,
        })
    }

    /// All plugins, by kind and name.
    #[must_use]
    pub fn reports(&self) -> Vec<Report> {
        self.reports.lock().values().cloned().collect()
    }

    pub(crate) fn list(&self, report: Report) {
        // A counter that is there from the start can be watched for its increase.
        self.errors.with_label_values(&[&report.name]).inc_by(0);
        self.reports.lock().insert((report.kind.clone(), report.name.clone()), report);
    }

    /// Lists what is built in, where a plugin could be instead.
    pub(crate) fn list_built_in(&self, name: &str, kind: Kind) {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        self.list(Report {
            kind: kind.name().to_owned(),
            name: name.to_owned(),
            sdk: version.clone(),
            version,
            path: "built in".to_owned(),
            sha256: String::new(),
            pinned: true,
            standing: Standing::InUse,
        });
    }

    pub(crate) fn stand(&self, name: &str, kind: Kind, standing: Standing) {
        let key = key(name, kind);
        if standing == Standing::InUse {
            self.at_work.lock().insert(key.clone());
        } else {
            self.at_work.lock().remove(&key);
        }
        let mut reports = self.reports.lock();
        if let Some(report) = reports.get_mut(&key) {
            info!(plugin = name, %kind, version = report.version, %standing, "plugin");
            report.standing = standing;
        }
    }

    pub(crate) fn refused(&self, name: &str, kind: Kind, why: &Refused) {
        let key = key(name, kind);
        let mut reason = why.to_string();
        if self.at_work.lock().contains(&key) {
            reason.push_str("; as it was loaded before it goes on");
        }
        error!(plugin = name, %kind, reason, "plugin refused");
        self.errors.with_label_values(&[name]).inc();
        let standing = Standing::Refused { reason };
        let mut reports = self.reports.lock();
        let report = reports.entry(key).or_insert_with(|| Report {
            kind: kind.name().to_owned(),
            name: name.to_owned(),
            version: String::new(),
            sdk: String::new(),
            path: String::new(),
            sha256: String::new(),
            pinned: false,
            standing: standing.clone(),
        });
        report.standing = standing;
    }

    pub(crate) fn failed(&self, name: &str, kind: Kind, failure: &Failure, instead: &str) {
        let reason = failure.to_string();
        error!(plugin = name, %kind, reason, instead, "plugin failed and is out of use");
        let standing = Standing::Failed { reason, instead: instead.to_owned() };
        let key = key(name, kind);
        if instead != name {
            self.at_work.lock().remove(&key);
        }
        if let Some(report) = self.reports.lock().get_mut(&key) {
            report.standing = standing;
        }
    }

    /// This one is to decide beside whoever is at work.
    pub(crate) fn beside(&self, name: &str, kind: Kind) {
        self.beside.lock().insert(key(name, kind));
    }

    /// The operator has chosen `chosen`: what failed before, or was refused, is no longer asked for, and
    /// nobody need be alarmed of it any more.
    pub(crate) fn forgive(&self, chosen: &str, kind: Kind) {
        let beside = self.beside.lock();
        for (key, report) in self.reports.lock().iter_mut() {
            let is_out = report.standing.is_out();
            if is_out && key.0 == kind.name() && key.1 != chosen && !beside.contains(key) {
                report.standing = Standing::Retired;
            }
        }
    }

    pub(crate) fn called(&self, name: &str, hook: &str, took: Duration) {
        self.calls.with_label_values(&[name, hook]).observe(took.as_secs_f64());
    }

    pub(crate) fn erred(&self, name: &str) {
        self.errors.with_label_values(&[name]).inc();
    }

    /// `tepui_plugin_…`, for `/metrics`.
    ///
    /// # Errors
    ///
    /// When a family cannot be made: a mistake in this file, found by its test.
    pub fn families(&self) -> prometheus::Result<Vec<MetricFamily>> {
        let info = Opts::new("tepui_plugin_info", "A plugin that the configuration names");
        let info = IntGaugeVec::new(info, &["plugin", "kind", "version"])?;
        let healthy =
            Opts::new("tepui_plugin_healthy", "1 for a plugin in use, 0 for one that failed");
        let healthy = IntGaugeVec::new(healthy, &["plugin", "kind"])?;
        for report in self.reports() {
            let Report { name, kind, version, standing, .. } = &report;
            info.with_label_values(&[name, kind, version]).set(1);
            if *standing != Standing::Retired {
                healthy.with_label_values(&[name, kind]).set(i64::from(!standing.is_out()));
            }
        }
        let all = [self.calls.collect(), self.errors.collect(), info.collect(), healthy.collect()];
        Ok(all.into_iter().flatten().filter(|family| !family.get_metric().is_empty()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(standing: Standing) -> Report {
        Report {
            kind: "allocator".into(),
            name: "x".into(),
            version: "1".into(),
            sdk: "1".into(),
            path: "/x.so".into(),
            sha256: "00".into(),
            pinned: true,
            standing,
        }
    }

    #[test]
    fn what_failed_is_listed_with_its_reason_and_counted() {
        let board = Board::new().unwrap();
        assert!(board.families().unwrap().is_empty());
        board.list(report(Standing::Opening));
        board.stand("x", Kind::Allocator, Standing::InUse);
        board.called("x", "round", Duration::from_millis(3));
        board.erred("x");
        let failure = Failure::Late { hook: "round", budget_ms: 5 };
        board.failed("x", Kind::Allocator, &failure, "drf");
        let shown = serde_json::to_value(&board.reports()[0]).unwrap();
        assert_eq!(shown["state"], "failed");
        assert_eq!(shown["reason"], "round took longer than its 5 ms");
        assert_eq!(shown["instead"], "drf");
        let text =
            prometheus::TextEncoder::new().encode_to_string(&board.families().unwrap()).unwrap();
        for line in [
            "tepui_plugin_healthy{kind=\"allocator\",plugin=\"x\"} 0",
            "tepui_plugin_errors_total{plugin=\"x\"} 1",
            "tepui_plugin_info{kind=\"allocator\",plugin=\"x\",version=\"1\"} 1",
            "tepui_plugin_call_seconds_count{hook=\"round\",plugin=\"x\"} 1",
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
    }
}

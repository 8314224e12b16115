//! Figures of the image store.

use prometheus::proto::MetricFamily;
use prometheus::{Counter, IntCounter, Registry};

use super::exposition::{Outcome, counted, gauge};
use super::{Metrics, number};
use crate::host::ImageFigures;

/// Mesos's timer of pulls.
const PULLS: &str = "containerizer/mesos/provisioner/docker_store/image_pull_ms";

/// Adds Mesos's families: the timer of pulls, over the last hour.
pub(super) fn add(all: &mut Metrics, figures: &ImageFigures) {
    let Some(last) = figures.recent_pulls_ms.last() else { return };
    all.insert(PULLS.to_owned(), *last);
    let mut sorted = figures.recent_pulls_ms.clone();
    sorted.sort_by(f64::total_cmp);
    let at = |thousandth: usize| sorted[(sorted.len() - 1) * thousandth / 10_000];
    all.insert(format!("{PULLS}/count"), number(sorted.len() as u64));
    for (name, thousandth) in [
        ("min", 0),
        ("p50", 5_000),
        ("p90", 9_000),
        ("p95", 9_500),
        ("p99", 9_900),
        ("p999", 9_990),
        ("p9999", 9_999),
        ("max", 10_000),
    ] {
        all.insert(format!("{PULLS}/{name}"), at(thousandth));
    }
}

/// Our own families.
pub(super) fn families(figures: &ImageFigures) -> Outcome<Vec<MetricFamily>> {
    let registry = Registry::new();
    gauge(&registry, "tepui_agent_images", "Container images that are here", figures.images)?;
    let help = "Bytes of the layers of all images";
    gauge(&registry, "tepui_agent_image_store_bytes", help, figures.bytes)?;
    counted(
        &registry,
        ("tepui_agent_image_pulls_total", "Pulls of images, also of those here", "outcome"),
        [("succeeded", figures.pulls), ("failed", figures.failures)],
    )?;
    let help = "Bytes of layers that came from registries";
    let bytes = IntCounter::new("tepui_agent_image_downloaded_bytes_total", help)?;
    bytes.inc_by(figures.downloaded_bytes);
    registry.register(Box::new(bytes))?;
    let seconds =
        Counter::new("tepui_agent_image_pull_seconds_total", "Time of all pulls together")?;
    seconds.inc_by(figures.pull_seconds.max(0.0));
    registry.register(Box::new(seconds))?;
    Ok(registry.gather())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timer_of_pulls_is_published_as_mesos_publishes_timers() {
        let mut all = Metrics::new();
        add(&mut all, &ImageFigures::default());
        assert!(all.is_empty());
        let recent_pulls_ms = (1..=100).rev().map(f64::from).collect();
        add(&mut all, &ImageFigures { recent_pulls_ms, ..ImageFigures::default() });
        let of = |name: &str| all[&format!("{PULLS}{name}")];
        assert_eq!((of(""), of("/count"), of("/min"), of("/max")), (1.0, 100.0, 1.0, 100.0));
        assert_eq!((of("/p50"), of("/p99")), (50.0, 99.0));
        assert_eq!(all.len(), 10);
    }

    #[test]
    fn every_family_is_made() {
        assert_eq!(families(&ImageFigures::default()).unwrap().len(), 5);
    }
}

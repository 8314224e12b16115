//! Families whose numbers come from elsewhere, with histograms that are counted already.

use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};

use crate::usage::Durations;

/// A name and a value.
pub(super) type Label<'a> = (&'a str, &'a str);

/// Families in the order in which they were begun.
#[derive(Debug, Default)]
pub(super) struct Families(Vec<MetricFamily>);

impl Families {
    /// Adds a counter's value; `name` ends in `_total`.
    pub(super) fn count(&mut self, name: &str, help: &str, labels: &[Label<'_>], value: f64) {
        let mut counter = Counter::default();
        counter.set_value(value);
        let mut metric = Metric::from_label(pairs(labels));
        metric.set_counter(counter);
        self.family(name, help, MetricType::COUNTER).mut_metric().push(metric);
    }

    /// Adds a gauge's value.
    pub(super) fn gauge(&mut self, name: &str, help: &str, labels: &[Label<'_>], value: f64) {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        let mut metric = Metric::from_label(pairs(labels));
        metric.set_gauge(gauge);
        self.family(name, help, MetricType::GAUGE).mut_metric().push(metric);
    }

    /// Adds a histogram; `name` ends in its unit.
    pub(super) fn histogram(
        &mut self,
        name: &str,
        help: &str,
        labels: &[Label<'_>],
        durations: &Durations,
    ) {
        let mut histogram = Histogram::default();
        histogram.set_sample_count(durations.count());
        histogram.set_sample_sum(durations.sum_seconds);
        let mut seen = 0_u64;
        let bucket = |(bound, count): &(f64, u64)| {
            seen = seen.saturating_add(*count);
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound);
            bucket.set_cumulative_count(seen);
            bucket
        };
        histogram.set_bucket(durations.buckets.iter().map(bucket).collect());
        let mut metric = Metric::from_label(pairs(labels));
        metric.set_histogram(histogram);
        self.family(name, help, MetricType::HISTOGRAM).mut_metric().push(metric);
    }

    fn family(&mut self, name: &str, help: &str, kind: MetricType) -> &mut MetricFamily {
        let at = self.0.iter().position(|family| family.name() == name).unwrap_or_else(|| {
            let mut family = MetricFamily::default();
            family.set_name(name.to_owned());
            family.set_help(help.to_owned());
            family.set_field_type(kind);
            self.0.push(family);
            self.0.len() - 1
        });
        &mut self.0[at]
    }

    pub(super) fn into_vec(self) -> Vec<MetricFamily> {
        self.0
    }
}

fn pairs(labels: &[Label<'_>]) -> Vec<LabelPair> {
    let mut pairs: Vec<LabelPair> = labels
        .iter()
        .map(|(name, value)| {
            let mut pair = LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value((*value).to_owned());
            pair
        })
        .collect();
    pairs.sort();
    pairs
}

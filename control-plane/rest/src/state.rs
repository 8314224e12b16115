//! What all requests share.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::options::Options;

/// The apps, the settings, and what the REST layer counts.
#[derive(Debug)]
pub(crate) struct Shared<A> {
    pub(crate) apps: A,
    pub(crate) options: Options,
    pub(crate) traffic: Traffic,
}

/// Counts of the REST layer itself.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) active: AtomicUsize,
    pub(crate) request_bytes: AtomicU64,
    pub(crate) response_bytes: AtomicU64,
    pub(crate) stream_bytes: AtomicU64,
    /// Answers by the first digit of their status.
    pub(crate) responses: [AtomicU64; 5],
    pub(crate) streams: AtomicUsize,
}

impl Traffic {
    /// Counts one answer.
    pub(crate) fn answered(&self, status: http::StatusCode, bytes: u64) {
        let class = usize::from(status.as_u16() / 100).saturating_sub(1).min(4);
        self.responses[class].fetch_add(1, Ordering::Relaxed);
        self.response_bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Counts one thing for as long as it lives.
#[derive(Debug)]
pub(crate) struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    /// Counts up; the second value is the new count.
    pub(crate) fn new(count: &'a AtomicUsize) -> (Self, usize) {
        let now = count.fetch_add(1, Ordering::Relaxed) + 1;
        (Self(count), now)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

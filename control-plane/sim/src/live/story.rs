//! What live parts of the simulator saw, told to whoever started them.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Writes lines of JSON to standard output: what, how many, and when by the wall clock (seconds).
#[derive(Debug, Default)]
pub struct Story(Mutex<()>);

impl Story {
    /// Says that something happened just now.
    pub fn tell(&self, what: &str, count: usize) {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let _one_line_at_a_time = self.0.lock();
        println!(r#"{{"what":"{what}","count":{count},"at":{at:.6}}}"#);
    }
}

/// How many agents are registered, told when it matters.
#[derive(Debug)]
pub struct Tally {
    all: usize,
    registered: AtomicUsize,
    /// The next registration is the first one after a loss.
    lost: AtomicBool,
    story: Story,
}

impl Tally {
    /// None of so many is registered yet.
    pub fn of(all: usize) -> Self {
        Self {
            all,
            registered: AtomicUsize::new(0),
            lost: AtomicBool::new(true),
            story: Story::default(),
        }
    }

    /// All agents are there, and try to register.
    pub fn begin(&self) {
        self.story.tell("simulated agents", self.all);
    }

    /// One more is registered.
    pub fn register(&self) {
        if self.lost.swap(false, Ordering::Relaxed) {
            self.story.tell("first registered", 1);
        }
        let now = self.registered.fetch_add(1, Ordering::Relaxed) + 1;
        for (share, what) in [(50, "half registered"), (99, "99 % registered")] {
            if now == self.all * share / 100 && now < self.all {
                self.story.tell(what, now);
            }
        }
        if now == self.all {
            self.story.tell("all registered", now);
        }
    }

    /// One less is.
    pub fn lose(&self) {
        let before = self.registered.fetch_sub(1, Ordering::Relaxed);
        if before == self.all {
            self.lost.store(true, Ordering::Relaxed);
            self.story.tell("first lost", before - 1);
        }
    }
}

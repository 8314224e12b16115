//! Those who follow the allocator: each is told, on a thread of its own, everything that the
//! allocator was told and decided. The allocator never waits for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use tepui_allocator::{Input, Plan};
use tepui_replay::{Step, What};
use tepui_types::Mono;
use tracing::warn;

/// Steps that may wait for a follower. One that falls further behind has lost its place for good:
/// what it would conclude from then on means nothing.
const BACKLOG: usize = 16_384;
/// How often a follower is woken although nothing happens.
const IDLE: Duration = Duration::from_secs(1);

/// Somebody who follows.
pub trait Follow: Send + 'static {
    /// Takes a step. `false` when it wants no more.
    fn step(&mut self, step: &Step) -> bool;

    /// Nothing happened for a while.
    fn idle(&mut self) {}

    /// It fell behind, or the allocator is gone: this is the end.
    fn end(&mut self, fell_behind: bool);
}

struct Follower {
    name: &'static str,
    inbox: SyncSender<Arc<Step>>,
    fell_behind: Arc<AtomicBool>,
}

/// All that follow one allocator.
#[derive(Default)]
pub struct Followers(Vec<Follower>);

impl Followers {
    /// Adds one, on a thread of this name.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn add(&mut self, name: &'static str, follow: impl Follow) -> std::io::Result<()> {
        let (inbox, receiver) = sync_channel(BACKLOG);
        let fell_behind = Arc::<AtomicBool>::default();
        let behind = fell_behind.clone();
        thread::Builder::new().name(name.into()).spawn(move || run(follow, &receiver, &behind))?;
        self.0.push(Follower { name, inbox, fell_behind });
        Ok(())
    }

    /// True while nobody follows: nothing has to be copied then.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Tells what the allocator is told.
    pub fn told(&mut self, at: Mono, inputs: &[Input]) {
        if !self.is_empty() && !inputs.is_empty() {
            self.tell(Step { at, what: What::Told(inputs.to_vec()) });
        }
    }

    /// Tells what the allocator decided.
    pub fn planned(&mut self, at: Mono, plan: &Plan) {
        if !self.is_empty() {
            self.tell(Step { at, what: What::Planned(plan.clone()) });
        }
    }

    fn tell(&mut self, step: Step) {
        let step = Arc::new(step);
        self.0.retain(|follower| match follower.inbox.try_send(step.clone()) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => {
                warn!(follower = follower.name, "fell behind the allocator, follows no more");
                follower.fell_behind.store(true, Ordering::Release);
                false
            }
            Err(TrySendError::Disconnected(_)) => false,
        });
    }
}

fn run(mut follow: impl Follow, inbox: &Receiver<Arc<Step>>, fell_behind: &AtomicBool) {
    loop {
        if fell_behind.load(Ordering::Acquire) {
            return follow.end(true);
        }
        match inbox.recv_timeout(IDLE) {
            Ok(step) => {
                if !follow.step(&step) {
                    return;
                }
            }
            Err(RecvTimeoutError::Timeout) => follow.idle(),
            Err(RecvTimeoutError::Disconnected) => {
                return follow.end(fell_behind.load(Ordering::Acquire));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    struct Slow {
        release: Receiver<()>,
        ended: Sender<bool>,
    }

    impl Follow for Slow {
        fn step(&mut self, _: &Step) -> bool {
            self.release.recv().is_ok()
        }

        fn end(&mut self, fell_behind: bool) {
            self.ended.send(fell_behind).unwrap();
        }
    }

    #[test]
    fn who_falls_behind_is_left_behind_and_told_so() {
        let (go, release) = channel();
        let (ended, end) = channel();
        let mut followers = Followers::default();
        followers.add("slow", Slow { release, ended }).unwrap();
        for _ in 0..BACKLOG + 3 {
            followers.planned(Mono::default(), &Plan::default());
        }
        assert!(followers.is_empty(), "the allocator does not wait");
        // It is at its first step, or comes so late that it takes none.
        let _ = go.send(());
        assert!(end.recv().unwrap(), "it fell behind");
    }

    #[test]
    fn who_keeps_up_hears_everything_and_the_end() {
        struct Counts(Sender<usize>, usize);
        impl Follow for Counts {
            fn step(&mut self, _: &Step) -> bool {
                self.1 += 1;
                true
            }
            fn end(&mut self, fell_behind: bool) {
                assert!(!fell_behind);
                self.0.send(self.1).unwrap();
            }
        }
        let (count, counted) = channel();
        let mut followers = Followers::default();
        followers.add("counts", Counts(count, 0)).unwrap();
        let input = Input::AgentRemoved(tepui_types::AgentId::parse("a1").unwrap());
        followers.told(Mono::default(), &[input]);
        followers.told(Mono::default(), &[]);
        followers.planned(Mono::default(), &Plan::default());
        drop(followers);
        assert_eq!(counted.recv().unwrap(), 2, "nothing told is nothing to hear");
    }
}

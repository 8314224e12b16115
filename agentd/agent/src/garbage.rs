//! Sandboxes of runs that are over: kept for a week, or less when the disk is short
//! (`spec/mesos-http.md` 7).

use tepui_types::Span;

use crate::machine::{Agent, Turn};
use crate::timers::Timer;
use crate::{Effect, Record};

impl Agent {
    /// How old a sandbox may become at the present use of the disk.
    pub fn max_sandbox_age(&self) -> Span {
        let taken =
            u64::from(self.config.gc_headroom_thousandths) + u64::from(self.disk_thousandths);
        let share = u128::from(1000_u64.saturating_sub(taken));
        let nanos = u128::from(self.config.gc_delay.as_nanos()) * share / 1000;
        Span::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    pub(crate) fn disk_usage(&mut self, thousandths: u16, turn: &mut Turn<'_>) {
        self.disk_thousandths = thousandths;
        self.remove_older_than(self.max_sandbox_age(), turn);
        self.await_garbage(turn);
    }

    pub(crate) fn collect_garbage(&mut self, turn: &mut Turn<'_>) {
        self.garbage = None;
        self.remove_older_than(self.config.gc_delay, turn);
        self.await_garbage(turn);
    }

    fn remove_older_than(&mut self, age: Span, turn: &mut Turn<'_>) {
        while let Some((at, run)) = self.book.garbage.first().cloned() {
            if turn.now.wall.since(at) < age {
                return;
            }
            let Some(entry) = self.book.runs.get(&run) else {
                self.book.garbage.remove(&(at, run));
                continue;
            };
            let sandbox = entry.sandbox.clone();
            self.counters.path_removals += 1;
            self.commit(Record::SandboxRemoved { run }, turn);
            turn.push(Effect::RemoveSandbox { sandbox });
        }
    }

    /// Sets the timer for the oldest sandbox, unless one is set.
    pub(crate) fn await_garbage(&mut self, turn: &mut Turn<'_>) {
        if self.garbage.is_some() {
            return;
        }
        let Some((at, _)) = self.book.garbage.first() else { return };
        let rest = self.config.gc_delay.saturating_sub(turn.now.wall.since(*at));
        self.garbage = Some(self.timers.set(turn.now.mono + rest, Timer::Garbage));
    }
}

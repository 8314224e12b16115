//! The faults that strike now and then, by themselves.

use tepui_types::Span;

use crate::faults::Fault;
use crate::queue::Action;
use crate::world::{Phase, World};

impl World {
    /// One fault, and the time of the next.
    pub(crate) fn fault_step(&mut self) {
        if self.phase != Phase::Faults {
            return;
        }
        let pause = self.millis(150, 2500);
        self.after(pause, Action::FaultStep);
        let host = usize::try_from(self.random.below(self.hosts.len() as u64)).unwrap_or(0);
        let schedulers = self.schedulers.len() as u64;
        match self.random.below(24) {
            0..=2 => self.control.doomed = self.control.leader.is_some(),
            3..=6 => self.hosts[host].doomed = self.hosts[host].agent.is_some(),
            7 => {
                self.faults.count(Fault::HostReset);
                self.host_resets(host);
            }
            8 | 9 => self.break_a_link(host),
            10..=12 => self.cut(host),
            13 | 14 => self.process_dies(host),
            15 | 16 if schedulers > 0 => self.break_a_stream(),
            17 if schedulers > 0 => {
                let scheduler = usize::try_from(self.random.below(schedulers)).unwrap_or(0);
                self.faults.count(Fault::FrameworkFailover);
                self.after(Span::ZERO, Action::SchedulerStarts { scheduler });
            }
            18 => self.wall_clock_jumps(),
            19 | 20 => self.compact(host),
            21 | 22 => self.break_executor_stream(host),
            _ => {}
        }
    }

    fn break_a_link(&mut self, host: usize) {
        let Some(link) = self.hosts[host].link else { return };
        self.faults.count(Fault::LinkBroke);
        self.break_wire(link);
    }

    /// The host is cut off for a while, in one direction or both.
    fn cut(&mut self, host: usize) {
        let kinds = [Fault::Partition, Fault::DeafControl, Fault::DeafAgent];
        let kind = kinds[usize::try_from(self.random.below(3)).unwrap_or(0)];
        self.faults.count(kind);
        let this = &mut self.hosts[host];
        this.cut_up = kind != Fault::DeafAgent;
        this.cut_down = kind != Fault::DeafControl;
        this.cut += 1;
        let (cut, name) = (this.cut, this.name.clone());
        self.tell(|| format!("{name}: {kind:?}"));
        // Some cuts outlast the control plane's patience.
        let pause = self.millis(100, 14_000);
        self.after(pause, Action::CutEnds { host, cut });
    }

    pub(crate) fn cut_ends(&mut self, host: usize, cut: u64) {
        if self.hosts[host].cut == cut {
            self.heal(host);
        }
    }

    pub(crate) fn heal(&mut self, host: usize) {
        self.hosts[host].cut_up = false;
        self.hosts[host].cut_down = false;
        self.release_held(host);
    }

    fn process_dies(&mut self, host: usize) {
        let pids: Vec<u32> = self.hosts[host].live().map(|process| process.pid).collect();
        if pids.is_empty() {
            return;
        }
        let pid = pids[usize::try_from(self.random.below(pids.len() as u64)).unwrap_or(0)];
        self.faults.count(Fault::ProcessDied);
        self.process_ends(host, pid, tepui_agent::Exit::Signal(11));
    }

    fn break_a_stream(&mut self) {
        let streams: Vec<_> = self.control.streams.iter().map(|(id, to)| (*id, *to)).collect();
        if streams.is_empty() {
            return;
        }
        let at = usize::try_from(self.random.below(streams.len() as u64)).unwrap_or(0);
        let (stream, (scheduler, last)) = streams[at];
        self.faults.count(Fault::StreamBroke);
        // Either end may notice first, or the other much later.
        let (here, there) = (self.millis(1, 2000), self.millis(1, 2000));
        // A framework cannot lose what has not reached it yet.
        let here = last.max(self.now.mono + here);
        self.queue.put(here, Action::StreamGone { scheduler, stream });
        self.after(there, Action::StreamGoneAtControl { stream });
    }

    fn wall_clock_jumps(&mut self) {
        self.faults.count(Fault::WallClockJumped);
        let year = 365 * 24 * 3600 * 1000;
        let jump = [5_000, 3_600_000, year][usize::try_from(self.random.below(3)).unwrap_or(0)];
        self.wall_jumps(jump);
    }

    fn wall_jumps(&mut self, millis: u64) {
        let wall = self.now.wall.as_millis();
        let back = self.random.chance(1, 2);
        let wall = if back { wall.saturating_sub(millis) } else { wall + millis };
        self.now.wall = tepui_types::Wall::from_millis(wall);
    }

    fn compact(&mut self, host: usize) {
        let this = &mut self.hosts[host];
        let Some(agent) = &this.agent else { return };
        this.journal = agent.snapshot();
        self.faults.count(Fault::JournalCompacted);
    }

    /// The faults are over: the network is whole, and what is down comes up by itself.
    pub(crate) fn calm(&mut self) {
        self.phase = Phase::Calm;
        self.control.doomed = false;
        for host in 0..self.hosts.len() {
            self.hosts[host].doomed = false;
            self.heal(host);
        }
    }
}

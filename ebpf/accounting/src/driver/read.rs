//! A task's figures from the kernel's maps.

use std::collections::{BTreeMap, BTreeSet};

use libbpf_rs::{MapCore, MapFlags};

use super::Driver;
use crate::AccountingError;
use crate::catalogue::ObjectName;
use crate::cost::Cost;
use crate::decode::{
    decode_block, decode_cpu, decode_drops, decode_endings, decode_net, decode_tcp,
    with_counts_at_hand,
};
use crate::group::GroupId;
use crate::program::ProgramState;
use crate::sample::{Figure, Sample, Source, Switches};

const CPU_USE: &str = "cpu_use";
const RUNNING: &str = "running";
/// How often a task's records are read until no processor has put counts away meanwhile. Each does
/// that once in hundreds of runs, so mostly the first time is the last.
const TRIES: usize = 16;

impl Driver {
    /// What the programs counted for a task; figures of programs that do not run are absent, and
    /// so is everything for a task that is not registered. See [`crate::files::read`] for the rest.
    ///
    /// # Errors
    ///
    /// [`AccountingError`] when the kernel refuses or a record has another size.
    pub fn read(&self, group: GroupId) -> Result<Sample, AccountingError> {
        let mut sample = Sample::default();
        self.read_cpu(group, &mut sample)?;
        if self.runs("tepui_exit")
            && let Some(endings) = self.one(ObjectName::Sched, "endings", group, decode_endings)?
        {
            sample.oom_kills =
                self.runs("tepui_victim").then(|| Figure::of(Source::Bpf)(endings.oom_kills));
            sample.endings = Some(Figure::of(Source::Bpf)(endings));
        }
        if self.runs("tepui_received") && self.runs("tepui_sent") {
            let net = self.sum(ObjectName::Net, "net_use", group, decode_net)?;
            sample.network = net.map(Figure::of(Source::Bpf));
        }
        if self.runs("tepui_full") && self.runs("tepui_dropped") {
            let drops = self.sum(ObjectName::Net, "net_use", group, decode_drops)?;
            sample.drops = drops.map(Figure::of(Source::Bpf));
        }
        if self.runs("tepui_state") {
            let tcp = self.one(ObjectName::Net, "tcp_use", group, decode_tcp)?;
            sample.tcp = tcp.map(Figure::of(Source::Bpf));
        }
        if self.runs("tepui_block_start") && self.runs("tepui_block_end") {
            let block = self.one(ObjectName::Block, "block_use", group, decode_block)?;
            sample.block = block.map(Figure::of(Source::Bpf));
        }
        if self.runs("tepui_bind4") {
            sample.denials = self.denials(group)?.map(Figure::of(Source::Bpf));
        }
        Ok(sample)
    }

    fn read_cpu(&self, group: GroupId, sample: &mut Sample) -> Result<(), AccountingError> {
        if !self.has(ObjectName::Sched) {
            return Ok(());
        }
        let Some(records) = self.cpu_records(group)? else { return Ok(()) };
        let size = records.first().map_or(0, Vec::len);
        let strange = AccountingError::Record { map: CPU_USE, size };
        let cpu = decode_cpu(&records).ok_or(strange)?;
        if self.runs("tepui_runtime") {
            sample.cpu = Some(Figure::of(Source::Bpf)(cpu.run));
        }
        if self.runs("tepui_fault") {
            sample.page_faults = Some(Figure::of(Source::Bpf)(cpu.faults));
        }
        if self.runs("tepui_switch") {
            let by = cpu.preempted;
            let involuntary =
                by.by_itself.saturating_add(by.by_other_task).saturating_add(by.by_system);
            let switches = Switches { voluntary: cpu.voluntary_switches, involuntary };
            sample.switches = Some(Figure::of(Source::Bpf)(switches));
            sample.preempted = Some(Figure::of(Source::Bpf)(by));
            sample.wait = Some(Figure::of(Source::Bpf)(cpu.wait));
            sample.waits = Some(Figure::of(Source::Bpf)(cpu.waits));
        }
        Ok(())
    }

    /// A task's records, one for each processor, with what processors have at hand for it.
    fn cpu_records(&self, group: GroupId) -> Result<Option<Vec<Vec<u8>>>, AccountingError> {
        let refused = |map| move |source| AccountingError::Map { verb: "read", map, group, source };
        let (running, cpu_use) =
            (self.map(ObjectName::Sched, RUNNING)?, self.map(ObjectName::Sched, CPU_USE)?);
        let hands = || {
            let found = running.lookup_percpu(&0_u32.to_ne_bytes(), MapFlags::ANY);
            found.map(Option::unwrap_or_default).map_err(refused(RUNNING))
        };
        let mut settled = BTreeMap::new();
        let mut before = hands()?;
        for _ in 0..TRIES {
            let found = cpu_use.lookup_percpu(&group.key(), MapFlags::ANY);
            let Some(records) = found.map_err(refused(CPU_USE))? else { return Ok(None) };
            let after = hands()?;
            for (at, record) in records.iter().enumerate() {
                let (Some(before), Some(after)) = (before.get(at), after.get(at)) else { continue };
                if let Some(whole) = with_counts_at_hand(record, before, after, group.raw()) {
                    settled.entry(at).or_insert(whole);
                }
            }
            if settled.len() == records.len() {
                return Ok(Some(settled.into_values().collect()));
            }
            before = after;
        }
        Err(AccountingError::Restless { group })
    }

    /// What each attached program cost while [`crate::CostStatistics`] were on.
    ///
    /// # Errors
    ///
    /// [`AccountingError::Cost`] when the kernel does not say.
    pub fn costs(&self) -> Result<Vec<Cost>, AccountingError> {
        // A program at several root groups is one program.
        let mut seen = BTreeSet::new();
        let links = self.links.iter().filter(|((program, _), _)| seen.insert(*program));
        let cost = |((program, _), link): (&(&'static str, _), &libbpf_rs::Link)| {
            let state =
                ProgramState::at(link).map_err(|source| AccountingError::Cost { source })?;
            let run_time = std::time::Duration::from_nanos(state.run_time_ns);
            Ok(Cost { program, run_time, runs: state.runs })
        };
        links.map(cost).collect()
    }

    /// Whether a program is attached, by this agent.
    pub(super) fn runs(&self, program: &str) -> bool {
        self.links.keys().any(|(name, _)| *name == program)
    }

    pub(super) fn one<T>(
        &self,
        object: ObjectName,
        map: &'static str,
        group: GroupId,
        decode: fn(&[u8]) -> Option<T>,
    ) -> Result<Option<T>, AccountingError> {
        let refused = |source| AccountingError::Map { verb: "read", map, group, source };
        let found = self.map(object, map)?.lookup(&group.key(), MapFlags::ANY).map_err(refused)?;
        let known = |record: Vec<u8>| {
            decode(&record).ok_or(AccountingError::Record { map, size: record.len() })
        };
        found.map(known).transpose()
    }

    fn sum<T>(
        &self,
        object: ObjectName,
        map: &'static str,
        group: GroupId,
        decode: fn(&[Vec<u8>]) -> Option<T>,
    ) -> Result<Option<T>, AccountingError> {
        let refused = |source| AccountingError::Map { verb: "read", map, group, source };
        let found =
            self.map(object, map)?.lookup_percpu(&group.key(), MapFlags::ANY).map_err(refused)?;
        let known = |records: Vec<Vec<u8>>| {
            let size = records.first().map_or(0, Vec::len);
            decode(&records).ok_or(AccountingError::Record { map, size })
        };
        found.map(known).transpose()
    }
}

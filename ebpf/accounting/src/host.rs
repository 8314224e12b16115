//! The host's own network where no program counts it: nftables counts bytes and packets by the
//! control group of their socket, and the kernel tells of sockets that exist (sock_diag(7)).
//!
//! Only groups that were registered are counted, each by counters of its own, which are asked for one
//! by one: lists of the kernel may lack or repeat what moves while they are made. What is told by
//! sockets (retransmits, round trips, drops) lacks what happened to one between the last look at it
//! and its end. Rules and counters stay without their agent, as programs do.

mod elements;
mod former;
mod packets;
mod rules;
mod sockets;

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::net::netlink::{NETFILTER, SOCK_DIAG};
use tepui_cgroup::Leaf;
use tepui_netlink::{ask, change};

use crate::files::{self, Former};
use crate::group::GroupId;
use crate::sample::Sample;
pub(crate) use former::HostFormer;
use packets::Packets;
use rules::Set;
use sockets::Socket;

/// What was seen of sockets serves so long, and so many times as long as looking took: the runs of a
/// host are asked about one after the other.
const FRESH: Duration = Duration::from_millis(20);
const FRESH_TIMES: u32 = 10;
/// Groups below a run's own that sockets are looked for in.
const MOST_GROUPS: usize = 1024;

/// The sockets that there were at one moment.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Rises from look to look.
    number: u64,
    sockets: HashMap<GroupId, Vec<Socket>>,
}

/// The figures of tasks on the host's network, by rules of nftables and by sockets.
#[derive(Debug)]
pub struct HostNetwork {
    table: String,
    levels: RangeInclusive<u32>,
    registered: Mutex<BTreeSet<GroupId>>,
    /// Rises when counters are given up, and when they begin anew: odd in between.
    era: AtomicU64,
    /// What was seen last, and how long it serves.
    last: Mutex<Option<(Instant, Arc<Seen>)>>,
}

impl HostNetwork {
    /// Figures by the rules in a table of this name (family `inet`), which nobody else uses. `levels`
    /// are the depths in the hierarchy at which groups may be.
    #[must_use]
    pub fn new(table: &str, levels: RangeInclusive<u32>) -> Self {
        let (registered, era, last) = (Mutex::default(), AtomicU64::default(), Mutex::default());
        Self { table: table.to_owned(), levels, registered, era, last }
    }

    /// What `nft -f` has to do so that the kernel counts. Done again, it keeps what was counted.
    #[must_use]
    pub fn rules(&self) -> String {
        rules::make(&self.table, &self.levels)
    }

    /// What `nft -f` has to do so that nothing of it stays; nothing needs to be there.
    #[must_use]
    pub fn no_rules(&self) -> String {
        rules::unmake(&self.table)
    }

    /// Counts a group from now on; one that was registered before keeps its counts.
    ///
    /// # Errors
    /// `NotFound` when the rules are gone; what else the kernel says.
    pub fn register(&self, group: GroupId) -> io::Result<()> {
        // Where the rules are gone it counts when they are back.
        self.registered().insert(group);
        change(elements::NFTABLES, elements::make(&self.table, group))
    }

    /// A group is over.
    ///
    /// # Errors
    /// What the kernel says; a group that is not counted is no error.
    pub fn forget(&self, group: GroupId) -> io::Result<()> {
        self.registered().remove(&group);
        match change(elements::NFTABLES, elements::remove(&self.table, group)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Forgets every group that is not registered: those of an earlier process that are over.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn forget_others(&self) -> io::Result<()> {
        let question = elements::all(&self.table, Set::Sent);
        let counted = ask(NETFILTER, question, |all: &mut BTreeSet<GroupId>, body| {
            all.extend(elements::read(body).map(|(group, _)| group));
        })?;
        let registered = self.registered().clone();
        counted.difference(&registered).try_for_each(|group| self.forget(*group))
    }

    /// From now on nothing is told, until [`Self::begin_anew`]: the rules are made anew.
    pub fn give_up(&self) {
        let _ = self.era.fetch_update(Ordering::AcqRel, Ordering::Acquire, |era| {
            era.is_multiple_of(2).then(|| era.wrapping_add(1))
        });
    }

    /// The rules were removed and made again: everything registered is counted anew.
    ///
    /// # Errors
    /// What the kernel says; nothing is told then.
    pub fn begin_anew(&self) -> io::Result<()> {
        let registered = self.registered();
        let make = |group: &GroupId| elements::make(&self.table, *group);
        registered.iter().try_for_each(|group| change(elements::NFTABLES, make(group)))?;
        let _ = self.era.fetch_update(Ordering::AcqRel, Ordering::Acquire, |era| {
            (!era.is_multiple_of(2)).then(|| era.wrapping_add(1))
        });
        Ok(())
    }

    /// Network, connections and drops of a registered group whose processes share this process's
    /// network; nothing for others. `former` is what was told before of the same task.
    ///
    /// # Errors
    /// `NotFound` when the rules are gone; what else the kernel says.
    pub fn read(&self, leaf: &Leaf, former: &mut Former) -> io::Result<Sample> {
        let mut sample = Sample::default();
        let Ok(group) = GroupId::of(leaf.path()) else { return Ok(sample) };
        if files::is_on_this_network(leaf) != Some(true) || !self.registered().contains(&group) {
            return Ok(sample);
        }
        let era = self.era.load(Ordering::Acquire);
        let packets = self.packets(group)?;
        if !era.is_multiple_of(2) || era != self.era.load(Ordering::Acquire) {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the rules are made anew"));
        }
        let seen = self.look()?;
        let groups = groups(group, leaf.path());
        let sockets = groups.iter().filter_map(|group| seen.sockets.get(group)).flatten();
        former.host.settle((era, packets), (seen.number, sockets)).put(&mut sample);
        Ok(sample)
    }

    fn registered(&self) -> MutexGuard<'_, BTreeSet<GroupId>> {
        self.registered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn packets(&self, group: GroupId) -> io::Result<Packets> {
        let mut packets = Packets::default();
        for set in Set::ALL {
            for protocol in elements::protocols(set) {
                let question = elements::one(&self.table, set, group, *protocol);
                packets = ask(NETFILTER, question, |all: &mut Option<Packets>, body| {
                    let all = all.get_or_insert(packets);
                    for (_, flow) in elements::read(body) {
                        all.add(set, *protocol, flow);
                    }
                })?
                .unwrap_or(packets);
            }
        }
        Ok(packets)
    }

    /// The sockets that there are now, or were a moment ago.
    fn look(&self) -> io::Result<Arc<Seen>> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let began = Instant::now();
        if let Some((_, seen)) = last.as_ref().filter(|(until, _)| began < *until) {
            return Ok(seen.clone());
        }
        let number = last.as_ref().map_or(1, |(_, seen)| seen.number.saturating_add(1));
        let seen = Arc::new(Seen { number, sockets: all_sockets()? });
        let serves = began.elapsed().saturating_mul(FRESH_TIMES).max(FRESH);
        *last = Some((Instant::now() + serves, seen.clone()));
        Ok(seen)
    }
}

fn all_sockets() -> io::Result<HashMap<GroupId, Vec<Socket>>> {
    let mut all: HashMap<GroupId, Vec<Socket>> = HashMap::new();
    for (protocol, request) in sockets::requests() {
        let some = ask(SOCK_DIAG, request, |some: &mut Vec<_>, body| {
            some.extend(sockets::read(protocol, body));
        })?;
        for (group, socket) in some {
            all.entry(group).or_default().push(socket);
        }
    }
    Ok(all)
}

/// A group and those below it.
fn groups(own: GroupId, folder: &Path) -> Vec<GroupId> {
    let (mut all, mut waiting) = (vec![own], vec![folder.to_owned()]);
    while let Some(folder) = waiting.pop() {
        // What is removed meanwhile holds nothing.
        let Ok(entries) = fs::read_dir(folder) else { continue };
        for entry in entries.flatten() {
            if all.len() < MOST_GROUPS && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                all.extend(GroupId::of(&entry.path()));
                waiting.push(entry.path());
            }
        }
    }
    all
}

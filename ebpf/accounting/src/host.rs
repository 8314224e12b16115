//! The host's own network where no program counts it: nftables counts bytes and packets by the
//! control group of their socket, and the kernel tells of sockets that exist (sock_diag(7)).
//!
//! Bytes are exact from the moment the rules are there. What is told by sockets (retransmits, round
//! trips, drops) lacks what happened to one between the last look at it and its end. The rules stay
//! without their agent, as programs do.

mod elements;
mod former;
mod packets;
mod rules;
mod sockets;

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::net::netlink::{NETFILTER, SOCK_DIAG};
use tepui_cgroup::Leaf;
use tepui_netlink::ask;

use crate::files::{self, Former};
use crate::group::GroupId;
use crate::sample::Sample;
pub(crate) use former::HostFormer;
use packets::Packets;
use rules::Set;
use sockets::Socket;

/// What was seen serves so long, and so many times as long as looking took: the runs of a host are
/// asked about one after the other.
const FRESH: Duration = Duration::from_millis(20);
const FRESH_TIMES: u32 = 10;
/// Groups below a run's own that sockets are looked for in.
const MOST_GROUPS: usize = 1024;

/// What the kernel told.
#[derive(Debug, Default)]
struct Seen {
    packets: HashMap<GroupId, Packets>,
    sockets: HashMap<GroupId, Vec<Socket>>,
}

/// The figures of tasks on the host's network, by rules of nftables and by sockets.
#[derive(Debug)]
pub struct HostNetwork {
    table: String,
    /// What was seen last, and how long it serves.
    last: Mutex<Option<(Instant, Arc<Seen>)>>,
}

impl HostNetwork {
    /// Figures by the rules in a table of this name (family `inet`), which nobody else uses.
    #[must_use]
    pub fn new(table: &str) -> Self {
        Self { table: table.to_owned(), last: Mutex::default() }
    }

    /// What `nft -f` has to do so that the kernel counts. Done again, it keeps what was counted.
    #[must_use]
    pub fn rules(&self) -> String {
        rules::make(&self.table)
    }

    /// What `nft -f` has to do so that nothing of it stays; nothing needs to be there.
    #[must_use]
    pub fn no_rules(&self) -> String {
        rules::unmake(&self.table)
    }

    /// Network, connections and drops of a group whose processes share this process's network; nothing
    /// for others. `former` is what was told before of the same task.
    ///
    /// # Errors
    /// `NotFound` when the rules are gone; what else the kernel says.
    pub fn read(&self, leaf: &Leaf, former: &mut Former) -> io::Result<Sample> {
        let mut sample = Sample::default();
        if files::is_on_own_network(leaf) != Some(true) {
            return Ok(sample);
        }
        let Ok(group) = GroupId::of(leaf.path()) else { return Ok(sample) };
        let seen = self.look()?;
        let packets = seen.packets.get(&group).copied().unwrap_or_default();
        let groups = groups(group, leaf.path());
        let sockets = groups.iter().filter_map(|group| seen.sockets.get(group)).flatten();
        former.host.settle(packets, sockets).put(&mut sample);
        Ok(sample)
    }

    /// What there is to see now, or was a moment ago.
    fn look(&self) -> io::Result<Arc<Seen>> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let began = Instant::now();
        if let Some((_, seen)) = last.as_ref().filter(|(until, _)| began < *until) {
            return Ok(seen.clone());
        }
        let seen = Arc::new(Seen { packets: self.packets()?, sockets: all_sockets()? });
        let serves = began.elapsed().saturating_mul(FRESH_TIMES).max(FRESH);
        *last = Some((Instant::now() + serves, seen.clone()));
        Ok(seen)
    }

    fn packets(&self) -> io::Result<HashMap<GroupId, Packets>> {
        let mut packets: HashMap<GroupId, Packets> = HashMap::new();
        for set in Set::ALL {
            let request = elements::request(&self.table, set.name());
            let counted = ask(NETFILTER, request, |all: &mut Vec<_>, body| {
                all.extend(elements::read(body));
            })?;
            for (group, protocol, flow) in counted {
                packets.entry(group).or_default().add(set, protocol, flow);
            }
        }
        Ok(packets)
    }
}

fn all_sockets() -> io::Result<HashMap<GroupId, Vec<Socket>>> {
    let mut all: HashMap<GroupId, Vec<Socket>> = HashMap::new();
    for request in sockets::requests() {
        let some = ask(SOCK_DIAG, request, |some: &mut Vec<_>, body| {
            some.extend(sockets::read(body));
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

//! Which group is whose, what it may use, and what it was refused.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tepui_accounting::files::Former;
use tepui_accounting::{Denial, Denials, Exit, GroupId, Mode, Operation, Transport};
use tepui_agent::PortDenial;
use tepui_cgroup::Leaf;
use tepui_types::{ContainerId, Ranges};

use super::deaths::{Death, Deaths};

/// Name of the note in a run's folder.
pub(super) const NOTE: &str = "ports";

/// Different ports of one run that are told apart.
const MOST_DENIED: usize = 32;

/// The ports of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ports {
    /// All: its ports are not the host's.
    Every,
    /// These ranges of the host's.
    These(Vec<(u16, u16)>),
}

impl Ports {
    /// As offers have them; what is no port of IP is left out.
    pub(super) fn of(ranges: &Ranges) -> Self {
        let port = |number: u64| u16::try_from(number).unwrap_or(u16::MAX);
        let ranges = ranges.iter().filter(|range| range.begin() <= u64::from(u16::MAX));
        Self::These(ranges.map(|range| (port(range.begin()), port(range.end()))).collect())
    }
}

/// What is written beside a run's records: the group's id, and its ports.
pub(super) fn note(group: GroupId, ports: &Ports) -> String {
    let ports = match ports {
        Ports::Every => "every".to_owned(),
        Ports::These(ranges) => {
            let ranges: Vec<_> =
                ranges.iter().map(|(first, last)| format!("{first}-{last}")).collect();
            ranges.join(",")
        }
    };
    format!("{group} {ports}\n")
}

/// Reads what [`note`] wrote; `None` for anything else.
pub(super) fn read_note(text: &str) -> Option<(GroupId, Ports)> {
    let (group, ports) = text.strip_suffix('\n')?.split_once(' ')?;
    let group = GroupId::from_raw(group.parse().ok()?);
    let ports = match ports {
        "every" => Ports::Every,
        "" => Ports::These(Vec::new()),
        ranges => {
            let range = |text: &str| {
                let (first, last) = text.split_once('-')?;
                Some((first.parse().ok()?, last.parse().ok()?))
            };
            Ports::These(ranges.split(',').map(range).collect::<Option<_>>()?)
        }
    };
    Some((group, ports))
}

#[derive(Debug)]
struct Entry {
    ports: Ports,
    place: Option<(GroupId, Leaf)>,
    main: Option<u32>,
    denied: Vec<Denied>,
    deaths: VecDeque<Death>,
    former: Arc<Mutex<Former>>,
}

impl Entry {
    fn new(ports: Ports) -> Self {
        let (denied, deaths) = (Vec::new(), VecDeque::new());
        Self { ports, place: None, main: None, denied, deaths, former: Arc::default() }
    }
}

#[derive(Clone, Debug)]
struct Denied {
    operation: Operation,
    transport: Transport,
    port: u16,
    address: Option<IpAddr>,
    count: u64,
}

/// Everything known of live runs.
#[derive(Debug, Default)]
pub(super) struct Book {
    runs: HashMap<ContainerId, Entry>,
    owners: HashMap<GroupId, ContainerId>,
}

impl Book {
    /// A run has, or will have, these ports. One whose ports are its own affair keeps them.
    pub(super) fn expect(&mut self, run: &ContainerId, ports: Ports) {
        match self.runs.get_mut(run) {
            Some(entry) if entry.ports == Ports::Every => {}
            Some(entry) => entry.ports = ports,
            None => {
                self.runs.insert(run.clone(), Entry::new(ports));
            }
        }
    }

    /// A run is in this group; the group that it was to be in before.
    pub(super) fn place(&mut self, run: &ContainerId, id: GroupId, leaf: Leaf) -> Option<GroupId> {
        let fresh = || Entry::new(Ports::These(Vec::new()));
        let entry = self.runs.entry(run.clone()).or_insert_with(fresh);
        let former = entry.place.replace((id, leaf)).map(|(former, _)| former);
        let former = former.filter(|former| *former != id);
        if let Some(former) = former {
            self.owners.remove(&former);
        }
        self.owners.insert(id, run.clone());
        former
    }

    /// The first process of a run's command.
    pub(super) fn begin(&mut self, run: &ContainerId, main: u32) {
        if let Some(entry) = self.runs.get_mut(run) {
            entry.main = Some(main);
        }
    }

    /// A run's group and ports.
    pub(super) fn group_of(&self, run: &ContainerId) -> Option<(GroupId, Ports)> {
        let entry = self.runs.get(run)?;
        entry.place.as_ref().map(|(group, _)| (*group, entry.ports.clone()))
    }

    /// A run's group and its folder.
    pub(super) fn place_of(&self, run: &ContainerId) -> Option<(GroupId, Leaf)> {
        self.runs.get(run)?.place.clone()
    }

    /// What files have told of a run's processes before.
    pub(super) fn former_of(&self, run: &ContainerId) -> Option<Arc<Mutex<Former>>> {
        self.runs.get(run).map(|entry| entry.former.clone())
    }

    /// Whether no run is known.
    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Groups of runs.
    pub(super) fn groups(&self) -> impl Iterator<Item = GroupId> + '_ {
        self.owners.keys().copied()
    }

    /// Forgets a run; its group.
    pub(super) fn remove(&mut self, run: &ContainerId) -> Option<GroupId> {
        let (group, _) = self.runs.remove(run)?.place?;
        self.owners.remove(&group);
        Some(group)
    }

    /// Writes a denial down. The run, when there is something new to be told of it, and whether it
    /// is to be ended.
    pub(super) fn deny(&mut self, denial: &Denial) -> Option<(ContainerId, bool)> {
        let run = self.owners.get(&denial.group)?;
        let denied = &mut self.runs.get_mut(run)?.denied;
        // Or whoever can send it a packet could have it ended.
        let fatal = denial.mode == Mode::Kill && denial.operation.is_its_own();
        let same = |one: &&mut Denied| {
            (one.operation, one.transport, one.port, one.address)
                == (denial.operation, denial.transport, denial.port, denial.address)
        };
        if let Some(known) = denied.iter_mut().find(same) {
            known.count += 1;
            return fatal.then(|| (run.clone(), fatal));
        }
        if denied.len() < MOST_DENIED {
            denied.push(Denied {
                operation: denial.operation,
                transport: denial.transport,
                port: denial.port,
                address: denial.address,
                count: 1,
            });
        }
        Some((run.clone(), fatal))
    }

    /// Reports are rationed, counts are not: what was counted and not reported goes to the port of
    /// its operation that was asked for most. With one port, which is the rule, that is exact.
    pub(super) fn complete(&mut self, run: &ContainerId, counted: &Denials) {
        let Some(entry) = self.runs.get_mut(run) else { return };
        if let Some(last) = counted.last.as_ref().filter(|_| entry.denied.is_empty())
            && counted.total() > 0
        {
            let Denial { operation, transport, port, address, .. } = *last;
            entry.denied.push(Denied { operation, transport, port, address, count: 0 });
        }
        for operation in Operation::ALL {
            let reported: u64 = entry
                .denied
                .iter()
                .filter(|one| one.operation == operation)
                .map(|one| one.count)
                .sum();
            let of_it = entry.denied.iter_mut().filter(|one| one.operation == operation);
            if let Some(most) = of_it.max_by_key(|one| one.count) {
                most.count += counted.of(operation).saturating_sub(reported);
            }
        }
    }

    /// Writes the end of a process down, if a signal was its end.
    pub(super) fn bury(&mut self, exit: &Exit) {
        let Some(run) = self.owners.get(&exit.group).cloned() else { return };
        let Some(death) = Death::of(exit, &run, |group| self.owners.get(&group)) else { return };
        if let Some(entry) = self.runs.get_mut(&run) {
            death.remember(&mut entry.deaths);
        }
    }

    /// How processes of a run ended by signals, as far as that is remembered.
    pub(super) fn deaths(&self, run: &ContainerId) -> Deaths {
        let entry = self.runs.get(run);
        let all = |entry: &Entry| entry.deaths.iter().cloned().collect();
        Deaths { main: entry.and_then(|entry| entry.main), all: entry.map(all).unwrap_or_default() }
    }

    /// What a run was refused, as others are told.
    pub(super) fn denials(&self, run: &ContainerId) -> Vec<PortDenial> {
        let denied = self.runs.get(run).map(|entry| entry.denied.as_slice()).unwrap_or_default();
        denied.iter().map(told).collect()
    }
}

fn told(denied: &Denied) -> PortDenial {
    let transport = match denied.transport {
        Transport::Tcp => "tcp".to_owned(),
        Transport::Udp => "udp".to_owned(),
        Transport::Other(number) => format!("protocol {number}"),
    };
    let Denied { port, address, count, .. } = *denied;
    PortDenial { operation: denied.operation.word().to_owned(), transport, port, address, count }
}

#[cfg(test)]
mod tests {
    use tepui_types::Range;

    use super::*;

    fn run(name: &str) -> ContainerId {
        ContainerId::parse(name).unwrap()
    }

    fn leaf() -> Leaf {
        Leaf::at("/nowhere".into())
    }

    fn denial(group: u64, port: u16, mode: Mode) -> Denial {
        Denial {
            group: GroupId::from_raw(group),
            boot_time_ns: 0,
            pid: None,
            comm: String::new(),
            port,
            address: Some([0; 4].into()),
            transport: Transport::Tcp,
            operation: Operation::Bind,
            mode,
            registered: true,
        }
    }

    #[test]
    fn a_note_is_read_back() {
        let these = Ports::These(vec![(31000, 31001), (31005, 31005)]);
        for ports in [these, Ports::Every, Ports::These(Vec::new())] {
            let group = GroupId::from_raw(77);
            assert_eq!(read_note(&note(group, &ports)), Some((group, ports)));
        }
        for bad in ["", "77", "77 \n\n", "x every\n", "77 1-\n", "77 1-2"] {
            assert_eq!(read_note(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn ranges_beyond_the_last_port_are_cut() {
        let ranges = |begin, end| Ranges::from_ranges([Range::new(begin, end).unwrap()]);
        assert_eq!(Ports::of(&ranges(65_000, 99_999)), Ports::These(vec![(65_000, u16::MAX)]));
        assert_eq!(Ports::of(&ranges(70_000, 99_999)), Ports::These(vec![]));
    }

    #[test]
    fn a_denial_is_news_once_per_port_and_always_when_it_is_fatal() {
        let mut book = Book::default();
        book.place(&run("r"), GroupId::from_raw(1), leaf());
        assert_eq!(book.deny(&denial(1, 80, Mode::Deny)), Some((run("r"), false)));
        assert_eq!(book.deny(&denial(1, 80, Mode::Deny)), None);
        assert_eq!(book.deny(&denial(1, 80, Mode::Kill)), Some((run("r"), true)));
        assert_eq!(book.deny(&denial(2, 80, Mode::Deny)), None, "nobody's group");
        assert_eq!(book.denials(&run("r")).len(), 1);
        let counted = Denials { by_operation: [100, 0, 0, 0, 0], ..Denials::default() };
        book.complete(&run("r"), &counted);
        assert_eq!(book.denials(&run("r"))[0].to_string(), "bind tcp 0.0.0.0:80 (100 times)");
    }

    #[test]
    fn nobody_has_a_task_ended_by_what_he_sends_it() {
        let mut book = Book::default();
        book.place(&run("r"), GroupId::from_raw(1), leaf());
        for operation in Operation::ALL {
            let sent = Denial { operation, ..denial(1, 80, Mode::Kill) };
            let is_fatal = !matches!(operation, Operation::Connection | Operation::Datagram);
            assert_eq!(book.deny(&sent), Some((run("r"), is_fatal)), "{operation:?}");
        }
    }

    #[test]
    fn what_was_only_counted_is_named_by_the_last_one() {
        let mut book = Book::default();
        book.place(&run("r"), GroupId::from_raw(1), leaf());
        let last = Some(denial(1, 81, Mode::Deny));
        let counted = Denials { by_operation: [2, 0, 0, 0, 0], last, ..Denials::default() };
        book.complete(&run("r"), &counted);
        assert_eq!(book.denials(&run("r"))[0].to_string(), "bind tcp 0.0.0.0:81 (2 times)");
    }

    #[test]
    fn a_run_that_moves_gives_its_former_group_up() {
        let mut book = Book::default();
        assert_eq!(book.place(&run("r"), GroupId::from_raw(1), leaf()), None);
        assert_eq!(book.place(&run("r"), GroupId::from_raw(1), leaf()), None);
        let former = book.place(&run("r"), GroupId::from_raw(2), leaf());
        assert_eq!(former, Some(GroupId::from_raw(1)));
        assert_eq!(book.groups().collect::<Vec<_>>(), [GroupId::from_raw(2)]);
        assert_eq!(book.remove(&run("r")), Some(GroupId::from_raw(2)));
        assert_eq!(book.groups().count(), 0);
    }

    #[test]
    fn a_run_with_a_network_of_its_own_keeps_every_port() {
        let mut book = Book::default();
        book.expect(&run("r"), Ports::Every);
        book.expect(&run("r"), Ports::These(vec![]));
        book.place(&run("r"), GroupId::from_raw(1), leaf());
        assert_eq!(book.group_of(&run("r")), Some((GroupId::from_raw(1), Ports::Every)));
    }
}

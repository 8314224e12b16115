//! What no program counts of the host's network is counted by rules of nftables.

use std::fs;
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tepui_accounting::files::Former;
use tepui_accounting::{Driver, Feature, GroupId, HostNetwork, Sample};
use tepui_cgroup::{Leaf, Mount};
use tepui_types::ContainerId;
use tracing::{debug, info, warn};

use super::measure::{EBPF, sources};
use super::{Hierarchy, Kernel, State, chain, tag};

/// Folder of links from the tags of agents that have rules to their work directories.
const MARKS: &str = "/run/tepui/counting";
/// What names of tables begin with; their agent's tag follows.
const TABLE: &str = "tepui-count-";
/// How long rules that cannot be put back are left alone.
const PAUSE: Duration = Duration::from_secs(60);
/// What rules are there for when programs do not count it. Drops come with it, and are not worth what
/// rules cost.
const COUNTABLE: [Feature; 2] = [Feature::Network, Feature::Tcp];

/// Who counts what tasks do on the host's network, where programs leave something.
#[derive(Clone, Debug, Default)]
pub(super) enum Counting {
    /// Nobody needs to: programs count all of it, or there are no groups to count by.
    #[default]
    Unneeded,
    /// Rules of nftables do.
    Rules(Arc<Rules>),
    /// Nobody can, for this reason.
    Impossible(String),
}

/// Rules at work.
#[derive(Debug)]
pub(super) struct Rules {
    network: HostNetwork,
    /// Whoever changes them has it; what is in it says that they are not wanted any more.
    over: tokio::sync::Mutex<bool>,
    /// They are being put back, or could not be a moment ago.
    returning: AtomicBool,
}

impl Counting {
    /// Whether a group has to be registered to be counted.
    pub(super) fn is_needed(&self) -> bool {
        matches!(self, Self::Rules(_))
    }

    /// Counts a run's group.
    pub(super) fn register(&self, group: GroupId) {
        let Self::Rules(rules) = self else { return };
        if let Err(error) = rules.network.register(group) {
            // Where they are gone they come back with it.
            debug!(%group, %error, "group not counted by nftables yet");
        }
    }

    /// A group is over.
    pub(super) fn forget(&self, group: GroupId) {
        let Self::Rules(rules) = self else { return };
        if let Err(error) = rules.network.forget(group) {
            debug!(%group, %error, "counters of a group that is over stay");
        }
    }

    /// What is said of a figure's source, after what files tell.
    pub(super) fn add_to(&self, figure: &str, files: &str) -> String {
        match self {
            Self::Unneeded => files.to_owned(),
            Self::Rules(_) => format!("{figure}; {files}"),
            Self::Impossible(reason) => format!("{files}; nftables does not count: {reason}"),
        }
    }
}

impl Kernel {
    /// Has rules count what no program does, removes them where programs count everything again, and
    /// says where figures come from. After [`Self::start`].
    pub async fn count_the_rest(&self, hierarchy: &Hierarchy) {
        let own = tag(&self.shared.work_dir);
        let marks = Path::new(MARKS);
        for other in orphans(marks, &own) {
            if remove(marks, &other).await {
                info!(tag = other, "rules of an agent that is gone removed");
            }
        }
        let counting = match self.levels(hierarchy) {
            Some(levels) => match make(marks, &own, &self.shared.work_dir, levels).await {
                Ok(rules) => Counting::Rules(Arc::new(rules)),
                Err(reason) => Counting::Impossible(reason),
            },
            None => {
                if marks.join(&own).is_symlink() {
                    remove(marks, &own).await;
                }
                Counting::Unneeded
            }
        };
        let mut state = self.shared.state.lock();
        state.counting = counting;
        state.book.groups().for_each(|group| state.counting.register(group));
        if let Counting::Rules(rules) = &state.counting
            && let Err(error) = rules.network.forget_others()
        {
            debug!(%error, "counters of groups that are over stay");
        }
        state.tell_sources();
    }

    /// The depths at which groups are counted by rules; none where nothing is: there are no groups,
    /// programs count, or the operator does not want it.
    fn levels(&self, hierarchy: &Hierarchy) -> Option<RangeInclusive<u32>> {
        let wishes = &self.shared.wishes;
        let state = self.shared.state.lock();
        let counts =
            |one| state.driver.as_ref().is_some_and(|driver: &Driver| driver.has_feature(one));
        if !COUNTABLE.into_iter().any(|one| wishes.by_rules(one) && !counts(one)) {
            return None;
        }
        depths(hierarchy, Mount::probe().ok()?.root())
    }

    /// Takes the rules away when nothing runs that they would be for.
    pub(super) async fn stop_counting(&self) {
        let counting = std::mem::take(&mut self.shared.state.lock().counting);
        if let Counting::Rules(rules) = counting {
            *rules.over.lock().await = true;
            remove(Path::new(MARKS), &tag(&self.shared.work_dir)).await;
        }
    }
}

/// Depths of groups in what this process sees of the hierarchy, and some more: rules of older kernels
/// count from the root of the whole of it, of which a container sees a part.
fn depths(hierarchy: &Hierarchy, root: &Path) -> Option<RangeInclusive<u32>> {
    const UNSEEN: usize = 4;
    const UNITS_BEGIN: usize = 3;
    let below = |path: &PathBuf| path.strip_prefix(root).ok().map(|rest| rest.iter().count() + 1);
    let processes = hierarchy.processes.as_ref().and_then(below);
    let units = hierarchy.units.then_some([UNITS_BEGIN, UNITS_BEGIN + tepui_launch::MOST_SLICES]);
    let all = || processes.into_iter().chain(units.into_iter().flatten());
    let (first, last) = (all().min()?, all().max()?);
    Some(u32::try_from(first).ok()?..=u32::try_from(last + UNSEEN).ok()?)
}

impl State {
    fn tell_sources(&mut self) {
        self.sources = sources(self.driver.as_ref(), &self.counting);
        let told_by = |ebpf: bool| {
            let figures = self.sources.iter().filter(|(_, source)| (source == EBPF) == ebpf);
            let name = |(figure, source): &(&'static str, String)| match ebpf {
                true => (*figure).to_owned(),
                false => format!("{figure} ({source})"),
            };
            figures.map(name).collect::<Vec<_>>().join(", ")
        };
        info!(ebpf = told_by(true), files = told_by(false), "where figures about tasks come from");
    }
}

impl Rules {
    /// What they tell of a run; nothing of one with a network of its own.
    pub(super) fn read(
        self: &Arc<Self>,
        run: &ContainerId,
        leaf: &Leaf,
        former: &mut Former,
    ) -> Sample {
        self.network.read(leaf, former).unwrap_or_else(|error| {
            if error.kind() == io::ErrorKind::NotFound {
                self.put_back();
            } else {
                debug!(%run, %error, "counts of nftables not read");
            }
            Sample::default()
        })
    }

    /// Somebody took them away, as `nft flush ruleset` does.
    fn put_back(self: &Arc<Self>) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if self.returning.swap(true, Ordering::AcqRel) {
            return;
        }
        let rules = self.clone();
        runtime.spawn(async move {
            match rules.make_anew().await {
                Ok(()) => warn!("rules that count for tasks were gone, and are back"),
                Err(reason) => {
                    warn!(reason, "rules that count for tasks are gone and cannot be put back");
                    tokio::time::sleep(PAUSE).await;
                }
            }
            rules.returning.store(false, Ordering::Release);
        });
    }

    async fn make_anew(&self) -> Result<(), String> {
        let over = self.over.lock().await;
        if *over {
            return Ok(());
        }
        self.network.give_up();
        let anew = self.network.no_rules() + &self.network.rules();
        tepui_network::change_rules(&anew).await.map_err(|error| chain(&error))?;
        self.network.begin_anew().map_err(|error| error.to_string())
    }
}

fn table(tag: &str) -> String {
    format!("{TABLE}{tag}")
}

async fn make(
    marks: &Path,
    tag: &str,
    work: &Path,
    levels: RangeInclusive<u32>,
) -> Result<Rules, String> {
    // Before the rules: what is marked is removed by somebody, one day.
    let marked = fs::create_dir_all(marks).and_then(|()| {
        match std::os::unix::fs::symlink(work, marks.join(tag)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            made => made,
        }
    });
    marked.map_err(|error| format!("failed to make {}: {error}", marks.join(tag).display()))?;
    let network = HostNetwork::new(&table(tag), levels);
    let mut made = tepui_network::change_rules(&network.rules()).await;
    if made.is_err() {
        // Those of another version may stand in the way; counts begin anew.
        made = tepui_network::change_rules(&(network.no_rules() + &network.rules())).await;
    }
    match made {
        Ok(()) => Ok(Rules {
            network,
            over: tokio::sync::Mutex::default(),
            returning: AtomicBool::default(),
        }),
        Err(error) => {
            remove(marks, tag).await;
            Err(chain(&error))
        }
    }
}

async fn remove(marks: &Path, tag: &str) -> bool {
    let nothing = HostNetwork::new(&table(tag), 0..=0).no_rules();
    let removed = tepui_network::change_rules(&nothing).await;
    match removed {
        Ok(()) => unmark(marks, tag),
        Err(error) => warn!(tag, error = chain(&error), "rules that count for nobody stay"),
    }
    !marks.join(tag).is_symlink()
}

fn unmark(marks: &Path, tag: &str) {
    if let Err(error) = fs::remove_file(marks.join(tag)) {
        debug!(tag, %error, "mark of rules stays");
    }
}

/// Tags of agents that left rules behind and whose work directories are gone.
fn orphans(marks: &Path, own: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(marks) else { return Vec::new() };
    let is_orphan = |path: &PathBuf| {
        fs::read_link(path).is_ok_and(|work| matches!(work.try_exists(), Ok(false)))
    };
    let marks = entries.flatten().map(|entry| entry.path()).filter(is_orphan);
    let tags = marks.filter_map(|mark| mark.file_name()?.to_str().map(str::to_owned));
    // Names are ours: sixteen hexadecimal digits, which the rules take as they are.
    tags.filter(|tag| tag != own && tag.len() == 16 && tag.bytes().all(|b| b.is_ascii_hexdigit()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_counted_where_processes_and_units_are_and_somewhat_deeper() {
        let root = Path::new("/sys/fs/cgroup");
        let mut hierarchy = Hierarchy::default();
        assert_eq!(depths(&hierarchy, root), None);
        hierarchy.processes = Some(root.join("a.slice/b.service/tasks"));
        assert_eq!(depths(&hierarchy, root), Some(4..=8));
        hierarchy.units = true;
        let deepest = u32::try_from(3 + tepui_launch::MOST_SLICES + 4).unwrap();
        assert_eq!(depths(&hierarchy, root), Some(3..=deepest));
    }

    #[test]
    fn only_marks_of_work_directories_that_are_gone_are_orphans() {
        let folder = tempfile::tempdir().unwrap();
        let mark = |tag: &str, work: &Path| {
            std::os::unix::fs::symlink(work, folder.path().join(tag)).unwrap();
        };
        let gone = Path::new("/no/such");
        mark("0000000000000001", gone);
        mark("0000000000000002", folder.path());
        mark("0000000000000003", gone);
        mark("x; flush ruleset", gone);
        assert_eq!(orphans(folder.path(), "0000000000000003"), ["0000000000000001"]);
        assert!(orphans(&folder.path().join("none"), "").is_empty());
    }
}

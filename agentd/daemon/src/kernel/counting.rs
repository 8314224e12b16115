//! What no program counts of the host's network is counted by rules of nftables.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tepui_accounting::files::Former;
use tepui_accounting::{Driver, Feature, HostNetwork, Sample};
use tepui_cgroup::Leaf;
use tepui_types::ContainerId;
use tracing::{debug, info, warn};

use super::measure::{EBPF, sources};
use super::{Kernel, State, chain, tag};

/// Folder of links from the tags of agents that have rules to their work directories.
const MARKS: &str = "/run/tepui/counting";
/// What names of tables begin with; their agent's tag follows.
const TABLE: &str = "tepui-count-";
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
    /// They are being put back.
    returning: AtomicBool,
}

impl Counting {
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
    /// says where figures come from. After [`Self::start`]; `has_groups` says whether tasks have control
    /// groups.
    pub async fn count_the_rest(&self, has_groups: bool) {
        let own = tag(&self.shared.work_dir);
        let marks = Path::new(MARKS);
        for other in orphans(marks, &own) {
            if remove(marks, &other).await {
                info!(tag = other, "rules of an agent that is gone removed");
            }
        }
        let is_needed = has_groups && {
            let state = self.shared.state.lock();
            let counts =
                |one| state.driver.as_ref().is_some_and(|driver: &Driver| driver.has_feature(one));
            !COUNTABLE.into_iter().all(counts)
        };
        let is_wished = self.shared.wishes.nftables;
        let counting = if is_needed && is_wished {
            match make(marks, &own, &self.shared.work_dir).await {
                Ok(rules) => Counting::Rules(Arc::new(rules)),
                Err(reason) => Counting::Impossible(reason),
            }
        } else {
            if marks.join(&own).is_symlink() {
                remove(marks, &own).await;
            }
            match is_needed {
                true => Counting::Impossible("accounting_nftables = false".to_owned()),
                false => Counting::Unneeded,
            }
        };
        let mut state = self.shared.state.lock();
        state.counting = counting;
        state.tell_sources();
    }

    /// Takes the rules away when nothing runs that they would be for.
    pub(super) async fn stop_counting(&self) {
        let counting = std::mem::take(&mut self.shared.state.lock().counting);
        if matches!(counting, Counting::Rules(_)) {
            remove(Path::new(MARKS), &tag(&self.shared.work_dir)).await;
        }
    }
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
            match tepui_network::change_rules(&rules.network.rules()).await {
                Ok(()) => warn!("rules that count for tasks were gone, and are back"),
                Err(error) => warn!(error = chain(&error), "rules that count for tasks are gone"),
            }
            rules.returning.store(false, Ordering::Release);
        });
    }
}

fn network(tag: &str) -> HostNetwork {
    HostNetwork::new(&format!("{TABLE}{tag}"))
}

async fn make(marks: &Path, tag: &str, work: &Path) -> Result<Rules, String> {
    // Before the rules: what is marked is removed by somebody, one day.
    let marked = fs::create_dir_all(marks).and_then(|()| {
        match std::os::unix::fs::symlink(work, marks.join(tag)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            made => made,
        }
    });
    marked.map_err(|error| format!("failed to make {}: {error}", marks.join(tag).display()))?;
    let network = network(tag);
    let mut made = tepui_network::change_rules(&network.rules()).await;
    if made.is_err() {
        // Those of another version may stand in the way; counts begin anew.
        let anew = network.no_rules() + &network.rules();
        made = tepui_network::change_rules(&anew).await;
    }
    match made {
        Ok(()) => Ok(Rules { network, returning: AtomicBool::new(false) }),
        Err(error) => {
            unmark(marks, tag);
            Err(chain(&error))
        }
    }
}

async fn remove(marks: &Path, tag: &str) -> bool {
    let removed = tepui_network::change_rules(&network(tag).no_rules()).await;
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
    let is_orphan = |path: &PathBuf| fs::read_link(path).is_ok_and(|work| !work.exists());
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

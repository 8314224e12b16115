//! Puts loaded programs to work, without a moment in which none is.

use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};

use libbpf_rs::query::LinkTypeInfo;
use libbpf_rs::{Link, Program, ProgramMut};

use super::{Adopted, Driver};
use crate::AccountingError;
use crate::catalogue::{Feature, Hook, PROGRAMS, Spec};
use crate::group::GroupId;
use crate::object::quietly;
use crate::program::ProgramState;

impl Driver {
    /// Attaches every program, or puts it in the place of an earlier agent's, and pins the links.
    ///
    /// Call it when every task that runs is registered: the groups below the root groups that are
    /// not have no ports from here on. Calling it again is harmless.
    ///
    /// # Errors
    ///
    /// [`AccountingError`] with the program at which it stopped; those before it are attached, and
    /// those of an earlier agent after it still are.
    pub fn attach(&mut self) -> Result<Adopted, AccountingError> {
        let mut adopted = Adopted::default();
        let mut roots = vec![(self.place.root.clone(), GroupId::of(&self.place.root)?)];
        roots.extend(self.others_that_exist());
        quietly(|| {
            for spec in self.programs.clone() {
                if spec.hook == Hook::RootGroup {
                    for (root, group) in &roots {
                        self.attach_at_group(spec, root, *group, &mut adopted)?;
                    }
                    self.attach_at_former_groups(spec, &roots)?;
                } else {
                    let link = self.attach_at_tracepoint(spec, &mut adopted)?;
                    self.links.insert((spec.name, None), link);
                }
            }
            Ok(())
        })?;
        Ok(adopted)
    }

    /// Attaches to those further root groups that came into being since. Cheap when there are none:
    /// call it before a task begins in one of them, and after [`Self::attach`].
    ///
    /// # Errors
    ///
    /// As [`Self::attach`].
    pub fn reach(&mut self) -> Result<(), AccountingError> {
        let new: Vec<_> = self
            .others_that_exist()
            .into_iter()
            .filter(|(_, group)| !self.links.keys().any(|(_, at)| at.as_ref() == Some(group)))
            .collect();
        if new.is_empty() {
            return Ok(());
        }
        let mut adopted = Adopted::default();
        quietly(|| {
            for spec in self.programs.clone() {
                for (root, group) in new.iter().filter(|_| spec.hook == Hook::RootGroup) {
                    self.attach_at_group(spec, root, *group, &mut adopted)?;
                }
            }
            Ok(())
        })
    }

    fn others_that_exist(&self) -> Vec<(PathBuf, GroupId)> {
        let others = self.place.others.iter();
        others.filter_map(|path| Some((path.clone(), GroupId::of(path).ok()?))).collect()
    }

    /// Ends what an earlier agent left running and this one does not use: accounting that is not
    /// planned any more, and maps of other versions. Call it after [`Self::attach`]. Port
    /// enforcement is never ended here: only [`Self::remove`] does that.
    ///
    /// # Errors
    ///
    /// [`AccountingError::Folder`] when pins cannot be removed.
    pub fn retire_others(&self) -> Result<(), AccountingError> {
        let unused = |spec: &&Spec| {
            spec.feature != Feature::Ports && !self.programs.iter().any(|ours| ours == spec)
        };
        let programs: Vec<_> = PROGRAMS.iter().filter(unused).map(|spec| spec.name).collect();
        self.pins.remove_stale(&programs)
    }

    /// Ends port enforcement, of an earlier agent too, for a host whose operator does not want it.
    ///
    /// # Errors
    ///
    /// [`AccountingError::Folder`] when pins cannot be removed.
    pub fn end_enforcement(&mut self) -> Result<(), AccountingError> {
        let is_ports = |spec: &&Spec| spec.feature == Feature::Ports;
        let programs: Vec<_> = PROGRAMS.iter().filter(is_ports).map(|spec| spec.name).collect();
        self.links.retain(|(program, _), _| !programs.contains(program));
        self.pins.remove_stale(&programs)
    }

    fn attach_at_group(
        &mut self,
        spec: &'static Spec,
        root: &Path,
        group: GroupId,
        adopted: &mut Adopted,
    ) -> Result<(), AccountingError> {
        let refused = |source| AccountingError::Attach { program: spec.name, source };
        let pin = self.pins.link_at(spec.name, group);
        let link = {
            let program = self.program(spec)?;
            match Link::open(&pin).ok().filter(|old| group_of(old) == Some(group)) {
                Some(mut old) => {
                    old.update_prog(&program).map_err(refused)?;
                    adopted.replaced.push(spec.name);
                    old
                }
                None => {
                    // What may be there is a link that lost its group.
                    let _ = fs::remove_file(&pin);
                    let folder = File::open(root).map_err(|source| AccountingError::Group {
                        path: root.to_owned(),
                        source,
                    })?;
                    let link = program.attach_cgroup(folder.as_raw_fd()).map_err(refused)?;
                    adopted.fresh.push(spec.name);
                    pinned(link, &pin)?
                }
            }
        };
        self.links.insert((spec.name, Some(group)), link);
        Ok(())
    }

    /// Root groups of an earlier agent that are not ours: while they exist, tasks may be below them,
    /// and they follow the same program. Links of groups that are gone are removed.
    fn attach_at_former_groups(
        &self,
        spec: &'static Spec,
        roots: &[(PathBuf, GroupId)],
    ) -> Result<(), AccountingError> {
        let program = self.program(spec)?;
        for pin in self.pins.links_at_groups(spec.name) {
            if roots.iter().any(|(_, group)| pin == self.pins.link_at(spec.name, *group)) {
                continue;
            }
            match Link::open(&pin).map(|link| (group_of(&link), link)) {
                Ok((Some(_), mut link)) => link
                    .update_prog(&program)
                    .map_err(|source| AccountingError::Attach { program: spec.name, source })?,
                _ => fs::remove_file(&pin)
                    .map_err(|source| AccountingError::Pin { path: pin.clone(), source })?,
            }
        }
        Ok(())
    }

    fn attach_at_tracepoint(
        &self,
        spec: &'static Spec,
        adopted: &mut Adopted,
    ) -> Result<Link, AccountingError> {
        let Hook::Tracepoint(name) = spec.hook else {
            return Err(AccountingError::Missing(spec.name));
        };
        let program = self.program(spec)?;
        let attach = || {
            program
                .attach_raw_tracepoint(name)
                .map_err(|source| AccountingError::Attach { program: spec.name, source })
        };
        let pin = self.pins.link(spec.name);
        let Ok(old) = Link::open(&pin) else {
            adopted.fresh.push(spec.name);
            return pinned(attach()?, &pin);
        };
        if is_same(&old, &program) {
            adopted.kept.push(spec.name);
            return Ok(old);
        }
        adopted.replaced.push(spec.name);
        // Both are attached for a moment: for counters that is better than none.
        let next = self.pins.next_link(spec.name);
        let _ = fs::remove_file(&next);
        let link = pinned(attach()?, &next)?;
        fs::rename(&next, &pin)
            .map_err(|source| AccountingError::Pin { path: pin.clone(), source })?;
        Ok(link)
    }

    fn program(&self, spec: &'static Spec) -> Result<ProgramMut<'_>, AccountingError> {
        self.objects
            .get(&spec.object)
            .and_then(|object| object.progs_mut().find(|program| program.name() == spec.name))
            .ok_or(AccountingError::Missing(spec.name))
    }
}

fn pinned(mut link: Link, pin: &Path) -> Result<Link, AccountingError> {
    link.pin(pin).map_err(|error| AccountingError::Pin {
        path: pin.to_owned(),
        source: std::io::Error::other(error),
    })?;
    Ok(link)
}

/// The group that the link is at; the kernel detaches links of groups that are gone.
fn group_of(link: &Link) -> Option<GroupId> {
    match link.info().map(|info| info.info) {
        Ok(LinkTypeInfo::Cgroup(cgroup)) if cgroup.cgroup_id != 0 => {
            Some(GroupId::from_raw(cgroup.cgroup_id))
        }
        _ => None,
    }
}

/// Whether the link's program does the same with the same maps.
fn is_same(link: &Link, program: &Program<'_>) -> bool {
    match (ProgramState::of(program.as_fd()), ProgramState::at(link)) {
        (Ok(ours), Ok(theirs)) => ours.is_twin_of(&theirs),
        _ => false,
    }
}

//! Puts loaded programs to work, without a moment in which none is.

use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use libbpf_rs::query::LinkTypeInfo;
use libbpf_rs::{Link, Program, ProgramMut};

use super::{Adopted, Driver};
use crate::AccountingError;
use crate::catalogue::{Feature, Hook, PROGRAMS, Spec};
use crate::object::quietly;
use crate::program::ProgramState;

impl Driver {
    /// Attaches every program, or puts it in the place of an earlier agent's, and pins the links.
    ///
    /// Call it when every task that runs is registered: the groups below the root group that are
    /// not have no ports from here on. Calling it again is harmless.
    ///
    /// # Errors
    ///
    /// [`AccountingError`] with the program at which it stopped; those before it are attached, and
    /// those of an earlier agent after it still are.
    pub fn attach(&mut self) -> Result<Adopted, AccountingError> {
        let mut adopted = Adopted::default();
        quietly(|| {
            for spec in self.programs.clone() {
                let link = self.attach_one(spec, &mut adopted)?;
                self.links.insert(spec.name, link);
            }
            Ok(())
        })?;
        Ok(adopted)
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

    fn attach_one(
        &self,
        spec: &'static Spec,
        adopted: &mut Adopted,
    ) -> Result<Link, AccountingError> {
        let program = self
            .objects
            .get(&spec.object)
            .and_then(|object| object.progs_mut().find(|program| program.name() == spec.name))
            .ok_or(AccountingError::Missing(spec.name))?;
        let refused = |source| AccountingError::Attach { program: spec.name, source };
        let pin = self.pins.link(spec.name);
        let Ok(mut old) = Link::open(&pin) else {
            let link = self.fresh(spec, &program)?;
            adopted.fresh.push(spec.name);
            return self.pinned(link, &pin);
        };
        if spec.hook == Hook::RootGroup && self.is_on_root(&old) {
            old.update_prog(&program).map_err(refused)?;
            adopted.replaced.push(spec.name);
            return Ok(old);
        }
        if spec.hook != Hook::RootGroup && is_same(&old, &program) {
            adopted.kept.push(spec.name);
            return Ok(old);
        }
        adopted.replaced.push(spec.name);
        // Both are attached for a moment: for counters that is better than none.
        let next = self.pins.next_link(spec.name);
        let _ = fs::remove_file(&next);
        let link = self.pinned(self.fresh(spec, &program)?, &next)?;
        fs::rename(&next, &pin)
            .map_err(|source| AccountingError::Pin { path: pin.clone(), source })?;
        Ok(link)
    }

    fn fresh(
        &self,
        spec: &'static Spec,
        program: &ProgramMut<'_>,
    ) -> Result<Link, AccountingError> {
        let refused = |source| AccountingError::Attach { program: spec.name, source };
        match spec.hook {
            Hook::Tracepoint(name) => program.attach_raw_tracepoint(name).map_err(refused),
            Hook::RootGroup => {
                let root = File::open(&self.place.root).map_err(|source| {
                    AccountingError::Group { path: self.place.root.clone(), source }
                })?;
                program.attach_cgroup(root.as_raw_fd()).map_err(refused)
            }
        }
    }

    fn pinned(&self, mut link: Link, pin: &Path) -> Result<Link, AccountingError> {
        link.pin(pin).map_err(|error| AccountingError::Pin {
            path: pin.to_owned(),
            source: std::io::Error::other(error),
        })?;
        Ok(link)
    }

    /// Whether the link is at our root group; the kernel detaches links of groups that are gone.
    fn is_on_root(&self, link: &Link) -> bool {
        match link.info().map(|info| info.info) {
            Ok(LinkTypeInfo::Cgroup(cgroup)) => cgroup.cgroup_id == self.root.raw(),
            _ => false,
        }
    }
}

/// Whether the link's program does the same with the same maps.
fn is_same(link: &Link, program: &Program<'_>) -> bool {
    match (ProgramState::of(program.as_fd()), ProgramState::at(link)) {
        (Ok(ours), Ok(theirs)) => ours.is_twin_of(&theirs),
        _ => false,
    }
}

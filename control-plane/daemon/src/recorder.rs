//! Records what the allocator is told and decides, for `tepui allocator replay`.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use tepui_replay::{Step, What, encode_step, header};
use tracing::{info, warn};

use crate::follow::Follow;

/// A file that is written until it has its size.
pub struct Recorder {
    path: PathBuf,
    file: BufWriter<File>,
    left: u64,
}

impl Recorder {
    /// Begins a new file, over an earlier one of the name; only this user reads it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn create(path: &Path, limit_bytes: u64) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
        let mut file = BufWriter::new(file);
        file.write_all(&header())?;
        file.flush()?;
        Ok(Self { path: path.to_owned(), file, left: limit_bytes })
    }

    /// Whether a file could be begun there, found out without touching an earlier one: who stands by
    /// says it before anybody needs it to lead.
    ///
    /// # Errors
    /// When it could not.
    pub fn check(path: &Path) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(0o600).open(path).map(drop)
    }

    /// Whether the folder is there in which a file is to be begun, as far as anybody can say who is
    /// perhaps another user than the process will be. `made_at_start` is made before it is needed.
    ///
    /// # Errors
    /// What is not there, and what would be right.
    pub fn check_folder(path: &Path, made_at_start: &Path) -> Result<(), String> {
        let whole = std::path::absolute(path).map_err(|error| error.to_string())?;
        let why = match whole.parent() {
            None => "is no file".to_owned(),
            Some(_) if whole.is_dir() => "is a folder, and a file is written".to_owned(),
            Some(folder) if folder.is_dir() || folder == made_at_start => return Ok(()),
            Some(folder) if folder.exists() => {
                format!("is in {}, which is no folder", folder.display())
            }
            Some(folder) => format!("is in {}, which is not there", folder.display()),
        };
        Err(format!(
            "allocator_record = \"{}\" {why}: the process would end at its start; name a file in a folder \
             that is there",
            path.display()
        ))
    }

    fn write(&mut self, step: &Step) -> io::Result<bool> {
        if matches!(&step.what, What::Planned(plan) if plan.is_empty()) {
            return Ok(true);
        }
        // More than a frame holds: an input that large never comes from an agent or a framework.
        let Some(bytes) = encode_step(step) else { return Ok(false) };
        let Some(left) = self.left.checked_sub(bytes.len() as u64) else { return Ok(false) };
        self.left = left;
        self.file.write_all(&bytes)?;
        Ok(true)
    }
}

impl Follow for Recorder {
    fn step(&mut self, step: &Step) -> bool {
        let written = self.write(step);
        let path = self.path.display();
        match written {
            Ok(true) => true,
            Ok(false) => {
                info!(%path, "the allocator's recording is full");
                self.idle();
                false
            }
            Err(error) => {
                warn!(%path, error = &error as &dyn std::error::Error, "recording failed, ended");
                false
            }
        }
    }

    fn idle(&mut self) {
        if let Err(error) = self.file.flush() {
            let path = self.path.display();
            warn!(%path, error = &error as &dyn std::error::Error, "recording failed");
        }
    }

    fn end(&mut self, _: bool) {
        self.idle();
    }
}

#[cfg(test)]
mod tests {
    use tepui_allocator::Input;
    use tepui_types::{AgentId, Mono};

    use super::*;

    fn step(at: u64) -> Step {
        let agent = AgentId::parse("a1").unwrap();
        Step { at: Mono::from_nanos(at), what: What::Told(vec![Input::AgentRemoved(agent)]) }
    }

    #[test]
    fn whether_it_can_be_recorded_is_known_before_and_costs_no_recording() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("day.tepui");
        Recorder::check(&path).unwrap();
        std::fs::write(&path, "earlier").unwrap();
        Recorder::check(&path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"earlier");
        assert!(Recorder::check(&folder.path().join("nowhere/day.tepui")).is_err());
    }

    #[test]
    fn a_folder_that_is_not_there_is_told_with_the_setting_unless_the_start_makes_it() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let check = |path: &Path| Recorder::check_folder(path, &folder.join("state"));
        let refused = |path: &Path, why: &str| {
            let said = check(path).unwrap_err();
            let setting = format!("allocator_record = \"{}\" {why}: ", path.display());
            assert!(said.starts_with(&setting), "{said}");
        };
        let gone = folder.join("nowhere");
        refused(&gone.join("day"), &format!("is in {}, which is not there", gone.display()));
        refused(folder, "is a folder, and a file is written");
        refused(Path::new("/"), "is no file");
        let file = folder.join("day");
        assert_eq!(check(&file), Ok(()));
        assert!(!file.exists(), "nothing is written for it");
        std::fs::write(&file, "earlier").unwrap();
        assert_eq!(check(&file), Ok(()));
        refused(&file.join("x"), &format!("is in {}, which is no folder", file.display()));
        assert_eq!(check(&folder.join("state/day")), Ok(()));
        assert!(!Path::new("day").exists() && check(Path::new("day")).is_ok());
    }

    #[test]
    fn a_recording_ends_at_its_size_and_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("day.tepui");
        let size = encode_step(&step(1)).unwrap().len() as u64;
        let mut recorder = Recorder::create(&path, 2 * size + 1).unwrap();
        assert!(recorder.step(&step(1)) && recorder.step(&step(2)));
        assert!(!recorder.step(&step(3)), "it is full");
        let recording = tepui_replay::decode(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(recording.steps, [step(1), step(2)]);
        assert!(!recording.cut_short);
    }
}

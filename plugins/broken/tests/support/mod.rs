//! A folder of plugins, as an operator would fill it.
#![allow(dead_code, clippy::unwrap_used)]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tepui_plugin_host::{Board, PluginAllocator, Refused, Report, Shelf};

/// A library of `examples/`, which cargo built beside this test.
pub(crate) fn example(name: &str) -> Vec<u8> {
    let test = std::env::current_exe().unwrap();
    let folder = test.parent().unwrap().parent().unwrap().join("examples");
    fs::read(folder.join(format!("lib{name}.so"))).unwrap()
}

pub(crate) struct Rig {
    folder: tempfile::TempDir,
    pub(crate) shelf: Shelf,
    pub(crate) board: Arc<Board>,
}

impl Rig {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let shelf = Shelf::new(Some(folder.path().into()), Default::default()).unwrap();
        Self { folder, shelf, board: Arc::new(Board::new().unwrap()) }
    }

    /// Puts an example into the folder, under the name of a plugin.
    pub(crate) fn install(&self, name: &str, plugin: &str) -> PathBuf {
        self.install_bytes(plugin, &example(name))
    }

    /// Puts a file into the folder in place of the one that may be there, as installers do.
    pub(crate) fn install_bytes(&self, plugin: &str, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join(format!("{plugin}.so"));
        let fresh = self.folder.path().join("fresh");
        fs::write(&fresh, bytes).unwrap();
        self.set_mode(&fresh, 0o644);
        fs::rename(&fresh, &path).unwrap();
        path
    }

    pub(crate) fn set_mode(&self, path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    /// What stands below `plugins` in the configuration.
    pub(crate) fn configure(&mut self, text: &str) {
        let tables = toml::from_str(text).unwrap();
        self.shelf = Shelf::new(Some(self.folder.path().into()), tables).unwrap();
    }

    /// The shelf of another host, which has this folder by and by.
    pub(crate) fn elsewhere(&self) -> Shelf {
        self.shelf.clone().in_folder(self.folder.path().into(), true)
    }

    pub(crate) fn open(&self, name: &str) -> Result<PluginAllocator, Refused> {
        PluginAllocator::open(&self.shelf, name, 1, &self.board)
    }

    pub(crate) fn refusal(&self, name: &str) -> String {
        let why = self.open(name).unwrap_err().to_string();
        assert!(!why.contains('\n'), "more than a line: {why}");
        why
    }
}

pub(crate) fn reported(board: &Board, name: &str) -> Report {
    board.reports().into_iter().find(|one| one.name == name).unwrap()
}

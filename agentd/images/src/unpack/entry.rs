//! One entry after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Bound;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;
use tar::EntryType;

use super::lower::{Deferred, DeferredLink};
use super::meter::Meter;
use super::path::{Target, clean, target};
use super::tree::{Attributes, Place, Tree, is_whiteout, set_modified};
use super::{Hostile, Privilege, UnpackError, Unpacked};

const BLOCK: usize = 4096;

/// Unpacks the entries of one layer.
pub(super) struct Unpacker<'a> {
    tree: &'a Tree,
    meter: &'a Meter,
    disk_bytes: u64,
    /// Folders with their times, which are set when nothing is made in them any more.
    folders: BTreeMap<PathBuf, (i64, u32)>,
    /// Folders that no entry described.
    implied: BTreeSet<PathBuf>,
    /// Folders whose counterpart below is gone; marked at the end, for they may still be replaced.
    opaque: BTreeSet<PathBuf>,
    /// Where a link leads, and when it came: later ones may lead to earlier ones.
    links: BTreeMap<PathBuf, (u64, PathBuf)>,
    last_link: u64,
    root_described: bool,
}

/// An entry that is being unpacked, for errors.
struct Context<'a> {
    shown: &'a str,
    meter: &'a Meter,
}

impl Context<'_> {
    fn hostile(&self, what: Hostile) -> UnpackError {
        UnpackError::Hostile { entry: self.shown.to_owned(), what }
    }

    fn io(&self, source: io::Error) -> UnpackError {
        match source.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
            Some(rustix::io::Errno::LOOP | rustix::io::Errno::NOTDIR | rustix::io::Errno::XDEV) => {
                self.hostile(Hostile::LinkedPath)
            }
            Some(rustix::io::Errno::NAMETOOLONG) => self.hostile(Hostile::BadPath),
            _ => self.meter.explain(self.shown, source),
        }
    }
}

impl<'a> Unpacker<'a> {
    pub(super) fn new(tree: &'a Tree, meter: &'a Meter) -> Self {
        Self {
            tree,
            meter,
            disk_bytes: 0,
            folders: BTreeMap::new(),
            implied: BTreeSet::new(),
            opaque: BTreeSet::new(),
            links: BTreeMap::new(),
            last_link: 0,
            root_described: false,
        }
    }

    pub(super) fn take(
        &mut self,
        entry: &mut tar::Entry<'_, impl Read>,
        shown: &str,
    ) -> Result<(), UnpackError> {
        let context = Context { shown, meter: self.meter };
        let kind = entry.header().entry_type();
        if matches!(kind, EntryType::XGlobalHeader) || !is_known(kind) {
            return Ok(());
        }
        let path = target(&entry.path_bytes()).map_err(|what| context.hostile(what))?;
        let attributes = attributes(entry).map_err(|what| context.hostile(what))?;
        match path {
            Target::Ignored => Ok(()),
            Target::Whiteout(path) => self.hide(&path, &context),
            Target::Opaque(folder) => {
                let place = folder.join("x");
                self.place(&place, &context)?;
                self.opaque.insert(folder);
                Ok(())
            }
            Target::Root => self.root(kind, &attributes, &context),
            Target::Path(path) => self.put(entry, kind, &path, attributes, &context),
        }
    }

    fn put(
        &mut self,
        entry: &mut tar::Entry<'_, impl Read>,
        kind: EntryType,
        path: &Path,
        attributes: Attributes,
        context: &Context<'_>,
    ) -> Result<(), UnpackError> {
        self.disk_bytes += BLOCK as u64;
        match kind {
            EntryType::Directory => self.folder(path, &attributes, context),
            EntryType::Symlink => {
                let target = link_target(entry).map_err(|what| context.hostile(what))?;
                let place = self.clear(path, context)?;
                let made = Tree::symlink(&place, &target)
                    .and_then(|()| Tree::dress_link(&place, &attributes))
                    .and_then(|()| self.tree.dress_special(&place, &attributes, true));
                made.map_err(|e| context.io(e))
            }
            EntryType::Link => {
                let target = link_target(entry).map_err(|what| context.hostile(what))?;
                let target = clean(target.as_os_str().as_bytes())
                    .map_err(|_| context.hostile(Hostile::HardLink))?;
                self.hard_link(path, target, context)
            }
            EntryType::Fifo => {
                let place = self.clear(path, context)?;
                let made = Tree::fifo(&place)
                    .and_then(|()| self.tree.dress_special(&place, &attributes, false));
                made.map_err(|e| context.io(e))
            }
            // Never made: a container gets its devices from its runtime.
            EntryType::Block | EntryType::Char => Ok(()),
            _ => self.file(entry, path, &attributes, context),
        }
    }

    fn file(
        &mut self,
        entry: &mut tar::Entry<'_, impl Read>,
        path: &Path,
        attributes: &Attributes,
        context: &Context<'_>,
    ) -> Result<(), UnpackError> {
        // Old archives mark folders by a slash only.
        if entry.path_bytes().ends_with(b"/") {
            return self.folder(path, attributes, context);
        }
        let place = self.clear(path, context)?;
        let mut file = Tree::create(&place).map_err(|e| context.io(e))?;
        let (total, dense) = copy(entry, &mut file, self.meter).map_err(|e| context.io(e))?;
        if total != entry.size() {
            return Err(context.hostile(Hostile::Short));
        }
        self.disk_bytes += dense;
        let dressed = self.tree.dress(&file, attributes);
        drop(file);
        let dressed = dressed.and_then(|()| set_modified(&place, attributes.modified));
        dressed.map_err(|e| context.io(e))
    }

    fn folder(
        &mut self,
        path: &Path,
        attributes: &Attributes,
        context: &Context<'_>,
    ) -> Result<(), UnpackError> {
        let io = |e| context.io(e);
        let place = self.place(path, context)?;
        let there = Tree::look(&place).map_err(io)?;
        match there {
            Some(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {}
            other => {
                // A whiteout of a folder that this layer makes anew: nothing of the old one shows.
                if other.as_ref().is_some_and(is_whiteout) {
                    self.opaque.insert(path.to_owned());
                }
                if other.is_some() {
                    Tree::remove(&place).map_err(io)?;
                }
                Tree::new_folder(&place).map_err(io)?;
            }
        }
        let folder = Tree::enter(&place).map_err(io)?;
        let mut attributes = attributes.clone();
        if self.tree.privilege() == Privilege::User {
            // Root enters whatever it made; nobody else does.
            attributes.mode |= 0o700;
        }
        self.tree.dress(&folder, &attributes).map_err(io)?;
        self.implied.remove(path);
        self.folders.insert(path.to_owned(), attributes.modified);
        Ok(())
    }

    fn root(
        &mut self,
        kind: EntryType,
        attributes: &Attributes,
        context: &Context<'_>,
    ) -> Result<(), UnpackError> {
        if kind != EntryType::Directory {
            return Err(context.hostile(Hostile::BadPath));
        }
        let root = self.tree.folder(Path::new("")).map_err(|e| context.io(e))?;
        self.tree.dress(root, attributes).map_err(|e| context.io(e))?;
        self.root_described = true;
        self.folders.insert(PathBuf::new(), attributes.modified);
        Ok(())
    }

    fn hard_link(
        &mut self,
        path: &Path,
        target: PathBuf,
        context: &Context<'_>,
    ) -> Result<(), UnpackError> {
        if target == path || target.as_os_str().is_empty() {
            return Err(context.hostile(Hostile::HardLink));
        }
        let parent = target.parent().unwrap_or_else(|| Path::new(""));
        let from = match (self.tree.folder(parent), target.file_name()) {
            (Ok(parent), Some(name)) => Some(Place { parent, name }),
            (Err(error), _) if error.kind() == io::ErrorKind::NotFound => None,
            (Err(error), _) => return Err(context.io(error)),
            (_, None) => return Err(context.hostile(Hostile::HardLink)),
        };
        let stat = match &from {
            Some(from) => Tree::look(from).map_err(|e| context.io(e))?,
            None => None,
        };
        let (Some(from), Some(stat)) = (&from, &stat) else {
            self.clear(path, context)?;
            self.last_link += 1;
            self.links.insert(path.to_owned(), (self.last_link, target));
            return Ok(());
        };
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory || is_whiteout(stat) {
            return Err(context.hostile(Hostile::HardLink));
        }
        let to = self.place(path, context)?;
        if let Some(old) = Tree::look(&to).map_err(|e| context.io(e))? {
            // Two names of one file already; removing one first could remove the file.
            if old.st_ino == stat.st_ino {
                return Ok(());
            }
            self.clear(path, context)?;
        }
        Tree::hard_link(from, &to).map_err(|e| context.io(e))
    }

    /// What is hidden in lower layers. What this very layer brings is not.
    fn hide(&mut self, path: &Path, context: &Context<'_>) -> Result<(), UnpackError> {
        let place = self.place(path, context)?;
        match Tree::look(&place).map_err(|e| context.io(e))? {
            None => {
                self.disk_bytes += BLOCK as u64;
                Tree::whiteout(&place).map_err(|e| context.io(e))
            }
            Some(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                self.opaque.insert(path.to_owned());
                Ok(())
            }
            Some(_) => Ok(()),
        }
    }

    /// The place of something new, with nothing there.
    fn clear<'p>(
        &mut self,
        path: &'p Path,
        context: &Context<'_>,
    ) -> Result<Place<'p>, UnpackError> {
        let place = self.place(path, context)?;
        let there = Tree::look(&place).map_err(|e| context.io(e))?;
        self.links.remove(path);
        if let Some(stat) = there {
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                self.forget(path);
            }
            Tree::remove(&place).map_err(|e| context.io(e))?;
        }
        Ok(place)
    }

    /// A folder was replaced: what was noted of it and below is void.
    fn forget(&mut self, path: &Path) {
        forget_in_map(&mut self.folders, path);
        forget_in_map(&mut self.links, path);
        forget_in_set(&mut self.implied, path);
        forget_in_set(&mut self.opaque, path);
    }

    fn place<'p>(
        &mut self,
        path: &'p Path,
        context: &Context<'_>,
    ) -> Result<Place<'p>, UnpackError> {
        let implied = &mut self.implied;
        let made = &mut |folder| {
            implied.insert(folder);
        };
        self.tree.place(path, made).map_err(|e| context.io(e))
    }

    /// Marks and times of folders, when nothing is made in them any more.
    pub(super) fn finish(self) -> Result<Unpacked, UnpackError> {
        let explain = |path: &Path, source| {
            let shown = super::shown(path.as_os_str().as_bytes());
            Context { shown: &shown, meter: self.meter }.io(source)
        };
        // A folder that was replaced by way of a link is not there any more, and needs nothing.
        let there = |path: &Path| match self.tree.folder(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            other => other.map(Some).map_err(|e| explain(path, e)),
        };
        for path in &self.opaque {
            let Some(folder) = there(path)? else { continue };
            self.tree.make_opaque(folder).map_err(|e| explain(path, e))?;
        }
        for (path, modified) in self.folders.iter().rev() {
            let Some(folder) = there(path)? else { continue };
            let place = Place { parent: folder, name: OsStr::new(".") };
            set_modified(&place, *modified).map_err(|e| explain(path, e))?;
        }
        let mut implied: Vec<PathBuf> = self.implied.into_iter().collect();
        if !self.root_described {
            implied.insert(0, PathBuf::new());
        }
        let mut links: Vec<_> = self.links.into_iter().collect();
        links.sort_unstable_by_key(|(_, (number, _))| *number);
        let link = |(path, (_, target))| DeferredLink { path, target };
        let links = links.into_iter().map(link).collect();
        let deferred = Deferred { written: self.meter.written(), links, implied };
        Ok(Unpacked { disk_bytes: self.disk_bytes, deferred })
    }
}

/// Removes a path and all below it: they follow each other. An archive may do this for every entry,
/// so it must not look at all of them.
fn forget_in_map<T>(map: &mut BTreeMap<PathBuf, T>, path: &Path) {
    while let Some(found) = map.range::<Path, _>(from(path)).next().map(|(key, _)| key.clone())
        && found.starts_with(path)
    {
        map.remove(&found);
    }
}

fn from(path: &Path) -> (Bound<&Path>, Bound<&Path>) {
    (Bound::Included(path), Bound::Unbounded)
}

fn forget_in_set(set: &mut BTreeSet<PathBuf>, path: &Path) {
    while let Some(found) = set.range::<Path, _>(from(path)).next().cloned()
        && found.starts_with(path)
    {
        set.remove(&found);
    }
}

fn is_known(kind: EntryType) -> bool {
    matches!(
        kind,
        EntryType::Regular
            | EntryType::Continuous
            | EntryType::GNUSparse
            | EntryType::Directory
            | EntryType::Symlink
            | EntryType::Link
            | EntryType::Fifo
            | EntryType::Block
            | EntryType::Char
    )
}

fn link_target(entry: &tar::Entry<'_, impl Read>) -> Result<PathBuf, Hostile> {
    let target = entry.link_name_bytes().ok_or(Hostile::BadPath)?;
    if target.is_empty() || target.contains(&0) || target.len() > super::path::MAX_PATH_BYTES {
        return Err(Hostile::BadPath);
    }
    Ok(PathBuf::from(OsStr::from_bytes(&target)))
}

/// What the entry's header and its PAX records say.
fn attributes(entry: &mut tar::Entry<'_, impl Read>) -> Result<Attributes, Hostile> {
    let header = entry.header();
    let number = |n: io::Result<u64>| n.ok().and_then(|n| u32::try_from(n).ok());
    let mut found = Attributes {
        mode: header.mode().map_err(|_| Hostile::BadHeader)? & 0o7777,
        uid: number(header.uid()).ok_or(Hostile::BadHeader)?,
        gid: number(header.gid()).ok_or(Hostile::BadHeader)?,
        modified: (i64::try_from(header.mtime().unwrap_or(0)).unwrap_or(0), 0),
        extended: Vec::new(),
    };
    let Some(records) = entry.pax_extensions().map_err(|_| Hostile::BadHeader)? else {
        return Ok(found);
    };
    for record in records {
        let record = record.map_err(|_| Hostile::BadHeader)?;
        let key = record.key_bytes();
        if key.starts_with(b"GNU.sparse.") {
            return Err(Hostile::PaxSparse);
        } else if key == b"mtime" {
            found.modified = pax_time(record.value_bytes()).unwrap_or(found.modified);
        } else if let Some(name) = key.strip_prefix(b"SCHILY.xattr.")
            && kept(name)?
        {
            let name = OsStr::from_bytes(name).to_owned();
            found.extended.push((name, record.value_bytes().to_vec()));
        }
    }
    Ok(found)
}

/// Whether an attribute is kept: those of users, and capabilities of files. Labels and lists of
/// other hosts mean nothing here.
fn kept(name: &[u8]) -> Result<bool, Hostile> {
    if name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.") {
        return Err(Hostile::OverlayAttribute);
    }
    if name.contains(&0) || name.len() > 255 {
        return Err(Hostile::BadHeader);
    }
    Ok(name.starts_with(b"user.") || name == b"security.capability")
}

/// `1700000000.25`, also before 1970.
fn pax_time(text: &[u8]) -> Option<(i64, u32)> {
    let text = std::str::from_utf8(text).ok()?;
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    if !part.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let nanos: u32 = format!("{part:0<9}")[..9].parse().ok()?;
    match (whole.starts_with('-'), nanos) {
        (true, 1..) => Some((seconds.checked_sub(1)?, 1_000_000_000 - nanos)),
        _ => Some((seconds, nanos)),
    }
}

/// Copies a file; blocks of zeros become holes. Answers its length, and what of it takes room.
pub(super) fn copy(from: &mut impl Read, to: &mut File, meter: &Meter) -> io::Result<(u64, u64)> {
    let mut buffer = vec![0; 16 * BLOCK];
    let (mut total, mut dense, mut hole) = (0, 0, false);
    loop {
        let mut filled = 0;
        while filled < buffer.len() {
            match from.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(length) => filled += length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if filled == 0 {
            break;
        }
        meter.write(filled as u64)?;
        total += filled as u64;
        hole = filled == buffer.len() && buffer.iter().all(|b| *b == 0);
        if hole {
            to.seek(SeekFrom::Current(i64::try_from(filled).unwrap_or(0)))?;
        } else {
            to.write_all(&buffer[..filled])?;
            dense += filled.div_ceil(BLOCK) as u64 * BLOCK as u64;
        }
    }
    if hole {
        to.set_len(total)?;
    }
    Ok((total, dense))
}

impl std::fmt::Debug for Unpacker<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let root = self.tree.privilege() == Privilege::Root;
        f.debug_struct("Unpacker").field("root", &root).finish_non_exhaustive()
    }
}

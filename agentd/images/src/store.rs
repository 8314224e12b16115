//! The store on disk.
//!
//! ```text
//! lock              held by the process that owns the store
//! format            "1"
//! layers/KEY/fs     an unpacked layer, as overlayfs mounts it
//! layers/KEY/layer.json   what it is; written last, so that a folder with it is whole
//! images/HEX.json   an image: manifest digest, configuration, layers
//! names/HASH.json   a name, and the image that it means
//! pins/HASH.json    an owner, and the image that it keeps
//! tmp/              what is not finished; removed when the store is opened
//! ```
//!
//! Everything is made in `tmp`, brought to disk, and renamed: after a crash at any instruction it is
//! there whole, or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::error::StoreError;

const FORMAT: &str = "1";
/// Bytes of a record that is read; images bring their configuration.
const MAX_RECORD_BYTES: u64 = 32 << 20;
/// Room that is left for everything else on the file system.
const SPARE_BYTES: u64 = 64 << 20;

/// A layer's name in the store.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct LayerKey(String);

impl LayerKey {
    /// A layer that is the same whatever is below it.
    pub(crate) fn alone(diff_id: &Digest) -> Self {
        Self(short(&diff_id.to_string()))
    }

    /// A layer that depends on those below, which are part of its name.
    pub(crate) fn upon(lower: &[Digest], diff_id: &Digest) -> Self {
        let chain: Vec<String> = lower.iter().chain([diff_id]).map(Digest::to_string).collect();
        Self(short(&format!("chain {}", chain.join(" "))))
    }

    fn is_sound(&self) -> bool {
        self.0.len() == 32 && self.0.bytes().all(|b| b.is_ascii_hexdigit())
    }
}

/// Half a SHA-256: short, because a mount names all layers on one page.
fn short(text: &str) -> String {
    Digest::of(text.as_bytes()).hex()[..32].to_owned()
}

/// `layer.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LayerRecord {
    pub(crate) diff_id: String,
    /// Bytes on disk.
    pub(crate) bytes: u64,
}

/// `images/HEX.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ImageRecord {
    pub(crate) digest: String,
    /// Lowest first.
    pub(crate) layers: Vec<LayerKey>,
    /// The configuration, byte for byte.
    pub(crate) config: String,
    /// Seconds since 1970.
    pub(crate) pulled: u64,
}

/// `names/HASH.json` and `pins/HASH.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NameRecord {
    pub(crate) name: String,
    pub(crate) digest: String,
}

/// What was found when the store was opened.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// With the time of last use, in seconds since 1970.
    pub(crate) images: Vec<(ImageRecord, u64)>,
    pub(crate) names: Vec<NameRecord>,
    pub(crate) pins: Vec<NameRecord>,
    pub(crate) layers: Vec<(LayerKey, LayerRecord)>,
}

/// The folder, and the lock on it.
#[derive(Debug)]
pub(crate) struct Store {
    root: PathBuf,
    next: AtomicU64,
    _lock: File,
}

/// Something unfinished, removed when dropped.
#[derive(Debug)]
pub(crate) struct Unfinished(PathBuf);

impl Unfinished {
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

/// Removes a file or folder of `tmp`; what stays is removed when the store is opened again.
pub(crate) fn remove(path: &Path) {
    let removed = match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(path = %path.display(), %error, "failed to remove from the image store, \
                left until the next start");
        }
        _ => {}
    }
}

impl Store {
    /// Opens a store, or makes one. Blocks.
    pub(crate) fn open(root: &Path) -> Result<(Self, Found), StoreError> {
        let private = |path: &Path| {
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
            made.map_err(StoreError::io("make", path))
        };
        private(root)?;
        let lock = root.join("lock");
        let io = StoreError::io("open", &lock);
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(false).mode(0o600);
        let lock = options.open(&lock).map_err(io)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(StoreError::Locked(root.to_owned())),
            Err(fs::TryLockError::Error(source)) => {
                return Err(StoreError::io("lock", root.join("lock"))(source));
            }
        }
        let store = Self { root: root.to_owned(), next: AtomicU64::new(0), _lock: lock };
        let tmp = root.join("tmp");
        match fs::remove_dir_all(&tmp) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(StoreError::io("empty", tmp)(error));
            }
            _ => {}
        }
        for folder in ["tmp", "layers", "images", "names", "pins", "empty"] {
            private(&root.join(folder))?;
        }
        store.check_format()?;
        let found = Found {
            layers: store.load_layers()?,
            images: store.load_images()?,
            names: store.load_names("names")?,
            pins: store.load_names("pins")?,
        };
        Ok((store, found))
    }

    fn check_format(&self) -> Result<(), StoreError> {
        let path = self.root.join("format");
        match fs::read_to_string(&path) {
            Ok(text) if text.trim() == FORMAT => Ok(()),
            Ok(text) => {
                let found = text.trim().chars().take(20).collect();
                Err(StoreError::Format { path: self.root.clone(), found })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.write("format", FORMAT.as_bytes())
            }
            Err(error) => Err(StoreError::io("read", path)(error)),
        }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The folder that overlayfs mounts for a layer.
    pub(crate) fn layer_path(&self, key: &LayerKey) -> PathBuf {
        self.root.join("layers").join(&key.0).join("fs")
    }

    /// A folder with nothing in it, for images without layers.
    pub(crate) fn empty(&self) -> PathBuf {
        self.root.join("empty")
    }

    /// A name in `tmp` that nobody has.
    fn blank(&self) -> Unfinished {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        Unfinished(self.root.join("tmp").join(number.to_string()))
    }

    /// A new file in `tmp`, for a download.
    pub(crate) fn new_file(&self) -> Result<(Unfinished, File), StoreError> {
        let blank = self.blank();
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create_new(true).mode(0o600);
        let file = options.open(blank.path()).map_err(StoreError::io("make", blank.path()))?;
        Ok((blank, file))
    }

    /// A new folder in `tmp` with an empty `fs`, for a layer.
    pub(crate) fn new_layer(&self) -> Result<Unfinished, StoreError> {
        let blank = self.blank();
        let mut private = fs::DirBuilder::new();
        private.mode(0o700).create(blank.path()).map_err(StoreError::io("make", blank.path()))?;
        let inner = blank.path().join("fs");
        // The root of a container's file system is for everybody to enter.
        let mut open = fs::DirBuilder::new();
        open.mode(0o755).create(&inner).map_err(StoreError::io("make", &inner))?;
        let mode = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
        fs::set_permissions(&inner, mode).map_err(StoreError::io("make", &inner))?;
        Ok(blank)
    }

    /// Brings an unpacked layer to disk and gives it its name. Blocks.
    pub(crate) fn keep_layer(
        &self,
        layer: Unfinished,
        key: &LayerKey,
        record: &LayerRecord,
    ) -> Result<(), StoreError> {
        let record_path = layer.path().join("layer.json");
        let text = serde_json::to_vec(record).map_err(io::Error::from);
        let written = text.and_then(|text| fs::write(&record_path, text));
        written.map_err(StoreError::io("write", &record_path))?;
        // One call for thousands of files.
        let folder = File::open(layer.path()).map_err(StoreError::io("open", layer.path()))?;
        let synced = rustix::fs::syncfs(&folder).map_err(io::Error::from);
        synced.map_err(StoreError::io("sync", layer.path()))?;
        let target = self.root.join("layers").join(&key.0);
        match fs::rename(layer.path(), &target) {
            Ok(()) => {}
            // Another pull was first; theirs is as good.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists
                ) => {}
            Err(error) => return Err(StoreError::io("rename", layer.path())(error)),
        }
        self.sync_folder("layers")
    }

    /// Takes a layer out of the store; it is removed when the answer is dropped. Blocks.
    pub(crate) fn drop_layer(&self, key: &LayerKey) -> Result<Unfinished, StoreError> {
        let blank = self.blank();
        let path = self.root.join("layers").join(&key.0);
        fs::rename(&path, blank.path()).map_err(StoreError::io("rename", path))?;
        Ok(blank)
    }

    pub(crate) fn keep_image(
        &self,
        digest: &Digest,
        record: &ImageRecord,
    ) -> Result<(), StoreError> {
        self.keep_record(&image_file(digest), record)
    }

    pub(crate) fn drop_image(&self, digest: &Digest) -> Result<(), StoreError> {
        self.drop_record(&image_file(digest))
    }

    /// Notes when an image was last used, for the next process.
    pub(crate) fn touch_image(&self, digest: &Digest, seconds: u64) -> Result<(), StoreError> {
        let path = self.root.join(image_file(digest));
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        let file = File::open(&path).map_err(StoreError::io("open", &path))?;
        file.set_modified(time).map_err(StoreError::io("touch", path))
    }

    pub(crate) fn keep_name(&self, record: &NameRecord) -> Result<(), StoreError> {
        self.keep_record(&format!("names/{}.json", short(&record.name)), record)
    }

    pub(crate) fn drop_name(&self, name: &str) -> Result<(), StoreError> {
        self.drop_record(&format!("names/{}.json", short(name)))
    }

    pub(crate) fn keep_pin(&self, record: &NameRecord) -> Result<(), StoreError> {
        self.keep_record(&format!("pins/{}.json", short(&record.name)), record)
    }

    pub(crate) fn drop_pin(&self, owner: &str) -> Result<(), StoreError> {
        self.drop_record(&format!("pins/{}.json", short(owner)))
    }

    fn keep_record(&self, file: &str, record: &impl Serialize) -> Result<(), StoreError> {
        let text = serde_json::to_vec(record)
            .map_err(|e| StoreError::io("write", self.root.join(file))(e.into()))?;
        self.write(file, &text)
    }

    fn drop_record(&self, file: &str) -> Result<(), StoreError> {
        let path = self.root.join(file);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(StoreError::io("remove", path)(error));
            }
            _ => {}
        }
        self.sync_folder(file.split('/').next().unwrap_or_default())
    }

    /// A file that is there whole, or not at all.
    fn write(&self, file: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let (blank, mut new) = self.new_file()?;
        let written = new.write_all(bytes).and_then(|()| new.sync_all());
        written.map_err(StoreError::io("write", blank.path()))?;
        let target = self.root.join(file);
        fs::rename(blank.path(), &target).map_err(StoreError::io("rename", target))?;
        self.sync_folder(file.split_once('/').map_or("", |(folder, _)| folder))
    }

    fn sync_folder(&self, folder: &str) -> Result<(), StoreError> {
        let path = self.root.join(folder);
        let synced = File::open(&path).and_then(|folder| folder.sync_all());
        synced.map_err(StoreError::io("sync", path))
    }

    /// Bytes that may still be written without filling the file system.
    pub(crate) fn room(&self) -> Result<u64, StoreError> {
        let stat = rustix::fs::statvfs(&self.root).map_err(io::Error::from);
        let stat = stat.map_err(StoreError::io("ask about", &self.root))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize).saturating_sub(SPARE_BYTES))
    }

    fn load_layers(&self) -> Result<Vec<(LayerKey, LayerRecord)>, StoreError> {
        let mut found = Vec::new();
        for name in self.list("layers")? {
            let key = LayerKey(name);
            let record = self.root.join("layers").join(&key.0).join("layer.json");
            match load::<LayerRecord>(&record) {
                Some(record) if key.is_sound() && self.layer_path(&key).is_dir() => {
                    found.push((key, record));
                }
                _ => {
                    tracing::warn!(
                        layer = key.0,
                        "a layer in the image store is not whole, removed"
                    );
                    remove(&self.root.join("layers").join(&key.0));
                }
            }
        }
        Ok(found)
    }

    fn load_images(&self) -> Result<Vec<(ImageRecord, u64)>, StoreError> {
        let mut found = Vec::new();
        for name in self.list("images")? {
            let path = self.root.join("images").join(&name);
            let used = fs::metadata(&path).and_then(|meta| meta.modified()).ok();
            let used = used.and_then(|t| t.duration_since(std::time::UNIX_EPOCH).ok());
            match load::<ImageRecord>(&path) {
                Some(record) => found.push((record, used.map_or(0, |t| t.as_secs()))),
                None => discard(&path),
            }
        }
        Ok(found)
    }

    fn load_names(&self, folder: &str) -> Result<Vec<NameRecord>, StoreError> {
        let mut found = Vec::new();
        for name in self.list(folder)? {
            let path = self.root.join(folder).join(&name);
            match load::<NameRecord>(&path) {
                Some(record) => found.push(record),
                None => discard(&path),
            }
        }
        Ok(found)
    }

    fn list(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        let path = self.root.join(folder);
        let entries = fs::read_dir(&path).map_err(StoreError::io("list", &path))?;
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(StoreError::io("list", &path))?;
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }
}

fn image_file(digest: &Digest) -> String {
    format!("images/{}.json", digest.hex())
}

/// A record, unless it is damaged.
fn load<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let size = fs::metadata(path).ok()?.len();
    if size > MAX_RECORD_BYTES {
        return None;
    }
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// A damaged record is a loss of one image, which is pulled again, and not of the store.
fn discard(path: &Path) {
    tracing::warn!(path = %path.display(), "a record of the image store is damaged, removed");
    remove(path);
}

/// A store that several tasks share.
pub(crate) type SharedStore = Arc<Store>;

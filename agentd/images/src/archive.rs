//! Images in a tar file: an OCI layout, or what `docker save` writes.
//!
//! The file is indexed once; blobs are read where they are. A compressed archive is inflated into
//! the store's `tmp` first.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use tar::EntryType;

use crate::config::ConfigFile;
use crate::digest::Digest;
use crate::local::{Part, read_limited};
use crate::manifest::{Descriptor, ManifestError};
use crate::settings::Limits;
use crate::source::{Blob, LayerPart};
use crate::store::{SharedStore, Unfinished};

const TOO_LONG: &str = "its headers are too long";
/// Members of one archive.
const MAX_MEMBERS: usize = 20_000;
/// Bytes of headers, long names included, in one archive.
const MAX_HEADER_BYTES: u64 = 64 << 20;
/// Links from member to member that are followed.
const MAX_LINKS: usize = 8;

/// An archive whose members are known.
#[derive(Debug)]
pub(crate) struct Archive {
    file: Arc<File>,
    members: HashMap<String, Member>,
    /// Where it was inflated to.
    _inflated: Option<Unfinished>,
}

#[derive(Debug)]
enum Member {
    File { offset: u64, size: u64 },
    Link(String),
}

/// An image of `docker save`.
#[derive(Debug)]
pub(crate) struct Saved {
    pub(crate) config: Vec<u8>,
    pub(crate) layers: Vec<LayerPart>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SavedImage {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

impl Archive {
    /// Reads the index of an archive, and later its parts from this very file. Blocks.
    pub(crate) fn read_index(
        mut file: File,
        store: &SharedStore,
        limits: &Limits,
    ) -> io::Result<Self> {
        let mut start = [0; 4];
        let got = file.read(&mut start)?;
        file.seek(SeekFrom::Start(0))?;
        let reader = BufReader::with_capacity(128 * 1024, file.try_clone()?);
        let plain: Option<Box<dyn Read>> = match &start[..got] {
            [0x1f, 0x8b, ..] => Some(Box::new(flate2::bufread::MultiGzDecoder::new(reader))),
            [0x28, 0xb5, 0x2f, 0xfd] => {
                Some(Box::new(zstd::stream::read::Decoder::with_buffer(reader)?))
            }
            _ => None,
        };
        let (file, inflated) = match plain {
            None => (file, None),
            Some(plain) => {
                let (unfinished, mut to) = store.new_file().map_err(io::Error::other)?;
                let mut plain = plain.take(limits.unpacked_bytes + 1);
                let bytes = io::copy(&mut plain, &mut to)?;
                if bytes > limits.unpacked_bytes {
                    let text = format!("it inflates to more than {} bytes", limits.unpacked_bytes);
                    return Err(io::Error::new(io::ErrorKind::InvalidData, text));
                }
                to.flush()?;
                (File::open(unfinished.path())?, Some(unfinished))
            }
        };
        let members = index(file.try_clone()?)?;
        Ok(Self { file: Arc::new(file), members, _inflated: inflated })
    }

    /// Whether it holds an OCI layout.
    pub(crate) fn is_layout(&self) -> bool {
        self.members.contains_key("oci-layout") || !self.members.contains_key("manifest.json")
    }

    fn find(&self, name: &str) -> io::Result<(u64, u64)> {
        let mut name = clean(name);
        for _ in 0..MAX_LINKS {
            match self.members.get(&name) {
                Some(Member::File { offset, size }) => return Ok((*offset, *size)),
                Some(Member::Link(target)) => name.clone_from(target),
                None => break,
            }
        }
        let text = format!("the archive has no file '{name}'");
        Err(io::Error::new(io::ErrorKind::NotFound, text))
    }

    /// A small member.
    pub(crate) fn read(&self, name: &str, limit: u64) -> io::Result<Vec<u8>> {
        let (offset, size) = self.find(name)?;
        read_limited(self.at(offset, size), limit, Path::new(name))
    }

    /// A blob of the layout in it.
    pub(crate) fn blob(&self, blob: &Descriptor) -> io::Result<Part> {
        let name = format!("blobs/{}", blob.digest.to_string().replace(':', "/"));
        let (offset, size) = self.find(&name)?;
        if size != blob.size {
            let text = format!("'{name}' has {size} bytes, but its manifest says {}", blob.size);
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        Ok(self.at(offset, size))
    }

    pub(crate) fn at(&self, offset: u64, size: u64) -> Part {
        Part::new(self.file.clone(), offset, size)
    }

    /// The image of this name that `docker save` wrote; without a name, the only one.
    pub(crate) fn saved(&self, name: Option<&str>, limits: &Limits) -> io::Result<Saved> {
        let invalid = |error: ManifestError| io::Error::new(io::ErrorKind::InvalidData, error);
        let unusable = |text: String| invalid(ManifestError::Unusable(text));
        let text = self.read("manifest.json", limits.manifest_bytes)?;
        let images: Vec<SavedImage> =
            serde_json::from_slice(&text).map_err(|e| invalid(e.into()))?;
        let image = match (name, images.as_slice()) {
            (None, [only]) => only,
            (None, all) => {
                return Err(unusable(format!(
                    "it holds {} images; append ':' and a name",
                    all.len()
                )));
            }
            (Some(name), all) => {
                let tagged = format!("{name}:latest");
                let is = |tag: &String| *tag == name || *tag == tagged;
                let found = all.iter().find(|i| i.repo_tags.iter().flatten().any(is));
                found.ok_or_else(|| {
                    let tags: Vec<&str> = all
                        .iter()
                        .flat_map(|i| i.repo_tags.iter().flatten())
                        .map(|t| &**t)
                        .collect();
                    unusable(format!("no image is named '{name}'; these are: {}", tags.join(", ")))
                })?
            }
        };
        if image.layers.len() > limits.layers {
            return Err(unusable(format!("it has more than {} layers", limits.layers)));
        }
        let config = self.read(&image.config, limits.config_bytes)?;
        let diff_ids = ConfigFile::parse(&config).map_err(invalid)?.diff_ids;
        if diff_ids.len() != image.layers.len() {
            return Err(unusable("its configuration lists other layers than its manifest".into()));
        }
        let layer = |(name, diff_id): (&String, Digest)| {
            let (offset, size) = self.find(name)?;
            Ok(LayerPart { blob: Blob::At { offset, size }, diff_id })
        };
        let layers = image.layers.iter().zip(diff_ids).map(layer).collect::<io::Result<_>>()?;
        Ok(Saved { config, layers })
    }
}

/// A file of which only headers are read; what they describe is passed over.
#[derive(Debug)]
struct Headers {
    file: File,
    left: u64,
}

impl Read for Headers {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read(buffer)?;
        self.left = self
            .left
            .checked_sub(length as u64)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, TOO_LONG))?;
        Ok(length)
    }
}

impl Seek for Headers {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.file.seek(position)
    }
}

/// Whoever names a file that is no archive must not read it in the answer: the parser quotes what it
/// found.
fn unquoted(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::InvalidData if error.to_string() == TOO_LONG => error,
        io::ErrorKind::Other | io::ErrorKind::InvalidData => {
            io::Error::new(io::ErrorKind::InvalidData, "it is no tar archive")
        }
        kind => io::Error::from(kind),
    }
}

/// Reads the headers of a tar file that is not compressed.
fn index(file: File) -> io::Result<HashMap<String, Member>> {
    let mut archive = tar::Archive::new(Headers { file, left: MAX_HEADER_BYTES });
    let mut members = HashMap::new();
    for entry in archive.entries_with_seek().map_err(unquoted)? {
        let entry = entry.map_err(unquoted)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if members.len() >= MAX_MEMBERS {
            let text = format!("it has more than {MAX_MEMBERS} files; it is no archive of images");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        let name = clean(&name);
        match entry.header().entry_type() {
            EntryType::Regular | EntryType::Continuous => {
                let (offset, size) = (entry.raw_file_position(), entry.size());
                members.insert(name, Member::File { offset, size });
            }
            EntryType::Symlink | EntryType::Link => {
                let target = entry.link_name_bytes().unwrap_or_default();
                let target = String::from_utf8_lossy(&target).into_owned();
                let is_soft = entry.header().entry_type() == EntryType::Symlink;
                let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
                let target = if is_soft { format!("{folder}/{target}") } else { target };
                members.insert(name, Member::Link(clean(&target)));
            }
            _ => {}
        }
    }
    Ok(members)
}

/// A name without `.` and `..`; it is only looked up, never opened.
fn clean(name: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

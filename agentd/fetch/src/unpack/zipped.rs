//! Zip.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use zip::ZipArchive;

use super::Context;
use crate::meter::{Meter, Metered};
use crate::sandbox::{Sandbox, entry_path};
use crate::{Hostile, UnpackError};

const KIND: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;
const FOLDER: u32 = 0o040_000;
const SYMLINK: u32 = 0o120_000;

/// Longest target of a symbolic link.
const MAX_TARGET_BYTES: u64 = 4096;

pub(super) fn unpack(
    mut file: BufReader<File>,
    sandbox: &Sandbox,
    meter: &Meter,
) -> Result<(), UnpackError> {
    let entries = claimed_entries(&mut file).map_err(|e| meter.explain("", e))?;
    meter.expect_entries(entries).map_err(|e| meter.explain("", e))?;
    let mut archive = ZipArchive::new(file).map_err(UnpackError::Zip)?;
    for number in 0..archive.len() {
        let mut entry = archive.by_index(number).map_err(UnpackError::Zip)?;
        let name = String::from_utf8_lossy(entry.name_raw()).into_owned();
        let context = Context { entry: &name, meter };
        meter.entry().map_err(|e| context.io(e))?;
        let path = entry_path(entry.name_raw()).map_err(|what| context.hostile(what))?;
        let mode = entry.unix_mode();
        let kind = mode.map_or(0, |mode| mode & KIND);
        let mut content = Metered::new(&mut entry, meter.clone());
        if name.ends_with('/') || kind == FOLDER {
            context.folder(sandbox, &path, mode.unwrap_or(0o755))?;
        } else if kind == SYMLINK {
            let mut target = Vec::new();
            content
                .by_ref()
                .take(MAX_TARGET_BYTES)
                .read_to_end(&mut target)
                .map_err(|e| context.io(e))?;
            if target.contains(&0) {
                return Err(context.hostile(Hostile::SymlinkOut));
            }
            context.symlink(sandbox, &path, PathBuf::from(OsStr::from_bytes(&target)))?;
        } else if kind == REGULAR || kind == 0 {
            context.file(sandbox, &path, mode.unwrap_or(0o644), &mut content)?;
        } else {
            return Err(context.hostile(Hostile::Special));
        }
    }
    Ok(())
}

/// Bytes at the end of a zip file in which its directory is announced: the record, and a comment.
const TAIL_BYTES: u64 = 22 + 65_535 + 76;

/// The largest number of entries that any announcement at the file's end claims. The directory is
/// held in memory, so a false giant is refused before it is read.
fn claimed_entries(file: &mut (impl Read + Seek)) -> io::Result<u64> {
    let size = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(size.saturating_sub(TAIL_BYTES)))?;
    let mut tail = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut tail)?;
    let mut most = 0;
    for at in 0..tail.len() {
        let rest = &tail[at..];
        if rest.starts_with(b"PK\x05\x06") {
            most = most.max(number::<2>(rest, 10));
        } else if rest.starts_with(b"PK\x06\x07") {
            let place = number::<8>(rest, 8);
            let mut record = [0; 40];
            if file.seek(SeekFrom::Start(place)).is_ok() && file.read_exact(&mut record).is_ok() {
                most = most.max(number::<8>(&record, 32));
            }
        }
    }
    file.seek(SeekFrom::Start(0))?;
    Ok(most)
}

/// A little-endian number of `N` bytes; zero when it is cut off.
fn number<const N: usize>(bytes: &[u8], at: usize) -> u64 {
    let mut wide = [0; 8];
    let Some(found) = bytes.get(at..at + N) else { return 0 };
    wide[..N].copy_from_slice(found);
    u64::from_le_bytes(wide)
}

//! Tar, in all the dialects that the `tar` crate reads.

use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use tar::EntryType;

use super::Context;
use crate::meter::{Meter, Metered};
use crate::sandbox::{Sandbox, entry_path};
use crate::{Hostile, UnpackError};

pub(super) fn unpack(from: impl Read, sandbox: &Sandbox, meter: &Meter) -> Result<(), UnpackError> {
    let mut archive = tar::Archive::new(from);
    let before_first = |e| meter.explain("", e);
    meter.between_entries();
    let entries = archive.entries().map_err(before_first)?;
    let mut last = String::new();
    for entry in entries {
        let mut entry = entry.map_err(|e| meter.explain(&last, e))?;
        last = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        meter.entry().map_err(|e| meter.explain(&last, e))?;
        unpack_entry(&mut entry, &Context { entry: &last, meter }, sandbox)?;
        meter.between_entries();
    }
    // To the last byte, so that a compressed stream checks its own sum.
    meter.after_entries();
    let mut rest = archive.into_inner();
    std::io::copy(&mut rest, &mut std::io::sink()).map_err(|e| meter.explain(&last, e))?;
    Ok(())
}

fn unpack_entry(
    entry: &mut tar::Entry<'_, impl Read>,
    context: &Context<'_>,
    sandbox: &Sandbox,
) -> Result<(), UnpackError> {
    let path = entry_path(&entry.path_bytes()).map_err(|what| context.hostile(what))?;
    let mode = entry.header().mode().unwrap_or(0o644);
    match entry.header().entry_type() {
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
            context.file(sandbox, &path, mode, entry)
        }
        EntryType::Directory => context.folder(sandbox, &path, mode),
        EntryType::Symlink => {
            let target = link_target(entry, context, Hostile::SymlinkOut)?;
            context.symlink(sandbox, &path, target)
        }
        EntryType::Link => {
            let target = link_target(entry, context, Hostile::HardLinkOut)?;
            let target = entry_path(target.as_os_str().as_bytes())
                .map_err(|_| context.hostile(Hostile::HardLinkOut))?;
            if target == path {
                return Err(context.hostile(Hostile::HardLinkOut));
            }
            // A copy: a link would give one file two owners and two names to check.
            let original = sandbox.open_file(&target).map_err(|e| context.link(e))?;
            let mut original = Metered::new(original, context.meter.clone());
            context.file(sandbox, &path, mode, &mut original)
        }
        EntryType::Block | EntryType::Char | EntryType::Fifo => {
            Err(context.hostile(Hostile::Special))
        }
        // Headers for the whole archive, volume labels, and what nobody knows.
        _ => Ok(()),
    }
}

fn link_target(
    entry: &tar::Entry<'_, impl Read>,
    context: &Context<'_>,
    otherwise: Hostile,
) -> Result<PathBuf, UnpackError> {
    let target = entry.link_name_bytes().ok_or_else(|| context.hostile(otherwise))?;
    if target.is_empty() || target.contains(&0) {
        return Err(context.hostile(otherwise));
    }
    Ok(PathBuf::from(OsStr::from_bytes(&target)))
}

//! Folders on each other: the root of a container, and volumes that show an image.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use tepui_container::Root;

use crate::fault::{Attempt, Fault};

const NOTHING: Option<&str> = None;
/// What overlayfs takes at most.
const MAX_LAYERS: usize = 500;

/// Makes the root of the container, and says where it is. What the container writes is in the bundle.
pub(crate) fn mount_root(bundle: &Path, scratch: &Path, root: &Root) -> Result<PathBuf, Fault> {
    let place = scratch.join("rootfs");
    make(&place)?;
    match root {
        Root::Host => {
            let all = MsFlags::MS_BIND | MsFlags::MS_REC;
            mount(Some("/"), &place, NOTHING, all, NOTHING).on("show the host at", &place)?;
        }
        Root::Layers(layers) => {
            for name in ["upper", "work"] {
                make(&bundle.join(name))?;
                if scratch != bundle {
                    link(&bundle.join(name), &scratch.join(name))?;
                }
            }
            overlay(scratch, "r", layers, &place, Some(("upper", "work")))?;
        }
    }
    Ok(place)
}

/// Shows an image's content at a folder of its scratch; it cannot be written.
pub(crate) fn mount_image(
    scratch: &Path,
    name: &str,
    layers: &[PathBuf],
) -> Result<PathBuf, Fault> {
    let place = scratch.join(name);
    make(&place)?;
    if let [only] = layers {
        mount(Some(only), &place, NOTHING, MsFlags::MS_BIND, NOTHING).on("show", only)?;
        // A layer belongs to everybody who has the image.
        let sealed = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        mount(NOTHING, &place, NOTHING, sealed, NOTHING).on("seal", only)?;
        return Ok(place);
    }
    overlay(scratch, &format!("l{name}"), layers, &place, None)?;
    Ok(place)
}

fn make(folder: &Path) -> Result<(), Fault> {
    fs::create_dir_all(folder).on("create", folder)
}

/// Makes a link, in the place of a former one.
fn link(to: &Path, at: &Path) -> Result<(), Fault> {
    match fs::remove_file(at) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).on("replace", at);
        }
        _ => {}
    }
    symlink(to, at).on("link", to)
}

/// The kernel takes one page of options, so layers go by short names.
fn overlay(
    scratch: &Path,
    names: &str,
    layers: &[PathBuf],
    place: &Path,
    upper: Option<(&str, &str)>,
) -> Result<(), Fault> {
    if layers.is_empty() || layers.len() > MAX_LAYERS {
        return Err(Fault(format!("an image of {} layers cannot be mounted", layers.len())));
    }
    std::env::set_current_dir(scratch).on("enter", scratch)?;
    make(Path::new(names))?;
    let mut lower = Vec::new();
    for (at, layer) in layers.iter().enumerate() {
        if !layer.is_dir() {
            return Err(Fault(format!("layer '{}' of the image is gone", layer.display())));
        }
        let name = format!("{names}/{at}");
        link(layer, Path::new(&name))?;
        lower.push(name);
    }
    lower.reverse();
    let mut options = format!("lowerdir={}", lower.join(":"));
    if let Some((upper, work)) = upper {
        options.push_str(&format!(",upperdir={upper},workdir={work}"));
    }
    // Device nodes of an image mean nothing: those that a container has are in its /dev.
    let flags = MsFlags::MS_NODEV;
    let attempt =
        |options: &str| mount(Some("overlay"), place, Some("overlay"), flags, Some(options));
    // What a container writes here goes with it, so its end need not wait for the disk. Kernels before
    // 5.10 do not know the word, and wait.
    let unsynced = upper.is_some().then(|| attempt(&format!("{options},volatile")));
    match unsynced {
        None | Some(Err(Errno::EINVAL)) => attempt(&options),
        Some(done) => done,
    }
    .on("mount the image at", place)
}

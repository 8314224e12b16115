//! Paths of entries: cleaned, or refused.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use super::Hostile;

/// Most parts of a path.
const MAX_DEPTH: usize = 256;
/// Most bytes of a path, less than the kernel's own limit.
pub(super) const MAX_PATH_BYTES: usize = 4000;
/// Most bytes of a part; the limit of every file system.
const MAX_PART_BYTES: usize = 255;

/// What an entry's path asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// The layer's root.
    Root,
    /// A file, folder or link.
    Path(PathBuf),
    /// The thing of this path in lower layers is gone.
    Whiteout(PathBuf),
    /// Everything in this folder of lower layers is gone; empty for the root.
    Opaque(PathBuf),
    /// Something that AUFS kept for itself.
    Ignored,
}

/// Reads a path. An absolute one begins at the layer's root, as Docker has it.
pub(super) fn target(bytes: &[u8]) -> Result<Target, Hostile> {
    let path = clean(bytes)?;
    let Some(name) = path.file_name() else { return Ok(Target::Root) };
    let parent = path.parent().unwrap_or_else(|| Path::new(""));
    if parent.iter().chain([name]).any(is_aufs) {
        return Ok(Target::Ignored);
    }
    if parent.iter().any(|part| part.as_bytes().starts_with(b".wh.")) {
        return Err(Hostile::Whiteout);
    }
    if name == ".wh..wh..opq" {
        return Ok(Target::Opaque(parent.to_owned()));
    }
    match name.as_bytes().strip_prefix(b".wh.") {
        None => Ok(Target::Path(path)),
        Some(b"" | b"." | b"..") => Err(Hostile::Whiteout),
        Some(hidden) => Ok(Target::Whiteout(parent.join(OsStr::from_bytes(hidden)))),
    }
}

fn is_aufs(part: &OsStr) -> bool {
    part.as_bytes().starts_with(b".wh..wh.") && part != ".wh..wh..opq"
}

/// A path without `.`, `..` and empty parts, relative to the root.
pub(super) fn clean(bytes: &[u8]) -> Result<PathBuf, Hostile> {
    if bytes.contains(&0) || bytes.len() > MAX_PATH_BYTES {
        return Err(Hostile::BadPath);
    }
    let mut clean = PathBuf::new();
    for part in Path::new(OsStr::from_bytes(bytes)).components() {
        match part {
            Component::Normal(part) if part.len() <= MAX_PART_BYTES => clean.push(part),
            Component::Normal(_) => return Err(Hostile::BadPath),
            Component::ParentDir => return Err(Hostile::Traversal),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    if clean.components().count() > MAX_DEPTH { Err(Hostile::BadPath) } else { Ok(clean) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_or_refused() {
        let path = |text: &str| Ok(Target::Path(text.into()));
        for (text, target_) in [
            ("./a//b/.", path("a/b")),
            ("/etc/passwd", path("etc/passwd")),
            ("./", Ok(Target::Root)),
            ("/", Ok(Target::Root)),
            ("", Ok(Target::Root)),
            ("a/../b", Err(Hostile::Traversal)),
            ("..", Err(Hostile::Traversal)),
            ("a\0", Err(Hostile::BadPath)),
            ("d/.wh.x", Ok(Target::Whiteout("d/x".into()))),
            (".wh..wh..opq", Ok(Target::Opaque("".into()))),
            ("d/.wh..wh..opq", Ok(Target::Opaque("d".into()))),
            (".wh..wh.plnk/1.2", Ok(Target::Ignored)),
            (".wh..wh.aufs", Ok(Target::Ignored)),
            ("d/.wh.", Err(Hostile::Whiteout)),
            ("d/.wh..", Err(Hostile::Whiteout)),
            ("d/.wh...", Err(Hostile::Whiteout)),
            (".wh.x/y", Err(Hostile::Whiteout)),
            (".wh..wh..opq/y", Err(Hostile::Whiteout)),
        ] {
            assert_eq!(target(text.as_bytes()), target_, "{text:?}");
        }
        assert_eq!(target(&[b'a'; 256]), Err(Hostile::BadPath));
        assert_eq!(target(&b"a/".repeat(257)), Err(Hostile::BadPath));
        assert_eq!(target(&b"aaaaaaaaaaaaaaaaaaaa/".repeat(200)), Err(Hostile::BadPath));
    }
}

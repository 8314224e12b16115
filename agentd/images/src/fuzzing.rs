//! Doors for the fuzz targets of `control-plane/fuzz`; no part of the interface.

use std::path::Path;

use crate::config::ConfigFile;
use crate::credentials::DockerConfig;
use crate::digest::Digest;
use crate::manifest::{Document, choose};
use crate::platform::Platform;
use crate::reference::{DOCKER_HUB, Reference};
use crate::settings::Limits;
use crate::unpack::{Job, Room, settle, unpack};

/// Unpacks these bytes as a layer, on top of another, whatever their digests are.
pub fn unpack_layer(bytes: &[u8], into: &Path, lower: &Path) {
    let limits = Limits {
        ratio_floor_bytes: 1 << 20,
        unpacked_bytes: 1 << 20,
        entries: 200,
        ..Limits::default()
    };
    let job = Job {
        digest: None,
        diff_id: Digest::of(bytes),
        size: bytes.len() as u64,
        limits,
        cancelled: std::sync::Arc::default(),
    };
    if let Ok(done) = unpack(bytes, into, &job) {
        let room = Room { limits, size: bytes.len() as u64, left: limits.unpacked_bytes };
        let _ = settle(into, &[lower.to_owned()], done.deferred, &room);
    }
}

/// Reads these bytes as each of the documents that come from registries and users.
pub fn read_documents(bytes: &[u8]) {
    if let Ok(Document::Index(entries)) = Document::parse(bytes, &Limits::default()) {
        let _ = choose(&entries, None, &Platform::of_host());
        let _ = choose(&entries, Some("latest"), &Platform::of_host());
    }
    if let Ok(file) = ConfigFile::parse(bytes) {
        let paths = file.config.volumes.iter().chain(&file.config.working_dir);
        for path in paths {
            assert!(path.starts_with('/') && !path.split('/').any(|part| part == ".."));
        }
    }
    let _ = DockerConfig::parse(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(reference) = Reference::parse(text, DOCKER_HUB) {
        let again = Reference::parse(&reference.to_string(), DOCKER_HUB);
        assert_eq!(again.as_ref(), Ok(&reference));
    }
}

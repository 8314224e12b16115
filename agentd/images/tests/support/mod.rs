//! Images that tests make, and registries that serve them.
#![allow(dead_code, unreachable_pub, missing_debug_implementations, clippy::unwrap_used)]

pub mod fake;
pub mod real;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;

use tepui_images::{Digest, ImageRequest, Images, Limits, Platform, Prepared, Settings};

/// A layer: names and texts; a name with a slash at its end is a folder.
pub fn layer(files: &[(&str, &str)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, text) in files {
        let mut header = tar::Header::new_gnu();
        let is_folder = name.ends_with('/');
        header.set_entry_type(if is_folder {
            tar::EntryType::Directory
        } else {
            tar::EntryType::Regular
        });
        header.set_mode(if is_folder { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000);
        header.set_size(text.len() as u64);
        tar.append_data(&mut header, name, text.as_bytes()).unwrap();
    }
    tar.into_inner().unwrap()
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

/// Bytes that do not become smaller.
pub fn noise(length: usize, mut seed: u64) -> String {
    let mut text = String::new();
    while text.len() < length {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        text.push(char::from(b' ' + u8::try_from((seed >> 33) % 90).unwrap()));
    }
    text
}

/// An image, as blobs and the manifest that names them.
#[derive(Clone, Debug, Default)]
pub struct Made {
    pub blobs: BTreeMap<String, Vec<u8>>,
    pub manifest: Vec<u8>,
    pub config: String,
    pub layers: Vec<String>,
}

impl Made {
    /// An image of these tar files for this host.
    pub fn new(layers: &[Vec<u8>]) -> Self {
        Self::of(layers, r#""Cmd":["/bin/sh"],"Env":["PATH=/bin"]"#, &Platform::of_host())
    }

    pub fn of(layers: &[Vec<u8>], config: &str, platform: &Platform) -> Self {
        let mut made = Self::default();
        let diff_ids: Vec<String> =
            layers.iter().map(|tar| format!("\"{}\"", Digest::of(tar))).collect();
        let config = format!(
            r#"{{"os":"{}","architecture":"{}","config":{{{config}}},
                "rootfs":{{"type":"layers","diff_ids":[{}]}}}}"#,
            platform.os,
            platform.architecture,
            diff_ids.join(",")
        );
        made.config = made.add(config.into_bytes());
        made.layers = layers.iter().map(|tar| made.add(gzip(tar))).collect();
        made.describe();
        made
    }

    pub fn add(&mut self, bytes: Vec<u8>) -> String {
        let digest = Digest::of(&bytes).to_string();
        self.blobs.insert(digest.clone(), bytes);
        digest
    }

    pub fn describe(&mut self) {
        let of = |digest: &String, kind: &str| {
            let size = self.blobs[digest].len();
            format!(
                r#"{{"mediaType":"application/vnd.oci.image.{kind}","digest":"{digest}","size":{size}}}"#
            )
        };
        let layers: Vec<String> =
            self.layers.iter().map(|layer| of(layer, "layer.v1.tar+gzip")).collect();
        self.manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",
                "config":{},"layers":[{}]}}"#,
            of(&self.config, "config.v1+json"),
            layers.join(",")
        )
        .into_bytes();
    }

    pub fn digest(&self) -> Digest {
        Digest::of(&self.manifest)
    }

    /// Writes an OCI layout with this image under a tag.
    pub fn write_layout(&self, path: &Path, tag: &str) {
        let blobs = path.join("blobs/sha256");
        fs::create_dir_all(&blobs).unwrap();
        fs::write(path.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        for (digest, bytes) in &self.blobs {
            fs::write(blobs.join(&digest[7..]), bytes).unwrap();
        }
        let digest = self.digest();
        fs::write(blobs.join(digest.hex()), &self.manifest).unwrap();
        let index = format!(
            r#"{{"schemaVersion":2,"manifests":[{{"mediaType":
                "application/vnd.oci.image.manifest.v1+json","digest":"{digest}","size":{},
                "annotations":{{"org.opencontainers.image.ref.name":"{tag}"}}}}]}}"#,
            self.manifest.len()
        );
        fs::write(path.join("index.json"), index).unwrap();
    }
}

/// Limits under which tests do not wait.
pub fn quick() -> Settings {
    let limits = Limits {
        backoff: std::time::Duration::from_millis(1),
        stall: std::time::Duration::from_millis(500),
        ..Limits::default()
    };
    // Where tests make their images is nobody's business here.
    Settings { limits, local_images: vec!["/".into()], ..Settings::default() }
}

pub async fn ensure(images: &Images, reference: &str) -> Result<Prepared, String> {
    images.ensure(&ImageRequest::new(reference), |_| {}).await.map_err(|error| chain(&error))
}

/// An error with its causes.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

/// What a container would see at a path: the highest layer that has it.
pub fn read(image: &Prepared, path: &str) -> Option<String> {
    image.layers().iter().rev().find_map(|layer| fs::read_to_string(layer.join(path)).ok())
}

/// Names in a folder of the store.
pub fn names(root: &Path, folder: &str) -> Vec<String> {
    let entries = fs::read_dir(root.join(folder)).unwrap();
    let mut names: Vec<String> =
        entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

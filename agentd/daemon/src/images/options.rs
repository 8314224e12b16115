//! From flags and keys to a store's settings. Names are Mesos's where it has them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde::Deserialize;
use tepui_images::{DOCKER_HUB, DockerConfig, Policy, Settings};

use super::INTERVAL;

/// Days until an image goes that nobody uses.
pub const IMAGE_GC_DELAY_DAYS: u64 = 7;
/// Part of the disk that images leave free, in thousandths (Mesos's `image_disk_headroom`).
const HEADROOM_THOUSANDTHS: u16 = 100;
/// Bytes of a configuration file that is read.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// The keys about images, as they were given.
#[derive(Clone, Debug, Default)]
pub struct ImageKeys {
    /// `image_store_dir`.
    pub folder: Option<PathBuf>,
    /// `docker_registry`.
    pub registry: Option<String>,
    /// `docker_config`.
    pub docker_config: Option<PathBuf>,
    /// `insecure_registries`.
    pub insecure: Vec<String>,
    /// `registry_mirrors`.
    pub mirrors: Vec<String>,
    /// `local_images`.
    pub local: Vec<PathBuf>,
    /// `shield_tasks`.
    pub is_shielded: bool,
    /// `image_gc_config`.
    pub gc_config: Option<String>,
    /// `image_gc_delay_days`.
    pub gc_delay_days: Option<u64>,
}

/// The configuration in force.
#[derive(Clone, Debug)]
pub struct ImageOptions {
    /// Where images are kept.
    pub folder: PathBuf,
    /// Where they come from, and what they may cost.
    pub settings: Settings,
    /// How often idle ones are looked for.
    pub interval: Duration,
    unused_for: Duration,
    headroom_thousandths: u16,
    keep: Vec<String>,
}

/// Mesos's `--image_gc_config`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct GcConfig {
    #[serde(default)]
    image_disk_headroom: Option<f64>,
    #[serde(default)]
    image_disk_watch_interval: Option<Nanoseconds>,
    #[serde(default)]
    excluded_images: Vec<Excluded>,
}

#[derive(Debug, Deserialize)]
struct Nanoseconds {
    nanoseconds: u64,
}

#[derive(Debug, Deserialize)]
struct Excluded {
    #[serde(default)]
    docker: Option<ExcludedDocker>,
}

#[derive(Debug, Deserialize)]
struct ExcludedDocker {
    name: String,
}

impl ImageKeys {
    /// Checks the keys and fills in defaults.
    ///
    /// # Errors
    /// When one makes no sense; the error names the key and what would be right.
    pub fn resolve(self, work_dir: &Path) -> anyhow::Result<ImageOptions> {
        let folder = self.folder.unwrap_or_else(|| work_dir.join("images"));
        let folder = std::path::absolute(&folder)
            .with_context(|| format!("image_store_dir {} has no place", folder.display()))?;
        let mut settings = Settings::default();
        settings.insecure_registries.extend(self.insecure);
        for registry in &settings.insecure_registries {
            check_host("insecure_registries", registry)?;
        }
        if let Some(text) = self.registry {
            let (registry, is_plain) = registry(&text)?;
            if is_plain {
                settings.insecure_registries.insert(registry.clone());
            }
            settings.default_registry = registry;
        }
        for mirror in self.mirrors {
            let Some((registry, host)) = mirror.split_once('=') else {
                bail!(
                    "registry_mirrors has {mirror:?}; right would be docker.io=mirror.local:5000"
                );
            };
            check_host("registry_mirrors", registry)?;
            check_host("registry_mirrors", host)?;
            settings.mirrors.entry(registry.to_owned()).or_default().push(host.to_owned());
        }
        settings.local_images = local_images(self.local, self.is_shielded)?;
        if let Some(path) = self.docker_config {
            let text = read("docker_config", &path)?;
            settings.docker_config = DockerConfig::parse(&text)
                .with_context(|| format!("docker_config = {}", path.display()))?;
        }
        let gc = self.gc_config.as_deref().map(gc_config).transpose()?;
        let headroom = gc.as_ref().and_then(|gc| gc.image_disk_headroom);
        let interval = gc.as_ref().and_then(|gc| gc.image_disk_watch_interval.as_ref());
        let days = self.gc_delay_days.unwrap_or(IMAGE_GC_DELAY_DAYS);
        Ok(ImageOptions {
            folder,
            settings,
            interval: interval.map_or(INTERVAL, |i| Duration::from_nanos(i.nanoseconds)),
            unused_for: Duration::from_secs(days.saturating_mul(24 * 3600)),
            headroom_thousandths: headroom.map_or(Ok(HEADROOM_THOUSANDTHS), thousandths)?,
            keep: gc
                .map(|gc| gc.excluded_images)
                .unwrap_or_default()
                .into_iter()
                .filter_map(|image| Some(image.docker?.name))
                .collect(),
        })
    }
}

impl ImageOptions {
    /// What may stay on a disk that is so full.
    #[must_use]
    pub fn policy(&self, fullness_thousandths: Option<u16>) -> Policy {
        let full = fullness_thousandths
            .is_some_and(|full| full > 1000u16.saturating_sub(self.headroom_thousandths));
        let unused_for = if full { Duration::ZERO } else { self.unused_for };
        Policy { unused_for, max_bytes: None, keep: self.keep.clone() }
    }
}

/// Absolute folders; none where tasks are kept from the host, whose files they would be.
fn local_images(folders: Vec<PathBuf>, is_shielded: bool) -> anyhow::Result<Vec<PathBuf>> {
    ensure!(
        folders.is_empty() || !is_shielded,
        "local_images and shield_tasks exclude each other: behind the shield no task's root is read \
         from files of the host; a registry can serve them"
    );
    for folder in &folders {
        let is_straight = folder.components().all(|part| part != std::path::Component::ParentDir);
        ensure!(
            folder.is_absolute() && is_straight,
            "local_images has {folder:?}; right would be an absolute folder such as /srv/images"
        );
    }
    Ok(folders)
}

/// `https://registry-1.docker.io`, `http://127.0.0.1:5000`, or a host alone.
fn registry(text: &str) -> anyhow::Result<(String, bool)> {
    let (is_plain, rest) = match text.split_once("://") {
        None => (false, text),
        Some(("https", rest)) => (false, rest),
        Some(("http", rest)) => (true, rest),
        Some((scheme, _)) => bail!(
            "docker_registry = {text:?} has scheme {scheme}; right would be https://host. Images of \
             a folder are named oci:/path:tag instead"
        ),
    };
    let host = rest.strip_suffix('/').unwrap_or(rest);
    check_host("docker_registry", host)?;
    let host = match host {
        "registry-1.docker.io" | "index.docker.io" => DOCKER_HUB,
        other => other,
    };
    Ok((host.to_owned(), is_plain))
}

/// A host with an optional port, as names of images have it.
fn check_host(key: &str, host: &str) -> anyhow::Result<()> {
    let is_host = !host.is_empty()
        && !host.contains('/')
        && tepui_images::Reference::parse(&format!("{host}/image"), host).is_ok();
    ensure!(is_host, "{key} has {host:?}; right would be a host such as registry.local:5000");
    Ok(())
}

/// JSON, or the path of a file with it, with or without `file://`.
fn gc_config(text: &str) -> anyhow::Result<GcConfig> {
    let json = match text.trim_start().starts_with('{') {
        true => text.as_bytes().to_vec(),
        false => read("image_gc_config", Path::new(text))?,
    };
    let gc: GcConfig = serde_json::from_slice(&json).context(
        "image_gc_config is not what Mesos takes; right would be {\"image_disk_headroom\": 0.1, \
         \"image_disk_watch_interval\": {\"nanoseconds\": 3600000000000}, \"excluded_images\": []}",
    )?;
    if let Some(interval) = &gc.image_disk_watch_interval {
        ensure!(
            interval.nanoseconds >= 1_000_000_000,
            "image_gc_config: image_disk_watch_interval is less than a second"
        );
    }
    Ok(gc)
}

fn thousandths(headroom: f64) -> anyhow::Result<u16> {
    ensure!(
        (0.0..=1.0).contains(&headroom),
        "image_gc_config: image_disk_headroom = {headroom} is not between 0 and 1"
    );
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // 0 to 1000.
    Ok((headroom * 1000.0).round() as u16)
}

fn read(key: &str, path: &Path) -> anyhow::Result<Vec<u8>> {
    use std::io::Read;
    let plain = path.to_str().and_then(|text| text.strip_prefix("file://")).map(Path::new);
    let path = plain.unwrap_or(path);
    let context = || format!("failed to read {key} = {}", path.display());
    let file = std::fs::File::open(path).with_context(context)?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).with_context(context)?;
    ensure!(bytes.len() as u64 <= MAX_FILE_BYTES, "{key} = {} is too long", path.display());
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(keys: ImageKeys) -> anyhow::Result<ImageOptions> {
        keys.resolve(Path::new("/var/lib/agent"))
    }

    fn refused(keys: ImageKeys) -> String {
        format!("{:#}", resolve(keys).unwrap_err())
    }

    #[test]
    fn without_keys_images_are_beside_the_sandboxes_and_come_from_docker_hub() {
        let options = resolve(ImageKeys::default()).unwrap();
        assert_eq!(options.folder, Path::new("/var/lib/agent/images"));
        assert_eq!(options.settings.default_registry, "docker.io");
        assert_eq!(options.policy(Some(899)).unused_for, Duration::from_secs(7 * 24 * 3600));
        assert_eq!(options.policy(Some(901)).unused_for, Duration::ZERO);
        assert_eq!(options.policy(None).unused_for, options.unused_for);
    }

    #[test]
    fn registries_are_taken_as_mesos_writes_them() {
        for (text, host, is_plain) in [
            ("https://registry-1.docker.io", "docker.io", false),
            ("http://127.0.0.1:5000/", "127.0.0.1:5000", true),
            ("registry.local", "registry.local", false),
        ] {
            let keys = ImageKeys { registry: Some(text.into()), ..ImageKeys::default() };
            let settings = resolve(keys).unwrap().settings;
            assert_eq!(settings.default_registry, host);
            assert_eq!(settings.insecure_registries.contains(host), is_plain);
        }
        let mirrors = vec!["docker.io=m1:5000".into(), "docker.io=m2".into()];
        let settings = resolve(ImageKeys { mirrors, ..ImageKeys::default() }).unwrap().settings;
        assert_eq!(settings.mirrors["docker.io"], ["m1:5000", "m2"]);
    }

    #[test]
    fn collection_is_configured_as_in_mesos() {
        let text = r#"{"image_disk_headroom": 0.25, "excluded_images":
            [{"type": "DOCKER", "docker": {"name": "alpine"}}],
            "image_disk_watch_interval": {"nanoseconds": 60000000000}}"#;
        let keys = ImageKeys { gc_config: Some(text.into()), ..ImageKeys::default() };
        let options = resolve(keys).unwrap();
        assert_eq!(options.interval, Duration::from_secs(60));
        assert_eq!(options.policy(Some(751)).unused_for, Duration::ZERO);
        assert_eq!(options.policy(Some(749)).keep, ["alpine"]);
    }

    #[test]
    fn images_of_files_are_below_named_folders_and_never_behind_the_shield() {
        let keys = |is_shielded| {
            let local = vec!["/srv/images".into()];
            ImageKeys { local, is_shielded, ..ImageKeys::default() }
        };
        assert!(resolve(ImageKeys::default()).unwrap().settings.local_images.is_empty());
        let named = resolve(keys(false)).unwrap().settings.local_images;
        assert_eq!(named, [Path::new("/srv/images")]);
        let error = refused(keys(true));
        assert!(error.contains("local_images and shield_tasks exclude each other"), "{error}");
    }

    #[test]
    fn nonsense_is_refused_by_the_name_of_its_key() {
        let of = |change: fn(&mut ImageKeys)| {
            let mut keys = ImageKeys::default();
            change(&mut keys);
            refused(keys)
        };
        for (error, what) in [
            (of(|k| k.registry = Some("hdfs://x".into())), "docker_registry"),
            (of(|k| k.registry = Some("http://a/b".into())), "docker_registry"),
            (of(|k| k.insecure = vec!["a b".into()]), "insecure_registries"),
            (of(|k| k.mirrors = vec!["docker.io".into()]), "registry_mirrors"),
            (of(|k| k.gc_config = Some("{\"headroom\":1}".into())), "image_gc_config"),
            (of(|k| k.gc_config = Some("{\"image_disk_headroom\":2}".into())), "headroom"),
            (of(|k| k.gc_config = Some("/none".into())), "image_gc_config"),
            (of(|k| k.docker_config = Some("/none".into())), "docker_config"),
            (of(|k| k.local = vec!["images".into()]), "local_images"),
            (of(|k| k.local = vec!["/srv/../etc".into()]), "local_images"),
        ] {
            assert!(error.contains(what), "{error}");
        }
    }
}

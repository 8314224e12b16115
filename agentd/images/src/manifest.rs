//! Manifests and indexes, of OCI and of Docker (schema 2).
//!
//! They come from anywhere: sizes, counts and digests are checked here, and a document that could be
//! read as both forms is refused (CVE-2021-41190).

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::digest::{Digest, InvalidDigest};
use crate::platform::Platform;
use crate::settings::Limits;

/// What a registry is asked for.
pub(crate) const ACCEPTED: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.docker.distribution.manifest.v2+json";
/// The annotation of an OCI layout that holds a tag.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// Images in one index; the largest in use have some dozens.
const MAX_INDEX_ENTRIES: usize = 1000;

/// A manifest, index or configuration that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Not the JSON that was expected.
    #[error("it is not valid: {0}")]
    Json(String),
    /// A digest in it.
    #[error(transparent)]
    Digest(#[from] InvalidDigest),
    /// It says something that does not go together or is not supported.
    #[error("{0}")]
    Unusable(String),
    /// Nothing in it is for this host.
    #[error("it has no image for {wanted}, only for {found}")]
    Platform {
        /// This host's.
        wanted: String,
        /// What there is.
        found: String,
    },
}

impl From<serde_json::Error> for ManifestError {
    fn from(error: serde_json::Error) -> Self {
        Self::Json(error.to_string())
    }
}

/// A blob that is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Descriptor {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
}

/// One image of an index.
#[derive(Clone, Debug)]
pub(crate) struct IndexEntry {
    pub(crate) descriptor: Descriptor,
    pub(crate) platform: Option<Platform>,
    pub(crate) name: Option<String>,
}

/// What a manifest document is.
#[derive(Clone, Debug)]
pub(crate) enum Document {
    Index(Vec<IndexEntry>),
    Image(Manifest),
}

/// One image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) config: Descriptor,
    /// Lowest first.
    pub(crate) layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDocument {
    schema_version: u32,
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    config: Option<RawDescriptor>,
    #[serde(default)]
    layers: Option<Vec<RawDescriptor>>,
    #[serde(default)]
    manifests: Option<Vec<RawDescriptor>>,
    #[serde(default, rename = "fsLayers")]
    fs_layers: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDescriptor {
    #[serde(default)]
    media_type: Option<String>,
    digest: String,
    size: u64,
    #[serde(default)]
    platform: Option<Platform>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

impl RawDescriptor {
    fn descriptor(&self) -> Result<Descriptor, ManifestError> {
        Ok(Descriptor { digest: Digest::parse(&self.digest)?, size: self.size })
    }
}

impl Document {
    pub(crate) fn parse(bytes: &[u8], limits: &Limits) -> Result<Self, ManifestError> {
        let unusable = |text: &str| ManifestError::Unusable(text.to_owned());
        let raw: RawDocument = serde_json::from_slice(bytes)?;
        if raw.schema_version == 1 || raw.fs_layers.is_some() {
            return Err(unusable(
                "it is a Docker manifest of schema 1, which nobody makes any more; push the image \
                 again with a newer tool",
            ));
        }
        if raw.schema_version != 2 {
            return Err(ManifestError::Unusable(format!(
                "it has schemaVersion {}; 2 is known",
                raw.schema_version
            )));
        }
        let says_index = raw.media_type.as_deref().map(is_index);
        match (raw.manifests, raw.config, raw.layers) {
            (Some(manifests), None, None) if says_index != Some(false) => {
                index(&manifests).map(Self::Index)
            }
            (None, Some(config), layers) if says_index != Some(true) => {
                image(&config, &layers.unwrap_or_default(), limits).map(Self::Image)
            }
            (None, None, _) => Err(unusable("it has neither 'manifests' nor 'config'")),
            _ => Err(unusable("it mixes an index and an image; one of the two was expected")),
        }
    }
}

fn is_index(media_type: &str) -> bool {
    matches!(
        media_type,
        "application/vnd.oci.image.index.v1+json"
            | "application/vnd.docker.distribution.manifest.list.v2+json"
    )
}

fn index(manifests: &[RawDescriptor]) -> Result<Vec<IndexEntry>, ManifestError> {
    if manifests.len() > MAX_INDEX_ENTRIES {
        return Err(ManifestError::Unusable(format!(
            "it lists {} images; {MAX_INDEX_ENTRIES} are allowed",
            manifests.len()
        )));
    }
    let entry = |raw: &RawDescriptor| {
        let name = raw.annotations.as_ref().and_then(|all| all.get(REF_NAME)).cloned();
        Ok(IndexEntry { descriptor: raw.descriptor()?, platform: raw.platform.clone(), name })
    };
    manifests.iter().map(entry).collect()
}

fn image(
    config: &RawDescriptor,
    layers: &[RawDescriptor],
    limits: &Limits,
) -> Result<Manifest, ManifestError> {
    if layers.len() > limits.layers {
        return Err(ManifestError::Unusable(format!(
            "it has {} layers; {} are allowed",
            layers.len(),
            limits.layers
        )));
    }
    if let Some(media_type) = &config.media_type
        && !media_type.ends_with("image.config.v1+json")
        && media_type != "application/vnd.docker.container.image.v1+json"
    {
        return Err(ManifestError::Unusable(format!(
            "it is no container image, but an artifact with a configuration of type '{}'",
            media_type.chars().take(100).collect::<String>()
        )));
    }
    let config = config.descriptor()?;
    if config.size > limits.config_bytes {
        return Err(ManifestError::Unusable(format!(
            "its configuration has {} bytes; {} are allowed",
            config.size, limits.config_bytes
        )));
    }
    let layer = |raw: &RawDescriptor| {
        if let Some(media_type) = &raw.media_type
            && !media_type.contains("layer.")
            && !media_type.contains("rootfs.")
        {
            return Err(ManifestError::Unusable(format!(
                "the type '{}' is not that of a layer",
                media_type.chars().take(100).collect::<String>()
            )));
        }
        let layer = raw.descriptor()?;
        if layer.size > limits.layer_bytes {
            return Err(ManifestError::Unusable(format!(
                "layer {} has {} bytes; {} are allowed",
                layer.digest, layer.size, limits.layer_bytes
            )));
        }
        Ok(layer)
    };
    Ok(Manifest { config, layers: layers.iter().map(layer).collect::<Result<_, _>>()? })
}

/// Chooses the image for the host, or by name where a layout lists several.
pub(crate) fn choose<'a>(
    entries: &'a [IndexEntry],
    name: Option<&str>,
    host: &Platform,
) -> Result<&'a IndexEntry, ManifestError> {
    let named: Vec<&IndexEntry> = match name {
        Some(name) => entries.iter().filter(|e| e.name.as_deref() == Some(name)).collect(),
        None => entries.iter().collect(),
    };
    if let Some(name) = name
        && named.is_empty()
    {
        let names: Vec<&str> = entries.iter().filter_map(|e| e.name.as_deref()).take(20).collect();
        return Err(ManifestError::Unusable(format!(
            "no image is named '{name}' there; these are: {}",
            if names.is_empty() { "none".to_owned() } else { names.join(", ") }
        )));
    }
    let best = named.iter().filter_map(|e| Some((host.rank(e.platform.as_ref()?)?, *e)));
    if let Some((_, best)) = best.min_by_key(|(rank, _)| *rank) {
        return Ok(best);
    }
    let unmarked: Vec<&&IndexEntry> = named.iter().filter(|e| e.platform.is_none()).collect();
    match unmarked.as_slice() {
        [only] => Ok(only),
        [] => {
            let found: Vec<String> = named
                .iter()
                .filter_map(|e| e.platform.as_ref())
                .map(ToString::to_string)
                .filter(|text| text != "unknown/unknown")
                .take(20)
                .collect();
            let found = if found.is_empty() { "nothing".to_owned() } else { found.join(", ") };
            Err(ManifestError::Platform { wanted: host.to_string(), found })
        }
        _ => Err(ManifestError::Unusable(
            "it lists several images without platform or name; append ':' and a name".to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests;

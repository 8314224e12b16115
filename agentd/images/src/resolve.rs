//! From a name to manifest, configuration and the list of layers.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::Shared;
use crate::archive::Archive;
use crate::config::ConfigFile;
use crate::credentials::{Auth, DockerConfig};
use crate::digest::Digest;
use crate::error::ImageError;
use crate::local::{Layout, open_archive, read_limited};
use crate::manifest::{Descriptor, Document, Manifest, ManifestError, choose};
use crate::platform::Platform;
use crate::pull::{blocking, suits_host};
use crate::reference::{Reference, RegistryReference};
use crate::registry::{Registry, RegistryError};
use crate::source::{Blob, LayerPart, Source};

/// Indexes of indexes that are followed.
const MAX_NESTING: usize = 3;

/// An image that is known, but not here yet.
#[derive(Debug)]
pub(crate) struct Resolved {
    pub(crate) digest: Digest,
    pub(crate) config: Vec<u8>,
    /// Lowest first.
    pub(crate) layers: Vec<LayerPart>,
    pub(crate) source: Source,
}

/// What a name leads to.
#[derive(Debug)]
pub(crate) enum Resolution {
    /// An image that may be here already: its digest, and how to go on.
    Manifest(Digest, Manifest, Source),
    /// An image whose parts are all known.
    Parts(Resolved),
}

/// Errors of one image.
struct Failing<'a>(&'a str);

impl Failing<'_> {
    fn manifest(&self, source: ManifestError) -> ImageError {
        ImageError::Manifest { image: self.0.to_owned(), source }
    }

    fn registry(&self, source: RegistryError) -> ImageError {
        ImageError::Registry { image: self.0.to_owned(), source: Arc::new(source) }
    }

    fn local(&self, part: &str, source: io::Error) -> ImageError {
        let (image, part) = (self.0.to_owned(), part.to_owned());
        // What is wrong with a document is no failure to read it.
        let inner = source.get_ref().and_then(|e| e.downcast_ref::<ManifestError>());
        match inner.cloned() {
            Some(source) => ImageError::Manifest { image, source },
            None => ImageError::Local { image, part, source: Arc::new(source) },
        }
    }
}

/// Finds the manifest for this host.
pub(crate) async fn resolve(
    shared: &Arc<Shared>,
    name: &str,
    reference: &Reference,
    credentials: Option<&DockerConfig>,
) -> Result<Resolution, ImageError> {
    match reference {
        Reference::Registry(reference) => in_registry(shared, name, reference, credentials).await,
        Reference::Layout { path, tag } => {
            let (shared, path, tag) = (shared.clone(), path.clone(), tag.clone());
            let full = name.to_owned();
            blocking(name, move || in_layout(&shared, &full, &path, tag.as_deref())).await?
        }
        Reference::Archive { path, name: inner, .. } => {
            let (shared, path, inner) = (shared.clone(), path.clone(), inner.clone());
            let full = name.to_owned();
            blocking(name, move || in_archive(&shared, &full, &path, inner.as_deref())).await?
        }
    }
}

/// Reads the configuration that a manifest names, and joins both.
pub(crate) async fn complete(
    shared: &Arc<Shared>,
    name: &str,
    digest: Digest,
    manifest: Manifest,
    source: Source,
) -> Result<Resolved, ImageError> {
    let failing = Failing(name);
    let config = match &source {
        Source::Registry(registry) => {
            registry.small_blob(&manifest.config).await.map_err(|e| failing.registry(e))?
        }
        Source::Layout(_) | Source::Archive(_) => {
            let (source, blob) = (source.clone(), manifest.config.clone());
            let read = blocking(name, move || small(&source, &blob)).await?;
            read.map_err(|e| failing.local("its configuration", e))?
        }
    };
    let file = ConfigFile::parse(&config).map_err(|e| failing.manifest(e))?;
    check_host(&file).map_err(|e| failing.manifest(e))?;
    if file.diff_ids.len() != manifest.layers.len() {
        return Err(failing.manifest(ManifestError::Unusable(format!(
            "its manifest lists {} layers, its configuration {}",
            manifest.layers.len(),
            file.diff_ids.len()
        ))));
    }
    let part = |(layer, diff_id)| LayerPart { blob: Blob::Named(layer), diff_id };
    let layers = manifest.layers.into_iter().zip(file.diff_ids).map(part).collect();
    tracing::debug!(image = name, %digest, store = %shared.store.root().display(), "image resolved");
    Ok(Resolved { digest, config, layers, source })
}

fn check_host(file: &ConfigFile) -> Result<(), ManifestError> {
    if suits_host(file) {
        return Ok(());
    }
    let wanted = Platform::of_host().to_string();
    Err(ManifestError::Platform { wanted, found: file.platform.to_string() })
}

async fn in_registry(
    shared: &Arc<Shared>,
    name: &str,
    reference: &RegistryReference,
    credentials: Option<&DockerConfig>,
) -> Result<Resolution, ImageError> {
    let find = |host: &str| -> Option<Auth> {
        let own = credentials.and_then(|all| all.find(host));
        own.or_else(|| shared.settings.docker_config.find(host)).cloned()
    };
    let mirrors = shared.settings.mirrors.get(reference.registry()).map_or(&[][..], Vec::as_slice);
    let client = shared.client.get(&shared.settings.limits).map_err(|source| {
        let registry = reference.registry().to_owned();
        Failing(name).registry(RegistryError::Tls { registry, source })
    })?;
    let new = |mirror: Option<&str>| {
        let credential = find(mirror.unwrap_or_else(|| reference.registry()));
        Arc::new(Registry::new(client.clone(), &shared.settings, reference, mirror, credential))
    };
    for mirror in mirrors {
        match from_registry(shared, name, reference, new(Some(mirror))).await {
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::info!(image = name, mirror, error, "a mirror has not the image, going on");
            }
            found => return found,
        }
    }
    from_registry(shared, name, reference, new(None)).await
}

async fn from_registry(
    shared: &Arc<Shared>,
    name: &str,
    reference: &RegistryReference,
    registry: Arc<Registry>,
) -> Result<Resolution, ImageError> {
    let failing = Failing(name);
    let limits = &shared.settings.limits;
    let mut target = reference.target();
    let mut expected = reference.digest().cloned();
    for _ in 0..=MAX_NESTING {
        let bytes = registry.manifest(&target).await.map_err(|e| failing.registry(e))?;
        let digest = match &expected {
            Some(digest) if digest.matches(&bytes) => digest.clone(),
            Some(_) => {
                return Err(failing.registry(RegistryError::Corrupt {
                    registry: registry.name().to_owned(),
                    what: format!("the manifest {target}"),
                    got: Digest::of(&bytes),
                }));
            }
            None => Digest::of(&bytes),
        };
        match Document::parse(&bytes, limits).map_err(|e| failing.manifest(e))? {
            Document::Image(manifest) => {
                return Ok(Resolution::Manifest(digest, manifest, Source::Registry(registry)));
            }
            Document::Index(entries) => {
                let chosen = choose(&entries, None, &Platform::of_host());
                let chosen = chosen.map_err(|e| failing.manifest(e))?.descriptor.digest.clone();
                target = chosen.to_string();
                expected = Some(chosen);
            }
        }
    }
    Err(failing.manifest(too_nested()))
}

fn too_nested() -> ManifestError {
    ManifestError::Unusable(format!("indexes are nested more than {MAX_NESTING} deep"))
}

fn in_layout(
    shared: &Shared,
    name: &str,
    path: &Path,
    tag: Option<&str>,
) -> Result<Resolution, ImageError> {
    let failing = Failing(name);
    let limits = &shared.settings.limits;
    let layout = Layout::open(&shared.settings.local_images, path);
    let layout = layout.map_err(|e| failing.local("", e))?;
    layout.read("oci-layout", 4096).map_err(|e| failing.local("'oci-layout'", e))?;
    let index = layout.read("index.json", limits.manifest_bytes);
    let index = index.map_err(|e| failing.local("'index.json'", e))?;
    from_index(shared, &failing, &index, tag, Source::Layout(Arc::new(layout)))
}

fn in_archive(
    shared: &Shared,
    name: &str,
    path: &Path,
    inner: Option<&str>,
) -> Result<Resolution, ImageError> {
    let failing = Failing(name);
    let limits = &shared.settings.limits;
    let archive = open_archive(&shared.settings.local_images, path)
        .and_then(|file| Archive::read_index(file, &shared.store, limits));
    let archive = Arc::new(archive.map_err(|e| failing.local("", e))?);
    if archive.is_layout() {
        let index = archive.read("index.json", limits.manifest_bytes);
        let index = index.map_err(|e| failing.local("'index.json'", e))?;
        return from_index(shared, &failing, &index, inner, Source::Archive(archive));
    }
    let saved = archive.saved(inner, limits).map_err(|e| failing.local("'manifest.json'", e))?;
    let file = ConfigFile::parse(&saved.config).map_err(|e| failing.manifest(e))?;
    check_host(&file).map_err(|e| failing.manifest(e))?;
    Ok(Resolution::Parts(Resolved {
        digest: Digest::of(&saved.config),
        config: saved.config,
        layers: saved.layers,
        source: Source::Archive(archive),
    }))
}

fn from_index(
    shared: &Shared,
    failing: &Failing<'_>,
    index: &[u8],
    tag: Option<&str>,
    source: Source,
) -> Result<Resolution, ImageError> {
    let limits = &shared.settings.limits;
    let (mut bytes, mut tag) = (index.to_vec(), tag);
    let mut digest = Digest::of(index);
    for _ in 0..=MAX_NESTING {
        match Document::parse(&bytes, limits).map_err(|e| failing.manifest(e))? {
            Document::Image(manifest) => return Ok(Resolution::Manifest(digest, manifest, source)),
            Document::Index(entries) => {
                let chosen = choose(&entries, tag.take(), &Platform::of_host());
                let chosen = chosen.map_err(|e| failing.manifest(e))?.descriptor.clone();
                if chosen.size > limits.manifest_bytes {
                    let text =
                        format!("its manifest has more than {} bytes", limits.manifest_bytes);
                    return Err(failing.manifest(ManifestError::Unusable(text)));
                }
                bytes = small(&source, &chosen).map_err(|e| failing.local("its manifest", e))?;
                digest = chosen.digest;
            }
        }
    }
    Err(failing.manifest(too_nested()))
}

/// A small blob of a local image, verified. Blocks.
fn small(source: &Source, blob: &Descriptor) -> io::Result<Vec<u8>> {
    let path = blob.digest.to_string();
    let part = match source {
        Source::Layout(layout) => layout.blob(blob)?,
        Source::Archive(archive) => archive.blob(blob)?,
        Source::Registry(_) => return Err(io::ErrorKind::InvalidInput.into()),
    };
    let bytes = read_limited(part, blob.size, Path::new(&path))?;
    if blob.digest.matches(&bytes) {
        return Ok(bytes);
    }
    let text = format!("it should have digest {path}, but has {}", Digest::of(&bytes));
    Err(io::Error::new(io::ErrorKind::InvalidData, text))
}

//! Names of images: as Docker writes them, and local layouts and archives.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::digest::Digest;

/// The registry of names that carry none, as images are named there.
pub const DOCKER_HUB: &str = "docker.io";
/// Where Docker Hub answers.
const DOCKER_HUB_API: &str = "registry-1.docker.io";
const MAX_BYTES: usize = 1024;
const MAX_REPOSITORY_BYTES: usize = 255;
const MAX_TAG_BYTES: usize = 128;

/// What an image is called.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reference {
    /// In a registry.
    Registry(RegistryReference),
    /// In an OCI layout, a folder with `oci-layout` and `index.json`.
    Layout {
        /// The folder.
        path: PathBuf,
        /// Its `org.opencontainers.image.ref.name`.
        tag: Option<String>,
    },
    /// In a tar file: an OCI layout, or what `docker save` writes.
    Archive {
        /// The file.
        path: PathBuf,
        /// The reference name of the layout, or the repository and tag that were saved.
        name: Option<String>,
        /// Which of the two the name claims.
        form: ArchiveForm,
    },
}

/// Forms of an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ArchiveForm {
    /// `docker-archive:`
    Docker,
    /// `oci-archive:`
    Oci,
}

/// An image in a registry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RegistryReference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// A name that names no image. `reason` says what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("image name '{name}': {reason}")]
pub struct InvalidReference {
    name: String,
    reason: String,
}

impl Reference {
    /// Parses a name; `default_registry` is taken by names that carry no registry.
    ///
    /// # Errors
    ///
    /// [`InvalidReference`], with what would be right.
    pub fn parse(text: &str, default_registry: &str) -> Result<Self, InvalidReference> {
        let result = if text.len() > MAX_BYTES {
            Err(format!("it has {} bytes; {MAX_BYTES} are allowed", text.len()))
        } else if let Some(rest) = text.strip_prefix("oci:") {
            local(rest).map(|(path, tag)| Self::Layout { path, tag })
        } else if let Some(rest) = text.strip_prefix("oci-archive:") {
            archive(rest, ArchiveForm::Oci)
        } else if let Some(rest) = text.strip_prefix("docker-archive:") {
            archive(rest, ArchiveForm::Docker)
        } else {
            in_registry(text, default_registry).map(Self::Registry)
        };
        result.map_err(|reason| InvalidReference {
            name: text.chars().take(200).map(|c| if c.is_control() { '?' } else { c }).collect(),
            reason,
        })
    }
}

impl RegistryReference {
    /// The registry, such as `docker.io` or `127.0.0.1:5000`.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository, such as `library/alpine`.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag, unless only a digest is given.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest of its manifest or index; where it is given the tag does not matter.
    #[must_use]
    pub const fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The host and port that answer for the registry.
    #[must_use]
    pub(crate) fn api_host(&self) -> &str {
        api_host(&self.registry)
    }

    /// What a manifest is asked for by.
    pub(crate) fn target(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => "latest".to_owned(),
        }
    }
}

/// The host and port that answer for a registry.
pub(crate) fn api_host(registry: &str) -> &str {
    match registry {
        DOCKER_HUB | "index.docker.io" => DOCKER_HUB_API,
        other => other,
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (prefix, path, name) = match self {
            Self::Registry(reference) => return reference.fmt(f),
            Self::Layout { path, tag } => ("oci", path, tag),
            Self::Archive { path, name, form: ArchiveForm::Oci } => ("oci-archive", path, name),
            Self::Archive { path, name, form: ArchiveForm::Docker } => {
                ("docker-archive", path, name)
            }
        };
        write!(f, "{prefix}:{}", path.display())?;
        name.iter().try_for_each(|name| write!(f, ":{name}"))
    }
}

impl fmt::Display for RegistryReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        self.tag.iter().try_for_each(|tag| write!(f, ":{tag}"))?;
        self.digest.iter().try_for_each(|digest| write!(f, "@{digest}"))
    }
}

fn archive(rest: &str, form: ArchiveForm) -> Result<Reference, String> {
    local(rest).map(|(path, name)| Reference::Archive { path, name, form })
}

/// `/path` or `/path:name`. The name may hold colons itself (`shop/cart:2`), but a path with a
/// colon cannot be told from it.
fn local(rest: &str) -> Result<(PathBuf, Option<String>), String> {
    let (path, name) = match rest.split_once(':') {
        Some((path, name)) => (path, Some(name)),
        None => (rest, None),
    };
    if !path.starts_with('/') {
        return Err("the path must be absolute, as in 'oci:/srv/images/web:1.0'".into());
    }
    if Path::new(path).components().any(|part| part == std::path::Component::ParentDir) {
        return Err("the path must not contain '..'".into());
    }
    if path.contains('\0') {
        return Err("the path contains a NUL".into());
    }
    match name {
        Some("") => Err("nothing follows the last ':'; leave it away or name a tag".into()),
        Some(name) if name.chars().any(|c| c.is_control() || c.is_whitespace()) => {
            Err("the tag contains white space or control characters".into())
        }
        name => Ok((PathBuf::from(path), name.map(str::to_owned))),
    }
}

fn in_registry(text: &str, default_registry: &str) -> Result<RegistryReference, String> {
    if text.is_empty() {
        return Err("it is empty; right would be 'name', 'name:tag' or 'host/name:tag'".into());
    }
    if let Some((scheme, rest)) = text.split_once("://") {
        return Err(format!("names carry no scheme; write '{rest}' instead of '{scheme}://…'"));
    }
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => {
            (rest, Some(Digest::parse(digest).map_err(|error| error.to_string())?))
        }
        None => (text, None),
    };
    // A colon after the last slash begins a tag; one before it belongs to the registry's port.
    let name_start = rest.rfind('/').map_or(0, |at| at + 1);
    let (name, tag) = match rest[name_start..].find(':') {
        Some(at) => (&rest[..name_start + at], Some(&rest[name_start + at + 1..])),
        None => (rest, None),
    };
    let (registry, repository) = split_registry(name, default_registry);
    check_registry(&registry)?;
    check_repository(&repository)?;
    let tag = match tag {
        Some(tag) => {
            check_tag(tag)?;
            Some(tag.to_owned())
        }
        None => digest.is_none().then(|| "latest".to_owned()),
    };
    Ok(RegistryReference { registry, repository, tag, digest })
}

/// Docker's rule: the first part is a registry when it looks like a host.
fn split_registry(name: &str, default_registry: &str) -> (String, String) {
    let (registry, repository) = match name.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.chars().any(|c| c.is_ascii_uppercase()) =>
        {
            (first, rest)
        }
        _ => (default_registry, name),
    };
    let registry = match registry {
        "index.docker.io" | DOCKER_HUB_API => DOCKER_HUB,
        other => other,
    };
    let official = registry == DOCKER_HUB && !repository.contains('/');
    let repository = if official { format!("library/{repository}") } else { repository.to_owned() };
    (registry.to_owned(), repository)
}

/// A host with an optional port.
pub(crate) fn check_registry(registry: &str) -> Result<(), String> {
    let (host, port) = match registry.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((host, "")) => (host, None),
            Some((host, port)) => (host, port.strip_prefix(':').or(Some("?"))),
            None => return Err(format!("the registry '{registry}' lacks a ']'")),
        },
        None => match registry.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (registry, None),
        },
    };
    if port.is_some_and(|port| port.parse::<u16>().is_err() || port.starts_with('+')) {
        return Err(format!("the port of the registry '{registry}' is not a number up to 65535"));
    }
    let ipv6 = registry.starts_with('[');
    let label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let good = match ipv6 {
        true => host.parse::<std::net::Ipv6Addr>().is_ok(),
        false => host.len() <= 253 && host.split('.').all(label),
    };
    if good { Ok(()) } else { Err(format!("the registry '{registry}' is not a host name")) }
}

fn check_repository(repository: &str) -> Result<(), String> {
    if repository.len() > MAX_REPOSITORY_BYTES {
        return Err(format!("the repository has more than {MAX_REPOSITORY_BYTES} bytes"));
    }
    for part in repository.split('/') {
        if part.is_empty() {
            return Err("the repository has an empty part".into());
        }
        if part.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(format!("repositories are in lower case, but '{part}' is not"));
        }
        let allowed =
            |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-');
        let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric());
        let separated = part.contains("..") || part.contains("___") || part.contains("._");
        if !part.bytes().all(allowed)
            || !edge(part.bytes().next())
            || !edge(part.bytes().last())
            || separated
            || part.contains("_.")
        {
            return Err(format!(
                "'{part}' is not a part of a repository; right would be letters a to z and digits, \
                 with single '.', '_', '__' or '-' between them"
            ));
        }
    }
    Ok(())
}

fn check_tag(tag: &str) -> Result<(), String> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    let good = !tag.is_empty()
        && tag.len() <= MAX_TAG_BYTES
        && tag.bytes().all(allowed)
        && !tag.starts_with(['.', '-']);
    if good {
        Ok(())
    } else {
        Err(format!(
            "'{tag}' is not a tag; right would be up to {MAX_TAG_BYTES} letters, digits, '.', '_' \
             and '-', not beginning with '.' or '-'"
        ))
    }
}

#[cfg(test)]
mod tests;

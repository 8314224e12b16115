//! Credentials for registries, as Docker keeps them in `config.json`.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::reference::DOCKER_HUB;

const MAX_CONFIG_BYTES: usize = 1 << 20;

/// One registry's credential.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Auth {
    /// User and password.
    Basic {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
    /// A refresh token that is exchanged for access tokens (Docker's `identitytoken`).
    Identity(String),
    /// A token that is sent as it is (Docker's `registrytoken`).
    Bearer(String),
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Basic { .. } => "Basic(…)",
            Self::Identity(_) => "Identity(…)",
            Self::Bearer(_) => "Bearer(…)",
        })
    }
}

/// The `auths` of a Docker `config.json`, or an old `.dockercfg`. Credential helpers are programs and
/// are not started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct DockerConfig {
    by_registry: BTreeMap<String, Auth>,
}

/// A `config.json` that says nothing. Its text never repeats what was in the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDockerConfig {
    /// Not the JSON that was expected.
    #[error(
        "the Docker configuration is not valid JSON (line {line}, column {column}); right would be \
         {{\"auths\": {{\"registry.example.com\": {{\"auth\": \"…\"}}}}}}"
    )]
    Json {
        /// Line of the error.
        line: usize,
        /// Column of the error.
        column: usize,
    },
    /// Too long to be one.
    #[error("the Docker configuration has more than {MAX_CONFIG_BYTES} bytes")]
    TooLong,
    /// An entry that cannot be used.
    #[error(
        "the Docker configuration has no usable credential for '{registry}'; right would be 'auth', \
         the base64 form of 'user:password'"
    )]
    Entry {
        /// Its key.
        registry: String,
    },
}

#[derive(Deserialize)]
struct RawEntry {
    #[serde(default)]
    auth: Option<String>,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    password: Option<String>,
    #[serde(default)]
    identitytoken: Option<String>,
    #[serde(default)]
    registrytoken: Option<String>,
}

#[derive(Deserialize)]
struct Modern {
    auths: BTreeMap<String, RawEntry>,
}

impl DockerConfig {
    /// Parses `config.json`.
    ///
    /// # Errors
    ///
    /// [`InvalidDockerConfig`], without any secret in it.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidDockerConfig> {
        if bytes.len() > MAX_CONFIG_BYTES {
            return Err(InvalidDockerConfig::TooLong);
        }
        let json = |error: &serde_json::Error| InvalidDockerConfig::Json {
            line: error.line(),
            column: error.column(),
        };
        let value: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(bytes).map_err(|error| json(&error))?;
        let old = value.values().any(|entry| entry.get("auth").is_some());
        let auths = if value.contains_key("auths") {
            serde_json::from_slice::<Modern>(bytes).map_err(|error| json(&error))?.auths
        } else if old {
            serde_json::from_slice(bytes).map_err(|error| json(&error))?
        } else {
            BTreeMap::new()
        };
        let mut by_registry = BTreeMap::new();
        for (key, entry) in auths {
            let registry = registry_of(&key);
            // Docker leaves an empty entry where a credential helper holds the secret.
            if let Some(auth) =
                entry.auth(&key).map_err(|()| InvalidDockerConfig::Entry { registry: key })?
            {
                by_registry.insert(registry, auth);
            }
        }
        Ok(Self { by_registry })
    }

    /// One credential for one registry.
    #[must_use]
    pub fn single(registry: &str, auth: Auth) -> Self {
        Self { by_registry: BTreeMap::from([(registry_of(registry), auth)]) }
    }

    /// The credential for a registry.
    #[must_use]
    pub fn find(&self, registry: &str) -> Option<&Auth> {
        self.by_registry.get(&registry_of(registry))
    }

    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_registry.is_empty()
    }
}

impl RawEntry {
    fn auth(self, _key: &str) -> Result<Option<Auth>, ()> {
        let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
        if let Some(token) = filled(self.registrytoken) {
            return Ok(Some(Auth::Bearer(token)));
        }
        if let Some(token) = filled(self.identitytoken) {
            return Ok(Some(Auth::Identity(token)));
        }
        if let Some(auth) = filled(self.auth) {
            let bytes = STANDARD.decode(auth.trim()).map_err(|_| ())?;
            let text = String::from_utf8(bytes).map_err(|_| ())?;
            let (user, password) = text.split_once(':').ok_or(())?;
            let password = password.trim_end_matches('\0').to_owned();
            return Ok(Some(Auth::Basic { user: user.to_owned(), password }));
        }
        match (filled(self.username), self.password) {
            (Some(user), Some(password)) => Ok(Some(Auth::Basic { user, password })),
            (None, None) => Ok(None),
            _ => Err(()),
        }
    }
}

/// Docker's keys are hosts, or URLs such as `https://index.docker.io/v1/`.
fn registry_of(key: &str) -> String {
    let rest = key.split_once("://").map_or(key, |(_, rest)| rest);
    let host = rest.split('/').next().unwrap_or(rest);
    match host {
        "index.docker.io" | "registry-1.docker.io" => DOCKER_HUB.to_owned(),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basic(user: &str, password: &str) -> Auth {
        Auth::Basic { user: user.into(), password: password.into() }
    }

    #[test]
    fn credentials_are_found_by_registry() {
        let config = DockerConfig::parse(
            br#"{"auths":{"https://index.docker.io/v1/":{"auth":"YTpiOmM="},
                "q.io:5000":{"username":"u","password":"p"},"empty.io":{},
                "id.io":{"auth":"YTpi","identitytoken":"t"}},"credsStore":"x"}"#,
        )
        .unwrap();
        assert_eq!(config.find("docker.io"), Some(&basic("a", "b:c")));
        assert_eq!(config.find("q.io:5000"), Some(&basic("u", "p")));
        assert_eq!(config.find("q.io"), None);
        assert_eq!(config.find("empty.io"), None);
        assert_eq!(config.find("id.io"), Some(&Auth::Identity("t".into())));
        let old = DockerConfig::parse(br#"{"https://q.io/v1/":{"auth":"YTpi","email":""}}"#);
        assert_eq!(old.unwrap().find("q.io"), Some(&basic("a", "b")));
        assert!(DockerConfig::parse(b"{}").unwrap().is_empty());
    }

    #[test]
    fn errors_and_debug_texts_keep_secrets() {
        for text in [
            r#"{"auths":{"q.io":{"auth":"secret!"}}}"#,
            r#"{"auths":{"q.io":{"auth":7,"x":"secret"}}}"#,
            r#"{"auths":{"q.io":{"username":"secret"}}}"#,
            r#"["secret"]"#,
        ] {
            let error = DockerConfig::parse(text.as_bytes()).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
        }
        assert!(!format!("{:?}", DockerConfig::single("q.io", basic("u", "p"))).contains("\"p\""));
    }
}

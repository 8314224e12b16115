//! Secrets that are files: what they are called on the host, and which can be had.

use std::collections::BTreeSet;

use tepui_wire::v1::{self, secret, volume::source};

use crate::describe::Refusal;

/// Most bytes of one secret: what systemd takes of all credentials of a unit together.
pub const MAX_SECRET_BYTES: usize = 1 << 20;
/// Longest name; a number comes after it where two are alike.
const MAX_NAME_BYTES: usize = 200;

/// The names of the secrets among some volumes: the last parts of their paths, in the characters
/// that systemd takes for credentials, each once.
#[must_use]
pub fn secret_names(volumes: &[v1::Volume]) -> Vec<Option<String>> {
    let mut taken = BTreeSet::new();
    let name = |(at, volume): (usize, &v1::Volume)| {
        let is_secret =
            volume.source.as_ref().is_some_and(|one| one.r#type() == source::Type::Secret);
        is_secret.then(|| {
            let plain = plain(&volume.container_path);
            let name = if taken.contains(&plain) { format!("{plain}-{at}") } else { plain };
            taken.insert(name.clone());
            name
        })
    };
    volumes.iter().enumerate().map(name).collect()
}

fn plain(path: &str) -> String {
    let last = path.rsplit('/').find(|part| !part.is_empty()).unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let name: String =
        last.chars().take(MAX_NAME_BYTES).map(|c| if plain(c) { c } else { '_' }).collect();
    if name.trim_matches('.').is_empty() { "secret".to_owned() } else { name }
}

/// The value of a volume's secret.
///
/// # Errors
/// [`Refusal`] for one that only a resolver would know, and for one that is too large.
pub fn check_secret<'a>(path: &str, secret: Option<&'a v1::Secret>) -> Result<&'a [u8], Refusal> {
    let shown = path.escape_debug();
    let value = secret.filter(|secret| secret.r#type() == secret::Type::Value);
    let Some(value) = value.and_then(|secret| secret.value.as_ref()) else {
        return Refusal::of(format!(
            "volume '{shown}' refers to a secret, and this agent has no secret resolver; only \
             secrets given by value work"
        ));
    };
    if value.data.len() > MAX_SECRET_BYTES {
        return Refusal::of(format!(
            "the secret of volume '{shown}' has more than {MAX_SECRET_BYTES} bytes"
        ));
    }
    Ok(&value.data)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(path: &str, kind: source::Type) -> v1::Volume {
        let source = v1::volume::Source { r#type: Some(kind.into()), ..Default::default() };
        v1::Volume { container_path: path.into(), source: Some(source), ..Default::default() }
    }

    #[test]
    fn secrets_are_named_after_their_paths_and_each_once() {
        let secret = |path: &str| volume(path, source::Type::Secret);
        let volumes = [
            secret("/etc/db/password"),
            volume("data", source::Type::HostPath),
            secret("password"),
            secret("a:b/c d\u{fc}"),
            secret("/.."),
        ];
        let names: Vec<_> = secret_names(&volumes).into_iter().flatten().collect();
        assert_eq!(names, ["password", "password-2", "c_d_", "secret"]);
    }

    #[test]
    fn a_secret_that_nobody_knows_is_refused() {
        let mut secret =
            v1::Secret { r#type: Some(secret::Type::Reference.into()), ..Default::default() };
        assert!(check_secret("p", Some(&secret)).unwrap_err().0.contains("no secret resolver"));
        secret.r#type = Some(secret::Type::Value.into());
        secret.value = Some(v1::secret::Value { data: b"hush".to_vec() });
        assert_eq!(check_secret("p", Some(&secret)).unwrap(), b"hush");
        secret.value = Some(v1::secret::Value { data: vec![0; MAX_SECRET_BYTES + 1] });
        assert!(check_secret("p", Some(&secret)).is_err());
    }
}

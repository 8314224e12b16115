//! Logging in: basic, and tokens by the distribution project's scheme.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Response, StatusCode, Url};
use serde::Deserialize;

use super::{Registry, RegistryError, reason};
use crate::credentials::Auth;

const MAX_TOKEN_BYTES: u64 = 256 * 1024;

/// What a registry asks for.
#[derive(Debug, PartialEq, Eq)]
enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
}

#[derive(Deserialize)]
struct TokenAnswer {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
}

impl Registry {
    /// A value for `Authorization` after a refusal; `None` when there is nothing better to say than
    /// was said. `used` is what was refused.
    pub(super) async fn log_in(
        &self,
        refusal: &Response,
        used: Option<&HeaderValue>,
    ) -> Result<Option<HeaderValue>, RegistryError> {
        let mut current = self.authorization.lock().await;
        // Another request has logged in meanwhile.
        if current.is_some() && current.as_ref() != used {
            return Ok(current.clone());
        }
        let challenges: Vec<Challenge> = refusal
            .headers()
            .get_all(WWW_AUTHENTICATE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .filter_map(parse_challenge)
            .collect();
        let bearer = challenges.iter().find(|c| matches!(c, Challenge::Bearer { .. }));
        let fresh = match (&self.credential, bearer.or_else(|| challenges.first())) {
            (Some(Auth::Bearer(token)), _) => Some(self.header(format!("Bearer {token}"))?),
            (_, Some(Challenge::Bearer { realm, service, scope })) => {
                let token = self.token(realm, service.as_deref(), scope.as_deref()).await?;
                Some(self.header(format!("Bearer {token}"))?)
            }
            (Some(Auth::Basic { user, password }), Some(Challenge::Basic)) => {
                Some(self.header(basic(user, password))?)
            }
            _ => None,
        };
        if fresh.is_none() || fresh.as_ref() == used {
            return Ok(None);
        }
        (*current).clone_from(&fresh);
        Ok(fresh)
    }

    /// Asks the realm for a token to pull with.
    async fn token(
        &self,
        realm: &str,
        service: Option<&str>,
        scope: Option<&str>,
    ) -> Result<String, RegistryError> {
        let mut url = Url::parse(realm).map_err(|_| self.login("its realm is not a URL"))?;
        let plain = url.scheme() == "http";
        if url.scheme() != "https" && !(plain && self.plain) {
            return Err(self.login("its realm is not asked by TLS"));
        }
        let asked = format!("repository:{}:pull", self.repository);
        let scope = scope.unwrap_or(&asked);
        let what = "a token";
        let request = if let Some(Auth::Identity(token)) = &self.credential {
            let fields = [
                ("grant_type", "refresh_token"),
                ("refresh_token", token),
                ("service", service.unwrap_or_default()),
                ("client_id", "tepui"),
                ("scope", scope),
            ];
            self.client.post(url).form(&fields)
        } else {
            url.query_pairs_mut().append_pair("scope", scope);
            if let Some(service) = service {
                url.query_pairs_mut().append_pair("service", service);
            }
            let request = self.client.get(url);
            match &self.credential {
                Some(Auth::Basic { user, password }) => request.basic_auth(user, Some(password)),
                _ => request,
            }
        };
        let response = request.send().await.map_err(|source| self.transport(what, source))?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST => {
                let reason = reason(response).await;
                return Err(self.login(&format!("no token was given: {reason}")));
            }
            status => {
                return Err(RegistryError::Status {
                    registry: self.name.clone(),
                    what: what.to_owned(),
                    status: status.as_u16(),
                    reason: reason(response).await,
                    retry_after: None,
                });
            }
        }
        let body = self.bounded(response, MAX_TOKEN_BYTES, what).await?;
        let answer: TokenAnswer =
            serde_json::from_slice(&body).map_err(|_| self.login("its token is not JSON"))?;
        let token = answer.token.or(answer.access_token).filter(|token| !token.is_empty());
        token.ok_or_else(|| self.login("the answer holds no token"))
    }

    fn header(&self, text: String) -> Result<HeaderValue, RegistryError> {
        let mut value = HeaderValue::try_from(text)
            .map_err(|_| self.login("the credential holds characters that cannot be sent"))?;
        value.set_sensitive(true);
        Ok(value)
    }

    fn login(&self, reason: &str) -> RegistryError {
        RegistryError::Login { registry: self.name.clone(), reason: reason.to_owned() }
    }
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// `Bearer realm="…",service="…",scope="…"`, or `Basic realm="…"`.
fn parse_challenge(text: &str) -> Option<Challenge> {
    let text = text.trim();
    let (scheme, rest) = text.split_once(' ').unwrap_or((text, ""));
    if scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let (mut realm, mut service, mut scope) = (None, None, None);
    let mut rest = rest.trim_start();
    while let Some((name, after)) = rest.split_once('=') {
        let (value, after) = value(after)?;
        match name.trim().to_ascii_lowercase().as_str() {
            "realm" => realm = Some(value),
            "service" => service = Some(value),
            "scope" => scope = Some(value),
            _ => {}
        }
        rest = after.trim_start().trim_start_matches(',').trim_start();
    }
    Some(Challenge::Bearer { realm: realm?, service, scope })
}

/// A quoted string or a bare word, and what follows it.
fn value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(',').unwrap_or(text.len());
        return Some((text[..end].trim().to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut letters = quoted.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(letters.next()?.1),
            letter => value.push(letter),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn challenges_are_read_as_registries_write_them() {
        let bearer = |realm: &str, service: Option<&str>, scope: Option<&str>| {
            Some(Challenge::Bearer {
                realm: realm.into(),
                service: service.map(Into::into),
                scope: scope.map(Into::into),
            })
        };
        for (text, challenge) in [
            ("Basic realm=\"Registry\"", Some(Challenge::Basic)),
            (
                "Bearer realm=\"https://a/t\",service=\"s\",scope=\"repository:a/b:pull,push\"",
                bearer("https://a/t", Some("s"), Some("repository:a/b:pull,push")),
            ),
            ("bearer realm=x, service=y", bearer("x", Some("y"), None)),
            ("Bearer realm=\"a\\\"b\"", bearer("a\"b", None, None)),
            ("Bearer service=\"s\"", None),
            ("Bearer realm=\"open", None),
            ("Negotiate", None),
        ] {
            assert_eq!(parse_challenge(text), challenge, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_challenge_is_read_or_passed_over(text in "(Bearer |Basic )?[a-z=\",\\\\ é]{0,40}") {
            let _ = parse_challenge(&text);
        }
    }
}

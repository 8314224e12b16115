//! Which requests a browser was tricked into: those for a name that is none of ours (a page's own name
//! that leads here for a moment, "DNS rebinding"), and changes that another site's page asks for.
//!
//! Programs are not in question: they name whom they mean and send no `Origin`. So everything passes
//! that comes without a name (HTTP/1.0), by address, or by a name of this host. Other names pass
//! too where the process listens on more than loopback: clients have their own names for hosts, and
//! proxies pass names on.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};

/// Where proxies say what name the client used.
const FORWARDED_HOST: &str = "x-forwarded-host";

/// The names of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnNames {
    names: BTreeSet<String>,
    is_on_loopback: bool,
}

impl OwnNames {
    /// For a process that listens there: what the host calls itself, and what else the operator says.
    #[must_use]
    pub fn new<'a>(listen: SocketAddr, others: impl IntoIterator<Item = &'a str>) -> Self {
        let itself = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let others = others.into_iter().map(str::to_owned);
        let names = others.chain([itself, "localhost".to_owned()]);
        let names = names.map(|name| host_of(&name)).filter(|name| !name.is_empty());
        Self { names: names.collect(), is_on_loopback: listen.ip().is_loopback() }
    }

    /// Answers requests that browsers were tricked into with 403, all others as `router` does.
    pub fn guard<S: Clone + Send + Sync + 'static>(self, router: Router<S>) -> Router<S> {
        router.layer(from_fn(move |request: Request, next: Next| {
            let refusal = self.objection(request.method(), request.uri().host(), request.headers());
            async move {
                match refusal {
                    Some(refusal) => refused(refusal),
                    None => next.run(request).await,
                }
            }
        }))
    }

    /// Why a request is not answered. `authority` is the host of the request's target, where it
    /// has one.
    fn objection(
        &self,
        method: &Method,
        authority: Option<&str>,
        headers: &HeaderMap,
    ) -> Option<String> {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let named = authority.or_else(|| header(header::HOST.as_str())).map(host_of);
        if let Some(named) =
            named.as_deref().filter(|named| self.is_on_loopback && !self.has(named))
        {
            return Some(format!(
                "'{named}' is no name of this host, which listens on loopback only: use localhost or \
                 an address, or give the name to `host_names` of the configuration"
            ));
        }
        let origin = header(header::ORIGIN.as_str())?;
        if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
            return None;
        }
        let from = origin.split_once("://").map(|(_, host)| host_of(host));
        let forwarded = header(FORWARDED_HOST).map(host_of);
        let is_own = |from: &String| {
            Some(from) == named.as_ref()
                || Some(from) == forwarded.as_ref()
                || self.names.contains(from)
        };
        let is_from_elsewhere = !from.as_ref().is_some_and(is_own);
        is_from_elsewhere.then(|| format!("a page of {origin} may not change anything here"))
    }

    /// Whether somebody means this host by that.
    fn has(&self, named: &str) -> bool {
        let bare = named.trim_start_matches('[').trim_end_matches(']');
        bare.parse::<IpAddr>().is_ok()
            || named.is_empty()
            || self.names.contains(named)
            || named.ends_with(".localhost")
            // A name with its domain is said without it too.
            || self.names.iter().any(|own| own.split('.').next() == Some(named))
    }
}

fn refused(refusal: String) -> Response {
    (StatusCode::FORBIDDEN, refusal).into_response()
}

/// The host of `host:port`, in small letters and without the root's dot.
fn host_of(authority: &str) -> String {
    let host = match authority.split_once(']') {
        Some((host, _)) => format!("{host}]"),
        None => authority.split(':').next().unwrap_or_default().to_owned(),
    };
    host.trim().trim_end_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objection(listen: &str, method: Method, headers: &[(&'static str, &str)]) -> Option<String> {
        let names = OwnNames::new(listen.parse().unwrap(), ["web1.example.com", "ui.example"]);
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        names.objection(&method, None, &map)
    }

    #[test]
    fn on_loopback_a_name_that_is_none_of_ours_is_refused_even_to_read() {
        let asked = |host: &str| objection("127.0.0.1:1", Method::GET, &[("host", host)]);
        for own in [
            "127.0.0.1:5050",
            "[::1]:5050",
            "10.0.0.7",
            "localhost:8080",
            "LocalHost.",
            "x.localhost",
            "web1.example.com:5050",
            "web1",
            "UI.example:80",
        ] {
            assert_eq!(asked(own), None, "{own}");
        }
        for foreign in ["evil.example", "evil.example:5050", "localhost.evil.example", "web1.evil"]
        {
            let refusal = asked(foreign).expect(foreign);
            assert!(refusal.contains("host_names") && refusal.contains("evil"), "{refusal}");
        }
        assert_eq!(objection("127.0.0.1:1", Method::POST, &[]), None, "HTTP/1.0 has no names");
    }

    #[test]
    fn open_to_the_network_every_name_is_somebodys_name_for_this_host() {
        let headers = [("host", "proxy.example")];
        assert_eq!(objection("0.0.0.0:1", Method::POST, &headers), None);
    }

    #[test]
    fn a_page_of_another_site_may_look_and_not_change() {
        let from = |method: Method, origin: &str| {
            let headers =
                [("host", "web1:8080"), ("origin", origin), ("x-forwarded-host", "front.example")];
            objection("0.0.0.0:1", method, &headers)
        };
        for own in [
            "http://web1:8080",
            "http://web1",
            "https://front.example",
            "https://ui.example",
            "http://localhost",
        ] {
            assert_eq!(from(Method::POST, own), None, "{own}");
        }
        for foreign in ["http://evil.example", "null", "https://web1.evil.example"] {
            assert_eq!(from(Method::GET, foreign), None, "{foreign}");
            for method in [Method::POST, Method::PUT, Method::DELETE] {
                assert!(
                    from(method, foreign).is_some_and(|why| why.contains(foreign)),
                    "{foreign}"
                );
            }
        }
    }
}

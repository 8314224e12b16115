//! Where the control planes are, as endpoints of gRPC.

use anyhow::{Context, ensure};
use tepui_ensemble::TlsFiles;
use tepui_finder::{FindError, Found};
use tonic::transport::Endpoint;
use tracing::warn;

/// Finds control planes.
#[derive(Clone, Debug)]
pub struct Finder(tepui_finder::Finder<Endpoint>);

impl Finder {
    /// Reads `host:port`, `http://…`, and addresses of stores.
    ///
    /// # Errors
    /// When a text is neither; the error says what is expected.
    pub fn parse(texts: &[String], files: &TlsFiles) -> anyhow::Result<Self> {
        tepui_finder::Finder::parse(texts, files, endpoint).map(Self)
    }

    /// Control planes to try, in order.
    pub async fn candidates(&self) -> Vec<Endpoint> {
        let found = self.0.look().await.into_iter();
        found.filter_map(|found| found.map_or_else(not_found, reached)).collect()
    }

    /// The leader that a control plane named, reached as that one is.
    pub fn told(&self, by: &Endpoint, leader: &str) -> Option<Endpoint> {
        let scheme = by.uri().scheme_str().unwrap_or("http");
        let leader = Endpoint::from_shared(format!("{scheme}://{leader}")).ok()?;
        (leader.uri() != by.uri()).then_some(leader)
    }
}

fn endpoint(text: &str) -> anyhow::Result<Endpoint> {
    let uri = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let wrong = || {
        format!(
            "control_plane = {text:?} is not an address like http://host:5052, \
             zk://host:2181/tepui or etcd://host:2379"
        )
    };
    let endpoint = Endpoint::from_shared(uri).with_context(wrong)?;
    // Others pass here, and nobody would ever be reached.
    let uri = endpoint.uri();
    ensure!(
        uri.scheme_str() == Some("http"),
        "{}: only http:// is spoken to control planes",
        wrong()
    );
    ensure!(uri.port_u16().is_some_and(|port| port > 0), "{}: it has no port", wrong());
    Ok(endpoint)
}

fn reached(found: Found<Endpoint>) -> Option<Endpoint> {
    match found {
        Found::Listed(endpoint) => Some(endpoint),
        Found::Leader(leader) => {
            let endpoint = Endpoint::from_shared(format!("http://{}", leader.agents));
            if endpoint.is_err() {
                warn!(agents = leader.agents, "the leader's address is none, retrying");
            }
            endpoint.ok()
        }
    }
}

fn not_found(error: FindError) -> Option<Endpoint> {
    warn!(error = &error as &dyn std::error::Error, "no control plane known there, retrying");
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> anyhow::Result<Finder> {
        Finder::parse(&[text.to_owned()], &TlsFiles::default())
    }

    #[tokio::test]
    async fn a_listed_control_plane_needs_no_scheme() {
        let found = parse("10.0.0.1:5052,b:1").unwrap().candidates().await;
        assert_eq!(found[0].uri().to_string(), "http://10.0.0.1:5052/");
        assert_eq!(found[1].uri().to_string(), "http://b:1/");
    }

    #[test]
    fn what_is_no_address_is_refused_with_examples() {
        let error = format!("{:#}", parse("http://").unwrap_err());
        assert!(error.contains("zk://host:2181/tepui"), "{error}");
        let error = format!("{:#}", parse("zk://host/tepui").unwrap_err());
        assert!(error.contains("has no port"), "{error}");
    }

    #[test]
    fn an_address_at_which_nobody_is_ever_reached_is_refused() {
        for (text, why) in [
            ("ftp://a", "only http://"),
            ("https://a:5052", "only http://"),
            ("http://a", "no port"),
            ("a", "no port"),
            ("a:0", "no port"),
        ] {
            let error = format!("{:#}", parse(text).unwrap_err());
            assert!(error.contains(why) && error.contains("http://host:5052"), "{error}");
        }
        assert!(parse("http://[::1]:5052/").is_ok());
    }

    #[test]
    fn a_leader_is_not_sent_to_itself() {
        let finder = parse("a:5052").unwrap();
        let by = Endpoint::from_static("http://a:5052");
        assert!(finder.told(&by, "a:5052").is_none());
        let told = finder.told(&by, "b:5052").unwrap();
        assert_eq!(told.uri().to_string(), "http://b:5052/");
    }
}

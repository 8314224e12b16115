//! Where the control planes are: listed, or told by the store that they share.

use std::sync::Arc;

use anyhow::Context;
use tepui_election::Leadership;
use tepui_ensemble::{Address, Ensemble};
use tokio::sync::OnceCell;
use tonic::transport::Endpoint;
use tracing::warn;

/// Finds control planes.
#[derive(Clone, Debug)]
pub struct Finder {
    places: Arc<Vec<Place>>,
}

#[derive(Debug)]
enum Place {
    /// A control plane.
    At(Box<Endpoint>),
    /// The store that names the leader.
    Store(Box<Store>),
}

#[derive(Debug)]
struct Store {
    address: Address,
    /// Connected when it is first asked.
    ensemble: OnceCell<Ensemble>,
}

impl Finder {
    /// Reads `host:port`, `http://…`, and addresses of stores.
    ///
    /// # Errors
    /// When a text is neither; the error says what is expected.
    pub fn parse(texts: &[String]) -> anyhow::Result<Self> {
        let places = texts.iter().map(|text| Place::parse(text)).collect::<anyhow::Result<_>>()?;
        Ok(Self { places: Arc::new(places) })
    }

    /// Control planes to try, in order.
    pub async fn candidates(&self) -> Vec<Endpoint> {
        let mut found = Vec::new();
        for place in &*self.places {
            match place {
                Place::At(endpoint) => found.push(Endpoint::clone(endpoint)),
                Place::Store(store) => match store.leader().await {
                    Ok(leader) => found.extend(leader),
                    Err(error) => {
                        warn!("leader not found at {}: {error:#}, retrying", store.address);
                    }
                },
            }
        }
        found
    }

    /// The leader that a control plane named, reached as that one is.
    pub fn told(&self, by: &Endpoint, leader: &str) -> Option<Endpoint> {
        let scheme = by.uri().scheme_str().unwrap_or("http");
        let leader = Endpoint::from_shared(format!("{scheme}://{leader}")).ok()?;
        (leader.uri() != by.uri()).then_some(leader)
    }
}

impl Place {
    fn parse(text: &str) -> anyhow::Result<Self> {
        if ["etcd://", "etcds://", "zk://"].iter().any(|scheme| text.starts_with(scheme)) {
            let address = Address::parse(text)?;
            return Ok(Self::Store(Box::new(Store { address, ensemble: OnceCell::new() })));
        }
        let uri = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let endpoint = Endpoint::from_shared(uri).with_context(|| {
            format!(
                "control_plane = {text:?} is not an address like http://host:5052, \
                 zk://host:2181/tepui or etcd://host:2379"
            )
        })?;
        Ok(Self::At(Box::new(endpoint)))
    }
}

impl Store {
    async fn leader(&self) -> anyhow::Result<Option<Endpoint>> {
        let connected = self.ensemble.get_or_try_init(|| Ensemble::connect(&self.address));
        let Some((meta, _)) = connected.await?.meta().await? else { return Ok(None) };
        let record = Leadership::decode(&meta)?;
        let Some(leader) = record.leader else { return Ok(None) };
        let endpoint = Endpoint::from_shared(format!("http://{}", leader.agents));
        Ok(Some(endpoint.with_context(|| format!("{:?} is no address", leader.agents))?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> anyhow::Result<Finder> {
        Finder::parse(&[text.to_owned()])
    }

    #[tokio::test]
    async fn a_listed_control_plane_needs_no_scheme() {
        let found = parse("10.0.0.1:5052").unwrap().candidates().await;
        assert_eq!(found[0].uri().to_string(), "http://10.0.0.1:5052/");
    }

    #[test]
    fn what_is_no_address_is_refused_with_examples() {
        let error = format!("{:#}", parse("http://").unwrap_err());
        assert!(error.contains("zk://host:2181/tepui"), "{error}");
        let error = format!("{:#}", parse("zk://host/tepui").unwrap_err());
        assert!(error.contains("has no port"), "{error}");
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

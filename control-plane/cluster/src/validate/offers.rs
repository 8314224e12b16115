//! The offers that an ACCEPT names (`spec/mesos-http.md` 1.5, step 1).

use std::collections::BTreeSet;

use tepui_types::FrameworkId;
use tepui_wire::v1;

use super::Fault;
use crate::Cluster;
use crate::state::OfferNumber;

/// The numbers of the offers, when they may be accepted together.
pub(crate) fn check_offers(
    cluster: &Cluster,
    framework: &FrameworkId,
    ids: &[v1::OfferId],
) -> Result<Vec<OfferNumber>, Fault> {
    let mut seen = BTreeSet::new();
    if let Some(twice) = ids.iter().find(|id| !seen.insert(&id.value)) {
        return Err(format!("Duplicate offer {} in offer list", twice.value));
    }
    let mut offers = Vec::with_capacity(ids.len());
    for id in ids {
        let offer = cluster
            .offer_number(&id.value)
            .and_then(|number| cluster.offers.get(&number))
            .ok_or_else(|| format!("Offer {} is no longer valid", id.value))?;
        if offer.framework != *framework {
            return Err(format!(
                "Offer {} has invalid framework {} while framework {framework} is expected",
                offer.id, offer.framework
            ));
        }
        offers.push(offer);
    }
    let first = *offers.first().ok_or("No offers specified")?;
    for offer in &offers {
        if offer.role != first.role {
            return Err(format!(
                "Aggregated offers must be allocated to the same role. Offer {} uses role {} but \
                 another is using role {}",
                offer.id, offer.role, first.role
            ));
        }
        if offer.agent != first.agent {
            return Err(format!(
                "Aggregated offers must belong to one single agent. Offer {} uses agent {} and \
                 agent {}",
                offer.id, offer.agent, first.agent
            ));
        }
    }
    Ok(offers.into_iter().map(|offer| offer.number).collect())
}

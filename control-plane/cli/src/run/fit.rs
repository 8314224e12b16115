//! What of an offer a task takes.

use tepui_wire::v1;

/// Amounts smaller than this are the same: resources have three digits of fraction.
const GRAIN: f64 = 0.0005;

/// A scalar that an offer has too little of.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Lack {
    pub(super) name: &'static str,
    pub(super) wanted: f64,
    pub(super) offered: f64,
}

/// Takes the wanted amounts from the offer's resources, or says what is too little.
pub(super) fn take(
    offer: &v1::Offer,
    wanted: &[(&'static str, f64)],
) -> Result<Vec<v1::Resource>, Vec<Lack>> {
    let mut taken = Vec::new();
    let mut lacks = Vec::new();
    for &(name, amount) in wanted.iter().filter(|(_, amount)| *amount > 0.0) {
        let mut missing = amount;
        // A sum over nothing is -0.0.
        let offered: f64 = usable(offer, name).map(|(_, has)| has).sum::<f64>() + 0.0;
        for (resource, has) in usable(offer, name) {
            if missing < GRAIN {
                break;
            }
            let part = has.min(missing);
            missing -= part;
            taken.push(v1::Resource {
                scalar: Some(v1::value::Scalar { value: part }),
                ..resource.clone()
            });
        }
        if missing >= GRAIN {
            lacks.push(Lack { name, wanted: amount, offered });
        }
    }
    if lacks.is_empty() { Ok(taken) } else { Err(lacks) }
}

/// Plain amounts of a name: no volume, nothing shared, nothing that may be taken back.
fn usable<'a>(
    offer: &'a v1::Offer,
    name: &'a str,
) -> impl Iterator<Item = (&'a v1::Resource, f64)> {
    offer
        .resources
        .iter()
        .filter(move |resource| {
            resource.name == name
                && resource.disk.is_none()
                && resource.shared.is_none()
                && resource.revocable.is_none()
        })
        .filter_map(|resource| Some((resource, resource.scalar.as_ref()?.value)))
}

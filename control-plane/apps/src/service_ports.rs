//! Service ports: numbers for load balancers (`marathon-behaviour.md` section 4). Pure.

use std::collections::{BTreeSet, VecDeque};

use tepui_marathon::App;

/// Every number of the range is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exhausted;

/// Replaces each 0 among the app's service ports: by numbers it had before, then by the lowest that
/// no app uses. `taken` is asked only when a new number is needed.
pub(crate) fn assign(
    app: &mut App,
    before: Option<&App>,
    range: (u16, u16),
    taken: impl FnOnce() -> BTreeSet<u16>,
) -> Result<(), Exhausted> {
    // With `requirePorts` the numbers are host ports, and 0 means a random one of the offer.
    if app.require_ports && app.has_host_networking() {
        return Ok(());
    }
    let mut ports: Vec<u16> = app.service_ports().collect();
    if !ports.contains(&0) {
        return Ok(());
    }
    let own: BTreeSet<u16> = ports.iter().copied().collect();
    let earlier = before.into_iter().flat_map(App::service_ports);
    let mut earlier: VecDeque<u16> =
        earlier.filter(|port| *port != 0 && !own.contains(port)).collect();
    let missing = ports.iter().filter(|port| **port == 0).count();
    let mut free = Vec::new().into_iter();
    if missing > earlier.len() {
        let mut taken = taken();
        taken.extend(&own);
        taken.extend(&earlier);
        let unused = (range.0..=range.1).filter(|port| !taken.contains(port));
        free = unused.take(missing - earlier.len()).collect::<Vec<_>>().into_iter();
    }
    for port in ports.iter_mut().filter(|port| **port == 0) {
        *port = earlier.pop_front().or_else(|| free.next()).ok_or(Exhausted)?;
    }
    app.assign_service_ports(ports);
    Ok(())
}

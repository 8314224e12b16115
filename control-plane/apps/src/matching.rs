//! Does an offer fit an app, and if not, why not (`marathon-behaviour.md` sections 4 and 6). Pure.

use std::collections::BTreeMap;

use tepui_marathon::{App, PortMapping, RejectReason};
use tepui_types::{Entropy, Now, Ranges, Scalar, Span};
use tepui_wire::v1::{Offer, Resource, value};

use crate::constraints::{self, OfferedValues, Place};

/// An offer while it is being used up.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    shares: Vec<Share>,
    attributes: BTreeMap<String, String>,
    region: Option<String>,
    zone: Option<String>,
    has_gpus: bool,
}

/// One resource of an offer and what is left of it.
#[derive(Clone, Debug)]
struct Share {
    template: Resource,
    role: String,
    amount: Scalar,
    ports: Ranges,
}

/// What one instance takes from an offer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Placement {
    /// Resources as the cluster expects them back.
    pub(crate) resources: Vec<Resource>,
    /// Host port of each port definition or mapping, `None` for mappings without one.
    pub(crate) host_ports: Vec<Option<u16>>,
}

/// What does not depend on the offer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules<'a> {
    /// Where the app's instances of the same configuration are.
    pub(crate) placed: &'a [Place<'a>],
    /// What else is offered at the moment.
    pub(crate) offered: &'a OfferedValues,
    /// Region of the control plane.
    pub(crate) home_region: Option<&'a str>,
    /// Now.
    pub(crate) now: Now,
    /// Look at maintenance windows, this long ahead.
    pub(crate) draining: Option<Span>,
    /// Keep apps without GPUs away from agents with GPUs.
    pub(crate) gpu_restricted: bool,
    /// Executor of apps that name none.
    pub(crate) executor: &'a str,
}

impl Pool {
    /// Everything in the offer.
    pub(crate) fn new(offer: &Offer) -> Self {
        let fault_domain = offer.domain.as_ref().and_then(|domain| domain.fault_domain.as_ref());
        Self {
            shares: offer.resources.iter().filter_map(Share::new).collect(),
            attributes: constraints::attribute_texts(&offer.attributes),
            region: fault_domain.map(|domain| domain.region.name.clone()),
            zone: fault_domain.map(|domain| domain.zone.name.clone()),
            has_gpus: offer.resources.iter().any(|resource| resource.name == "gpus"),
        }
    }

    /// Attributes as constraints compare them.
    pub(crate) fn attributes(&self) -> &BTreeMap<String, String> {
        &self.attributes
    }

    pub(crate) fn region(&self) -> Option<&str> {
        self.region.as_deref()
    }

    pub(crate) fn zone(&self) -> Option<&str> {
        self.zone.as_deref()
    }

    /// Where the offer is, as constraints see it.
    pub(crate) fn place<'a>(&'a self, hostname: &'a str) -> Place<'a> {
        Place {
            hostname,
            region: self.region(),
            zone: self.zone(),
            attributes: Some(&self.attributes),
        }
    }

    /// Takes what one instance of `app` needs, or says everything that is missing, in the order of the
    /// checks, and takes nothing.
    pub(crate) fn take(
        &mut self,
        app: &App,
        offer: &Offer,
        rules: &Rules<'_>,
        entropy: &mut Entropy,
    ) -> Result<Placement, Vec<RejectReason>> {
        let mut reasons = Vec::new();
        let accepted = Accepted { app };
        if !self.shares.iter().any(|share| accepted.is(&share.role)) {
            reasons.push(RejectReason::UnfulfilledRole);
        }
        if !self.constraints_hold(app, offer, rules) {
            reasons.push(RejectReason::UnfulfilledConstraint);
        }
        if rules.draining.is_some_and(|ahead| in_maintenance(offer, rules.now, ahead)) {
            reasons.push(RejectReason::AgentMaintenance);
        }
        let mut left = self.shares.clone();
        let mut resources = Vec::new();
        let extra =
            app.executor_resources.filter(|_| custom_executor(app, rules.executor).is_some());
        let with = |amount: Scalar, extra: Option<Scalar>| {
            amount.saturating_add(extra.unwrap_or(Scalar::ZERO))
        };
        for (name, amount, reason) in [
            ("cpus", with(app.cpus, extra.map(|e| e.cpus)), RejectReason::InsufficientCpus),
            ("mem", with(app.mem, extra.map(|e| e.mem)), RejectReason::InsufficientMemory),
            ("disk", with(app.disk, extra.map(|e| e.disk)), RejectReason::InsufficientDisk),
            ("gpus", Scalar::from_units(app.gpus.into()), RejectReason::InsufficientGpus),
        ] {
            if !take_scalar(&mut left, name, amount, accepted, &mut resources) {
                reasons.push(reason);
            }
        }
        let host_ports = take_ports(&mut left, app, accepted, entropy, &mut resources);
        if host_ports.is_none() {
            reasons.push(RejectReason::InsufficientPorts);
        }
        if self.has_gpus && app.gpus == 0 && is_restricted(app, rules) {
            reasons.push(RejectReason::DeclinedScarceResources);
        }
        match host_ports {
            Some(host_ports) if reasons.is_empty() => {
                self.shares = left;
                Ok(Placement { resources, host_ports })
            }
            _ => Err(reasons),
        }
    }

    fn constraints_hold(&self, app: &App, offer: &Offer, rules: &Rules<'_>) -> bool {
        let names_region = app
            .constraints
            .iter()
            .any(|constraint| matches!(constraint.field.as_str(), "@region" | "@zone"));
        let away = self.region.is_some() && self.region.as_deref() != rules.home_region;
        (names_region || !away || rules.home_region.is_none())
            && constraints::all_hold(
                &app.constraints,
                &self.place(&offer.hostname),
                rules.placed,
                rules.offered,
                app.instances,
            )
    }
}

/// Path of the app's custom executor; `None` for command tasks.
pub(crate) fn custom_executor<'a>(app: &'a App, default: &'a str) -> Option<&'a str> {
    let executor = if app.executor.is_empty() { default } else { &app.executor };
    (!executor.is_empty() && executor != "//cmd").then_some(executor)
}

fn is_restricted(app: &App, rules: &Rules<'_>) -> bool {
    match app.labels.get("GPU_SCHEDULING_BEHAVIOR").map(String::as_str) {
        Some("unrestricted") => false,
        Some("restricted") => true,
        _ => rules.gpu_restricted,
    }
}

fn in_maintenance(offer: &Offer, now: Now, ahead: Span) -> bool {
    let Some(window) = &offer.unavailability else { return false };
    let start = u64::try_from(window.start.nanoseconds).unwrap_or(0);
    let end = window.duration.as_ref().map_or(u64::MAX, |span| {
        start.saturating_add(u64::try_from(span.nanoseconds).unwrap_or(0))
    });
    let now_nanos = now.wall.as_nanos();
    now_nanos.saturating_add(ahead.as_nanos()) >= start && now_nanos < end
}

/// Which roles' resources an app may use.
#[derive(Clone, Copy)]
struct Accepted<'a> {
    app: &'a App,
}

impl Accepted<'_> {
    fn is(self, role: &str) -> bool {
        (role == "*" || role == self.app.role.as_str())
            && self
                .app
                .accepted_resource_roles
                .as_ref()
                .is_none_or(|roles| roles.iter().any(|accepted| accepted == role))
    }
}

impl Share {
    /// `None` for what is not for everyday use: volumes, special disks, revocable and shared
    /// resources, reservations with labels.
    fn new(resource: &Resource) -> Option<Self> {
        let special_disk = resource
            .disk
            .as_ref()
            .is_some_and(|disk| disk.persistence.is_some() || disk.source.is_some());
        let labelled =
            resource.reservations.iter().chain(&resource.reservation).any(|reservation| {
                reservation.labels.as_ref().is_some_and(|l| !l.labels.is_empty())
            });
        if special_disk || labelled || resource.revocable.is_some() || resource.shared.is_some() {
            return None;
        }
        let role = match resource.reservations.last() {
            Some(reservation) => reservation.role().to_owned(),
            None => resource.role().to_owned(),
        };
        let amount = resource.scalar.as_ref().and_then(|scalar| Scalar::parse(scalar.value).ok());
        let ports = resource.ranges.iter().flat_map(|ranges| &ranges.range);
        let ports = ports.filter_map(|range| tepui_types::Range::new(range.begin, range.end).ok());
        Some(Self {
            template: resource.clone(),
            role,
            amount: amount.unwrap_or_default(),
            ports: Ranges::from_ranges(ports),
        })
    }

    fn is_reserved(&self) -> bool {
        self.role != "*"
    }
}

/// Indices of the shares of a resource that may be used, reserved ones first.
fn usable(shares: &[Share], name: &str, accepted: Accepted<'_>) -> Vec<usize> {
    let mut usable: Vec<usize> = (0..shares.len())
        .filter(|&at| shares[at].template.name == name && accepted.is(&shares[at].role))
        .collect();
    usable.sort_by_key(|&at| !shares[at].is_reserved());
    usable
}

fn take_scalar(
    shares: &mut [Share],
    name: &str,
    amount: Scalar,
    accepted: Accepted<'_>,
    taken: &mut Vec<Resource>,
) -> bool {
    let mut missing = amount;
    for at in usable(shares, name, accepted) {
        let share = &mut shares[at];
        let part = missing.min(share.amount);
        if part.is_zero() {
            continue;
        }
        share.amount = share.amount.saturating_sub(part);
        missing = missing.saturating_sub(part);
        let mut resource = share.template.clone();
        resource.scalar = Some(value::Scalar { value: part.as_f64() });
        taken.push(resource);
    }
    missing.is_zero()
}

/// What a port definition or mapping asks for on the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HostPort {
    None,
    Random,
    Exactly(u16),
}

fn host_port_wishes(app: &App) -> Vec<HostPort> {
    let wish = |port: u16| if port == 0 { HostPort::Random } else { HostPort::Exactly(port) };
    if app.has_host_networking() {
        let definitions = app.port_definitions.iter();
        return definitions
            .map(
                |definition| {
                    if app.require_ports { wish(definition.port) } else { HostPort::Random }
                },
            )
            .collect();
    }
    let of = |mapping: &PortMapping| mapping.host_port.map_or(HostPort::None, wish);
    app.container.iter().flat_map(|container| &container.port_mappings).map(of).collect()
}

fn take_ports(
    shares: &mut [Share],
    app: &App,
    accepted: Accepted<'_>,
    entropy: &mut Entropy,
    taken: &mut Vec<Resource>,
) -> Option<Vec<Option<u16>>> {
    let wishes = host_port_wishes(app);
    let order = usable(shares, "ports", accepted);
    let mut used: BTreeMap<usize, Vec<u64>> = BTreeMap::new();
    for wish in &wishes {
        let HostPort::Exactly(port) = wish else { continue };
        let port = u64::from(*port);
        let at = *order.iter().find(|&&at| shares[at].ports.contains(port))?;
        shares[at].ports = shares[at].ports.difference(&Ranges::single(port));
        used.entry(at).or_default().push(port);
    }
    let random = wishes.iter().filter(|wish| **wish == HostPort::Random).count();
    let mut picked = Vec::with_capacity(random);
    for &at in &order {
        let free = shares[at].ports.count();
        let start = usize::try_from(entropy.below(free)).unwrap_or(0);
        let wanted = (random - picked.len()).min(usize::try_from(free).unwrap_or(usize::MAX));
        let again = shares[at].ports.numbers().take(start);
        let numbers: Vec<u64> =
            shares[at].ports.numbers().skip(start).chain(again).take(wanted).collect();
        shares[at].ports = shares[at].ports.difference(&numbers.iter().copied().collect());
        picked.extend(numbers.iter().copied());
        if !numbers.is_empty() {
            used.entry(at).or_default().extend(numbers);
        }
    }
    if picked.len() < random {
        return None;
    }
    for (at, numbers) in used {
        let mut resource = shares[at].template.clone();
        let ranges: Ranges = numbers.into_iter().collect();
        let range =
            ranges.iter().map(|range| value::Range { begin: range.begin(), end: range.end() });
        resource.ranges = Some(value::Ranges { range: range.collect() });
        taken.push(resource);
    }
    let mut picked = picked.into_iter();
    wishes
        .into_iter()
        .map(|wish| match wish {
            HostPort::None => Some(None),
            HostPort::Exactly(port) => Some(Some(port)),
            // A number above 65535 in an offer is nobody's port.
            HostPort::Random => u16::try_from(picked.next()?).ok().map(Some),
        })
        .collect()
}

#[cfg(test)]
mod tests;

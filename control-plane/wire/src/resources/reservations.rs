//! Reservations: the stack in the books, and its forms on the wire.
#![allow(deprecated)] // `role` is deprecated on the wire, and written for those who read it

use tepui_types::{InvalidRole, Reservation, ReservationKind, Role};

use super::Format;
use crate::v1::{
    self, Label, Labels,
    resource::{ReservationInfo, reservation_info},
};

/// What is wrong with the reservations of a resource.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ReservationFault {
    /// A role that breaks the rules of role names.
    #[error("its reservation names a bad role: {0}")]
    Role(#[from] InvalidRole),
    /// Nobody can reserve for everybody.
    #[error("a resource cannot be reserved to role '*'")]
    DefaultRole,
    /// An entry of `reservations` without role.
    #[error("each of its 'reservations' must have a role")]
    NoRole,
    /// An entry of `reservations` without a known type.
    #[error("each of its 'reservations' must have type STATIC or DYNAMIC")]
    NoType,
    /// A static reservation on top of another.
    #[error("only the first of its 'reservations' may be STATIC")]
    StaticRefinement,
    /// A reservation for a role that is not below the one before.
    #[error("reservation to '{inner}' does not refine the one to '{outer}': it must be below it")]
    NotRefined {
        /// The role of the reservation before.
        outer: Role,
        /// The role of this one.
        inner: Role,
    },
    /// `reservation.role` or `reservation.type`, which belong to the other format.
    #[error("'reservation' beside 'role' must not have a role or type of its own")]
    ForeignFields,
    /// Both formats, and they differ.
    #[error("'role' and 'reservation' contradict 'reservations'; set only one of the two formats")]
    Contradiction,
}

pub(super) fn from_wire(wire: &v1::Resource) -> Result<Vec<Reservation>, ReservationFault> {
    let stack = stack(&wire.reservations)?;
    let has_old_fields = wire.role.is_some() || wire.reservation.is_some();
    if !has_old_fields {
        return Ok(stack);
    }
    let old = old_form(wire)?;
    let role_is_default = wire.role.as_deref() == Some("*") && wire.reservation.is_none();
    match stack.len() {
        0 => Ok(old.into_iter().collect()),
        // JSON writers that fill in defaults add the unset role's `*`.
        _ if role_is_default => Ok(stack),
        1 if old.as_ref() == stack.first() => Ok(stack),
        _ => Err(ReservationFault::Contradiction),
    }
}

fn stack(list: &[ReservationInfo]) -> Result<Vec<Reservation>, ReservationFault> {
    let mut stack: Vec<Reservation> = Vec::with_capacity(list.len());
    for wire in list {
        let role = reserved_role(wire.role.as_deref().ok_or(ReservationFault::NoRole)?)?;
        let kind = match wire.r#type.map(reservation_info::Type::try_from) {
            Some(Ok(reservation_info::Type::Static)) => ReservationKind::Static,
            Some(Ok(reservation_info::Type::Dynamic)) => ReservationKind::Dynamic,
            _ => return Err(ReservationFault::NoType),
        };
        if let Some(outer) = stack.last() {
            if kind == ReservationKind::Static {
                return Err(ReservationFault::StaticRefinement);
            }
            if role == outer.role || !role.is_within(&outer.role) {
                return Err(ReservationFault::NotRefined {
                    outer: outer.role.clone(),
                    inner: role,
                });
            }
        }
        stack.push(Reservation {
            kind,
            role,
            principal: wire.principal.as_deref().map(Into::into),
            labels: labels_from(wire.labels.as_ref()),
        });
    }
    Ok(stack)
}

/// What `role` and `reservation` say: unreserved, or one reservation.
fn old_form(wire: &v1::Resource) -> Result<Option<Reservation>, ReservationFault> {
    let text = wire.role.as_deref().unwrap_or("*");
    let Some(info) = &wire.reservation else {
        if text == "*" {
            return Ok(None);
        }
        let role = reserved_role(text)?;
        let kind = ReservationKind::Static;
        return Ok(Some(Reservation { kind, role, principal: None, labels: Vec::new() }));
    };
    if info.role.is_some() || info.r#type.is_some() {
        return Err(ReservationFault::ForeignFields);
    }
    Ok(Some(Reservation {
        kind: ReservationKind::Dynamic,
        role: reserved_role(text)?,
        principal: info.principal.as_deref().map(Into::into),
        labels: labels_from(info.labels.as_ref()),
    }))
}

fn reserved_role(text: &str) -> Result<Role, ReservationFault> {
    match Role::parse(text)? {
        role if role.is_default() => Err(ReservationFault::DefaultRole),
        role => Ok(role),
    }
}

type LabelList = Vec<(std::sync::Arc<str>, Option<std::sync::Arc<str>>)>;

fn labels_from(wire: Option<&Labels>) -> LabelList {
    let labels = wire.map(|labels| labels.labels.as_slice()).unwrap_or_default();
    let pair = |label: &Label| (label.key.as_str().into(), label.value.as_deref().map(Into::into));
    labels.iter().map(pair).collect()
}

pub(super) fn to_wire(stack: &[Reservation], format: Format, wire: &mut v1::Resource) {
    let representable = stack.len() <= 1;
    if format != Format::PostRefinement && representable {
        let role = stack.first().map_or("*", |reservation| reservation.role.as_str());
        wire.role = Some(role.to_owned());
        let dynamic = stack.first().filter(|top| top.kind == ReservationKind::Dynamic);
        wire.reservation = dynamic.map(|top| ReservationInfo {
            role: None,
            r#type: None,
            principal: top.principal.as_deref().map(str::to_owned),
            labels: labels_to(top),
        });
    }
    if format != Format::PreRefinement || !representable {
        wire.reservations = stack.iter().map(new_form).collect();
    }
}

fn new_form(reservation: &Reservation) -> ReservationInfo {
    let kind = match reservation.kind {
        ReservationKind::Static => reservation_info::Type::Static,
        ReservationKind::Dynamic => reservation_info::Type::Dynamic,
    };
    ReservationInfo {
        r#type: Some(kind.into()),
        role: Some(reservation.role.as_str().to_owned()),
        principal: reservation.principal.as_deref().map(str::to_owned),
        labels: labels_to(reservation),
    }
}

fn labels_to(reservation: &Reservation) -> Option<Labels> {
    if reservation.labels.is_empty() {
        return None;
    }
    let labels = reservation.labels.iter().map(|(key, value)| Label {
        key: key.as_ref().to_owned(),
        value: value.as_deref().map(str::to_owned),
    });
    Some(Labels { labels: labels.collect() })
}

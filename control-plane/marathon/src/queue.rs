//! The launch queue as clients see it (`marathon-api.md` section 7).

use std::sync::Arc;

use serde::Serialize;
use tepui_types::Scalar;

use crate::app::App;
use crate::number;
use crate::version::Version;

/// Body of `GET /v2/queue`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Queue {
    /// One entry per waiting app.
    pub queue: Vec<QueueItem>,
}

/// One waiting app.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QueueItem {
    /// Instances still to launch.
    pub count: u32,
    /// State of the back-off.
    pub delay: QueueDelay,
    /// Start of this launch attempt.
    pub since: Version,
    /// What happened to the offers seen.
    pub processed_offers_summary: ProcessedOffersSummary,
    /// The latest unused offer of each agent; only when asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_unused_offers: Option<Vec<UnusedOffer>>,
    /// The app.
    pub app: Arc<App>,
}

/// State of an app's back-off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QueueDelay {
    /// Seconds until the next launch may happen.
    pub time_left_seconds: u64,
    /// True when there is no back-off or it has expired: the app waits for offers.
    pub overdue: bool,
}

/// Why an offer was not used, in the order of the checks (`marathon-behaviour.md` section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum RejectReason {
    /// No resources of an accepted role.
    UnfulfilledRole,
    /// A placement rule failed.
    UnfulfilledConstraint,
    /// The reservation waited for is not in the offer.
    NoCorrespondingReservationFound,
    /// The agent is in maintenance.
    AgentMaintenance,
    /// Too few CPUs.
    InsufficientCpus,
    /// Too little memory.
    InsufficientMemory,
    /// Too little disk.
    InsufficientDisk,
    /// Too few GPUs.
    InsufficientGpus,
    /// The ports wanted are not there.
    InsufficientPorts,
    /// Resources of the agent are kept for those who need them.
    DeclinedScarceResources,
}

impl RejectReason {
    /// Every reason in the order of the checks.
    pub const ALL: [Self; 10] = [
        Self::UnfulfilledRole,
        Self::UnfulfilledConstraint,
        Self::NoCorrespondingReservationFound,
        Self::AgentMaintenance,
        Self::InsufficientCpus,
        Self::InsufficientMemory,
        Self::InsufficientDisk,
        Self::InsufficientGpus,
        Self::InsufficientPorts,
        Self::DeclinedScarceResources,
    ];

    /// The name in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::UnfulfilledRole => "UnfulfilledRole",
            Self::UnfulfilledConstraint => "UnfulfilledConstraint",
            Self::NoCorrespondingReservationFound => "NoCorrespondingReservationFound",
            Self::AgentMaintenance => "AgentMaintenance",
            Self::InsufficientCpus => "InsufficientCpus",
            Self::InsufficientMemory => "InsufficientMemory",
            Self::InsufficientDisk => "InsufficientDisk",
            Self::InsufficientGpus => "InsufficientGpus",
            Self::InsufficientPorts => "InsufficientPorts",
            Self::DeclinedScarceResources => "DeclinedScarceResources",
        }
    }
}

/// Counters of one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct RejectCount {
    /// The reason.
    pub reason: RejectReason,
    /// Offers rejected at this check.
    pub declined: u64,
    /// Offers that got as far as this check.
    pub processed: u64,
}

/// What happened to the offers an app has seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessedOffersSummary {
    /// Offers looked at.
    pub processed_offers_count: u64,
    /// Offers not used.
    pub unused_offers_count: u64,
    /// When the last offer was not used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_unused_offer_at: Option<Version>,
    /// When the last offer was used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_used_offer_at: Option<Version>,
    /// Over the last offer of each agent; one entry per reason in fixed order.
    pub reject_summary_last_offers: Vec<RejectCount>,
    /// Since the start of the launch attempt; one entry per reason in fixed order.
    pub reject_summary_launch_attempt: Vec<RejectCount>,
}

impl Default for ProcessedOffersSummary {
    fn default() -> Self {
        let none =
            RejectReason::ALL.map(|reason| RejectCount { reason, declined: 0, processed: 0 });
        Self {
            processed_offers_count: 0,
            unused_offers_count: 0,
            last_unused_offer_at: None,
            last_used_offer_at: None,
            reject_summary_last_offers: none.to_vec(),
            reject_summary_launch_attempt: none.to_vec(),
        }
    }
}

/// An offer that was not used, with all reasons found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct UnusedOffer {
    /// The offer.
    pub offer: OfferView,
    /// Why it was not used.
    pub reason: Vec<RejectReason>,
    /// When.
    pub timestamp: Version,
}

/// An offer as the queue shows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OfferView {
    /// Id of the offer.
    pub id: String,
    /// Hostname of the agent.
    pub hostname: String,
    /// Id of the agent.
    pub agent_id: String,
    /// What was offered.
    pub resources: Vec<OfferedResource>,
    /// Attributes of the agent.
    pub attributes: Vec<OfferedAttribute>,
}

/// One offered resource; exactly one kind of value is set.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OfferedResource {
    /// `cpus`, `mem`, `disk`, `ports`, …
    pub name: String,
    /// Role it is reserved for.
    pub role: String,
    /// An amount.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "optional_scalar")]
    pub scalar: Option<Scalar>,
    /// Ranges of numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ranges: Option<Vec<NumberRange>>,
    /// A set of names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub set: Option<Vec<String>>,
}

/// One attribute of an agent; exactly one kind of value is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct OfferedAttribute {
    /// Name.
    pub name: String,
    /// A text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// A number.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "optional_scalar")]
    pub scalar: Option<Scalar>,
    /// Ranges of numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ranges: Option<Vec<NumberRange>>,
    /// A set of names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub set: Option<Vec<String>>,
}

/// Numbers from `begin` to `end`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct NumberRange {
    /// First number.
    pub begin: u64,
    /// Last number.
    pub end: u64,
}

fn optional_scalar<S: serde::Serializer>(
    amount: &Option<Scalar>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match amount {
        Some(amount) => number::scalar(amount, serializer),
        None => serializer.serialize_none(),
    }
}

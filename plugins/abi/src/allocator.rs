//! What is said to an allocator and what it answers.
//!
//! Every answer but a refusal carries a [`State`], so that the daemon need not ask whether there
//! is something to plan, or when. Numbers of fields are for good; a new field needs a default that
//! means what was before.

mod decode;
mod encode;

pub use prost::Message;
use prost::Oneof;

pub use decode::{heard, plan, reasons, refusals, told};
pub use encode::{counted, explained, planned, state, tell};

use crate::Malformed;

/// Method: takes note of [`Told`]; answers [`State`].
pub const APPLY: u32 = 1;
/// Method: plans a round at [`Ask`]; answers [`Planned`].
pub const ROUND: u32 = 2;
/// Method: says why the framework of [`Ask`] is offered no more; answers [`Explained`].
pub const EXPLAIN: u32 = 3;
/// Method: counts refusals by role at [`Ask`]; answers [`Refusals`].
pub const REFUSALS: u32 = 4;

macro_rules! message {
    ($(#[$doc:meta])* $name:ident { $($(#[$attr:meta])* $field:ident: $of:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Message)]
        pub struct $name {
            $($(#[$attr])* pub $field: $of,)*
        }
    };
}

message! {
    /// A label of a reservation.
    Label {
        /// Its name.
        #[prost(string, tag = "1")]
        name: String,
        /// Its value.
        #[prost(string, optional, tag = "2")]
        value: Option<String>,
    }
}

message! {
    /// One level of a resource's reservations.
    Reservation {
        /// By an operation, not by configuration.
        #[prost(bool, tag = "1")]
        dynamic: bool,
        /// For whom.
        #[prost(string, tag = "2")]
        role: String,
        /// By whom.
        #[prost(string, optional, tag = "3")]
        principal: Option<String>,
        /// In the order given.
        #[prost(message, repeated, tag = "4")]
        labels: Vec<Label>,
    }
}

message! {
    /// A set of numbers: begin and end of each range, alternating.
    Numbers {
        /// `begin, end, begin, end …`, both included.
        #[prost(uint64, repeated, tag = "1")]
        bounds: Vec<u64>,
    }
}

message! {
    /// A set of names.
    Names {
        /// The names.
        #[prost(string, repeated, tag = "1")]
        names: Vec<String>,
    }
}

/// How much of a resource.
#[derive(Clone, PartialEq, Oneof)]
pub enum Amount {
    /// Thousandths.
    #[prost(uint64, tag = "4")]
    Milli(u64),
    /// Numbers.
    #[prost(message, tag = "5")]
    Ranges(Numbers),
    /// Names.
    #[prost(message, tag = "6")]
    Set(Names),
}

message! {
    /// A resource.
    Resource {
        /// What kind.
        #[prost(string, tag = "1")]
        name: String,
        /// From the outermost role inwards.
        #[prost(message, repeated, tag = "2")]
        reservations: Vec<Reservation>,
        /// May be taken back at any time.
        #[prost(bool, tag = "3")]
        revocable: bool,
        /// How much.
        #[prost(oneof = "Amount", tags = "4, 5, 6")]
        amount: Option<Amount>,
    }
}

message! {
    /// [`tepui_allocator::AgentFacts`].
    Agent {
        /// Which.
        #[prost(string, tag = "1")]
        id: String,
        /// Everything it has.
        #[prost(message, repeated, tag = "2")]
        total: Vec<Resource>,
        /// It may be offered.
        #[prost(bool, tag = "3")]
        active: bool,
        /// Only frameworks that ask for gpus may see it.
        #[prost(bool, tag = "4")]
        gpus_guarded: bool,
        /// From which these facts hold.
        #[prost(uint64, tag = "5")]
        epoch: u64,
    }
}

message! {
    /// What somebody has somewhere.
    Share {
        /// Who.
        #[prost(string, tag = "1")]
        framework: String,
        /// In which role.
        #[prost(string, tag = "2")]
        role: String,
        /// Where.
        #[prost(string, tag = "3")]
        agent: String,
        /// What.
        #[prost(message, repeated, tag = "4")]
        resources: Vec<Resource>,
        /// Of a proposal: the agent's epoch.
        #[prost(uint64, tag = "5")]
        epoch: u64,
        /// Of what was declined: nanoseconds not to be offered it again.
        #[prost(uint64, optional, tag = "6")]
        refused_nanos: Option<u64>,
    }
}

message! {
    /// An agent appeared.
    Added {
        /// The agent.
        #[prost(message, optional, tag = "1")]
        agent: Option<Agent>,
        /// What is in use there.
        #[prost(message, repeated, tag = "2")]
        used: Vec<Share>,
    }
}

message! {
    /// An agent changed.
    Changed {
        /// The agent.
        #[prost(message, optional, tag = "1")]
        agent: Option<Agent>,
        /// Earlier refusals say nothing any more.
        #[prost(bool, tag = "2")]
        forget_filters: bool,
    }
}

message! {
    /// Amounts that make a bundle worth offering, all of them.
    Least {
        /// Each.
        #[prost(message, repeated, tag = "1")]
        amounts: Vec<Resource>,
    }
}

message! {
    /// A smallest offer: any of these; none means that everything is worth offering.
    Minimum {
        /// For which role; empty for the whole cluster.
        #[prost(string, tag = "1")]
        role: String,
        /// The alternatives.
        #[prost(message, repeated, tag = "2")]
        any_of: Vec<Least>,
    }
}

message! {
    /// [`tepui_allocator::FrameworkFacts`].
    Framework {
        /// Which.
        #[prost(string, tag = "1")]
        id: String,
        /// Subscribed.
        #[prost(string, repeated, tag = "2")]
        roles: Vec<String>,
        /// Wants no offers for these.
        #[prost(string, repeated, tag = "3")]
        suppressed: Vec<String>,
        /// Connected.
        #[prost(bool, tag = "4")]
        active: bool,
        /// Takes revocable resources.
        #[prost(bool, tag = "5")]
        revocable: bool,
        /// Takes agents with gpus.
        #[prost(bool, tag = "6")]
        gpus: bool,
        /// Its own smallest offers.
        #[prost(message, repeated, tag = "7")]
        minimum: Vec<Minimum>,
    }
}

message! {
    /// Roles of a framework.
    Roles {
        /// Which framework.
        #[prost(string, tag = "1")]
        framework: String,
        /// Which roles; none means all.
        #[prost(string, repeated, tag = "2")]
        roles: Vec<String>,
    }
}

message! {
    /// A role's weight in thousandths.
    Weight {
        /// Which role.
        #[prost(string, tag = "1")]
        role: String,
        /// Above zero.
        #[prost(uint64, tag = "2")]
        milli: u64,
    }
}

message! {
    /// Weights.
    Weights {
        /// Each.
        #[prost(message, repeated, tag = "1")]
        weights: Vec<Weight>,
    }
}

message! {
    /// An offer is over.
    Ended {
        /// Whose it was, where, and all that was offered.
        #[prost(message, optional, tag = "1")]
        offer: Option<Share>,
        /// What of it is in use.
        #[prost(message, repeated, tag = "2")]
        used: Vec<Resource>,
    }
}

/// What an allocator is told.
#[derive(Clone, PartialEq, Oneof)]
pub enum What {
    /// An agent appeared.
    #[prost(message, tag = "2")]
    AgentAdded(Added),
    /// An agent changed.
    #[prost(message, tag = "3")]
    AgentChanged(Changed),
    /// An agent is gone.
    #[prost(string, tag = "4")]
    AgentRemoved(String),
    /// A framework appeared or changed.
    #[prost(message, tag = "5")]
    FrameworkUpdated(Framework),
    /// A framework is gone.
    #[prost(string, tag = "6")]
    FrameworkRemoved(String),
    /// Roles come out of suppression.
    #[prost(message, tag = "7")]
    Revived(Roles),
    /// Roles are suppressed.
    #[prost(message, tag = "8")]
    Suppressed(Roles),
    /// Resources came back.
    #[prost(message, tag = "9")]
    Released(Share),
    /// Weights changed.
    #[prost(message, tag = "10")]
    Weights(Weights),
    /// The smallest offer changed.
    #[prost(message, tag = "11")]
    Minimum(Minimum),
    /// An offer is over.
    #[prost(message, tag = "12")]
    OfferEnded(Ended),
    /// Somebody else decided an offer.
    #[prost(message, tag = "13")]
    Offered(Share),
}

message! {
    /// [`tepui_allocator::Input`] with its time.
    Input {
        /// When, on the control plane's clock.
        #[prost(uint64, tag = "1")]
        at_nanos: u64,
        /// What.
        #[prost(oneof = "What", tags = "2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13")]
        what: Option<What>,
    }
}

message! {
    /// Several inputs, in order.
    Told {
        /// Each.
        #[prost(message, repeated, tag = "1")]
        inputs: Vec<Input>,
    }
}

message! {
    /// A question.
    Ask {
        /// When.
        #[prost(uint64, tag = "1")]
        at_nanos: u64,
        /// Of whom.
        #[prost(string, tag = "2")]
        framework: String,
    }
}

message! {
    /// How an allocator stands after a call.
    State {
        /// A round could propose something.
        #[prost(bool, tag = "1")]
        dirty: bool,
        /// When a round is due although nothing happens.
        #[prost(uint64, optional, tag = "2")]
        wakeup_nanos: Option<u64>,
    }
}

message! {
    /// [`tepui_allocator::Reclaim`].
    Reclaim {
        /// From whom, where, and which revocable resources.
        #[prost(message, optional, tag = "1")]
        share: Option<Share>,
        /// For whom.
        #[prost(string, tag = "2")]
        beneficiary: String,
    }
}

message! {
    /// [`tepui_allocator::Plan`].
    Planned {
        /// In the order decided.
        #[prost(message, repeated, tag = "1")]
        proposals: Vec<Share>,
        /// Agents looked at.
        #[prost(uint64, tag = "2")]
        agents: u64,
        /// Pairs looked at.
        #[prost(uint64, tag = "3")]
        pairs: u64,
        /// How it stands now.
        #[prost(message, optional, tag = "4")]
        state: Option<State>,
        /// What to take back.
        #[prost(message, repeated, tag = "5")]
        reclaims: Vec<Reclaim>,
    }
}

message! {
    /// [`tepui_allocator::Reason`].
    Reason {
        /// In which role.
        #[prost(string, tag = "1")]
        role: String,
        /// Where.
        #[prost(string, optional, tag = "2")]
        agent: Option<String>,
        /// Which, by the order of [`tepui_allocator::NoOffer`], from 1 on.
        #[prost(uint32, tag = "3")]
        why: u32,
        /// Free processors, thousandths.
        #[prost(uint64, tag = "4")]
        cpus_milli: u64,
        /// Free memory, thousandths of a megabyte.
        #[prost(uint64, tag = "5")]
        mem_milli: u64,
        /// How much longer it is refused.
        #[prost(uint64, tag = "6")]
        remaining_nanos: u64,
    }
}

message! {
    /// Why a framework is offered no more.
    Explained {
        /// Each.
        #[prost(message, repeated, tag = "1")]
        reasons: Vec<Reason>,
    }
}

message! {
    /// Refusals that hold in a role.
    Count {
        /// Which role.
        #[prost(string, tag = "1")]
        role: String,
        /// How many.
        #[prost(uint64, tag = "2")]
        count: u64,
    }
}

message! {
    /// Refusals that hold.
    Refusals {
        /// By role.
        #[prost(message, repeated, tag = "1")]
        by_role: Vec<Count>,
    }
}

/// Reads a message.
///
/// # Errors
///
/// [`Malformed`] when the bytes are none of it.
pub fn read<M: Message + Default>(what: &'static str, bytes: &[u8]) -> Result<M, Malformed> {
    M::decode(bytes).map_err(|error| Malformed::new(what, error))
}

#[cfg(test)]
mod tests;

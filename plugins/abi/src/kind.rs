//! What plugins can be.

use std::fmt;

/// What a plugin is for. Every kind has a name and the version of what is said to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Decides who is offered what; used by the control plane.
    Allocator,
    /// Holds tasks to limits; used by agents.
    Isolator,
    /// Says who a client is.
    Authenticator,
    /// Says what a client may do.
    Authorizer,
    /// Is told of tasks before they start and after they end.
    Hook,
    /// Says what an agent could lend beside what it gave.
    ResourceEstimator,
    /// Says which lent resources have to be taken back.
    QosController,
    /// Knows the values of secrets.
    SecretResolver,
}

impl Kind {
    /// All that have a name; not all have a use yet.
    pub const ALL: [Self; 8] = [
        Self::Allocator,
        Self::Isolator,
        Self::Authenticator,
        Self::Authorizer,
        Self::Hook,
        Self::ResourceEstimator,
        Self::QosController,
        Self::SecretResolver,
    ];

    /// Its name in cards, logs and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allocator => "allocator",
            Self::Isolator => "isolator",
            Self::Authenticator => "authenticator",
            Self::Authorizer => "authorizer",
            Self::Hook => "hook",
            Self::ResourceEstimator => "resource-estimator",
            Self::QosController => "qos-controller",
            Self::SecretResolver => "secret-resolver",
        }
    }

    /// The version of what is said to plugins of this kind: it rises when an older plugin could
    /// no longer do what is asked. 0: nothing is said yet, and no daemon has a use for it.
    #[must_use]
    pub const fn version(self) -> u32 {
        match self {
            Self::Allocator | Self::Isolator => 1,
            _ => 0,
        }
    }

    /// The kind of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

//! What can go wrong between us and systemd.

/// A failed conversation with systemd.
#[derive(Debug, thiserror::Error)]
pub enum SystemdError {
    /// This host was not booted with systemd, or its bus cannot be reached.
    #[error("systemd cannot be reached over D-Bus")]
    Unreachable(#[source] Box<zbus::Error>),
    /// systemd refused; its own words.
    #[error("systemd refused to {verb} {unit}: {reason}")]
    Refused {
        /// What was asked for.
        verb: &'static str,
        /// Of which unit.
        unit: String,
        /// Why not.
        reason: String,
    },
    /// The bus failed meanwhile.
    #[error("failed to {verb} {unit}")]
    Bus {
        /// What was asked for.
        verb: &'static str,
        /// Of which unit.
        unit: String,
        /// Cause.
        source: Box<zbus::Error>,
    },
    /// The job that starts a unit ended otherwise than `done`.
    #[error("{unit} did not start: its job ended as '{result}'")]
    NotStarted {
        /// Which unit.
        unit: String,
        /// `failed`, `canceled`, `timeout`, `dependency` or `skipped`.
        result: String,
    },
    /// The unit is not loaded: it never was, or it has ended and was collected.
    #[error("there is no unit {0}")]
    NoSuchUnit(String),
}

impl SystemdError {
    /// From an answer of the bus.
    pub(crate) fn answered(verb: &'static str, unit: &str, error: zbus::Error) -> Self {
        let unit = unit.to_owned();
        match error {
            zbus::Error::MethodError(name, text, _) => match name.as_str() {
                "org.freedesktop.systemd1.NoSuchUnit" => Self::NoSuchUnit(unit),
                name => {
                    let reason = text.unwrap_or_else(|| name.to_owned());
                    Self::Refused { verb, unit, reason }
                }
            },
            source => Self::Bus { verb, unit, source: Box::new(source) },
        }
    }
}

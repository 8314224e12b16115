//! What a plugin is opened with.

use serde::de::DeserializeOwned;
use tepui_types::Entropy;

/// What a plugin is opened with.
#[derive(Clone, Debug, Default)]
pub struct Start {
    name: String,
    settings: String,
    seed: u64,
}

impl Start {
    /// As a daemon would open it, for tests: settings are JSON.
    #[must_use]
    pub fn new(name: &str, settings: &str, seed: u64) -> Self {
        Self { name: name.to_owned(), settings: settings.to_owned(), seed }
    }

    pub(crate) fn of(message: tepui_plugin_abi::Start) -> Self {
        Self { name: message.name, settings: message.settings, seed: message.seed }
    }

    /// The plugin's name in the daemon's configuration.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the operator wrote under `[plugins.NAME.settings]`; nothing reads as `{}`.
    ///
    /// # Errors
    ///
    /// What is wrong with it, for the operator.
    pub fn settings<T: DeserializeOwned>(&self) -> Result<T, String> {
        let text = if self.settings.is_empty() { "{}" } else { &self.settings };
        serde_json::from_str(text).map_err(|error| format!("settings of {}: {error}", self.name))
    }

    /// What chance is made of: the same seed and inputs have to give the same decisions.
    #[must_use]
    pub fn entropy(&self) -> Entropy {
        Entropy::seeded(self.seed)
    }
}

//! What the operator says of plugins.

use tepui_plugin_host::Kind;

use super::Config;

impl Config {
    /// Checks that what is said of plugins is said of some.
    ///
    /// # Errors
    /// The name that none has, and what would be right.
    pub fn check_tables(&self) -> Result<(), String> {
        self.shelf.check_tables(&self.isolation.plugins().collect::<Vec<_>>())
    }

    /// Loads each plugin and opens it with its settings, and asks nothing of it: what this host can do
    /// is found out at the start.
    ///
    /// # Errors
    /// Why one would not be taken, in one line.
    pub fn try_plugins(&self) -> Result<(), String> {
        let mut plugins = self.isolation.plugins();
        plugins.try_for_each(|name| self.shelf.try_plugin(name, Kind::Isolator))
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Settings;

    #[test]
    fn what_is_said_of_a_plugin_is_said_of_one_that_is_configured() {
        let check = |table: &str| {
            let text = format!("isolation = 'auto,numa'\nplugin_dir = '/p'\n[plugins.{table}]");
            let settings = toml::from_str::<Settings>(&text).unwrap();
            let settings = Settings { shim: Some("/bin/true".into()), ..settings };
            settings.resolve().unwrap().check_tables()
        };
        assert_eq!(check("numa"), Ok(()));
        assert!(check("numma").unwrap_err().ends_with("right would be numa"));
    }
}

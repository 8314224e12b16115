//! What the operator says of plugins.

use super::Config;

impl Config {
    /// The plugins that this configuration puts in force.
    pub fn plugins(&self) -> Vec<&str> {
        self.isolation.plugins().collect()
    }

    /// Checks that what is said of plugins is said of some.
    ///
    /// # Errors
    /// The name that none has, and what would be right.
    pub fn check_tables(&self) -> Result<(), String> {
        self.shelf.check_tables(&self.plugins())
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

//! Checking a configuration where its files are not: on the host that builds another one's system.

use std::path::Path;

use anyhow::ensure;

use super::Settings;

const SCHEME: &str = "file://";

impl Settings {
    /// These settings without the files that they name, which only their own host has.
    ///
    /// # Errors
    /// When a file is not named by an absolute path: it would be another one on another host.
    pub fn elsewhere(mut self) -> anyhow::Result<Self> {
        let gc = self.image_gc_config.take();
        let (written_out, gc) = match gc {
            Some(text) if text.trim_start().starts_with('{') => (Some(text), None),
            path => (None, path),
        };
        self.image_gc_config = written_out;
        let files = [
            ("docker_config", self.docker_config.take()),
            ("image_gc_config", gc.map(Into::into)),
            ("runtime", self.runtime.take()),
            ("shim", self.shim.take()),
        ];
        for (key, file) in files {
            let Some(file) = file else { continue };
            absolute_path(key, &file)?;
        }
        for address in std::mem::take(&mut self.control_plane) {
            if address.starts_with(SCHEME) {
                absolute_path("control_plane", Path::new(&address))?;
            } else {
                self.control_plane.push(address);
            }
        }
        Ok(self)
    }
}

fn absolute_path(key: &str, file: &Path) -> anyhow::Result<()> {
    let plain = file.to_str().and_then(|text| text.strip_prefix(SCHEME));
    ensure!(
        plain.map_or(file, Path::new).is_absolute(),
        "{key} = {} is not an absolute path",
        file.display()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings {
            docker_config: Some("/run/credentials/tepui-agentd.service/docker".into()),
            image_gc_config: Some("file:///etc/tepui/gc.json".into()),
            ..Settings::default()
        }
    }

    #[test]
    fn files_of_another_host_are_not_looked_for() {
        let checked = settings().elsewhere().unwrap();
        assert_eq!((checked.docker_config, checked.image_gc_config), (None, None));
    }

    #[test]
    fn what_is_written_out_is_still_checked() {
        let gc = Some(" {\"image_disk_headroom\": 2}".to_owned());
        let settings = Settings { image_gc_config: gc.clone(), ..settings() };
        assert_eq!(settings.elsewhere().unwrap().image_gc_config, gc);
    }

    #[test]
    fn the_address_of_a_store_in_a_file_of_another_host_is_not_read() {
        let there = "file:///run/credentials/tepui-agentd.service/store".to_owned();
        let settings = Settings { control_plane: vec![there, "a:1".into()], ..settings() };
        assert_eq!(settings.elsewhere().unwrap().control_plane, ["a:1"]);
    }

    #[test]
    fn a_path_that_depends_on_where_one_stands_is_refused() {
        let settings = Settings { shim: Some("bin/tepui-shim".into()), ..settings() };
        let error = settings.elsewhere().unwrap_err();
        assert_eq!(error.to_string(), "shim = bin/tepui-shim is not an absolute path");
    }
}

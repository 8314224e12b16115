//! Debian's `docker-registry` on loopback, and the tools that fill it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// A registry of its own process, which ends with the test.
pub struct Registry {
    child: Child,
    pub address: String,
    _folder: TempDir,
}

/// The tools that are not here; a test that needs them says so and ends.
pub fn lacks(tools: &[&str]) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let has = |tool: &&&str| std::env::split_paths(&path).any(|dir| dir.join(tool).exists());
    let missing: Vec<&&str> = tools.iter().filter(|tool| !has(tool)).collect();
    if !missing.is_empty() {
        eprintln!("skipped: {missing:?} not installed (./test installs them)");
    }
    !missing.is_empty()
}

impl Registry {
    /// Starts one; with `htpasswd` lines, it asks for them.
    pub fn start(htpasswd: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage:\n  filesystem:\n    rootdirectory: {}\n\
             http:\n  addr: 127.0.0.1:0\n",
            folder.path().join("data").display()
        );
        if let Some(lines) = htpasswd {
            let path = folder.path().join("htpasswd");
            fs::write(&path, lines).unwrap();
            config +=
                &format!("auth:\n  htpasswd:\n    realm: test\n    path: {}\n", path.display());
        }
        let path = folder.path().join("config.yml");
        fs::write(&path, config).unwrap();
        let mut child = Command::new("docker-registry")
            .args(["serve".as_ref(), path.as_os_str()])
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| {
                let rest = line.split_once("listening on ")?.1.to_owned();
                Some(rest.split(['"', ' ']).next()?.to_owned())
            })
            .expect("docker-registry says where it listens");
        // It would block when nobody reads what it writes.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address, _folder: folder }
    }

    /// Copies an image of a layout into the registry.
    pub fn push(&self, layout: &Path, tag: &str, name: &str, more: &[&str]) {
        run(Command::new("skopeo")
            .args(["copy", "-q", "--insecure-policy", "--dest-tls-verify=false"])
            .args(more)
            .arg(format!("oci:{}:{tag}", layout.display()))
            .arg(format!("docker://{}/{name}", self.address)));
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn run(command: &mut Command) {
    let done = command.output().unwrap();
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
}

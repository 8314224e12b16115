//! Real servers on loopback for tests: etcd and ZooKeeper from the distribution's packages.
//! They end with the value that holds them.

use std::io;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::{Address, Ensemble, Kind};

/// How long a server may take to answer. A virtual machine for Java needs some seconds.
const PATIENCE: Duration = Duration::from_secs(60);
const ZOOKEEPER: &str = "/usr/share/java/zookeeper.jar";

/// A server of its own.
#[derive(Debug)]
pub struct Server {
    child: Child,
    folder: TempDir,
    kind: Kind,
    port: u16,
}

impl Server {
    /// Starts etcd without any login.
    ///
    /// # Panics
    /// When it is not installed or does not answer: `./test` installs `etcd-server`.
    pub fn etcd() -> Self {
        Self::start(Kind::Etcd)
    }

    /// Starts ZooKeeper.
    ///
    /// # Panics
    /// When it is not installed or does not answer: `./test` installs `zookeeper` and a Java.
    pub fn zookeeper() -> Self {
        Self::start(Kind::ZooKeeper)
    }

    fn start(kind: Kind) -> Self {
        let begin = Instant::now();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime can be made");
        loop {
            let folder = TempDir::new().expect("a folder can be made");
            let port = free_port();
            let child = match kind {
                Kind::Etcd => etcd(folder.path(), port),
                Kind::ZooKeeper => zookeeper(folder.path(), port),
            };
            let child = child.expect("the server's package is installed (./test does it)");
            let mut server = Self { child, folder, kind, port };
            let address = server.address("/ready");
            loop {
                if runtime.block_on(Ensemble::connect(&address)).is_ok() {
                    return server;
                }
                assert!(begin.elapsed() < PATIENCE, "{}", server.told());
                // Another test took the port meanwhile: then another one.
                if server.child.try_wait().is_ok_and(|ended| ended.is_some()) {
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }

    /// Its address, with a path for what a test keeps there.
    pub fn address(&self, path: &str) -> Address {
        Address {
            kind: self.kind,
            servers: vec![format!("127.0.0.1:{}", self.port)],
            login: None,
            path: path.to_owned(),
            tls: None,
        }
    }

    /// Sends it a signal, by name.
    ///
    /// # Panics
    /// When there is no such process or signal.
    pub fn signal(&self, name: &str) {
        let sent =
            Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -{name} failed");
    }

    /// Kills it and starts it again on its data.
    ///
    /// # Panics
    /// When it does not come back.
    pub fn restart(&mut self) {
        self.stop();
        let child = match self.kind {
            Kind::Etcd => etcd(self.folder.path(), self.port),
            Kind::ZooKeeper => zookeeper(self.folder.path(), self.port),
        };
        self.child = child.expect("the server starts again");
    }

    fn stop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn told(&self) -> String {
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        format!("{:?} does not answer; it says:\n{log}", self.kind)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.local_addr().expect("a listener has an address").port()
}

fn logged(command: &mut Command, folder: &Path) -> io::Result<Child> {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(folder.join("log"))?;
    let both = log.try_clone()?;
    command.stdin(Stdio::null()).stdout(log).stderr(both).spawn()
}

fn etcd(folder: &Path, port: u16) -> io::Result<Child> {
    let url = format!("http://127.0.0.1:{port}");
    // Nobody connects to the port for peers of a single server.
    let peer = "unix://localhost:0".to_owned();
    let mut command = Command::new("etcd");
    command
        .arg("--data-dir")
        .arg(folder.join("data"))
        .args(["--listen-client-urls", &url, "--advertise-client-urls", &url])
        .args(["--listen-peer-urls", &peer, "--logger", "zap", "--log-level", "error"])
        .current_dir(folder);
    logged(&mut command, folder)
}

fn zookeeper(folder: &Path, port: u16) -> io::Result<Child> {
    let settings = format!(
        "tickTime=500\nclientPort={port}\nclientPortAddress=127.0.0.1\ndataDir={}\n\
         admin.enableServer=false\nmaxClientCnxns=0\n",
        folder.join("data").display()
    );
    std::fs::write(folder.join("zoo.cfg"), settings)?;
    if !Path::new(ZOOKEEPER).exists() {
        return Err(io::Error::new(io::ErrorKind::NotFound, ZOOKEEPER));
    }
    let mut command = Command::new("java");
    command
        .args([
            "-Xmx256m",
            "-XX:TieredStopAtLevel=1",
            "-XX:+UseSerialGC",
            "-cp",
            "/usr/share/java/*",
        ])
        .arg("org.apache.zookeeper.server.ZooKeeperServerMain")
        .arg(folder.join("zoo.cfg"))
        .current_dir(folder);
    logged(&mut command, folder)
}

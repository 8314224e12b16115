//! Real servers on loopback for tests: etcd and ZooKeeper from the distribution's packages, one
//! alone or three that make an ensemble. They end with the value that holds them.

mod certificates;
mod programs;

use std::io;
use std::net::TcpListener;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::{Address, Ensemble, Kind, Tls};
use certificates::Certificates;
use programs::{Node, Security, launch};

/// How long servers may take to answer. A virtual machine for Java needs some seconds.
const PATIENCE: Duration = Duration::from_secs(90);
/// Who may do everything where there is a login.
const USER: &str = "root";
const PASSWORD: &str = "s@cret";

/// A server of its own, or several that keep the same.
#[derive(Debug)]
pub struct Server {
    kind: Kind,
    folder: TempDir,
    security: Security,
    login: Option<(String, String)>,
    nodes: Vec<Running>,
}

#[derive(Debug)]
struct Running {
    node: Node,
    child: Child,
}

impl Server {
    /// Starts etcd without any login.
    ///
    /// # Panics
    /// When it is not installed or does not answer: `./test` installs `etcd-server`.
    pub fn etcd() -> Self {
        Self::start(Kind::Etcd, 1, Security::default())
    }

    /// Starts ZooKeeper.
    ///
    /// # Panics
    /// When it is not installed or does not answer: `./test` installs `zookeeper` and a Java.
    pub fn zookeeper() -> Self {
        Self::start(Kind::ZooKeeper, 1, Security::default())
    }

    /// Starts three servers that elect a leader among themselves.
    ///
    /// # Panics
    /// When they are not installed or do not answer.
    pub fn three(kind: Kind) -> Self {
        Self::start(kind, 3, Security::default())
    }

    /// Starts etcd that speaks only TLS, wants a certificate of its clients, and a login.
    ///
    /// # Panics
    /// When it is not installed or does not answer.
    pub fn etcd_with_tls_and_login() -> Self {
        let folder = TempDir::new().expect("a folder can be made");
        let certificates = Some(Certificates::make(folder));
        Self::start(Kind::Etcd, 1, Security { certificates, ..Security::default() }).log_in()
    }

    /// Starts etcd that wants a login and gives signed tokens, which it refuses when users have changed
    /// since.
    ///
    /// # Panics
    /// When it is not installed or does not answer.
    pub fn etcd_with_login() -> Self {
        Self::start(Kind::Etcd, 1, Security { signed_tokens: true, ..Security::default() }).log_in()
    }

    fn log_in(mut self) -> Self {
        runtime().block_on(programs::enable_auth(&self.address("/x"), USER, PASSWORD));
        self.login = Some((USER.to_owned(), PASSWORD.to_owned()));
        self
    }

    /// Adds a user to etcd.
    ///
    /// # Panics
    /// When it does not take that.
    pub fn add_user(&self, name: &str) {
        runtime().block_on(programs::add_user(&self.address("/x"), name, PASSWORD));
    }

    /// Has every address carry this login; ZooKeeper believes any, and holds nodes to it.
    #[must_use]
    pub fn with_login(mut self, user: &str, password: &str) -> Self {
        self.login = Some((user.to_owned(), password.to_owned()));
        self
    }

    fn start(kind: Kind, count: usize, security: Security) -> Self {
        let begin = Instant::now();
        let runtime = runtime();
        // Another test may take a port meanwhile: then others.
        'ports: loop {
            let folder = TempDir::new().expect("a folder can be made");
            let all: Vec<Node> = (0..count).map(|_| Node::with(free_port)).collect();
            let nodes = all.iter().enumerate().map(|(number, node)| {
                let child = launch(kind, folder.path(), &all, number, &security);
                let child = child.expect("the server's package is installed (./test does it)");
                Running { node: node.clone(), child }
            });
            let nodes = nodes.collect();
            let security = security.clone();
            let mut server = Self { kind, folder, security, login: None, nodes };
            for number in 0..count {
                // Each one, so that none is still on its way when a test begins.
                let address = server.address_of("/ready", &[number]);
                while runtime.block_on(Ensemble::connect(&address)).is_err() {
                    assert!(begin.elapsed() < PATIENCE, "{}", server.told());
                    if server.nodes.iter_mut().any(|one| one.ended()) {
                        continue 'ports;
                    }
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
            return server;
        }
    }

    /// The address of all its servers, with a path for what a test keeps there.
    pub fn address(&self, path: &str) -> Address {
        let all: Vec<usize> = (0..self.nodes.len()).collect();
        self.address_of(path, &all)
    }

    fn address_of(&self, path: &str, which: &[usize]) -> Address {
        let host = if self.security.certificates.is_some() { "localhost" } else { "127.0.0.1" };
        Address {
            kind: self.kind,
            servers: which
                .iter()
                .map(|number| format!("{host}:{}", self.nodes[*number].node.client))
                .collect(),
            login: self.login.clone(),
            path: path.to_owned(),
            tls: self.security.certificates.as_ref().map(Certificates::of_client),
        }
    }

    /// Removes everything that is kept at this address.
    ///
    /// # Panics
    /// When the servers do not do that.
    pub fn empty(&self, address: &Address) {
        runtime().block_on(programs::remove_all(address));
    }

    /// An authority that signed none of its certificates.
    ///
    /// # Panics
    /// When the server does not speak TLS.
    pub fn wrong_authority(&self) -> Tls {
        self.security.certificates.as_ref().expect("it speaks TLS").of_another()
    }

    /// Sends the first server a signal, by name.
    ///
    /// # Panics
    /// When there is no such process or signal.
    pub fn signal(&self, name: &str) {
        self.nodes[0].signal(name);
    }

    /// Kills one of its servers.
    ///
    /// # Panics
    /// When it is gone already.
    pub fn kill(&self, number: usize) {
        self.nodes[number].signal("KILL");
    }

    /// Kills its first server and starts it again on its data.
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart(&mut self) {
        self.start_again(0);
    }

    /// Starts one of its servers again on its data.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_again(&mut self, number: usize) {
        let all: Vec<Node> = self.nodes.iter().map(|running| running.node.clone()).collect();
        self.nodes[number].stop();
        let child = launch(self.kind, self.folder.path(), &all, number, &self.security);
        self.nodes[number].child = child.expect("the server starts again");
    }

    fn told(&self) -> String {
        let logs = (0..self.nodes.len()).map(|number| {
            let log = programs::folder(self.folder.path(), number).join("log");
            std::fs::read_to_string(log).unwrap_or_default()
        });
        format!("{:?} does not answer; it says:\n{}", self.kind, logs.collect::<String>())
    }
}

impl Running {
    fn ended(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|ended| ended.is_some())
    }

    fn signal(&self, name: &str) {
        let sent =
            Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -{name} failed");
    }

    fn stop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.nodes.iter_mut().for_each(Running::stop);
    }
}

fn runtime() -> tokio::runtime::Runtime {
    let made = tokio::runtime::Builder::new_current_thread().enable_all().build();
    made.expect("a runtime can be made")
}

fn free_port() -> u16 {
    let port = || -> io::Result<u16> { Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port()) };
    port().expect("loopback has a free port")
}

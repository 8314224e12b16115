//! How the servers' programs are started.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use etcd_client::Client;

use super::certificates::Certificates;
use crate::pace::Pace;
use crate::{Address, Kind};

const ZOOKEEPER: &str = "/usr/share/java/zookeeper.jar";

/// The ports of one server.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) client: u16,
    /// At which the others of an ensemble reach it.
    peer: u16,
    /// The same, for ZooKeeper's elections.
    election: u16,
}

impl Node {
    pub(super) fn with(mut port: impl FnMut() -> u16) -> Self {
        Self { client: port(), peer: port(), election: port() }
    }
}

/// How etcd knows who asks.
#[derive(Clone, Debug, Default)]
pub(super) struct Security {
    /// It speaks only TLS, with these.
    pub(super) certificates: Option<Certificates>,
    /// Its tokens are signed, and name the state of its users.
    pub(super) signed_tokens: bool,
}

/// The folder of one of the servers.
pub(super) fn folder(root: &Path, number: usize) -> PathBuf {
    root.join(number.to_string())
}

/// Starts the server `number` of these, on what it kept.
pub(super) fn launch(
    kind: Kind,
    root: &Path,
    all: &[Node],
    number: usize,
    security: &Security,
) -> io::Result<Child> {
    let folder = folder(root, number);
    std::fs::create_dir_all(&folder)?;
    let mut command = match kind {
        Kind::Etcd => etcd(&folder, all, number, security)?,
        Kind::ZooKeeper => zookeeper(&folder, all, number)?,
    };
    let log = std::fs::OpenOptions::new().create(true).append(true).open(folder.join("log"))?;
    let both = log.try_clone()?;
    command.current_dir(&folder).stdin(Stdio::null()).stdout(log).stderr(both).spawn()
}

fn etcd(folder: &Path, all: &[Node], number: usize, security: &Security) -> io::Result<Command> {
    let certificates = security.certificates.as_ref();
    let name = |number: usize| format!("s{number}");
    let (scheme, host) =
        if certificates.is_some() { ("https", "localhost") } else { ("http", "127.0.0.1") };
    let node = &all[number];
    let mut command = Command::new("etcd");
    command
        .arg("--data-dir")
        .arg(folder.join("data"))
        .args(["--name", &name(number), "--logger", "zap", "--log-level", "error"])
        .args(["--listen-client-urls", &format!("{scheme}://127.0.0.1:{}", node.client)])
        .args(["--advertise-client-urls", &format!("{scheme}://{host}:{}", node.client)]);
    if let [_] = all {
        // Nobody connects to the port for peers of a single server.
        command.args(["--listen-peer-urls", "unix://localhost:0"]);
    } else {
        let peer = |node: &Node| format!("http://127.0.0.1:{}", node.peer);
        let everybody: Vec<String> =
            all.iter().enumerate().map(|(n, node)| format!("{}={}", name(n), peer(node))).collect();
        command
            .args(["--listen-peer-urls", &peer(node), "--initial-cluster", &everybody.join(",")])
            .args(["--initial-advertise-peer-urls", &peer(node)])
            .args(["--heartbeat-interval", "50", "--election-timeout", "500"]);
    }
    if let Some(certificates) = certificates {
        command.args(certificates.flags_of_etcd());
    }
    if security.signed_tokens {
        std::fs::write(folder.join("token.key"), "the key of a test")?;
        command.args(["--auth-token", "jwt,priv-key=token.key,sign-method=HS256,ttl=1h"]);
    }
    Ok(command)
}

fn zookeeper(folder: &Path, all: &[Node], number: usize) -> io::Result<Command> {
    if !Path::new(ZOOKEEPER).exists() {
        return Err(io::Error::new(io::ErrorKind::NotFound, ZOOKEEPER));
    }
    let data = folder.join("data");
    let mut settings = format!(
        "tickTime=500\nclientPort={}\nclientPortAddress=127.0.0.1\ndataDir={}\n\
         admin.enableServer=false\nmaxClientCnxns=0\ninitLimit=20\nsyncLimit=10\n",
        all[number].client,
        data.display()
    );
    let mut main = "org.apache.zookeeper.server.ZooKeeperServerMain";
    if all.len() > 1 {
        main = "org.apache.zookeeper.server.quorum.QuorumPeerMain";
        for (n, node) in all.iter().enumerate() {
            let Node { peer, election, .. } = node;
            settings.push_str(&format!("server.{}=127.0.0.1:{peer}:{election}\n", n + 1));
        }
        std::fs::create_dir_all(&data)?;
        std::fs::write(data.join("myid"), (number + 1).to_string())?;
    }
    std::fs::write(folder.join("zoo.cfg"), settings)?;
    let mut command = Command::new("java");
    command
        .args(["-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"])
        .args(["-cp", "/usr/share/java/*", main])
        .arg(folder.join("zoo.cfg"));
    Ok(command)
}

async fn client(address: &Address) -> Result<Client, etcd_client::Error> {
    let mut options = etcd_client::ConnectOptions::new();
    let mut scheme = "http";
    if let Some(tls) = &address.tls {
        let tls = crate::etcd::tls_options(tls).await;
        options = options.with_tls(tls.expect("its files are there"));
        scheme = "https";
    }
    if let Some((user, password)) = &address.login {
        options = options.with_user(user, password);
    }
    Client::connect([format!("{scheme}://{}", address.servers[0])], Some(options)).await
}

/// Has etcd ask for a login from now on.
pub(super) async fn enable_auth(address: &Address, user: &str, password: &str) {
    let asked = async {
        let mut client = client(address).await?;
        client.user_add(user, password, None).await?;
        client.role_add("root").await?;
        client.user_grant_role(user, "root").await?;
        client.auth_enable().await
    };
    asked.await.expect("etcd takes a login");
}

/// Adds a user, which changes what etcd's tokens are worth.
pub(super) async fn add_user(address: &Address, user: &str, password: &str) {
    let asked = async { client(address).await?.user_add(user, password, None).await };
    asked.await.expect("etcd takes a user");
}

pub(super) async fn remove_all(address: &Address) {
    let path = &address.path;
    match address.kind {
        Kind::Etcd => {
            let below = etcd_client::DeleteOptions::new().with_prefix();
            let asked =
                async { client(address).await?.delete(format!("{path}/"), Some(below)).await };
            asked.await.expect("etcd removes keys");
        }
        Kind::ZooKeeper => {
            let client = crate::zookeeper::session(address, Pace::default()).await;
            let client = client.expect("ZooKeeper takes a session");
            remove_node(&client, path.clone()).await.expect("ZooKeeper removes nodes");
        }
    }
}

/// Removes a node, and before it everything below.
async fn remove_node(
    client: &zookeeper_client::Client,
    path: String,
) -> Result<(), zookeeper_client::Error> {
    let below = client.list_children(&path).await?;
    let removed = below.iter().map(|name| Box::pin(remove_node(client, format!("{path}/{name}"))));
    futures_util::future::try_join_all(removed).await?;
    client.delete(&path, None).await
}

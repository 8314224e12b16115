//! Containers: images brought here, networks made, orders written for `tepui-runtime`. A container
//! is a run whose program is that one; everything else about it is as with any run.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::net::{
    AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, send, socket_with,
};
use tepui_container::{
    ATTACH_SOCKET, Container, EtcFiles, ExecOrder, ImageConfig, ImageWish, Ipc, Isolation,
    MountSource, Namespace, Network, ORDER_FILE, Order, OrderMount, OrderSource, RegistryAuth,
    Root, SANDBOX, Seccomp, ToTerminal, asks_only_itself, hosts_file, process, resolver_file,
};
use tepui_images::{Auth, DOCKER_HUB, DockerConfig, ImageRequest, Images, Prepared, Reference};
use tepui_launch::Program;
use tepui_network::{Attached, Networks};
use tepui_types::ContainerId;
use tokio::net::UnixStream;
use tracing::warn;

use crate::bundles::Bundles;
use crate::runs::chain;
use crate::sandbox::Folders;

/// The host's servers for names, and those behind a resolver on its loopback.
const RESOLVERS: [&str; 2] = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"];
const HOSTS: &str = "/etc/hosts";
/// Bytes of a container's id in its host name, as Docker's.
const SHORT_NAME: usize = 12;
/// Largest seccomp profile that is read.
const MAX_PROFILE_BYTES: u64 = 1 << 20;

/// What containers are made with.
#[derive(Clone, Debug)]
pub struct Containers {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// The program, or why there is none.
    runtime: Result<PathBuf, String>,
    images: Images,
    networks: Networks,
    /// The work directory.
    work: PathBuf,
    bundles: Bundles,
    /// Filters that were made for containers.
    filters: PathBuf,
    profiles: Option<PathBuf>,
    /// Images of runs between their fetch and their start.
    fetched: Mutex<HashMap<ContainerId, HashMap<ImageWish, Prepared>>>,
    /// Runs that wait for an image, by its full name.
    waiting: Mutex<HashMap<ContainerId, String>>,
}

/// A run that waits for an image, for as long as this is there.
struct Waiting<'a> {
    shared: &'a Shared,
    run: &'a ContainerId,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.shared.waiting.lock().remove(self.run);
    }
}

/// How a container is started.
#[derive(Debug)]
pub struct Beginning {
    /// What is executed on the host.
    pub program: Program,
    /// Its addresses, where it has a network of its own.
    pub addresses: Option<Vec<IpAddr>>,
}

/// Where a container's task begins on its host.
#[derive(Debug)]
pub struct Place<'a> {
    pub run: &'a ContainerId,
    pub sandbox: &'a Path,
    /// The folder of its secrets.
    pub secrets: &'a Path,
    pub environment: &'a [(String, String)],
}

impl Shared {
    /// Notes that a run waits for an image; a name that is none is told by whoever is asked for it.
    fn wait<'a>(&'a self, run: &'a ContainerId, reference: &str) -> Waiting<'a> {
        if let Ok(name) = self.images.full_name(reference) {
            self.waiting.lock().insert(run.clone(), name);
        }
        Waiting { shared: self, run }
    }
}

impl Containers {
    /// Makes containers in their folders among `folders`. `tag` tells agents of one host apart.
    pub fn new(
        runtime: Result<PathBuf, String>,
        images: Images,
        networks: Networks,
        folders: &Folders,
        tag: &str,
        profiles: Option<PathBuf>,
    ) -> Self {
        let fetched = Mutex::default();
        let waiting = Mutex::default();
        let shared = Shared {
            runtime,
            images,
            networks,
            work: folders.work().to_owned(),
            bundles: Bundles::new(tag, folders.containers(), folders.skeleton()),
            filters: folders.filters(),
            profiles,
            fetched,
            waiting,
        };
        Self { shared: Arc::new(shared) }
    }

    /// Their networks.
    pub fn networks(&self) -> &Networks {
        &self.shared.networks
    }

    /// What this host can do.
    pub async fn probe(&self) -> tepui_agent::Containers {
        let networks = self.shared.networks.probe().await;
        let any = match &self.shared.runtime {
            _ if !nix::unistd::geteuid().is_root() => Err("the agent is not root".into()),
            Err(reason) => Err(reason.as_str().into()),
            Ok(_) => self.shared.probe_overlay().map_err(Into::into),
        };
        tepui_agent::Containers { any, bridge: networks.bridge, networks: networks.networks }
    }

    /// Removes what former containers have left; these runs are still known.
    pub async fn recover(&self, known: &[ContainerId]) -> io::Result<()> {
        for run in self.shared.bundles.runs()? {
            if !known.contains(&run) {
                self.shared.bundles.remove(&run);
            }
        }
        for owner in self.shared.images.pin_owners() {
            let run = owner.split('/').next().and_then(|run| ContainerId::parse(run).ok());
            if run.is_some_and(|run| !known.contains(&run)) {
                self.shared.unpin(&owner);
            }
        }
        self.shared.networks.reconcile(known).await;
        Ok(())
    }

    /// Brings a run's images here, and keeps them until the run is discarded.
    ///
    /// # Errors
    /// In words for the framework's user.
    pub async fn fetch(&self, run: &ContainerId, images: Vec<ImageWish>) -> Result<(), String> {
        let mut here = HashMap::new();
        for (at, wish) in images.into_iter().enumerate() {
            let failed =
                |why: String| format!("Failed to provide image '{}': {why}", wish.reference);
            let credentials = wish
                .auth
                .as_ref()
                .map(|auth| credentials(&wish.reference, auth))
                .transpose()
                .map_err(failed)?;
            let request =
                ImageRequest { reference: wish.reference.clone(), fresh: wish.fresh, credentials };
            let waiting = self.shared.wait(run, &request.reference);
            let found = self.shared.images.ensure(&request, |_| {}).await;
            drop(waiting);
            let found = found.map_err(|error| failed(chain(&error)))?;
            let (images, owner) = (self.shared.images.clone(), format!("{run}/{at}"));
            let digest = found.digest().clone();
            tokio::task::spawn_blocking(move || images.pin(&digest, &owner))
                .await
                .map_err(|error| failed(error.to_string()))?
                .map_err(|error| failed(chain(&error)))?;
            here.insert(wish, found);
        }
        if !here.is_empty() {
            self.shared.fetched.lock().insert(run.clone(), here);
        }
        Ok(())
    }

    /// The runs that wait for the image of this full name.
    pub fn waiting_for(&self, image: &str) -> Vec<ContainerId> {
        let waiting = self.shared.waiting.lock();
        let mut runs: Vec<_> =
            waiting.iter().filter(|(_, name)| *name == image).map(|(run, _)| run.clone()).collect();
        runs.sort();
        runs
    }

    /// The folder of a run's container, where what it writes outside its sandbox is; there for
    /// containers alone.
    pub fn bundle(&self, run: &ContainerId) -> PathBuf {
        self.shared.bundles.of(run)
    }

    /// Makes the folder of a container, where what it writes outside its sandbox will be.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn make_bundle(&self, run: &ContainerId) -> Result<PathBuf, String> {
        let bundles = &self.shared.bundles;
        let failed = |error| format!("failed to prepare {}: {error}", bundles.of(run).display());
        bundles.make(run).map_err(failed)
    }

    /// Makes a network that others will join; its addresses.
    ///
    /// # Errors
    /// In words for the framework's user.
    pub async fn attach(
        &self,
        run: &ContainerId,
        network: &Network,
    ) -> Result<Vec<IpAddr>, String> {
        let attached = self.shared.networks.attach(run, network).await;
        let attached =
            attached.map_err(|error| format!("Failed to make a network: {}", chain(&error)))?;
        Ok(attached.map(|attached| attached.addresses).unwrap_or_default())
    }

    /// The network of a run, for another one that is to be in it too.
    ///
    /// # Errors
    /// When nobody else can be in it.
    pub fn network_to_join(&self, run: &ContainerId) -> Result<Attached, String> {
        let attached = self.shared.networks.attached(run);
        attached.ok_or_else(|| format!("container {run} has no network that another one can join"))
    }

    /// The network that a live run is in: its own, or that of a run above it.
    pub fn network_of(&self, run: &ContainerId) -> Option<Attached> {
        let mut name = run.as_str();
        loop {
            let run = ContainerId::parse(name).ok()?;
            if let Some(attached) = self.shared.networks.attached(&run) {
                return Some(attached);
            }
            name = name.rsplit_once('.')?.0;
        }
    }

    /// Makes everything ready for a container's start. `joined` is the network of a run above it.
    ///
    /// # Errors
    /// In words for the framework's user; nothing is left then but what [`Self::discard`] removes.
    pub async fn begin(
        &self,
        container: &Container,
        place: Place<'_>,
        joined: Option<Attached>,
    ) -> Result<Beginning, String> {
        let runtime = self.shared.runtime.clone()?;
        let is_joined = joined.is_some();
        let attached = match joined {
            Some(joined) => Some(joined),
            None => {
                let attached = self.shared.networks.attach(place.run, &container.network).await;
                attached.map_err(|error| chain(&error))?
            }
        };
        let mut order = self.shared.order(container, &place, attached.as_ref())?;
        let bundle = self.make_bundle(place.run)?;
        order.scratch = Some(self.shared.make_scratch(place.run)?);
        write_order(&bundle, &order)?;
        // What is pinned need not be held.
        self.shared.fetched.lock().remove(place.run);
        let words = [runtime.as_os_str(), "run".as_ref(), bundle.as_os_str()];
        let argv = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        let path = runtime.to_string_lossy().into_owned();
        let addresses = match (attached, &container.network) {
            // They are those of the run whose network it is.
            _ if is_joined => None,
            (Some(attached), _) => Some(attached.addresses),
            (None, Network::None) => Some(Vec::new()),
            (None, _) => None,
        };
        Ok(Beginning { program: Program::Exec { path, argv }, addresses })
    }

    /// What starts a further process in a run's container; `None` when the run is no container.
    ///
    /// # Errors
    /// When the order for it cannot be written.
    pub fn join(&self, run: &ContainerId, order: &ExecOrder) -> Result<Option<Program>, String> {
        static NUMBER: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        if !self.is_container(run) {
            return Ok(None);
        }
        let runtime = self.shared.runtime.clone()?;
        let bundle = self.shared.bundles.of(run);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let scratch = self.shared.bundles.scratch(run);
        let file = scratch.join(format!("join-{}-{number}.json", std::process::id()));
        let text = serde_json::to_vec(order).map_err(|error| error.to_string())?;
        write_private(&file, &text)?;
        let words = [runtime.as_os_str(), "exec".as_ref(), bundle.as_os_str(), file.as_os_str()];
        let argv = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        Ok(Some(Program::Exec { path: runtime.to_string_lossy().into_owned(), argv }))
    }

    /// Whether a live run is a container.
    pub fn is_container(&self, run: &ContainerId) -> bool {
        self.shared.bundles.is_container(run)
    }

    /// A connection to the terminal of a run, on which that was said; `None` when it is no container
    /// that has one.
    ///
    /// # Errors
    /// When the container's runtime does not take it.
    pub fn terminal(
        &self,
        run: &ContainerId,
        said: Option<&ToTerminal>,
    ) -> io::Result<Option<UnixStream>> {
        let Ok(folder) = File::open(self.shared.bundles.scratch(run)) else { return Ok(None) };
        // A socket's path has 108 bytes at most.
        let path = format!("/proc/self/fd/{}/{ATTACH_SOCKET}", folder.as_raw_fd());
        if !Path::new(&path).exists() {
            return Ok(None);
        }
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        connect(&socket, &SocketAddrUnix::new(path)?)?;
        if let Some(said) = said {
            send(&socket, &said.encode(), SendFlags::NOSIGNAL)?;
        }
        // Each `read` and `write` of it is one packet, whatever its type is called.
        UnixStream::from_std(std::os::unix::net::UnixStream::from(socket)).map(Some)
    }

    /// A run's addresses, where it has a network of its own.
    pub fn addresses(&self, run: &ContainerId) -> Option<Vec<IpAddr>> {
        self.shared.networks.attached(run).map(|attached| attached.addresses)
    }

    /// A run is over: its network, its images and its files may go.
    pub async fn discard(&self, run: &ContainerId) {
        self.shared.fetched.lock().remove(run);
        self.shared.networks.detach(run).await;
        let (shared, run) = (self.shared.clone(), run.clone());
        let done = tokio::task::spawn_blocking(move || {
            shared.bundles.remove(&run);
            let start = format!("{run}/");
            for owner in shared.images.pin_owners() {
                if owner.starts_with(&start) {
                    shared.unpin(&owner);
                }
            }
        });
        // It ends early only with the whole process; the next one removes the rest.
        let _ = done.await;
    }
}

impl Shared {
    fn make_scratch(&self, run: &ContainerId) -> Result<PathBuf, String> {
        let made = self.bundles.make_scratch(run);
        made.map_err(|error| format!("failed to prepare the runtime's folder: {error}"))
    }

    /// The layers of an image, above what every container has.
    fn layers(&self, image: &Prepared) -> Result<Vec<PathBuf>, String> {
        let skeleton = self.bundles.skeleton();
        let skeleton = skeleton.map_err(|error| format!("failed to prepare a layer: {error}"))?;
        Ok(std::iter::once(skeleton)
            .chain(image.layers().iter().map(PathBuf::as_path))
            .map(PathBuf::from)
            .collect())
    }

    fn unpin(&self, owner: &str) {
        if let Err(error) = self.images.unpin(owner) {
            let error = &error as &dyn std::error::Error;
            warn!(owner, error, "image stays although nobody needs it");
        }
    }

    /// Whether layers can be mounted with a writable folder where bundles are.
    fn probe_overlay(&self) -> Result<(), String> {
        let trial = self.bundles.disk().join(".trial");
        let done = try_overlay(&trial);
        // Left over, it is used again the next time.
        let _ = fs::remove_dir_all(&trial);
        let place = self.bundles.disk().display();
        done.map_err(|error| format!("overlayfs cannot write to {place}: {error}"))
    }

    fn order(
        &self,
        container: &Container,
        place: &Place<'_>,
        attached: Option<&Attached>,
    ) -> Result<Order, String> {
        let fetched = self.fetched.lock();
        let fetched = fetched.get(place.run);
        let layers = |wish: &ImageWish| {
            let found = fetched.and_then(|fetched| fetched.get(wish));
            found.ok_or_else(|| format!("image '{}' is not here", wish.reference))
        };
        let image = container.image.as_ref().map(layers).transpose()?;
        let config = image.map(|image| image_config(image.config())).unwrap_or_default();
        let process =
            process(container, &config, place.environment).map_err(|error| error.to_string())?;
        let inside = |path: &str| match (image, path.strip_prefix(SANDBOX)) {
            // Without an image the sandbox is where it is.
            (None, Some(rest)) => format!("{}{rest}", place.sandbox.display()),
            _ => path.to_owned(),
        };
        let hostname = hostname(container, place.run, attached.is_some());
        let sandbox = self.real(place.sandbox)?;
        let mut mounts = Vec::new();
        for mount in &container.mounts {
            let source = match &mount.source {
                MountSource::Host { path, create, follows_host } => OrderSource::Host {
                    path: path.into(),
                    create: *create,
                    follows_host: *follows_host,
                },
                MountSource::Sandbox { path } => {
                    OrderSource::Below { folder: sandbox.clone(), path: path.into() }
                }
                MountSource::Parent { path } => {
                    // `<the pod's sandbox>/containers/<name>`
                    let above = sandbox.ancestors().nth(2);
                    let above = above.ok_or("the sandbox is below no pod")?;
                    OrderSource::Below { folder: above.into(), path: path.into() }
                }
                MountSource::Image(wish) => OrderSource::Layers(layers(wish)?.layers().to_vec()),
                MountSource::Secret(name) => OrderSource::Secret(place.secrets.join(name)),
                MountSource::Tmpfs { options } => OrderSource::Tmpfs(options.clone()),
            };
            let target = inside(&mount.target);
            mounts.push(OrderMount { source, target, read_only: mount.read_only });
        }
        Ok(Order {
            run: place.run.to_string(),
            root: match image {
                Some(image) => Root::Layers(self.layers(image)?),
                None => Root::Host,
            },
            read_only: container.read_only,
            argv: process.argv,
            environment: process.environment,
            working_directory: inside(&process.working_directory),
            user: process.user,
            // Whom the image names itself is the image's.
            user_of_host: container.user_of_host && container.user.is_some(),
            groups: container.groups.clone(),
            sandbox,
            etc: Some(etc_files(container, hostname.as_deref(), attached)),
            isolation: Isolation {
                network: namespace(&container.network, attached),
                hostname,
                ipc: container.ipc,
                shm_bytes: container.shm_bytes,
                shares_processes: container.shares_processes,
                processes_of: self.above(place.run, |above| !above.shares_processes),
                ipc_of: self.above(place.run, |above| above.ipc == Ipc::Private),
            },
            mounts,
            privileged: container.privileged,
            capabilities: container.capabilities.clone(),
            seccomp: container.seccomp.clone(),
            seccomp_profile: self.profile(&container.seccomp)?,
            scratch: None,
            filters: Some(self.filters.clone()),
            hidden: container.hidden.clone(),
            host_folders: container
                .host_folders
                .as_ref()
                .map(|folders| folders.iter().map(PathBuf::from).collect()),
            new_privileges: container.new_privileges,
            rlimits: container.rlimits.clone(),
            devices: container.devices.clone(),
            sysctls: container.sysctls.clone(),
            tty: container.tty,
            stop_signal: process.stop_signal,
        })
    }

    /// The folder of the nearest container above whose isolation is its own. `None` is the host, whose
    /// isolation whatever is no container has.
    fn above(&self, run: &ContainerId, is_own: impl Fn(&Isolation) -> bool) -> Option<PathBuf> {
        let mut name = run.as_str();
        loop {
            name = name.rsplit_once('.')?.0;
            let bundle = self.bundles.of(&ContainerId::parse(name).ok()?);
            let order = fs::read(bundle.join(ORDER_FILE)).ok()?;
            let order: Order = serde_json::from_slice(&order).ok()?;
            if is_own(&order.isolation) {
                return Some(bundle);
            }
        }
    }

    /// A sandbox, where links on the way to the work directory are the operator's. The runtime follows
    /// none: below it they are tasks'.
    fn real(&self, sandbox: &Path) -> Result<PathBuf, String> {
        let failed = |error| format!("failed to find {}: {error}", self.work.display());
        let work = fs::canonicalize(&self.work).map_err(failed)?;
        let below = sandbox.strip_prefix(&self.work);
        below.map(|below| work.join(below)).map_err(|_| "the sandbox has no place".to_owned())
    }

    /// The text of the profile that a container names.
    fn profile(&self, seccomp: &Seccomp) -> Result<Option<String>, String> {
        let Seccomp::Profile(name) = seccomp else { return Ok(None) };
        let is_plain = !name.contains('/') && !name.starts_with('.') && !name.is_empty();
        let absent = || format!("this host has no seccomp profile '{}'", name.escape_debug());
        let folder = self.profiles.as_ref().filter(|_| is_plain).ok_or_else(absent)?;
        let path = folder.join(name);
        let meta = fs::metadata(&path).map_err(|_| absent())?;
        if meta.len() > MAX_PROFILE_BYTES {
            return Err(format!("seccomp profile '{name}' is too large"));
        }
        fs::read_to_string(&path).map(Some).map_err(|_| absent())
    }
}

/// Without a name of its own a container with a network of its own is called after its id.
fn hostname(container: &Container, run: &ContainerId, is_joined: bool) -> Option<String> {
    let is_own = container.network.is_own() || is_joined;
    let short = || run.as_str().rsplit('.').next().unwrap_or_default().chars().take(SHORT_NAME);
    let own = is_own.then(|| short().collect());
    container.hostname.clone().or(own)
}

fn namespace(network: &Network, attached: Option<&Attached>) -> Namespace {
    match (network, attached) {
        (_, Some(attached)) => Namespace::At(attached.namespace.clone()),
        (Network::Host, None) => Namespace::Host,
        (_, None) => Namespace::Fresh,
    }
}

fn etc_files(
    container: &Container,
    hostname: Option<&str>,
    attached: Option<&Attached>,
) -> EtcFiles {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let mut host = read(RESOLVERS[0]);
    let is_own = container.network.is_own() || attached.is_some();
    if is_own && asks_only_itself(&host) {
        host = read(RESOLVERS[1]);
    }
    let own = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    let name = hostname.map(str::to_owned).or(own).unwrap_or_else(|| "localhost".to_owned());
    let hosts = if is_own {
        let addresses: Vec<_> =
            attached.iter().flat_map(|one| &one.addresses).map(ToString::to_string).collect();
        hosts_file(&container.dns, &name, &addresses)
    } else {
        let added = container.dns.hosts.iter();
        let added: String = added.map(|(name, address)| format!("{address}\t{name}\n")).collect();
        format!("{}\n{added}", read(HOSTS).trim_end())
    };
    EtcFiles {
        resolver: resolver_file(&container.dns, &host),
        hosts,
        hostname: format!("{name}\n"),
    }
}

fn image_config(config: &tepui_images::ImageConfig) -> ImageConfig {
    ImageConfig {
        environment: config.env.iter().map(|(name, value)| format!("{name}={value}")).collect(),
        entrypoint: config.entrypoint.clone(),
        command: config.cmd.clone(),
        working_directory: config.working_dir.clone().unwrap_or_default(),
        user: config.user.clone().unwrap_or_default(),
        stop_signal: config.stop_signal.clone(),
    }
}

fn credentials(image: &str, auth: &RegistryAuth) -> Result<DockerConfig, String> {
    match auth {
        RegistryAuth::DockerConfig(text) => {
            DockerConfig::parse(text.as_bytes()).map_err(|error| chain(&error))
        }
        RegistryAuth::Basic { name, password } => {
            let parsed = Reference::parse(image, DOCKER_HUB).map_err(|error| chain(&error))?;
            let Reference::Registry(reference) = parsed else {
                return Err("an image of a file needs no credential".to_owned());
            };
            let auth = Auth::Basic { user: name.clone(), password: password.clone() };
            Ok(DockerConfig::single(reference.registry(), auth))
        }
    }
}

fn write_order(bundle: &Path, order: &Order) -> Result<(), String> {
    let text = serde_json::to_vec(order).map_err(|error| error.to_string())?;
    write_private(&bundle.join(ORDER_FILE), &text)
}

/// Orders hold the task's environment, and with it its secrets.
fn write_private(file: &Path, text: &[u8]) -> Result<(), String> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let open =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(file);
    let written = open.and_then(|mut open| open.write_all(text));
    written.map_err(|error| format!("failed to write {}: {error}", file.display()))
}

/// Mounts two layers in a namespace of their own, as containers will be.
fn try_overlay(folder: &Path) -> io::Result<()> {
    use nix::mount::{MsFlags, mount};
    use nix::sched::{CloneFlags, unshare};
    for name in ["a", "b", "upper", "work", "root"] {
        fs::create_dir_all(folder.join(name))?;
    }
    let at = |name: &str| folder.join(name).display().to_string();
    let options =
        format!("lowerdir={}:{},upperdir={},workdir={}", at("a"), at("b"), at("upper"), at("work"));
    let root = folder.join("root");
    // A thread of its own: what it mounts goes with it.
    let trial = std::thread::Builder::new().name("overlay".into()).spawn(move || {
        unshare(CloneFlags::CLONE_NEWNS)?;
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>)?;
        mount(Some("overlay"), &root, Some("overlay"), MsFlags::empty(), Some(options.as_str()))?;
        fs::write(root.join("trial"), "")
    })?;
    trial.join().map_err(|_| io::Error::other("the trial panicked"))?
}

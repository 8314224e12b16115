//! Tells tasks from operators when they call the agent: the kernel says whose a connection on this
//! host is, and the agent knows the addresses of containers.

use std::ffi::OsStr;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ipnet::{Ipv4Net, Ipv6Net};
use tepui_agent::{Agent, Caller};
use tepui_cgroup::{Clients, Origin};
use tepui_process::Connection;
use tepui_types::ContainerId;
use tracing::{info, warn};

use crate::config::{CallsOfTasks, Config};
use crate::driver::Driver;
use crate::host::unavailable;
use crate::kernel::is_name_of_groups;
use crate::runs::Runs;

/// Tells who calls. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Callers {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    means: Means,
    subnets: (Ipv4Net, Ipv6Net),
}

/// How callers are told apart.
#[derive(Debug)]
enum Means {
    /// Not at all: everybody may everything, for this reason.
    Nobody(&'static str),
    /// By control groups. Tasks that have none of their own are in this one, the agent's.
    Kernel { clients: Clients, shared_group: Option<PathBuf> },
    /// Not at all, for this reason: whoever is on this host is refused.
    Cannot(String),
}

impl fmt::Display for Means {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobody(reason) => write!(f, "tasks may do what operators may: {reason}"),
            Self::Kernel { shared_group: None, .. } => {
                f.write_str("tasks are refused what only operators may do")
            }
            Self::Kernel { shared_group: Some(group), .. } => write!(
                f,
                "tasks have no control groups of their own, so everybody in {} is refused what only \
                 operators may do",
                group.display()
            ),
            Self::Cannot(reason) => write!(
                f,
                "everybody on this host is refused what only operators may do, for tasks cannot be \
                 told apart: {reason}"
            ),
        }
    }
}

impl Callers {
    /// Finds out what the kernel tells, and says it once. `has_groups` is whether each task gets a
    /// control group.
    pub fn probe(config: &Config, has_groups: bool, is_root: bool) -> Self {
        let means = match config.calls_of_tasks {
            CallsOfTasks::All => Means::Nobody("calls_of_tasks = \"all\""),
            // They run as the agent's own user: a call gives them nothing that they have not.
            CallsOfTasks::Refuse if !is_root => Means::Nobody("the agent is not root"),
            CallsOfTasks::Refuse => match Clients::probe() {
                Ok(clients) => {
                    let own = || clients.mount().own_group().to_owned();
                    Means::Kernel { shared_group: (!has_groups).then(own), clients }
                }
                Err(reason) => Means::Cannot(reason),
            },
        };
        match &means {
            Means::Cannot(_) | Means::Kernel { shared_group: Some(_), .. } => {
                warn!(who = %means, "calls of tasks");
            }
            Means::Nobody(_) | Means::Kernel { .. } => info!(who = %means, "calls of tasks"),
        }
        let subnets = (config.containers.subnet4, config.containers.subnet6);
        Self { shared: Arc::new(Shared { means, subnets }) }
    }

    /// Who tells tasks from operators, for people: `kernel` or `none`, and why not.
    pub fn report(&self) -> (String, Option<String>) {
        let means = &self.shared.means;
        match means {
            Means::Kernel { shared_group: None, .. } => ("kernel".to_owned(), None),
            Means::Kernel { .. } => ("kernel".to_owned(), Some(means.to_string())),
            Means::Nobody(_) | Means::Cannot(_) => ("none".to_owned(), Some(means.to_string())),
        }
    }

    /// Who is at the other end of a connection.
    ///
    /// # Errors
    /// When the agent is stopping.
    pub async fn tell(
        &self,
        connection: &Connection,
        driver: &Driver,
        runs: &Runs,
    ) -> Result<Caller, tepui_agent_api::Unavailable> {
        let (shared, runs) = (self.shared.clone(), runs.clone());
        let (peer, local) = (connection.peer, connection.local);
        if matches!(shared.means, Means::Nobody(_)) {
            return Ok(Caller::Operator);
        }
        let ip = peer.ip().to_canonical();
        let look = move |agent: &Agent, _| {
            let live = agent.live_runs().map(|(run, _)| run.clone());
            (live.collect::<Vec<_>>(), run_at(agent, ip))
        };
        let (live, at) = driver.read(look).await.map_err(unavailable)?;
        let told = tokio::task::spawn_blocking(move || {
            let origin = shared.origin(peer, local);
            let run = at.or_else(|| match &origin {
                Origin::Group(group) => runs.run_in(group, &live),
                Origin::Elsewhere | Origin::Unclear(_) => None,
            });
            shared.decide(&origin, ip, run)
        });
        told.await.map_err(|_| tepui_agent_api::Unavailable("the agent is stopping".to_owned()))
    }
}

impl Shared {
    fn origin(&self, peer: SocketAddr, local: SocketAddr) -> Origin {
        match &self.means {
            Means::Kernel { clients, .. } => clients.origin(peer, local),
            Means::Cannot(_) if !tepui_cgroup::is_here(peer, local) => Origin::Elsewhere,
            Means::Cannot(reason) => Origin::Unclear(reason.clone()),
            Means::Nobody(_) => Origin::Elsewhere,
        }
    }

    /// `run` is the one that is known to be there, if any.
    fn decide(&self, origin: &Origin, ip: IpAddr, run: Option<ContainerId>) -> Caller {
        let is_of_containers = match ip {
            IpAddr::V4(four) => self.subnets.0.contains(&four),
            IpAddr::V6(six) => self.subnets.1.contains(&six),
        };
        match origin {
            _ if run.is_some() => Caller::Task(run),
            Origin::Group(group) if self.is_of_tasks(group) => Caller::Task(None),
            Origin::Group(_) => Caller::Operator,
            Origin::Unclear(reason) => Caller::Unclear(reason.as_str().into()),
            Origin::Elsewhere if is_of_containers => Caller::Task(None),
            Origin::Elsewhere if is_link_local(ip) => {
                Caller::Unclear("its address is link-local, as those of containers are too".into())
            }
            Origin::Elsewhere => Caller::Operator,
        }
    }

    fn is_of_tasks(&self, group: &Path) -> bool {
        let shared = match &self.means {
            Means::Kernel { shared_group, .. } => shared_group.as_deref(),
            Means::Nobody(_) | Means::Cannot(_) => None,
        };
        group.iter().filter_map(OsStr::to_str).any(is_name_of_groups)
            || shared.is_some_and(|shared| group.starts_with(shared))
    }
}

/// Whether anybody on a bridge may have this address, without anybody having given it.
fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(four) => four.is_link_local(),
        IpAddr::V6(six) => six.is_unicast_link_local(),
    }
}

/// The live run whose network has this address.
fn run_at(agent: &Agent, ip: IpAddr) -> Option<ContainerId> {
    let mut live = agent.live_runs();
    let has_it = |run: &ContainerId| agent.addresses_of(run).is_some_and(|own| own.contains(&ip));
    live.find(|(run, _)| has_it(run)).map(|(run, _)| run.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared(means: Means) -> Shared {
        Shared { means, subnets: ("10.218.0.0/16".parse().unwrap(), "fd74::/64".parse().unwrap()) }
    }

    fn kernel(shared_group: Option<&str>) -> Option<Shared> {
        // What the kernel of the machine tells is of no matter here, only that it is asked.
        let clients = Clients::probe().ok()?;
        Some(shared(Means::Kernel { clients, shared_group: shared_group.map(PathBuf::from) }))
    }

    fn decided(shared: &Shared, origin: &Origin, ip: &str) -> Caller {
        shared.decide(origin, ip.parse().unwrap(), None)
    }

    #[test]
    fn whoever_is_in_a_group_of_tasks_or_below_one_is_a_task() {
        let shared = shared(Means::Cannot("no matter".to_owned()));
        let caller = |group: &str| decided(&shared, &Origin::Group(group.into()), "127.0.0.1");
        for group in [
            "/sys/fs/cgroup/system.slice/tepui-agentd.service/tepui-tasks-ab12/run-7-1",
            "/sys/fs/cgroup/tepui-tasks-ab12/run-7-1/made/by/itself",
            "/sys/fs/cgroup/tepui.slice/tepui-tasks.slice/tepui-tasks-dev.slice/tepui-task-a.service",
            "/sys/fs/cgroup/tepui.slice/tepui-tasks.slice/tepui-processes.service/tepui-tasks-1/run-1-1",
        ] {
            assert_eq!(caller(group), Caller::Task(None), "{group}");
        }
        for group in
            ["/", "/sys/fs/cgroup/system.slice/tepui-agentd.service", "/user.slice/a.scope"]
        {
            assert_eq!(caller(group), Caller::Operator, "{group}");
        }
    }

    #[test]
    fn whoever_has_an_address_of_containers_is_a_task() {
        let shared = shared(Means::Cannot("no matter".to_owned()));
        let run = ContainerId::parse("r1").ok();
        let known = shared.decide(&Origin::Elsewhere, "192.0.2.1".parse().unwrap(), run.clone());
        assert_eq!(known, Caller::Task(run), "an address of a CNI network");
        for ip in ["10.218.3.4", "fd74::7"] {
            assert_eq!(decided(&shared, &Origin::Elsewhere, ip), Caller::Task(None), "{ip}");
        }
        for ip in ["10.219.3.4", "192.168.1.2", "2001:db8::1"] {
            assert_eq!(decided(&shared, &Origin::Elsewhere, ip), Caller::Operator, "{ip}");
        }
        let linked = decided(&shared, &Origin::Elsewhere, "fe80::1");
        assert!(matches!(linked, Caller::Unclear(_)), "{linked:?}");
    }

    #[test]
    fn a_socket_that_is_gone_is_nobodys_and_so_refused() {
        let shared = shared(Means::Cannot("no matter".to_owned()));
        let gone = Origin::Unclear("its socket is closed already".to_owned());
        assert!(matches!(decided(&shared, &gone, "127.0.0.1"), Caller::Unclear(_)));
    }

    #[test]
    fn where_the_kernel_tells_nothing_only_other_hosts_are_operators() {
        let shared = shared(Means::Cannot("an old kernel".to_owned()));
        let here = shared.origin("127.0.0.1:9".parse().unwrap(), "127.0.0.1:5051".parse().unwrap());
        assert_eq!(here, Origin::Unclear("an old kernel".to_owned()));
        let there =
            shared.origin("192.0.2.1:9".parse().unwrap(), "192.0.2.2:5051".parse().unwrap());
        assert_eq!(there, Origin::Elsewhere);
    }

    #[test]
    fn without_groups_of_their_own_tasks_are_where_the_agent_is() {
        let Some(shared) = kernel(Some("/sys/fs/cgroup/agent")) else { return };
        let caller = |group: &str| decided(&shared, &Origin::Group(group.into()), "127.0.0.1");
        assert_eq!(caller("/sys/fs/cgroup/agent/below"), Caller::Task(None));
        assert_eq!(caller("/sys/fs/cgroup/user.slice"), Caller::Operator);
    }
}

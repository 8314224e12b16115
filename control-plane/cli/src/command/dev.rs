//! `tepui dev`: control plane and agents as processes of this host, in the foreground.

mod daemons;
mod place;

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use reqwest::{Method, Url};
use serde_json::{Value, json};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::args::{Dev, Endpoints};
use crate::client::{Api, Client};
use crate::fault::{DONE, Fault, USAGE_OR_PLACEMENT};
use crate::model::Agent;
use daemons::{Daemon, Daemons, program};
use place::Place;

/// The first start of a debug build on a busy host takes some seconds.
const START_TIMEOUT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);
/// How long tasks may take to end.
const TASKS_TIMEOUT: Duration = Duration::from_secs(15);

pub(crate) async fn run(client: &Client, endpoints: &Endpoints, dev: Dev) -> anyhow::Result<u8> {
    let plan = Plan::new(endpoints, &dev)?;
    let place = Place::open(dev.dir.as_deref(), dev.yes)?;
    let mut stop = Stop::new()?;
    let mut daemons = Daemons::new(place.logs());
    let result = serve(client, &plan, &dev, &place, &mut daemons, &mut stop).await;
    say("\nending tasks and daemons");
    if daemons.any_alive() {
        end_tasks(client).await;
    }
    daemons.stop().await;
    if result.is_ok() {
        place.leave();
    }
    result.map(|()| DONE)
}

/// A line for whoever still looks: with a terminal that is gone nothing but the cluster shall end.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

async fn serve(
    client: &Client,
    plan: &Plan,
    dev: &Dev,
    place: &Place,
    daemons: &mut Daemons,
    stop: &mut Stop,
) -> anyhow::Result<()> {
    for daemon in plan.daemons(dev, place.path()) {
        daemons.start(daemon)?;
    }
    eprintln!("starting; state, sandboxes and logs are in {}", place.path().display());
    let wanted = 1 + dev.agents as usize;
    let deadline = Instant::now() + START_TIMEOUT;
    while !is_serving(client, wanted).await {
        daemons.check_started()?;
        if Instant::now() >= deadline {
            let limit = START_TIMEOUT.as_secs();
            return Err(Fault::new(format!("the cluster does not serve after {limit} s"))
                .fix(format!("read the logs in {}", place.logs().display()))
                .into());
        }
        tokio::select! {
            () = tokio::time::sleep(POLL) => {}
            () = stop.asked() => return Ok(()),
        }
    }
    eprint!("{}", plan.welcome(wanted));
    loop {
        tokio::select! {
            () = stop.asked() => return Ok(()),
            result = daemons.keep() => result?,
        }
    }
}

/// Both APIs answer and as many agents are active.
async fn is_serving(client: &Client, agents: usize) -> bool {
    let active = client.agents().await.map(|all| all.iter().filter(|agent| agent.active).count());
    matches!(active, Ok(count) if count >= agents)
        && client.send(Api::Marathon, Method::GET, "/v2/info", None).await.is_ok()
}

/// What is started, where.
struct Plan {
    mesos: SocketAddr,
    marathon: SocketAddr,
    agent: SocketAddr,
    link: SocketAddr,
    programs: Programs,
}

/// Where the daemons are installed.
struct Programs {
    control_plane: PathBuf,
    agent: PathBuf,
    /// Only looked for when there are to be simulated agents.
    simulator: Option<PathBuf>,
}

impl Programs {
    fn find(dev: &Dev) -> anyhow::Result<Self> {
        Ok(Self {
            control_plane: program("tepui-control-plane")?,
            agent: program("tepui-agentd")?,
            simulator: (dev.agents > 0).then(|| program("tepui-sim")).transpose()?,
        })
    }
}

impl Plan {
    fn new(endpoints: &Endpoints, dev: &Dev) -> anyhow::Result<Self> {
        let mesos = address("--address", endpoints.of(Api::Mesos))?;
        let plan = Self {
            mesos,
            marathon: address("--marathon", endpoints.of(Api::Marathon))?,
            agent: SocketAddr::new(mesos.ip(), dev.agent_port),
            link: SocketAddr::new(mesos.ip(), dev.link_port),
            programs: Programs::find(dev)?,
        };
        for address in [plan.mesos, plan.marathon, plan.agent, plan.link] {
            std::net::TcpListener::bind(address).map_err(|error| {
                let fault = Fault::new(format!("cannot listen on {address}")).fix(
                    "end what listens there (another `tepui dev`?), or choose other ports with \
                     --address, --marathon, --agent-port and --link-port",
                );
                anyhow::Error::new(error).context(fault.code(USAGE_OR_PLACEMENT))
            })?;
        }
        Ok(plan)
    }

    fn daemons(&self, dev: &Dev, place: &Path) -> Vec<Daemon> {
        let folder = |name: &str| place.join(name).display().to_string();
        let control_plane = Daemon::new(self.programs.control_plane.clone())
            .flag("--listen", self.mesos)
            .flag("--marathon-listen", self.marathon)
            .flag("--agent-listen", self.link)
            .flag("--state-dir", folder("control-plane"));
        let mut agent = Daemon::new(self.programs.agent.clone())
            .flag("--control-plane", format!("http://{}", self.link))
            .flag("--listen", self.agent)
            .flag("--work-dir", folder("agent"));
        if let Some(resources) = &dev.resources {
            agent = agent.flag("--resources", resources);
        }
        if let Some(attributes) = &dev.attributes {
            agent = agent.flag("--attributes", attributes);
        }
        let mut daemons = vec![control_plane, agent];
        if let Some(simulator) = &self.programs.simulator {
            let simulated = Daemon::new(simulator.clone())
                .word("agents")
                .flag("--control-plane", format!("http://{}", self.link))
                .flag("--count", dev.agents);
            daemons.push(simulated);
        }
        daemons
    }

    fn welcome(&self, agents: usize) -> String {
        let (mesos, marathon) = (self.mesos, self.marathon);
        let mut options = String::new();
        if mesos.port() != 5050 {
            options.push_str(&format!(" --address http://{mesos}"));
        }
        if marathon.port() != 8080 {
            options.push_str(&format!(" --marathon http://{marathon}"));
        }
        format!(
            "\nTepui is up: Marathon at http://{marathon}, Mesos at http://{mesos}, agents: {agents}\n\
             \nPut an app up:\n\
             \n  curl http://{marathon}/v2/apps -H 'Content-Type: application/json' -d '{SAMPLE}'\n\
             \nThen try:\n\
             \n  tepui{options} app list\
             \n  tepui{options} app scale hello 3\
             \n  tepui{options} run --name a_mesos_job --command 'sleep 3'\n\
             \nCtrl-C ends the cluster and every task in it.\n"
        )
    }
}

const SAMPLE: &str = r#"{"id": "hello", "cmd": "python3 -m http.server $PORT0", "cpus": 0.1, "mem": 32, "instances": 1}"#;

fn address(flag: &str, text: &str) -> Result<SocketAddr, Fault> {
    let absolute = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    Url::parse(&absolute)
        .ok()
        .and_then(|url| url.socket_addrs(|| None).ok()?.into_iter().next())
        .ok_or_else(|| {
            Fault::new(format!("{flag} '{text}' is no address of this host"))
                .fix("give it as http://127.0.0.1:PORT")
                .code(USAGE_OR_PLACEMENT)
        })
}

/// SIGINT, SIGTERM and the end of the terminal.
struct Stop(Signal, Signal, Signal);

impl Stop {
    fn new() -> std::io::Result<Self> {
        Ok(Self(
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
        ))
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.0.recv() => {}
            _ = self.1.recv() => {}
            _ = self.2.recv() => {}
        }
    }
}

/// Ends every app and framework and waits until the agents run nothing; says what stays.
async fn end_tasks(client: &Client) {
    if let Err(error) = ask_tasks_to_end(client).await {
        say(&format!("tasks may go on: {error:#}"));
        return;
    }
    let deadline = Instant::now() + TASKS_TIMEOUT;
    loop {
        let left = tasks_left(client).await;
        if left.is_empty() {
            return;
        }
        if Instant::now() >= deadline {
            say(&format!("still running: {}", left.join(", ")));
            return;
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn ask_tasks_to_end(client: &Client) -> anyhow::Result<()> {
    for app in client.apps("").await? {
        let path = format!("/v2/apps{}?force=true", app.id);
        client.send(Api::Marathon, Method::DELETE, &path, None).await?;
    }
    let ours: Value = client.get(Api::Marathon, "/v2/info").await?;
    let frameworks: Value = client.get(Api::Mesos, "/frameworks").await?;
    let list = frameworks.get("frameworks").and_then(Value::as_array);
    for framework in list.into_iter().flatten() {
        let id = framework.get("id");
        if id.is_none() || id == ours.get("frameworkId") {
            continue;
        }
        let call = json!({"type": "TEARDOWN", "teardown": {"framework_id": {"value": id}}});
        client.send(Api::Mesos, Method::POST, "/api/v1", Some(&call)).await?;
    }
    Ok(())
}

/// Executors that agents still have; an agent that does not answer has none to tell of.
async fn tasks_left(client: &Client) -> Vec<String> {
    let agents: Vec<Agent> = client.agents().await.unwrap_or_default();
    let mut left = Vec::new();
    for agent in agents.iter().filter(|agent| agent.active) {
        let state = client.get_from_agent::<Value>(&agent.url(), "/state", &[]).await;
        left.extend(state.iter().flat_map(executors));
    }
    left
}

fn executors(state: &Value) -> Vec<String> {
    let list = |value: &Value, name: &str| -> Vec<Value> {
        value.get(name).and_then(Value::as_array).cloned().unwrap_or_default()
    };
    list(state, "frameworks")
        .iter()
        .flat_map(|framework| list(framework, "executors"))
        .filter_map(|executor| Some(executor.get("id")?.as_str()?.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_welcome_names_addresses_a_sample_and_three_commands() {
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let programs =
            Programs { control_plane: PathBuf::new(), agent: PathBuf::new(), simulator: None };
        let (mesos, marathon, agent, link) = (local(5050), local(8081), local(1), local(2));
        let plan = Plan { mesos, marathon, agent, link, programs };
        let text = plan.welcome(3);
        assert!(text.contains("Marathon at http://127.0.0.1:8081"), "{text}");
        assert!(text.contains("curl http://127.0.0.1:8081/v2/apps"), "{text}");
        assert_eq!(
            text.matches("\n  tepui --marathon http://127.0.0.1:8081 ").count(),
            3,
            "{text}"
        );
        assert!(serde_json::from_str::<Value>(SAMPLE).is_ok());
    }

    #[test]
    fn executors_of_all_frameworks_are_left() {
        let state = json!({"frameworks": [
            {"executors": [{"id": "a"}]}, {"executors": [{"id": "b"}], "completed_executors": [{"id": "c"}]}]});
        assert_eq!(executors(&state), ["a", "b"]);
        assert!(executors(&json!({})).is_empty());
    }
}

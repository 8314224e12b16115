//! Simulated agents over the real link: each is the production state machine with a launcher that
//! only pretends.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tepui_agent::{
    Agent, Command, Config, Effect, Event, Exit, Probe, ProbeOutcome, Record, RunSpec,
};
use tepui_link::proto::agent_link_client::AgentLinkClient;
use tepui_link::{Directive, proto};
use tepui_process::Clock;
use tepui_types::{ContainerId, Entropy, Role};
use tepui_wire::resources::{self, Format};
use tepui_wire::{attributes, v1};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::{Channel, Endpoint};

use super::story::Tally;

/// Agents that share one connection: each has its own stream on it.
const PER_CONNECTION: u32 = 50;
/// Reports that may wait for the connection.
const OUTBOX: usize = 4096;
/// Between rounds of tries, as the real agent's link waits.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// From SIGTERM to the end of a simulated process.
const SIGTERM: i32 = 15;
const SIGKILL: i32 = 9;

/// What kind of agents, and how many.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Where the control planes take agents, comma between
    #[arg(long, value_delimiter = ',', default_value = "http://127.0.0.1:5052")]
    control_plane: Vec<String>,
    /// How many
    #[arg(long, default_value_t = 1)]
    count: u32,
    /// What each has
    #[arg(long, default_value = "cpus:8;mem:16384;disk:102400;ports:[31000-32000]")]
    resources: String,
    /// What each says of itself
    #[arg(long, default_value = "simulated:true")]
    attributes: String,
    /// Host names are this and a number
    #[arg(long, default_value = "sim")]
    hostname_prefix: String,
}

/// Runs the agents until the process is told to stop.
///
/// # Errors
/// When an option makes no sense, or signals cannot be waited for.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let endpoints = options
        .control_plane
        .iter()
        .map(|text| endpoint(text))
        .collect::<anyhow::Result<Vec<Endpoint>>>()?;
    let total = resources::parse_text(&options.resources, &Role::default_role())
        .context("failed to understand --resources")?;
    let said =
        attributes::parse_text(&options.attributes).context("failed to understand --attributes")?;
    let clock = Clock::start();
    let mut agents = JoinSet::new();
    let tally = Arc::new(Tally::of(options.count as usize));
    let mut channels = Vec::new();
    for number in 0..options.count {
        if number % PER_CONNECTION == 0 {
            channels = endpoints.iter().map(Endpoint::connect_lazy).collect();
        }
        let info = v1::AgentInfo {
            hostname: format!("{}{number}", options.hostname_prefix),
            port: Some(5051),
            resources: resources::encode(&total, Format::PostRefinement, None),
            attributes: attributes::encode(&said),
            ..v1::AgentInfo::default()
        };
        let seed = tepui_process::seed().context("failed to read /dev/urandom")?;
        let agent = Agent::new(Config::new(info, "127.0.0.1"), Entropy::seeded(seed));
        agents.spawn(Live::new(clock, agent, channels.clone(), tally.clone()).run());
    }
    tally.begin();
    tepui_process::stop_requested().await.context("failed to wait for signals")?;
    Ok(())
}

fn endpoint(text: &str) -> anyhow::Result<Endpoint> {
    let uri = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let endpoint = Endpoint::from_shared(uri).with_context(|| {
        format!("--control-plane {text:?} is not an address like http://127.0.0.1:5052")
    })?;
    Ok(endpoint.tcp_nodelay(true))
}

/// What comes from inside a simulated host.
enum Inside {
    Event(Event),
    Ended(ContainerId, Exit),
}

struct Live {
    clock: Clock,
    agent: Agent,
    /// One for each control plane; the first is asked next.
    clients: VecDeque<AgentLinkClient<Channel>>,
    tally: Arc<Tally>,
    is_registered: bool,
    /// The journal: only ever read by a restart, which a simulated agent does not have.
    saved: u64,
    outbox: Option<mpsc::Sender<proto::Report>>,
    inside: mpsc::UnboundedSender<Inside>,
    news: mpsc::UnboundedReceiver<Inside>,
    /// Runs that go on, with what ends them by themselves.
    runs: HashMap<ContainerId, Option<tokio::task::AbortHandle>>,
    pids: u32,
    reconnect: Option<Duration>,
    over: bool,
}

impl Live {
    fn new(clock: Clock, agent: Agent, channels: Vec<Channel>, tally: Arc<Tally>) -> Self {
        let (inside, news) = mpsc::unbounded_channel();
        Self {
            clock,
            agent,
            clients: channels.into_iter().map(AgentLinkClient::new).collect(),
            tally,
            is_registered: false,
            saved: 0,
            outbox: None,
            inside,
            news,
            runs: HashMap::new(),
            pids: 1000,
            reconnect: None,
            over: false,
        }
    }

    async fn run(mut self) {
        let first = Event::Started { boot: None, records: Vec::<Record>::new(), runs: Vec::new() };
        self.handle(first);
        let mut pause = FIRST_PAUSE;
        while !self.over {
            // As the real one: all that are known are asked at once, then again after a while.
            match self.connect().await {
                Some(directives) => {
                    pause = FIRST_PAUSE;
                    self.converse(directives).await;
                    self.outbox = None;
                    self.note_registered(false);
                    self.handle(Event::LinkDown);
                    // As the real one: whoever fell silent is asked last.
                    self.clients.rotate_left(1);
                    tokio::time::sleep(self.reconnect.take().unwrap_or(FIRST_PAUSE)).await;
                }
                None => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// A link to the first control plane that takes agents; the agent registers on it.
    async fn connect(&mut self) -> Option<Streaming<proto::Directive>> {
        for _ in 0..self.clients.len() {
            let (outbox, reports) = mpsc::channel(OUTBOX);
            let client = self.clients.front_mut()?;
            if let Ok(answer) = client.session(ReceiverStream::new(reports)).await {
                self.outbox = Some(outbox);
                self.reconnect = None;
                self.handle(Event::LinkUp);
                return Some(answer.into_inner());
            }
            self.clients.rotate_left(1);
        }
        None
    }

    fn note_registered(&mut self, is: bool) {
        match (std::mem::replace(&mut self.is_registered, is), is) {
            (false, true) => self.tally.register(),
            (true, false) => self.tally.lose(),
            _ => {}
        }
    }

    /// Handles what comes until the link is over.
    async fn converse(&mut self, mut directives: Streaming<proto::Directive>) {
        while self.reconnect.is_none() && !self.over {
            let now = self.clock.now().mono;
            let wait = self
                .agent
                .next_wakeup()
                .map_or(Duration::from_secs(60), |at| Duration::from(at.since(now)));
            tokio::select! {
                frame = directives.message() => match frame {
                    Ok(Some(frame)) => match Directive::try_from(frame) {
                        Ok(directive) => {
                            self.handle(Event::Directive(Box::new(directive)));
                            self.note_registered(self.agent.is_registered());
                        }
                        Err(_) => return,
                    },
                    Ok(None) | Err(_) => return,
                },
                news = self.news.recv() => match news {
                    Some(Inside::Event(event)) => self.handle(event),
                    Some(Inside::Ended(run, exit)) => self.end(run, exit),
                    None => return,
                },
                () = tokio::time::sleep(wait) => self.handle(Event::Tick),
            }
        }
    }

    fn handle(&mut self, event: Event) {
        let mut effects = Vec::new();
        self.agent.handle(self.clock.now(), event, &mut effects);
        for effect in effects {
            self.perform(effect);
        }
    }

    fn tell(&self, event: Event) {
        // The receiver is this value's own.
        let _ = self.inside.send(Inside::Event(event));
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Save(_) => self.saved += 1,
            Effect::ToControlPlane(report) => {
                if let Some(outbox) = &self.outbox
                    && outbox.try_send((*report).into()).is_err()
                {
                    self.reconnect = Some(Duration::ZERO);
                }
            }
            Effect::Reconnect { pause } => self.reconnect = Some(pause.into()),
            Effect::Fetch { run, .. } => self.tell(Event::Fetched { run, outcome: Ok(()) }),
            Effect::Start(spec) => self.start(*spec),
            Effect::Terminate { run } => self.end(run, Exit::Signal(SIGTERM)),
            Effect::Kill { run } => self.end(run, Exit::Signal(SIGKILL)),
            Effect::Probe { probe, what, .. } => {
                let outcome = match what {
                    Probe::Http { .. } => ProbeOutcome::Http(200),
                    Probe::Tcp { .. } => ProbeOutcome::Tcp(true),
                    Probe::Command { .. } => ProbeOutcome::Command(0),
                };
                self.tell(Event::Probed { probe, outcome });
            }
            Effect::Quit { .. } => self.over = true,
            _ => {}
        }
    }

    fn start(&mut self, spec: RunSpec) {
        self.pids = self.pids.wrapping_add(1).max(1000);
        self.tell(Event::RunStarted { run: spec.run.clone(), outcome: Ok(self.pids) });
        let ending = match life(&spec.command) {
            Life::Endless => None,
            Life::Ends { after, code } => {
                let (inside, run) = (self.inside.clone(), spec.run.clone());
                let timer = tokio::spawn(async move {
                    tokio::time::sleep(after).await;
                    // The agent may be over by now.
                    let _ = inside.send(Inside::Ended(run, Exit::Code(code)));
                });
                Some(timer.abort_handle())
            }
        };
        self.runs.insert(spec.run, ending);
    }

    fn end(&mut self, run: ContainerId, exit: Exit) {
        let Some(timer) = self.runs.remove(&run) else { return };
        if let Some(timer) = timer {
            timer.abort();
        }
        self.tell(Event::RunExited { run, exit, certificate: None });
    }
}

/// What becomes of a simulated command by itself.
#[derive(Debug, PartialEq)]
enum Life {
    Endless,
    Ends { after: Duration, code: i32 },
}

/// Understands `sleep N`, `exit N`, `true` and `false`; everything else runs until it is killed.
fn life(command: &Command) -> Life {
    let words: Vec<Arc<str>> = match command {
        Command::Shell(line) => line.split_whitespace().map(Arc::from).collect(),
        Command::Exec { arguments, .. } => arguments.iter().map(|a| a.as_str().into()).collect(),
    };
    let words: Vec<&str> = words.iter().map(|word| &**word).filter(|w| *w != "exec").collect();
    match words[..] {
        ["sleep", seconds] => match seconds.parse::<f64>().ok().map(Duration::try_from_secs_f64) {
            Some(Ok(after)) => Life::Ends { after, code: 0 },
            _ => Life::Endless,
        },
        ["exit", code] => match code.parse() {
            Ok(code) => Life::Ends { after: Duration::ZERO, code },
            Err(_) => Life::Endless,
        },
        ["true"] => Life::Ends { after: Duration::ZERO, code: 0 },
        ["false"] => Life::Ends { after: Duration::ZERO, code: 1 },
        _ => Life::Endless,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn simple_commands_end_as_real_ones_would() {
        let shell = |line: &str| life(&Command::Shell(line.into()));
        assert_eq!(shell("sleep 2"), Life::Ends { after: Duration::from_secs(2), code: 0 });
        assert_eq!(shell("exec sleep 2"), shell("sleep 2"));
        assert_eq!(shell("exit 7"), Life::Ends { after: Duration::ZERO, code: 7 });
        assert_eq!(shell("false"), Life::Ends { after: Duration::ZERO, code: 1 });
        assert_eq!(shell("python3 -m http.server"), Life::Endless);
        assert_eq!(shell("sleep -1"), Life::Endless);
    }
}

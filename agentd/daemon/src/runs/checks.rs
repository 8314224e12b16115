//! Checks of runs: what is asked of a port or a command, where the run is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use tepui_agent::{Command, Probe, ProbeOutcome};
use tepui_launch::{CheckOutcome, CheckSpec, Ending};
use tepui_probe::Peer;
use tepui_types::{ContainerId, Span};

use super::{Shared, chain, fill_in, program};

impl Shared {
    pub(super) async fn probe(
        &self,
        run: &ContainerId,
        what: Probe,
        timeout: Span,
    ) -> ProbeOutcome {
        let timeout = Duration::from(timeout);
        match what {
            Probe::Tcp { ipv6, port } => match self.peer(run, ipv6, port).await {
                Err(failed) => failed,
                Ok(peer) => match self.prober.tcp(peer, timeout).await {
                    Ok(()) => ProbeOutcome::Tcp(true),
                    Err(error) if error.is_refused() => ProbeOutcome::Tcp(false),
                    Err(error) => ProbeOutcome::Failed(chain(&error)),
                },
            },
            Probe::Http { tls, ipv6, port, path } => match self.peer(run, ipv6, port).await {
                Err(failed) => failed,
                Ok(peer) => match self.prober.http(tls, peer, &path, timeout, 0).await {
                    Ok(answer) => ProbeOutcome::Http(answer.status),
                    Err(error) => ProbeOutcome::Failed(chain(&error)),
                },
            },
            Probe::Command { command, environment, user } => {
                self.check(run, command, environment, user, timeout).await
            }
        }
    }

    async fn check(
        &self,
        run: &ContainerId,
        command: Command,
        environment: Vec<(String, String)>,
        user: Option<String>,
        timeout: Duration,
    ) -> ProbeOutcome {
        let Some(sandbox) = self.sandboxes.lock().get(run).cloned() else {
            return ProbeOutcome::Failed("the task does not run".into());
        };
        let env = fill_in(environment, &sandbox.to_string_lossy());
        let joined = match self.joining(run, &command, &env, None) {
            Ok(joined) => joined,
            Err(reason) => return ProbeOutcome::Failed(reason),
        };
        let answers = joined.is_some();
        let spec = CheckSpec {
            program: joined.unwrap_or_else(|| program(command, &sandbox)),
            sandbox,
            env: if answers { Vec::new() } else { env },
            user: user.filter(|_| !answers),
            timeout,
            network: self.containers.network_of(run).filter(|_| !answers).map(|one| one.namespace),
            answers,
            beside: Some(run.clone()),
        };
        match self.launcher.exec_check(spec).await {
            Ok(reply) => match reply.outcome {
                CheckOutcome::Ended(Ending::Exited(code)) => ProbeOutcome::Command(code),
                CheckOutcome::Ended(Ending::Signaled { signal, .. }) => {
                    ProbeOutcome::Failed(format!("the command was ended by signal {signal}"))
                }
                CheckOutcome::NotStarted(reason) => ProbeOutcome::Failed(reason),
                CheckOutcome::TimedOut => {
                    ProbeOutcome::Failed(format!("the command did not end within {timeout:?}"))
                }
            },
            Err(error) => ProbeOutcome::Failed(chain(&error)),
        }
    }

    /// The loopback of a run's own network if it has one, else of the host's, as Mesos asks.
    async fn peer(&self, run: &ContainerId, ipv6: bool, port: u16) -> Result<Peer, ProbeOutcome> {
        let loopback =
            if ipv6 { IpAddr::from(Ipv6Addr::LOCALHOST) } else { Ipv4Addr::LOCALHOST.into() };
        match self.containers.network_of(run) {
            None => Ok(Peer::from((loopback.to_string().as_str(), port))),
            Some(own) => match tepui_network::socket_in(&own.namespace, ipv6).await {
                Ok(socket) => Ok(Peer::through(socket, (loopback, port).into())),
                Err(error) => Err(ProbeOutcome::Failed(chain(&error))),
            },
        }
    }
}

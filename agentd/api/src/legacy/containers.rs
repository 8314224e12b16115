//! `GET /containers` and `GET /monitor/statistics`: what runs, and what it uses.

use axum::Json;
use axum::extract::{Query, State};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tepui_agent::{Agent, Phase};
use tepui_types::{ContainerId, ExecutorId, FrameworkId, Now, ResourceName, Resources, Role};
use tepui_wire::v1;

use crate::answer::ApiError;
use crate::host::Host;
use crate::router::App;
use crate::show;
use crate::usage::{Block, Flow, RunPlace, Usage};

/// A run with a process, as others see it.
#[derive(Clone, Debug)]
pub(crate) struct Container {
    pub(crate) kind: Kind,
    /// The executor that it is of, or below; none for what is below nobody.
    pub(crate) owner: Option<Owner>,
    pub(crate) run: ContainerId,
    pub(crate) pid: Option<u32>,
    pub(crate) addresses: Vec<String>,
    pub(crate) limits: Resources,
    pub(crate) disk_used: Option<u64>,
    pub(crate) measured: f64,
    pub(crate) usage: Option<Usage>,
    pub(crate) place: Option<RunPlace>,
}

/// How a container came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An executor's or a task's.
    Tasks,
    /// A call launched it below another one.
    Nested,
    /// A call launched it below nobody, or below such a one.
    Standalone,
}

/// An executor.
#[derive(Clone, Debug)]
pub(crate) struct Owner {
    pub(crate) framework: FrameworkId,
    pub(crate) executor: ExecutorId,
    pub(crate) name: String,
    pub(crate) source: String,
    /// The app of Marathon's API, empty for another framework's.
    pub(crate) app: String,
    pub(crate) role: Option<Role>,
}

impl Container {
    /// Numbers under the names of `ResourceStatistics`; what the host does not tell is absent.
    pub(crate) fn statistics(&self) -> v1::ResourceStatistics {
        let default = Usage::default();
        let usage = self.usage.as_ref().unwrap_or(&default);
        let system = usage.system_cpu_seconds.unwrap_or(0.0);
        // Where the host only knows the sum, all of it counts as user time.
        let user = usage.user_cpu_seconds.unwrap_or(usage.cpu_seconds - system);
        v1::ResourceStatistics {
            timestamp: self.measured,
            processes: u32::try_from(usage.processes).ok(),
            cpus_user_time_secs: Some(user.max(0.0)),
            cpus_system_time_secs: Some(system),
            cpus_limit: Some(show::scalar(&self.limits, &ResourceName::Cpus, false)),
            mem_total_bytes: Some(usage.memory_bytes),
            // As Mesos's: without files. The processes' own sum, where that is all that is known.
            mem_rss_bytes: Some(usage.memory.map_or(usage.memory_bytes, |memory| memory.anonymous)),
            mem_limit_bytes: Some(self.limits.mem().megabytes_as_bytes()),
            disk_limit_bytes: Some(self.limits.disk().megabytes_as_bytes()),
            disk_used_bytes: self.disk_used,
            threads: narrow(usage.threads),
            cpus_nr_periods: narrow(usage.periods),
            cpus_nr_throttled: narrow(usage.throttled_periods),
            cpus_throttled_time_secs: usage.throttled_seconds,
            blkio_statistics: usage.block.as_ref().map(blkio),
            ..with_network(usage, with_memory(usage))
        }
    }

    pub(crate) fn status(&self) -> v1::ContainerStatus {
        let addresses = self.addresses.iter().map(|address| v1::network_info::IpAddress {
            ip_address: Some(address.clone()),
            ..v1::network_info::IpAddress::default()
        });
        v1::ContainerStatus {
            container_id: Some(tepui_agent::container_id(&self.run)),
            network_infos: vec![v1::NetworkInfo {
                ip_addresses: addresses.collect(),
                ..v1::NetworkInfo::default()
            }],
            executor_pid: self.pid,
            ..v1::ContainerStatus::default()
        }
    }

    fn head(&self) -> Map<String, Value> {
        let mut out = Map::new();
        let Some(owner) = &self.owner else { return out };
        out.insert("framework_id".into(), json!(owner.framework.to_string()));
        out.insert("executor_id".into(), json!(owner.executor.to_string()));
        out.insert("executor_name".into(), json!(owner.name));
        out.insert("source".into(), json!(owner.source));
        out
    }
}

/// Mesos counts these in 32 bits.
fn narrow(count: Option<u64>) -> Option<u32> {
    count.map(|count| u32::try_from(count).unwrap_or(u32::MAX))
}

fn with_memory(usage: &Usage) -> v1::ResourceStatistics {
    let memory = usage.memory;
    let level = |at: usize| usage.memory_levels.map(|levels| levels[at]);
    v1::ResourceStatistics {
        mem_low_pressure_counter: level(0),
        mem_medium_pressure_counter: level(1),
        mem_critical_pressure_counter: level(2),
        mem_anon_bytes: memory.map(|memory| memory.anonymous),
        mem_file_bytes: memory.map(|memory| memory.file),
        mem_cache_bytes: memory.map(|memory| memory.file),
        mem_mapped_file_bytes: memory.map(|memory| memory.mapped),
        mem_unevictable_bytes: memory.map(|memory| memory.unevictable),
        mem_kmem_usage_bytes: memory.map(|memory| memory.kernel),
        mem_kmem_tcp_usage_bytes: memory.map(|memory| memory.socket),
        mem_swap_bytes: memory.and_then(|memory| memory.swap),
        mem_total_memsw_bytes: memory
            .and_then(|memory| memory.swap)
            .map(|swap| usage.memory_bytes.saturating_add(swap)),
        ..v1::ResourceStatistics::default()
    }
}

fn with_network(usage: &Usage, rest: v1::ResourceStatistics) -> v1::ResourceStatistics {
    let flow = |way: usize| {
        let traffic = usage.network.as_ref().map(|ways| &ways[way]);
        traffic.map(|traffic| {
            traffic.iter().fold(Flow::default(), |sum, (_, one)| Flow {
                bytes: sum.bytes.saturating_add(one.bytes),
                count: sum.count.saturating_add(one.count),
            })
        })
    };
    let (received, sent) = (flow(0), flow(1));
    let tcp = usage.tcp.as_ref();
    let round_trip = |share: f64| {
        let seconds = tcp.and_then(|tcp| tcp.round_trips.as_ref()?.quantile(share));
        seconds.map(|seconds| seconds * 1e6)
    };
    #[allow(clippy::cast_precision_loss)]
    let open = |tcp: &crate::usage::Tcp| {
        tcp.connected.saturating_add(tcp.accepted).saturating_sub(tcp.ended) as f64
    };
    v1::ResourceStatistics {
        net_rx_bytes: received.map(|flow| flow.bytes),
        net_rx_packets: received.map(|flow| flow.count),
        // Packets that a device found broken are nobody's yet.
        net_rx_errors: received.map(|_| 0),
        net_rx_dropped: usage.drops.and_then(|drops| drops[0]),
        net_tx_bytes: sent.map(|flow| flow.bytes),
        net_tx_packets: sent.map(|flow| flow.count),
        net_tx_errors: sent.map(|_| 0),
        net_tx_dropped: usage.drops.and_then(|drops| drops[1]),
        net_tcp_rtt_microsecs_p50: round_trip(0.5),
        net_tcp_rtt_microsecs_p90: round_trip(0.9),
        net_tcp_rtt_microsecs_p95: round_trip(0.95),
        net_tcp_rtt_microsecs_p99: round_trip(0.99),
        net_tcp_active_connections: tcp.map(open),
        ..rest
    }
}

/// All devices together, as Mesos's entry without a device.
fn blkio(block: &Block) -> v1::cgroup_info::blkio::Statistics {
    use v1::cgroup_info::blkio::{Operation, Statistics, Value, throttling};
    let values = |part: fn(&Flow) -> u64| {
        let parts = [part(&block.read), part(&block.written), part(&block.other)];
        let total = parts.iter().fold(0_u64, |sum, one| sum.saturating_add(*one));
        [Operation::Read, Operation::Write, Operation::Discard, Operation::Total]
            .into_iter()
            .zip(parts.into_iter().chain([total]))
            .map(|(op, value)| Value { op: Some(op.into()), value: Some(value) })
            .collect()
    };
    let throttling = throttling::Statistics {
        device: None,
        io_serviced: values(|flow| flow.count),
        io_service_bytes: values(|flow| flow.bytes),
    };
    Statistics { throttling: vec![throttling], ..Statistics::default() }
}

/// Which containers are wanted.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Wanted {
    container_id: Option<String>,
    framework_id: Option<String>,
    executor_id: Option<String>,
    /// Those too that calls have launched below executors and tasks.
    #[serde(default)]
    show_nested: bool,
    /// Those too that calls have launched below nobody.
    #[serde(default)]
    show_standalone: bool,
}

impl Wanted {
    /// All, with what calls have launched.
    pub(crate) fn showing(show_nested: bool, show_standalone: bool) -> Self {
        Self { show_nested, show_standalone, ..Self::default() }
    }

    fn check(&self) -> Result<(), ApiError> {
        let mix =
            (self.container_id.is_some(), self.framework_id.is_some(), self.executor_id.is_some());
        match mix {
            (_, false, false) | (false, true, _) => Ok(()),
            _ => Err(ApiError::bad_request(
                "expecting 'container_id', or 'framework_id', or 'framework_id' and 'executor_id'",
            )),
        }
    }

    fn covers(&self, container: &Container) -> bool {
        let is = |wanted: &Option<String>, own: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == own)
        };
        let is_nested = container.run.as_str().contains('.');
        let shown = match container.kind {
            Kind::Tasks => true,
            Kind::Nested => self.show_nested,
            Kind::Standalone => self.show_standalone && (!is_nested || self.show_nested),
        };
        let owner = container.owner.as_ref();
        shown
            && is(&self.container_id, container.run.as_str())
            && is(&self.framework_id, owner.map_or("", |owner| owner.framework.as_str()))
            && is(&self.executor_id, owner.map_or("", |owner| owner.executor.as_str()))
    }
}

/// The containers, not measured yet.
pub(crate) fn look(agent: &Agent, now: Now) -> Vec<Container> {
    let live = agent.live_runs().filter(|(_, run)| {
        run.pid.is_some()
            && matches!(run.phase, Phase::Registering | Phase::Running | Phase::Terminating)
    });
    live.filter_map(|(id, run)| {
        let owner = agent.owner(id);
        let (kind, limits) = match (&run.asked, owner) {
            (Some(asked), Some(_)) => (Kind::Nested, show::decode(&asked.resources)),
            (Some(asked), None) => (Kind::Standalone, show::decode(&asked.resources)),
            (None, Some((framework, executor))) => {
                (Kind::Tasks, show::executor_resources(framework, executor))
            }
            (None, None) => return None,
        };
        let addresses = match agent.addresses_of(id) {
            Some(own) => own.iter().map(ToString::to_string).collect(),
            None => vec![agent.config().ip.clone()],
        };
        Some(Container {
            kind,
            owner: owner.map(|(framework, executor)| {
                let info = show::executor_info(framework, executor);
                Owner {
                    framework: framework.id.clone(),
                    executor: executor.id.clone(),
                    name: info.name().to_owned(),
                    source: show::source(&info),
                    app: show::app_of(info.command.as_ref()),
                    role: executor.role.clone(),
                }
            }),
            run: id.clone(),
            pid: run.pid,
            addresses,
            limits,
            disk_used: run.disk_used,
            measured: now.wall.as_secs_f64(),
            usage: None,
            place: None,
        })
    })
    .collect()
}

/// The wanted containers, measured.
pub(crate) async fn gather<H: Host>(
    app: &App<H>,
    wanted: Wanted,
) -> Result<Vec<Container>, ApiError> {
    wanted.check()?;
    let mut found = app.host.read(look).await?;
    found.retain(|container| wanted.covers(container));
    measure(app, found).await
}

/// The same containers with what they use.
pub(crate) async fn measure<H: Host>(
    app: &App<H>,
    mut found: Vec<Container>,
) -> Result<Vec<Container>, ApiError> {
    let host = app.host.clone();
    // Files of the kernel are read for every process.
    let measured = tokio::task::spawn_blocking(move || {
        for container in &mut found {
            container.usage = host.usage(&container.run);
            container.place = container.usage.is_some().then(|| host.place(&container.run));
        }
        found
    });
    measured.await.map_err(|_| ApiError::stopping())
}

/// `GET /containers`.
pub(crate) async fn containers<H: Host>(
    State(app): State<App<H>>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Value>, ApiError> {
    let containers = gather(&app, wanted).await?;
    let shown = containers.iter().map(|container| {
        let mut out = container.head();
        out.insert("container_id".into(), json!(container.run.to_string()));
        out.insert("status".into(), show::wire_json(&container.status()));
        out.insert("statistics".into(), show::wire_json(&container.statistics()));
        Value::Object(out)
    });
    Ok(Json(shown.collect()))
}

/// `GET /monitor/statistics`.
pub(crate) async fn statistics<H: Host>(
    State(app): State<App<H>>,
) -> Result<Json<Value>, ApiError> {
    let containers = gather(&app, Wanted::default()).await?;
    let shown = containers.iter().map(|container| {
        let mut out = container.head();
        out.insert("statistics".into(), show::wire_json(&container.statistics()));
        Value::Object(out)
    });
    Ok(Json(shown.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usage::Memory;

    #[test]
    fn files_that_are_kept_in_memory_are_not_resident() {
        let used = |memory| Container {
            kind: Kind::Tasks,
            owner: None,
            run: ContainerId::parse("r").unwrap(),
            pid: None,
            addresses: Vec::new(),
            limits: Resources::new(),
            disk_used: None,
            measured: 0.0,
            usage: Some(Usage { memory_bytes: 500, memory, ..Usage::default() }),
            place: None,
        };
        let known = Memory { anonymous: 100, file: 400, ..Memory::default() };
        let told = used(Some(known)).statistics();
        assert_eq!((told.mem_total_bytes, told.mem_rss_bytes), (Some(500), Some(100)));
        assert_eq!((told.mem_anon_bytes, told.mem_cache_bytes), (Some(100), Some(400)));
        // The processes' own sum, where that is all that is known.
        assert_eq!(used(None).statistics().mem_rss_bytes, Some(500));
    }
}

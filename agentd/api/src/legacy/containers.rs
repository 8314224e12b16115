//! `GET /containers` and `GET /monitor/statistics`: what runs, and what it uses.

use axum::Json;
use axum::extract::{Query, State};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tepui_agent::{Agent, Phase};
use tepui_types::{ContainerId, ExecutorId, FrameworkId, Now, ResourceName, Resources, Role};
use tepui_wire::v1;

use crate::answer::ApiError;
use crate::host::{Host, Usage};
use crate::router::App;
use crate::show;

/// A run with a process, as others see it.
#[derive(Clone, Debug)]
pub(crate) struct Container {
    pub(crate) framework: FrameworkId,
    pub(crate) executor: ExecutorId,
    pub(crate) name: String,
    pub(crate) source: String,
    pub(crate) run: ContainerId,
    pub(crate) pid: Option<u32>,
    pub(crate) role: Option<Role>,
    pub(crate) address: String,
    pub(crate) limits: Resources,
    pub(crate) measured: f64,
    pub(crate) usage: Option<Usage>,
}

impl Container {
    /// Numbers under the names of `ResourceStatistics`.
    pub(crate) fn statistics(&self) -> v1::ResourceStatistics {
        let usage = self.usage.unwrap_or_default();
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
            mem_rss_bytes: Some(usage.memory_bytes),
            mem_limit_bytes: Some(self.limits.mem().megabytes_as_bytes()),
            disk_limit_bytes: Some(self.limits.disk().megabytes_as_bytes()),
            ..v1::ResourceStatistics::default()
        }
    }

    pub(crate) fn status(&self) -> v1::ContainerStatus {
        let address = v1::network_info::IpAddress {
            ip_address: Some(self.address.clone()),
            ..v1::network_info::IpAddress::default()
        };
        v1::ContainerStatus {
            container_id: Some(tepui_agent::container_id(&self.run)),
            network_infos: vec![v1::NetworkInfo {
                ip_addresses: vec![address],
                ..v1::NetworkInfo::default()
            }],
            executor_pid: self.pid,
            ..v1::ContainerStatus::default()
        }
    }

    fn head(&self) -> Map<String, Value> {
        let mut out = Map::new();
        out.insert("framework_id".into(), json!(self.framework.to_string()));
        out.insert("executor_id".into(), json!(self.executor.to_string()));
        out.insert("executor_name".into(), json!(self.name));
        out.insert("source".into(), json!(self.source));
        out
    }
}

/// Which containers are wanted.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Wanted {
    container_id: Option<String>,
    framework_id: Option<String>,
    executor_id: Option<String>,
}

impl Wanted {
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
        is(&self.container_id, container.run.as_str())
            && is(&self.framework_id, container.framework.as_str())
            && is(&self.executor_id, container.executor.as_str())
    }
}

/// The containers, not measured yet.
pub(crate) fn look(agent: &Agent, now: Now) -> Vec<Container> {
    let live = agent.live_runs().filter(|(_, run)| {
        run.pid.is_some()
            && matches!(run.phase, Phase::Registering | Phase::Running | Phase::Terminating)
    });
    live.filter_map(|(id, run)| {
        let (framework, executor) = agent.owner(id)?;
        let info = show::executor_info(framework, executor);
        Some(Container {
            framework: framework.id.clone(),
            executor: executor.id.clone(),
            name: info.name().to_owned(),
            source: show::source(&info),
            run: id.clone(),
            pid: run.pid,
            role: executor.role.clone(),
            address: agent.config().ip.clone(),
            limits: show::executor_resources(framework, executor),
            measured: now.wall.as_secs_f64(),
            usage: None,
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

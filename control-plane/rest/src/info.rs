//! What this process says of itself: `/v2/info` and `/config` (`marathon-api.md` section 8).
//!
//! Strict clients know exactly these keys. Where this control plane has such a setting, its value is
//! the one in force; the others are Marathon's documented constants.

use serde_json::{Value, json};
use tepui_apps::Config;
use tepui_types::Span;

use crate::answer::{self, Answer};
use crate::apps::{Apps, Leadership};
use crate::options::Options;
use crate::request::Request;

/// `GET /v2/info`; keys without value are `null` here.
pub(crate) async fn info<A: Apps>(request: &Request<A>) -> Answer {
    let look = |apps: &tepui_apps::Apps, _| {
        (apps.framework_id().map(ToString::to_string), apps.config().clone())
    };
    let (framework_id, config) = request.shared.apps.read(look).await?;
    let options = &request.shared.options;
    let leader = match request.shared.apps.leadership() {
        Leadership::Here => Some(options.address.clone()),
        Leadership::Elsewhere(address) => Some(address),
        Leadership::Nobody => None,
    };
    let elected = request.shared.apps.leadership() == Leadership::Here;
    answer::ok(&json!({
        "name": "marathon",
        "version": options.version,
        "buildref": options.version,
        "elected": elected,
        "leader": leader,
        "frameworkId": framework_id,
        "marathon_config": marathon_config(options, &config),
        "zookeeper_config": {
            "zk": options.info.store,
            "zk_compression": true,
            "zk_compression_threshold": 65_536,
            "zk_connection_timeout": 10_000,
            "zk_max_node_size": 1_024_000,
            "zk_max_versions": config.max_versions,
            "zk_session_timeout": 10_000,
            "zk_timeout": 10_000,
        },
        "http_config": {
            "http_port": options.info.http_port,
            "https_port": options.info.https_port,
        },
    }))
}

/// `GET /config`: the settings in force, by the names of Marathon's flags.
pub(crate) async fn config<A: Apps>(request: &Request<A>) -> Answer {
    let config = request.shared.apps.read(|apps, _| apps.config().clone()).await?;
    let options = &request.shared.options;
    let mut settings = marathon_config(options, &config);
    let more = json!({
        "draining_seconds": config.draining.as_secs_f64(),
        "gpu_scheduling_behavior":
            if config.gpu_restricted { "restricted" } else { "unrestricted" },
        "http_compression": options.compression,
        "http_max_concurrent_requests": options.max_concurrent_requests,
        "http_max_body_bytes": options.max_body_bytes,
        "http_port": options.info.http_port,
        "https_port": options.info.https_port,
        "kill_chunk_size": config.kill_chunk_size,
        "kill_retry_timeout": millis(config.kill_retry),
        "max_concurrent_marathon_health_checks": config.max_probes,
        "max_running_deployments": config.max_running_deployments,
        "metrics_prometheus": options.prometheus,
        "zk_max_versions": config.max_versions,
    });
    if let (Value::Object(settings), Value::Object(more)) = (&mut settings, more) {
        settings.extend(more);
    }
    answer::ok(&settings)
}

fn millis(span: Span) -> u64 {
    span.as_millis()
}

fn marathon_config(options: &Options, config: &Config) -> Value {
    json!({
        "access_control_allow_origin":
            (!options.allow_origins.is_empty()).then_some(&options.allow_origins),
        "checkpoint": true,
        "decline_offer_duration": millis(config.decline_offer_duration),
        "default_network_name": config.settings.default_network_name,
        "env_vars_prefix": config.env_vars_prefix,
        "executor": config.executor,
        "failover_timeout": config.failover_timeout.as_millis() / 1_000,
        "features": options.info.features,
        "framework_name": config.framework_name,
        "ha": true,
        "hostname": config.hostname,
        "launch_token": config.launch_tokens,
        "launch_token_refresh_interval": millis(config.launch_token_refresh),
        "leader_proxy_connection_timeout_ms": 5_000,
        "leader_proxy_read_timeout_ms": 10_000,
        "local_port_max": config.local_ports.1,
        "local_port_min": config.local_ports.0,
        "master": options.info.master,
        "max_instances_per_offer": config.max_instances_per_offer,
        "mesos_bridge_name": config.settings.mesos_bridge_name,
        "mesos_heartbeat_failure_threshold": 5,
        "mesos_heartbeat_interval": 15_000,
        "mesos_leader_ui_url": options.info.mesos_leader_ui_url,
        "mesos_role": config.settings.default_role.as_str(),
        "mesos_user": config.user,
        "new_group_enforce_role": "off",
        "min_revive_offers_interval": millis(config.min_revive_interval),
        "offer_matching_timeout": 3_000,
        "on_elected_prepare_timeout": 180_000,
        "reconciliation_initial_delay": millis(config.reconciliation_delay),
        "reconciliation_interval": millis(config.reconciliation_interval),
        "scale_apps_initial_delay": millis(config.scale_delay),
        "scale_apps_interval": millis(config.scale_interval),
        "store_cache": true,
        "task_launch_confirm_timeout": millis(config.task_launch_timeout),
        "task_launch_timeout": millis(config.task_launch_timeout),
        "task_lost_expunge_initial_delay": 300_000,
        "task_lost_expunge_interval": 30_000,
        "task_reservation_timeout": 20_000,
        "webui_url": config.webui_url,
        "maintenance_mode": config.maintenance_mode,
    })
}

//! What an operator reads in the log: agents and frameworks that come and go.
//!
//! Everything here is told by effects that happen anyway; one that is logged is durable already.

use tepui_cluster::{Record, Standing};
use tepui_leader::Effect;
use tepui_link::Order;
use tracing::{info, warn};

/// Writes an effect into the log when it is news.
pub fn tell(effect: &Effect) {
    match effect {
        Effect::SaveCluster(record) => tell_saved(record),
        Effect::ForgetCluster(Record::Agent { agent, .. }) => info!(%agent, "agent removed"),
        Effect::ForgetCluster(Record::Framework { framework, .. }) => {
            info!(%framework, "framework removed");
        }
        Effect::ToAgent { link, directive } => match &directive.order {
            Order::Registered { agent, .. } => info!(%agent, link = link.0, "agent registered"),
            Order::Shutdown { reason } => warn!(link = link.0, reason, "agent refused"),
            _ => {}
        },
        Effect::ToFramework { event, .. } => {
            if let Some(subscribed) = &event.subscribed {
                info!(framework = subscribed.framework_id.value, "framework subscribed");
            }
            if let Some(error) = &event.error {
                info!(reason = error.message, "framework's stream ended with an error");
            }
        }
        _ => {}
    }
}

fn tell_saved(record: &Record) {
    match record {
        Record::Agent { agent, standing, info, deactivated } => match standing {
            Standing::Admitted => {
                info!(%agent, host = info.hostname, deactivated, "agent admitted");
            }
            Standing::Unreachable { .. } => {
                warn!(%agent, host = info.hostname, "agent unreachable, its tasks are given up");
            }
            Standing::Gone { .. } => warn!(%agent, host = info.hostname, "agent gone for good"),
        },
        Record::Framework { framework, failover_timeout, disconnected: Some(_), .. } => {
            let patience_seconds = failover_timeout.as_secs_f64();
            info!(%framework, patience_seconds, "framework disconnected");
        }
        _ => {}
    }
}

//! Calls that change something, and the documented refusals of those that this release has not.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tepui_cluster::Operation;
use tepui_types::{AgentId, FrameworkId, InvalidId, Role, Span};
use tepui_wire::v1::master::call::Type;
use tepui_wire::v1::{self, master};

use crate::answer::ApiError;
use crate::plane::Plane;
use crate::router::App;

/// Largest weight: keeps shares within the allocator's arithmetic.
const MAX_WEIGHT: f64 = 1e9;

pub(crate) async fn write<P: Plane>(
    app: &App<P>,
    kind: Type,
    call: master::Call,
) -> Result<Response, ApiError> {
    let operation = match kind {
        Type::Teardown => {
            let part = call.teardown.ok_or_else(|| missing("teardown"))?;
            Operation::Teardown { framework: framework(&part.framework_id)? }
        }
        Type::MarkAgentGone => {
            let part = call.mark_agent_gone.ok_or_else(|| missing("mark_agent_gone"))?;
            Operation::MarkAgentGone { agent: agent(&part.agent_id, "mark_agent_gone")? }
        }
        Type::DeactivateAgent => {
            let part = call.deactivate_agent.ok_or_else(|| missing("deactivate_agent"))?;
            let agent = agent(&part.agent_id, "deactivate_agent")?;
            Operation::SetAgentActive { agent, active: false }
        }
        Type::DrainAgent => {
            let part = call.drain_agent.ok_or_else(|| missing("drain_agent"))?;
            let agent = agent(&part.agent_id, "drain_agent")?;
            let max_grace = match part.max_grace_period {
                Some(period) => Some(span(period.seconds, period.nanos)?),
                None => None,
            };
            Operation::DrainAgent { agent, max_grace, mark_gone: part.mark_gone() }
        }
        Type::ReactivateAgent => {
            let part = call.reactivate_agent.ok_or_else(|| missing("reactivate_agent"))?;
            let agent = agent(&part.agent_id, "reactivate_agent")?;
            Operation::SetAgentActive { agent, active: true }
        }
        Type::UpdateWeights => {
            let part = call.update_weights.ok_or_else(|| missing("update_weights"))?;
            Operation::UpdateWeights { weights: weights(&part.weight_infos)? }
        }
        other => return Err(not_here(other)),
    };
    match app.plane.operate(operation).await? {
        tepui_cluster::Response::Refused(refusal) => Err(refusal.into()),
        _ => Ok(StatusCode::OK.into_response()),
    }
}

pub(crate) fn missing(part: &str) -> ApiError {
    ApiError::bad_request(format!("expecting '{part}' to be present"))
}

fn bad_id(path: &str) -> impl FnOnce(InvalidId) -> ApiError {
    move |error| ApiError::bad_request(format!("'{path}': {error}"))
}

fn framework(id: &v1::FrameworkId) -> Result<FrameworkId, ApiError> {
    FrameworkId::parse(&id.value).map_err(bad_id("teardown.framework_id.value"))
}

fn agent(id: &v1::AgentId, part: &str) -> Result<AgentId, ApiError> {
    AgentId::parse(&id.value).map_err(bad_id(&format!("{part}.agent_id.value")))
}

/// A period as the wire has it.
fn span(seconds: i64, nanos: i32) -> Result<Span, ApiError> {
    let whole = u64::try_from(seconds).ok();
    let rest = u64::try_from(nanos).ok().filter(|nanos| *nanos < 1_000_000_000);
    match (whole, rest) {
        (Some(whole), Some(rest)) => Ok(Span::from_secs(whole) + Span::from_nanos(rest)),
        _ => Err(ApiError::bad_request(
            "'drain_agent.max_grace_period' is negative, expecting how long tasks have at most",
        )),
    }
}

/// Weights in thousandths.
pub(crate) fn weights(infos: &[v1::WeightInfo]) -> Result<Vec<(Role, u64)>, ApiError> {
    infos
        .iter()
        .map(|info| {
            let role = info.role.as_deref().unwrap_or_default();
            let role = Role::parse(role).map_err(|e| ApiError::bad_request(e.to_string()))?;
            let thousandths = (info.weight * 1000.0).round();
            if !(1.0..=MAX_WEIGHT * 1000.0).contains(&thousandths) {
                return Err(ApiError::bad_request(format!(
                    "weight {} of role '{role}' is not a number above 0 (at most {MAX_WEIGHT})",
                    info.weight
                )));
            }
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            Ok((role, thousandths as u64))
        })
        .collect()
}

/// What a call of a later release is told.
fn not_here(kind: Type) -> ApiError {
    ApiError::new(
        StatusCode::NOT_IMPLEMENTED,
        format!("call type {} is not supported by this release", kind.as_str_name()),
    )
}

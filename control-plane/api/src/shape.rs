//! Whether a call has the parts that its type needs (`spec/mesos-http.md` 1.2, first rows).

use axum::http::StatusCode;
use tepui_wire::v1::scheduler::{self, call::Type};

use crate::answer::ApiError;

/// Length of a status update's id.
const UUID_BYTES: usize = 16;

/// The call's type, once all parts that it needs are there.
///
/// # Errors
/// 400 that names the missing part; 501 for the literal type UNKNOWN.
pub(crate) fn check_call(call: &scheduler::Call) -> Result<Type, ApiError> {
    let Some(kind) = call.r#type.and_then(|number| Type::try_from(number).ok()) else {
        return Err(ApiError::bad_request("expecting 'type' to be present and known"));
    };
    if kind == Type::Unknown {
        return Err(ApiError::new(StatusCode::NOT_IMPLEMENTED, "call type UNKNOWN"));
    }
    if kind == Type::Subscribe {
        return check_subscribe(call).map(|()| kind);
    }
    if call.framework_id.is_none() {
        return Err(ApiError::bad_request("expecting 'framework_id' to be present"));
    }
    if let Some(part) = missing_part(call, kind) {
        return Err(ApiError::bad_request(format!("expecting '{part}' to be present")));
    }
    check_details(call, kind).map(|()| kind)
}

fn check_subscribe(call: &scheduler::Call) -> Result<(), ApiError> {
    let Some(subscribe) = &call.subscribe else {
        return Err(ApiError::bad_request("expecting 'subscribe' to be present"));
    };
    if subscribe.framework_info.id != call.framework_id {
        return Err(ApiError::bad_request(
            "'framework_id' differs from 'subscribe.framework_info.id'",
        ));
    }
    Ok(())
}

fn missing_part(call: &scheduler::Call, kind: Type) -> Option<&'static str> {
    let (present, name) = match kind {
        Type::Accept => (call.accept.is_some(), "accept"),
        Type::Decline => (call.decline.is_some(), "decline"),
        Type::AcceptInverseOffers => {
            (call.accept_inverse_offers.is_some(), "accept_inverse_offers")
        }
        Type::DeclineInverseOffers => {
            (call.decline_inverse_offers.is_some(), "decline_inverse_offers")
        }
        Type::Kill => (call.kill.is_some(), "kill"),
        Type::Shutdown => (call.shutdown.is_some(), "shutdown"),
        Type::Acknowledge => (call.acknowledge.is_some(), "acknowledge"),
        Type::AcknowledgeOperationStatus => {
            (call.acknowledge_operation_status.is_some(), "acknowledge_operation_status")
        }
        Type::Reconcile => (call.reconcile.is_some(), "reconcile"),
        Type::ReconcileOperations => (call.reconcile_operations.is_some(), "reconcile_operations"),
        Type::Message => (call.message.is_some(), "message"),
        Type::Request => (call.request.is_some(), "request"),
        Type::UpdateFramework => (call.update_framework.is_some(), "update_framework"),
        Type::Revive | Type::Suppress | Type::Teardown | Type::Subscribe | Type::Unknown => {
            (true, "")
        }
    };
    (!present).then_some(name)
}

fn check_details(call: &scheduler::Call, kind: Type) -> Result<(), ApiError> {
    let uuid = |bytes: &[u8], path: &str| {
        if bytes.len() == UUID_BYTES {
            return Ok(());
        }
        let length = bytes.len();
        Err(ApiError::bad_request(format!(
            "'{path}' has {length} bytes, expecting a UUID of {UUID_BYTES} bytes"
        )))
    };
    match kind {
        Type::Acknowledge => {
            call.acknowledge.as_ref().map_or(Ok(()), |a| uuid(&a.uuid, "acknowledge.uuid"))
        }
        Type::AcknowledgeOperationStatus => {
            let Some(acknowledge) = &call.acknowledge_operation_status else { return Ok(()) };
            if acknowledge.agent_id.is_none() {
                return Err(ApiError::bad_request(
                    "expecting 'acknowledge_operation_status.agent_id' to be present",
                ));
            }
            uuid(&acknowledge.uuid, "acknowledge_operation_status.uuid")
        }
        Type::UpdateFramework => {
            let info = call.update_framework.as_ref().map(|update| &update.framework_info);
            if info.and_then(|info| info.id.as_ref()) == call.framework_id.as_ref() {
                return Ok(());
            }
            Err(ApiError::bad_request(
                "'framework_id' differs from 'update_framework.framework_info.id'",
            ))
        }
        _ => Ok(()),
    }
}

//! Health checks, general checks, readiness checks and constraints.

use serde_json::Value;

use super::reader::Reader;
use crate::constraint::{Constraint, Operator};
use crate::health::{
    Check, CheckProbe, HealthCheck, HealthProtocol, IpProtocol, ReadinessCheck, ReadinessProtocol,
};

const IP_PROTOCOLS: [(&str, IpProtocol); 2] = [("IPv4", IpProtocol::V4), ("IPv6", IpProtocol::V6)];
const SCHEMES: [(&str, bool); 2] = [("HTTP", false), ("HTTPS", true)];

pub(super) fn health_check(reader: &mut Reader, value: &Value) -> Option<HealthCheck> {
    let object = reader.object(value)?;
    let default = HealthCheck::default();
    let protocol = reader
        .opt(object, "protocol", |r, v| r.literal(v, &HealthProtocol::NAMES))
        .unwrap_or(default.protocol);
    let path = reader.opt(object, "path", Reader::string);
    let command = reader.opt(object, "command", |r, v| {
        let object = r.object(v)?;
        r.need(object, "value", Reader::filled_string)
    });
    let ignore_http_1xx = reader.opt(object, "ignoreHttp1xx", Reader::boolean).unwrap_or(false);
    let is_command = protocol == HealthProtocol::Command;
    if is_command && command.is_none() {
        reader.at("command", |r| r.broken("not defined"));
    }
    let mut number =
        |key: &str, default: u32| reader.opt(object, key, Reader::unsigned).unwrap_or(default);
    Some(HealthCheck {
        protocol,
        grace_period_seconds: number("gracePeriodSeconds", default.grace_period_seconds),
        interval_seconds: number("intervalSeconds", default.interval_seconds),
        timeout_seconds: number("timeoutSeconds", default.timeout_seconds),
        max_consecutive_failures: number(
            "maxConsecutiveFailures",
            default.max_consecutive_failures,
        ),
        delay_seconds: number("delaySeconds", default.delay_seconds),
        path: protocol.is_http().then(|| path.unwrap_or_else(|| "/".to_owned())),
        port_index: reader.opt(object, "portIndex", Reader::unsigned).filter(|_| !is_command),
        port: reader.opt(object, "port", Reader::port).filter(|_| !is_command),
        command: command.filter(|_| is_command),
        ignore_http_1xx: ignore_http_1xx
            && matches!(protocol, HealthProtocol::Http | HealthProtocol::Https),
        ip_protocol: reader
            .opt(object, "ipProtocol", |r, v| r.literal(v, &IP_PROTOCOLS))
            .unwrap_or_default(),
    })
}

pub(super) fn check(reader: &mut Reader, value: &Value) -> Option<Check> {
    let object = reader.object(value)?;
    let mut probes = Vec::new();
    probes.extend(reader.opt(object, "http", |r, v| {
        let object = r.object(v)?;
        Some(CheckProbe::Http {
            port_index: r.opt(object, "portIndex", Reader::unsigned),
            port: r.opt(object, "port", Reader::port),
            path: r.opt(object, "path", Reader::string),
            https: r.opt(object, "scheme", |r, v| r.literal(v, &SCHEMES)).unwrap_or(false),
        })
    }));
    probes.extend(reader.opt(object, "tcp", |r, v| {
        let object = r.object(v)?;
        Some(CheckProbe::Tcp {
            port_index: r.opt(object, "portIndex", Reader::unsigned),
            port: r.opt(object, "port", Reader::port),
        })
    }));
    probes.extend(reader.opt(object, "exec", |r, v| {
        let object = r.object(v)?;
        r.need(object, "command", |r, v| {
            let object = r.object(v)?;
            let shell = r.opt(object, "shell", Reader::filled_string).map(CheckProbe::Shell);
            let argv = r.opt(object, "argv", Reader::strings).map(CheckProbe::Argv);
            shell.or(argv)
        })
    }));
    if probes.len() != 1 {
        reader.broken("Only one of http, tcp, or command may be specified");
    }
    let mut number =
        |key: &str, default: u32| reader.opt(object, key, Reader::unsigned).unwrap_or(default);
    let (interval_seconds, timeout_seconds, delay_seconds) =
        (number("intervalSeconds", 60), number("timeoutSeconds", 20), number("delaySeconds", 15));
    let probe = probes.into_iter().next()?;
    Some(Check { probe, interval_seconds, timeout_seconds, delay_seconds })
}

pub(super) fn readiness_check(reader: &mut Reader, value: &Value) -> Option<ReadinessCheck> {
    const PROTOCOLS: [(&str, ReadinessProtocol); 2] =
        [("HTTP", ReadinessProtocol::Http), ("HTTPS", ReadinessProtocol::Https)];
    let object = reader.object(value)?;
    let text = |reader: &mut Reader, key: &str, default: &str| {
        reader.opt(object, key, Reader::filled_string).unwrap_or_else(|| default.to_owned())
    };
    let codes = reader
        .opt(object, "httpStatusCodesForReady", |r, v| {
            r.array(v, |r, v| r.integer(v, 100, 999).and_then(|code| u16::try_from(code).ok()))
        })
        .unwrap_or_else(|| vec![200]);
    Some(ReadinessCheck {
        name: text(reader, "name", "readinessCheck"),
        protocol: reader
            .opt(object, "protocol", |r, v| r.literal(v, &PROTOCOLS))
            .unwrap_or(ReadinessProtocol::Http),
        path: text(reader, "path", "/"),
        port_name: text(reader, "portName", "http-api"),
        interval_seconds: reader.opt(object, "intervalSeconds", Reader::unsigned).unwrap_or(30),
        timeout_seconds: reader
            .opt(object, "timeoutSeconds", |r, v| {
                r.integer(v, 1, super::reader::MAX_INT).and_then(|n| u32::try_from(n).ok())
            })
            .unwrap_or(10),
        http_status_codes_for_ready: codes,
        preserve_last_response: reader
            .opt(object, "preserveLastResponse", Reader::boolean)
            .unwrap_or(false),
    })
}

/// One constraint: `[field, operator]` or `[field, operator, value]`.
pub(super) fn constraint(reader: &mut Reader, value: &Value) -> Option<Constraint> {
    let parts = reader.strings(value)?;
    let (field, operator, value) = match parts.as_slice() {
        [field, operator] => (field, operator, None),
        [field, operator, value] => (field, operator, Some(value.as_str())),
        _ => {
            reader.broken("Each constraint must have either 2 or 3 fields");
            return None;
        }
    };
    if field.is_empty() {
        reader.broken("missing field for constraint declaration");
    }
    match operator_of(&operator.to_ascii_uppercase(), value) {
        Ok(operator) => Some(Constraint { field: field.clone(), operator }),
        Err(error) => {
            reader.broken(error);
            None
        }
    }
}

fn operator_of(name: &str, value: Option<&str>) -> Result<Operator, &'static str> {
    const NEEDS_REGEX: &str = "LIKE and UNLIKE require a non-empty, regular expression value";
    let pattern = || value.filter(|value| !value.is_empty()).ok_or(NEEDS_REGEX).and_then(regular);
    match name {
        "UNIQUE" => match value {
            None | Some("") => Ok(Operator::Unique),
            Some(_) => Err("UNIQUE does not accept a value"),
        },
        "CLUSTER" => {
            Ok(Operator::Cluster(value.filter(|value| !value.is_empty()).map(str::to_owned)))
        }
        "GROUP_BY" => match value.filter(|value| !value.is_empty()) {
            None => Ok(Operator::GroupBy(None)),
            Some(value) => value
                .parse()
                .map(|number| Operator::GroupBy(Some(number)))
                .map_err(|_| "GROUP BY must define an integer value or else no value at all"),
        },
        "MAX_PER" => value
            .and_then(|value| value.parse().ok())
            .map(Operator::MaxPer)
            .ok_or("MAX_PER requires an integer value"),
        "LIKE" => pattern().map(Operator::Like),
        "UNLIKE" => pattern().map(Operator::Unlike),
        "IS" => value.filter(|value| is_text_or_number(value)).map_or(
            Err(
                "IS only supports Mesos text and float values (see http://mesos.apache.org/documentation/latest/attributes-resources/)",
            ),
            |value| Ok(Operator::Is(value.to_owned())),
        ),
        _ => Err(
            "operator must be one of the following UNIQUE, CLUSTER, GROUP_BY, LIKE, MAX_PER, UNLIKE or IS",
        ),
    }
}

/// Patterns that compile to more than this are refused rather than matched slowly.
const REGEX_SIZE_LIMIT: usize = 1 << 20;

fn regular(pattern: &str) -> Result<String, &'static str> {
    regex::RegexBuilder::new(pattern)
        .size_limit(REGEX_SIZE_LIMIT)
        .build()
        .map(|_| pattern.to_owned())
        .map_err(|_| "is not a valid regular expression")
}

/// Mesos reads `[…]` as ranges and `{…}` as sets; everything else is text or a number.
fn is_text_or_number(value: &str) -> bool {
    !value.is_empty() && !value.starts_with('[') && !value.starts_with('{')
}

//! Content types: which form a body is in, and which form an answer may have
//! (`mesos-http.md` section 0.2).

use std::fmt;

use crate::{DecodeError, Problem, WireMessage, binary, json, recordio};

/// A form of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MediaType {
    /// `application/json`
    Json,
    /// `application/x-protobuf`
    Protobuf,
    /// `application/recordio`: a stream of records, each of which is JSON or protobuf as the
    /// `Message-Content-Type` header says.
    RecordIo,
}

impl MediaType {
    /// The text of the header.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Protobuf => "application/x-protobuf",
            Self::RecordIo => "application/recordio",
        }
    }

    /// Reads the value of `Content-Type`, `Message-Content-Type` or the like. Case and parameters
    /// such as `charset=utf-8` do not matter (Mesos refuses them with 415; nobody relies on it).
    ///
    /// # Errors
    ///
    /// When the header is missing (answer 400) or names another type (answer 415).
    pub fn parse(header: Option<&str>) -> Result<Self, ContentTypeError> {
        let text = header.map(str::trim).filter(|text| !text.is_empty());
        let text = text.ok_or(ContentTypeError::Missing)?;
        let essence = text.split(';').next().unwrap_or_default().trim();
        [Self::Json, Self::Protobuf, Self::RecordIo]
            .into_iter()
            .find(|known| known.as_str().eq_ignore_ascii_case(essence))
            .ok_or_else(|| ContentTypeError::Unsupported(crate::path::shortened(text, 80)))
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A `Content-Type` that cannot be served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContentTypeError {
    /// No such header: 400.
    #[error("expecting 'Content-Type' to be present")]
    Missing,
    /// Another type: 415.
    #[error("expecting 'Content-Type' of application/json or application/x-protobuf, not '{0}'")]
    Unsupported(String),
}

/// The form of an answer of the ordinary APIs: JSON if acceptable, else protobuf, else none
/// (answer 406). Without an `Accept` header, anything is acceptable.
pub fn negotiate(accept: Option<&str>) -> Option<MediaType> {
    negotiate_among(accept, &[MediaType::Json, MediaType::Protobuf])
}

/// The first of the offered forms that the `Accept` header takes. The most specific range that
/// covers a form decides about it, and `q=0` there excludes it; other weights do not matter.
pub fn negotiate_among(accept: Option<&str>, offered: &[MediaType]) -> Option<MediaType> {
    let Some(accept) = accept.filter(|text| !text.trim().is_empty()) else {
        return offered.first().copied();
    };
    offered.iter().copied().find(|media| accepts(accept, *media))
}

fn accepts(accept: &str, media: MediaType) -> bool {
    let mut best = (0, false);
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let specificity = match name {
            "*/*" | "*" => 1,
            _ if name.eq_ignore_ascii_case("application/*") => 2,
            _ if name.eq_ignore_ascii_case(media.as_str()) => 3,
            _ => continue,
        };
        let excluded = parts.any(is_zero_weight);
        if specificity > best.0 {
            best = (specificity, !excluded);
        }
    }
    best.1
}

fn is_zero_weight(parameter: &str) -> bool {
    let Some((name, value)) = parameter.split_once('=') else { return false };
    name.trim().eq_ignore_ascii_case("q") && value.trim().parse::<f32>().is_ok_and(|q| q <= 0.0)
}

/// The message in that form. For RecordIO: one record of JSON, the default of `Message-Accept`.
pub fn encode<M: WireMessage>(media: MediaType, message: &M) -> Vec<u8> {
    match media {
        MediaType::Json => json::encode_json(message),
        MediaType::Protobuf => binary::encode_protobuf(message),
        MediaType::RecordIo => recordio::encode(&json::encode_json(message)),
    }
}

/// The message that a body of that form stands for. For RecordIO: exactly one record of JSON;
/// streams go through [`recordio::Decoder`].
///
/// # Errors
///
/// As [`json::decode_json`] and [`binary::decode_protobuf`].
pub fn decode<M: WireMessage>(media: MediaType, body: &[u8]) -> Result<M, DecodeError> {
    decode_noting(media, body).map(|(message, _)| message)
}

/// The message, and what of a text has no effect, as [`json::decode_json_noting`] tells it; of
/// protobuf nothing has a name.
///
/// # Errors
///
/// As [`decode`].
pub fn decode_noting<M: WireMessage>(
    media: MediaType,
    body: &[u8],
) -> Result<(M, Vec<String>), DecodeError> {
    match media {
        MediaType::Json => json::decode_json_noting(body),
        MediaType::Protobuf => Ok((binary::decode_protobuf(body)?, Vec::new())),
        MediaType::RecordIo => {
            json::decode_json_noting(&only_record(body).map_err(|reason| DecodeError {
                message: M::SCHEMA.name,
                media,
                problem: Problem::Malformed { path: String::new(), reason },
            })?)
        }
    }
}

fn only_record(body: &[u8]) -> Result<Vec<u8>, String> {
    let mut decoder = recordio::Decoder::with_limit(body.len());
    decoder.push(body);
    let wanted = || "expected exactly one record".to_owned();
    let record = decoder.next_record().map_err(|error| error.to_string())?;
    match (record, decoder.next_record()) {
        (Some(record), Ok(None)) if decoder.finish().is_ok() => Ok(record),
        _ => Err(wanted()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types_are_read_whatever_their_case_and_parameters() {
        assert_eq!(MediaType::parse(Some("application/json")), Ok(MediaType::Json));
        assert_eq!(MediaType::parse(Some("Application/JSON; charset=utf-8")), Ok(MediaType::Json));
        assert_eq!(MediaType::parse(Some("application/x-protobuf")), Ok(MediaType::Protobuf));
        assert_eq!(MediaType::parse(Some("application/recordio")), Ok(MediaType::RecordIo));
        assert_eq!(MediaType::parse(None), Err(ContentTypeError::Missing));
        assert_eq!(
            MediaType::parse(Some("text/plain")),
            Err(ContentTypeError::Unsupported("text/plain".to_owned()))
        );
    }

    #[test]
    fn json_is_preferred_and_protobuf_given_to_those_who_ask() {
        for json in [
            None,
            Some(""),
            Some("*/*"),
            Some("application/*"),
            Some("application/json"),
            Some("application/x-protobuf, application/json;q=0.1"),
            Some("text/html, */*;q=0.8"),
        ] {
            assert_eq!(negotiate(json), Some(MediaType::Json), "{json:?}");
        }
        for protobuf in [
            Some("application/x-protobuf"),
            Some("application/json;q=0, application/x-protobuf"),
            Some("application/json; q=0.000, */*"),
        ] {
            assert_eq!(negotiate(protobuf), Some(MediaType::Protobuf), "{protobuf:?}");
        }
    }

    #[test]
    fn nothing_acceptable_gives_nothing() {
        for none in ["text/html", "*/*;q=0", "application/json;q=0", "application/recordio"] {
            assert_eq!(negotiate(Some(none)), None, "{none:?}");
        }
        let offered = [MediaType::Json, MediaType::Protobuf, MediaType::RecordIo];
        let chosen = negotiate_among(Some("application/recordio"), &offered);
        assert_eq!(chosen, Some(MediaType::RecordIo));
    }

    #[test]
    fn what_has_no_effect_is_told_by_name() {
        use crate::v1::LinuxInfo;
        let text =
            br#"{"seccmp": {"a": [1]}, "seccomp": {"profile": "strict"}, "ipc_mode": "PRVATE",
                        "effective_capabilities": {"capabilities": ["CHOWN", "NET_ADMN"]}}"#;
        let (info, ignored) = decode_noting::<LinuxInfo>(MediaType::Json, text).unwrap();
        assert!(info.seccomp.is_some_and(|seccomp| seccomp.profile_name.is_none()));
        assert_eq!(
            ignored,
            [
                "mesos.v1.LinuxInfo.seccmp",
                "mesos.v1.SeccompInfo.profile",
                "ipc_mode.PRVATE",
                "capabilities.NET_ADMN"
            ]
        );
        let many: Vec<String> = (0..100).map(|n| format!("\"k{n}\": 1")).collect();
        let many = format!("{{{}}}", many.join(", "));
        let (_, ignored) = decode_noting::<LinuxInfo>(MediaType::Json, many.as_bytes()).unwrap();
        assert_eq!(ignored.len(), 16);
    }

    #[test]
    fn a_message_returns_from_every_form() {
        use crate::v1::scheduler::{Call, call};
        let call = Call { r#type: Some(call::Type::Revive.into()), ..Call::default() };
        for media in [MediaType::Json, MediaType::Protobuf, MediaType::RecordIo] {
            assert_eq!(decode::<Call>(media, &encode(media, &call)).as_ref(), Ok(&call));
        }
        assert_eq!(encode(MediaType::RecordIo, &call), b"17\n{\"type\":\"REVIVE\"}");
        for bad in ["", "2\n{", "2\n{}2\n{}", "x"] {
            assert!(decode::<Call>(MediaType::RecordIo, bad.as_bytes()).is_err(), "{bad:?}");
        }
    }
}

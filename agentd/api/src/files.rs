//! `/files/*`: what is in the sandboxes (`spec/mesos-http.md` 4.4).
//!
//! Only sandboxes that the agent knows can be named. Below a sandbox the kernel resolves the path
//! (openat2, beneath the sandbox's own descriptor; where that call is missing, `beneath` walks), so neither `..` nor a link of the task leads
//! out; pipes and devices are never opened for reading. What a browser is shown is never taken
//! for a page of ours: attachments, and no sniffing.

mod beneath;
mod listing;
mod locate;
mod open;

use std::path::PathBuf;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;

use crate::answer::ApiError;
use crate::host::Host;
use crate::router::App;

pub(crate) use listing::FileInfo;
pub(crate) use open::FilesError;

use locate::{Found, locate};

/// Most bytes of one `read`: sixteen pages.
pub(crate) const MAX_READ_BYTES: u64 = 16 * 4096;
/// Bytes of one piece of a download.
const CHUNK_BYTES: usize = 64 * 1024;

impl From<FilesError> for ApiError {
    fn from(error: FilesError) -> Self {
        let status = match error {
            FilesError::NotFound(_) => StatusCode::NOT_FOUND,
            FilesError::IsFolder(_) | FilesError::IsNoFolder(_) => StatusCode::BAD_REQUEST,
            FilesError::Forbidden(_) | FilesError::Denied(_) => StatusCode::FORBIDDEN,
            FilesError::TooMany { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            FilesError::Io { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, error.to_string())
    }
}

/// Parameters of all four endpoints; numbers are text, so that the refusal can quote them.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Parameters {
    path: Option<String>,
    offset: Option<String>,
    length: Option<String>,
}

impl Parameters {
    fn path(&self) -> Result<&str, ApiError> {
        let path = self.path.as_deref().filter(|path| !path.is_empty());
        path.ok_or_else(|| ApiError::bad_request("Expecting 'path=value' in query."))
    }
}

/// A piece of a file.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Piece {
    data: String,
    offset: u64,
}

/// Finds the sandbox and runs the blocking rest beside the runtime.
async fn with_place<H: Host, T: Send + 'static>(
    app: &App<H>,
    path: &str,
    work: impl FnOnce(&Found) -> Result<T, FilesError> + Send + 'static,
) -> Result<T, ApiError> {
    let (asked, work_dir) = (path.to_owned(), app.facts.work_dir.clone());
    let found = app.host.read(move |agent, _| locate(agent, &work_dir, &asked)).await?;
    let Some(found) = found else { return Err(FilesError::NotFound(path.to_owned()).into()) };
    let done = tokio::task::spawn_blocking(move || work(&found)).await;
    Ok(done.map_err(|_| ApiError::stopping())??)
}

pub(crate) async fn list<H: Host>(app: &App<H>, path: &str) -> Result<Vec<FileInfo>, ApiError> {
    let shown = path.trim_end_matches('/').to_owned();
    with_place(app, path, move |found| listing::list(found, &shown)).await
}

/// The file's size and bytes from an offset on; `None` asks for the size only.
pub(crate) async fn read_bytes<H: Host>(
    app: &App<H>,
    path: &str,
    offset: Option<u64>,
    length: u64,
) -> Result<(u64, Vec<u8>), ApiError> {
    with_place(app, path, move |found| open::read(found, offset, length.min(MAX_READ_BYTES))).await
}

pub(crate) async fn browse<H: Host>(
    State(app): State<App<H>>,
    Query(asked): Query<Parameters>,
) -> Result<Json<Vec<FileInfo>>, ApiError> {
    Ok(Json(list(&app, asked.path()?).await?))
}

pub(crate) async fn read<H: Host>(
    State(app): State<App<H>>,
    Query(asked): Query<Parameters>,
) -> Result<Json<Piece>, ApiError> {
    let path = asked.path()?;
    let offset = number("offset", asked.offset.as_deref())?;
    let length = number("length", asked.length.as_deref())?.unwrap_or(MAX_READ_BYTES);
    let (size, mut bytes) = read_bytes(&app, path, offset, length).await?;
    let begin = offset.unwrap_or(size).min(size);
    cut_split_character(&mut bytes);
    Ok(Json(Piece { data: String::from_utf8_lossy(&bytes).into_owned(), offset: begin }))
}

/// A number of at least -1, which stands for none.
fn number(name: &str, text: Option<&str>) -> Result<Option<u64>, ApiError> {
    let Some(text) = text else { return Ok(None) };
    let number: i64 = text
        .trim()
        .parse()
        .map_err(|_| ApiError::bad_request(format!("Failed to parse {name}: '{text}'.")))?;
    match number {
        -1 => Ok(None),
        number => u64::try_from(number)
            .map(Some)
            .map_err(|_| ApiError::bad_request(format!("Negative {name} provided: {number}."))),
    }
}

/// Leaves a character that is cut in two for the next read, so that followers see it whole.
fn cut_split_character(bytes: &mut Vec<u8>) {
    if let Err(error) = std::str::from_utf8(bytes)
        && error.error_len().is_none()
        && error.valid_up_to() > 0
    {
        bytes.truncate(error.valid_up_to());
    }
}

pub(crate) async fn download<H: Host>(
    State(app): State<App<H>>,
    Query(asked): Query<Parameters>,
) -> Result<Response, ApiError> {
    let path = asked.path()?;
    let (file, size) = with_place(&app, path, open::open_file).await?;
    let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or("download").to_owned();
    let pieces = stream::unfold(
        (tokio::fs::File::from_std(file).take(size), false),
        |(mut file, failed)| async move {
            if failed {
                return None;
            }
            let mut chunk = Vec::with_capacity(CHUNK_BYTES);
            match (&mut file).take(CHUNK_BYTES as u64).read_to_end(&mut chunk).await {
                Ok(0) => None,
                Ok(_) => Some((Ok(Bytes::from(chunk)), (file, false))),
                Err(error) => Some((Err(error), (file, true))),
            }
        },
    );
    let head = [
        (header::CONTENT_TYPE, HeaderValue::from_static(media_type(&name))),
        (header::CONTENT_LENGTH, HeaderValue::from(size)),
        (header::CONTENT_DISPOSITION, attachment(&name)),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (HeaderName::from_static("content-security-policy"), HeaderValue::from_static("sandbox")),
    ];
    Ok((head, Body::from_stream(pieces)).into_response())
}

/// The header that makes a browser save the file; anything odd in the name becomes `_`.
fn attachment(name: &str) -> HeaderValue {
    let plain: String = name
        .chars()
        .map(|c| if c.is_ascii_graphic() && !"\"\\%;".contains(c) || c == ' ' { c } else { '_' })
        .collect();
    HeaderValue::from_str(&format!("attachment; filename=\"{plain}\""))
        .unwrap_or_else(|_| HeaderValue::from_static("attachment"))
}

/// The type by the name's ending.
fn media_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("txt" | "log") => "text/plain; charset=utf-8",
        Some("html" | "htm") => "text/html; charset=utf-8",
        Some("css") => "text/css",
        Some("js") => "text/javascript",
        Some("json") => "application/json",
        Some("xml") => "application/xml",
        Some("csv") => "text/csv",
        Some("pdf") => "application/pdf",
        Some("png") => "image/png",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("gif") => "image/gif",
        Some("svg") => "image/svg+xml",
        Some("zip") => "application/zip",
        Some("gz" | "tgz") => "application/gzip",
        Some("tar") => "application/x-tar",
        _ => "application/octet-stream",
    }
}

/// `/files/debug`: every name under which a sandbox can be asked for, and where it is.
pub(crate) async fn debug<H: Host>(State(app): State<App<H>>) -> Result<Response, ApiError> {
    let work_dir: PathBuf = app.facts.work_dir.clone();
    let names = app.host.read(move |agent, _| locate::names(agent, &work_dir)).await?;
    Ok(Json(names).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_at_least_minus_one() {
        assert_eq!(number("offset", Some("-1")).unwrap(), None);
        assert_eq!(number("offset", Some("7")).unwrap(), Some(7));
        let negative = number("offset", Some("-2")).unwrap_err();
        assert_eq!(negative.message, "Negative offset provided: -2.");
        let odd = number("length", Some("x")).unwrap_err();
        assert_eq!(
            (odd.status, odd.message.as_str()),
            (StatusCode::BAD_REQUEST, "Failed to parse length: 'x'.")
        );
    }

    #[test]
    fn a_character_cut_in_two_waits_for_its_other_half() {
        let mut bytes = "aä".as_bytes()[..2].to_vec();
        cut_split_character(&mut bytes);
        assert_eq!(bytes, b"a");
        let mut broken = vec![b'a', 0xff, b'b'];
        cut_split_character(&mut broken);
        assert_eq!(broken.len(), 3);
    }

    #[test]
    fn names_cannot_break_out_of_the_header() {
        assert_eq!(attachment("a\"b\r\nc").to_str().unwrap(), "attachment; filename=\"a_b__c\"");
    }
}

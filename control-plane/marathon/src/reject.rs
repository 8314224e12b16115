//! The one error of reading and validating (`marathon-api.md` 1.2, 1.3).

use serde::Serialize;
use tepui_types::Uuid;

use crate::task::DeploymentRef;

/// A request that was refused: the HTTP status and the body that says why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", body.message)]
pub struct Rejection {
    /// HTTP status.
    pub status: u16,
    /// Body of the answer. Boxed, since refusals are rare and results are not.
    pub body: Box<Message>,
}

/// The error body every client understands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Message {
    /// What went wrong, for people.
    pub message: String,
    /// What exactly, by path or as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<Details>,
    /// The deployments that hold the lock, in answers 409.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deployments: Vec<DeploymentRef>,
}

/// `details` of an error body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Details {
    /// Text of the JSON parser.
    Text(String),
    /// One entry per path.
    Paths(Vec<Violation>),
}

/// Everything wrong at one path of the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// Where: `/` for the whole object, else `/field(index)/field`.
    pub path: String,
    /// What, at least one text.
    pub errors: Vec<String>,
}

/// Violations collected in the order they are found, one entry per path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Violations(Vec<Violation>);

/// Collected violations are cut off here: a hostile body must not grow its own answer.
const MAX_VIOLATIONS: usize = 200;

impl Violations {
    /// Adds one error at `path`; the empty path is the whole object.
    pub fn add(&mut self, path: &str, error: impl Into<String>) {
        let path = if path.is_empty() { "/" } else { path };
        let error = error.into();
        let full = self.0.len() >= MAX_VIOLATIONS;
        match self.0.iter_mut().find(|violation| violation.path == path) {
            Some(violation) if violation.errors.contains(&error) => {}
            Some(violation) => violation.errors.push(error),
            None if full => {}
            None => self.0.push(Violation { path: path.to_owned(), errors: vec![error] }),
        }
    }

    /// Adds everything of `other`.
    pub fn extend(&mut self, other: &Self) {
        for violation in &other.0 {
            for error in &violation.errors {
                self.add(&violation.path, error.clone());
            }
        }
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What was found.
    #[must_use]
    pub fn as_slice(&self) -> &[Violation] {
        &self.0
    }
}

impl Rejection {
    /// A refusal with a message and nothing else.
    #[must_use]
    pub fn new(status: u16, message: impl Into<String>) -> Self {
        let body = Message { message: message.into(), details: None, deployments: Vec::new() };
        Self { status, body: Box::new(body) }
    }

    /// 400: the body is not JSON at all.
    #[must_use]
    pub fn not_json(parser: &serde_json::Error) -> Self {
        let mut rejection = Self::new(400, "Invalid JSON");
        rejection.body.details = Some(Details::Text(parser.to_string()));
        rejection
    }

    /// 400: the body is empty.
    #[must_use]
    pub fn no_body() -> Self {
        let mut rejection = Self::new(400, "Please specify data in JSON format");
        rejection.body.details = Some(Details::Text("the request body is empty".to_owned()));
        rejection
    }

    /// 422: the JSON has the wrong structure.
    #[must_use]
    pub fn invalid_json(violations: Violations) -> Self {
        Self::with_details("Invalid JSON", violations)
    }

    /// 422: the object breaks a rule.
    #[must_use]
    pub fn not_valid(violations: Violations) -> Self {
        Self::with_details("Object is not valid", violations)
    }

    /// 422 for one rule at one path.
    #[must_use]
    pub fn not_valid_at(path: &str, error: impl Into<String>) -> Self {
        let mut violations = Violations::default();
        violations.add(path, error);
        Self::not_valid(violations)
    }

    fn with_details(message: &str, violations: Violations) -> Self {
        let mut rejection = Self::new(422, message);
        rejection.body.details = Some(Details::Paths(violations.0));
        rejection
    }

    /// 404 with this text.
    #[must_use]
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(404, message)
    }

    /// 409: running deployments hold a lock on something this request touches.
    #[must_use]
    pub fn locked(deployments: impl IntoIterator<Item = Uuid>) -> Self {
        let mut rejection = Self::new(
            409,
            "App is locked by one or more deployments. Override with the option '?force=true'. \
             View details at '/v2/deployments/<DEPLOYMENT_ID>'.",
        );
        rejection.body.deployments =
            deployments.into_iter().map(|id| DeploymentRef { id }).collect();
        rejection
    }

    /// The same refusal seen from outside: `prefix` (such as `/apps(0)` or `(1)`) goes in front of
    /// every path.
    #[must_use]
    pub fn under(mut self, prefix: &str) -> Self {
        if let Some(Details::Paths(violations)) = &mut self.body.details {
            for violation in violations {
                violation.path = if violation.path == "/" {
                    prefix.to_owned()
                } else {
                    format!("{prefix}{}", violation.path)
                };
            }
        }
        self
    }
}

impl Serialize for Rejection {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.body.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_message_lists_its_deployments() {
        let id = Uuid::parse("7f0c6c5e-0000-4000-8000-000000000001").unwrap();
        let body = serde_json::to_value(Rejection::locked([id]).body).unwrap();
        assert_eq!(
            body["deployments"],
            serde_json::json!([{"id": "7f0c6c5e-0000-4000-8000-000000000001"}])
        );
        assert!(body.get("details").is_none());
    }

    #[test]
    fn errors_of_one_path_share_an_entry_and_the_list_is_bounded() {
        let mut violations = Violations::default();
        violations.add("", "a");
        violations.add("/", "b");
        violations.add("/", "b");
        for index in 0..1000 {
            violations.add(&format!("/{index}"), "x");
        }
        assert_eq!(violations.as_slice()[0].errors, ["a", "b"]);
        assert_eq!(violations.as_slice().len(), MAX_VIOLATIONS);
        let rejection = Rejection::not_valid_at("/cmd", "x").under("(1)");
        assert_eq!(
            serde_json::to_string(&rejection).unwrap(),
            r#"{"message":"Object is not valid","details":[{"path":"(1)/cmd","errors":["x"]}]}"#
        );
    }
}

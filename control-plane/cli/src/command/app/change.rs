//! The verbs of `tepui app` that change something.

use std::io::Read;
use std::path::Path;

use anyhow::Context;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::args::Change;
use crate::client::{Api, Client};
use crate::deploy::Watch;
use crate::fault::{DONE, Fault, USAGE_OR_PLACEMENT};
use crate::model::{DeploymentResult, Named};
use crate::output::Format;

/// The answer to `POST /v2/apps`.
#[derive(Deserialize)]
struct Created {
    id: String,
    #[serde(default)]
    deployments: Vec<Named>,
}

pub(super) async fn create(
    client: &Client,
    format: Format,
    file: &Path,
    change: Change,
) -> anyhow::Result<u8> {
    let mut worst = DONE;
    for definition in read(file)? {
        let watch = Watch::begin(client, format, change).await;
        let path = format!("/v2/apps?force={}", change.force);
        let answer: Value =
            client.call(Api::Marathon, Method::POST, &path, Some(&definition)).await?;
        let created = Created::deserialize(&answer).context("failed to read the created app")?;
        eprintln!("{} is created", created.id);
        if let Some(deployment) = created.deployments.first() {
            worst = worst.max(watch.answered(&answer, &deployment.id, &[created.id]).await?);
        }
    }
    Ok(worst)
}

pub(super) async fn update(
    client: &Client,
    format: Format,
    file: &Path,
    replace: bool,
    change: Change,
) -> anyhow::Result<u8> {
    let definitions = read(file)?;
    let mut ids = Vec::new();
    for definition in &definitions {
        ids.push(id_of(definition)?);
    }
    let force = change.force;
    let watch = Watch::begin(client, format, change).await;
    let answer: Value = match (definitions.as_slice(), replace) {
        ([one], false) => {
            let path = format!("/v2/apps{}?force={force}", ids[0]);
            client.call(Api::Marathon, Method::PATCH, &path, Some(one)).await?
        }
        ([one], true) => {
            let path = format!("/v2/apps{}?partialUpdate=false&force={force}", ids[0]);
            client.call(Api::Marathon, Method::PUT, &path, Some(one)).await?
        }
        (many, false) => {
            let path = format!("/v2/apps?force={force}");
            client.call(Api::Marathon, Method::PATCH, &path, Some(&json!(many))).await?
        }
        (many, true) => {
            let path = format!("/v2/apps?partialUpdate=false&force={force}");
            client.call(Api::Marathon, Method::PUT, &path, Some(&json!(many))).await?
        }
    };
    let result = result(&answer)?;
    watch.answered(&answer, &result.deployment_id, &ids).await
}

pub(super) async fn scale(
    client: &Client,
    format: Format,
    given: &str,
    instances: u32,
    change: Change,
) -> anyhow::Result<u8> {
    let body = json!({"instances": instances});
    write(client, format, given, change, Method::PUT, "", Some(body)).await
}

pub(super) async fn restart(
    client: &Client,
    format: Format,
    given: &str,
    change: Change,
) -> anyhow::Result<u8> {
    write(client, format, given, change, Method::POST, "/restart", None).await
}

pub(super) async fn delete(
    client: &Client,
    format: Format,
    given: &str,
    change: Change,
) -> anyhow::Result<u8> {
    write(client, format, given, change, Method::DELETE, "", None).await
}

async fn write(
    client: &Client,
    format: Format,
    given: &str,
    change: Change,
    method: Method,
    suffix: &str,
    body: Option<Value>,
) -> anyhow::Result<u8> {
    let id = client.app_id(given).await?;
    let watch = Watch::begin(client, format, change).await;
    let path = format!("/v2/apps{id}{suffix}?force={}", change.force);
    let answer: Value = client.call(Api::Marathon, method, &path, body.as_ref()).await?;
    let result = result(&answer)?;
    watch.answered(&answer, &result.deployment_id, &[id]).await
}

fn result(answer: &Value) -> anyhow::Result<DeploymentResult> {
    DeploymentResult::deserialize(answer).context("failed to read which deployment was started")
}

/// The definitions in a file: one object or a list of them.
fn read(file: &Path) -> anyhow::Result<Vec<Value>> {
    let mut text = String::new();
    let result = if file == Path::new("-") {
        std::io::stdin().read_to_string(&mut text).map(|_| ())
    } else {
        std::fs::read_to_string(file).map(|read| text = read)
    };
    let name = file.display();
    result
        .with_context(|| Fault::new(format!("failed to read {name}")).code(USAGE_OR_PLACEMENT))?;
    parse(&text).with_context(|| {
        Fault::new(format!("{name} is not an app definition"))
            .fix("give one JSON object, or a list of them, each with an id")
            .code(USAGE_OR_PLACEMENT)
    })
}

fn parse(text: &str) -> anyhow::Result<Vec<Value>> {
    match serde_json::from_str(text)? {
        Value::Array(list) if !list.is_empty() => Ok(list),
        object @ Value::Object(_) => Ok(vec![object]),
        Value::Array(_) => anyhow::bail!("the list is empty"),
        _ => anyhow::bail!("it is neither an object nor a list"),
    }
}

fn id_of(definition: &Value) -> Result<String, Fault> {
    match definition.get("id").and_then(Value::as_str) {
        Some(id) if id.starts_with('/') => Ok(id.to_owned()),
        Some(id) if !id.is_empty() => Ok(format!("/{id}")),
        _ => Err(Fault::new("a definition has no id")
            .fix("give each object the id of the app to change")
            .code(USAGE_OR_PLACEMENT)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_holds_one_app_or_a_list() {
        assert_eq!(parse(r#"{"id":"/a"}"#).unwrap().len(), 1);
        assert_eq!(parse(r#"[{"id":"/a"},{"id":"b"}]"#).unwrap().len(), 2);
        for text in ["[]", "3", "{", ""] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn ids_get_their_slash() {
        assert_eq!(id_of(&json!({"id": "a/b"})).unwrap(), "/a/b");
        assert_eq!(id_of(&json!({"id": "/a"})).unwrap(), "/a");
        assert!(id_of(&json!({"id": 3})).is_err());
    }
}

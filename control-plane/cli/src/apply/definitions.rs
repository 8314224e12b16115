//! Definitions of apps in files.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::{Value, json};
use tepui_marathon::{App, AppId, PathId, Settings, decode_app};

use crate::client;
use crate::fault::{Fault, USAGE_OR_PLACEMENT};

/// The label that says whose an app is.
pub(crate) const OWNER_LABEL: &str = "TEPUI_OWNER";
/// Files are read whole.
const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

/// One app as a file declares it.
#[derive(Clone, Debug)]
pub(crate) struct Definition {
    /// Its absolute id.
    pub(crate) id: AppId,
    /// The words of the file.
    pub(crate) body: Value,
}

impl Definition {
    /// Takes one object of a file; `place` is where it stands.
    pub(crate) fn new(body: Value, place: &str) -> Result<Self, Fault> {
        let owned = body.get("labels").is_some_and(|labels| labels.get(OWNER_LABEL).is_some());
        if owned {
            return Err(wrong(format!("{place} has the label {OWNER_LABEL} of its own"))
                .fix(format!("leave it out: --owner sets {OWNER_LABEL}")));
        }
        let definition = Self { id: id_of(&body, place)?, body };
        definition.app(None).map_err(|why| wrong(format!("{place} is refused: {why}")))?;
        Ok(definition)
    }

    /// The app that this makes of what there is: without `instances` it keeps theirs, without a
    /// role its role, and service ports that nobody chose stay.
    pub(crate) fn app(&self, live: Option<&App>) -> Result<App, String> {
        let settings = Settings::default();
        let text = self.body.to_string();
        let refused = |rejection: tepui_marathon::Rejection| {
            serde_json::to_string(&rejection.body)
                .ok()
                .and_then(|body| client::message(&body))
                .unwrap_or_else(|| rejection.to_string())
        };
        let mut update =
            decode_app(text.as_bytes(), &PathId::root(), true, &settings).map_err(refused)?;
        update.instances = update.instances.or_else(|| live.map(|live| live.instances));
        let role = live.map(|live| &live.role);
        let mut app = update.complete(&self.id, None, role, &settings).map_err(refused)?;
        if let Some(live) = live {
            let numbers: Vec<u16> = app.service_ports().collect();
            let theirs: Vec<u16> = live.service_ports().collect();
            if numbers.len() == theirs.len() {
                let pairs = numbers.into_iter().zip(theirs);
                app.assign_service_ports(pairs.map(|(own, their)| match own {
                    0 => their,
                    own => own,
                }));
            }
        }
        Ok(app)
    }

    /// What is sent: the words of the file, the owner, and the instances that stay.
    pub(crate) fn request(&self, owner: &str, live: Option<&App>) -> Value {
        let mut body = self.body.clone();
        body["id"] = json!(self.id.to_string());
        match &mut body["labels"] {
            Value::Object(labels) => drop(labels.insert(OWNER_LABEL.to_owned(), json!(owner))),
            absent => *absent = json!({ OWNER_LABEL: owner }),
        }
        if let (None | Some(Value::Null), Some(live)) = (body.get("instances"), live) {
            body["instances"] = json!(live.instances);
        }
        body
    }
}

fn wrong(what: String) -> Fault {
    Fault::new(what).code(USAGE_OR_PLACEMENT)
}

fn id_of(body: &Value, place: &str) -> Result<AppId, Fault> {
    let Some(id) = body.get("id").and_then(Value::as_str).filter(|id| !id.is_empty()) else {
        return Err(wrong(format!("{place} has no id"))
            .fix("give each object the id of its app, such as \"/shop/cart\""));
    };
    let absolute = if id.starts_with('/') { id.to_owned() } else { format!("/{id}") };
    AppId::parse(&absolute).map_err(|error| wrong(format!("{place}: {error}")))
}

/// The definitions in files and folders, each app once and none below another. A folder without any
/// is a mistake.
pub(crate) fn read(paths: &[PathBuf]) -> anyhow::Result<Vec<Definition>> {
    let mut all = Vec::new();
    for path in paths {
        for file in files(path)? {
            let name = file.display().to_string();
            let text = text_of(&file).with_context(|| wrong(format!("failed to read {name}")))?;
            all.extend(check(&text, &name)?);
        }
    }
    Ok(fit(all)?)
}

/// The definitions by their ids, if they can all be there at once.
fn fit(all: Vec<(String, Definition)>) -> Result<Vec<Definition>, Fault> {
    let mut found: BTreeMap<AppId, (String, Definition)> = BTreeMap::new();
    for (place, definition) in all {
        let id = definition.id.clone();
        if let Some((first, _)) = found.get(&id) {
            return Err(wrong(format!("{id} is declared twice: {first}, and {place}"))
                .fix("leave one of the two"));
        }
        found.insert(id, (place, definition));
    }
    for (id, (place, _)) in &found {
        let above = id.ancestors().find_map(|group| found.get_key_value(&group));
        if let Some((app, (its_place, _))) = above {
            return Err(wrong(format!(
                "{place} makes {app} a group, and {its_place} makes it an app: it cannot be both"
            ))
            .fix(format!("call the app otherwise, such as {app}/main")));
        }
    }
    Ok(found.into_values().map(|(_, definition)| definition).collect())
}

/// The definitions in the text of one file, each with where it stands.
fn check(text: &str, name: &str) -> anyhow::Result<Vec<(String, Definition)>> {
    let value: Value = serde_json::from_str(text).with_context(|| {
        wrong(format!("{name} is not JSON")).fix("give one app, or a list of them")
    })?;
    let list = match value {
        Value::Array(list) => list,
        object @ Value::Object(_) => vec![object],
        _ => {
            return Err(wrong(format!("{name} is neither an app nor a list of them")).into());
        }
    };
    list.into_iter()
        .enumerate()
        .map(|(index, body)| {
            let id = body.get("id").and_then(Value::as_str).unwrap_or("without an id");
            let place = format!("{name}: app {} ({id})", index + 1);
            let definition = Definition::new(body, &place)?;
            Ok((place, definition))
        })
        .collect()
}

fn text_of(file: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    if file == Path::new("-") {
        std::io::stdin().lock().take(MAX_FILE_BYTES).read_to_string(&mut text)?;
    } else {
        std::fs::File::open(file)?.take(MAX_FILE_BYTES).read_to_string(&mut text)?;
    }
    Ok(text)
}

fn files(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let name = path.display();
    let unreadable = || wrong(format!("failed to read the folder {name}"));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).with_context(unreadable)? {
        let file = entry.with_context(unreadable)?.path();
        if file.extension().is_some_and(|ending| ending == "json") {
            files.push(file);
        }
    }
    if files.is_empty() {
        return Err(wrong(format!("the folder {name} has no definitions"))
            .fix("definitions are files whose names end in .json")
            .into());
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> String {
        let read = check(text, "apps.json").and_then(|all| Ok(fit(all)?));
        crate::fault::show(&read.unwrap_err())
    }

    #[test]
    fn what_the_cluster_would_refuse_is_refused_before_it_is_asked() {
        let error = said(r#"[{"id":"/a","cmd":"exec x"},{"id":"/b","cmd":"exec x","cpus":-1}]"#);
        assert!(error.contains("apps.json: app 2 (/b) is refused"), "{error}");
        assert!(error.contains("/cpus"), "{error}");
    }

    #[test]
    fn an_app_needs_an_id_and_its_owner_comes_from_the_command_line() {
        assert!(said(r#"{"cmd":"exec x"}"#).contains("has no id"));
        let error = said(r#"{"id":"a","cmd":"exec x","labels":{"TEPUI_OWNER":"me"}}"#);
        assert!(error.contains("fix: leave it out: --owner sets TEPUI_OWNER"), "{error}");
    }

    #[test]
    fn an_app_is_declared_once() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.json", "b.json"] {
            std::fs::write(folder.path().join(name), r#"{"id":"/web","cmd":"exec x"}"#).unwrap();
        }
        let error = read(&[folder.path().to_owned()]).unwrap_err();
        assert!(error.to_string().contains("/web is declared twice"), "{error}");
        for place in ["a.json: app 1 (/web)", "b.json: app 1 (/web)"] {
            assert!(error.to_string().contains(place), "{error}");
        }
    }

    #[test]
    fn no_app_is_declared_below_another() {
        for (deep, sign) in [("/q/x", "(/q/x)"), ("q/x/y", "(q/x/y)")] {
            let error = said(&format!(
                r#"[{{"id":"{deep}","cmd":"exec x"}},{{"id":"/qa","cmd":"exec x"}},{{"id":"/q","cmd":"exec x"}}]"#
            ));
            let both = format!(
                "apps.json: app 1 {sign} makes /q a group, and apps.json: app 3 (/q) makes it an app"
            );
            assert!(error.contains(&both), "{error}");
            assert!(error.contains("fix: call the app otherwise, such as /q/main"), "{error}");
        }
    }

    #[test]
    fn a_folder_without_definitions_is_a_mistake_and_a_missing_file_too() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("notes.txt"), "[]").unwrap();
        let empty = read(&[folder.path().to_owned()]).unwrap_err();
        assert!(empty.to_string().contains("has no definitions"), "{empty}");
        let missing = read(&[folder.path().join("gone.json")]).unwrap_err();
        assert_eq!(crate::fault::code(&missing), USAGE_OR_PLACEMENT);
    }
}

//! What the operator says of plugins.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tepui_plugin_abi::Kind;

use crate::{Board, Refused, Runner, library};

/// Longest time that a call may take unless the operator says otherwise.
const BUDGET: Duration = Duration::from_secs(1);
/// Longest time budget that makes sense: longer, and the daemon looks dead to others.
const MOST_BUDGET_MS: u64 = 60_000;
/// Longest name.
const NAME_BYTES: usize = 64;

/// One table `[plugins.NAME]`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PluginSettings {
    /// SHA-256 of its file, 64 hexadecimal digits.
    pub sha256: Option<String>,
    /// Milliseconds that a call may take [default: 1000].
    pub budget_ms: Option<u64>,
    /// Whatever the plugin itself understands.
    pub settings: toml::Table,
}

/// Where plugins are, and what the operator says of each.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shelf {
    dir: Option<PathBuf>,
    by_name: BTreeMap<String, PluginSettings>,
    /// The one plugin whose file is not named after it.
    file: Option<(String, PathBuf)>,
    /// The folder becomes another host's: who owns it here says nothing.
    is_elsewhere: bool,
}

/// True for a name that is safe in a path: lower-case letters, digits and hyphens.
fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !name.is_empty() && name.len() <= NAME_BYTES && name.bytes().all(allowed)
}

impl Shelf {
    /// Checks what the operator says.
    ///
    /// # Errors
    ///
    /// What is wrong, and what would be right.
    pub fn new(
        dir: Option<PathBuf>,
        by_name: BTreeMap<String, PluginSettings>,
    ) -> Result<Self, String> {
        if let Some(dir) = dir.as_ref().filter(|dir| !dir.is_absolute()) {
            return Err(format!("plugin_dir = {} is not an absolute path", dir.display()));
        }
        for (name, one) in &by_name {
            if !is_name(name) {
                return Err(format!(
                    "[plugins.{name:?}] names no plugin: names are lower-case letters, digits and '-'"
                ));
            }
            let hex = |hash: &String| {
                hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
            };
            if let Some(hash) = one.sha256.as_ref().filter(|hash| !hex(hash)) {
                return Err(format!(
                    "[plugins.{name}] sha256 = {hash:?} is not 64 hexadecimal digits, as \
                     sha256sum prints them"
                ));
            }
            if let Some(budget) = one.budget_ms.filter(|ms| !(1..=MOST_BUDGET_MS).contains(ms)) {
                return Err(format!(
                    "[plugins.{name}] budget_ms = {budget} is not within 1 to {MOST_BUDGET_MS}"
                ));
            }
        }
        Ok(Self { dir, by_name, file: None, is_elsewhere: false })
    }

    /// The same of the plugins in another folder. `is_elsewhere`: it becomes the folder of another host,
    /// and so whoever owns it here may.
    #[must_use]
    pub fn in_folder(self, folder: PathBuf, is_elsewhere: bool) -> Self {
        Self { dir: Some(folder), is_elsewhere, ..self }
    }

    /// What `check-config` finds wrong: something said of no plugin, or one of `named`, which are those
    /// that the configuration puts in force, that a daemon would not take. With `is_elsewhere` the
    /// configuration is another host's, and only what is in `folder` can be looked at; on the own host
    /// that is looked at in place of the configured folder.
    ///
    /// # Errors
    ///
    /// What is wrong, in one line.
    pub fn check(
        self,
        kind: Kind,
        named: &[&str],
        folder: Option<&Path>,
        is_elsewhere: bool,
    ) -> Result<(), String> {
        let is_here = folder.is_some() || !is_elsewhere;
        let shelf = match folder.map(std::path::absolute) {
            Some(Ok(folder)) => self.in_folder(folder, is_elsewhere),
            Some(Err(error)) => return Err(format!("the folder of plugins is none: {error}")),
            None => self,
        };
        shelf.check_tables(named)?;
        let looked_at = if is_here { named } else { &[] };
        looked_at.iter().try_for_each(|name| shelf.try_plugin(name, kind))
    }

    /// The same with a plugin whose file is named, as cargo built it: its own name is the one on its
    /// card, which comes with it.
    ///
    /// # Errors
    ///
    /// Why nobody would take that file, in one line.
    pub fn with_file(self, file: &Path) -> Result<(Self, String), Refused> {
        let name = library::named(file, self.minds_owners())?;
        let file = Some((name.clone(), file.to_owned()));
        Ok((Self { file, ..self }, name))
    }

    /// The same, but that the plugin has these settings.
    #[must_use]
    pub fn with_settings(mut self, name: &str, settings: toml::Table) -> Self {
        self.by_name.entry(name.to_owned()).or_default().settings = settings;
        self
    }

    /// The settings of a plugin as it is opened with, in JSON; empty when nothing is said.
    #[must_use]
    pub fn settings_json(&self, name: &str) -> String {
        self.settings(name).json()
    }

    /// Whether the folder has a file of a plugin of this name.
    #[must_use]
    pub fn has_file(&self, name: &str) -> bool {
        self.path(name).is_ok_and(|path| path.exists())
    }

    /// Loads and opens a plugin as a daemon would, with its settings, and asks nothing of it.
    ///
    /// # Errors
    ///
    /// Why a daemon would not take it, in one line.
    pub fn try_plugin(&self, name: &str, kind: Kind) -> Result<(), String> {
        let board = Arc::new(Board::new().map_err(|error| error.to_string())?);
        Runner::start(self, name, kind, 0, &board).map(drop).map_err(|why| why.to_string())
    }

    /// Whether a plugin of this name could be here at all.
    ///
    /// # Errors
    ///
    /// Why not, and what would be right.
    pub fn check_name(&self, name: &str) -> Result<(), String> {
        self.path(name).map(|_| ())
    }

    /// Whether everything that the operator says is said of a plugin: of one of `named`, which are
    /// those that the configuration puts in force, or of one whose file is in the folder, which another
    /// configuration may put in force. What is said of a name that is misspelt would hold for nobody.
    ///
    /// # Errors
    ///
    /// The first name that is none of them, and which would be right.
    pub fn check_tables(&self, named: &[&str]) -> Result<(), String> {
        let is_known =
            |name: &str| named.contains(&name) || self.path(name).is_ok_and(|path| path.exists());
        let Some(stray) = self.by_name.keys().find(|name| !is_known(name)) else { return Ok(()) };
        let mut right = self.names();
        right.extend(named.iter().map(|&name| name.to_owned()));
        let right = if right.is_empty() {
            "there is none that it could be of".to_owned()
        } else {
            format!("right would be {}", Vec::from_iter(right).join(", "))
        };
        let folder = match &self.dir {
            Some(dir) => format!("is in plugin_dir = \"{}\"", dir.display()),
            None => "can be here without plugin_dir".to_owned(),
        };
        Err(format!(
            "[plugins.{stray}] is of no plugin: none of that name is put in force, and none {folder}; \
             {right}"
        ))
    }

    /// The names of plugins whose files are in the folder, as far as it can be read.
    fn names(&self) -> BTreeSet<String> {
        let files = self.dir.iter().filter_map(|dir| dir.read_dir().ok()).flatten().flatten();
        let named = files.filter_map(|file| {
            let file = file.file_name().into_string().ok()?;
            let stem = file.strip_suffix(".so")?;
            let built = stem.strip_prefix("lib").map(|stem| stem.replace('_', "-"));
            Some(built.unwrap_or_else(|| stem.to_owned()))
        });
        named.filter(|name| is_name(name)).collect()
    }

    /// Whether the operator has put a plugin of this name here, or says something of one.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.by_name.contains_key(name) || self.has_file(name)
    }

    /// The path of a plugin, which need not be there, or why it has none.
    pub(crate) fn path(&self, name: &str) -> Result<PathBuf, String> {
        if !is_name(name) {
            let why = "is no name of a plugin: lower-case letters, digits and '-'";
            return Err(format!("{name:?} {why}"));
        }
        if let Some((_, file)) = self.file.as_ref().filter(|(only, _)| only == name) {
            return Ok(file.clone());
        }
        let Some(dir) = &self.dir else {
            return Err("plugin_dir says in which folder plugins are, and is not set".to_owned());
        };
        let built = dir.join(format!("lib{}.so", name.replace('-', "_")));
        Ok(if built.exists() { built } else { dir.join(format!("{name}.so")) })
    }

    /// Whether root, or this very user, has to own its files.
    pub(crate) fn minds_owners(&self) -> bool {
        !self.is_elsewhere
    }

    /// What the operator says of a plugin.
    pub(crate) fn settings(&self, name: &str) -> PluginSettings {
        self.by_name.get(name).cloned().unwrap_or_default()
    }
}

impl PluginSettings {
    /// Longest time that a call may take.
    pub(crate) fn budget(&self) -> Duration {
        self.budget_ms.map_or(BUDGET, Duration::from_millis)
    }

    /// What the plugin is opened with, as JSON.
    pub(crate) fn json(&self) -> String {
        if self.settings.is_empty() {
            return String::new();
        }
        serde_json::to_string(&self.settings).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Result<Shelf, String> {
        let tables: BTreeMap<String, PluginSettings> = toml::from_str(text).unwrap();
        Shelf::new(Some("/plugins".into()), tables)
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_what_would() {
        assert!(one("['../x']").unwrap_err().contains("lower-case"));
        assert!(one("[x]\nsha256 = 'abc'").unwrap_err().contains("64 hexadecimal digits"));
        assert!(one("[x]\nbudget_ms = 0").unwrap_err().contains("1 to 60000"));
        assert!(Shelf::new(Some("here".into()), BTreeMap::new()).unwrap_err().contains("absolute"));
        assert!(toml::from_str::<PluginSettings>("hash = ''").is_err());
    }

    #[test]
    fn names_lead_into_the_folder_and_nowhere_else() {
        let shelf = one("").unwrap();
        assert_eq!(shelf.path("bin-pack").unwrap(), PathBuf::from("/plugins/bin-pack.so"));
        for bad in ["", "../x", "a/b", "A", &"x".repeat(65)] {
            assert!(shelf.path(bad).is_err(), "{bad}");
        }
        assert!(Shelf::default().path("x").unwrap_err().contains("plugin_dir"));
    }

    #[test]
    fn what_is_said_of_a_name_that_no_plugin_has_is_refused_with_those_that_have_one() {
        let folder = tempfile::tempdir().unwrap();
        for file in ["binpack.so", "libbin_sort.so", "README", "Not A Name.so"] {
            std::fs::write(folder.path().join(file), "").unwrap();
        }
        let check = |dir: Option<&std::path::Path>, table: &str| {
            let tables = BTreeMap::from([(table.to_owned(), PluginSettings::default())]);
            let shelf = Shelf::new(dir.map(Into::into), tables).unwrap();
            shelf.check_tables(&["priority"]).err()
        };
        for right in ["priority", "binpack", "bin-sort"] {
            assert_eq!(check(Some(folder.path()), right), None, "{right}");
        }
        let why = check(Some(folder.path()), "prioritty").unwrap();
        assert!(why.starts_with("[plugins.prioritty] is of no plugin"), "{why}");
        assert!(why.contains(folder.path().to_str().unwrap()), "{why}");
        assert!(why.ends_with("; right would be bin-sort, binpack, priority"), "{why}");
        let why = check(Some("/not/there".as_ref()), "binpack").unwrap();
        assert!(why.ends_with("; right would be priority"), "{why}");
        let why = one("[x]").unwrap().check_tables(&[]).unwrap_err();
        assert!(why.ends_with("; there is none that it could be of"), "{why}");
        assert!(check(None, "x").unwrap().contains("without plugin_dir"));
    }

    #[test]
    fn settings_are_passed_on_as_json() {
        let shelf = one("[x]\nbudget_ms = 5\n[x.settings]\na = [1, 'two']").unwrap();
        assert_eq!(shelf.settings("x").json(), r#"{"a":[1,"two"]}"#);
        assert_eq!(shelf.settings("x").budget(), Duration::from_millis(5));
        assert_eq!(shelf.settings("y").json(), "");
        assert_eq!(shelf.settings("y").budget(), BUDGET);
    }
}

//! Which sandbox a virtual path means: its absolute path, the same with `latest` in place of the
//! run, or `/frameworks/<id>/executors/<id>/runs/<run or latest>`.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use tepui_agent::Agent;

/// A place in a sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Absolute path of the sandbox.
    pub(crate) sandbox: PathBuf,
    /// The rest of the path, relative to it.
    pub(crate) rest: PathBuf,
}

/// One sandbox as far as names go.
#[derive(Clone, Copy, Debug)]
struct Sandbox<'a> {
    /// Relative to the work directory.
    path: &'a str,
    /// Newer ones are larger; live ones the largest.
    age: u64,
}

/// Finds the sandbox that the path begins with.
pub(crate) fn locate(agent: &Agent, work_dir: &Path, path: &str) -> Option<Found> {
    find(sandboxes(agent), work_dir, path)
}

fn sandboxes(agent: &Agent) -> impl Iterator<Item = Sandbox<'_>> {
    agent.runs().filter(|(_, run)| !run.sandbox.is_empty()).map(|(_, run)| Sandbox {
        path: &run.sandbox,
        age: run.exit.as_ref().map_or(u64::MAX, |(_, at)| at.as_nanos()),
    })
}

fn find<'a>(
    sandboxes: impl Iterator<Item = Sandbox<'a>>,
    work_dir: &Path,
    path: &str,
) -> Option<Found> {
    let asked = plain_parts(path)?;
    let work: Vec<&str> = work_dir.to_str()?.split('/').filter(|part| !part.is_empty()).collect();
    let below_work = asked.strip_prefix(work.as_slice());
    let mut latest: Option<(u64, Found)> = None;
    for sandbox in sandboxes {
        let own: Vec<&str> = sandbox.path.split('/').collect();
        let virtual_own = own.iter().position(|part| *part == "frameworks").map(|at| &own[at..]);
        let absolute = below_work.and_then(|asked| matching(asked, &own));
        let by_ids = || virtual_own.and_then(|own| matching(&asked, own));
        let Some((rest, exact)) = absolute.or_else(by_ids) else { continue };
        let found = Found { sandbox: work_dir.join(sandbox.path), rest: rest.iter().collect() };
        if exact {
            return Some(found);
        }
        if latest.as_ref().is_none_or(|(age, _)| sandbox.age >= *age) {
            latest = Some((sandbox.age, found));
        }
    }
    latest.map(|(_, found)| found)
}

/// The parts behind the sandbox, and whether the run was named or `latest`.
fn matching<'p, 'a>(asked: &'p [&'a str], own: &[&str]) -> Option<(&'p [&'a str], bool)> {
    let (run, above) = own.split_last()?;
    let (begin, rest) = asked.split_at_checked(above.len())?;
    let (named, rest) = rest.split_first()?;
    if !begin.iter().zip(above).all(|(asked, own)| asked == own) {
        return None;
    }
    if named == run {
        return Some((rest, true));
    }
    (*named == "latest").then_some((rest, false))
}

/// The path's parts; none for one with `..` or a NUL byte.
fn plain_parts(path: &str) -> Option<Vec<&str>> {
    if path.contains('\0') {
        return None;
    }
    let mut parts = Vec::new();
    for part in Path::new(path).components() {
        match part {
            Component::Normal(part) => parts.push(part.to_str()?),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    Some(parts)
}

/// Every name of every sandbox.
pub(crate) fn names(agent: &Agent, work_dir: &Path) -> BTreeMap<String, String> {
    let mut names = BTreeMap::new();
    for sandbox in sandboxes(agent) {
        let real = work_dir.join(sandbox.path).display().to_string();
        if let Some(at) = sandbox.path.find("frameworks/")
            && sandbox.age == u64::MAX
            && let Some((above, _)) = sandbox.path[at..].rsplit_once('/')
        {
            names.insert(format!("/{above}/latest"), real.clone());
        }
        names.insert(real.clone(), real);
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str) -> Option<(String, String)> {
        let sandboxes = [
            Sandbox { path: "slaves/A/frameworks/F/executors/E/runs/old", age: 5 },
            Sandbox { path: "slaves/A/frameworks/F/executors/E/runs/live", age: u64::MAX },
            Sandbox { path: "slaves/A/frameworks/F/executors/done/runs/1", age: 5 },
            Sandbox { path: "slaves/A/frameworks/F/executors/done/runs/2", age: 9 },
        ];
        let found = find(sandboxes.into_iter(), Path::new("/var/lib/t"), path)?;
        let run = found.sandbox.file_name()?.to_str()?.to_owned();
        Some((run, found.rest.to_str()?.to_owned()))
    }

    #[test]
    fn sandboxes_are_found_by_all_their_names() {
        let own = "/var/lib/t/slaves/A/frameworks/F/executors";
        for (path, run, rest) in [
            (format!("{own}/E/runs/old"), "old", ""),
            (format!("{own}/E/runs/old/a/b"), "old", "a/b"),
            (format!("{own}/E/runs/latest/stdout"), "live", "stdout"),
            (format!("{own}/done/runs/latest"), "2", ""),
            ("/frameworks/F/executors/E/runs/latest/x".to_owned(), "live", "x"),
            ("/frameworks/F/executors/E/runs/old/./x/".to_owned(), "old", "x"),
        ] {
            assert_eq!(found(&path), Some((run.to_owned(), rest.to_owned())), "{path}");
        }
    }

    #[test]
    fn nothing_else_has_a_name() {
        for path in [
            "",
            "/",
            "/etc/passwd",
            "/var/lib/t",
            "/var/lib/t/meta/journal",
            "/var/lib/t/slaves/A/frameworks/F/executors/E/runs",
            "/var/lib/t/slaves/A/frameworks/F/executors/E/runs/other",
            "/var/lib/t/slaves/A/frameworks/F/executors/E/runs/live/../../x",
            "/frameworks/F/executors/E/runs/live/../old",
            "/frameworks/G/executors/E/runs/latest",
            "/frameworks/F/executors/E/runs/latest\0",
        ] {
            assert_eq!(found(path), None, "{path:?}");
        }
    }
}

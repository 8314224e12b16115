//! Every script plays as its golden transcript says. `UPDATE_GOLDEN=1` writes them anew; the
//! change is then reviewed as a diff.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

#[test]
fn scripts_play_as_their_transcripts_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "txt"))
        .collect();
    names.sort();
    assert!(names.len() >= 6);
    for path in names {
        let story = tepui_sim::play(&fs::read_to_string(&path).unwrap()).unwrap();
        let story = format!("{}\n", story.join("\n"));
        let golden = path.with_extension("golden");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&golden, &story).unwrap();
        }
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        assert!(story == expected, "{} plays differently:\n{story}", path.display());
    }
}

#[test]
fn a_line_that_means_nothing_is_named() {
    let error = tepui_sim::play("agents 1 cpus:1\nat 3s sing").unwrap_err();
    assert_eq!(error.to_string(), "line 2 of the script means nothing: \"at 3s sing\"");
}

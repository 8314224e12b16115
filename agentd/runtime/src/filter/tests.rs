#![allow(clippy::unwrap_used)]

use super::*;

fn filter(text: &str) -> LinuxSeccomp {
    serde_json::from_str(text).unwrap()
}

fn refusing(name: &str) -> LinuxSeccomp {
    filter(&format!(
        r#"{{"defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{{"names": ["{name}"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77}}]}}"#
    ))
}

#[test]
fn a_kept_program_is_what_libseccomp_makes() {
    let folder = tempfile::tempdir().unwrap();
    let made = Program::of(&refusing("getuid"), None).unwrap();
    assert_eq!(Program::of(&refusing("getuid"), Some(folder.path())).unwrap(), made);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    assert_eq!(Program::of(&refusing("getuid"), Some(folder.path())).unwrap(), made);
    assert_ne!(Program::of(&refusing("getgid"), Some(folder.path())).unwrap(), made);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn what_a_crash_left_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let made = Program::of(&refusing("getuid"), Some(folder.path())).unwrap();
    let file = fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
    let whole = fs::read(&file).unwrap();
    let other = Program::of(&refusing("getgid"), None).unwrap().sealed();
    let mixed = [&whole[..SHA256_OUTPUT_LEN], &other[SHA256_OUTPUT_LEN..]].concat();
    for broken in [&[][..], &whole[..20], &whole[..whole.len() - 8], &mixed] {
        fs::write(&file, broken).unwrap();
        assert_eq!(Program::of(&refusing("getuid"), Some(folder.path())).unwrap(), made);
        assert_eq!(fs::read(&file).unwrap(), whole);
    }
}

#[test]
fn the_number_of_kept_programs_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..MAX_KEPT + 6 {
        let mut wanted = refusing("getuid");
        wanted.set_default_errno_ret(Some(u32::try_from(number).unwrap()));
        Program::of(&wanted, Some(folder.path())).unwrap();
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), MAX_KEPT);
}

#[test]
fn a_place_that_cannot_be_written_costs_nothing_but_time() {
    let made = Program::of(&refusing("getuid"), None).unwrap();
    assert_eq!(Program::of(&refusing("getuid"), Some(Path::new("/proc/none"))).unwrap(), made);
}

#[test]
fn who_asks_somebody_else_decides_nothing() {
    assert!(decides(&refusing("getuid")));
    assert!(!decides(&filter(
        r#"{"defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": ["getuid"], "action": "SCMP_ACT_NOTIFY"}]}"#
    )));
}

use std::fs;
use std::os::unix::fs::symlink;

use rustix::fs::{Mode, OFlags};

use super::*;

fn measure(folder: &Path) -> io::Result<u64> {
    Count::default().go_on(folder, Path::new("/no/such/folder"), usize::MAX)
}

fn write(file: &Path, bytes: usize) {
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, vec![7; bytes]).unwrap();
}

#[test]
fn every_file_counts_once_and_links_lead_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let empty = measure(folder.path()).unwrap();
    let data = folder.path().join("a/b/data");
    write(&data, 100_000);
    for name in 0..50 {
        fs::hard_link(&data, folder.path().join(format!("again{name}"))).unwrap();
    }
    symlink("/usr", folder.path().join("out")).unwrap();
    let full = measure(folder.path()).unwrap();
    assert!((100_000..200_000).contains(&(full - empty)), "{full} - {empty}");
    assert!(measure(Path::new("/no/such/folder")).is_err());
}

#[test]
fn what_is_written_beside_the_sandbox_counts_too() {
    let (sandbox, beside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let before = measure(sandbox.path()).unwrap();
    write(&beside.path().join("upper/var/big"), 300_000);
    let du = Du::default();
    let both = du.disk_usage(sandbox.path(), beside.path()).unwrap().unwrap();
    assert!(both - before >= 300_000, "{both}");
    let alone = du.disk_usage(sandbox.path(), Path::new("/no/such/folder")).unwrap().unwrap();
    assert_eq!(alone, before);
}

#[test]
fn no_depth_hides_anything() {
    let folder = tempfile::tempdir().unwrap();
    let empty = measure(folder.path()).unwrap();
    // Deeper than a path can be, a file beside each folder: nothing is only on the way.
    let mut below = rustix::fs::open(folder.path(), OFlags::DIRECTORY, Mode::empty()).unwrap();
    for _ in 0..700 {
        for name in ["beside", "deeper"] {
            rustix::fs::mkdirat(&below, name, Mode::RWXU).unwrap();
        }
        write_at(&below, "beside/file", 4096);
        below = rustix::fs::openat(&below, "deeper", OFlags::DIRECTORY, Mode::empty()).unwrap();
    }
    write_at(&below, "deepest", 200_000);
    let full = measure(folder.path()).unwrap();
    assert!(full - empty >= 700 * 4096 + 200_000, "{full}");
    assert!(full - empty < 4 * (700 * 4096 + 200_000), "counted twice: {full}");
    remove_levels(folder.path());
}

fn write_at(at: impl std::os::fd::AsFd, name: &str, bytes: usize) {
    use std::io::Write;
    let flags = OFlags::CREATE | OFlags::WRONLY;
    let file = rustix::fs::openat(at, name, flags, Mode::RUSR | Mode::WUSR).unwrap();
    fs::File::from(file).write_all(&vec![7; bytes]).unwrap();
}

/// Takes the chain apart from above, for paths do not reach its end.
fn remove_levels(folder: &Path) {
    let at = folder.join("deeper");
    let aside = folder.join("aside");
    while at.exists() {
        let _ = fs::remove_dir_all(&aside);
        fs::rename(at.join("deeper"), &aside).unwrap_or_default();
        fs::remove_dir_all(&at).unwrap();
        if !aside.exists() {
            break;
        }
        fs::rename(&aside, &at).unwrap();
    }
}

#[test]
fn a_count_of_many_files_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    for name in 0..40 {
        write(&folder.path().join(format!("{}/{name}", name % 7)), 8192);
    }
    let whole = measure(folder.path()).unwrap();
    let nothing = Path::new("/no/such/folder");
    let mut count = Count::default();
    let mut turns = 0;
    let mut known = Vec::new();
    while known.is_empty() || count.unfinished.is_some() {
        known.push(count.go_on(folder.path(), nothing, 5).unwrap());
        turns += 1;
        assert!(turns < 100);
    }
    assert!(turns > 5 && known.is_sorted(), "{known:?}");
    assert_eq!(known.last(), Some(&whole));
    // The next count begins with less, and what is known stays.
    assert_eq!(count.go_on(folder.path(), nothing, 5).unwrap(), whole);
}

//! Tasks that exchange what other containers are about to be shown (F-69, T-39; CVE-2017-1002101,
//! CVE-2021-25741). Each of these lets the host out within a few starts where a path is looked at and
//! then mounted by its name.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use tepui_container::{Order, OrderMount, OrderSource};

use crate::rig::{Ended, Host, host, is_able};

const STARTS: usize = 30;
/// What the host has at its root and no image of these tests.
const MARK: &str = "/usr/sbin";

fn mounted(host: &Host) -> usize {
    let place = host.path("").display().to_string();
    fs::read_to_string("/proc/self/mountinfo").unwrap().matches(&place).count()
}

/// Starts containers while a folder and the link beside it are exchanged.
fn race(host: &Host, folder: &Path) -> Vec<Ended> {
    let link = folder.with_file_name("link");
    let before = mounted(host);
    let over = AtomicBool::new(false);
    let ended = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let _ = renameat_with(CWD, folder, CWD, &link, RenameFlags::EXCHANGE);
            }
        });
        let ended = (0..STARTS).map(|_| host.run()).collect();
        over.store(true, Ordering::Relaxed);
        ended
    });
    assert_eq!(mounted(host), before, "nothing is mounted where the host sees it");
    ended
}

/// Each was shown its own folder, or refused because of the link. One at least was started, else
/// nothing was tried.
fn judge(ended: &[Ended]) {
    let of_host = ended.iter().filter(|one| one.out.contains("host")).count();
    assert_eq!(of_host, 0, "so many of {STARTS} were shown what is not theirs");
    for one in ended {
        let refused = ["a link is in the way", "symbolic links", "leads to '/'"];
        let is_refused = refused.iter().any(|why| one.refusal.contains(why));
        assert!(one.out == "own\n" || is_refused, "{} {} {}", one.out, one.refusal, one.err);
    }
    assert!(ended.iter().any(|one| one.status.success()));
}

/// A host on which a volume at `/vol` is shown, with a file in the folder that it is.
fn showing(
    folder: impl FnOnce(&Host) -> PathBuf,
    change: impl FnOnce(&mut Order),
) -> (Host, PathBuf) {
    let host = host();
    let folder = folder(&host);
    fs::create_dir_all(&folder).unwrap();
    symlink("/", folder.with_file_name("link")).unwrap();
    fs::write(folder.join("own"), "").unwrap();
    let line = format!("test -e /vol{MARK} && echo host; ls /vol");
    (host.shell(&line).with(change), folder)
}

fn at_vol(source: OrderSource) -> Vec<OrderMount> {
    vec![OrderMount { source, target: "/vol".into(), read_only: false }]
}

#[test]
fn a_sandbox_volume_that_is_exchanged_for_a_link_shows_nothing_else() {
    if !is_able() {
        return;
    }
    let (host, folder) = showing(
        |host| host.path("sandbox/shared"),
        |order| {
            let folder = order.sandbox.clone();
            order.mounts = at_vol(OrderSource::Below { folder, path: "shared".into() });
        },
    );
    judge(&race(&host, &folder));
}

#[test]
fn a_volume_of_the_host_that_is_exchanged_for_a_link_stays_among_the_operators_folders() {
    if !is_able() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("shared");
    let (host, folder) = showing(
        |_| path.clone(),
        |order| {
            order.host_folders = Some(vec![place.path().to_owned()]);
            let path = path.clone();
            order.mounts = at_vol(OrderSource::Host { path, create: false, follows_host: false });
        },
    );
    judge(&race(&host, &folder));
}

#[test]
fn the_sandbox_of_a_container_below_another_is_its_own_whatever_the_other_exchanges() {
    if !is_able() {
        return;
    }
    let host = host();
    let above = host.path("sandbox/containers");
    let sandbox = above.join("below");
    fs::create_dir_all(&sandbox).unwrap();
    fs::write(sandbox.join("own"), "").unwrap();
    // What the link leads to has a folder of that name too.
    let elsewhere = host.path("elsewhere");
    fs::create_dir_all(elsewhere.join("below")).unwrap();
    fs::write(elsewhere.join("below/host"), "").unwrap();
    symlink(&elsewhere, host.path("sandbox/link")).unwrap();
    let host = host.shell("ls /mnt/mesos/sandbox").with(|order| {
        order.user = Some("web".into());
        order.sandbox = sandbox;
    });
    judge(&race(&host, &above));
    let owner =
        std::os::unix::fs::MetadataExt::uid(&fs::metadata(elsewhere.join("below")).unwrap());
    assert_eq!(owner, 0, "a folder elsewhere was given away");
}

#[test]
fn what_is_mounted_for_a_container_ends_with_it_though_the_runtime_is_killed() {
    if !is_able() {
        return;
    }
    let (host, _) = showing(
        |host| host.path("sandbox/shared"),
        |order| {
            let folder = order.sandbox.clone();
            order.mounts = at_vol(OrderSource::Below { folder, path: "shared".into() });
        },
    );
    let before = mounted(&host);
    let host = host.shell("echo up; while :; do sleep 0.05; done");
    let mut running = host.start();
    assert_eq!(running.line(), "up");
    assert_eq!(mounted(&host), before, "the host sees none of it");
    running.signal(nix::sys::signal::Signal::SIGKILL);
    running.end();
    assert_eq!(mounted(&host), before);
    fs::remove_dir_all(host.bundle()).unwrap();
    fs::remove_dir_all(host.scratch()).unwrap();
    assert!(
        host.path("sandbox/shared/own").exists(),
        "what was shown is not the container's to remove"
    );
}

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tepui_container::{EtcFiles, OrderMount, OrderSource, Root};

use crate::rig::{host, is_able};

fn mount(source: OrderSource, target: &str, read_only: bool) -> OrderMount {
    OrderMount { source, target: target.into(), read_only }
}

#[test]
fn volumes_show_the_host_the_sandbox_and_memory() {
    if !is_able() {
        return;
    }
    let host = host();
    fs::create_dir(host.path("data")).unwrap();
    fs::write(host.path("data/file"), "from the host\n").unwrap();
    let data = host.path("data");
    let at = |path, create| OrderSource::Host { path, create, follows_host: false };
    let made = host.path("made/by/it");
    let kept = OrderSource::Below { folder: host.path("sandbox"), path: "kept".into() };
    let host = host
        .shell(
            "cat /data/file; touch /data/x || echo read-only; echo mine > /mnt/mesos/sandbox/work/f; \
             echo new > /made/f; stat -f -c %T /scratch",
        )
        .with(|order| {
            order.mounts = vec![
                mount(at(data, false), "/data", true),
                mount(kept, "/mnt/mesos/sandbox/work", false),
                mount(at(made, true), "/made", false),
                mount(OrderSource::Tmpfs(vec!["size=64k".into()]), "/scratch", false),
            ];
        });
    assert_eq!(host.run().printed(), "from the host\nread-only\ntmpfs\n");
    assert_eq!(fs::read_to_string(host.path("sandbox/kept/f")).unwrap(), "mine\n");
    assert_eq!(fs::read_to_string(host.path("made/by/it/f")).unwrap(), "new\n");
}

/// A folder with a file system of its own, whose mounts namespaces share.
struct Shared(PathBuf);

impl Shared {
    fn new(folder: PathBuf) -> Self {
        fs::create_dir(&folder).unwrap();
        on_host("mount", &["-t", "tmpfs", "tmpfs"], &folder);
        on_host("mount", &["--make-shared"], &folder);
        Self(folder)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        on_host("umount", &["-R"], &self.0);
    }
}

fn on_host(tool: &str, flags: &[&str], folder: &Path) {
    let status = Command::new(tool).args(flags).arg(folder).status().unwrap();
    assert!(status.success(), "{tool} {flags:?} {}", folder.display());
}

#[test]
fn a_volume_that_follows_the_host_shows_what_is_mounted_there_later() {
    if !is_able() {
        return;
    }
    let host = host();
    let data = Shared::new(host.path("data"));
    let later = data.0.join("later");
    fs::create_dir(&later).unwrap();
    let path = data.0.clone();
    let source = OrderSource::Host { path, create: false, follows_host: true };
    let host = host
        .shell("echo begun; while ! test -e /data/later/file; do sleep 0.05; done; cat /data/later/file")
        .with(|order| order.mounts = vec![mount(source, "/data", true)]);
    let mut running = host.start();
    assert_eq!((running.heard().as_str(), running.line().as_str()), ("", "begun"));
    on_host("mount", &["-t", "tmpfs", "tmpfs"], &later);
    fs::write(later.join("file"), "mounted later\n").unwrap();
    assert_eq!(running.end().printed(), "mounted later\n");
}

#[test]
fn a_volume_shows_an_image() {
    if !is_able() {
        return;
    }
    let host = host();
    let layers = vec![host.path("layer0"), host.path("layer1")];
    let host =
        host.shell("cat /other/srv/second; touch /other/x || echo read-only").with(|order| {
            order.mounts = vec![mount(OrderSource::Layers(layers), "/other", true)];
        });
    assert_eq!(host.run().printed(), "second layer\nread-only\n");
}

#[test]
fn a_volume_that_is_not_there_is_named() {
    if !is_able() {
        return;
    }
    let absent = OrderSource::Host { path: "/nowhere".into(), create: false, follows_host: false };
    let host = host().with(|order| order.mounts = vec![mount(absent, "/data", false)]);
    let ended = host.run();
    assert!(ended.refusal.contains("failed to find volume '/nowhere'"), "{}", ended.refusal);
}

#[test]
fn a_read_only_root_still_has_its_volumes() {
    if !is_able() {
        return;
    }
    let host = host()
        .shell("touch /x || echo no; touch /mnt/mesos/sandbox/y && echo yes; touch /dev/shm/z && echo yes")
        .with(|order| order.read_only = true);
    assert_eq!(host.run().printed(), "no\nyes\nyes\n");
    assert!(host.path("sandbox/y").exists());
}

#[test]
fn what_a_container_writes_stays_in_its_bundle_and_nothing_else_is_there() {
    if !is_able() {
        return;
    }
    let host = host().shell("echo changed > /srv/second; cat /srv/second");
    assert_eq!(host.run().printed(), "changed\n");
    let layer = fs::read_to_string(host.path("layer1/srv/second")).unwrap();
    let upper = fs::read_to_string(host.bundle().join("upper/srv/second")).unwrap();
    assert_eq!((layer.as_str(), upper.as_str()), ("second layer\n", "changed\n"));
    let left = fs::read_dir(host.bundle()).unwrap();
    let mut left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["order.json", "upper", "work"]);
}

#[test]
fn names_are_found_as_the_agent_says_even_where_the_image_has_a_link() {
    if !is_able() {
        return;
    }
    let host = host();
    std::os::unix::fs::symlink("../../../../etc/passwd", host.path("layer0/etc/resolv.conf"))
        .unwrap();
    let before = fs::read_to_string("/etc/passwd").unwrap();
    let host = host.shell("cat /etc/hosts /etc/hostname").with(|order| {
        order.etc = Some(EtcFiles {
            resolver: "nameserver 10.0.0.1\n".into(),
            hosts: "127.0.0.1\tlocalhost\n".into(),
            hostname: "box\n".into(),
        });
    });
    assert_eq!(host.run().printed(), "127.0.0.1\tlocalhost\nbox\n");
    assert_eq!(fs::read_to_string("/etc/passwd").unwrap(), before);
}

#[test]
fn without_an_image_the_hosts_files_are_seen() {
    if !is_able() {
        return;
    }
    let host = host();
    let sandbox = host.path("sandbox");
    let host = host.shell("pwd; test -e /proc/1/root && echo $$").with(|order| {
        order.root = Root::Host;
        order.working_directory = sandbox.to_string_lossy().into_owned();
        order.mounts = vec![mount(OrderSource::Tmpfs(Vec::new()), "/mnt", false)];
    });
    let text = host.run().printed();
    assert_eq!(text, format!("{}\n1\n", host.path("sandbox").display()));
}

//! What stays, what goes, and what a crash leaves.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use support::fake::Fake;
use support::{Made, ensure, layer, names, noise, quick, read};
use tempfile::TempDir;
use tepui_images::{ImageRequest, Images, Policy};

fn store(dir: &TempDir) -> Images {
    Images::open(&dir.path().join("store"), quick()).unwrap()
}

fn offer(dir: &TempDir, name: &str, layers: &[Vec<u8>]) -> String {
    let path = dir.path().join(name);
    Made::new(layers).write_layout(&path, "1");
    format!("oci:{}:1", path.display())
}

fn layers_in(dir: &TempDir) -> usize {
    names(&dir.path().join("store"), "layers").len()
}

fn later(seconds: u64) -> SystemTime {
    SystemTime::now() + Duration::from_secs(seconds)
}

fn idle_for(seconds: u64) -> Policy {
    Policy { unused_for: Duration::from_secs(seconds), max_bytes: None, keep: Vec::new() }
}

#[tokio::test]
async fn what_is_held_pinned_or_kept_is_not_collected() {
    let dir = tempfile::tempdir().unwrap();
    let base = layer(&[("base", "")]);
    let mut all = Vec::new();
    for name in ["held", "pinned", "kept", "idle"] {
        all.push(offer(&dir, name, &[base.clone(), layer(&[(name, "")])]));
    }
    let images = store(&dir);
    let held = ensure(&images, &all[0]).await.unwrap();
    let pinned = ensure(&images, &all[1]).await.unwrap();
    images.pin(pinned.digest(), "task 1").unwrap();
    drop(pinned);
    for name in &all[2..] {
        ensure(&images, name).await.unwrap();
    }
    assert_eq!(images.collect(&idle_for(60), later(0)).unwrap().images, []);
    let policy = Policy { keep: vec![all[2].clone()], ..idle_for(60) };
    let gone = images.collect(&policy, later(61)).unwrap();
    assert_eq!((gone.images.len(), gone.layers), (1, 1), "the base is shared");
    assert!(gone.bytes > 0);
    let names = |images: &Images| images.list().iter().flat_map(|i| i.names.clone()).count();
    assert_eq!(names(&images), 3);
    drop(held);
    assert_eq!(images.collect(&Policy::prune(vec![]), later(9000)).unwrap().images.len(), 2);
    // The pin outlives the process.
    drop(images);
    let images = store(&dir);
    assert_eq!(images.collect(&Policy::prune(vec![]), later(9000)).unwrap().images, []);
    assert_eq!(images.pin_owners(), ["task 1"]);
    assert!(read(&images.pinned("task 1").unwrap(), "pinned").is_some());
    images.unpin("task 1").unwrap();
    assert_eq!(images.collect(&Policy::prune(vec![]), later(9000)).unwrap().images.len(), 1);
    assert_eq!((layers_in(&dir), images.store_bytes()), (0, 0));
}

#[tokio::test]
async fn the_least_recently_used_goes_when_there_is_too_much() {
    let dir = tempfile::tempdir().unwrap();
    let images = store(&dir);
    let mut all = Vec::new();
    for name in ["a", "b", "c"] {
        let name = offer(&dir, name, &[layer(&[(name, &noise(100_000, 1))])]);
        ensure(&images, &name).await.unwrap();
        all.push(name);
    }
    let one = images.store_bytes() / 3;
    let policy = Policy { max_bytes: Some(one * 2), ..idle_for(u64::MAX / 2) };
    // Equally old by the second: ties are broken, and no more goes than must.
    let gone = images.collect(&policy, later(0)).unwrap();
    assert_eq!((gone.images.len(), images.list().len()), (1, 2));
    assert_eq!(images.collect(&policy, later(0)).unwrap().images, []);
}

#[tokio::test]
async fn an_image_without_a_name_goes_when_its_last_user_does() {
    let dir = tempfile::tempdir().unwrap();
    let name = offer(&dir, "web", &[layer(&[("v", "1")])]);
    let images = store(&dir);
    let old = ensure(&images, &name).await.unwrap();
    offer(&dir, "web", &[layer(&[("v", "2")])]);
    let request = ImageRequest { fresh: true, ..ImageRequest::new(&name) };
    let new = images.ensure(&request, |_| {}).await.unwrap();
    assert_eq!(images.collect(&idle_for(60), later(0)).unwrap().images, []);
    assert_eq!(read(&old, "v").unwrap(), "1");
    let digest = old.digest().clone();
    drop(old);
    assert_eq!(images.collect(&idle_for(60), later(0)).unwrap().images, [digest]);
    assert_eq!(read(&new, "v").unwrap(), "2");
}

#[tokio::test]
async fn removing_a_name_removes_what_nothing_else_holds() {
    let dir = tempfile::tempdir().unwrap();
    let name = offer(&dir, "web", &[layer(&[("v", "1")])]);
    let images = store(&dir);
    let held = ensure(&images, &name).await.unwrap();
    assert!(images.remove(&name).unwrap());
    assert!(!images.remove(&name).unwrap());
    assert_eq!(read(&held, "v").unwrap(), "1");
    drop(held);
    images.collect(&idle_for(60), later(0)).unwrap();
    ensure(&images, &name).await.unwrap();
    assert!(images.remove(&name).unwrap());
    assert_eq!(layers_in(&dir), 0);
    let unknown = tepui_images::Digest::of(b"x");
    assert!(images.pin(&unknown, "t").unwrap_err().to_string().contains("no image with digest"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn collecting_and_pulling_at_once_never_breaks_an_image() {
    let dir = tempfile::tempdir().unwrap();
    let base = layer(&[("base", "b")]);
    let all: Vec<String> = (0..4)
        .map(|n| offer(&dir, &format!("i{n}"), &[base.clone(), layer(&[(&format!("f{n}"), "x")])]))
        .collect();
    let images = store(&dir);
    let done = Arc::new(AtomicBool::new(false));
    let collector = {
        let (images, done) = (images.clone(), done.clone());
        std::thread::spawn(move || {
            let mut gone = 0;
            while !done.load(Ordering::Relaxed) {
                gone += images.collect(&Policy::prune(vec![]), later(9000)).unwrap().images.len();
            }
            gone
        })
    };
    let users: Vec<_> = (0..8)
        .map(|n: usize| {
            let (images, name) = (images.clone(), all[n % 4].clone());
            tokio::spawn(async move {
                for round in 0..30 {
                    let fresh = round % 3 == 0;
                    let request = ImageRequest { fresh, ..ImageRequest::new(&name) };
                    let image = images.ensure(&request, |_| {}).await.unwrap();
                    assert_eq!(read(&image, "base").as_deref(), Some("b"));
                    assert_eq!(read(&image, &format!("f{}", n % 4)).as_deref(), Some("x"));
                    if round % 5 == 0 {
                        images.pin(image.digest(), &format!("task {n}")).unwrap();
                        drop(image);
                        let image = images.pinned(&format!("task {n}")).unwrap();
                        assert_eq!(read(&image, "base").as_deref(), Some("b"));
                        images.unpin(&format!("task {n}")).unwrap();
                    }
                }
            })
        })
        .collect();
    for user in users {
        user.await.unwrap();
    }
    done.store(true, Ordering::Relaxed);
    assert!(collector.join().unwrap() > 0);
    images.collect(&Policy::prune(vec![]), later(9000)).unwrap();
    assert_eq!(layers_in(&dir), 0);
}

const CHILD: &str = "TEPUI_IMAGES_TEST_PULLS";

/// What the process of the next test does; without its order it has nothing to do.
#[test]
fn a_process_that_pulls_until_it_is_killed() {
    let Ok(order) = std::env::var(CHILD) else { return };
    let (root, name) = order.split_once(' ').unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let images = Images::open(Path::new(root), quick()).unwrap();
    runtime.block_on(ensure(&images, name)).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_that_is_killed_leaves_whole_layers_or_none() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("store");
    let tars: Vec<Vec<u8>> = (0..12)
        .map(|n| {
            let text = noise(20_000, n);
            let files: Vec<(String, &str)> =
                (0..20).map(|f| (format!("l{n}/f{f}"), text.as_str())).collect();
            let files: Vec<(&str, &str)> = files.iter().map(|(n, t)| (n.as_str(), *t)).collect();
            layer(&files)
        })
        .collect();
    let made = Made::new(&tars);
    let registry = Fake::start().await;
    registry.offer("web", "latest", &made);
    let name = registry.name("web");
    let (mut partly, mut before) = (0, 0);
    std::fs::create_dir_all(root.join("layers")).unwrap();
    for kill_after in 0..14 {
        let gate = registry.gate();
        gate.add_permits(kill_after);
        let order = format!("{} {name}", root.display());
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_process_that_pulls_until_it_is_killed"])
            .env(CHILD, order)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Until it has come as far as it is let and, every other time, also has some layers more.
        let more = if kill_after % 2 == 0 { kill_after / 3 } else { 0 };
        let here = || names(&root, "layers").len();
        while (gate.available_permits() > 0 || here() < before + more)
            && child.try_wait().unwrap().is_none()
        {
            tokio::task::yield_now().await;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let images = Images::open(&root, quick()).unwrap();
        assert!(names(&root, "tmp").is_empty());
        let keys = names(&root, "layers");
        before = keys.len();
        partly += usize::from(!keys.is_empty() && keys.len() < tars.len());
        for key in keys {
            let fs = root.join("layers").join(key).join("fs");
            let folder = std::fs::read_dir(&fs).unwrap().next().unwrap().unwrap().path();
            let files: Vec<_> = std::fs::read_dir(folder).unwrap().collect();
            assert_eq!(files.len(), 20);
            let whole = |file: &std::fs::DirEntry| file.metadata().unwrap().len() == 20_000;
            assert!(files.iter().all(|file| whole(file.as_ref().unwrap())));
        }
        drop(images);
    }
    assert!(partly > 0, "no kill was in the middle");
    registry.gate().add_permits(1000);
    let images = Images::open(&root, quick()).unwrap();
    let image = ensure(&images, &name).await.unwrap();
    assert_eq!(read(&image, "l11/f19").unwrap(), noise(20_000, 11));
}

//! Images from layouts and archives, and what the store makes of them.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::real::{lacks, run};
use support::{Made, ensure, gzip, layer, names, noise, quick, read};
use tempfile::TempDir;
use tepui_images::{Images, Prepared};

fn two_layers() -> Made {
    Made::new(&[
        layer(&[("etc/", ""), ("etc/a", "1"), ("etc/b", "1"), ("var/", ""), ("var/old", "o")]),
        layer(&[
            ("etc/.wh.a", ""),
            ("etc/b", "2"),
            ("var/", ""),
            ("var/.wh..wh..opq", ""),
            ("var/new", "n"),
        ]),
    ])
}

fn layout(dir: &TempDir, made: &Made) -> (PathBuf, String) {
    let path = dir.path().join("web");
    made.write_layout(&path, "1.0");
    let name = format!("oci:{}:1.0", path.display());
    (path, name)
}

fn store(dir: &TempDir) -> Images {
    Images::open(&dir.path().join("store"), quick()).unwrap()
}

#[tokio::test]
async fn an_image_of_a_layout_is_unpacked_and_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let made = two_layers();
    let (path, name) = layout(&dir, &made);
    {
        let images = store(&dir);
        let image = ensure(&images, &name).await.unwrap();
        assert_eq!(*image.digest(), made.digest());
        assert_eq!(image.layers().len(), 2);
        assert_eq!(
            (read(&image, "etc/a").unwrap(), read(&image, "etc/b").unwrap()),
            ("1".into(), "2".into())
        );
        assert_eq!(image.config().cmd, ["/bin/sh"]);
        assert!(names(&dir.path().join("store"), "tmp").is_empty());
    }
    // The next process needs neither layout nor network.
    fs::remove_dir_all(path).unwrap();
    let images = store(&dir);
    let image = ensure(&images, &name).await.unwrap();
    assert_eq!(read(&image, "etc/b").unwrap(), "2");
    assert_eq!(images.list()[0].names, [name]);
}

#[tokio::test]
async fn equal_layers_are_mounted_once_and_no_layers_are_one() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (layer(&[("a", "a")]), layer(&[("b", "b")]));
    let (_, name) = layout(&dir, &Made::new(&[a.clone(), b, a]));
    let images = store(&dir);
    assert_eq!(ensure(&images, &name).await.unwrap().layers().len(), 2);
    let empty = dir.path().join("empty");
    Made::new(&[]).write_layout(&empty, "1");
    let image = ensure(&images, &format!("oci:{}", empty.display())).await.unwrap();
    assert_eq!(image.layers().len(), 1);
    assert_eq!(fs::read_dir(&image.layers()[0]).unwrap().count(), 0);
}

#[tokio::test]
async fn a_layer_depends_on_what_is_below_only_where_it_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let upper = layer(&[("tmp/x", "x")]);
    let images = store(&dir);
    for (name, mode) in [("one", 0o1777), ("two", 0o700)] {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Directory);
        header.set_mode(mode);
        header.set_size(0);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(5);
        tar.append_data(&mut header, "tmp", &b""[..]).unwrap();
        let path = dir.path().join(name);
        Made::new(&[tar.into_inner().unwrap(), upper.clone()]).write_layout(&path, "1");
        let image = ensure(&images, &format!("oci:{}", path.display())).await.unwrap();
        use std::os::unix::fs::MetadataExt;
        let folder = fs::metadata(image.layers()[1].join("tmp")).unwrap();
        assert_eq!(folder.mode() & 0o7777, mode, "{name}");
    }
    assert_eq!(names(&dir.path().join("store"), "layers").len(), 4);
}

fn tar_folder(folder: &Path) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    tar.append_dir_all(".", folder).unwrap();
    tar.into_inner().unwrap()
}

/// What `docker save` writes.
fn docker_save(made: &Made, tars: &[Vec<u8>], tag: &str) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |name: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, bytes).unwrap();
    };
    let mut layers = Vec::new();
    for (index, bytes) in tars.iter().enumerate() {
        layers.push(format!("\"{index}/layer.tar\""));
        add(&format!("{index}/layer.tar"), bytes);
    }
    add("config.json", &made.blobs[&made.config]);
    let manifest = format!(
        r#"[{{"Config":"config.json","RepoTags":["{tag}"],"Layers":[{}]}}]"#,
        layers.join(",")
    );
    add("manifest.json", manifest.as_bytes());
    tar.into_inner().unwrap()
}

#[tokio::test]
async fn a_file_that_is_no_archive_is_not_read_to_whoever_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let images = store(&dir);
    let file = dir.path().join("shadow");
    fs::write(&file, "root:*:20228:0:99999:7:::\n".repeat(100)).unwrap();
    for form in ["oci-archive", "docker-archive"] {
        let error = ensure(&images, &format!("{form}:{}", file.display())).await.unwrap_err();
        assert!(error.contains("it is no tar archive"), "{error}");
        assert!(!error.contains("root:") && !error.contains("20228"), "{error}");
    }
}

#[tokio::test]
async fn archives_of_both_forms_are_read_plain_and_compressed() {
    let dir = tempfile::tempdir().unwrap();
    let made = two_layers();
    let (path, _) = layout(&dir, &made);
    let tars = [layer(&[("etc/a", "1")]), layer(&[("etc/b", "2")])];
    let saved = Made::new(&tars);
    let images = store(&dir);
    for (file, bytes) in [
        ("oci.tar", tar_folder(&path)),
        ("oci.tar.gz", gzip(&tar_folder(&path))),
        ("docker.tar", docker_save(&saved, &tars, "shop/web:2")),
        ("docker.tar.gz", gzip(&docker_save(&saved, &tars, "shop/web:2"))),
    ] {
        let archive = dir.path().join(file);
        fs::write(&archive, bytes).unwrap();
        let (form, tag) = match file.starts_with("oci") {
            true => ("oci-archive", "1.0"),
            false => ("docker-archive", "shop/web:2"),
        };
        for tag in ["".to_owned(), format!(":{tag}")] {
            let image = ensure(&images, &format!("{form}:{}{tag}", archive.display())).await;
            assert_eq!(read(&image.unwrap(), "etc/b").unwrap(), "2", "{file}");
        }
        let name = format!("{form}:{}:other", archive.display());
        let error = ensure(&images, &name).await.unwrap_err();
        assert!(error.contains("no image is named 'other'"), "{error}");
    }
    assert!(names(&dir.path().join("store"), "tmp").is_empty());
}

#[tokio::test]
async fn an_image_of_a_folder_that_the_operator_has_not_named_is_refused_though_it_is_here() {
    let dir = tempfile::tempdir().unwrap();
    let (path, name) = layout(&dir, &two_layers());
    ensure(&store(&dir), &name).await.unwrap();
    let of = |folders: Vec<PathBuf>| {
        let settings = tepui_images::Settings { local_images: folders, ..quick() };
        Images::open(&dir.path().join("store"), settings).unwrap()
    };
    for folders in [vec![], vec![path.join("web")], vec![dir.path().join("we")]] {
        let images = of(folders);
        for name in [name.clone(), format!("docker-archive:{}", path.display())] {
            let error = ensure(&images, &name).await.unwrap_err();
            assert!(error.contains("(--local-images DIR names one)"), "{error}");
        }
    }
    ensure(&of(vec![path.clone()]), &name).await.unwrap();
}

#[tokio::test]
async fn what_is_no_image_is_refused_with_its_path() {
    let dir = tempfile::tempdir().unwrap();
    let images = store(&dir);
    let (path, name) = layout(&dir, &two_layers());
    let file = dir.path().join("text");
    fs::write(&file, "this is no archive, only a text of more than some bytes").unwrap();
    for (reference, reason) in [
        ("oci:/nowhere".to_owned(), "No such file"),
        (format!("oci:{}", dir.path().display()), "oci-layout"),
        (format!("oci:{}:2.0", path.display()), "no image is named '2.0' there; these are: 1.0"),
        (format!("docker-archive:{}", dir.path().display()), "not a regular file"),
        (format!("oci-archive:{}", file.display()), "failed to read image"),
        ("/etc/passwd".to_owned(), "empty part"),
    ] {
        let error = ensure(&images, &reference).await.unwrap_err();
        assert!(error.contains(reason), "{reference}: {error}");
    }
    // A blob that was changed on disk.
    let made = two_layers();
    let blob = path.join("blobs/sha256").join(&made.layers[0][7..]);
    let mut bytes = fs::read(&blob).unwrap();
    let last = bytes.len() - 9;
    bytes[last] ^= 1;
    fs::write(&blob, bytes).unwrap();
    let error = ensure(&images, &name).await.unwrap_err();
    assert!(error.contains("failed to unpack layer"), "{error}");
    assert!(names(&dir.path().join("store"), "tmp").is_empty());
}

#[test]
fn a_store_belongs_to_one_process() {
    let dir = tempfile::tempdir().unwrap();
    let first = store(&dir);
    let error = Images::open(&dir.path().join("store"), quick()).unwrap_err().to_string();
    assert!(error.contains("belongs to another process"), "{error}");
    drop(first);
    store(&dir);
    fs::write(dir.path().join("store/format"), "2").unwrap();
    let error = Images::open(&dir.path().join("store"), quick()).unwrap_err().to_string();
    assert!(error.contains("format '2'"), "{error}");
}

#[tokio::test]
async fn what_is_damaged_is_pulled_again_and_the_rest_stays() {
    let dir = tempfile::tempdir().unwrap();
    let made = two_layers();
    let (_, name) = layout(&dir, &made);
    let root = dir.path().join("store");
    let keys = {
        let images = store(&dir);
        let image = ensure(&images, &name).await.unwrap();
        images.pin(image.digest(), "task-1").unwrap();
        names(&root, "layers")
    };
    for damage in ["half a layer", "image", "name", "pin", "leftovers"] {
        match damage {
            "half a layer" => {
                fs::remove_file(root.join("layers").join(&keys[0]).join("layer.json")).unwrap()
            }
            "leftovers" => fs::create_dir_all(root.join("tmp/7/fs/deep")).unwrap(),
            records => {
                let folder = root.join(format!("{records}s"));
                let file = fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
                fs::write(file, "{\"half\":").unwrap();
            }
        }
        let images = store(&dir);
        let image = ensure(&images, &name).await.unwrap();
        assert_eq!(read(&image, "etc/b").unwrap(), "2", "{damage}");
        images.pin(image.digest(), "task-1").unwrap();
        assert_eq!(names(&root, "layers"), keys);
        assert!(names(&root, "tmp").is_empty());
    }
}

/// Lazily: a program that another test starts just now has, for a moment, all files of this process.
fn unmount(path: &Path) {
    run(Command::new("umount").arg("--lazy").arg(path));
}

/// Mounts an image as a container would see it.
struct Mounted(PathBuf);

impl Mounted {
    fn new(dir: &TempDir, image: &Prepared) -> Self {
        let at = dir.path().join("merged");
        for folder in ["merged", "upper", "work"] {
            fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        let options = format!(
            "lowerdir={},upperdir={},workdir={}",
            image.lowerdir().to_str().unwrap(),
            dir.path().join("upper").display(),
            dir.path().join("work").display()
        );
        run(Command::new("mount").args(["-t", "overlay", "overlay", "-o", &options]).arg(&at));
        Self(at)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        unmount(&self.0);
    }
}

fn may_mount() -> bool {
    let may = rustix::process::geteuid().is_root();
    if !may {
        eprintln!("skipped: mounting an overlay needs root");
    }
    may
}

/// A folder on a real file system: overlays cannot be made of every kind.
fn mountable() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

#[tokio::test]
async fn overlayfs_shows_the_image_as_it_was_meant() {
    if !may_mount() {
        return;
    }
    let dir = mountable();
    let (_, name) = layout(&dir, &two_layers());
    let images = store(&dir);
    let image = ensure(&images, &name).await.unwrap();
    let mounted = Mounted::new(&dir, &image);
    let there = |path: &str| fs::read_to_string(mounted.0.join(path)).ok();
    assert_eq!(there("etc/a"), None, "a whiteout");
    assert_eq!(there("etc/b").as_deref(), Some("2"));
    assert_eq!(there("var/old"), None, "an opaque folder");
    assert_eq!(there("var/new").as_deref(), Some("n"));
    assert_eq!(names(&mounted.0, "."), ["etc", "var"]);
}

#[tokio::test]
async fn an_image_of_umoci_looks_as_umoci_unpacks_it() {
    if lacks(&["umoci", "diff"]) || !may_mount() {
        return;
    }
    let dir = mountable();
    let layout = dir.path().join("img");
    let image = format!("{}:1", layout.display());
    let bundle = dir.path().join("bundle");
    run(Command::new("umoci").args(["init", "--layout"]).arg(&layout));
    run(Command::new("umoci").args(["new", "--image", &image]));
    run(Command::new("umoci").args(["unpack", "--image", &image]).arg(&bundle));
    let script = r"
        cd $0/rootfs; mkdir -p bin dir/deep tmp; chmod 1777 tmp
        echo su > bin/su; chmod 4755 bin/su; chown 7:8 bin/su; ln bin/su bin/sudo; ln -s /bin/su link
        echo x > dir/deep/file; mkfifo pipe; setfattr -n user.note -v hi bin/su 2>/dev/null || true";
    run(Command::new("sh").args(["-ec", script]).arg(&bundle));
    run(Command::new("umoci").args(["repack", "--image", &image]).arg(&bundle));
    fs::remove_dir_all(&bundle).unwrap();
    run(Command::new("umoci").args(["unpack", "--image", &image]).arg(&bundle));
    let script =
        "cd $0/rootfs; rm -r dir; rm bin/sudo; echo t > tmp/t; mkdir dir; echo y > dir/new";
    run(Command::new("sh").args(["-ec", script]).arg(&bundle));
    run(Command::new("umoci").args(["repack", "--image", &image]).arg(&bundle));
    fs::remove_dir_all(&bundle).unwrap();
    run(Command::new("umoci").args(["unpack", "--image", &image]).arg(&bundle));

    let images = store(&dir);
    let prepared = ensure(&images, &format!("oci:{image}")).await.unwrap();
    let mounted = Mounted::new(&dir, &prepared);
    let list = |root: &Path| {
        let script = r"cd $0; find . -printf '%P %y %m %U:%G %s %l\n' | grep -v ' d ' | sort; \
            find . -type d -printf '%P %m %U:%G\n' | sort; find . -type f -exec cat {} +";
        let output = Command::new("sh").args(["-ec", script]).arg(root).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(list(&mounted.0), list(&bundle.join("rootfs")));
}

/// A small file system of its own.
struct Small(PathBuf);

impl Small {
    fn new(dir: &TempDir, options: &str) -> Self {
        let at = dir.path().join("small");
        fs::create_dir(&at).unwrap();
        run(Command::new("mount").args(["-t", "tmpfs", "tmpfs", "-o", options]).arg(&at));
        Self(at)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        unmount(&self.0);
    }
}

#[tokio::test]
async fn a_full_disk_is_told_and_leaves_nothing_behind() {
    if !may_mount() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let text = noise(1000, 5).repeat(2000);
    let files: Vec<(String, &str)> = (0..40).map(|n| (format!("f{n}"), text.as_str())).collect();
    let files: Vec<(&str, &str)> =
        files.iter().map(|(name, text)| (name.as_str(), *text)).collect();
    let (_, name) = layout(&dir, &Made::new(&[layer(&files)]));
    for (options, reason) in [
        // Room for nothing, for less than it unpacks to, and for too few files.
        ("size=1m", "bytes are needed"),
        ("size=70m", "the file system is full"),
        ("size=200m,nr_inodes=40", "the file system is full"),
    ] {
        let small = Small::new(&dir, options);
        let root = small.0.join("store");
        let images = Images::open(&root, quick()).unwrap();
        let error = ensure(&images, &name).await.unwrap_err();
        assert!(
            error.contains("no room for image") && error.contains(reason),
            "{options}: {error}"
        );
        assert!(names(&root, "tmp").is_empty() && names(&root, "layers").is_empty());
        drop(images);
        drop(small);
        fs::remove_dir(dir.path().join("small")).unwrap();
    }
}

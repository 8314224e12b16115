//! What arrives in a sandbox, and what never does.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::io::{Cursor, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Redirect;
use axum::routing::get;
use futures_util::stream;
use tar::EntryType;
use tempfile::TempDir;
use tepui_fetch::{Artifact, FetchError, Fetcher, Limits};
use tepui_types::FOR_TASK;

/// A sandbox in a folder that must not change otherwise.
struct Bench {
    dir: TempDir,
    fetcher: Fetcher,
}

impl Bench {
    fn new() -> Self {
        Self::with(Limits::default())
    }

    fn with(limits: Limits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("sandbox")).unwrap();
        fs::create_dir(dir.path().join("source")).unwrap();
        fs::write(dir.path().join("victim"), "kept").unwrap();
        let fetcher = Fetcher::new(dir.path().join("cache"), limits).unwrap();
        Self { dir, fetcher }
    }

    fn sandbox(&self) -> PathBuf {
        self.dir.path().join("sandbox")
    }

    /// A file to fetch, by its URI.
    fn file(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.dir.path().join("source").join(name);
        fs::write(&path, bytes).unwrap();
        format!("file://{}", path.display())
    }

    async fn fetch(&self, artifact: Artifact) -> Result<(), FetchError> {
        self.fetcher.fetch(self.dir.path(), Path::new("sandbox"), None, vec![artifact]).await
    }

    /// The failure with its causes, after a look that nothing else has changed.
    async fn refused(&self, artifact: Artifact) -> String {
        let uri = artifact.uri.clone();
        let text = chain(&self.fetch(artifact).await.unwrap_err());
        assert!(text.contains(&uri), "the URI is not named: {text}");
        self.untouched();
        text
    }

    fn untouched(&self) {
        let mut names: Vec<_> = fs::read_dir(self.dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["cache", "sandbox", "source", "victim"]);
        let victim = self.dir.path().join("victim");
        assert_eq!(fs::read_to_string(&victim).unwrap(), "kept");
        assert_eq!(fs::metadata(&victim).unwrap().nlink(), 1);
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.sandbox().join(name)).unwrap_or_else(|e| format!("<{e}>"))
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let cause = error.source().map(|cause| format!(": {}", chain(cause)));
    format!("{error}{}", cause.unwrap_or_default())
}

fn artifact(uri: impl Into<String>) -> Artifact {
    Artifact { uri: uri.into(), executable: false, extract: true, cache: false, output_file: None }
}

/// One entry of a tar file, with whatever names an attacker likes.
struct Entry<'a>(EntryType, &'a str, &'a str, &'a [u8], u32);

fn tar_of(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for Entry(kind, name, link, body, mode) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(*mode);
        header.set_size(body.len() as u64);
        // Around the crate's own refusal of `..` and of absolute names.
        let raw = header.as_gnu_mut().unwrap();
        raw.name[..name.len()].copy_from_slice(name.as_bytes());
        raw.linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        builder.append(&header, *body).unwrap();
    }
    builder.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zip_of(entries: &[(&str, u32, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, mode, body) in entries {
        let options = zip::write::SimpleFileOptions::default().unix_permissions(*mode);
        if mode & 0o170_000 == 0o120_000 {
            writer.add_symlink(*name, std::str::from_utf8(body).unwrap(), options).unwrap();
        } else {
            writer.start_file(*name, options).unwrap();
            writer.write_all(body).unwrap();
        }
    }
    writer.finish().unwrap().into_inner()
}

const FILE: EntryType = EntryType::Regular;

fn honest_tar() -> Vec<u8> {
    tar_of(&[
        Entry(EntryType::Directory, "./app/", "", b"", 0o755),
        Entry(FILE, "./app/run", "", b"#!/bin/sh\n", 0o755),
        Entry(FILE, "app/lib/real.so", "", b"library", 0o644),
        Entry(EntryType::Symlink, "app/lib/so", "real.so", b"", 0o777),
        Entry(EntryType::Symlink, "app/bin/lib", "../lib", b"", 0o777),
        Entry(FILE, "app/bin/lib/through", "", b"beneath", 0o644),
        Entry(EntryType::Link, "app/copy", "app/run", b"", 0o755),
    ])
}

#[tokio::test]
async fn every_kind_of_archive_is_unpacked() {
    let plain = honest_tar();
    let xz = {
        let mut encoder = xz2::write::XzEncoder::new(Vec::new(), 6);
        encoder.write_all(&plain).unwrap();
        encoder.finish().unwrap()
    };
    let bzip2 = {
        let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::best());
        encoder.write_all(&plain).unwrap();
        encoder.finish().unwrap()
    };
    let zstd = zstd::encode_all(plain.as_slice(), 3).unwrap();
    for (name, bytes) in [
        ("a.tar", plain.clone()),
        ("a.tar.gz", gzip(&plain)),
        ("a.tgz", gzip(&plain)),
        ("a.tar.xz", xz),
        ("a.tar.bz2", bzip2),
        ("a.tar.zst", zstd),
    ] {
        let bench = Bench::new();
        bench.fetch(artifact(bench.file(name, &bytes))).await.unwrap();
        assert_eq!(bench.read("app/run"), "#!/bin/sh\n", "{name}");
        assert_eq!(bench.read("app/lib/so"), "library", "{name}");
        assert_eq!(bench.read("app/lib/through"), "beneath", "{name}");
        assert_eq!(bench.read("app/copy"), "#!/bin/sh\n", "{name}");
        let mode = fs::metadata(bench.sandbox().join("app/run")).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o755);
        assert_eq!(fs::metadata(bench.sandbox().join("app/run")).unwrap().nlink(), 1);
        assert!(bench.sandbox().join(name).exists(), "the archive stays beside its content");
        bench.untouched();
    }
}

#[tokio::test]
async fn a_zip_file_is_unpacked_with_its_modes_and_links() {
    let bench = Bench::new();
    let bytes = zip_of(&[
        ("app/run", 0o100_755, b"go"),
        ("app/data", 0o644, b"data"),
        ("app/link", 0o120_777, b"data"),
    ]);
    bench.fetch(artifact(bench.file("a.zip", &bytes))).await.unwrap();
    assert_eq!(bench.read("app/link"), "data");
    let mode = fs::metadata(bench.sandbox().join("app/run")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o755);
}

#[tokio::test]
async fn a_single_compressed_file_loses_its_ending() {
    let bench = Bench::new();
    bench.fetch(artifact(bench.file("notes.txt.gz", &gzip(b"text")))).await.unwrap();
    assert_eq!(bench.read("notes.txt"), "text");
}

#[tokio::test]
async fn a_plain_file_keeps_its_name_or_takes_another_and_may_be_executable() {
    let bench = Bench::new();
    let uri = bench.file("tool.tar.gz", b"not an archive at all");
    let mut wanted = Artifact { extract: false, ..artifact(&uri) };
    bench.fetch(wanted.clone()).await.unwrap();
    assert_eq!(bench.read("tool.tar.gz"), "not an archive at all");
    wanted.executable = true;
    wanted.extract = true;
    wanted.output_file = Some("deep/down/tool".to_owned());
    bench.fetch(wanted).await.unwrap();
    let mode = fs::metadata(bench.sandbox().join("deep/down/tool")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o755);
    let path = bench.dir.path().join("source/tool.tar.gz").display().to_string();
    bench.fetch(Artifact { output_file: Some("by-path".into()), ..artifact(path) }).await.unwrap();
    assert_eq!(bench.read("by-path"), "not an archive at all");
}

#[tokio::test]
async fn archives_that_reach_out_of_the_sandbox_are_refused() {
    use EntryType::{Block, Char, Fifo, Link, Symlink};
    let corpus: Vec<(&str, Vec<Entry<'_>>)> = vec![
        ("leads out", vec![Entry(FILE, "../victim", "", b"evil", 0o644)]),
        ("leads out", vec![Entry(FILE, "a/../../victim", "", b"evil", 0o644)]),
        ("absolute", vec![Entry(FILE, "/tmp/evil", "", b"evil", 0o644)]),
        ("symbolic link", vec![Entry(Symlink, "l", "../victim", b"", 0o777)]),
        ("symbolic link", vec![Entry(Symlink, "l", "/etc/passwd", b"", 0o777)]),
        ("symbolic link", vec![Entry(Symlink, "a/l", "../../victim", b"", 0o777)]),
        ("symbolic link", vec![Entry(Symlink, "a/l", "b/../../../victim", b"", 0o777)]),
        (
            // The folder of the second link is not as deep as its name says.
            "symbolic link",
            vec![
                Entry(Symlink, "q", ".", b"", 0o777),
                Entry(Symlink, "q/q/q/l", "../../../victim", b"", 0o777),
            ],
        ),
        (
            "symbolic link",
            vec![
                Entry(Symlink, "up", "..", b"", 0o777),
                Entry(FILE, "up/victim", "", b"evil", 0o644),
            ],
        ),
        ("hard link", vec![Entry(Link, "l", "../victim", b"", 0o644)]),
        ("hard link", vec![Entry(Link, "l", "/etc/passwd", b"", 0o644)]),
        ("hard link", vec![Entry(Link, "l", "absent", b"", 0o644)]),
        ("hard link", vec![Entry(Link, "l", "l", b"", 0o644)]),
        ("device", vec![Entry(Char, "null", "", b"", 0o666)]),
        ("device", vec![Entry(Block, "disk", "", b"", 0o666)]),
        ("device", vec![Entry(Fifo, "pipe", "", b"", 0o666)]),
    ];
    for (what, entries) in corpus {
        let bench = Bench::new();
        let text = bench.refused(artifact(bench.file("evil.tar", &tar_of(&entries)))).await;
        assert!(text.contains(what), "{text}");
    }
}

#[tokio::test]
async fn zip_files_that_reach_out_of_the_sandbox_are_refused() {
    for (what, entries) in [
        ("leads out", vec![("../victim", 0o644, b"evil".as_slice())]),
        ("absolute", vec![("/tmp/evil", 0o644, b"evil".as_slice())]),
        ("symbolic link", vec![("l", 0o120_777, b"../victim".as_slice())]),
        ("symbolic link", vec![("l", 0o120_777, b"/etc/passwd".as_slice())]),
    ] {
        let bench = Bench::new();
        let text = bench.refused(artifact(bench.file("evil.zip", &zip_of(&entries)))).await;
        assert!(text.contains(what), "{text}");
    }
}

#[tokio::test]
async fn links_left_in_the_sandbox_are_not_written_through() {
    let bench = Bench::new();
    std::os::unix::fs::symlink(bench.dir.path(), bench.sandbox().join("out")).unwrap();
    std::os::unix::fs::symlink(bench.dir.path().join("victim"), bench.sandbox().join("soft"))
        .unwrap();
    let uri = bench.file("plain", b"new");
    let to = |name: &str| Artifact { output_file: Some(name.to_owned()), ..artifact(&uri) };
    bench.refused(to("out/victim")).await;
    bench.refused(to("out/fresh")).await;
    bench.fetch(to("soft")).await.unwrap();
    assert_eq!(bench.read("soft"), "new");
    bench.untouched();
    let tar = tar_of(&[Entry(FILE, "out/victim", "", b"evil", 0o644)]);
    bench.refused(artifact(bench.file("through.tar", &tar))).await;
}

#[tokio::test]
async fn dangerous_bits_do_not_come_in() {
    let bench = Bench::new();
    let tar = tar_of(&[
        Entry(FILE, "suid", "", b"x", 0o7777),
        Entry(EntryType::Directory, "sticky/", "", b"", 0o7777),
    ]);
    bench.fetch(artifact(bench.file("bits.tar", &tar))).await.unwrap();
    let zip = zip_of(&[("zipped", 0o104_755, b"x")]);
    bench.fetch(artifact(bench.file("bits.zip", &zip))).await.unwrap();
    for name in ["suid", "sticky", "zipped"] {
        let mode = fs::metadata(bench.sandbox().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o7000, 0, "{name} has {mode:o}");
        assert_eq!(mode & 0o022, 0, "{name} has {mode:o}");
    }
}

fn tight() -> Limits {
    Limits {
        download_bytes: 1 << 20,
        unpacked_bytes: 4 << 20,
        ratio: 10,
        ratio_floor_bytes: 64 << 10,
        entries: 50,
        stall: Duration::from_millis(300),
        connect: Duration::from_secs(5),
        redirects: 3,
        ..Limits::default()
    }
}

#[tokio::test]
async fn bombs_are_not_inflated() {
    let zeros = vec![0; 2 << 20];
    let bench = Bench::with(tight());
    let big = tar_of(&[Entry(FILE, "zeros", "", &zeros, 0o644)]);
    for (name, bytes) in [
        ("bomb.tar.gz", gzip(&big)),
        ("bomb.tar.zst", zstd::encode_all(big.as_slice(), 3).unwrap()),
        ("bomb.zip", zip_of(&[("zeros", 0o644, &zeros)])),
        ("bomb.gz", gzip(&zeros)),
    ] {
        let text = bench.refused(artifact(bench.file(name, &bytes))).await;
        assert!(text.contains("unpacks to more than"), "{text}");
    }
}

#[tokio::test]
async fn too_many_entries_are_too_many() {
    let bench = Bench::with(tight());
    let names: Vec<String> = (0..51).map(|n| format!("f{n}")).collect();
    let entries: Vec<_> = names.iter().map(|name| Entry(FILE, name, "", b"", 0o644)).collect();
    let text = bench.refused(artifact(bench.file("many.tar", &tar_of(&entries)))).await;
    assert!(text.contains("more than 50 entries"), "{text}");
    let entries: Vec<_> = names.iter().map(|name| (name.as_str(), 0o644, b"".as_slice())).collect();
    let bench = Bench::with(tight());
    let text = bench.refused(artifact(bench.file("many.zip", &zip_of(&entries)))).await;
    assert!(text.contains("more than 50 entries"), "{text}");
    assert!(!bench.sandbox().join("f0").exists(), "counted before the first is unpacked");
}

#[tokio::test]
async fn a_name_of_megabytes_is_refused_before_it_is_in_memory() {
    let limits = Limits { ratio_floor_bytes: 1 << 30, ..Limits::default() };
    let bench = Bench::with(limits);
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(EntryType::GNULongName);
    header.set_size(32 << 20);
    header.set_path("././@LongLink").unwrap();
    header.set_cksum();
    let mut tar = header.as_bytes().to_vec();
    tar.resize(512 + (32 << 20), b'a');
    let text = bench.refused(artifact(bench.file("name.tar.gz", &gzip(&tar)))).await;
    assert!(text.contains("headers of an entry are too long"), "{text}");
}

#[tokio::test]
async fn damaged_archives_are_named_and_do_not_panic() {
    let plain = honest_tar();
    let zip = zip_of(&[("a", 0o644, b"some content"), ("b", 0o644, b"more of it")]);
    for (name, whole) in [("cut.tar.gz", gzip(&plain)), ("cut.zip", zip)] {
        for end in [0, 1, 10, whole.len() / 2, whole.len() - 1] {
            let bench = Bench::new();
            bench.refused(artifact(bench.file(name, &whole[..end]))).await;
        }
    }
    for at in (0..plain.len()).step_by(37) {
        let bench = Bench::new();
        let mut changed = plain.clone();
        changed[at] ^= 0x55;
        // Whether it is refused or not: nothing else may change.
        let _ = bench.fetch(artifact(bench.file("changed.tar", &changed))).await;
        bench.untouched();
    }
}

async fn serve(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

#[tokio::test]
async fn the_web_is_read_within_limits() {
    let endless = || {
        let chunks = stream::repeat_with(|| Ok::<_, std::io::Error>(vec![0_u8; 64 << 10]));
        Body::from_stream(chunks)
    };
    let silent = || Body::from_stream(stream::pending::<Result<Vec<u8>, std::io::Error>>());
    let host = serve(
        Router::new()
            .route("/file", get(async || "content"))
            .route("/moved", get(async || Redirect::temporary("/file")))
            .route("/loop", get(async || Redirect::temporary("/loop")))
            .route("/absent", get(async || StatusCode::NOT_FOUND))
            .route("/endless", get(async move || endless()))
            .route("/silent", get(async move || silent()))
            .route("/local", get(async || Redirect::temporary("file:///etc/passwd"))),
    )
    .await;
    let bench = Bench::with(tight());
    bench.fetch(artifact(format!("{host}/file?token=a/b"))).await.unwrap();
    assert_eq!(bench.read("file"), "content");
    bench.fetch(artifact(format!("{host}/moved"))).await.unwrap();
    assert_eq!(bench.read("moved"), "content");
    for (path, what) in [
        ("loop", "redirect"),
        ("absent", "status 404"),
        ("endless", "larger than 1048576 bytes"),
        ("silent", "waiting for the server took longer"),
        ("local", "failed to download"),
    ] {
        let text = bench.refused(artifact(format!("{host}/{path}"))).await;
        assert!(text.contains(what), "{text}");
    }
}

#[tokio::test]
async fn a_cached_artifact_is_asked_for_once_however_many_want_it() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let tar = gzip(&honest_tar());
    let host = serve(Router::new().route(
        "/app.tgz",
        get(move || {
            counter.fetch_add(1, Ordering::Relaxed);
            let tar = tar.clone();
            async move { tar }
        }),
    ))
    .await;
    let bench = Bench::new();
    let wanted = Artifact { cache: true, ..artifact(format!("{host}/app.tgz")) };
    let fetches: Vec<_> = (0..10)
        .map(|n| {
            let sandbox = bench.sandbox().join(n.to_string());
            fs::create_dir(&sandbox).unwrap();
            let (fetcher, wanted) = (bench.fetcher.clone(), wanted.clone());
            tokio::spawn(
                async move { fetcher.fetch(&sandbox, Path::new(""), None, vec![wanted]).await },
            )
        })
        .collect();
    for fetch in fetches {
        fetch.await.unwrap().unwrap();
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    assert_eq!(bench.read("9/app/run"), "#!/bin/sh\n");
    assert!(!bench.sandbox().join("9/app.tgz").exists(), "unpacked from the cache, not copied");
    let plain = Artifact { extract: false, executable: true, ..wanted };
    bench.fetch(plain).await.unwrap();
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    let mode = fs::metadata(bench.sandbox().join("app.tgz")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o755);
}

#[tokio::test]
async fn a_failed_download_is_not_cached() {
    let bench = Bench::new();
    let uri = format!("file://{}/source/late", bench.dir.path().display());
    let wanted = Artifact { cache: true, ..artifact(uri) };
    bench.refused(wanted.clone()).await;
    bench.file("late", b"there now");
    bench.fetch(wanted).await.unwrap();
    assert_eq!(bench.read("late"), "there now");
}

#[tokio::test]
async fn files_belong_to_the_user_and_are_read_with_the_users_rights() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: needs root");
        return;
    }
    let bench = Bench::new();
    let open =
        |path: PathBuf| fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    open(bench.dir.path().to_owned());
    let tar = bench.file("app.tar", &honest_tar());
    let secret = bench.file("secret", b"root only");
    let private = fs::Permissions::from_mode(0o600);
    fs::set_permissions(bench.dir.path().join("source/secret"), private).unwrap();
    let fetch = |uri: String| {
        let sandbox = bench.sandbox();
        let fetcher = bench.fetcher.clone();
        async move { fetcher.fetch(&sandbox, Path::new(""), Some("nobody"), vec![artifact(uri)]).await }
    };
    fetch(tar).await.unwrap();
    for name in ["app.tar", "app", "app/run", "app/lib", "app/lib/so", "app/copy"] {
        let owner = fs::symlink_metadata(bench.sandbox().join(name)).unwrap().uid();
        assert_eq!(owner, 65534, "{name}");
    }
    let text = chain(&fetch(secret).await.unwrap_err());
    assert!(text.contains("Permission denied"), "{text}");
    let fetcher = bench.fetcher.clone();
    let stranger =
        fetcher.fetch(&bench.sandbox(), Path::new(""), Some("no-such-user"), Vec::new()).await;
    assert!(chain(&stranger.unwrap_err()).contains("'no-such-user'"));
}

#[tokio::test]
async fn every_request_says_that_it_is_for_a_task_also_after_a_redirect_to_another_port() {
    let asked = async |headers: HeaderMap| format!("{:?}", headers.get(FOR_TASK));
    let inner = serve(Router::new().route("/file", get(asked))).await;
    let moved = async move || Redirect::temporary(&format!("{inner}/file"));
    let outer = serve(Router::new().route("/file", get(asked)).route("/moved", get(moved))).await;
    let bench = Bench::new();
    for name in ["file", "moved"] {
        bench.fetch(artifact(format!("{outer}/{name}"))).await.unwrap();
        assert_eq!(bench.read(name), "Some(\"fetch\")");
    }
}

#[tokio::test]
async fn special_files_are_not_sources() {
    let bench = Bench::new();
    let text = bench.refused(artifact("file:///dev/null")).await;
    assert!(text.contains("not a regular file"), "{text}");
    bench.refused(artifact("file:///proc")).await;
    bench.refused(artifact("/no/such/file")).await;
}

#[tokio::test]
async fn a_pipe_that_nobody_writes_to_is_waited_for_by_no_thread_and_not_for_long() {
    let bench = Bench::with(Limits { stall: Duration::from_millis(300), ..Limits::default() });
    fs::set_permissions(bench.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let pipe = bench.dir.path().join("source/pipe");
    let mode = rustix::fs::Mode::from_bits_truncate(0o666);
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let uri = format!("file://{}", pipe.display());
    let own = bench.refused(artifact(uri.clone()));
    let own = tokio::time::timeout(Duration::from_secs(30), own).await.unwrap();
    assert!(own.contains("not a regular file"), "{own}");
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: reading as another user needs root");
        return;
    }
    let sandbox = bench.sandbox();
    let others = bench.fetcher.fetch(&sandbox, Path::new(""), Some("nobody"), vec![artifact(uri)]);
    let others = tokio::time::timeout(Duration::from_secs(30), others).await.unwrap();
    assert!(matches!(others, Err(FetchError::TooSlow { .. })), "{others:?}");
}

//! Sandboxes are shown; nothing beside them is.

use std::fs;
use std::os::unix::fs::symlink;

use axum::http::StatusCode;
use serde_json::json;

use crate::rig::{Rig, command};

fn with_task() -> (Rig, String) {
    let rig = Rig::new();
    rig.launch(command("t1"));
    let sandbox = rig.sandbox("t1");
    fs::write(sandbox.join("stdout"), "hello w\u{f6}rld\n").unwrap();
    fs::create_dir(sandbox.join("data")).unwrap();
    (rig, sandbox.display().to_string())
}

#[tokio::test]
async fn a_sandbox_is_browsed_by_all_its_names() {
    let (rig, sandbox) = with_task();
    let above = sandbox.rsplit_once('/').unwrap().0;
    let virtual_path = "/frameworks/f1/executors/t1/runs/latest";
    for path in [sandbox.as_str(), &format!("{above}/latest"), virtual_path] {
        for prefix in ["", "/slave(1)", "/slave%281%29"] {
            let answer = rig.get(&format!("{prefix}/files/browse?path={path}")).await.json();
            assert_eq!(answer[0]["path"], format!("{path}/data"));
            assert_eq!(answer[0]["mode"], "drwxr-xr-x");
            assert_eq!(answer[1]["path"], format!("{path}/stdout"));
            assert_eq!(answer[1]["size"], 13);
            let mut keys: Vec<_> = answer[1].as_object().unwrap().keys().cloned().collect();
            keys.sort();
            assert_eq!(keys, ["gid", "mode", "mtime", "nlink", "path", "size", "uid"]);
        }
    }
    let debug = rig.get("/files/debug").await.json();
    assert_eq!(debug[virtual_path], sandbox.as_str());
}

#[tokio::test]
async fn files_are_read_from_an_offset_on() {
    let (rig, sandbox) = with_task();
    let read = |query: &str| {
        let url = format!("/files/read?path={sandbox}/stdout{query}");
        let rig = rig.clone();
        async move { rig.get(&url).await }
    };
    assert_eq!(read("").await.json(), json!({"data": "", "offset": 14 - 1}));
    assert_eq!(read("&offset=-1").await.json(), json!({"data": "", "offset": 13}));
    let whole = json!({"data": "hello w\u{f6}rld\n", "offset": 0});
    assert_eq!(read("&offset=0").await.json(), whole);
    assert_eq!(read("&offset=0&length=-1").await.json(), whole);
    assert_eq!(read("&offset=6&length=1").await.json(), json!({"data": "w", "offset": 6}));
    let split = read("&offset=6&length=2").await.json();
    assert_eq!(split, json!({"data": "w", "offset": 6}), "half a character waits");
    assert_eq!(read("&offset=99").await.json(), json!({"data": "", "offset": 13}));
    for (query, text) in [
        ("&offset=-2", "Negative offset provided: -2."),
        ("&length=-2", "Negative length provided: -2."),
        ("&offset=x", "Failed to parse offset: 'x'."),
    ] {
        let answer = read(query).await;
        assert_eq!((answer.status, answer.text().as_str()), (StatusCode::BAD_REQUEST, text));
    }
}

#[tokio::test]
async fn a_read_is_never_larger_than_sixteen_pages() {
    let (rig, sandbox) = with_task();
    fs::write(format!("{sandbox}/big"), vec![b'x'; 100_000]).unwrap();
    let path = format!("/files/read?path={sandbox}/big&offset=0&length=99999");
    let data = rig.get(&path).await.json()["data"].as_str().unwrap().len();
    assert_eq!(data, 65_536);
}

#[tokio::test]
async fn downloads_are_attachments_that_are_not_sniffed() {
    let (rig, sandbox) = with_task();
    fs::write(format!("{sandbox}/page.html"), "<script>").unwrap();
    let big: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
    fs::write(format!("{sandbox}/big"), &big).unwrap();
    let page = rig.get(&format!("/files/download?path={sandbox}/page.html")).await;
    assert_eq!(page.status, StatusCode::OK);
    assert_eq!(page.header("content-disposition"), "attachment; filename=\"page.html\"");
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    assert_eq!(page.header("content-length"), "8");
    let big_answer = rig.get(&format!("/files/download?path={sandbox}/big")).await;
    assert!(big_answer.body == big, "the bytes differ");
}

#[tokio::test]
async fn nothing_outside_a_sandbox_is_shown() {
    let (rig, sandbox) = with_task();
    let outside = rig.work_dir.join("secret");
    fs::write(&outside, "secret").unwrap();
    symlink(&outside, format!("{sandbox}/link")).unwrap();
    symlink("/etc", format!("{sandbox}/etc")).unwrap();
    symlink("../../../../../../../../secret", format!("{sandbox}/relative")).unwrap();
    symlink("/proc/self/root", format!("{sandbox}/root")).unwrap();
    symlink("loop", format!("{sandbox}/loop")).unwrap();
    symlink("/proc", format!("{sandbox}/proc")).unwrap();
    for path in [
        "/slave/log".to_owned(),
        "/master/log".to_owned(),
        "/proc/self/environ".to_owned(),
        format!("{sandbox}/proc/self/environ"),
        format!("{sandbox}/../latest/../../secret"),
        format!("{sandbox}/data/%2e%2e/stdout"),
        format!("{sandbox}/stdout%00.txt"),
        "/etc/passwd".to_owned(),
        rig.work_dir.display().to_string(),
        outside.display().to_string(),
        format!("{sandbox}/../../secret"),
        format!("{sandbox}/%2e%2e/%2e%2e/secret"),
        format!("{sandbox}/link"),
        format!("{sandbox}/etc"),
        format!("{sandbox}/etc/passwd"),
        format!("{sandbox}/relative"),
        format!("{sandbox}/root/etc/passwd"),
        format!("{sandbox}/loop"),
        format!("{sandbox}/absent"),
        format!("{sandbox}/stdout/x"),
        format!("{sandbox}%00/stdout"),
    ] {
        for endpoint in ["browse", "read", "download"] {
            let answer = rig.get(&format!("/files/{endpoint}?path={path}&offset=0")).await;
            assert_eq!(
                answer.status,
                StatusCode::NOT_FOUND,
                "{endpoint} {path}: {}",
                answer.text()
            );
        }
    }
}

#[tokio::test]
async fn links_within_a_sandbox_lead_where_they_should() {
    let (rig, sandbox) = with_task();
    symlink("../stdout", format!("{sandbox}/data/log")).unwrap();
    let answer = rig.get(&format!("/files/read?path={sandbox}/data/log&offset=0&length=5")).await;
    assert_eq!(answer.json()["data"], "hello");
}

#[tokio::test]
async fn a_second_name_of_a_file_of_its_own_is_as_good_as_the_first() {
    let (rig, sandbox) = with_task();
    fs::hard_link(format!("{sandbox}/stdout"), format!("{sandbox}/data/hard")).unwrap();
    let answer = rig.get(&format!("/files/read?path={sandbox}/data/hard&offset=0&length=5")).await;
    assert_eq!(answer.json()["data"], "hello");
    let list = rig.get(&format!("/files/browse?path={sandbox}/data")).await.json();
    assert_eq!(list[0]["nlink"], 2);
}

#[tokio::test]
async fn bytes_that_are_no_text_are_replaced_in_json_and_kept_in_downloads() {
    let (rig, sandbox) = with_task();
    fs::write(format!("{sandbox}/bin"), b"a\xff\x00b").unwrap();
    let read = rig.get(&format!("/files/read?path={sandbox}/bin&offset=0")).await.json();
    assert_eq!(read["data"], "a\u{fffd}\u{0}b");
    let whole = rig.get(&format!("/files/download?path={sandbox}/bin")).await;
    assert_eq!(&whole.body[..], b"a\xff\x00b");
}

#[tokio::test]
async fn pipes_and_strangers_files_are_refused_without_waiting() {
    let (rig, sandbox) = with_task();
    let pipe = format!("{sandbox}/pipe");
    let mode = rustix::fs::Mode::from_bits_truncate(0o666);
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let answer = rig.get(&format!("/files/read?path={pipe}&offset=0")).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    let socket = format!("{sandbox}/s");
    rustix::fs::mknodat(rustix::fs::CWD, &socket, rustix::fs::FileType::Socket, mode, 0).unwrap();
    let answer = rig.get(&format!("/files/download?path={socket}")).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: a file of somebody else needs root");
        return;
    }
    let foreign = rig.work_dir.join("foreign");
    fs::write(&foreign, "root only").unwrap();
    std::os::unix::fs::chown(&sandbox, Some(65534), Some(65534)).unwrap();
    fs::hard_link(&foreign, format!("{sandbox}/hard")).unwrap();
    let answer = rig.get(&format!("/files/download?path={sandbox}/hard")).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn the_wrong_kind_and_no_path_at_all_are_bad_requests() {
    let (rig, sandbox) = with_task();
    for path in [
        "/files/browse".to_owned(),
        "/files/read?offset=0".to_owned(),
        "/files/download?path=".to_owned(),
        format!("/files/read?path={sandbox}&offset=0"),
        format!("/files/download?path={sandbox}/data"),
        format!("/files/browse?path={sandbox}/stdout"),
    ] {
        assert_eq!(rig.get(&path).await.status, StatusCode::BAD_REQUEST, "{path}");
    }
}

#[tokio::test]
async fn the_operator_api_lists_and_reads_the_same_files() {
    let (rig, sandbox) = with_task();
    let list = json!({"type": "LIST_FILES", "list_files": {"path": sandbox}});
    let list = rig.post("/api/v1", list).await.json();
    assert_eq!(list["list_files"]["file_infos"][1]["path"], format!("{sandbox}/stdout"));
    let read = json!({
        "type": "READ_FILE",
        "read_file": {"path": format!("{sandbox}/stdout"), "offset": 0, "length": 5},
    });
    let read = rig.post("/api/v1", read).await.json();
    assert_eq!(read["read_file"], json!({"size": 13, "data": "aGVsbG8="}));
    let absent = json!({"type": "LIST_FILES", "list_files": {"path": "/etc"}});
    assert_eq!(rig.post("/api/v1", absent).await.status, StatusCode::NOT_FOUND);
}

//! The arrows between crates point down only, and pure crates stay pure (ARCHITECTURE.md).

// Helpers of a test: what is not there fails it.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Every crate by row, from the bottom. A crate may use crates of lower rows only.
const ROWS: &[&[&str]] = &[
    &["tepui-types"],
    &["tepui-wire", "tepui-marathon", "tepui-allocator"],
    &["tepui-link", "tepui-container", "tepui-election", "tepui-plugin-abi"],
    &["tepui-cluster", "tepui-apps", "tepui-agent", "tepui-plugin-sdk"],
    &["tepui-leader", "tepui-replay", "tepui-plugin-allocators"],
    &["tepui-netlink", "tepui-ensemble", "tepui-plugin-binpack", "tepui-plugin-priority"],
    &[
        "tepui-process",
        "tepui-plugin-host",
        "tepui-cgroup",
        "tepui-systemd",
        "tepui-network",
        "tepui-probe",
        "tepui-fetch",
        "tepui-images",
        "tepui-store",
        "tepui-finder",
        "tepui-checkpoint",
    ],
    &[
        "tepui-launch",
        "tepui-runtime",
        "tepui-accounting",
        "tepui-api",
        "tepui-rest",
        "tepui-standby",
        "tepui-agent-api",
    ],
    &["tepui-isolators"],
    &["tepui-control-plane", "tepui-agentd", "tepui", "tepui-sim"],
    &["tepui-plugin-numa", "tepui-plugin-broken"],
];

/// Crates that only decide: no clock, no file, no socket, no thread, no chance.
const PURE: &[&str] = &[
    "tepui-types",
    "tepui-wire",
    "tepui-marathon",
    "tepui-allocator",
    "tepui-link",
    "tepui-container",
    "tepui-election",
    "tepui-cluster",
    "tepui-apps",
    "tepui-agent",
    "tepui-leader",
    "tepui-replay",
    "tepui-plugin-allocators",
    "tepui-plugin-binpack",
    "tepui-plugin-priority",
];

/// What a pure crate's sources must not mention.
const IMPURE: &[&str] = &[
    "std::fs",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "std::env",
    "std::process",
    "std::thread",
    "SystemTime",
    "Instant::now",
    "std::io::stdin",
    "tokio::",
    "rand::",
];

struct Crate {
    name: String,
    folder: PathBuf,
    manifest: toml::Table,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn crates() -> Vec<Crate> {
    let mut found = Vec::new();
    for group in ["control-plane", "agentd", "ebpf", "plugins"] {
        for entry in fs::read_dir(root().join(group)).unwrap() {
            let folder = entry.unwrap().path();
            let Ok(text) = fs::read_to_string(folder.join("Cargo.toml")) else { continue };
            let manifest: toml::Table = text.parse().unwrap();
            if manifest.contains_key("workspace") {
                continue;
            }
            let name = manifest["package"]["name"].as_str().unwrap().to_owned();
            if name == "tepui-fuzz" {
                continue;
            }
            found.push(Crate { name, folder, manifest });
        }
    }
    found
}

fn row_of() -> BTreeMap<&'static str, usize> {
    ROWS.iter().enumerate().flat_map(|(row, names)| names.iter().map(move |n| (*n, row))).collect()
}

#[test]
fn every_crate_stands_in_a_row_and_every_row_names_a_crate() {
    let rows = row_of();
    let mut found: Vec<String> = crates().into_iter().map(|c| c.name).collect();
    let mut named: Vec<String> = rows.keys().map(|n| (*n).to_owned()).collect();
    found.sort();
    named.sort();
    assert_eq!(found, named);
}

#[test]
fn arrows_point_down_only() {
    let rows = row_of();
    let mut wrong = Vec::new();
    for krate in crates() {
        let Some(dependencies) = krate.manifest.get("dependencies") else { continue };
        for dependency in dependencies.as_table().unwrap().keys() {
            if let Some(row) = rows.get(dependency.as_str())
                && *row >= rows[krate.name.as_str()]
            {
                wrong.push(format!("{} -> {dependency}", krate.name));
            }
        }
    }
    assert!(wrong.is_empty(), "these arrows do not point down: {wrong:?}");
}

fn sources(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
}

/// Crates that may hold unsafe code, each block with its proof. Others are told by the lint
/// `unsafe_code`; this is who may do without it.
const UNSAFE: &[&str] =
    &["tepui-accounting", "tepui-plugin-abi", "tepui-plugin-host", "tepui-runtime"];

#[test]
fn unsafe_code_is_where_it_is_said_to_be() {
    let mut wrong = Vec::new();
    for krate in crates() {
        let lints = krate.manifest.get("lints").and_then(|lints| lints.get("workspace"));
        let held = lints.and_then(toml::Value::as_bool) == Some(true);
        if !held && !UNSAFE.contains(&krate.name.as_str()) {
            wrong.push(krate.name);
        }
    }
    assert!(wrong.is_empty(), "these are not held to the workspace's lints: {wrong:?}");
}

#[test]
fn pure_crates_touch_neither_clock_nor_disk_nor_network() {
    let mut wrong = Vec::new();
    for krate in crates().into_iter().filter(|c| PURE.contains(&c.name.as_str())) {
        let mut files = Vec::new();
        sources(&krate.folder.join("src"), &mut files);
        for file in files {
            let text = fs::read_to_string(&file).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            for line in code.lines().filter(|l| !l.trim_start().starts_with("//")) {
                if let Some(word) = IMPURE.iter().find(|word| line.contains(**word)) {
                    wrong.push(format!("{}: {word}", file.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "pure crates act: {wrong:#?}");
}

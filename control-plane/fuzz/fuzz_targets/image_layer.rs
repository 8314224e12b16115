//! Whatever a layer holds, it changes nothing outside its folder.
#![no_main]

use std::fs;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use tepui_images::fuzzing::unpack_layer;

/// A tar file of the entries that the bytes describe: kind, mode, lengths of path, link and text,
/// and these. Checksums are right, so that what is behind them is reached.
fn tar(mut bytes: &[u8], outside: &str) -> Vec<u8> {
    let mut tar = Vec::new();
    while let [kind, mode, path, link, text, rest @ ..] = bytes {
        let take = |rest: &mut &[u8], length: u8| {
            let (taken, left) = rest.split_at(usize::from(length % 100).min(rest.len()));
            *rest = left;
            taken.to_vec()
        };
        let mut rest = rest;
        let (path, link, text) =
            (take(&mut rest, *path), take(&mut rest, *link), take(&mut rest, *text));
        // A byte that stands for the folder outside makes attacks likely.
        let name = |name: Vec<u8>| match name.split_first() {
            Some((b'~', rest)) => [outside.as_bytes(), rest].concat(),
            _ => name,
        };
        let (path, link) = (name(path), name(link));
        let mut header = [0u8; 512];
        header[..path.len().min(100)].copy_from_slice(&path[..path.len().min(100)]);
        header[157..157 + link.len().min(100)].copy_from_slice(&link[..link.len().min(100)]);
        header[100..107].copy_from_slice(format!("{:07o}", u32::from(*mode) << 4).as_bytes());
        header[108..115].copy_from_slice(b"0000000");
        header[116..123].copy_from_slice(b"0000000");
        header[124..135].copy_from_slice(format!("{:011o}", text.len()).as_bytes());
        header[136..147].copy_from_slice(b"00000000001");
        header[148..156].copy_from_slice(b"        ");
        header[156] = b"00123456757LKxgS"[usize::from(kind % 16)];
        header[257..265].copy_from_slice(b"ustar  \0");
        let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        tar.extend_from_slice(&header);
        tar.extend_from_slice(&text);
        tar.resize(tar.len().next_multiple_of(512), 0);
        bytes = rest;
    }
    tar.resize(tar.len() + 1024, 0);
    tar
}

/// Everything below, by path, with contents and mode.
fn snapshot(path: &Path, all: &mut Vec<String>) {
    use std::os::unix::fs::MetadataExt;
    for entry in fs::read_dir(path).expect("the folder is there") {
        let path = entry.expect("it can be read").path();
        let meta = fs::symlink_metadata(&path).expect("it is there");
        let text = if meta.is_file() { fs::read(&path).unwrap_or_default() } else { Vec::new() };
        all.push(format!("{path:?} {:o} {} {text:?}", meta.mode(), meta.nlink()));
        if meta.is_dir() && !path.ends_with("layer") {
            snapshot(&path, all);
        }
    }
    all.sort();
}

fuzz_target!(|data: &[u8]| {
    let Some((form, data)) = data.split_first() else { return };
    let outside = std::env::temp_dir().join(format!("tepui-fuzz-{}", std::process::id()));
    let (layer, lower) = (outside.join("layer"), outside.join("lower"));
    let _ = fs::remove_dir_all(&layer);
    fs::create_dir_all(&layer).expect("the layer's folder is made");
    fs::create_dir_all(lower.join("folder")).expect("the lower layer is made");
    fs::write(lower.join("file"), "kept").expect("the lower file is made");
    let _ = std::os::unix::fs::symlink("/etc", lower.join("link"));
    let (mut before, mut after) = (Vec::new(), Vec::new());
    let there = |all: &mut Vec<String>| {
        snapshot(&outside, all);
        // The layer's own folder may change, in links and mode.
        all.retain(|line| !line.contains("/layer\""));
    };
    there(&mut before);
    let bytes = match form % 2 {
        0 => data.to_vec(),
        _ => tar(data, outside.to_str().unwrap_or_default()),
    };
    unpack_layer(&bytes, &layer, &lower);
    there(&mut after);
    assert_eq!(before, after);
});

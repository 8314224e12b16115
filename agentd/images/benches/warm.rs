//! What it costs to find an image that is here, alone and while everything else is busy.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use tepui_images::{ImageRequest, Images, Policy};

const ROUNDS: u32 = 200_000;

fn measure(runtime: &tokio::runtime::Runtime, images: &Images, request: &ImageRequest) -> Duration {
    let began = Instant::now();
    runtime.block_on(async {
        for _ in 0..ROUNDS {
            std::hint::black_box(images.ensure(request, |_| {}).await.unwrap());
        }
    });
    began.elapsed() / ROUNDS
}

fn main() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let made = support::Made::new(&[support::layer(&[("a", "1")])]);
    made.write_layout(&dir.path().join("web"), "1");
    let images = Images::open(&dir.path().join("store"), support::quick()).unwrap();
    let request = ImageRequest::new(format!("oci:{}:1", dir.path().join("web").display()));
    let held = runtime.block_on(images.ensure(&request, |_| {})).unwrap();
    println!("ensure of a present image: {:?}", measure(&runtime, &images, &request));
    let busy = images.clone();
    let forced = ImageRequest { fresh: true, ..request.clone() };
    let puller = runtime.spawn(async move {
        loop {
            busy.ensure(&forced, |_| {}).await.unwrap();
            let all = Policy::prune(Vec::new());
            busy.collect(&all, std::time::SystemTime::now()).unwrap();
        }
    });
    println!("the same beside pulls and collections: {:?}", measure(&runtime, &images, &request));
    puller.abort();
    drop(held);
}

//! Prints how many durable commits per second the embedded store makes on this disk.
//!
//! `cargo run --release -p tepui-store --example commits [DIRECTORY]`; the directory must be on
//! the disk in question, the default is below the system's temporary directory.

use std::time::{Duration, Instant};

use tepui_store::{Batch, Embedded, Op, Store};
use tepui_types::Uuid;

const SPAN: Duration = Duration::from_secs(2);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let parent = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, Into::into);
    let place = parent.join(format!("tepui-commits-{}", std::process::id()));
    for (records, bytes) in [(1, 512), (32, 512), (1, 65_536)] {
        let mut store = Embedded::open(&place, Uuid::from_bytes([1; 16]))?;
        let term = store.acquire()?;
        let start = Instant::now();
        let mut commits = 0_u32;
        let mut slowest = Duration::ZERO;
        while start.elapsed() < SPAN {
            let put = |i| Op::Put {
                key: format!("agents/{}", (commits * 32 + i) % 50_000),
                value: vec![7; bytes],
            };
            let batch = Batch { ops: (0..records).map(put).collect() };
            let before = Instant::now();
            store.commit(term, batch)?;
            slowest = slowest.max(before.elapsed());
            commits += 1;
        }
        let rate = f64::from(commits) / start.elapsed().as_secs_f64();
        println!(
            "{records:>3} records of {bytes:>6} bytes: {rate:>7.0} commits/s, slowest {:.1} ms",
            slowest.as_secs_f64() * 1e3
        );
        drop(store);
        let start = Instant::now();
        let loaded = Embedded::open(&place, Uuid::from_bytes([1; 16]))?.load("")?.len();
        println!(
            "    reopened and loaded {loaded} records in {:.0} ms",
            start.elapsed().as_secs_f64() * 1e3
        );
        std::fs::remove_dir_all(&place)?;
    }
    Ok(())
}

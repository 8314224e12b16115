//! What a follower is told by a real ZooKeeper whose connection broke meanwhile.

// Helpers of a test: what is not there fails it.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use tepui_ensemble::servers::Server;
use tepui_ensemble::{Ensemble, EnsembleError, News, Place, Stamp};
use tokio::sync::mpsc::Receiver;

const PATIENCE: Duration = Duration::from_secs(60);

type Told = Receiver<Result<News, EnsembleError>>;

/// The records of who leads in a piece of news.
fn metas(news: News) -> Vec<Vec<u8>> {
    let all = match news {
        News::Snapshot(all) => all.into_iter().map(|(place, value)| (place, Some(value))).collect(),
        News::Changes(changes) => changes,
    };
    let of_meta = all.into_iter().filter(|(place, _)| matches!(place, Place::Meta));
    of_meta.filter_map(|(_, value)| value).collect()
}

/// Waits until this record is told; the same watch tells it, or `news` had ended.
async fn wait_for(news: &mut Told, meta: &[u8]) {
    let told = async {
        loop {
            let one = news.recv().await.expect("the watch goes on").expect("the session is alive");
            if metas(one).iter().any(|told| told == meta) {
                return;
            }
        }
    };
    let what = String::from_utf8_lossy(meta);
    tokio::time::timeout(PATIENCE, told).await.unwrap_or_else(|_| panic!("{what} is never told"));
}

async fn swap(ensemble: &Ensemble, stamp: Option<Stamp>, meta: &[u8]) -> Stamp {
    ensemble.swap(stamp, meta, &[]).await.unwrap()
}

#[test]
fn a_session_that_comes_back_to_a_server_is_told_what_changes_from_then_on() {
    let server = Server::zookeeper();
    let address = server.address("/watched");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let follower = Ensemble::connect(&address).await.unwrap();
        let mut news = follower.follow();
        let stamp = swap(&follower, None, b"first").await;
        wait_for(&mut news, b"first").await;
        // Silent for longer than the session waits for an answer, and shorter than it lasts.
        server.signal("STOP");
        while follower.meta().await.is_ok() {}
        server.signal("CONT");
        let writer = Ensemble::connect(&address).await.unwrap();
        let stamp = swap(&writer, Some(stamp), b"meanwhile").await;
        wait_for(&mut news, b"meanwhile").await;
        let stamp = swap(&writer, Some(stamp), b"later").await;
        wait_for(&mut news, b"later").await;
        swap(&writer, Some(stamp), b"and later").await;
        wait_for(&mut news, b"and later").await;
    });
}

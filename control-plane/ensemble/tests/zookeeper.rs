//! What a follower is told by a real ZooKeeper whose connection broke meanwhile.

// Helpers of a test: what is not there fails it.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use tepui_ensemble::servers::Server;
use tepui_ensemble::{Address, Ensemble, EnsembleError, News, Place, Stamp};
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

/// An error and what is below it.
fn reasons(error: &dyn std::error::Error) -> String {
    let all = std::iter::successors(Some(error), |error| error.source());
    all.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[test]
fn a_follower_that_is_cut_off_hears_of_it_long_before_its_session_is_over() {
    let server = Server::zookeeper();
    let address = server.address("/cut-off");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let follower = Ensemble::connect(&address).await.unwrap();
        let mut news = follower.follow();
        swap(&follower, None, b"first").await;
        wait_for(&mut news, b"first").await;
        server.signal("STOP");
        let told = tokio::time::timeout(PATIENCE, news.recv()).await.unwrap().unwrap();
        let why = reasons(&told.unwrap_err());
        assert!(why.contains("without a server"), "{why}");
        // It hears that each time, and as soon as the server is back whatever is there.
        let told = tokio::time::timeout(PATIENCE, follower.follow().recv()).await.unwrap().unwrap();
        assert!(told.is_err());
        server.signal("CONT");
        let told = async {
            loop {
                let mut news = follower.follow();
                if let Some(Ok(first)) = news.recv().await {
                    return metas(first);
                }
            }
        };
        assert_eq!(tokio::time::timeout(PATIENCE, told).await.unwrap(), [b"first"]);
    });
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

#[test]
fn whoever_only_reads_soon_hears_that_nobody_is_there() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let address = Address::parse(&format!("zk://{at}/here")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let refused = || {
        let begin = Instant::now();
        runtime.block_on(Ensemble::connect_to_read(&address)).unwrap_err();
        begin.elapsed()
    };
    let silent = refused();
    assert!(silent < Duration::from_secs(9), "it takes connections and is silent: {silent:?}");
    drop(listener);
    let nobody = refused();
    assert!(nobody < Duration::from_secs(9), "nobody listens: {nobody:?}");
}

/// Nobody listens there any more.
fn nowhere() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[tokio::test]
async fn who_is_to_lead_soon_knows_which_servers_are_away_and_why() {
    let (one, other) = (nowhere(), nowhere());
    let address = Address::parse(&format!("zk://{one},{other}/mesos")).unwrap();
    let begin = Instant::now();
    let error = Ensemble::connect_to_lead(&address, Duration::from_secs(5)).await.unwrap_err();
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
    let why = std::error::Error::source(&error).unwrap().to_string();
    for server in [one, other] {
        assert!(why.contains(&format!("{server}: Connection refused")), "{why}");
    }
}

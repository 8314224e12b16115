//! HTTP connections: taken, given time, and ended.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::Extensions;
use axum::response::Response;
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tracing::{debug, warn};

/// How long to wait before the next connection when the process has no descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// How much time a client gets for what costs it nothing to delay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// From the connection to its first whole request head.
    pub first_head: Duration,
    /// From the end of a request to the next whole head. Long, because schedulers and executors
    /// keep a connection for calls that are far apart.
    pub next_head: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { first_head: Duration::from_secs(30), next_head: Duration::from_secs(60 * 60) }
    }
}

/// The connection that a request came by; among the extensions of each.
#[derive(Clone, Debug)]
pub struct Connection {
    /// The client's end.
    pub peer: SocketAddr,
    /// This end: the address that the client connected to.
    pub local: SocketAddr,
    known: Arc<Mutex<Extensions>>,
}

impl Connection {
    /// A connection of which nothing else is known.
    #[must_use]
    pub fn new(peer: SocketAddr, local: SocketAddr) -> Self {
        Self { peer, local, known: Arc::default() }
    }

    /// What was found out about it for an earlier request.
    #[must_use]
    pub fn known<T: Clone + Send + Sync + 'static>(&self) -> Option<T> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get().cloned()
    }

    /// Keeps what was found out, for all requests that follow.
    pub fn keep<T: Clone + Send + Sync + 'static>(&self, found: T) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(found);
    }
}

/// Serves every connection of `listener` until `stop`, then lets open requests end.
pub async fn serve_http(
    listener: TcpListener,
    router: Router,
    patience: Patience,
    mut stop: watch::Receiver<bool>,
) {
    let (open, mut all_closed) = mpsc::channel::<Infallible>(1);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopped(&mut stop) => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                let (router, stop, open) = (router.clone(), stop.clone(), open.clone());
                tokio::spawn(async move {
                    connection(stream, peer, router, patience, stop).await;
                    drop(open);
                });
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                warn!(%error, "connection not accepted, retrying");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop((listener, open));
    // Nothing is ever sent: this ends when the last connection has dropped its end.
    let _ = all_closed.recv().await;
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // A sender that is gone wants nothing any more.
    let _ = stop.wait_for(|stop| *stop).await;
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    patience: Patience,
    mut stop: watch::Receiver<bool>,
) {
    let Ok(local) = stream.local_addr() else { return };
    let itself = Connection::new(peer, local);
    // Small answers and events leave at once; a peer that is gone shows at the first read.
    let _ = stream.set_nodelay(true);
    let spoke = Arc::new(AtomicBool::new(false));
    let (inner, seen) = (TowerToHyperService::new(router), spoke.clone());
    let service = service_fn(move |mut request: Request<Incoming>| {
        seen.store(true, Ordering::Relaxed);
        request.extensions_mut().insert(ConnectInfo(peer));
        request.extensions_mut().insert(itself.clone());
        let answer = inner.call(request);
        async move { answer.await as Result<Response, Infallible> }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(patience.next_head);
    let mut served = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut first = pin!(tokio::time::sleep(patience.first_head));
    let (mut is_young, mut is_ending) = (true, false);
    loop {
        tokio::select! {
            outcome = served.as_mut() => {
                if let Err(error) = outcome {
                    debug!(%peer, error, "connection ended");
                }
                return;
            }
            () = first.as_mut(), if is_young => {
                is_young = false;
                if !spoke.load(Ordering::Relaxed) {
                    debug!(%peer, "connection closed: no request in time");
                    return;
                }
            }
            () = stopped(&mut stop), if !is_ending => {
                is_ending = true;
                served.as_mut().graceful_shutdown();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const SHORT: Patience =
        Patience { first_head: Duration::from_millis(50), next_head: Duration::from_millis(200) };

    async fn served(patience: Patience) -> (SocketAddr, watch::Sender<bool>) {
        let own = get(|peer: ConnectInfo<SocketAddr>| async move { peer.0.ip().to_string() });
        let slow = get(move || async move {
            tokio::time::sleep(patience.next_head * 2).await;
            "late"
        });
        let router = Router::new().route("/", own).route("/slow", slow);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(serve_http(listener, router, patience, stopped));
        (address, stop)
    }

    async fn says(address: SocketAddr, text: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut heard = String::new();
        stream.read_to_string(&mut heard).await.unwrap();
        heard
    }

    #[tokio::test]
    async fn half_a_head_is_not_waited_for() {
        let (address, _stop) = served(SHORT).await;
        for text in ["", "GET / HT", "GET / HTTP/1.1\r\nHost: x\r\n", "PRI * HTTP/2.0\r\n\r\n"] {
            assert_eq!(says(address, text).await, "", "{text:?}");
        }
    }

    #[tokio::test]
    async fn an_idle_connection_is_closed_after_its_answer() {
        let (address, _stop) = served(SHORT).await;
        let heard = says(address, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(heard.starts_with("HTTP/1.1 200") && heard.ends_with("127.0.0.1"), "{heard}");
    }

    #[tokio::test]
    async fn an_answer_may_take_longer_than_a_head() {
        let (address, _stop) = served(SHORT).await;
        let heard = says(address, "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(heard.ends_with("late"), "{heard}");
    }

    #[tokio::test]
    async fn a_stop_ends_idle_connections_at_once() {
        let (address, stop) = served(Patience::default()).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut first = [0; 12];
        stream.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"HTTP/1.1 200");
        stop.send_replace(true);
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
    }
}

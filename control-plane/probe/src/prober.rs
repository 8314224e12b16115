use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;

/// Probes that run at once (`max_concurrent_marathon_health_checks`); more wait for their turn.
const MAX_AT_ONCE: usize = 256;

/// Asks ports. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Prober {
    turns: Arc<Semaphore>,
    tls: Arc<OnceLock<Option<Arc<ClientConfig>>>>,
}

/// What an HTTP probe saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The content type, if it was text.
    pub content_type: Option<String>,
    /// The beginning of the body, as much as was asked for.
    pub body: Bytes,
}

/// A probe without an answer.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// Nobody answered in time.
    #[error("no answer from {host}:{port} within {timeout:?}")]
    TimedOut {
        /// Who was asked.
        host: String,
        /// On which port.
        port: u16,
        /// For how long.
        timeout: Duration,
    },
    /// The connection could not be made.
    #[error("failed to connect to {host}:{port}: {source}")]
    Connect {
        /// Who was asked.
        host: String,
        /// On which port.
        port: u16,
        /// Why.
        source: io::Error,
    },
    /// The TLS handshake failed.
    #[error("failed the TLS handshake with {host}:{port}: {reason}")]
    Tls {
        /// Who was asked.
        host: String,
        /// On which port.
        port: u16,
        /// Why.
        reason: String,
    },
    /// The answer is not HTTP, or broke off.
    #[error("no HTTP answer from {host}:{port}: {reason}")]
    Http {
        /// Who was asked.
        host: String,
        /// On which port.
        port: u16,
        /// Why.
        reason: String,
    },
    /// The path or host cannot stand in a request.
    #[error("'{path}' on host '{host}' is no HTTP target")]
    Target {
        /// The host.
        host: String,
        /// The path.
        path: String,
    },
}

impl ProbeError {
    /// True when nobody listens on the port.
    pub fn is_refused(&self) -> bool {
        matches!(self, Self::Connect { source, .. }
            if source.kind() == io::ErrorKind::ConnectionRefused)
    }
}

/// Who is asked.
#[derive(Debug)]
pub struct Peer {
    host: String,
    port: u16,
    through: Option<TcpSocket>,
}

impl From<(&str, u16)> for Peer {
    fn from((host, port): (&str, u16)) -> Self {
        Self { host: host.to_owned(), port, through: None }
    }
}

impl Peer {
    /// An address of the network that a fresh socket was made in, which need not be this process's.
    #[must_use]
    pub fn through(socket: TcpSocket, address: SocketAddr) -> Self {
        Self { host: address.ip().to_string(), port: address.port(), through: Some(socket) }
    }

    async fn connect(&mut self) -> Result<TcpStream, ProbeError> {
        let (host, port) = (self.host.as_str(), self.port);
        let stream = match (self.through.take(), host.parse()) {
            (Some(socket), Ok(address)) => socket.connect(SocketAddr::new(address, port)).await,
            _ => TcpStream::connect((host, port)).await,
        };
        stream.map_err(|source| ProbeError::Connect { host: host.to_owned(), port, source })
    }
}

impl Default for Prober {
    fn default() -> Self {
        Self { turns: Arc::new(Semaphore::new(MAX_AT_ONCE)), tls: Arc::default() }
    }
}

/// A stream that HTTP can be spoken on.
trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

impl Prober {
    /// Connects and closes.
    ///
    /// # Errors
    /// When the connection does not stand in time. Waiting for a turn does not count.
    pub async fn tcp(&self, peer: impl Into<Peer>, timeout: Duration) -> Result<(), ProbeError> {
        self.within(peer.into(), timeout, async |peer| peer.connect().await.map(drop)).await
    }

    /// A GET request; the status is the answer, whatever it is.
    ///
    /// # Errors
    /// When no complete response head comes in time.
    pub async fn http(
        &self,
        tls: bool,
        peer: impl Into<Peer>,
        path: &str,
        timeout: Duration,
        keep_body_bytes: usize,
    ) -> Result<Answer, ProbeError> {
        let ask = async |peer: &mut Peer| {
            let stream = peer.connect().await?;
            let stream: Box<dyn Duplex> = match tls {
                false => Box::new(stream),
                true => Box::new(self.handshake(&peer.host, peer.port, stream).await?),
            };
            get(stream, &peer.host, peer.port, path, keep_body_bytes).await
        };
        self.within(peer.into(), timeout, ask).await
    }

    async fn within<T>(
        &self,
        mut peer: Peer,
        timeout: Duration,
        ask: impl AsyncFnOnce(&mut Peer) -> Result<T, ProbeError>,
    ) -> Result<T, ProbeError> {
        // The semaphore is never closed; if it were, probes would go unlimited.
        let _turn = self.turns.acquire().await.ok();
        let asked = tokio::time::timeout(timeout, ask(&mut peer)).await;
        let late = |_| {
            let (host, port) = (peer.host.clone(), peer.port);
            Err(ProbeError::TimedOut { host, port, timeout })
        };
        asked.unwrap_or_else(late)
    }

    async fn handshake(
        &self,
        host: &str,
        port: u16,
        stream: TcpStream,
    ) -> Result<tokio_rustls::client::TlsStream<TcpStream>, ProbeError> {
        let failed = |reason: String| ProbeError::Tls { host: host.to_owned(), port, reason };
        let config = self.tls.get_or_init(crate::tls::any_certificate).clone();
        let config = config.ok_or_else(|| failed("this build has no TLS".into()))?;
        let name = match host.parse::<IpAddr>() {
            Ok(address) => ServerName::IpAddress(address.into()),
            Err(_) => ServerName::try_from(host.to_owned()).map_err(|e| failed(e.to_string()))?,
        };
        TlsConnector::from(config).connect(name, stream).await.map_err(|e| failed(e.to_string()))
    }
}

async fn get(
    stream: Box<dyn Duplex>,
    host: &str,
    port: u16,
    path: &str,
    keep_body_bytes: usize,
) -> Result<Answer, ProbeError> {
    let failed = |error: hyper::Error| ProbeError::Http {
        host: host.to_owned(),
        port,
        reason: error.to_string(),
    };
    let authority = match host.parse::<IpAddr>() {
        Ok(IpAddr::V6(address)) => format!("[{address}]:{port}"),
        _ => format!("{host}:{port}"),
    };
    let request = Request::get(path)
        .header(header::HOST, authority)
        .header(header::USER_AGENT, concat!("tepui-probe/", env!("CARGO_PKG_VERSION")))
        .header(header::ACCEPT, "*/*")
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|_| ProbeError::Target { host: host.to_owned(), path: path.to_owned() })?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(failed)?;
        let status = response.status().as_u16();
        let content_type = response
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        let body = beginning(response.into_body(), keep_body_bytes).await;
        Ok(Answer { status, content_type, body })
    };
    // The connection does the reading; it is dropped with the last byte that is wanted.
    tokio::pin!(exchange);
    tokio::select! {
        answer = &mut exchange => answer,
        ended = connection => match ended {
            Ok(()) => exchange.await,
            Err(error) => Err(failed(error)),
        },
    }
}

/// Up to `limit` bytes; a body that breaks off is as long as it came.
async fn beginning(mut body: Incoming, limit: usize) -> Bytes {
    let mut kept = Vec::new();
    while kept.len() < limit {
        let Some(Ok(frame)) = body.frame().await else { break };
        if let Some(data) = frame.data_ref() {
            kept.extend_from_slice(&data[..data.len().min(limit - kept.len())]);
        }
    }
    kept.into()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    async fn serve(answer: &'static [u8]) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let _ = stream.read(&mut [0; 4096]).await;
                    let _ = stream.write_all(answer).await;
                });
            }
        });
        port
    }

    #[tokio::test]
    async fn a_port_that_listens_is_told_from_one_that_does_not() {
        let prober = Prober::default();
        let port = serve(b"").await;
        assert!(prober.tcp(("127.0.0.1", port), PATIENCE).await.is_ok());
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        assert!(prober.tcp(("127.0.0.1", closed), PATIENCE).await.unwrap_err().is_refused());
    }

    #[tokio::test]
    async fn a_redirect_is_an_answer_and_is_not_followed() {
        let port = serve(
            b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 5\r\n\r\nhello",
        )
        .await;
        let answer =
            Prober::default().http(false, ("127.0.0.1", port), "/", PATIENCE, 4).await.unwrap();
        assert_eq!((answer.status, &answer.body[..]), (302, &b"hell"[..]));
    }

    #[tokio::test]
    async fn what_is_not_http_is_said_to_be_so() {
        let port = serve(b"SSH-2.0-nothing\r\n").await;
        let error =
            Prober::default().http(false, ("127.0.0.1", port), "/", PATIENCE, 0).await.unwrap_err();
        assert!(matches!(error, ProbeError::Http { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_path_that_is_no_path_is_refused_and_does_not_panic() {
        let port = serve(b"").await;
        let error = Prober::default()
            .http(false, ("127.0.0.1", port), "/a b\r\nX: y", PATIENCE, 0)
            .await
            .unwrap_err();
        assert!(matches!(error, ProbeError::Target { .. }), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_server_is_given_up_in_time() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let error =
            Prober::default().http(false, ("127.0.0.1", port), "/", PATIENCE, 0).await.unwrap_err();
        assert!(matches!(error, ProbeError::TimedOut { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_certificate_that_nobody_signed_is_taken() {
        let key = rcgen::generate_simple_self_signed(vec!["elsewhere".into()]).unwrap();
        let config = rustls::ServerConfig::builder_with_provider(
            rustls::crypto::ring::default_provider().into(),
        )
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![key.cert.der().clone()],
            rustls::pki_types::PrivateKeyDer::Pkcs8(key.signing_key.serialize_der().into()),
        )
        .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = acceptor.accept(stream).await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await;
        });
        let answer =
            Prober::default().http(true, ("127.0.0.1", port), "/", PATIENCE, 0).await.unwrap();
        assert_eq!(answer.status, 204);
    }
}

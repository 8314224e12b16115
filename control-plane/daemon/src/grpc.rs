//! The agents' side door: one bidirectional stream per agent.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use tepui_cluster::Event;
use tepui_link::proto::agent_link_server::{AgentLink, AgentLinkServer};
use tepui_link::{LEADER_KEY, Report, proto};
use tepui_standby::Heard;
use tepui_types::LinkId;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};
use tracing::{debug, warn};

use crate::driver::Driver;
use crate::links::OUTBOX;

/// A registration carries every task of the agent, so it may be large.
const MAX_FRAME_BYTES: usize = 64 << 20;
/// How often a silent connection is probed, and how long the answer may take: finds partitions.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// Registrations that are in memory as more than their bytes. After a change of leader tens of
/// thousands wait; decoded they would take as much memory as all that is known of the cluster. So
/// many that neither the loop nor those who decode wait for each other.
const DECODED_AT_ONCE: usize = 1024;

/// Who serves agents: the leader's loop, as soon as there is one.
#[derive(Clone, Debug)]
pub struct Gate {
    driver: Arc<OnceLock<Driver>>,
    heard: Heard,
}

impl Gate {
    /// A gate that sends agents on to whoever leads.
    pub fn new(heard: Heard) -> Self {
        Self { driver: Arc::default(), heard }
    }

    /// Agents are served by this loop from now on. A process leads once in its life.
    pub fn open(&self, driver: Driver) {
        // It leads already.
        let _ = self.driver.set(driver);
    }

    fn refusal(&self) -> Status {
        let mut status = Status::unavailable("this control plane does not lead");
        let leader = self.heard.borrow().as_ref().and_then(|heard| heard.leader.clone());
        if let Some(leader) = leader.and_then(|leader| leader.agents.parse().ok()) {
            status.metadata_mut().insert(LEADER_KEY, leader);
        }
        status
    }
}

struct Service {
    gate: Gate,
    links: Arc<AtomicU64>,
    registrations: Arc<Semaphore>,
}

type Directives = Pin<Box<dyn Stream<Item = Result<proto::Directive, Status>> + Send>>;

#[tonic::async_trait]
impl AgentLink for Service {
    type SessionStream = Directives;

    async fn session(
        &self,
        request: Request<Streaming<proto::Report>>,
    ) -> Result<Response<Directives>, Status> {
        let Some(driver) = self.gate.driver.get().cloned() else {
            return Err(self.gate.refusal());
        };
        let link = LinkId(self.links.fetch_add(1, Ordering::Relaxed));
        let (outbox, directives) = mpsc::channel(OUTBOX);
        driver.link_opened(link, outbox);
        let reports = request.into_inner();
        let registrations = self.registrations.clone();
        tokio::spawn(async move {
            read_reports(&driver, link, reports, registrations).await;
            driver.event(Event::LinkClosed { link });
        });
        let frames = ReceiverStream::new(directives).map(|directive| Ok((*directive).into()));
        Ok(Response::new(Box::pin(frames)))
    }
}

async fn read_reports(
    driver: &Driver,
    link: LinkId,
    mut reports: Streaming<proto::Report>,
    registrations: Arc<Semaphore>,
) {
    loop {
        let frame = match reports.message().await {
            Ok(Some(frame)) => frame,
            Ok(None) => return,
            Err(status) => {
                debug!(link = link.0, %status, "agent link broke");
                return;
            }
        };
        let at = driver.now();
        let room = match frame.is_registration() {
            // Nobody closes it.
            true => registrations.clone().acquire_owned().await.ok(),
            false => None,
        };
        let event = match Report::try_from(frame) {
            Ok(report) => Event::Report { link, report: Box::new(report) },
            Err(error) => {
                warn!(link = link.0, %error, "agent sent a bad frame, link closed");
                return;
            }
        };
        match room {
            Some(room) => driver.registration(at, event, room),
            None => driver.event(event),
        }
    }
}

/// Serves agents until `stop` ends.
///
/// # Errors
/// When the listener fails for good.
pub async fn serve(
    gate: Gate,
    listener: TcpListener,
    stop: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error> {
    let service = AgentLinkServer::new(Service {
        gate,
        links: Arc::default(),
        registrations: Arc::new(Semaphore::new(DECODED_AT_ONCE)),
    })
    .max_decoding_message_size(MAX_FRAME_BYTES)
    .max_encoding_message_size(MAX_FRAME_BYTES);
    tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        .add_service(service)
        .serve_with_incoming_shutdown(TcpIncoming::from(listener).with_nodelay(Some(true)), stop)
        .await
}

//! The link to the control plane: one gRPC stream, made anew whenever it breaks.

use std::time::Duration;

use tepui_agent::Event;
use tepui_link::proto::agent_link_client::AgentLinkClient;
use tepui_link::{Directive, Report, proto};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tracing::{debug, info, warn};

use crate::driver::Driver;

/// Reports that may wait on a slow link before it is cut; nothing is lost, updates are sent
/// again.
const OUTBOX: usize = 16_384;
/// A directive may carry many tasks.
const MAX_FRAME_BYTES: usize = 64 << 20;
/// How often a silent connection is probed, and how long the answer may take: finds partitions.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// How long a connection may take to stand.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the agent may take to say when the next link is wanted.
const ANSWER: Duration = Duration::from_secs(2);
/// The pause before the first try after a connection could not be made.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause between tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What the driver wants of the link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// Raised to make the link anew.
    pub round: u64,
    /// How long to wait before that.
    pub pause: Duration,
}

/// The sending half of the link that stands now.
pub type Outbox = mpsc::Sender<proto::Report>;

/// Keeps a link to the first address that answers, for ever. The first is made when the agent has
/// recovered and asks for it: an earlier one would be cut by that wish after it had registered.
pub async fn keep(driver: Driver, addresses: Vec<Endpoint>, mut wish: watch::Receiver<Wish>) {
    anew(&mut wish, Wish::default().round).await;
    let mut pause = FIRST_PAUSE;
    for turn in 0_usize.. {
        let wanted = *wish.borrow_and_update();
        let endpoint = &addresses[turn % addresses.len()];
        match connect(endpoint).await {
            Ok((client, outbox, reports)) => {
                pause = FIRST_PAUSE;
                let session = converse(&driver, client, outbox, reports);
                tokio::select! {
                    () = session => {}
                    () = anew(&mut wish, wanted.round) => debug!("link is made anew"),
                }
                driver.event(Event::LinkDown);
                // The agent answers the end of a link with how long to wait, unless it wanted the
                // end itself and said so before.
                let answer = tokio::time::timeout(ANSWER, anew(&mut wish, wanted.round)).await;
                if answer.is_err() {
                    warn!("the agent says nothing about a new link, making one");
                }
                let asked = *wish.borrow();
                tokio::time::sleep(asked.pause).await;
                continue;
            }
            Err(error) => {
                let uri = endpoint.uri();
                debug!(%uri, error = &error as &dyn std::error::Error, "no control plane here");
                if pause == LONGEST_PAUSE {
                    warn!(%uri, %error, "control plane does not answer, retrying");
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
        tokio::time::sleep(pause).await;
    }
}

async fn anew(wish: &mut watch::Receiver<Wish>, round: u64) {
    // The driver lives as long as the process.
    let _ = wish.wait_for(|wish| wish.round != round).await;
}

type Connected = (AgentLinkClient<Channel>, Outbox, mpsc::Receiver<proto::Report>);

async fn connect(endpoint: &Endpoint) -> Result<Connected, tonic::transport::Error> {
    let channel = endpoint
        .clone()
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .keep_alive_while_idle(true)
        .tcp_nodelay(true)
        .connect()
        .await?;
    let client = AgentLinkClient::new(channel)
        .max_decoding_message_size(MAX_FRAME_BYTES)
        .max_encoding_message_size(MAX_FRAME_BYTES);
    let (outbox, reports) = mpsc::channel(OUTBOX);
    Ok((client, outbox, reports))
}

/// Tells the driver that the link stands, then everything that comes down it.
async fn converse(
    driver: &Driver,
    mut client: AgentLinkClient<Channel>,
    outbox: Outbox,
    reports: mpsc::Receiver<proto::Report>,
) {
    // The agent registers as soon as the link stands; the control plane answers the stream only
    // then, so the driver is told first.
    driver.link_up(outbox);
    let mut directives = match client.session(ReceiverStream::new(reports)).await {
        Ok(answer) => answer.into_inner(),
        Err(status) => {
            debug!(%status, "control plane refused the link");
            return;
        }
    };
    info!("link to the control plane stands");
    loop {
        match directives.message().await {
            Ok(Some(frame)) => match Directive::try_from(frame) {
                Ok(directive) => driver.event(Event::Directive(Box::new(directive))),
                Err(error) => {
                    warn!(%error, "control plane sent a bad frame, link closed");
                    return;
                }
            },
            Ok(None) => {
                info!("control plane closed the link");
                return;
            }
            Err(status) => {
                warn!(error = status.message(), "link to the control plane broke, making one anew");
                return;
            }
        }
    }
}

/// Sends a report; `false` when the link does not keep up and is cut.
pub fn send(outbox: &Outbox, report: Report) -> bool {
    !matches!(outbox.try_send(report.into()), Err(mpsc::error::TrySendError::Full(_)))
}

//! The link to the control plane: one gRPC stream, made anew whenever it breaks.

use std::time::Duration;

use tepui_agent::Event;
use tepui_link::proto::agent_link_client::AgentLinkClient;
use tepui_link::{Directive, LEADER_KEY, Report, proto};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::{Channel, Endpoint, Uri};
use tracing::{debug, info, warn};

use crate::driver::Driver;
use crate::finder::Finder;
use crate::round::Round;

/// Reports that may wait on a slow link before it is cut; nothing is lost, updates are sent
/// again.
const OUTBOX: usize = 16_384;
/// A directive may carry many tasks.
const MAX_FRAME_BYTES: usize = 64 << 20;
/// How often a silent connection is probed: finds leaders that are cut off, stopped or without
/// power. About when the lease of such a leader is over the agent looks for the next one.
const KEEPALIVE: Duration = Duration::from_secs(3);
/// How long the answer may take. A new leader that every agent of a large cluster registers with
/// answers late, and cutting it off would make that worse.
const KEEPALIVE_ANSWER: Duration = Duration::from_secs(5);
/// How long a connection may take to stand, and then the word whether this one leads: a stopped
/// process is connected to, and says nothing.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the agent may take to say when the next link is wanted.
const ANSWER: Duration = Duration::from_secs(2);
/// The pause before the first try after a connection could not be made.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Before a leader is asked that another control plane named.
const HINT_PAUSE: Duration = Duration::from_millis(10);
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

/// How a try at one address ended.
enum Tried {
    /// A link stood, and broke.
    Linked,
    /// That control plane does not lead; it may know who does.
    Elsewhere(Option<String>),
    /// Nobody answers there.
    Nobody(Box<dyn std::error::Error + Send + Sync>),
}

/// Keeps a link to whoever leads, for ever. The first is made when the agent has recovered and
/// asks for it: an earlier one would be cut by that wish after it had registered.
pub async fn keep(driver: Driver, finder: Finder, mut wish: watch::Receiver<Wish>) {
    anew(&mut wish, Wish::default().round).await;
    let mut pause = FIRST_PAUSE;
    let mut round = Round::default();
    let mut suspect: Option<Uri> = None;
    loop {
        if round.is_over() {
            round = Round::new(finder.candidates().await, suspect.clone());
        }
        let Some(endpoint) = round.take() else {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            continue;
        };
        let wanted = *wish.borrow_and_update();
        match try_link(&driver, &endpoint, &mut wish, wanted).await {
            Tried::Linked => {
                pause = FIRST_PAUSE;
                round = Round::default();
                suspect = Some(endpoint.uri().clone());
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
            Tried::Elsewhere(leader) => {
                debug!(uri = %endpoint.uri(), ?leader, "this control plane does not lead");
                let leader = leader.and_then(|leader| finder.told(&endpoint, &leader));
                if leader.is_some_and(|leader| round.told(leader)) {
                    tokio::time::sleep(HINT_PAUSE).await;
                    continue;
                }
            }
            Tried::Nobody(error) => {
                let uri = endpoint.uri();
                let error = &*error as &dyn std::error::Error;
                debug!(%uri, error, "no control plane here");
                if pause == LONGEST_PAUSE {
                    warn!(%uri, error, "control plane does not answer, retrying");
                }
            }
        }
        // Others of the round are asked at once.
        if round.is_over() {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

async fn try_link(
    driver: &Driver,
    endpoint: &Endpoint,
    wish: &mut watch::Receiver<Wish>,
    wanted: Wish,
) -> Tried {
    let mut client = match connect(endpoint).await {
        Ok(client) => client,
        Err(error) => return Tried::Nobody(error.into()),
    };
    let (outbox, reports) = mpsc::channel(OUTBOX);
    let session = client.session(ReceiverStream::new(reports));
    let directives = match tokio::time::timeout(CONNECT_TIMEOUT, session).await {
        Err(late) => return Tried::Nobody(late.into()),
        Ok(Ok(answer)) => answer.into_inner(),
        Ok(Err(status)) => {
            let leader = status.metadata().get(LEADER_KEY);
            let leader = leader.and_then(|leader| leader.to_str().ok()).map(str::to_owned);
            return Tried::Elsewhere(leader);
        }
    };
    // The agent registers as soon as it knows of the link.
    driver.link_up(outbox);
    tokio::select! {
        () = converse(driver, directives) => {}
        () = anew(wish, wanted.round) => debug!("link is made anew"),
    }
    Tried::Linked
}

async fn anew(wish: &mut watch::Receiver<Wish>, round: u64) {
    // The driver lives as long as the process.
    let _ = wish.wait_for(|wish| wish.round != round).await;
}

async fn connect(endpoint: &Endpoint) -> Result<AgentLinkClient<Channel>, tonic::transport::Error> {
    let channel = endpoint
        .clone()
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE_ANSWER)
        .keep_alive_while_idle(true)
        .tcp_nodelay(true)
        .connect()
        .await?;
    Ok(AgentLinkClient::new(channel)
        .max_decoding_message_size(MAX_FRAME_BYTES)
        .max_encoding_message_size(MAX_FRAME_BYTES))
}

/// Tells the driver everything that comes down the link.
async fn converse(driver: &Driver, mut directives: Streaming<proto::Directive>) {
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

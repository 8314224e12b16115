//! Standing by: following the shared store, watching the leader, and standing up when it is gone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use sd_notify::NotifyState;
use serde_json::json;
use tepui_api::Timings;
use tepui_election::{Candidate, Effect, Election, Event, Leadership};
use tepui_ensemble::{Address, Ensemble, EnsembleError, News};
use tepui_process::{Clock, Watchdog, notify};
use tepui_standby::Sign;
use tepui_store::{Campaign, Replica, Shared, records};
use tepui_types::{Span, Term, Uuid};
use tepui_wire::v1;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tracing::{error, info, warn};

use crate::driver::Driver;
use crate::elected::{Maker, Opened};
use crate::vigils::Vigils;

/// The pause before a store that does not answer is asked again.
const PAUSE: Duration = Duration::from_millis(500);

/// So long a store may take to answer before somebody is told that it is waited for.
const NOTICE: Duration = Duration::from_secs(2);

/// A control plane that does not lead yet.
pub struct Standing {
    address: Address,
    lease: Span,
    above: Term,
    me: Candidate,
    clock: Clock,
    timings: Arc<Timings>,
    /// Tells the rest of the process who leads.
    hear: watch::Sender<Option<Leadership>>,
    ensemble: Option<Ensemble>,
    /// When somebody else's leadership last showed life, if anybody's did.
    last_sign: Option<Instant>,
    /// Until it leads; then the driver's loop gives the signs.
    watchdog: Watchdog,
}

/// What is under way while a control plane stands by.
struct Watch {
    election: Election,
    replica: Replica,
    vigils: Vigils,
}

type NewsOf = mpsc::Receiver<Result<News, EnsembleError>>;

impl Standing {
    /// Stands by at the store of this address.
    pub fn new(address: Address, maker: &Maker, hear: watch::Sender<Option<Leadership>>) -> Self {
        Self {
            address,
            lease: maker.config.lease,
            above: maker.config.term_above,
            me: maker.me.clone(),
            clock: maker.clock,
            timings: maker.timings.clone(),
            hear,
            ensemble: None,
            last_sign: None,
            watchdog: Watchdog::of_service_manager(),
        }
    }

    /// Follows the store until this process leads, with everything that was durable at hand.
    ///
    /// # Errors
    /// When what is stored is of no use to this program. A store that is away is waited for.
    pub async fn until_elected(&mut self, fresh: Uuid) -> anyhow::Result<Opened> {
        let ensemble = match &self.ensemble {
            Some(ensemble) => ensemble.clone(),
            None => self.connect().await?,
        };
        let lease = Duration::from(self.lease);
        let runtime = Handle::current();
        let timings = self.timings.clone();
        let mut store = Shared::new(ensemble.clone(), runtime, self.me.clone(), fresh, lease)
            .above(self.above)
            .on_failure(move || {
                timings.leadership.store_failed("write");
                // It is tried for as long as the lease, which may be longer than a service manager
                // waits for a sign.
                notify(NotifyState::Watchdog);
            });
        let (signs, mut seen) = mpsc::channel(1);
        let mut watch = Watch {
            election: Election::new(self.lease),
            replica: Replica::default(),
            vigils: Vigils::new(self.me.clone(), signs),
        };
        let mut news = ensemble.follow();
        loop {
            self.watchdog.beat();
            let wait = self.next_wakeup(&watch.election).min(self.watchdog.pause());
            let event = tokio::select! {
                told = news.recv() => self.take(told, &mut watch, &mut news, &ensemble).await?,
                Some((term, sign)) = seen.recv() => self.sees(term, sign),
                () = tokio::time::sleep(wait) => Event::Tick,
            };
            let mut pending = vec![event];
            while let Some(event) = pending.pop() {
                let mut effects = Vec::new();
                watch.election.handle(self.clock.now().mono, event, &mut effects);
                for effect in effects {
                    match effect {
                        Effect::Watch { term, leader } => watch.vigils.keep(term, leader),
                        Effect::WatchNobody => watch.vigils.end(),
                        Effect::Listen => {
                            warn!("store told less than it has, following it anew");
                            news = ensemble.follow();
                        }
                        Effect::StandUp { seen, gone, above } => {
                            pending.push(self.stand_up(&mut store, seen.as_ref(), gone, above));
                        }
                        Effect::SetBack { known, current } => error!(
                            known = known.0,
                            current = current.map(|current| current.0),
                            "store was emptied or set back: it has a lower term than this process knew \
                             of, or none; this process leads in higher ones only"
                        ),
                        Effect::Forgotten { term } => error!(
                            term = term.0,
                            "store was emptied or set back after this process won in it, standing by anew"
                        ),
                        Effect::Lead { term } => {
                            return take_over(store, term, &watch.replica);
                        }
                    }
                }
            }
        }
    }

    /// Connects to the store, as often as it takes.
    ///
    /// # Errors
    /// When its address or the login is refused.
    pub async fn connect(&mut self) -> anyhow::Result<Ensemble> {
        let (mut said, mut why) = (false, false);
        loop {
            self.watchdog.beat();
            let connecting = Ensemble::connect_to_lead(&self.address, self.lease.into());
            let connected = noticed(connecting, NOTICE, || {
                if !std::mem::replace(&mut said, true) {
                    warn!(store = %self.address, "store has not answered yet, waiting for it");
                }
            });
            match connected.await {
                Ok(ensemble) => {
                    self.ensemble = Some(ensemble.clone());
                    return Ok(ensemble);
                }
                Err(error @ EnsembleError::Unavailable { .. }) => {
                    self.timings.leadership.store_failed("connect");
                    said = true;
                    if !std::mem::replace(&mut why, true) {
                        let error = &error as &dyn std::error::Error;
                        warn!(error, "store does not answer, retrying");
                    }
                }
                Err(error) => return Err(error).context("the store is of no use"),
            }
            tokio::time::sleep(PAUSE.min(self.watchdog.pause())).await;
        }
    }

    fn sees(&mut self, term: Term, sign: Sign) -> Event {
        match sign {
            Sign::Gone => {
                info!(term = term.0, "leader's process is gone");
                self.last_sign = Some(Instant::now());
                Event::LeaderGone { term }
            }
            Sign::Refused => Event::LeaderRefuses { term },
        }
    }

    fn next_wakeup(&self, election: &Election) -> Duration {
        let now = self.clock.now().mono;
        election.next_wakeup().map_or(Duration::from_secs(60), |at| Duration::from(at.since(now)))
    }

    async fn take(
        &mut self,
        told: Option<Result<News, EnsembleError>>,
        watch: &mut Watch,
        news: &mut NewsOf,
        ensemble: &Ensemble,
    ) -> anyhow::Result<Event> {
        match told {
            Some(Ok(told)) => {
                watch.replica.take(told).context("what is stored is of no use")?;
                let record = watch.replica.leadership().cloned();
                self.note(record.as_ref());
                self.hear.send_replace(record.clone());
                Ok(Event::Heard(record))
            }
            Some(Err(error)) => {
                self.timings.leadership.store_failed("follow");
                warn!(error = &error as &dyn std::error::Error, "store not followed, retrying");
                tokio::time::sleep(PAUSE).await;
                *news = ensemble.follow();
                Ok(Event::Deaf)
            }
            None => {
                tokio::time::sleep(PAUSE).await;
                *news = ensemble.follow();
                Ok(Event::Deaf)
            }
        }
    }

    /// Notes what the record of who leads says about others.
    fn note(&mut self, record: Option<&Leadership>) {
        let Some(record) = record else { return };
        let heard = self.hear.borrow();
        let former = heard.as_ref();
        let others = record.leader.as_ref().is_none_or(|leader| leader.id != self.me.id);
        if others && former != Some(record) {
            self.last_sign = Some(Instant::now());
        }
        let term = former.map(|former| former.term);
        if record.leader.is_some() && term != Some(record.term) {
            self.timings.leadership.changed();
        }
    }

    fn stand_up(
        &self,
        store: &mut Shared,
        seen: Option<&Leadership>,
        gone: bool,
        above: Term,
    ) -> Event {
        match tokio::task::block_in_place(|| store.campaign(seen, gone, above)) {
            Ok(Campaign::Won(term)) => {
                info!(term = term.0, "elected");
                Event::Won { term }
            }
            Ok(Campaign::Lost) => Event::Lost,
            Err(error) => {
                self.timings.leadership.store_failed("elect");
                warn!(error = &error as &dyn std::error::Error, "election failed, trying again");
                Event::Failed
            }
        }
    }

    /// This process leads: measures how long nobody did, and tells Mesos's clients who does.
    pub fn leads(&self, driver: &Driver) {
        self.announce(driver.clone());
        let Some(last_sign) = self.last_sign else { return };
        let (driver, timings) = (driver.clone(), self.timings.clone());
        tokio::spawn(async move {
            // Otherwise the process is about to end.
            if driver.mark().await.is_ok() {
                timings.leadership.failed_over(last_sign.elapsed());
            }
        });
    }

    /// Tells Mesos's clients who leads, for as long as this process does.
    fn announce(&self, driver: Driver) {
        let Some(ensemble) = self.ensemble.clone() else { return };
        let id = self.me.id.clone();
        tokio::spawn(async move {
            let Ok(info) = driver.read(|leader, _| leader.cluster().leader().clone()).await else {
                return;
            };
            let text = master_info(&info);
            let ours = move |meta: &[u8]| {
                let record = Leadership::decode(meta).ok();
                record.and_then(|record| record.leader).is_some_and(|leader| leader.id == id)
            };
            ensemble.keep_announced(&text, ours).await;
        });
    }
}

/// Waits for `asked`; if that takes longer than `patience`, it is told meanwhile, once.
async fn noticed<T>(
    asked: impl Future<Output = T>,
    patience: Duration,
    mut tell: impl FnMut(),
) -> T {
    let mut asked = std::pin::pin!(asked);
    tokio::select! {
        biased;
        answer = &mut asked => answer,
        () = tokio::time::sleep(patience) => {
            tell();
            asked.await
        }
    }
}

fn take_over(mut store: Shared, term: Term, replica: &Replica) -> anyhow::Result<Opened> {
    tokio::task::block_in_place(|| store.adopt(replica)).context("failed to take over")?;
    let all = replica.records("").context("failed to load the state")?;
    let (cluster, apps) = records::read_all(all).context("failed to load the state")?;
    let (facts, definitions) = (cluster.len(), apps.len());
    info!(term = term.0, agents_and_frameworks = facts, apps = definitions, "state taken over");
    let elected = tepui_leader::Event::Elected { term, cluster, apps };
    Ok(Opened { store: Box::new(store), term, elected })
}

/// The text of an announcement: MasterInfo in the words of Mesos's first API.
fn master_info(info: &v1::MasterInfo) -> String {
    let address = info.address.as_ref();
    json!({
        "address": {
            "hostname": address.and_then(|address| address.hostname.as_deref()),
            "ip": address.and_then(|address| address.ip.as_deref()),
            "port": address.map(|address| address.port),
        },
        "capabilities": [{"type": "AGENT_UPDATE"}],
        "hostname": info.hostname,
        "id": info.id,
        "ip": info.ip,
        "pid": info.pid,
        "port": info.port,
        "version": info.version,
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_takes_long_is_told_while_it_is_waited_for() {
        let (told, is_told) = tokio::sync::oneshot::channel();
        let mut told = Some(told);
        let tell = || told.take().unwrap().send(7).unwrap();
        assert_eq!(noticed(is_told, Duration::ZERO, tell).await, Ok(7));
        let never = || panic!("it does not take long");
        assert_eq!(noticed(std::future::ready(1), Duration::ZERO, never).await, 1);
    }
}

//! What a leader tells those who stand by, and how it ends.

use std::net::SocketAddr;
use std::time::Duration;

use tepui_election::Candidate;
use tepui_standby::{Leader, Met, Sign, Standbys, Vigil, leading};
use tepui_types::Term;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::rig::{Answer, ask, candidate, say, serve};

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(20);

/// A leader whose death is only told.
#[derive(Clone, Debug)]
struct Told(mpsc::UnboundedSender<()>);

impl Leader for Told {
    async fn write(&self) -> Result<Term, String> {
        Ok(Term(7))
    }

    fn die(&self) {
        self.0.send(()).unwrap();
    }
}

struct Led {
    at: SocketAddr,
    me: Candidate,
    standbys: Standbys,
    deaths: mpsc::UnboundedReceiver<()>,
}

async fn leader() -> Led {
    let (told, deaths) = mpsc::unbounded_channel();
    let standbys = Standbys::default();
    let me = candidate("leader", "leader:5050", "leader:8080");
    let at = serve(leading(&me, Term(7), standbys.clone(), Told(told))).await;
    let me = Candidate { mesos: at.to_string(), ..me };
    Led { at, me, standbys, deaths }
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let reached = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LONG, reached).await.expect(what);
}

#[tokio::test]
async fn who_stands_by_is_known_for_as_long_as_it_does() {
    let led = leader().await;
    let one = candidate("one", "one:5050", "one:8080");
    let watching = led.me.clone();
    let standing = one.clone();
    let mut vigil = Vigil::over(watching, standing, Met::default());
    let vigil = tokio::spawn(async move { vigil.sign().await });
    until("it is seen", || led.standbys.list() == [one.clone()]).await;
    let said = ask(led.at, "GET /tepui/v1/leadership").await;
    assert_eq!(
        said.body,
        "{\"term\":7,\"leader\":{\"id\":\"leader\",\"hostname\":\"leader\",\
         \"mesos\":\"leader:5050\",\"marathon\":\"leader:8080\",\"agents\":\"leader:5052\"},\
         \"standbys\":[{\"id\":\"one\",\"hostname\":\"one\",\"mesos\":\"one:5050\",\
         \"marathon\":\"one:8080\",\"agents\":\"one:5052\"}]}"
    );
    vigil.abort();
    until("it is gone", || led.standbys.list().is_empty()).await;
}

#[tokio::test]
async fn a_drill_ends_the_term_that_was_named_and_no_other() {
    let mut led = leader().await;
    let answer = ask(led.at, "POST /tepui/v1/drill/failover?term=6&force=true").await;
    assert_eq!(
        (answer.status.as_str(), answer.body.as_str()),
        ("409 Conflict", "term 6 is over, this is term 7")
    );
    let answer = ask(led.at, "POST /tepui/v1/drill/failover?term=7").await;
    assert_eq!(answer.status, "409 Conflict");
    assert!(answer.body.contains("no other control plane stands by"), "{}", answer.body);
    assert_eq!(ask(led.at, "POST /tepui/v1/drill/failover").await.status, "400 Bad Request");
    assert!(led.deaths.try_recv().is_err(), "it lives");
    let request = "POST /tepui/v1/drill/failover?term=7&force=true HTTP/1.1\r\nHost: l\r\n\r\n";
    let at = led.at;
    let asked = tokio::spawn(async move { say(at, request).await });
    timeout(LONG, led.deaths.recv()).await.unwrap().unwrap();
    assert!(!asked.is_finished(), "the answer lasts as long as the process");
}

#[tokio::test]
async fn a_write_says_its_term() {
    let led = leader().await;
    assert_eq!(ask(led.at, "POST /tepui/v1/drill/write").await.body, "{\"term\":7}");
}

/// A leader in a runtime of its own: everything of it ends with that, as with a process.
fn mortal(id: &str, at: &str) -> (Runtime, SocketAddr) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let me = candidate(id, "x:1", "x:2");
    let (told, _) = mpsc::unbounded_channel();
    let router = leading(&me, Term(1), Standbys::default(), Told(told));
    let listener = std::net::TcpListener::bind(at).unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(async move {
        axum::serve(tokio::net::TcpListener::from_std(listener).unwrap(), router).await
    });
    (runtime, address)
}

#[tokio::test]
async fn the_end_of_the_leaders_process_is_seen_at_once() {
    let (process, address) = mortal("a", "127.0.0.1:0");
    let leader = candidate("a", &address.to_string(), "x:2");
    let me = candidate("me", "me:1", "me:2");
    let (seen, mut sign) = mpsc::unbounded_channel();
    let met = Met::default();
    let mut first = Vigil::over(leader, me.clone(), met.clone());
    let vigil = tokio::spawn(async move { seen.send(first.sign().await).unwrap() });
    // It is connected when the leader knows it.
    let known = async {
        loop {
            let request =
                "GET /tepui/v1/leadership HTTP/1.1\r\nHost: l\r\nConnection: close\r\n\r\n";
            if Answer::read(&say(address, request).await).body.contains("\"id\":\"me\"") {
                return;
            }
        }
    };
    timeout(LONG, known).await.unwrap();
    assert!(sign.try_recv().is_err());
    process.shutdown_background();
    assert_eq!(timeout(LONG, sign.recv()).await.unwrap(), Some(Sign::Gone));
    vigil.await.unwrap();
    // The next life of that control plane led, and died before anybody was connected to it.
    let next = candidate("b", &address.to_string(), "x:2");
    let mut next = Vigil::over(next, me, met);
    assert_eq!(timeout(LONG, next.sign()).await.unwrap(), Sign::Gone);
}

#[tokio::test]
async fn a_leader_that_was_never_met_may_live_elsewhere() {
    let gone = crate::rig::nobody().await.to_string();
    let me = candidate("me", "me:1", "me:2");
    let leader = candidate("a", &gone, "x:2");
    let mut vigil = Vigil::over(leader, me.clone(), Met::default());
    for _ in 0..2 {
        assert_eq!(timeout(LONG, vigil.sign()).await.unwrap(), Sign::Refused);
    }
    // Somebody else answers at its address: that may be its successor, or a wrong address.
    let (process, address) = mortal("b", "127.0.0.1:0");
    let leader = candidate("a", &address.to_string(), "x:2");
    let mut vigil = Vigil::over(leader, me, Met::default());
    let vigil = timeout(Duration::from_secs(1), vigil.sign()).await;
    process.shutdown_background();
    assert!(vigil.is_err());
}

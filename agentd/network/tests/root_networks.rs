//! Real bridges, cables and rules, in a network of the test's own. They need root, `nft` and `ip`; the
//! CNI test needs Debian's containernetworking-plugins.

// Helpers of a test: what is not there fails it.
#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use nix::sched::{CloneFlags, setns, unshare};
use tempfile::TempDir;
use tepui_container::{Network, NetworkLabels, Port, Protocol};
use tepui_network::{Attached, NetworkError, Networks, Repairs, Settings};
use tepui_types::ContainerId;

const BRIDGE: &str = "tpui-test";
const CNI_PLUGINS: &str = "/usr/lib/cni";

/// Runs a test in a network of its own, which goes with its thread; or says why it cannot.
fn alone(test: impl AsyncFnOnce(&Path) + Send + 'static) {
    let has_nft = Command::new("nft").arg("--version").output().is_ok();
    if !nix::unistd::geteuid().is_root() || !has_nft {
        eprintln!("networks not shown: root and nft are needed");
        return;
    }
    let work = move || {
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).unwrap();
        let private = nix::mount::MsFlags::MS_REC | nix::mount::MsFlags::MS_PRIVATE;
        nix::mount::mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
        run("ip link set lo up");
        run("ip address add 192.0.2.1/32 dev lo");
        run("ip -6 address add 2001:db8::1/128 dev lo");
        let dir = TempDir::new().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(test(dir.path()));
    };
    thread::spawn(work).join().unwrap();
}

fn run(line: &str) -> String {
    let mut words = line.split_whitespace();
    let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn networks(dir: &Path) -> Networks {
    let cni = dir.join("cni");
    Networks::open(Settings {
        bridge: BRIDGE.into(),
        subnet4: "10.219.0.0/24".parse().unwrap(),
        subnet6: "fd74:6570:7570::/64".parse().unwrap(),
        records: dir.join("records"),
        namespaces: dir.join("netns"),
        cni_config: cni.is_dir().then_some(cni),
        cni_plugins: vec![CNI_PLUGINS.into()],
    })
    .unwrap()
}

fn id(name: &str) -> ContainerId {
    ContainerId::parse(name).unwrap()
}

fn bridge(host: u16) -> Network {
    Network::Bridge { ports: vec![Port { host, container: 80, protocol: Protocol::Tcp }] }
}

/// Does something in a container's network.
fn inside<T: Send + 'static>(
    attached: &Attached,
    work: impl FnOnce() -> T + Send + 'static,
) -> thread::JoinHandle<T> {
    let namespace = File::open(&attached.namespace).unwrap();
    thread::spawn(move || {
        setns(&namespace, CloneFlags::CLONE_NEWNET).unwrap();
        work()
    })
}

/// Answers connections to port 80 of a container with a word.
fn serve(attached: &Attached, word: &'static str) {
    let (ready, wait) = channel();
    inside(attached, move || {
        let listener = TcpListener::bind("[::]:80").unwrap();
        ready.send(()).unwrap();
        for stream in listener.incoming() {
            let _ = stream.unwrap().write_all(word.as_bytes());
        }
    });
    wait.recv().unwrap();
}

fn ask(address: &str) -> std::io::Result<String> {
    let address: SocketAddr = address.parse().unwrap();
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(10))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn links() -> String {
    run("ip -brief link show type veth")
}

fn elements() -> usize {
    run(&format!("nft list table inet {BRIDGE}")).matches(" . 31").count()
}

#[test]
fn a_mapped_port_leads_into_the_container_from_everywhere_and_then_nowhere() {
    alone(async |dir| {
        let networks = networks(dir);
        assert_eq!(networks.probe().await.bridge, Ok(()));
        let run = id("run-1");
        let attached = networks.attach(&run, &bridge(31000)).await.unwrap().unwrap();
        let addresses: Vec<_> = attached.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(addresses, ["10.219.0.2", "fd74:6570:7570::2"]);
        serve(&attached, "hello");
        for way in ["127.0.0.1:31000", "192.0.2.1:31000", "[2001:db8::1]:31000", "10.219.0.2:80"] {
            assert_eq!(ask(way).unwrap(), "hello", "{way}");
        }
        // The container itself goes the same way, out and back.
        for way in ["192.0.2.1:31000", "[2001:db8::1]:31000"] {
            assert_eq!(inside(&attached, move || ask(way).expect(way)).join().unwrap(), "hello");
        }
        networks.detach(&run).await;
        assert!(ask("192.0.2.1:31000").is_err());
        assert_eq!((links().as_str(), elements()), ("", 0));
        assert_eq!(std::fs::read_dir(dir.join("netns")).unwrap().count(), 0);
        assert_eq!(std::fs::read_dir(dir.join("records")).unwrap().count(), 0);
    });
}

#[test]
fn containers_reach_each_other_and_the_hosts_loopback_stays_its_own() {
    alone(async |dir| {
        let networks = networks(dir);
        let first = networks.attach(&id("run-1"), &bridge(31000)).await.unwrap().unwrap();
        let second = networks.attach(&id("run-2"), &bridge(31001)).await.unwrap().unwrap();
        serve(&first, "first");
        for way in ["10.219.0.2:80", "[fd74:6570:7570::2]:80", "192.0.2.1:31000"] {
            assert_eq!(inside(&second, move || ask(way).unwrap()).join().unwrap(), "first");
        }
        let own = TcpListener::bind("127.0.0.1:8099").unwrap();
        let through = inside(&second, || {
            // As an attacker would: the host's loopback by way of the bridge.
            let words = ["route", "add", "127.0.0.0/8", "via", "10.219.0.1", "table", "9"];
            let _ = Command::new("ip").args(words).output();
            let _ = Command::new("ip").args(["rule", "add", "pref", "0", "lookup", "9"]).output();
            let address = "127.0.0.1:8099".parse().unwrap();
            TcpStream::connect_timeout(&address, Duration::from_millis(500)).is_ok()
        });
        assert!(!through.join().unwrap());
        drop(own);
        networks.reconcile(&[]).await;
        assert_eq!(links(), "");
    });
}

#[test]
fn what_a_dead_agent_left_is_found_and_what_lives_stays() {
    alone(async |dir| {
        let former = networks(dir);
        let kept = former.attach(&id("kept"), &bridge(31000)).await.unwrap().unwrap();
        former.attach(&id("gone"), &bridge(31001)).await.unwrap();
        serve(&kept, "kept");
        drop(former);
        run(&format!("nft delete table inet {BRIDGE}"));
        let next = networks(dir);
        assert_eq!(next.attached(&id("kept")).unwrap().addresses, kept.addresses);
        next.reconcile(&[id("kept")]).await;
        assert_eq!(next.attached(&id("gone")), None);
        assert_eq!(links().lines().count(), 1);
        assert_eq!(ask("192.0.2.1:31000").unwrap(), "kept");
        let fresh = next.attach(&id("fresh"), &bridge(31001)).await.unwrap().unwrap();
        assert_ne!(fresh.addresses, kept.addresses);
        next.reconcile(&[]).await;
        assert_eq!((links().as_str(), elements()), ("", 0));
    });
}

#[test]
fn containers_that_end_at_once_lose_their_cables_together_and_no_other_does() {
    alone(async |dir| {
        let networks = networks(dir);
        let stays = networks.attach(&id("stays"), &bridge(31000)).await.unwrap().unwrap();
        serve(&stays, "stays");
        let mut ends = tokio::task::JoinSet::new();
        for port in 31001..31021 {
            let run = id(&format!("run-{port}"));
            networks.attach(&run, &bridge(port)).await.unwrap();
            let networks = networks.clone();
            ends.spawn(async move {
                networks.detach(&run).await;
                // Nobody is told that it is gone before it is.
                run_links_of(&run)
            });
        }
        assert_eq!(ends.join_all().await, [const { String::new() }; 20]);
        assert_eq!(links().lines().count(), 1);
        assert_eq!(ask("192.0.2.1:31000").unwrap(), "stays");
    });
}

#[test]
fn no_container_takes_another_one_for_a_router() {
    alone(async |dir| {
        let networks = networks(dir);
        let attached = networks.attach(&id("run-1"), &bridge(31000)).await.unwrap().unwrap();
        let setting = || std::fs::read_to_string("/proc/sys/net/ipv6/conf/eth0/accept_ra").unwrap();
        assert_eq!(inside(&attached, setting).join().unwrap(), "0\n");
    });
}

/// The lines of the end of a run's cable.
fn run_links_of(run: &ContainerId) -> String {
    let short: String = run.as_str().chars().filter(char::is_ascii_alphanumeric).collect();
    links().lines().filter(|line| line.contains(&short)).collect()
}

/// Waits until so much was put back.
async fn repaired(networks: &Networks, is_enough: impl Fn(Repairs) -> bool) {
    let looked = async {
        while !is_enough(networks.repairs()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), looked).await.expect("nothing was put back");
}

#[test]
fn flushed_rules_are_put_back_at_once_with_every_mapped_port() {
    alone(async |dir| {
        let networks = networks(dir);
        let keeper = tokio::spawn(networks.clone().keep());
        let first = networks.attach(&id("run-1"), &bridge(31000)).await.unwrap().unwrap();
        let second = networks.attach(&id("run-2"), &bridge(31001)).await.unwrap().unwrap();
        serve(&first, "first");
        serve(&second, "second");
        let whole = run(&format!("nft list table inet {BRIDGE}"));
        assert_eq!(networks.repairs(), Repairs::default());
        let harms = [
            "nft flush ruleset".to_owned(),
            format!("nft delete table inet {BRIDGE}"),
            format!("nft flush chain inet {BRIDGE} incoming"),
            format!("nft insert rule inet {BRIDGE} guard drop"),
        ];
        for (harm, before) in harms.iter().zip(0..) {
            run(harm);
            repaired(&networks, |repairs| repairs.rules > before).await;
            assert_eq!(run(&format!("nft list table inet {BRIDGE}")), whole, "{harm}");
            for way in ["127.0.0.1:31000", "192.0.2.1:31000", "[2001:db8::1]:31000"] {
                assert_eq!(ask(way).unwrap(), "first", "{harm}: {way}");
            }
            assert_eq!(ask("192.0.2.1:31001").unwrap(), "second", "{harm}");
        }
        assert_eq!(networks.repairs(), Repairs { rules: 4, bridge: 0 });
        // What has ended since does not come back.
        networks.detach(&id("run-1")).await;
        run("nft flush ruleset");
        repaired(&networks, |repairs| repairs.rules > 4).await;
        assert!(ask("192.0.2.1:31000").is_err());
        assert_eq!(ask("192.0.2.1:31001").unwrap(), "second");
        keeper.abort();
        networks.detach(&id("run-2")).await;
        assert_eq!(elements(), 0);
    });
}

#[test]
fn a_container_begins_though_nobody_has_put_the_rules_back_yet() {
    alone(async |dir| {
        let networks = networks(dir);
        let first = networks.attach(&id("run-1"), &bridge(31000)).await.unwrap().unwrap();
        serve(&first, "first");
        run("nft flush ruleset");
        let second = networks.attach(&id("run-2"), &bridge(31001)).await.unwrap().unwrap();
        serve(&second, "second");
        assert_eq!(ask("192.0.2.1:31000").unwrap(), "first");
        assert_eq!(ask("192.0.2.1:31001").unwrap(), "second");
        networks.reconcile(&[]).await;
    });
}

#[test]
fn a_bridge_that_somebody_removes_comes_back_with_its_cables() {
    alone(async |dir| {
        let networks = networks(dir);
        let keeper = tokio::spawn(networks.clone().keep());
        let first = networks.attach(&id("run-1"), &bridge(31000)).await.unwrap().unwrap();
        let second = networks.attach(&id("run-2"), &bridge(31001)).await.unwrap().unwrap();
        serve(&first, "first");
        for (harm, before) in ["delete", "set down"].into_iter().zip(0..) {
            run(&match harm {
                "delete" => format!("ip link delete {BRIDGE}"),
                _ => format!("ip link set {BRIDGE} down"),
            });
            repaired(&networks, |repairs| repairs.bridge > before).await;
            for way in
                ["127.0.0.1:31000", "192.0.2.1:31000", "[2001:db8::1]:31000", "10.219.0.2:80"]
            {
                assert_eq!(ask(way).unwrap(), "first", "{harm}: {way}");
            }
            for way in ["10.219.0.2:80", "[fd74:6570:7570::2]:80", "192.0.2.1:31000"] {
                assert_eq!(inside(&second, move || ask(way).expect(way)).join().unwrap(), "first");
            }
        }
        assert_eq!(networks.repairs().rules, 0);
        keeper.abort();
        networks.reconcile(&[]).await;
        assert_eq!(links(), "");
    });
}

#[test]
fn the_loopback_of_a_container_is_asked_from_outside() {
    alone(async |dir| {
        let networks = networks(dir);
        let attached = networks.attach(&id("run-1"), &bridge(31000)).await.unwrap().unwrap();
        for (address, is_ipv6) in [("127.0.0.1:8080", false), ("[::1]:8080", true)] {
            let (ready, wait) = channel();
            let served = inside(&attached, move || {
                let listener = TcpListener::bind(address).unwrap();
                ready.send(()).unwrap();
                listener.accept().unwrap().1.ip()
            });
            wait.recv().unwrap();
            assert!(ask(address).is_err(), "not the host's");
            let socket = tepui_network::socket_in(&attached.namespace, is_ipv6).await.unwrap();
            socket.connect(address.parse().unwrap()).await.unwrap();
            assert!(served.join().unwrap().is_loopback());
        }
        networks.detach(&id("run-1")).await;
        assert!(tepui_network::socket_in(&attached.namespace, false).await.is_err());
    });
}

#[test]
fn a_port_that_is_taken_is_refused_and_nothing_is_left() {
    alone(async |dir| {
        let networks = networks(dir);
        networks.attach(&id("run-1"), &bridge(31000)).await.unwrap();
        let error = networks.attach(&id("run-2"), &bridge(31000)).await.unwrap_err();
        assert!(matches!(error, NetworkError::PortTaken), "{error}");
        assert_eq!(networks.attached(&id("run-2")), None);
        assert_eq!(links().lines().count(), 1);
        networks.detach(&id("run-1")).await;
    });
}

#[test]
fn a_cni_network_is_made_by_the_plugins_that_are_installed() {
    if !Path::new(CNI_PLUGINS).join("ptp").exists() {
        eprintln!("CNI not shown: no plugins in {CNI_PLUGINS}");
        return;
    }
    alone(async |dir| {
        std::fs::create_dir(dir.join("cni")).unwrap();
        let config = format!(
            r#"{{"cniVersion": "0.4.0", "name": "dmz", "type": "ptp",
                "ipam": {{"type": "host-local", "subnet": "10.77.0.0/24", "dataDir": "{}",
                          "routes": [{{"dst": "0.0.0.0/0"}}]}}}}"#,
            dir.join("ipam").display()
        );
        std::fs::write(dir.join("cni/dmz.conf"), config).unwrap();
        let networks = networks(dir);
        assert_eq!(networks.probe().await.networks, ["dmz"]);
        let ports = vec![Port { host: 31000, container: 80, protocol: Protocol::Tcp }];
        let wanted =
            Network::Cni { names: vec!["dmz".into()], ports, labels: NetworkLabels::new() };
        let run = id("run-1");
        let attached = networks.attach(&run, &wanted).await.unwrap().unwrap();
        assert!(attached.addresses[0].to_string().starts_with("10.77.0."), "{attached:?}");
        serve(&attached, "hello");
        for way in [format!("{}:80", attached.addresses[0]), "192.0.2.1:31000".into()] {
            assert_eq!(ask(&way).unwrap(), "hello", "{way}");
        }
        networks.detach(&run).await;
        assert_eq!((links().as_str(), elements()), ("", 0));
        let unknown = Network::Cni {
            names: vec!["nothing".into()],
            ports: Vec::new(),
            labels: NetworkLabels::new(),
        };
        let error = networks.attach(&run, &unknown).await.unwrap_err().to_string();
        assert_eq!(error, "this host has no CNI network 'nothing'");
    });
}

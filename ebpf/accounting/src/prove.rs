//! What is enforced proves itself: a real process tries, and is refused.

use std::fs::OpenOptions;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType, bind, socket};
use tepui_cgroup::Leaf;

use crate::{AccountingError, Driver, GroupId, Mode, PortSet};

/// Answers of the trial travel as an error number beyond every real one.
const ANSWER: i32 = 1 << 16;
/// Every trial of [`TRIALS`] was refused.
const ALL_REFUSED: i32 = (1 << TRIALS.len()) - 1;
/// The bind of the trial's own port went through.
const OWN_ALLOWED: i32 = 1 << TRIALS.len();

const TRIALS: [(AddressFamily, SocketType); 4] = [
    (AddressFamily::INET, SocketType::STREAM),
    (AddressFamily::INET, SocketType::DGRAM),
    (AddressFamily::INET6, SocketType::STREAM),
    (AddressFamily::INET6, SocketType::DGRAM),
];

/// What the trial found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Binds of a foreign port were refused with EPERM, that of the own port went through.
    Enforced,
    /// A foreign port could be bound.
    Open,
    /// The own port was refused too.
    Shut,
}

/// Has a process in a trial group below the root group try a port that it has and one that it has
/// not, over TCP and UDP, v4 and v6. Call it after [`Driver::attach`].
///
/// # Errors
///
/// [`AccountingError`] when the trial itself could not be set up; that proves nothing.
pub fn prove_port_enforcement(driver: &mut Driver) -> Result<Proof, AccountingError> {
    let root = driver.place().root.clone();
    in_trial_group(&root, "ports", |leaf| {
        let group = GroupId::of(leaf.path())?;
        let proof = try_in(driver, leaf, group);
        driver.unregister_task(group)?;
        driver.drop_denials_of(group)?;
        proof
    })
}

/// Does something with a group of its own below the root group, which is gone afterwards.
pub(crate) fn in_trial_group<T>(
    root: &Path,
    what: &str,
    trial: impl FnOnce(&Leaf) -> Result<T, AccountingError>,
) -> Result<T, AccountingError> {
    let leaf = Leaf::at(root.join(format!("trial-{what}-{}", std::process::id())));
    leaf.ensure().map_err(AccountingError::Cgroup)?;
    let outcome = trial(&leaf);
    let _ = leaf.remove();
    outcome
}

fn try_in(driver: &mut Driver, leaf: &Leaf, group: GroupId) -> Result<Proof, AccountingError> {
    let wrong = |source| AccountingError::Trial { path: leaf.path().to_owned(), source };
    let (own, foreign) = two_free_ports().map_err(wrong)?;
    let ports = PortSet::from_ranges([own..=own]).unwrap_or_default();
    driver.register_task(group, &ports, Some(Mode::Deny))?;
    let answer = run_trial(leaf, move || attempts(own, foreign))?;
    Ok(if answer & ALL_REFUSED != ALL_REFUSED {
        Proof::Open
    } else if answer & OWN_ALLOWED == 0 {
        Proof::Shut
    } else {
        Proof::Enforced
    })
}

/// Ports that nobody has right now: held together, so that they differ.
fn two_free_ports() -> io::Result<(u16, u16)> {
    let own = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let foreign = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok((own.local_addr()?.port(), foreign.local_addr()?.port()))
}

/// Runs a trial in a forked child in the group, which never becomes another program. Its answer has
/// less than 16 bits.
///
/// Between fork and exit the trial may only make system calls on what it owns: it is the child of a
/// process with many threads, so it must not allocate or take a lock.
pub(crate) fn run_trial(
    leaf: &Leaf,
    trial: impl Fn() -> i32 + Send + Sync + 'static,
) -> Result<i32, AccountingError> {
    let wrong = |source| AccountingError::Trial { path: leaf.path().to_owned(), source };
    let procs = OpenOptions::new().write(true).open(leaf.path().join("cgroup.procs"));
    let procs = procs.map_err(wrong)?;
    // The program is never started: the child ends with its answer before.
    let mut command = Command::new("/proc/self/exe");
    let trial = move || -> io::Result<()> {
        rustix::io::write(&procs, b"0")?;
        Err(io::Error::from_raw_os_error(ANSWER | trial()))
    };
    // SAFETY: between fork and exit the child only makes system calls (write, and those of the trial:
    // socket, bind, open, close) on values that the closure owns; it allocates nothing, takes no lock
    // and touches no thread-local state, so it is fit to run in the child of a process with many
    // threads.
    #[allow(unsafe_code)]
    unsafe {
        command.pre_exec(trial);
    }
    match command.spawn() {
        Ok(mut child) => {
            let _ = child.kill();
            let _ = child.wait();
            Err(wrong(io::Error::other("the trial did not end by itself")))
        }
        Err(error) => match error.raw_os_error() {
            Some(code) if code & ANSWER != 0 => Ok(code & !ANSWER),
            _ => Err(wrong(error)),
        },
    }
}

fn attempts(own: u16, foreign: u16) -> i32 {
    let mut answer = 0;
    for (index, (family, kind)) in TRIALS.iter().enumerate() {
        let refused = match try_bind(*family, *kind, foreign) {
            Err(Errno::PERM) => true,
            // A host without this family has nothing to refuse.
            Err(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL) => *family == AddressFamily::INET6,
            _ => false,
        };
        if refused {
            answer |= 1 << index;
        }
    }
    // Someone else may have taken it meanwhile: then it was not refused either.
    match try_bind(AddressFamily::INET, SocketType::STREAM, own) {
        Ok(()) | Err(Errno::ADDRINUSE) => answer | OWN_ALLOWED,
        Err(_) => answer,
    }
}

fn try_bind(family: AddressFamily, kind: SocketType, port: u16) -> Result<(), Errno> {
    let socket = socket(family, kind, None)?;
    let address = if family == AddressFamily::INET6 {
        SocketAddr::from((Ipv6Addr::LOCALHOST, port))
    } else {
        SocketAddr::from((Ipv4Addr::LOCALHOST, port))
    };
    bind(&socket, &address)
}

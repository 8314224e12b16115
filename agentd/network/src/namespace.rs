//! Network namespaces that stay without a process in them.

use std::fs::{self, File};
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use tokio::net::TcpSocket;

use crate::error::NetworkError;

/// The calling thread's own, whichever process it belongs to.
const OWN: &str = "/proc/thread-self/ns/net";

/// Who may send echo requests: the setting of the calling thread's own network.
const PING_GROUPS: &str = "/proc/sys/net/ipv4/ping_group_range";

/// Makes a namespace and pins it at this path.
pub(crate) async fn create(path: PathBuf) -> Result<(), NetworkError> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(NetworkError::file("create", folder))?;
    }
    File::create_new(&path).map_err(NetworkError::file("create", &path))?;
    let at = path.clone();
    // A thread of its own: the namespace that it leaves behind must not become another task's.
    on_a_thread(move || {
        unshare(CloneFlags::CLONE_NEWNET)?;
        // `ping` needs no raw sockets then. Where the kernel's settings cannot be written, it needs
        // a capability.
        let _ = fs::write(PING_GROUPS, "0 2147483647");
        mount(Some(OWN), &at, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
        Ok(())
    })
    .await
    .map_err(NetworkError::kernel(format!("make a network namespace at {}", path.display())))
}

/// Does something in a namespace, with a runtime of its own.
pub(crate) async fn within<T, F, W>(path: &Path, work: W) -> Result<T, NetworkError>
where
    T: Send + 'static,
    F: Future<Output = Result<T, NetworkError>>,
    W: FnOnce() -> F + Send + 'static,
{
    let namespace = File::open(path).map_err(NetworkError::file("open", path))?;
    let done = on_a_thread(move || {
        setns(&namespace, CloneFlags::CLONE_NEWNET)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(runtime.block_on(work()))
    });
    done.await.map_err(NetworkError::kernel(format!("work in {}", path.display())))?
}

/// A socket of TCP that belongs to a pinned namespace, whoever uses it.
///
/// # Errors
/// When there is no such namespace, or the kernel does not speak this family.
pub async fn socket_in(path: &Path, is_ipv6: bool) -> Result<TcpSocket, NetworkError> {
    let namespace = File::open(path).map_err(NetworkError::file("open", path))?;
    let made = on_a_thread(move || {
        setns(&namespace, CloneFlags::CLONE_NEWNET)?;
        if is_ipv6 { TcpSocket::new_v6() } else { TcpSocket::new_v4() }
    });
    made.await.map_err(NetworkError::kernel(format!("make a socket in {}", path.display())))
}

/// Ends a namespace and everything in it; one that is not there is no error.
pub(crate) fn remove(path: &Path) -> Result<(), NetworkError> {
    match umount2(path, MntFlags::MNT_DETACH) {
        // Not there, or never mounted.
        Ok(()) | Err(nix::errno::Errno::ENOENT | nix::errno::Errno::EINVAL) => {}
        Err(error) => return Err(NetworkError::file("unmount", path)(error.into())),
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(NetworkError::file("remove", path)(error))
        }
        _ => Ok(()),
    }
}

async fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let (done, heard) = tokio::sync::oneshot::channel();
    std::thread::Builder::new().name("network".into()).spawn(move || {
        // Whoever asked may have gone.
        let _ = done.send(work());
    })?;
    heard.await.unwrap_or_else(|_| Err(io::Error::other("its thread ended early")))
}

//! A host with one image, on which containers are run without a launcher.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;

use command_fds::{CommandFdExt, FdMapping};
use tempfile::TempDir;
use tepui_container::{
    Capabilities, ExecOrder, Ipc, Isolation, Namespace, ORDER_FILE, Order, Root, Seccomp,
};

/// Says why nothing can be shown here; once, so that nobody takes silence for success.
pub fn is_able() -> bool {
    static ABLE: OnceLock<bool> = OnceLock::new();
    *ABLE.get_or_init(|| {
        let is_root = nix::unistd::geteuid().is_root();
        let has_busybox = Path::new(BUSYBOX).exists();
        if !is_root || !has_busybox {
            eprintln!("containers not shown: root {is_root}, {BUSYBOX} {has_busybox}");
        }
        is_root && has_busybox
    })
}

const BUSYBOX: &str = "/bin/busybox";
const TOOLS: [&str; 30] = [
    "sh", "cat", "echo", "id", "ls", "mount", "mkdir", "touch", "sleep", "hostname", "env", "kill",
    "grep", "test", "readlink", "stat", "wc", "mknod", "chown", "ps", "nc", "ip", "stty", "true",
    "head", "sort", "tr", "umount", "rmdir", "ln",
];

/// A bundle and the layers of a small image.
pub struct Host {
    dir: TempDir,
    pub order: Order,
    ignores_signals: bool,
}

/// A container and what it printed.
pub struct Ended {
    pub status: ExitStatus,
    pub out: String,
    pub err: String,
    pub refusal: String,
}

/// A container that runs.
pub struct Running {
    child: Child,
    answer: File,
}

pub fn host() -> Host {
    let dir = TempDir::new().unwrap();
    let layers = [dir.path().join("layer0"), dir.path().join("layer1")];
    image(&layers[0]);
    fs::create_dir_all(layers[1].join("srv")).unwrap();
    fs::write(layers[1].join("srv/second"), "second layer\n").unwrap();
    let sandbox = dir.path().join("sandbox");
    fs::create_dir(&sandbox).unwrap();
    fs::create_dir(dir.path().join("bundle")).unwrap();
    let order = Order {
        filters: Some(dir.path().join("filters")),
        run: "run-1".into(),
        root: Root::Layers(layers.to_vec()),
        read_only: false,
        argv: words("/bin/true"),
        environment: vec![("PATH".into(), "/bin".into())],
        working_directory: "/".into(),
        user: None,
        user_of_host: false,
        groups: Vec::new(),
        sandbox,
        isolation: Isolation {
            network: Namespace::Fresh,
            hostname: Some("box".into()),
            ipc: Ipc::Private,
            shm_bytes: None,
            shares_processes: false,
            processes_of: None,
            ipc_of: None,
        },
        mounts: Vec::new(),
        etc: None,
        privileged: false,
        capabilities: Capabilities::Usual { add: Vec::new(), drop: Vec::new() },
        seccomp: Seccomp::Usual,
        seccomp_profile: None,
        scratch: Some(dir.path().join("scratch")),
        hidden: Vec::new(),
        host_folders: None,
        new_privileges: false,
        rlimits: Vec::new(),
        devices: Vec::new(),
        sysctls: Vec::new(),
        tty: None,
        stop_signal: None,
    };
    Host { dir, order, ignores_signals: false }
}

fn image(folder: &Path) {
    for name in ["bin", "etc", "tmp", "srv", "dev", "proc", "sys"] {
        fs::create_dir_all(folder.join(name)).unwrap();
    }
    fs::copy(BUSYBOX, folder.join("bin/busybox")).unwrap();
    fs::set_permissions(folder.join("bin/busybox"), fs::Permissions::from_mode(0o755)).unwrap();
    for tool in TOOLS {
        symlink("busybox", folder.join("bin").join(tool)).unwrap();
    }
    fs::set_permissions(folder.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    let passwd = "root:x:0:0:root:/root:/bin/sh\nweb:x:1234:1235::/srv:/bin/sh\n";
    fs::write(folder.join("etc/passwd"), passwd).unwrap();
    fs::write(folder.join("etc/group"), "root:x:0:\nweb:x:1235:\nlog:x:77:web\n").unwrap();
    fs::write(folder.join("bin/text"), "no program\n").unwrap();
}

pub fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

impl Host {
    pub fn shell(mut self, line: &str) -> Self {
        self.order.argv = vec!["/bin/sh".into(), "-c".into(), line.into()];
        self
    }

    pub fn with(mut self, change: impl FnOnce(&mut Order)) -> Self {
        change(&mut self.order);
        self
    }

    /// Starts the runtime as an agent does that was started by `nohup` in the background.
    pub fn ignoring_signals(mut self) -> Self {
        self.ignores_signals = true;
        self
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn bundle(&self) -> PathBuf {
        self.path("bundle")
    }

    /// What the runtime needs for itself.
    pub fn scratch(&self) -> PathBuf {
        self.order.scratch_or(&self.bundle()).to_owned()
    }

    fn command(&self, words: &[&Path]) -> (Command, File) {
        let (read, write): (OwnedFd, OwnedFd) = nix::unistd::pipe().unwrap();
        let runtime = env!("CARGO_BIN_EXE_tepui-runtime");
        let mut command = Command::new(if self.ignores_signals { "/bin/sh" } else { runtime });
        if self.ignores_signals {
            let line = "trap '' HUP INT QUIT USR1 TERM CHLD; exec \"$0\" \"$@\"";
            command.args(["-c", line, runtime]);
        }
        command.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.env("LD_LIBRARY_PATH", "/nowhere").env("LISTEN_FDS", "2");
        command.fd_mappings(vec![FdMapping { parent_fd: write, child_fd: 3 }]).unwrap();
        (command, File::from(read))
    }

    pub fn start(&self) -> Running {
        let bundle = self.bundle();
        // Each container has one of its own.
        fs::remove_dir_all(&bundle).unwrap();
        fs::create_dir(&bundle).unwrap();
        if let Some(scratch) = &self.order.scratch {
            let _ = fs::remove_dir_all(scratch);
            fs::create_dir(scratch).unwrap();
        }
        let text = serde_json::to_vec(&self.order).unwrap();
        fs::write(bundle.join(ORDER_FILE), text).unwrap();
        let (mut command, answer) = self.command(&[Path::new("run"), &bundle]);
        let child = command.spawn().unwrap();
        drop(command);
        Running { child, answer }
    }

    pub fn run(&self) -> Ended {
        self.start().end()
    }

    pub fn join(&self, line: &str) -> Ended {
        let order = ExecOrder {
            argv: vec!["/bin/sh".into(), "-c".into(), line.into()],
            environment: vec![("EXTRA".into(), "more".into())],
            working_directory: None,
            tty: None,
        };
        self.join_with(&order)
    }

    pub fn join_with(&self, order: &ExecOrder) -> Ended {
        self.join_reading(order, Stdio::null()).end()
    }

    /// The same, and this is typed.
    pub fn join_typing(&self, order: &ExecOrder, keys: String) -> Ended {
        let mut running = self.join_reading(order, Stdio::piped());
        let mut input = running.child.stdin.take().unwrap();
        let typist = std::thread::spawn(move || input.write_all(keys.as_bytes()));
        let ended = running.end();
        typist.join().unwrap().unwrap();
        ended
    }

    fn join_reading(&self, order: &ExecOrder, input: Stdio) -> Running {
        let file = self.path("exec.json");
        fs::write(&file, serde_json::to_vec(order).unwrap()).unwrap();
        let (mut command, answer) = self.command(&[Path::new("exec"), &self.bundle(), &file]);
        let child = command.stdin(input).spawn().unwrap();
        drop(command);
        Running { child, answer }
    }
}

impl Running {
    /// Waits until the task is executed, or never will be; why not, then.
    pub fn heard(&mut self) -> String {
        let mut text = String::new();
        self.answer.read_to_string(&mut text).unwrap();
        text
    }

    pub fn pid(&self) -> nix::unistd::Pid {
        nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(self.pid(), signal).unwrap();
    }

    /// A line that the task prints, waited for.
    pub fn line(&mut self) -> String {
        let mut line = Vec::new();
        let mut byte = [0];
        let out = self.child.stdout.as_mut().unwrap();
        while out.read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
            line.push(byte[0]);
        }
        String::from_utf8(line).unwrap()
    }

    pub fn end(mut self) -> Ended {
        let refusal = self.heard();
        let done = self.child.wait_with_output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ended { status: done.status, out: text(done.stdout), err: text(done.stderr), refusal }
    }
}

impl Ended {
    /// What was printed by a container that ended well.
    pub fn printed(self) -> String {
        assert!(self.status.success(), "{:?}: {} {}", self.status, self.refusal, self.err);
        self.out
    }
}

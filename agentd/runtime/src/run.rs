//! One container, from its order to its end.

use std::fs;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use nix::sys::stat::{SFlag, fstat};
use nix::unistd::{Gid, Uid, fchown};
use oci_spec::runtime::{Process, Spec};
use rustix::process::set_child_subreaper;
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
use tepui_container::{
    EtcFiles, Facts, MASKED_IN_EACH, ORDER_FILE, Order, Root, UserFacts, capability_names,
    runtime_spec,
};

use crate::above;
use crate::answer::Answer;
use crate::attach::Attached;
use crate::begin;
use crate::build;
use crate::devices::devices;
use crate::fault::{Attempt, Fault, chain};
use crate::filter::{FILTER_FILE, Program, decides, for_libcontainer};
use crate::held::Held;
use crate::place;
use crate::root::mount_root;
use crate::seal;
use crate::sources::sources;
use crate::terminal::Console;
use crate::users::{self, Wanted};
use crate::wait::{End, Signals, parse_signal};

/// Largest order that is read.
const MAX_ORDER_BYTES: u64 = 16 << 20;

/// Makes the container of the bundle and stays with it to its end.
pub(crate) fn run(bundle: &Path, answer: &mut Answer) -> Result<End, Fault> {
    seal::demand()?;
    let order = load(bundle)?;
    let scratch = order.scratch_or(bundle);
    let stop = order.stop_signal.as_deref().map(parse_signal).transpose()?;
    let signals = Signals::hold()?;
    place::enter()?;
    let root = mount_root(bundle, scratch, &order.root)?;
    let user =
        Wanted { user: order.user.as_deref(), of_host: order.user_of_host, groups: &order.groups };
    let user = user.look_up(&root)?;
    let sandbox = match order.root {
        Root::Layers(_) => Some(sandbox(scratch, &order, &user)?),
        Root::Host => None,
    };
    give_output(&user)?;
    let etc = scratch.join("etc");
    if let Some(files) = &order.etc {
        write_files(&etc, files)?;
    }
    let sources = sources(scratch, &order, &user)?;
    let ipc = above::ipc(&order.isolation, scratch)?;
    let facts = Facts {
        processes: above::processes(&order.isolation)?,
        ipc,
        user,
        devices: devices(&order)?,
        capabilities: capability_names(own_capabilities()?),
        machine: rustix::system::uname().machine().to_string_lossy().into_owned(),
        root,
        sandbox,
        sources,
        etc,
        masked: masked(),
    };
    let mut spec = runtime_spec(&order, &facts).map_err(|error| Fault(chain(&error)))?;
    let program = take_filter(&mut spec, scratch, order.filters.as_deref())?;
    let file = scratch.join("config.json");
    spec.save(&file).on("write", &file)?;
    let console = order.tty.map(|_| Console::open(scratch, "console.sock")).transpose()?;
    let attached = order.tty.map(|_| Attached::open(scratch)).transpose()?;
    // Processes that lose their parent come to us, not to the launcher.
    let _ = set_child_subreaper(Some(rustix::process::getpid()));
    if matches!(order.root, Root::Layers(_)) {
        begin::make_folder(&facts.root, &order.working_directory);
    }
    let beginning = build::begin(scratch, program, order.tty)?;
    let begun = beginning.create(scratch, console.as_ref().map(Console::path));
    let begun = begun.and_then(|(init, starting)| starting.hear().map(|()| init));
    let init = begun.map_err(|fault| begin::named(fault, &order.working_directory))?;
    answer.close();
    let terminal = console.map(Console::take).transpose()?;
    let terminal = terminal.map(|terminal| terminal.with(attached));
    renounce();
    signals.follow(init, stop, terminal)
}

/// The sandbox as the container will see it: the folder that was given away, whatever its path leads to
/// by then. That of a container below another is in a folder of the other's.
fn sandbox(scratch: &Path, order: &Order, user: &UserFacts) -> Result<PathBuf, Fault> {
    let held = Held::straight(&order.sandbox)?;
    users::give(&held, user)?;
    held.show(scratch, "sandbox", false)
}

/// The filter as a program that the task loads by itself as its last step. Where that needs rights that
/// the task no longer has then, or more than a program, it stays with libcontainer.
fn take_filter(
    spec: &mut Spec,
    scratch: &Path,
    kept: Option<&Path>,
) -> Result<Option<Program>, Fault> {
    let Some(linux) = spec.linux_mut() else { return Ok(None) };
    let Some(wanted) = linux.seccomp().clone() else { return Ok(None) };
    let program = decides(&wanted).then(|| Program::of(&wanted, kept)).transpose()?;
    if let Some(program) = &program {
        program.save(&scratch.join(FILTER_FILE))?;
    }
    let gives_up = spec.process().as_ref().and_then(Process::no_new_privileges) == Some(true);
    let is_plain = wanted.flags().as_ref().is_none_or(Vec::is_empty);
    let program = program.filter(|_| gives_up && is_plain);
    let left = program.is_none().then(|| for_libcontainer(wanted)).transpose();
    let left = left.map_err(|error| Fault(chain(&error)))?;
    if let Some(linux) = spec.linux_mut() {
        linux.set_seccomp(left);
    }
    Ok(program)
}

/// What is hidden of each of the host's processors, where it has such a thing.
fn masked() -> Vec<String> {
    let mut all = Vec::new();
    for (folder, name) in MASKED_IN_EACH {
        let each = fs::read_dir(folder).into_iter().flatten().flatten();
        let path = each.map(|one| one.path().join(name)).filter(|path| path.exists());
        all.extend(path.filter_map(|path| path.to_str().map(str::to_owned)));
    }
    all.sort();
    all
}

/// The order in its folder.
pub(crate) fn load(bundle: &Path) -> Result<Order, Fault> {
    let file = bundle.join(ORDER_FILE);
    let meta = fs::metadata(&file).on("read", &file)?;
    if meta.len() > MAX_ORDER_BYTES {
        return Err(Fault(format!("'{}' is too large", file.display())));
    }
    serde_json::from_slice(&fs::read(&file).on("read", &file)?).on("understand", &file)
}

/// The user may open `/dev/stdout` by its name, which for a pipe needs its ownership.
fn give_output(user: &UserFacts) -> Result<(), Fault> {
    let (out, err) = (std::io::stdout(), std::io::stderr());
    for stream in [out.as_fd(), err.as_fd()] {
        let is_pipe = fstat(stream).is_ok_and(|found| {
            SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT == SFlag::S_IFIFO
        });
        if is_pipe {
            fchown(stream, Some(Uid::from_raw(user.uid)), Some(Gid::from_raw(user.gid)))
                .to("give the user its output")?;
        }
    }
    Ok(())
}

fn write_files(folder: &Path, files: &EtcFiles) -> Result<(), Fault> {
    fs::create_dir_all(folder).on("create", folder)?;
    let texts =
        [("resolv.conf", &files.resolver), ("hosts", &files.hosts), ("hostname", &files.hostname)];
    for (name, text) in texts {
        let file = folder.join(name);
        fs::write(&file, text).on("write", &file)?;
    }
    Ok(())
}

/// The capabilities of this process, which are all that it can give away.
pub(crate) fn own_capabilities() -> Result<u64, Fault> {
    let status = fs::read_to_string("/proc/self/status").to("read its own status")?;
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let mask = mask.ok_or_else(|| Fault::new("the kernel does not tell capabilities"))?;
    u64::from_str_radix(mask.trim(), 16).to("read its own capabilities")
}

/// All that is left to do is to send signals.
fn renounce() {
    let kept = CapabilitySet::KILL;
    let sets =
        CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    // Without this the container is as safe, and this process only a little less.
    let _ = set_capabilities(None, sets);
}

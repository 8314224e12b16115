//! Filters of system calls as the kernel takes them.
//!
//! To turn a filter of the OCI specification into the kernel's instructions takes as long as all else
//! that a container's start costs, and most containers of a host have the same one. So the
//! instructions are kept. Whatever is not whole is made anew.

use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::time::SystemTime;

use libseccomp::{
    ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall,
    ScmpVersion,
};
use nix::sys::memfd::{MFdFlags, memfd_create};
use oci_spec::OciSpecError;
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompArgBuilder,
    LinuxSeccompOperator,
};
use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use seccompiler::sock_filter;

use crate::fault::{Attempt, Fault};

/// Filters that are kept at most: frameworks that ask for one of their own each shall not fill a disk.
const MAX_KEPT: usize = 64;
/// Bytes of the longest program that the kernel takes: 4,096 instructions.
const MAX_BYTES: u64 = 8 * 4096;
const EPERM: i32 = 1;
/// A container's own program, in its folder.
pub(crate) const FILTER_FILE: &str = "filter";

/// Instructions for the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Program(Vec<sock_filter>);

impl Program {
    /// The program of a filter: a kept one, or made now and kept for the next container.
    pub(crate) fn of(filter: &LinuxSeccomp, kept: Option<&Path>) -> Result<Self, Fault> {
        let Some(folder) = kept else { return make(filter) };
        let file = folder.join(name(filter)?);
        if let Some(program) = read(&file) {
            return Ok(program);
        }
        let program = make(filter)?;
        // Without it the next container takes longer, and is as safe.
        if let Err(error) = keep(&program, folder, &file) {
            tracing::warn!(file = %file.display(), %error, "a filter is not kept");
        }
        Ok(program)
    }

    /// Writes it down for further processes of the same container.
    pub(crate) fn save(&self, file: &Path) -> Result<(), Fault> {
        fs::write(file, self.sealed()).on("write", file)
    }

    /// What was saved.
    pub(crate) fn load(file: &Path) -> Result<Self, Fault> {
        read(file).ok_or_else(|| Fault(format!("'{}' is not a filter", file.display())))
    }

    /// From now on this process and its children make no other system calls, for ever.
    pub(crate) fn enforce(&self) -> Result<(), Fault> {
        seccompiler::apply_filter(&self.0).to("load the system call filter")
    }

    fn sealed(&self) -> Vec<u8> {
        let program = self.bytes();
        let mut bytes = digest(&SHA256, &program).as_ref().to_vec();
        bytes.extend(program);
        bytes
    }

    fn unsealed(bytes: &[u8]) -> Option<Self> {
        let (sum, program) = bytes.split_at_checked(SHA256_OUTPUT_LEN)?;
        (digest(&SHA256, program).as_ref() == sum).then(|| Self::parse(program))?
    }

    fn bytes(&self) -> Vec<u8> {
        let each = self.0.iter().flat_map(|step| {
            let [code, more] = step.code.to_ne_bytes();
            let [a, b, c, d] = step.k.to_ne_bytes();
            [code, more, step.jt, step.jf, a, b, c, d]
        });
        each.collect()
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (steps, []) = bytes.as_chunks::<8>() else { return None };
        let each = steps.iter().map(|&[code, more, jt, jf, a, b, c, d]| sock_filter {
            code: u16::from_ne_bytes([code, more]),
            jt,
            jf,
            k: u32::from_ne_bytes([a, b, c, d]),
        });
        (!steps.is_empty()).then(|| Self(each.collect()))
    }
}

/// Whether a filter decides by itself: nobody is asked.
pub(crate) fn decides(filter: &LinuxSeccomp) -> bool {
    let rules = filter.syscalls().iter().flatten().map(oci_spec::runtime::LinuxSyscall::action);
    rules.chain([filter.default_action()]).all(|one| one != LinuxSeccompAction::ScmpActNotify)
}

/// The file of a filter: other words, or another library that reads them, is another file.
fn name(filter: &LinuxSeccomp) -> Result<String, Fault> {
    let version = ScmpVersion::current().to("ask for libseccomp's version")?;
    let mut words = format!("1 {version} {} ", rustix::system::uname().machine().to_string_lossy());
    words += &serde_json::to_string(filter).to("write the filter down")?;
    let sum = digest(&SHA256, words.as_bytes());
    Ok(sum.as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn read(file: &Path) -> Option<Program> {
    let mut bytes = Vec::new();
    File::open(file).ok()?.take(MAX_BYTES + 64).read_to_end(&mut bytes).ok()?;
    Program::unsealed(&bytes)
}

fn keep(program: &Program, folder: &Path, file: &Path) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    make_room(folder)?;
    let new = file.with_extension(std::process::id().to_string());
    fs::write(&new, program.sealed())?;
    fs::rename(&new, file)
}

/// Takes the oldest ones away when there are too many.
fn make_room(folder: &Path) -> std::io::Result<()> {
    let mut kept = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let made = entry.metadata().and_then(|meta| meta.modified());
        kept.push((made.unwrap_or(SystemTime::UNIX_EPOCH), entry.path()));
    }
    kept.sort();
    let surplus = (kept.len() + 1).saturating_sub(MAX_KEPT);
    for (_, path) in kept.into_iter().take(surplus) {
        let _ = fs::remove_file(path);
    }
    Ok(())
}

/// What libseccomp makes of it, by the same reading as libcontainer's.
fn make(filter: &LinuxSeccomp) -> Result<Program, Fault> {
    let context = context(filter).to("make the system call filter")?;
    let memory = memfd_create("filter", MFdFlags::MFD_CLOEXEC).to("make room for a filter")?;
    let mut memory = File::from(memory);
    context.export_bpf(&memory).to("make the system call filter")?;
    let mut bytes = Vec::new();
    memory.flush().and_then(|()| memory.rewind()).to("read the filter")?;
    memory.read_to_end(&mut bytes).to("read the filter")?;
    Program::parse(&bytes).ok_or_else(|| Fault::new("libseccomp made a filter of no instructions"))
}

fn context(filter: &LinuxSeccomp) -> Result<ScmpFilterContext, libseccomp::error::SeccompError> {
    let usual = action(filter.default_action(), filter.default_errno_ret());
    let mut context = ScmpFilterContext::new(usual)?;
    for arch in filter.architectures().iter().flatten() {
        context.add_arch(architecture(*arch))?;
    }
    for rule in filter.syscalls().iter().flatten() {
        let what = action(rule.action(), rule.errno_ret());
        if what == usual {
            continue;
        }
        for name in rule.names() {
            // A name that the host's library does not know is no system call here.
            let Ok(call) = ScmpSyscall::from_name(name) else { continue };
            add(&mut context, what, call, rule.args().as_deref().unwrap_or_default())?;
        }
    }
    Ok(context)
}

/// One rule; where it compares the same argument twice, one for each comparison, as runc does.
fn add(
    context: &mut ScmpFilterContext,
    what: ScmpAction,
    call: ScmpSyscall,
    args: &[LinuxSeccompArg],
) -> Result<(), libseccomp::error::SeccompError> {
    let comparisons: Vec<_> = args.iter().map(comparison).collect();
    let mut places: Vec<_> = args.iter().map(LinuxSeccompArg::index).collect();
    places.sort_unstable();
    places.dedup();
    if comparisons.is_empty() {
        context.add_rule(what, call)?;
    } else if places.len() == comparisons.len() {
        context.add_rule_conditional(what, call, &comparisons)?;
    } else {
        for one in comparisons {
            context.add_rule_conditional(what, call, &[one])?;
        }
    }
    Ok(())
}

fn comparison(arg: &LinuxSeccompArg) -> ScmpArgCompare {
    let how = match arg.op() {
        LinuxSeccompOperator::ScmpCmpNe => ScmpCompareOp::NotEqual,
        LinuxSeccompOperator::ScmpCmpLt => ScmpCompareOp::Less,
        LinuxSeccompOperator::ScmpCmpLe => ScmpCompareOp::LessOrEqual,
        LinuxSeccompOperator::ScmpCmpEq => ScmpCompareOp::Equal,
        LinuxSeccompOperator::ScmpCmpGe => ScmpCompareOp::GreaterEqual,
        LinuxSeccompOperator::ScmpCmpGt => ScmpCompareOp::Greater,
        LinuxSeccompOperator::ScmpCmpMaskedEq => ScmpCompareOp::MaskedEqual(arg.value()),
    };
    // Behind a mask it is the second value that is compared.
    let is_masked = matches!(how, ScmpCompareOp::MaskedEqual(_));
    let datum = if is_masked { arg.value_two().unwrap_or_default() } else { arg.value() };
    // The specification knows arguments 0 to 5, and libseccomp refuses others.
    ScmpArgCompare::new(u32::try_from(arg.index()).unwrap_or(u32::MAX), how, datum)
}

/// The filter in the words of libcontainer, which takes the first value of a masked comparison for
/// the second one (0.7.0; runc and the specification's examples have the mask first).
pub(crate) fn for_libcontainer(mut filter: LinuxSeccomp) -> Result<LinuxSeccomp, OciSpecError> {
    let mut rules = filter.syscalls().clone().unwrap_or_default();
    for rule in &mut rules {
        if let Some(args) = rule.args() {
            let args = args.iter().map(mask_second).collect::<Result<_, _>>()?;
            rule.set_args(Some(args));
        }
    }
    filter.set_syscalls(Some(rules));
    Ok(filter)
}

fn mask_second(arg: &LinuxSeccompArg) -> Result<LinuxSeccompArg, OciSpecError> {
    if arg.op() != LinuxSeccompOperator::ScmpCmpMaskedEq {
        return Ok(*arg);
    }
    LinuxSeccompArgBuilder::default()
        .index(arg.index())
        .value(arg.value_two().unwrap_or_default())
        .value_two(arg.value())
        .op(arg.op())
        .build()
}

fn action(action: LinuxSeccompAction, errno: Option<u32>) -> ScmpAction {
    let number = errno.map_or(EPERM, |number| i32::try_from(number).unwrap_or(EPERM));
    match action {
        LinuxSeccompAction::ScmpActKill | LinuxSeccompAction::ScmpActKillThread => {
            ScmpAction::KillThread
        }
        LinuxSeccompAction::ScmpActKillProcess => ScmpAction::KillProcess,
        LinuxSeccompAction::ScmpActTrap => ScmpAction::Trap,
        LinuxSeccompAction::ScmpActErrno => ScmpAction::Errno(number),
        LinuxSeccompAction::ScmpActTrace => {
            ScmpAction::Trace(u16::try_from(number).unwrap_or_default())
        }
        LinuxSeccompAction::ScmpActNotify => ScmpAction::Notify,
        LinuxSeccompAction::ScmpActLog => ScmpAction::Log,
        LinuxSeccompAction::ScmpActAllow => ScmpAction::Allow,
    }
}

fn architecture(arch: Arch) -> ScmpArch {
    match arch {
        Arch::ScmpArchNative => ScmpArch::Native,
        Arch::ScmpArchX86 => ScmpArch::X86,
        Arch::ScmpArchX86_64 => ScmpArch::X8664,
        Arch::ScmpArchX32 => ScmpArch::X32,
        Arch::ScmpArchArm => ScmpArch::Arm,
        Arch::ScmpArchAarch64 => ScmpArch::Aarch64,
        Arch::ScmpArchMips => ScmpArch::Mips,
        Arch::ScmpArchMips64 => ScmpArch::Mips64,
        Arch::ScmpArchMips64n32 => ScmpArch::Mips64N32,
        Arch::ScmpArchMipsel => ScmpArch::Mipsel,
        Arch::ScmpArchMipsel64 => ScmpArch::Mipsel64,
        Arch::ScmpArchMipsel64n32 => ScmpArch::Mipsel64N32,
        Arch::ScmpArchPpc => ScmpArch::Ppc,
        Arch::ScmpArchPpc64 => ScmpArch::Ppc64,
        Arch::ScmpArchPpc64le => ScmpArch::Ppc64Le,
        Arch::ScmpArchS390 => ScmpArch::S390,
        Arch::ScmpArchS390x => ScmpArch::S390X,
        Arch::ScmpArchRiscv64 => ScmpArch::Riscv64,
        Arch::ScmpArchParisc => ScmpArch::Parisc,
        Arch::ScmpArchParisc64 => ScmpArch::Parisc64,
        Arch::ScmpArchLoongarch64 => ScmpArch::Loongarch64,
        Arch::ScmpArchM68k => ScmpArch::M68k,
        Arch::ScmpArchSh => ScmpArch::Sh,
        Arch::ScmpArchSheb => ScmpArch::Sheb,
    }
}

#[cfg(test)]
mod tests;

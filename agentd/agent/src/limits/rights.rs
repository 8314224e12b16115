//! What a run may do: `LinuxInfo` of its container, its labels, and the operator's word.

use tepui_wire::v1::{self, capability_info::Capability, linux_info::IpcMode};

use super::{
    CAPABILITIES, DEVICES, IPC, LimitPolicy, Need, PID, SECCOMP, SHIELD, Unclear, labels::Wishes,
};

/// What a run may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// Capabilities that it can ever have, one bit each by the kernel's numbers.
    pub bounding: Option<u64>,
    /// Capabilities that it has whoever its user is.
    pub ambient: u64,
    /// Executed files give it no rights.
    pub no_new_privileges: bool,
    /// System calls that it may make.
    pub seccomp: Option<SeccompProfile>,
    /// Inter-process communication of its own.
    pub own_ipc: bool,
    /// Only devices without hardware behind them.
    pub no_devices: bool,
    /// The host's own settings, sockets and namespaces are out of reach.
    pub shield: bool,
}

/// A filter of system calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeccompProfile {
    /// What services need.
    Default,
    /// The same without what needs rights.
    Strict,
}

impl SeccompProfile {
    /// The profile of that name; what would be right when there is none.
    ///
    /// # Errors
    /// Names the profiles.
    pub fn by_name(name: &str) -> Result<Self, &'static str> {
        match name {
            "default" => Ok(Self::Default),
            "strict" => Ok(Self::Strict),
            _ => Err("a seccomp profile that this agent knows: 'default' or 'strict'"),
        }
    }
}

/// The kernel's bit of a capability: Mesos numbers them from 1000 on in the kernel's order.
#[must_use]
pub fn capability_bit(capability: Capability) -> Option<u64> {
    let number = u32::try_from(capability as i32).ok()?.checked_sub(1000)?;
    1_u64.checked_shl(number)
}

fn mask(info: &v1::CapabilityInfo) -> Result<u64, Unclear> {
    let mut bits = info.capabilities.iter().map(|number| {
        let known = Capability::try_from(*number).ok().and_then(capability_bit);
        known.ok_or_else(|| {
            Unclear(format!("Capability {number} of container.linux_info is unknown"))
        })
    });
    bits.try_fold(0, |mask, bit| Ok(mask | bit?))
}

impl Rights {
    /// Those of a run that asks for what it may not have.
    pub(super) fn none() -> Self {
        Self { bounding: Some(0), no_new_privileges: true, ..Self::default() }
    }

    /// What a container and labels ask for, within what the operator allows.
    pub(super) fn of(
        container: Option<&v1::ContainerInfo>,
        wishes: &Wishes,
        policy: &LimitPolicy,
    ) -> Result<Self, Unclear> {
        let linux = container.and_then(|container| container.linux_info.as_ref());
        let (bounding, ambient) = capabilities(linux, policy)?;
        Ok(Self {
            bounding,
            ambient,
            no_new_privileges: wishes.no_new_privileges || policy.no_new_privileges,
            seccomp: seccomp(linux, wishes, policy)?,
            own_ipc: wishes.own_ipc || linux.is_some_and(|one| one.ipc_mode() == IpcMode::Private),
            no_devices: policy.no_devices,
            shield: wishes.shield || policy.shield,
        })
    }

    /// Which isolators they need.
    pub(super) fn needs(&self, container: Option<&v1::ContainerInfo>) -> Vec<Need> {
        let linux = container.and_then(|container| container.linux_info.as_ref());
        let own_pids = linux.is_some_and(|linux| linux.share_pid_namespace == Some(false));
        let shm = linux.is_some_and(|linux| linux.shm_size.is_some());
        let all = [
            (self.bounding.is_some() || self.ambient != 0, CAPABILITIES, "A set of capabilities"),
            (self.seccomp.is_some(), SECCOMP, "A filter of system calls"),
            (self.own_ipc || shm, IPC, "Inter-process communication of its own"),
            (own_pids, PID, "container.linux_info.share_pid_namespace = false"),
            (self.no_devices, DEVICES, "A host without devices"),
            (self.shield, SHIELD, "A host out of reach"),
        ];
        let needed = all.into_iter().filter(|(needed, ..)| *needed);
        needed.map(|(_, isolator, what)| (isolator, what.to_owned())).collect()
    }
}

/// The bounding set and the ambient one. Whoever names only what shall be effective is bounded by
/// it, as in Mesos.
fn capabilities(
    linux: Option<&v1::LinuxInfo>,
    policy: &LimitPolicy,
) -> Result<(Option<u64>, u64), Unclear> {
    let named = |info: Option<&v1::CapabilityInfo>| info.map(mask).transpose();
    // The older field of the same meaning.
    #[expect(deprecated, reason = "frameworks send it")]
    let effective = linux
        .and_then(|linux| linux.effective_capabilities.as_ref().or(linux.capability_info.as_ref()));
    let effective = named(effective)?;
    let bounding = named(linux.and_then(|linux| linux.bounding_capabilities.as_ref()))?;
    let allowed = policy.bounding_capabilities;
    for asked in [effective, bounding].into_iter().flatten() {
        if let Some(allowed) = allowed
            && asked & !allowed != 0
        {
            return Err(Unclear(
                "container.linux_info asks for capabilities beyond this agent's \
                 --bounding-capabilities"
                    .to_owned(),
            ));
        }
    }
    let effective = effective.or(policy.effective_capabilities);
    let bounding = bounding.or(allowed).or(effective);
    if let (Some(effective), Some(bounding)) = (effective, bounding)
        && effective & !bounding != 0
    {
        return Err(Unclear(
            "container.linux_info asks for effective capabilities that are not among its bounding \
             ones"
                .to_owned(),
        ));
    }
    Ok((bounding, effective.unwrap_or_default()))
}

fn seccomp(
    linux: Option<&v1::LinuxInfo>,
    wishes: &Wishes,
    policy: &LimitPolicy,
) -> Result<Option<SeccompProfile>, Unclear> {
    let named = linux.and_then(|linux| linux.seccomp.as_ref());
    match named {
        Some(named) if named.unconfined() => Ok(None),
        Some(v1::SeccompInfo { profile_name: Some(name), .. }) => {
            let profile = SeccompProfile::by_name(name);
            let shown: String = name.chars().take(80).collect();
            let unclear = |right| Unclear(format!("'{shown}' is not {right}"));
            profile.map(Some).map_err(unclear)
        }
        _ => Ok(wishes.seccomp.or(policy.seccomp)),
    }
}

//! What a container may do at most that was asked for below another run: what that one may do. Its own
//! wishes beyond it are refused with what holds them; what is only usual is cut.

use tepui_container::{
    Capabilities, Container, Device, Ipc, MountSource, Seccomp, bounding_mask, capability_mask,
    capability_names,
};

use super::container::all;
use super::{Rights, SeccompProfile};

/// What a run may do, as far as it bounds those below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ceiling {
    privileged: bool,
    new_privileges: bool,
    bounding: u64,
    seccomp: Seccomp,
    /// Its inter-process communication is not the host's, which those below it would share.
    own_ipc: bool,
    own_files: bool,
    /// `None` is any.
    devices: Option<Vec<Device>>,
}

impl Ceiling {
    /// That of a container's processes.
    pub(crate) fn of_container(above: &Container) -> Self {
        Self {
            privileged: above.privileged,
            new_privileges: above.privileged || above.new_privileges,
            bounding: bounding_mask(&above.capabilities, above.privileged),
            seccomp: if above.privileged { Seccomp::Unconfined } else { above.seccomp.clone() },
            // Whoever shares below it shares with it.
            own_ipc: false,
            own_files: above.image.is_some(),
            devices: (!above.privileged).then(|| above.devices.clone()),
        }
    }

    /// That of an ordinary process.
    pub(crate) fn of_process(above: &Rights) -> Self {
        let bounding = above.bounding.unwrap_or_else(all);
        let is_free = above.seccomp.is_none() && !above.no_devices && !above.shield;
        Self {
            privileged: is_free && !above.no_new_privileges && bounding == all(),
            new_privileges: !above.no_new_privileges,
            bounding,
            seccomp: match above.seccomp {
                None => Seccomp::Unconfined,
                Some(SeccompProfile::Default) => Seccomp::Usual,
                Some(SeccompProfile::Strict) => Seccomp::Strict,
            },
            own_ipc: above.own_ipc,
            own_files: false,
            devices: above.no_devices.then(Vec::new),
        }
    }

    /// Binds a container, of which the description said what is `wished`.
    ///
    /// # Errors
    /// What it asks for and may not have.
    pub(crate) fn bind(&self, container: &mut Container, wished: &Container) -> Result<(), String> {
        let refused = |what: &str| {
            Err(format!(
                "The container asks for {what}, which the container above it does not have"
            ))
        };
        if wished.privileged && !self.privileged {
            return refused("being privileged");
        }
        if wished.new_privileges && !self.new_privileges {
            return refused("new privileges");
        }
        let excess = capability_names(named(&wished.capabilities) & !self.bounding);
        if !excess.is_empty() {
            return refused(&format!("the capabilities {}", excess.join(", ")));
        }
        if wished.seccomp != Seccomp::Usual && !self.covers(&wished.seccomp) {
            return refused("other system calls");
        }
        if wished.ipc == Ipc::Above && self.own_ipc {
            return refused("the host's inter-process communication");
        }
        let is_known = |one: &Device| {
            self.devices.as_ref().is_none_or(|all| all.iter().any(|above| covers(above, one)))
        };
        if let Some(device) = wished.devices.iter().find(|one| !is_known(one)) {
            return refused(&format!("the device '{}'", device.host));
        }
        if self.own_files {
            files(wished)?;
        }
        self.cut(container);
        Ok(())
    }

    fn covers(&self, seccomp: &Seccomp) -> bool {
        match (seccomp, &self.seccomp) {
            (_, Seccomp::Unconfined) | (Seccomp::Strict, Seccomp::Usual) => true,
            (asked, above) => asked == above,
        }
    }

    /// What nobody asked for by name.
    fn cut(&self, container: &mut Container) {
        if !container.privileged {
            let beyond = capability_names(all() & !self.bounding);
            match &mut container.capabilities {
                Capabilities::Usual { drop, .. } => drop.extend(beyond),
                Capabilities::Exactly { effective, bounding } => {
                    effective.retain(|name| !beyond.contains(name));
                    bounding.retain(|name| !beyond.contains(name));
                }
            }
        }
        if !self.covers(&container.seccomp) {
            container.seccomp = self.seccomp.clone();
        }
    }
}

/// Whether who has one device may pass the other one on, under whatever name.
fn covers(above: &Device, wished: &Device) -> bool {
    above.host == wished.host && (above.read || !wished.read) && (above.write || !wished.write)
}

/// What an image keeps from the run above is not opened by a container below it.
fn files(wished: &Container) -> Result<(), String> {
    let hosts = "sees the files of its own image only, and not the host's";
    if wished.image.is_none() {
        return Err(format!(
            "The container needs an image (mesos.image): the container above it {hosts}"
        ));
    }
    let mut mounts = wished.mounts.iter();
    let path = mounts.find_map(|mount| match &mount.source {
        MountSource::Host { path, .. } => Some(path),
        _ => None,
    });
    path.map_or(Ok(()), |path| {
        Err(format!(
            "The container asks for volume '{path}' of the host: the container above it {hosts}"
        ))
    })
}

/// Capabilities that are asked for by name.
fn named(capabilities: &Capabilities) -> u64 {
    match capabilities {
        Capabilities::Usual { add, .. } if add.iter().any(|name| name == "ALL") => all(),
        Capabilities::Usual { add, .. } => capability_mask(add),
        Capabilities::Exactly { effective, bounding } => {
            capability_mask(effective) | capability_mask(bounding)
        }
    }
}

#[cfg(test)]
mod tests {
    // Helpers of a test: what is not there fails it.
    #![allow(clippy::unwrap_used)]

    use tepui_wire::v1;

    use super::*;

    fn described(info: v1::ContainerInfo) -> Container {
        let info = v1::ContainerInfo { r#type: v1::container_info::Type::Mesos.into(), ..info };
        let command = v1::CommandInfo::default();
        tepui_container::describe(&info, &command, None, false).unwrap().unwrap()
    }

    fn plain() -> Container {
        let linux_info = Some(v1::LinuxInfo::default());
        described(v1::ContainerInfo { linux_info, ..v1::ContainerInfo::default() })
    }

    fn imaged() -> Container {
        let docker = v1::image::Docker { name: "web".into(), ..v1::image::Docker::default() };
        let image = v1::Image {
            r#type: v1::image::Type::Docker.into(),
            docker: Some(docker),
            ..v1::Image::default()
        };
        let mesos = Some(v1::container_info::MesosInfo { image: Some(image) });
        described(v1::ContainerInfo { mesos, ..v1::ContainerInfo::default() })
    }

    fn names(all: &[&str]) -> Vec<String> {
        all.iter().map(|name| (*name).to_owned()).collect()
    }

    fn bound(ceiling: &Ceiling, wished: Container) -> Result<Container, String> {
        let mut container = wished.clone();
        ceiling.bind(&mut container, &wished).map(|()| container)
    }

    /// A container that may do next to nothing.
    fn only_chown() -> Container {
        let own = names(&["CHOWN"]);
        let capabilities = Capabilities::Exactly { effective: own.clone(), bounding: own };
        Container { capabilities, seccomp: Seccomp::Strict, ..imaged() }
    }

    #[test]
    fn whatever_a_container_asks_for_beyond_the_one_above_is_refused_by_name() {
        let ceiling = Ceiling::of_container(&only_chown());
        let kill =
            Capabilities::Exactly { effective: names(&["KILL"]), bounding: names(&["KILL"]) };
        let host = MountSource::Host { path: "/etc".into(), create: false, follows_host: false };
        let volume = tepui_container::Mount { source: host, target: "/x".into(), read_only: true };
        let device = device("/dev/kvm", true);
        for (wished, what) in [
            (Container { privileged: true, ..imaged() }, "being privileged"),
            (Container { new_privileges: true, ..imaged() }, "new privileges"),
            (Container { capabilities: kill, ..imaged() }, "the capabilities KILL"),
            (Container { seccomp: Seccomp::Unconfined, ..imaged() }, "system calls"),
            (Container { seccomp: Seccomp::Profile("mine".into()), ..imaged() }, "system calls"),
            (Container { devices: vec![device], ..imaged() }, "'/dev/kvm'"),
            (Container { mounts: vec![volume], ..imaged() }, "volume '/etc'"),
            (plain(), "needs an image"),
        ] {
            let error = bound(&ceiling, wished).unwrap_err();
            assert!(error.contains(what), "{error}");
        }
    }

    fn device(path: &str, write: bool) -> Device {
        Device { host: path.into(), container: path.into(), read: true, write }
    }

    #[test]
    fn a_device_is_passed_on_with_no_more_than_was_given() {
        let above = Container { devices: vec![device("/dev/kvm", false)], ..imaged() };
        let ceiling = Ceiling::of_container(&above);
        let asks = |write| {
            bound(&ceiling, Container { devices: vec![device("/dev/kvm", write)], ..imaged() })
        };
        assert!(asks(false).is_ok());
        assert!(asks(true).unwrap_err().contains("'/dev/kvm'"));
    }

    #[test]
    fn what_it_shares_with_the_one_above_is_that_ones_own() {
        let wished = Container { ipc: Ipc::Above, shares_processes: true, ..imaged() };
        bound(&Ceiling::of_container(&only_chown()), wished).unwrap();
    }

    #[test]
    fn what_it_has_without_asking_is_that_of_the_one_above() {
        let below = bound(&Ceiling::of_container(&only_chown()), imaged()).unwrap();
        assert_eq!(below.seccomp, Seccomp::Strict);
        assert_eq!(bounding_mask(&below.capabilities, false), capability_mask(&names(&["CHOWN"])));
        // What the operator gives to those who name none is cut too.
        let given = names(&["CHOWN", "KILL"]);
        let mut container = imaged();
        container.capabilities =
            Capabilities::Exactly { effective: given.clone(), bounding: given };
        Ceiling::of_container(&only_chown()).bind(&mut container, &imaged()).unwrap();
        assert_eq!(
            bounding_mask(&container.capabilities, false),
            capability_mask(&names(&["CHOWN"]))
        );
    }

    #[test]
    fn a_confined_process_bounds_a_container_below_it() {
        let rights = Rights {
            bounding: Some(capability_mask(&names(&["CHOWN"]))),
            no_new_privileges: true,
            seccomp: Some(SeccompProfile::Strict),
            own_ipc: true,
            no_devices: true,
            ..Rights::default()
        };
        let ceiling = Ceiling::of_process(&rights);
        let below = bound(&ceiling, plain()).unwrap();
        assert_eq!(below.seccomp, Seccomp::Strict);
        assert_eq!(bounding_mask(&below.capabilities, false), capability_mask(&names(&["CHOWN"])));
        for wished in [
            Container { seccomp: Seccomp::Unconfined, ..plain() },
            Container { ipc: Ipc::Above, ..plain() },
            Container { privileged: true, ..plain() },
        ] {
            bound(&ceiling, wished).unwrap_err();
        }
    }

    #[test]
    fn an_unconfined_process_and_a_privileged_container_bound_nothing() {
        let odd = Container {
            seccomp: Seccomp::Unconfined,
            capabilities: Capabilities::Usual { add: names(&["ALL"]), drop: Vec::new() },
            ..imaged()
        };
        let privileged = Container { privileged: true, ..imaged() };
        for ceiling in [Ceiling::of_process(&Rights::default()), Ceiling::of_container(&privileged)]
        {
            assert_eq!(bound(&ceiling, odd.clone()).unwrap(), odd);
        }
    }
}

//! Links, addresses and routes, over rtnetlink in the calling thread's namespace.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;

use futures_util::TryStreamExt;
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags};
use rtnetlink::packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkMessage,
};
use rtnetlink::{
    Handle, LinkBridge, LinkBridgePort, LinkMessageBuilder, LinkUnspec, LinkVeth,
    RouteMessageBuilder,
};
use tokio::task::JoinHandle;

use crate::error::NetworkError;

/// The group of links that are to be removed, a number that nobody else has: "tepu".
const ENDED: u32 = 0x7465_7075;

/// A conversation with the kernel.
#[derive(Debug)]
pub(crate) struct Links {
    handle: Handle,
    talk: JoinHandle<()>,
}

impl Drop for Links {
    fn drop(&mut self) {
        self.talk.abort();
    }
}

fn is_errno(error: &rtnetlink::Error, errno: i32) -> bool {
    matches!(error, rtnetlink::Error::NetlinkError(message)
        if message.code.is_some_and(|code| code.get() == -errno))
}

impl Links {
    pub(crate) fn open() -> Result<Self, NetworkError> {
        let (connection, handle, _) =
            rtnetlink::new_connection().map_err(NetworkError::kernel("talk to rtnetlink"))?;
        Ok(Self { handle, talk: tokio::spawn(connection) })
    }

    /// The number of a link; `None` when there is none of that name.
    pub(crate) async fn find(&self, name: &str) -> Result<Option<u32>, NetworkError> {
        Ok(self.look_up(name).await?.map(|link| link.header.index))
    }

    async fn look_up(&self, name: &str) -> Result<Option<LinkMessage>, NetworkError> {
        let mut found = self.handle.link().get().match_name(name.to_owned()).execute();
        match found.try_next().await {
            Ok(message) => Ok(message),
            Err(error) if is_errno(&error, nix::libc::ENODEV) => Ok(None),
            Err(error) => Err(NetworkError::link(format!("look for link {name}"))(error)),
        }
    }

    pub(crate) async fn demand(&self, name: &str) -> Result<u32, NetworkError> {
        let absent = || NetworkError::Unable(format!("link {name} is gone"));
        self.find(name).await?.ok_or_else(absent)
    }

    /// A bridge of this name with this address; made when absent, and whether it was not there or
    /// down. Without an address of its own
    /// a bridge has that of one of its ports, and changes it when that port goes: what other
    /// containers know of it is wrong then, for as long as they remember it.
    pub(crate) async fn ensure_bridge(
        &self,
        name: &str,
        address: [u8; 6],
    ) -> Result<(u32, bool), NetworkError> {
        let found = self.look_up(name).await?;
        let is_right = found.as_ref().is_some_and(|link| link.header.flags.contains(LinkFlags::Up));
        let index = match found {
            Some(link) => link.header.index,
            None => {
                let made = self.handle.link().add(LinkBridge::new(name).build()).execute().await;
                match made {
                    Ok(()) => {}
                    Err(error) if is_errno(&error, nix::libc::EEXIST) => {}
                    Err(error) => {
                        return Err(NetworkError::link(format!("make bridge {name}"))(error));
                    }
                }
                self.demand(name).await?
            }
        };
        let own = LinkUnspec::new_with_index(index).address(address.to_vec()).build();
        self.set(own, || format!("give bridge {name} its address")).await?;
        Ok((index, !is_right))
    }

    /// Links that are no part of this bridge, with their names.
    pub(crate) async fn outside_of(&self, bridge: u32) -> Result<Vec<(u32, String)>, NetworkError> {
        let all = self.handle.link().get().execute().try_collect::<Vec<_>>().await;
        let all = all.map_err(NetworkError::link("list links"))?;
        let outside = |link: LinkMessage| {
            let mut name = None;
            for attribute in link.attributes {
                match attribute {
                    LinkAttribute::Controller(at) if at == bridge => return None,
                    LinkAttribute::IfName(own) => name = Some(own),
                    _ => {}
                }
            }
            Some((link.header.index, name?))
        };
        Ok(all.into_iter().filter_map(outside).collect())
    }

    /// Connects a cable's outer end to a bridge; whether it is still there.
    pub(crate) async fn plug(
        &self,
        index: u32,
        name: &str,
        bridge: u32,
    ) -> Result<bool, NetworkError> {
        let attached = LinkUnspec::new_with_index(index).controller(bridge).up().build();
        match self.handle.link().set(attached).execute().await {
            Ok(()) => {}
            Err(error) if is_errno(&error, nix::libc::ENODEV) => return Ok(false),
            Err(error) => return Err(NetworkError::link(format!("attach link {name}"))(error)),
        }
        self.turn(index, name).await
    }

    /// Lets packets turn round at a cable's outer end; whether it is still there.
    async fn turn(&self, index: u32, name: &str) -> Result<bool, NetworkError> {
        // Where the kernel filters bridges too (br_netfilter), what a container sends to its own
        // mapped port turns round in the bridge itself, which a port must allow.
        let turning = LinkBridgePort::new(index).hairpin(true).build();
        match self.handle.link().set_port(turning).execute().await {
            Ok(()) => Ok(true),
            Err(error) if is_errno(&error, nix::libc::ENODEV) => Ok(false),
            Err(error) => Err(NetworkError::link(format!("let link {name} turn round"))(error)),
        }
    }

    /// Two ends of a cable: one at the bridge, the other made in its namespace. To make it here and
    /// move it there takes the kernel ten times as long, with the lock of all networks held.
    pub(crate) async fn add_pair(
        &self,
        outer: &str,
        inner: &str,
        bridge: u32,
        namespace: &impl AsRawFd,
    ) -> Result<(), NetworkError> {
        let inner_end = LinkMessageBuilder::<LinkUnspec>::new()
            .name(inner)
            .setns_by_fd(namespace.as_raw_fd())
            .build();
        let pair = LinkMessageBuilder::<LinkVeth>::new_with_info_kind(InfoKind::Veth)
            .set_info_data(InfoData::Veth(InfoVeth::Peer(inner_end)))
            .name(outer)
            .controller(bridge)
            .up()
            .build();
        let made = self.handle.link().add(pair).execute().await;
        made.map_err(NetworkError::link(format!("make links {outer} and {inner}")))?;
        let outer_index = self.demand(outer).await?;
        match self.turn(outer_index, outer).await? {
            true => Ok(()),
            false => Err(NetworkError::Unable(format!("link {outer} is gone"))),
        }
    }

    pub(crate) async fn raise(&self, index: u32) -> Result<(), NetworkError> {
        let up = LinkUnspec::new_with_index(index).up().build();
        self.set(up, || format!("raise link {index}")).await
    }

    pub(crate) async fn raise_loopback(&self) -> Result<(), NetworkError> {
        let index = self.demand("lo").await?;
        self.raise(index).await
    }

    async fn set(
        &self,
        message: LinkMessage,
        deed: impl FnOnce() -> String,
    ) -> Result<(), NetworkError> {
        let done = self.handle.link().set(message).execute().await;
        done.map_err(|source| NetworkError::Link { deed: deed(), source })
    }

    /// Puts a link among those that [`Self::remove_ended`] removes; whether it is there.
    pub(crate) async fn mark_ended(&self, name: &str) -> Result<bool, NetworkError> {
        let Some(index) = self.find(name).await? else { return Ok(false) };
        let mut marked = LinkUnspec::new_with_index(index).build();
        marked.attributes.push(LinkAttribute::Group(ENDED));
        match self.handle.link().set(marked).execute().await {
            Ok(()) => Ok(true),
            Err(error) if is_errno(&error, nix::libc::ENODEV) => Ok(false),
            Err(error) => Err(NetworkError::link(format!("mark link {name}"))(error)),
        }
    }

    /// Removes all links that were marked.
    pub(crate) async fn remove_ended(&self) -> Result<(), NetworkError> {
        let mut request = self.handle.link().del(0);
        request.message_mut().attributes.push(LinkAttribute::Group(ENDED));
        request.execute().await.map_err(NetworkError::link("remove links that have ended"))
    }

    /// Removes a link; one that is not there is no error.
    pub(crate) async fn remove(&self, name: &str) -> Result<(), NetworkError> {
        let Some(index) = self.find(name).await? else { return Ok(()) };
        match self.handle.link().del(index).execute().await {
            Ok(()) => Ok(()),
            Err(error) if is_errno(&error, nix::libc::ENODEV) => Ok(()),
            Err(error) => Err(NetworkError::link(format!("remove link {name}"))(error)),
        }
    }

    /// Gives a link an address, usable at once; whether it did not have it already.
    pub(crate) async fn add_address(
        &self,
        index: u32,
        address: IpAddr,
        prefix: u8,
    ) -> Result<bool, NetworkError> {
        let mut request = self.handle.address().add(index, address, prefix);
        if address.is_ipv6() {
            // Nobody else can have it, so nobody is asked, which would take a second.
            let flags = AddressAttribute::Flags(AddressFlags::Nodad);
            request.message_mut().attributes.push(flags);
        }
        match request.execute().await {
            Ok(()) => Ok(true),
            Err(error) if is_errno(&error, nix::libc::EEXIST) => Ok(false),
            Err(error) => Err(NetworkError::link(format!("add address {address}"))(error)),
        }
    }

    /// Everything else is reached through these.
    pub(crate) async fn add_default_routes(
        &self,
        four: Option<Ipv4Addr>,
        six: Option<Ipv6Addr>,
    ) -> Result<(), NetworkError> {
        if let Some(gateway) = four {
            let route = RouteMessageBuilder::<Ipv4Addr>::new().gateway(gateway).build();
            let added = self.handle.route().add(route).execute().await;
            added.map_err(NetworkError::link("add the default route"))?;
        }
        if let Some(gateway) = six {
            let route = RouteMessageBuilder::<Ipv6Addr>::new().gateway(gateway).build();
            let added = self.handle.route().add(route).execute().await;
            added.map_err(NetworkError::link("add the default route of IPv6"))?;
        }
        Ok(())
    }
}

//! Links, addresses and routes of this thread's network namespace, by rtnetlink: a container has no program that would
//! print them for us, and the kernel's error numbers are what the node tells of.

use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send, socket,
};

use super::{Failure, errors};

const GET_LINK: u16 = 18;
const REQUEST: u16 = 1;
const ACKNOWLEDGE: u16 = 4;
const DUMP: u16 = 0x300;
const CREATE_NEW: u16 = 0x600;
/// A link that is up.
pub(super) const UP: u32 = 1;
const MAIN_TABLE: u32 = 254;

/// A network interface.
#[derive(Clone, Debug, Default)]
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) name: String,
    /// `bridge`, `veth` …; `device` for a real one.
    pub(super) kind: String,
    /// Empty when it has none, or only zeros.
    pub(super) hardware: String,
    /// The index of its bridge or bond; 0 without.
    pub(super) master: u32,
    pub(super) flags: u32,
    pub(super) mtu: u32,
    /// As in RFC 2863: 6 is up, 0 unknown.
    pub(super) state: u8,
}

/// An address with the length of its prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Prefix {
    pub(super) address: IpAddr,
    pub(super) length: u8,
}

/// An address of a link.
#[derive(Clone, Debug)]
pub(super) struct Address {
    pub(super) link: u32,
    pub(super) prefix: Prefix,
    pub(super) label: String,
}

/// A route of the main table.
#[derive(Clone, Debug)]
pub(super) struct Route {
    pub(super) link: u32,
    /// `None`: all addresses.
    pub(super) destination: Option<Prefix>,
    pub(super) gateway: Option<IpAddr>,
    family: u8,
    scope: u8,
    priority: Option<u32>,
}

impl Prefix {
    /// As Go's `ParseCIDR` reads it.
    pub(super) fn parse(text: &str) -> Result<Self, Failure> {
        let parsed = text.split_once('/').and_then(|(address, length)| {
            let prefix = Self { address: address.parse().ok()?, length: length.parse().ok()? };
            let longest = if prefix.address.is_ipv4() { 32 } else { 128 };
            (prefix.length <= longest).then_some(prefix)
        });
        parsed.ok_or_else(|| Failure::new(500, format!("invalid CIDR address: {text}")))
    }

    /// The network that it lies in.
    pub(super) fn network(&self) -> Self {
        let mask = |bits: u128, width: u32| match width - u32::from(self.length) {
            0 => bits,
            host if host >= 128 => 0,
            host => bits >> host << host,
        };
        let address = match self.address {
            IpAddr::V4(address) => {
                let bits = mask(u128::from(address.to_bits()), 32);
                IpAddr::from(u32::try_from(bits).unwrap_or(0).to_be_bytes())
            }
            IpAddr::V6(address) => IpAddr::from(mask(address.to_bits(), 128).to_be_bytes()),
        };
        Self { address, length: self.length }
    }

    pub(super) fn contains(&self, address: IpAddr) -> bool {
        self.address.is_ipv4() == address.is_ipv4() && Self { address, length: self.length }.network() == self.network()
    }
}

impl std::fmt::Display for Prefix {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}/{}", self.address, self.length)
    }
}

fn failed(errno: Errno) -> Failure {
    Failure::new(500, errors::errno(errno as i32))
}

/// A message in the making: its head is written when it is sent.
struct Message(Vec<u8>);

impl Message {
    fn new(head: &[u8]) -> Self {
        Self(head.to_vec())
    }

    /// Attributes begin at multiples of four.
    fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    /// Sends it, and gives the bodies of what comes back until its end.
    fn send(self, kind: u16, flags: u16) -> Result<Vec<Vec<u8>>, Failure> {
        let descriptor: OwnedFd =
            socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)
                .map_err(failed)?;
        bind(descriptor.as_raw_fd(), &NetlinkAddr::new(0, 0)).map_err(failed)?;
        let mut message = Vec::new();
        message.extend(u32::try_from(self.0.len() + 16).unwrap_or(u32::MAX).to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend((flags | REQUEST).to_ne_bytes());
        message.extend([0; 8]);
        message.extend(self.0);
        send(descriptor.as_raw_fd(), &message, MsgFlags::empty()).map_err(failed)?;
        let mut bodies = Vec::new();
        let mut buffer = vec![0; 1 << 17];
        loop {
            let count = recv(descriptor.as_raw_fd(), &mut buffer, MsgFlags::empty()).map_err(failed)?;
            let mut rest = &buffer[..count];
            while rest.len() >= 16 {
                let length = usize::try_from(word(rest, 0)).unwrap_or(usize::MAX);
                let body = rest.get(16..length).ok_or_else(|| failed(Errno::EBADMSG))?;
                match u16::from_ne_bytes([rest[4], rest[5]]) {
                    // An error, or with number 0 the acknowledgement.
                    2 => {
                        let number = i32::from_ne_bytes([body[0], body[1], body[2], body[3]]);
                        return if number == 0 { Ok(bodies) } else { Err(failed(Errno::from_raw(-number))) };
                    }
                    3 => return Ok(bodies),
                    _ => bodies.push(body.to_vec()),
                }
                rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
            }
        }
    }

    fn change(self, kind: u16, flags: u16) -> Result<(), Failure> {
        self.send(kind, flags | ACKNOWLEDGE).map(|_| ())
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).map_or(0, |word| u32::from_ne_bytes([word[0], word[1], word[2], word[3]]))
}

fn attributes(mut bytes: &[u8]) -> Vec<(u16, &[u8])> {
    let mut found = Vec::new();
    while bytes.len() >= 4 {
        let length = usize::from(u16::from_ne_bytes([bytes[0], bytes[1]]));
        let Some(value) = bytes.get(4..length) else { break };
        // The two highest bits say how the value is written.
        found.push((u16::from_ne_bytes([bytes[2], bytes[3]]) & 0x3fff, value));
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

fn string(value: &[u8]) -> String {
    String::from_utf8_lossy(value).trim_end_matches('\0').to_owned()
}

fn ip(value: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(value).map(IpAddr::from).ok();
    four.or_else(|| <[u8; 16]>::try_from(value).map(IpAddr::from).ok())
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn family(address: IpAddr) -> u8 {
    if address.is_ipv4() { 2 } else { 10 }
}

/// A link's head: which one, its flags, and which of them change.
fn link_head(index: u32, flags: u32, changed: u32) -> Message {
    let mut head = vec![0; 4];
    for word in [index, flags, changed] {
        head.extend(word.to_ne_bytes());
    }
    Message::new(&head)
}

/// All links.
pub(super) fn links() -> Result<Vec<Link>, Failure> {
    Ok(link_head(0, 0, 0).send(GET_LINK, DUMP)?.iter().map(|body| link(body)).collect())
}

fn link(body: &[u8]) -> Link {
    let mut link = Link { index: word(body, 4), flags: word(body, 8), kind: "device".to_owned(), ..Link::default() };
    for (kind, value) in attributes(body.get(16..).unwrap_or_default()) {
        match kind {
            1 if value.iter().any(|byte| *byte != 0) => {
                link.hardware = value.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":");
            }
            3 => link.name = string(value),
            4 => link.mtu = word(value, 0),
            10 => link.master = word(value, 0),
            16 => link.state = value.first().copied().unwrap_or(0),
            18 => {
                if let Some((_, kind)) = attributes(value).into_iter().find(|(kind, _)| *kind == 1) {
                    link.kind = string(kind);
                }
            }
            _ => {}
        }
    }
    link
}

/// A link by its name.
///
/// # Errors
/// `Link not found`, with `code`.
pub(super) fn link_named(name: &str, code: u32) -> Result<Link, Failure> {
    let found = links()?.into_iter().find(|link| link.name == name);
    found.ok_or_else(|| Failure::new(code, "Link not found"))
}

/// Makes a link of a kind that needs nothing more than a name.
pub(super) fn add_link(name: &str, kind: &str, mtu: Option<u32>) -> Result<(), Failure> {
    let information = Message::new(&[]).attribute(1, kind.as_bytes()).0;
    let mut message = link_head(0, 0, 0).attribute(3, &[name.as_bytes(), &[0]].concat());
    // The length of its queue, as the node sets it.
    message = message.attribute(13, &1000u32.to_ne_bytes()).attribute(18, &information);
    if let Some(mtu) = mtu {
        message = message.attribute(4, &mtu.to_ne_bytes());
    }
    message.change(16, CREATE_NEW)
}

pub(super) fn remove_link(index: u32) -> Result<(), Failure> {
    link_head(index, 0, 0).change(17, 0)
}

pub(super) fn set_up(index: u32, up: bool) -> Result<(), Failure> {
    link_head(index, if up { UP } else { 0 }, UP).change(16, 0)
}

/// Puts a link into a bridge or bond; 0 takes it out.
pub(super) fn set_master(index: u32, master: u32) -> Result<(), Failure> {
    link_head(index, 0, 0).attribute(10, &master.to_ne_bytes()).change(16, 0)
}

pub(super) fn set_name(index: u32, name: &str) -> Result<(), Failure> {
    link_head(index, 0, 0).attribute(3, &[name.as_bytes(), &[0]].concat()).change(16, 0)
}

pub(super) fn set_mtu(index: u32, mtu: u32) -> Result<(), Failure> {
    link_head(index, 0, 0).attribute(4, &mtu.to_ne_bytes()).change(16, 0)
}

pub(super) fn set_hardware(index: u32, hardware: &[u8]) -> Result<(), Failure> {
    link_head(index, 0, 0).attribute(1, hardware).change(16, 0)
}

/// A hardware address as Go's `ParseMAC` reads it: six bytes, with colons or dashes.
pub(super) fn hardware(text: &str) -> Result<Vec<u8>, Failure> {
    let separator = if text.contains('-') { '-' } else { ':' };
    let bytes: Option<Vec<u8>> = text
        .split(separator)
        .map(|byte| if byte.len() == 2 { u8::from_str_radix(byte, 16).ok() } else { None })
        .collect();
    let bytes = bytes.filter(|bytes| bytes.len() == 6);
    bytes.ok_or_else(|| Failure::new(500, format!("address {text}: invalid MAC address")))
}

/// All addresses of both families.
pub(super) fn addresses() -> Result<Vec<Address>, Failure> {
    let bodies = Message::new(&[0; 8]).send(22, DUMP)?;
    let address = |body: &Vec<u8>| {
        let (mut local, mut other, mut label) = (None, None, String::new());
        for (kind, value) in attributes(body.get(8..).unwrap_or_default()) {
            match kind {
                1 => other = ip(value),
                2 => local = ip(value),
                3 => label = string(value),
                _ => {}
            }
        }
        let prefix = Prefix { address: local.or(other)?, length: *body.get(1)? };
        Some(Address { link: word(body, 4), prefix, label })
    };
    Ok(bodies.iter().filter_map(address).collect())
}

/// Gives a link an address, or takes it away.
pub(super) fn change_address(link: u32, prefix: &Prefix, add: bool) -> Result<(), Failure> {
    let mut head = vec![family(prefix.address), prefix.length, 0, 0];
    head.extend(link.to_ne_bytes());
    let octets = octets(prefix.address);
    let message = Message::new(&head).attribute(2, &octets).attribute(1, &octets);
    if add { message.change(20, CREATE_NEW) } else { message.change(21, 0) }
}

/// The routes of the main table.
pub(super) fn routes() -> Result<Vec<Route>, Failure> {
    let bodies = Message::new(&[0; 12]).send(26, DUMP)?;
    let route = |body: &Vec<u8>| {
        let [family, length, _, _, table, _, scope, _, ..] = body.get(..12)? else { return None };
        let (mut link, mut destination, mut gateway, mut priority) = (0, None, None, None);
        let mut table = u32::from(*table);
        for (kind, value) in attributes(body.get(12..).unwrap_or_default()) {
            match kind {
                1 => destination = ip(value).map(|address| Prefix { address, length: *length }),
                4 => link = word(value, 0),
                5 => gateway = ip(value),
                6 => priority = Some(word(value, 0)),
                15 => table = word(value, 0),
                _ => {}
            }
        }
        let route = Route { link, destination, gateway, family: *family, scope: *scope, priority };
        // Flags of 0x200: a copy that the kernel made for itself.
        (table == MAIN_TABLE && word(body, 8) & 0x200 == 0).then_some(route)
    };
    Ok(bodies.iter().filter_map(route).collect())
}

/// Adds a route; one without gateway is of the link.
pub(super) fn add_route(link: u32, destination: Option<&Prefix>, gateway: Option<IpAddr>) -> Result<(), Failure> {
    let scope = if gateway.is_some() { 0 } else { 253 };
    let family = destination.map(|prefix| prefix.address).or(gateway).map_or(2, family);
    let route = Route { link, destination: destination.map(Prefix::network), gateway, family, scope, priority: None };
    // Static, unicast.
    route.message(4, 1).change(24, CREATE_NEW)
}

pub(super) fn remove_route(route: &Route) -> Result<(), Failure> {
    route.message(0, 0).change(25, 0)
}

impl Route {
    fn message(&self, protocol: u8, kind: u8) -> Message {
        let length = self.destination.as_ref().map_or(0, |prefix| prefix.length);
        let table = u8::try_from(MAIN_TABLE).unwrap_or(u8::MAX);
        let mut message = Message::new(&[self.family, length, 0, 0, table, protocol, self.scope, kind, 0, 0, 0, 0]);
        if let Some(prefix) = &self.destination {
            message = message.attribute(1, &octets(prefix.address));
        }
        if let Some(gateway) = self.gateway {
            message = message.attribute(5, &octets(gateway));
        }
        if let Some(priority) = self.priority {
            message = message.attribute(6, &priority.to_ne_bytes());
        }
        message.attribute(4, &self.link.to_ne_bytes())
    }
}

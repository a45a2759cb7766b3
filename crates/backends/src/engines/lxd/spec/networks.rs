//! Networks as devices, and the address of a container that has nobody inside to ask for one.
//!
//! The main process of a container with a command of its own is that command: no program in it speaks DHCP. On a bridge of
//! the server's own such a container gets an address that is written down twice, once for the server's DHCP to give it to
//! nobody else and once in `raw.lxc` for the kernel.

use std::net::{IpAddr, Ipv4Addr};

use roadstead_core::{Error, NetworkAttachment, Result};

use super::super::instance::{Config, Devices};
use super::raw::RawLxc;

/// A container has fewer interfaces than this.
const MAX: usize = 64;

/// What is known of a network that is joined.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Joined {
    /// Address and length of prefix of the server on it, when the server gives out addresses.
    pub(in super::super) gateway: Option<(Ipv4Addr, u8)>,
    /// Addresses that somebody has.
    pub(in super::super) taken: Vec<Ipv4Addr>,
}

impl Joined {
    /// From `ipv4.address` of a network, such as `10.1.2.1/24`.
    pub(in super::super) fn gateway(text: &str) -> Option<(Ipv4Addr, u8)> {
        let (address, length) = text.split_once('/')?;
        Some((address.parse().ok()?, length.parse().ok().filter(|length| (1..=30).contains(length))?))
    }

    /// Whether the address is one of the network's and nobody's.
    fn offers(&self, address: Ipv4Addr) -> bool {
        let Some((gateway, length)) = self.gateway else { return false };
        let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or_default();
        let (own, asked) = (u32::from(gateway), u32::from(address));
        own & mask == asked & mask
            && asked & !mask != 0
            && asked & !mask != !mask
            && address != gateway
            && !self.taken.contains(&address)
    }

    /// An address that nobody has, by chance: whoever looks at the same time shall not find the same one.
    fn free(&self, chance: u32) -> Option<Ipv4Addr> {
        let (gateway, length) = self.gateway?;
        let mask = u32::MAX.checked_shl(32 - u32::from(length))?;
        let (network, hosts) = (u32::from(gateway) & mask, !mask - 1);
        // The first and the last address of a network mean all of it.
        let address = |number: u32| Ipv4Addr::from(network + 1 + number % hosts);
        (0..hosts.min(65_536))
            .map(|step| address((chance % hosts).wrapping_add(step) % hosts))
            .find(|address| *address != gateway && !self.taken.contains(address))
    }
}

/// The device of the interface with this number.
pub(in super::super) fn device(number: usize, attachment: &NetworkAttachment) -> Result<Config> {
    if !attachment.aliases.is_empty() {
        return Err(Error::unsupported_field(format!("networks[{number}].aliases"), "further names on a network"));
    }
    if attachment.network == "host" {
        let field = format!("networks[{number}].network");
        return Err(Error::unsupported_field(field, "the network of the node itself"));
    }
    let mut keys: Config =
        [("type", "nic".to_owned()), ("network", attachment.network.clone()), ("name", format!("eth{number}"))]
            .map(|(key, value)| (key.to_owned(), value))
            .into();
    if let Some(address) = attachment.address {
        keys.insert(if address.is_ipv4() { "ipv4.address" } else { "ipv6.address" }.to_owned(), address.to_string());
    }
    Ok(keys)
}

/// Gives the interface of `keys` a fixed address: that which it has, or a free one.
pub(in super::super) fn fix(number: usize, keys: &mut Config, joined: &Joined, chance: u32, raw: &mut RawLxc) {
    let Some((gateway, length)) = joined.gateway else { return };
    let known = keys.get("ipv4.address").and_then(|address| address.parse().ok());
    let Some(address) = known.or_else(|| joined.free(chance)) else { return };
    keys.insert("ipv4.address".to_owned(), address.to_string());
    raw.push(&format!("lxc.net.{number}.ipv4.address"), format!("{address}/{length}"));
    if number == 0 {
        raw.push("lxc.net.0.ipv4.gateway", gateway.to_string());
    }
}

/// Gives an interface that [`fix`] gave an address another, free one; none when it was not that which gave it.
pub(in super::super) fn move_address(
    keys: &mut Config,
    joined: &Joined,
    chance: u32,
    raw: &mut RawLxc,
) -> Option<Ipv4Addr> {
    let before = keys.get("ipv4.address")?;
    let (_, length) = joined.gateway?;
    let written = format!("{before}/{length}");
    let key = (0..MAX).map(|number| format!("lxc.net.{number}.ipv4.address"));
    let key = key.into_iter().find(|key| raw.get(key) == Some(written.as_str()))?;
    let address = joined.free(chance)?;
    keys.insert("ipv4.address".to_owned(), address.to_string());
    raw.set(&key, format!("{address}/{length}"));
    Some(address)
}

/// Gives an interface whose address `before` [`fix`] gave it, perhaps on another server, one that is right on `joined`: the
/// same when it may be kept and nobody there has it. None when it was not [`fix`] that gave it.
pub(in super::super) fn settle_address(
    before: &str,
    keep: bool,
    keys: &mut Config,
    joined: &Joined,
    chance: u32,
    raw: &mut RawLxc,
) -> Option<Ipv4Addr> {
    let (gateway, length) = joined.gateway?;
    let key = |number: usize| format!("lxc.net.{number}.ipv4.address");
    let is_it = |written: &str| written.split('/').next() == Some(before);
    let number = (0..MAX).find(|number| raw.get(&key(*number)).is_some_and(is_it))?;
    let same = before.parse().ok().filter(|address| keep && joined.offers(*address));
    let address = same.or_else(|| joined.free(chance))?;
    keys.insert("ipv4.address".to_owned(), address.to_string());
    raw.set(&key(number), format!("{address}/{length}"));
    if number == 0 && raw.get("lxc.net.0.ipv4.gateway").is_some() {
        raw.set("lxc.net.0.ipv4.gateway", gateway.to_string());
    }
    Some(address)
}

/// The networks that are joined.
pub(in super::super) fn read(devices: &Devices) -> Vec<NetworkAttachment> {
    let attachments = devices.values().filter_map(|keys| {
        let get = |key: &str| keys.get(key).filter(|value| !value.is_empty());
        if get("type").map(String::as_str) != Some("nic") {
            return None;
        }
        // A bridge that the server does not manage is named by its parent.
        let mut attachment = NetworkAttachment::new(get("network").or(get("parent"))?.clone());
        attachment.address = get("ipv4.address").or(get("ipv6.address")).and_then(|text| text.parse::<IpAddr>().ok());
        Some(attachment)
    });
    attachments.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_free_address_is_in_the_network_and_nobodys() {
        let gateway = Joined::gateway("10.1.2.1/29");
        let taken: Vec<Ipv4Addr> = ["10.1.2.2", "10.1.2.3", "10.1.2.4", "10.1.2.6"].map(|a| a.parse().unwrap()).into();
        for chance in [0, 3, 5, 6, u32::MAX] {
            let joined = Joined { gateway, taken: taken.clone() };
            assert_eq!(joined.free(chance), Some(Ipv4Addr::new(10, 1, 2, 5)), "{chance}");
        }
        let full = Joined { gateway, taken: (1..7).map(|last| Ipv4Addr::new(10, 1, 2, last)).collect() };
        assert_eq!(full.free(1), None);
        assert_eq!(Joined::default().free(1), None);
        for text in ["none", "auto", "10.0.0.1", "10.0.0.1/32", "x/24", ""] {
            assert_eq!(Joined::gateway(text), None, "{text}");
        }
    }

    #[test]
    fn an_address_that_was_given_is_moved_in_both_places() {
        let gateway = Joined::gateway("10.1.2.1/29");
        let joined = Joined { gateway, taken: (2..6).map(|last| Ipv4Addr::new(10, 1, 2, last)).collect() };
        let mut raw = RawLxc::parse("lxc.net.0.ipv4.gateway = 10.1.2.1\nlxc.net.1.ipv4.address = 10.1.2.2/29");
        let mut keys: Config = [("ipv4.address".to_owned(), "10.1.2.2".to_owned())].into();
        let new = Ipv4Addr::new(10, 1, 2, 6);
        assert_eq!(move_address(&mut keys, &joined, 0, &mut raw), Some(new));
        assert_eq!(
            (keys["ipv4.address"].as_str(), raw.get("lxc.net.1.ipv4.address")),
            ("10.1.2.6", Some("10.1.2.6/29"))
        );
        // Somebody else's stays.
        keys.insert("ipv4.address".to_owned(), "10.1.2.3".to_owned());
        assert_eq!(move_address(&mut keys, &joined, 0, &mut raw), None);
    }

    #[test]
    fn an_address_is_written_down_twice() {
        let mut attachment = NetworkAttachment::new("n");
        attachment.address = Some("10.1.2.9".parse().unwrap());
        let mut keys = device(0, &attachment).unwrap();
        let mut raw = RawLxc::default();
        fix(0, &mut keys, &Joined { gateway: Joined::gateway("10.1.2.1/24"), taken: Vec::new() }, 0, &mut raw);
        assert_eq!(raw.get("lxc.net.0.ipv4.address"), Some("10.1.2.9/24"));
        assert_eq!(raw.get("lxc.net.0.ipv4.gateway"), Some("10.1.2.1"));
        assert_eq!(read(&Devices::from([("eth0".to_owned(), keys)])), [attachment]);
    }

    #[test]
    fn what_has_no_device_is_refused() {
        let mut attachment = NetworkAttachment::new("n");
        attachment.aliases = vec!["x".to_owned()];
        assert_eq!(device(2, &attachment).unwrap_err().field(), Some("networks[2].aliases"));
        let host = device(0, &NetworkAttachment::new("host")).unwrap_err();
        assert_eq!(host.field(), Some("networks[0].network"));
    }

    #[test]
    fn an_address_is_settled_on_another_network() {
        let lines = "lxc.net.0.ipv4.address = 10.1.2.9/24\nlxc.net.0.ipv4.gateway = 10.1.2.1";
        let settle = |keep: bool, network: &str, taken: &[&str]| {
            let taken = taken.iter().map(|address| address.parse().unwrap()).collect();
            let joined = Joined { gateway: Joined::gateway(network), taken };
            let (mut raw, mut keys) = (RawLxc::parse(lines), Config::new());
            let address = settle_address("10.1.2.9", keep, &mut keys, &joined, 4, &mut raw)?;
            assert_eq!(keys["ipv4.address"], address.to_string());
            let line = |key: &str| raw.get(key).unwrap_or_default().to_owned();
            Some((line("lxc.net.0.ipv4.address"), line("lxc.net.0.ipv4.gateway")))
        };
        let told = |address: &str, gateway: &str| Some((address.to_owned(), gateway.to_owned()));
        assert_eq!(settle(true, "10.1.2.2/16", &[]), told("10.1.2.9/16", "10.1.2.2"));
        assert_eq!(settle(true, "10.7.7.1/24", &[]), told("10.7.7.5/24", "10.7.7.1"));
        assert_eq!(settle(true, "10.1.2.1/24", &["10.1.2.9"]), told("10.1.2.5/24", "10.1.2.1"));
        assert_eq!(settle(false, "10.1.2.1/24", &[]), told("10.1.2.5/24", "10.1.2.1"));
        assert_eq!(settle(true, "none", &[]), None);
        let mut raw = RawLxc::default();
        let joined = Joined { gateway: Joined::gateway("10.1.2.1/24"), taken: Vec::new() };
        assert_eq!(settle_address("10.1.2.9", true, &mut Config::new(), &joined, 4, &mut raw), None);
    }
}

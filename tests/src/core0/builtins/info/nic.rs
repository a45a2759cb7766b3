//! `info.nic`: the network interfaces with their addresses.

use std::fs;

use serde_json::{Value, json};

use crate::core0::builtins::{Failure, netlink};

/// The flags that are told, by their bits.
const FLAGS: [(u32, &str); 5] = [
    (netlink::UP, "up"),
    (1 << 1, "broadcast"),
    (1 << 3, "loopback"),
    (1 << 4, "pointtopoint"),
    (1 << 12, "multicast"),
];
/// Its lower layer is up: there is a carrier.
const LOWER_UP: u32 = 1 << 16;
/// RFC 2863's state of a link that is up.
const STATE_UP: u8 = 6;

pub(super) fn all() -> Result<Value, Failure> {
    let addresses = netlink::addresses()?;
    let interface = |link: netlink::Link| {
        let flags: Vec<&str> = FLAGS.iter().filter(|(bit, _)| link.flags & bit != 0).map(|(_, name)| *name).collect();
        let own = addresses.iter().filter(|address| address.link == link.index);
        let own: Vec<Value> = own.map(|address| json!({"addr": address.prefix.to_string()})).collect();
        // Links without a speed refuse to be read.
        let speed = fs::read_to_string(format!("/sys/class/net/{}/speed", link.name)).unwrap_or_default();
        json!({
            "mtu": link.mtu, "name": link.name, "hardwareaddr": link.hardware, "flags": flags,
            "addrs": if own.is_empty() { Value::Null } else { own.into() }, "speed": speed.trim().parse().unwrap_or(0i64),
            "carrier": link.flags & LOWER_UP != 0, "operstate": link.state == STATE_UP,
        })
    };
    Ok(netlink::links()?.into_iter().map(interface).collect())
}

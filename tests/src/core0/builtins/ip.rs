//! `ip.*`: links, addresses, routes, bridges and bonds of this network namespace.

use std::fs;
use std::net::IpAddr;

use serde_json::{Map, Value, json};

use super::arguments::{Arguments, INT, Kind, Shape, TEXTS};
use super::netlink::{self, Link, Prefix};
use super::{Failure, errors};

const LINK: Shape = Shape { go: "builtin.LinkArguments", fields: &[("name", Kind::Text)] };
const LINK_NAME: Shape =
    Shape { go: "builtin.LinkNameArguments", fields: &[("name", Kind::Text), ("new", Kind::Text)] };
const LINK_MTU: Shape = Shape { go: "builtin.LinkMTUArguments", fields: &[("name", Kind::Text), ("mtu", INT)] };
const BRIDGE: Shape = Shape { go: "builtin.BridgeArguments", fields: &[("name", Kind::Text), ("hwaddr", Kind::Text)] };
const BRIDGE_LINK: Shape =
    Shape { go: "builtin.BridgeInfArguments", fields: &[("name", Kind::Text), ("inf", Kind::Text)] };
const ADDRESS: Shape = Shape { go: "builtin.AddrArguments", fields: &[("name", Kind::Text), ("ip", Kind::Text)] };
const ROUTE: Shape =
    Shape { go: "builtin.Route", fields: &[("dev", Kind::Text), ("dst", Kind::Text), ("gw", Kind::Text)] };
const BOND: Shape = Shape { go: r#"struct { Bond string "json:\"bond\"" }"#, fields: &[("bond", Kind::Text)] };
const NEW_BOND: Shape = Shape {
    go: r#"struct { Bond string "json:\"bond\""; Interfaces []string "json:\"interfaces\""; MTU int "json:\"mtu\"" }"#,
    fields: &[("bond", Kind::Text), ("interfaces", TEXTS), ("mtu", INT)],
};
/// Where the driver of bonds tells of them.
const BONDS: &str = "/proc/net/bonding/";

/// The commands of this group; `None` for any other name.
pub(super) fn call(command: &str, arguments: &Value) -> Option<Result<Value, Failure>> {
    let done = |result: Result<(), Failure>| result.map(|()| Value::Null);
    Some(match command {
        "ip.link.list" => links(),
        "ip.link.up" => done(on_link(&LINK, arguments, 500, |link, _| netlink::set_up(link.index, true))),
        "ip.link.down" => done(on_link(&LINK, arguments, 500, |link, _| netlink::set_up(link.index, false))),
        "ip.link.name" => done(on_link(&LINK_NAME, arguments, 500, |link, arguments| {
            netlink::set_name(link.index, arguments.text("new"))
        })),
        "ip.link.mtu" => done(LINK_MTU.decode(arguments, 400).and_then(|arguments| {
            let link = netlink::link_named(arguments.text("name"), 404)?;
            netlink::set_mtu(link.index, mtu(arguments.whole("mtu"))?)
        })),
        "ip.addr.list" => on_link(&LINK, arguments, 500, |link, _| {
            let addresses = netlink::addresses()?.into_iter().filter(|address| address.link == link.index);
            Ok(addresses.map(|address| address.prefix.to_string()).collect())
        }),
        "ip.addr.add" => done(on_link(&ADDRESS, arguments, 500, |link, arguments| {
            netlink::change_address(link.index, &Prefix::parse(arguments.text("ip"))?, true)
        })),
        "ip.addr.del" => done(on_link(&ADDRESS, arguments, 500, |link, arguments| {
            netlink::change_address(link.index, &Prefix::parse(arguments.text("ip"))?, false)
        })),
        "ip.route.list" => routes(),
        "ip.route.add" => done(ROUTE.decode(arguments, 500).and_then(|arguments| {
            let (link, destination, gateway) = route(&arguments)?;
            netlink::add_route(link.index, destination.as_ref(), gateway)
        })),
        "ip.route.del" => done(ROUTE.decode(arguments, 500).and_then(|arguments| remove_route(&arguments))),
        "ip.bridge.add" => done(BRIDGE.decode(arguments, 500).and_then(|arguments| {
            let hardware = match arguments.text("hwaddr") {
                "" => None,
                text => Some(netlink::hardware(text)?),
            };
            add_bridge(arguments.text("name"), hardware.as_deref()).map(|_| ())
        })),
        "ip.bridge.del" => done(on_bridge(&LINK, arguments, |bridge, _| netlink::remove_link(bridge.index))),
        "ip.bridge.addif" => done(on_bridge(&BRIDGE_LINK, arguments, |bridge, arguments| {
            netlink::set_master(netlink::link_named(arguments.text("inf"), 500)?.index, bridge.index)
        })),
        "ip.bridge.delif" => done(on_bridge(&BRIDGE_LINK, arguments, |bridge, arguments| {
            let link = netlink::link_named(arguments.text("inf"), 500)?;
            if link.master != bridge.index {
                return Err(Failure::new(500, "interface is not connected to bridge"));
            }
            netlink::set_master(link.index, 0)
        })),
        "ip.bond.list" => bonds(),
        "ip.bond.del" => done(
            BOND.decode(arguments, 500)
                .and_then(|arguments| netlink::remove_link(netlink::link_named(arguments.text("bond"), 500)?.index)),
        ),
        "ip.bond.add" => done(NEW_BOND.decode(arguments, 500).and_then(|arguments| add_bond(&arguments))),
        _ => return None,
    })
}

fn on_link<T>(
    shape: &'static Shape,
    arguments: &Value,
    code: u32,
    act: impl FnOnce(&Link, &Arguments) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let arguments = shape.decode(arguments, code)?;
    act(&netlink::link_named(arguments.text("name"), code)?, &arguments)
}

fn on_bridge<T>(
    shape: &'static Shape,
    arguments: &Value,
    act: impl FnOnce(&Link, &Arguments) -> Result<T, Failure>,
) -> Result<T, Failure> {
    on_link(shape, arguments, 500, |link, arguments| match link.kind.as_str() {
        "bridge" => act(link, arguments),
        _ => Err(Failure::new(500, format!("no bridge with name '{}'", link.name))),
    })
}

/// Makes a bridge, which is gone again when it cannot have its hardware address.
pub(super) fn add_bridge(name: &str, hardware: Option<&[u8]>) -> Result<Link, Failure> {
    netlink::add_link(name, "bridge", None)?;
    let bridge = netlink::link_named(name, 500)?;
    if let Some(hardware) = hardware
        && let Err(failure) = netlink::set_hardware(bridge.index, hardware)
    {
        netlink::remove_link(bridge.index)?;
        return Err(failure);
    }
    Ok(bridge)
}

fn mtu(bytes: i64) -> Result<u32, Failure> {
    u32::try_from(bytes).map_err(|_| Failure::new(500, errors::errno(22)))
}

fn links() -> Result<Value, Failure> {
    let links = netlink::links()?;
    let master = |link: &Link| links.iter().find(|other| other.index == link.master).map_or("", |master| &master.name);
    let entry = |link: &Link| {
        json!({
            "name": link.name, "type": link.kind, "hwaddr": link.hardware, "master": master(link),
            "up": link.flags & netlink::UP != 0, "mtu": link.mtu,
        })
    };
    Ok(links.iter().map(entry).collect())
}

fn routes() -> Result<Value, Failure> {
    let links = netlink::links()?;
    let device = |index: u32| links.iter().find(|link| link.index == index).map_or("", |link| &link.name);
    let entry = |route: netlink::Route| {
        let destination = route.destination.map(|prefix| prefix.to_string()).unwrap_or_default();
        let gateway = route.gateway.map(|address| address.to_string()).unwrap_or_default();
        json!({"dev": device(route.link), "dst": destination, "gw": gateway})
    };
    Ok(netlink::routes()?.into_iter().map(entry).collect())
}

fn route(arguments: &Arguments) -> Result<(Link, Option<Prefix>, Option<IpAddr>), Failure> {
    let link = netlink::link_named(arguments.text("dev"), 500)?;
    let destination = match arguments.text("dst") {
        "" => None,
        text => Some(Prefix::parse(text)?.network()),
    };
    let gateway = match arguments.text("gw") {
        "" => None,
        text => Some(text.parse().map_err(|_| Failure::new(500, format!("invalid gw ip '{text}'")))?),
    };
    Ok((link, destination, gateway))
}

fn remove_route(arguments: &Arguments) -> Result<(), Failure> {
    let (link, destination, gateway) = route(arguments)?;
    let matching: Vec<netlink::Route> = netlink::routes()?
        .into_iter()
        .filter(|route| {
            route.link == link.index
                && (destination.is_none() || route.destination == destination)
                && (gateway.is_none() || route.gateway == gateway)
        })
        .collect();
    match matching.as_slice() {
        [] => Err(Failure::new(500, "route not found")),
        [route] => netlink::remove_route(route),
        _ => Err(Failure::new(500, "ambiguous route matches multiple routes")),
    }
}

/// The driver's own words of each bond, in blocks.
fn bonds() -> Result<Value, Failure> {
    let mut bonds = Map::new();
    for entry in fs::read_dir(BONDS).map_err(errors::at("open", BONDS))?.flatten() {
        let text = errors::read(entry.path())?;
        let block = |block: &str| -> Value {
            let pairs = block.lines().filter_map(|line| line.trim().split_once(':'));
            pairs.map(|(name, value)| (name.to_owned(), Value::from(value))).collect::<Map<_, _>>().into()
        };
        let blocks = text.split("\n\n").filter(|text| !text.trim().is_empty()).map(block).collect();
        bonds.insert(entry.file_name().to_string_lossy().into_owned(), blocks);
    }
    Ok(bonds.into())
}

fn add_bond(arguments: &Arguments) -> Result<(), Failure> {
    let bytes = match mtu(arguments.whole("mtu"))? {
        0 => 1500,
        bytes => bytes,
    };
    let mut slaves = Vec::new();
    for name in arguments.texts("interfaces") {
        let slave = netlink::link_named(&name, 404)
            .map_err(|failure| Failure::new(404, format!("interface {name}: {}", failure.message)))?;
        netlink::set_mtu(slave.index, bytes)?;
        slaves.push(slave);
    }
    netlink::add_link(arguments.text("bond"), "bond", Some(bytes))?;
    let bond = netlink::link_named(arguments.text("bond"), 500)?;
    netlink::set_up(bond.index, true)?;
    for slave in slaves {
        // A bond takes in only what is down, and lifts it itself.
        netlink::set_up(slave.index, false)?;
        netlink::set_master(slave.index, bond.index)?;
    }
    Ok(())
}

//! `bridge.*`: bridges with addresses of their own, and a `dnsmasq` on those that serve any.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::arguments::{Arguments, Kind, Shape};
use super::netlink::{self, Link, Prefix};
use super::rules::Rules;
use super::{Failure, errors, ip};

const NETWORK: Shape = Shape {
    go: "builtin.BridgeNetwork",
    fields: &[("mode", Kind::Named("builtin.BridgeNetworkMode")), ("nat", Kind::Flag), ("settings", Kind::Any)],
};
const CREATE: Shape = Shape {
    go: "builtin.BridgeCreateArguments",
    fields: &[("name", Kind::Text), ("hwaddr", Kind::Text), ("network", Kind::Object(&NETWORK))],
};
const STATIC: Shape = Shape { go: "builtin.NetworkStaticSettings", fields: &[("cidr", Kind::Text)] };
const DNSMASQ: Shape = Shape {
    go: "builtin.NetworkDnsMasqSettings",
    fields: &[("cidr", Kind::Text), ("start", Kind::Address), ("end", Kind::Address)],
};
const DELETE: Shape = Shape { go: "builtin.BridgeDeleteArguments", fields: &[("name", Kind::Text)] };
const HOST: Shape =
    Shape { go: "builtin.BridgeAddHost", fields: &[("bridge", Kind::Text), ("ip", Kind::Text), ("mac", Kind::Text)] };
const NAME: Shape = Shape { go: r#"struct { Name string "json:\"name\"" }"#, fields: &[("name", Kind::Text)] };
const NIC: Shape = Shape { go: r#"struct { Nic string "json:\"nic\"" }"#, fields: &[("nic", Kind::Text)] };
const NAME_NIC: Shape = Shape {
    go: r#"struct { Name string "json:\"name\""; Nic string "json:\"nic\"" }"#,
    fields: &[("name", Kind::Text), ("nic", Kind::Text)],
};

/// The bridges that this node made, each with its `dnsmasq` if it has one.
#[derive(Debug)]
pub(super) struct Bridges {
    directory: PathBuf,
    made: Mutex<BTreeMap<String, Option<Child>>>,
}

impl Bridges {
    pub(super) fn of(directory: &Path) -> Self {
        Self { directory: directory.join("bridges"), made: Mutex::default() }
    }

    /// The commands of this group; `None` for any other name.
    pub(super) fn call(&self, rules: &Rules, command: &str, arguments: &Value) -> Option<Result<Value, Failure>> {
        let done = |result: Result<(), Failure>| result.map(|()| Value::Null);
        Some(match command {
            "bridge.create" => done(CREATE.decode(arguments, 500).and_then(|arguments| self.create(rules, &arguments))),
            "bridge.list" => netlink::links()
                .map(|links| links.into_iter().filter(|link| link.kind == "bridge").map(|link| link.name).collect()),
            "bridge.delete" => {
                done(DELETE.decode(arguments, 500).and_then(|arguments| self.delete(rules, arguments.text("name"))))
            }
            "bridge.host-add" | "bridge.add_host" => {
                done(HOST.decode(arguments, 500).and_then(|arguments| self.add_host(&arguments)))
            }
            "bridge.nic-add" => done(NAME_NIC.decode(arguments, 400).and_then(|arguments| {
                let bridge = bridge(arguments.text("name"))?;
                netlink::set_master(netlink::link_named(arguments.text("nic"), 404)?.index, bridge.index)
            })),
            "bridge.nic-remove" => {
                done(NIC.decode(arguments, 400).and_then(|arguments| {
                    netlink::set_master(netlink::link_named(arguments.text("nic"), 404)?.index, 0)
                }))
            }
            "bridge.nic-list" => NAME.decode(arguments, 400).and_then(|arguments| {
                let bridge = bridge(arguments.text("name"))?;
                let links = netlink::links()?.into_iter().filter(|link| link.master == bridge.index);
                Ok(links.map(|link| link.name).collect())
            }),
            _ => return None,
        })
    }

    fn create(&self, rules: &Rules, arguments: &Arguments) -> Result<(), Failure> {
        let name = arguments.text("name");
        if !(1..=15).contains(&name.len()) {
            return Err(Failure::new(500, "Bridge name must be between 1 and 15 characters"));
        }
        if name == "default" {
            return Err(Failure::new(500, "Bridge name can't be 'default'"));
        }
        let hardware = match arguments.text("hwaddr") {
            "" => None,
            text => Some(netlink::hardware(text)?),
        };
        // One at a time: the check for overlapping ranges and what follows from it belong together.
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let bridge = ip::add_bridge(name, hardware.as_deref())?;
        let ready = netlink::set_up(bridge.index, true)
            .and_then(|()| rules.serve(bridge.index))
            .and_then(|()| self.network(&bridge, &arguments.inner("network")));
        match ready {
            Ok(dnsmasq) => {
                made.insert(name.to_owned(), dnsmasq);
                self.write(&made)
            }
            Err(failure) => {
                // The rule stays, as it does on the node.
                netlink::remove_link(bridge.index)?;
                Err(failure)
            }
        }
    }

    /// Addresses of the bridge, by its mode.
    fn network(&self, bridge: &Link, network: &Arguments) -> Result<Option<Child>, Failure> {
        let mode = network.text("mode");
        let shape: &'static Shape = match mode {
            "" => return Ok(None),
            "static" => &STATIC,
            "dnsmasq" => &DNSMASQ,
            other => return Err(Failure::new(500, format!("invalid networking mode {other}"))),
        };
        let Some(settings) = network.raw("settings") else {
            return Err(Failure::new(500, "unexpected end of JSON input"));
        };
        let settings = shape.decode(settings, 500)?;
        let prefix = Prefix::parse(settings.text("cidr"))?;
        if prefix.network().address == prefix.address {
            return Err(Failure::new(500, "Invalid IP"));
        }
        let within = |name: &str| {
            let address = settings.text(name).parse::<IpAddr>();
            let inside = address.is_ok_and(|address| prefix.contains(address));
            if inside { Ok(()) } else { Err(Failure::new(500, format!("{name} ip address out of range"))) }
        };
        if mode == "dnsmasq" {
            within("start")?;
            within("end")?;
        }
        let links = netlink::links()?;
        for other in netlink::addresses()? {
            if other.prefix.contains(prefix.network().address) || prefix.contains(other.prefix.network().address) {
                let name = links.iter().find(|link| link.index == other.link).map_or("", |link| &link.name);
                let address = format!("{} {}", other.prefix, other.label);
                return Err(Failure::new(500, format!("overlapping range with {} on {name}", address.trim())));
            }
        }
        netlink::change_address(bridge.index, &prefix, true)?;
        Ok(self.serve(&bridge.name, &prefix, (mode == "dnsmasq").then_some(&settings)))
    }

    fn hosts(&self, bridge: &str) -> PathBuf {
        self.directory.join(format!("dnsmasq-{bridge}"))
    }

    /// Answers names, and gives addresses away if there is a range. Where `dnsmasq` is missing the bridge is there without,
    /// as on a node whose job for it has failed.
    fn serve(&self, bridge: &str, prefix: &Prefix, range: Option<&Arguments>) -> Option<Child> {
        let hosts = self.hosts(bridge);
        std::fs::create_dir_all(&hosts).ok()?;
        let mut command = Command::new("dnsmasq");
        command
            .args([
                "--conf-file=/dev/null",
                "--no-hosts",
                "--keep-in-foreground",
                "--bind-interfaces",
                "--except-interface=lo",
            ])
            .arg(format!("--pid-file={}", self.directory.join(format!("{bridge}.pid")).display()))
            .arg(format!("--dhcp-leasefile={}", self.directory.join(format!("{bridge}.leases")).display()))
            .arg(format!("--listen-address={}", prefix.address))
            .arg(format!("--interface={bridge}"));
        if let Some(range) = range {
            command
                .arg(format!("--dhcp-range={},{}", range.text("start"), range.text("end")))
                .arg(format!("--dhcp-option=6,{}", prefix.address))
                .arg(format!("--dhcp-hostsfile={}", hosts.display()));
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()
    }

    fn delete(&self, rules: &Rules, name: &str) -> Result<(), Failure> {
        let link = netlink::link_named(name, 500)?;
        if link.kind != "bridge" {
            return Err(Failure::new(500, "bridge not found"));
        }
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Some(mut dnsmasq)) = made.remove(name) {
            end(&mut dnsmasq);
        }
        netlink::remove_link(link.index)?;
        rules.drop_link(link.index)?;
        self.write(&made)
    }

    fn add_host(&self, arguments: &Arguments) -> Result<(), Failure> {
        let (name, address) = (arguments.text("bridge"), arguments.text("ip"));
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let running = made.get_mut(name).and_then(Option::as_mut).and_then(|child| match child.try_wait() {
            Ok(None) => Some(child.id()),
            _ => None,
        });
        let Some(dnsmasq) = running else {
            return Err(Failure::new(500, "not supported no dnsmasq process found"));
        };
        let file = self.hosts(name).join(address);
        std::fs::write(&file, format!("{},{address}", arguments.text("mac"))).map_err(errors::at("open", &file))?;
        let pid = Pid::from_raw(i32::try_from(dnsmasq).unwrap_or(i32::MAX));
        kill(pid, Signal::SIGHUP).map_err(|errno| Failure::new(500, errors::errno(errno as i32)))
    }

    /// What was made is written down, so that it can be found after a stand-in that was killed.
    fn write(&self, made: &BTreeMap<String, Option<Child>>) -> Result<(), Failure> {
        std::fs::create_dir_all(&self.directory).map_err(errors::at("mkdir", &self.directory))?;
        let file = self.directory.join("made");
        let names: Vec<&str> = made.keys().map(String::as_str).collect();
        std::fs::write(&file, names.join("\n")).map_err(errors::at("open", &file))
    }
}

impl Drop for Bridges {
    fn drop(&mut self) {
        let made = self.made.get_mut().unwrap_or_else(PoisonError::into_inner);
        for (name, dnsmasq) in std::mem::take(made) {
            if let Some(mut dnsmasq) = dnsmasq {
                end(&mut dnsmasq);
            }
            // Nothing can be told from here; a bridge that somebody removed is gone anyway.
            let _ = netlink::link_named(&name, 404).and_then(|link| netlink::remove_link(link.index));
        }
    }
}

fn end(child: &mut Child) {
    // It may have ended by itself; then there is nothing to kill, but still to be waited for.
    let _ = child.kill();
    let _ = child.wait();
}

fn bridge(name: &str) -> Result<Link, Failure> {
    let link = netlink::link_named(name, 404)?;
    if link.kind == "bridge" { Ok(link) } else { Err(Failure::new(400, "not a bridge")) }
}

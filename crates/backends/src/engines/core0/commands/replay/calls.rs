//! Which typed call belongs to which command, with the arguments that a capture has, and what its values must be then.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use roadstead_core::{Result, Secret, Signal};

use super::super::agent::{Program, Script};
use super::super::filesystem::{OpenFile, OpenMode, OpenOptions};
use super::super::{Commands, HostCommands};
use super::host;
use crate::engines::core0::Command;

/// A typed call, made when it is polled. Its values are checked against the capture's where it succeeds.
pub(super) type Call = BoxFuture<'static, Result<()>>;

/// A captured command.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) name: String,
    pub(super) arguments: Map<String, Value>,
    /// All that is neither its id, its name nor its arguments, and says something.
    pub(super) options: Map<String, Value>,
    /// The payload that it answers with.
    pub(super) data: Value,
}

impl Wanted {
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.arguments.get(name)?.as_str().map(str::to_owned)
    }

    pub(super) fn number<T: TryFrom<u64>>(&self, name: &str) -> Option<T> {
        self.arguments.get(name)?.as_u64()?.try_into().ok()
    }

    /// All arguments as one struct; members that are null are as if they were not there.
    pub(super) fn all<T: DeserializeOwned>(&self) -> Option<T> {
        parse(&Value::Object(self.arguments.clone()))
    }

    /// A list of words, none when it is not there.
    pub(super) fn words(&self, name: &str) -> Option<Vec<String>> {
        match self.arguments.get(name) {
            None | Some(Value::Null) => Some(Vec::new()),
            Some(list) => parse(list),
        }
    }

    /// The command's own tags.
    pub(super) fn tags(&self) -> Vec<String> {
        self.options.get("tags").and_then(parse).unwrap_or_default()
    }
}

pub(super) fn parse<T: DeserializeOwned>(value: &Value) -> Option<T> {
    serde_json::from_value(without_nulls(value)).ok()
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let some = members.iter().filter(|(_, value)| !value.is_null());
            Value::Object(some.map(|(name, value)| (name.clone(), without_nulls(value))).collect())
        }
        other => other.clone(),
    }
}

/// Values that must be the same as those of a payload.
macro_rules! same {
    ($($ours:expr => $theirs:expr),+ $(,)?) => {{ $(assert_eq!($ours, $theirs);)+ }};
}

/// A call whose values are compared with the payload.
macro_rules! checked {
    ($wanted:ident, $call:expr, |$got:ident, $data:ident| $check:expr) => {{
        let $data = $wanted.data.clone();
        async move {
            let $got = $call.await?;
            $check;
            Ok(())
        }
        .boxed()
    }};
}
pub(super) use {checked, same};

/// The typed call for a command, on the node or in a container; nothing where none can say this.
pub(super) fn typed(node: &HostCommands, here: &Commands, wanted: &Wanted) -> Option<Call> {
    let inside = matches!(here.scope(), crate::engines::core0::Scope::Container(_));
    let found = general(here.clone(), wanted);
    if inside { found } else { found.or_else(|| host::typed(node.clone(), wanted)) }
}

fn general(here: Commands, wanted: &Wanted) -> Option<Call> {
    match wanted.name.split('.').next()? {
        "core" | "bash" => agent(here, wanted),
        "info" => info(here, wanted),
        "process" | "job" => work(here, wanted),
        "filesystem" => files(here, wanted),
        "ip" => ip(here, wanted),
        _ => None,
    }
}

/// Sets all that a command may have besides its arguments; nothing where it cannot be said.
pub(super) fn with_options(command: Result<Command>, options: &Map<String, Value>) -> Option<Command> {
    let mut command = command.ok()?;
    for (name, value) in options {
        match name.as_str() {
            "queue" => command.queue = parse(value)?,
            "max_time" => command.max_time = parse(value)?,
            "stream" => command.stream = parse(value)?,
            "tags" => command.tags = parse(value)?,
            "max_restart" => command.max_restart = parse(value)?,
            "recurring_period" => command.recurring_period = parse(value)?,
            _ => return None,
        }
    }
    Some(command)
}

fn agent(here: Commands, wanted: &Wanted) -> Option<Call> {
    let built = match wanted.name.as_str() {
        "core.ping" => {
            return Some(checked!(wanted, here.agent().ping(), |pong, data| {
                let text = data.as_str().unwrap();
                assert!(text.contains(&pong.branch) && text.ends_with(&pong.revision));
                assert_eq!((pong.branch.as_str(), pong.revision.len()), ("master", 40));
            }));
        }
        "core.state" => {
            return Some(checked!(wanted, here.agent().state(), |state, data| {
                same!(state.rss_bytes => data["rss"], state.cpu_percent => data["cpu"].as_f64().unwrap());
                same!(state.vms_bytes => data["vms"], state.swap_bytes => data["swap"]);
            }));
        }
        "core.system" => wanted.all::<Program>()?.command(),
        "bash" => wanted.all::<Script>()?.command(),
        "core.subscribe" => here.agent().subscribe(&wanted.text("id")?),
        _ => return None,
    };
    // The likes of these take all that a command may have, and give the outcome as it is.
    let command = with_options(built, &wanted.options)?;
    Some(async move { here.run(&command).await?.check() }.boxed())
}

fn info(here: Commands, wanted: &Wanted) -> Option<Call> {
    Some(match wanted.name.as_str() {
        "info.cpu" => checked!(wanted, here.info().cpu(), |cpus, data| {
            assert_eq!(cpus.len(), data.as_array().unwrap().len());
            assert_eq!(cpus[0].cache_bytes, data[0]["cacheSize"].as_u64().unwrap() * 1024);
            same!(cpus[0].mhz => data[0]["mhz"], cpus[0].model_name.as_str() => data[0]["modelName"]);
        }),
        "info.mem" => checked!(wanted, here.info().memory(), |memory, data| {
            same!(memory.total_bytes => data["total"], memory.available_bytes => data["available"]);
            same!(memory.used_percent => data["usedPercent"], memory.page_tables_bytes => data["pagetables"]);
        }),
        "info.disk" => checked!(wanted, here.info().disks(), |disks, data| {
            assert_eq!(disks[0].mount_point, data[0]["mountpoint"]);
            assert_eq!(disks[0].options.join(","), data[0]["opts"]);
        }),
        "info.nic" => checked!(wanted, here.info().nics(), |nics, data| {
            for (nic, told) in nics.iter().zip(data.as_array().unwrap()) {
                same!(nic.name.as_str() => told["name"], nic.mtu_bytes => told["mtu"]);
                assert_eq!(nic.speed_mbit, told["speed"].as_u64().filter(|speed| *speed > 0));
                assert_eq!(nic.addresses.len(), told["addrs"].as_array().map_or(0, Vec::len));
                assert!(nic.addresses.iter().all(|address| address.contains('/')));
            }
        }),
        "info.os" => checked!(wanted, here.info().os(), |os, data| {
            same!(os.hostname.as_str() => data["hostname"], os.uptime.as_secs() => data["uptime"]);
            assert_eq!(os.booted_at.unwrap().unix_seconds(), data["bootTime"]);
        }),
        "info.port" => checked!(wanted, here.info().ports(), |ports, data| {
            for (port, told) in ports.iter().zip(data.as_array().unwrap()) {
                same!(port.network.as_str() => told["network"], port.pid => told["pid"]);
                assert_eq!(u64::from(port.port), told["port"].as_u64().unwrap_or(0));
            }
        }),
        "info.version" => checked!(wanted, here.info().version(), |version, data| {
            same!(version.revision.as_str() => data["revision"], version.dirty => data["dirty"]);
        }),
        _ => return None,
    })
}

fn signal(wanted: &Wanted) -> Option<Option<Signal>> {
    match wanted.arguments.get("signal") {
        None | Some(Value::Null) => Some(None),
        Some(number) => Signal::from_number(number.as_u64()?.try_into().ok()?).map(Some),
    }
}

fn work(here: Commands, wanted: &Wanted) -> Option<Call> {
    let check_processes = |list: &[super::super::process::Process], data: &Value| {
        assert_eq!(list.len(), data.as_array().unwrap().len());
        for (process, told) in list.iter().zip(data.as_array().unwrap()) {
            same!(process.pid => told["pid"], process.rss_bytes => told["rss"]);
            assert_eq!(
                process.started_at.unwrap().unix_nanos() / 1_000_000,
                told["createtime"].as_i64().unwrap().into()
            );
            assert_eq!(process.cpu.system.as_secs_f64(), told["cpu"]["system"]);
        }
    };
    let check_jobs = |list: &[super::super::job::Job], data: &Value| {
        for (job, told) in list.iter().zip(data.as_array().unwrap()) {
            same!(job.command.id.as_str() => told["cmd"]["id"], job.rss_bytes => told["rss"]);
            assert_eq!(job.started_at.unwrap().unix_nanos() / 1_000_000, told["starttime"].as_i64().unwrap().into());
            assert_eq!(u64::from(job.pid.unwrap_or(0)), told["pid"]);
            let period = told["cmd"]["recurring_period"].as_u64().unwrap_or(0);
            assert_eq!(job.command.recurring_period.as_secs(), period);
        }
    };
    Some(match wanted.name.as_str() {
        "process.list" => match wanted.number::<u32>("pid") {
            Some(pid) => checked!(wanted, here.processes().get(pid), |found, data| {
                check_processes(&found.into_iter().collect::<Vec<_>>(), &data);
            }),
            None => checked!(wanted, here.processes().list(), |list, data| check_processes(&list, &data)),
        },
        "process.kill" => {
            let pid = wanted.number("pid")?;
            if wanted.number::<u8>("signal")? == 0 {
                return Some(async move { here.processes().probe(pid).await }.boxed());
            }
            let signal = signal(wanted)??;
            async move { here.processes().kill(pid, signal).await }.boxed()
        }
        "job.list" => match wanted.text("id") {
            Some(id) => checked!(wanted, here.jobs().get(&id), |job, data| check_jobs(&[job], &data)),
            None => checked!(wanted, here.jobs().list(), |list, data| {
                assert_eq!(list.len(), data.as_array().unwrap().len());
                check_jobs(&list, &data);
            }),
        },
        "job.kill" => {
            let (id, signal) = (wanted.text("id")?, signal(wanted)?);
            checked!(wanted, here.jobs().kill(&id, signal), |killed, data| assert_eq!(data, killed))
        }
        "job.killall" => checked!(wanted, here.jobs().kill_all(), |killed, data| assert_eq!(data, killed)),
        "job.unschedule" => {
            let id = wanted.text("id")?;
            checked!(wanted, here.jobs().unschedule(&id), |done, data| assert_eq!(data, done))
        }
        _ => return None,
    })
}

fn open_options(wanted: &Wanted) -> Option<OpenOptions> {
    let mode = wanted.text("mode")?;
    let (letter, both) = mode.strip_suffix('+').map_or((mode.as_str(), false), |letter| (letter, true));
    let mode = match letter {
        "r" => OpenMode::Read,
        "w" => OpenMode::Write,
        "a" => OpenMode::Append,
        "x" => OpenMode::Create,
        _ => return None,
    };
    Some(OpenOptions { mode, both, permissions: wanted.number("perm").unwrap_or(0) })
}

fn files(here: Commands, wanted: &Wanted) -> Option<Call> {
    use base64::Engine as _;
    let base64 = base64::engine::general_purpose::STANDARD;
    let path = wanted.text("path");
    let file = wanted.text("fd").map(OpenFile);
    Some(match wanted.name.as_str() {
        "filesystem.open" => {
            let (path, options) = (wanted.text("file")?, open_options(wanted)?);
            checked!(wanted, here.filesystem().open(&path, &options), |file, data| assert_eq!(file.as_str(), data))
        }
        "filesystem.read" => {
            let file = file?;
            checked!(wanted, here.filesystem().read(&file), |bytes, data| {
                assert_eq!(base64.encode(bytes), data.as_str().unwrap());
            })
        }
        "filesystem.write" => {
            let (file, block) = (file?, base64.decode(wanted.text("block")?).ok()?);
            async move { here.filesystem().write(&file, &block).await }.boxed()
        }
        "filesystem.close" => {
            let file = file?;
            async move { here.filesystem().close(file).await }.boxed()
        }
        "filesystem.mkdir" => {
            let path = path?;
            async move { here.filesystem().make_directory(&path).await }.boxed()
        }
        "filesystem.remove" => {
            let path = path?;
            async move { here.filesystem().remove(&path).await }.boxed()
        }
        "filesystem.exists" => {
            let path = path?;
            checked!(wanted, here.filesystem().exists(&path), |exists, data| assert_eq!(data, exists))
        }
        "filesystem.list" => {
            let path = path?;
            checked!(wanted, here.filesystem().list(&path), |list, data| {
                for (entry, told) in list.iter().zip(data.as_array().unwrap()) {
                    same!(entry.name.as_str() => told["name"], entry.size_bytes => told["size"]);
                    same!(entry.mode => told["mode"], entry.is_directory => told["is_dir"]);
                }
            })
        }
        "filesystem.chmod" => {
            let (path, permissions) = (path?, wanted.all()?);
            async move { here.filesystem().change_mode(&path, &permissions).await }.boxed()
        }
        "filesystem.chown" => {
            let (path, owners) = (path?, wanted.all()?);
            async move { here.filesystem().change_owner(&path, &owners).await }.boxed()
        }
        "filesystem.move" => {
            let (path, destination) = (path?, wanted.text("destination")?);
            async move { here.filesystem().rename(&path, &destination).await }.boxed()
        }
        _ => return None,
    })
}

fn ip(here: Commands, wanted: &Wanted) -> Option<Call> {
    let name = wanted.text("name");
    macro_rules! named {
        ($method:ident $(, $argument:expr)*) => {{
            let name = name?;
            async move { here.ip().$method(&name $(, $argument)*).await }.boxed()
        }};
    }
    Some(match wanted.name.as_str() {
        "ip.link.list" => checked!(wanted, here.ip().links(), |links, data| {
            for (link, told) in links.iter().zip(data.as_array().unwrap()) {
                same!(link.name.as_str() => told["name"], link.mtu_bytes => told["mtu"], link.up => told["up"]);
            }
        }),
        "ip.link.up" => named!(link_up),
        "ip.link.down" => named!(link_down),
        "ip.link.name" => {
            let new = wanted.text("new")?;
            named!(rename_link, &new)
        }
        "ip.link.mtu" => {
            let mtu = wanted.number("mtu")?;
            named!(set_mtu, mtu)
        }
        "ip.addr.list" => {
            let name = name?;
            checked!(wanted, here.ip().addresses(&name), |list, data| assert_eq!(data, serde_json::json!(list)))
        }
        "ip.addr.add" => {
            let cidr = wanted.text("ip")?;
            named!(add_address, &cidr)
        }
        "ip.addr.del" => {
            let cidr = wanted.text("ip")?;
            named!(delete_address, &cidr)
        }
        "ip.route.list" => checked!(wanted, here.ip().routes(), |routes, data| {
            for (route, told) in routes.iter().zip(data.as_array().unwrap()) {
                same!(route.device.as_str() => told["dev"], route.destination.as_str() => told["dst"]);
            }
        }),
        "ip.route.add" => {
            let route = wanted.all()?;
            async move { here.ip().add_route(&route).await }.boxed()
        }
        "ip.route.del" => {
            let route = wanted.all()?;
            async move { here.ip().delete_route(&route).await }.boxed()
        }
        "ip.bridge.add" => {
            let hwaddr = wanted.text("hwaddr");
            named!(add_bridge, hwaddr.as_deref())
        }
        "ip.bridge.del" => named!(delete_bridge),
        "ip.bridge.addif" => {
            let link = wanted.text("inf")?;
            named!(add_to_bridge, &link)
        }
        "ip.bridge.delif" => {
            let link = wanted.text("inf")?;
            named!(delete_from_bridge, &link)
        }
        "ip.bond.add" => {
            let bond = wanted.all()?;
            async move { here.ip().add_bond(&bond).await }.boxed()
        }
        "ip.bond.list" => async move { here.ip().bonds().await.map(drop) }.boxed(),
        "ip.bond.del" => {
            let bond = wanted.text("bond")?;
            async move { here.ip().delete_bond(&bond).await }.boxed()
        }
        _ => return None,
    })
}

/// A text that must not be shown.
pub(super) fn secret(wanted: &Wanted, name: &str) -> Option<Secret> {
    wanted.text(name).map(Secret::new)
}

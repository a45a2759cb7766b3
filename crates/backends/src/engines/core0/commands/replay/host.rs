//! The typed calls of commands that only a node has.

use futures_util::FutureExt as _;
use serde_json::{Value, json};

use super::super::corex::{Container, ContainerArguments, ContainerQuery, PortForward};
use super::super::info::DmiKind;
use super::super::kvm::{MachineArguments, MachineQuery};
use super::super::{HostCommands, cgroup::Subsystem};
use super::calls::{Call, Wanted, checked, parse, same, secret};
use crate::engines::core0::Command;

/// A call that succeeds without a value.
macro_rules! done {
    ($call:expr) => {
        async move { $call.await }.boxed()
    };
}

/// A call whose value nothing captured can be compared with.
macro_rules! any {
    ($call:expr) => {
        async move { $call.await.map(drop) }.boxed()
    };
}

pub(super) fn typed(node: HostCommands, wanted: &Wanted) -> Option<Call> {
    match wanted.name.split('.').next()? {
        "corex" => corex(node, wanted),
        "bridge" | "nft" | "socat" => network(node, wanted),
        "disk" => disk(node, wanted),
        "btrfs" => btrfs(node, wanted),
        "cgroup" => cgroup(node, wanted),
        "kvm" => kvm(node, wanted),
        _ => others(node, wanted),
    }
}

fn check_containers(list: &[Container], data: &Value) {
    assert_eq!(list.len(), data.as_object().unwrap().len());
    for container in list {
        let told = &data[container.id.to_string()];
        let usage = container.usage.as_ref().unwrap();
        same!(usage.rss_bytes => told["rss"], usage.vms_bytes => told["vms"]);
        check_container(container, &told["container"]);
    }
}

fn check_container(container: &Container, told: &Value) {
    let (ours, theirs) = (&container.arguments, &told["arguments"]);
    same!(container.pid => told["pid"], container.root.as_str() => told["root"]);
    same!(ours.root.as_str() => theirs["root"], ours.hostname.as_str() => theirs["hostname"]);
    assert_eq!(ours.tags.len(), theirs["tags"].as_array().map_or(0, Vec::len));
    assert_eq!(json!(ours.env), theirs["env"].as_object().map_or(json!({}), |env| json!(env)));
    assert_eq!(json!(ours.port), theirs["port"].as_object().map_or(json!({}), |port| json!(port)));
    for (nic, told) in ours.nics.iter().zip(theirs["nics"].as_array().unwrap_or(&Vec::new())) {
        same!(nic.kind.as_str() => told["type"], nic.state.as_str() => told["state"]);
    }
}

fn corex(node: HostCommands, wanted: &Wanted) -> Option<Call> {
    let container = wanted.number("container");
    Some(match wanted.name.as_str() {
        "corex.create" | "corex.create-sync" => {
            let mut arguments: ContainerArguments = wanted.all()?;
            arguments.tags = wanted.tags();
            if wanted.name == "corex.create-sync" {
                return Some(done!(node.containers().create_and_wait(&arguments)));
            }
            checked!(wanted, node.containers().create(&arguments), |id, data| assert_eq!(id, data))
        }
        "corex.list" => checked!(wanted, node.containers().list(), |list, data| check_containers(&list, &data)),
        "corex.find" => {
            let tags = wanted.words("tags")?;
            checked!(wanted, node.containers().find(&tags), |list, data| check_containers(&list, &data))
        }
        "corex.get" => {
            let query = match wanted.arguments.get("query")? {
                Value::String(name) => ContainerQuery::from(name.as_str()),
                id => ContainerQuery::Id(id.as_u64()?),
            };
            checked!(wanted, node.containers().get(query), |found, data| match found {
                Some(container) => {
                    assert_eq!(container.id, data["id"]);
                    check_container(&container, &data["container"]);
                }
                None => assert!(data.is_null()),
            })
        }
        "corex.dispatch" => {
            let inner = wanted.arguments.get("command")?;
            let command = Command::new(inner["command"].as_str()?, inner.get("arguments")).ok()?;
            let container = container?;
            checked!(wanted, node.containers().dispatch(container, &command), |id, data| assert_eq!(id, data))
        }
        "corex.terminate" => {
            let container = container?;
            done!(node.containers().terminate(container))
        }
        "corex.nic-add" => {
            let (container, nic) = (container?, parse(wanted.arguments.get("nic")?)?);
            done!(node.containers().add_nic(container, &nic))
        }
        "corex.nic-remove" => {
            let (container, index) = (container?, wanted.number("index")?);
            done!(node.containers().remove_nic(container, index))
        }
        "corex.portforward-add" | "corex.portforward-remove" => {
            let (container, forward) = (container?, wanted.all::<PortForward>()?);
            let add = wanted.name == "corex.portforward-add";
            async move {
                let containers = node.containers();
                if add {
                    containers.add_port_forward(container, &forward).await
                } else {
                    containers.remove_port_forward(container, &forward).await
                }
            }
            .boxed()
        }
        "corex.backup" => {
            let (container, url, tags) = (container?, secret(wanted, "url")?, wanted.words("tags")?);
            checked!(wanted, node.containers().backup(container, &url, &tags), |id, data| assert_eq!(id, data))
        }
        "corex.restore" => {
            let (url, tags) = (secret(wanted, "url")?, wanted.tags());
            checked!(wanted, node.containers().restore(&url, &tags), |id, data| assert_eq!(id, data))
        }
        "corex.flist-layer" => {
            let (container, flist) = (container?, wanted.text("flist")?);
            done!(node.containers().add_flist_layer(container, &flist))
        }
        "corex.zerotier.info" => {
            let container = container?;
            any!(node.containers().zerotier_info(container))
        }
        "corex.zerotier.list" => {
            let container = container?;
            any!(node.containers().zerotier_networks(container))
        }
        _ => return None,
    })
}

fn network(node: HostCommands, wanted: &Wanted) -> Option<Call> {
    let name = wanted.text("name");
    let equal = |list: Vec<String>, data: Value| {
        assert_eq!(json!(list), if data.is_null() { json!([]) } else { data });
    };
    Some(match wanted.name.as_str() {
        "bridge.create" => {
            let arguments = wanted.all()?;
            done!(node.bridges().create(&arguments))
        }
        "bridge.list" => checked!(wanted, node.bridges().list(), |list, data| equal(list, data)),
        "bridge.delete" => {
            let name = name?;
            done!(node.bridges().delete(&name))
        }
        "bridge.host-add" => {
            let host = wanted.all()?;
            done!(node.bridges().add_host(&host))
        }
        "bridge.nic-add" => {
            let (name, nic) = (name?, wanted.text("nic")?);
            done!(node.bridges().add_nic(&name, &nic))
        }
        "bridge.nic-remove" => {
            let nic = wanted.text("nic")?;
            done!(node.bridges().remove_nic(&nic))
        }
        "bridge.nic-list" => {
            let name = name?;
            checked!(wanted, node.bridges().nics(&name), |list, data| equal(list, data))
        }
        "nft.open_port" => {
            let port = wanted.all()?;
            done!(node.firewall().open(&port))
        }
        "nft.drop_port" => {
            let port = wanted.all()?;
            done!(node.firewall().close(&port))
        }
        "nft.rule_exists" => {
            let port = wanted.all()?;
            checked!(wanted, node.firewall().is_open(&port), |open, data| assert_eq!(data, open))
        }
        "nft.list" => checked!(wanted, node.firewall().rules(), |list, data| equal(list, data)),
        "socat.list" => checked!(wanted, node.firewall().forwards(), |list, data| equal(list, data)),
        "socat.reserve" => {
            let number = wanted.number("number")?;
            checked!(wanted, node.firewall().reserve(number), |ports, data| assert_eq!(json!(ports), data))
        }
        _ => return None,
    })
}

fn disk(node: HostCommands, wanted: &Wanted) -> Option<Call> {
    let disk = wanted.text("disk");
    Some(match wanted.name.as_str() {
        "disk.list" => checked!(wanted, node.disks().list(), |list, data| {
            let told = data.get("blockdevices").unwrap_or(&data).as_array().unwrap();
            assert_eq!(list.len(), told.len());
            for (device, told) in list.iter().zip(told) {
                assert_eq!(device.name, told["name"]);
                assert_eq!(Some(device.size_bytes), told["size"].as_u64().or(Some(device.size_bytes)));
            }
        }),
        "disk.getinfo" => {
            let (disk, part) = (disk?, wanted.text("part"));
            checked!(wanted, node.disks().get(&disk, part.as_deref()), |device, data| {
                assert_eq!(device.name, data["name"]);
            })
        }
        "disk.mounts" => checked!(wanted, node.disks().mounts(), |mounts, data| {
            assert_eq!(mounts.len(), data.as_object().unwrap().len());
            for (device, mounts) in mounts {
                assert_eq!(mounts[0].mount_point, data[&device][0]["mountpoint"]);
                assert_eq!(json!(mounts[0].options), data[&device][0]["options"]);
            }
        }),
        "disk.smartctl-info" => {
            let device = wanted.text("device")?;
            any!(node.disks().smart_info(&device))
        }
        "disk.smartctl-health" => {
            let device = wanted.text("device")?;
            any!(node.disks().smart_health(&device))
        }
        "disk.isstandby" => {
            let disk = disk?;
            checked!(wanted, node.disks().is_standby(&disk), |standby, data| assert_eq!(data, standby))
        }
        "disk.seektime" => {
            let disk = disk?;
            any!(node.disks().seek_time(&disk))
        }
        "disk.mktable" => {
            let (disk, kind) = (disk?, wanted.text("table_type")?);
            done!(node.disks().make_table(&disk, &kind))
        }
        "disk.mkpart" => {
            let partition = wanted.all()?;
            done!(node.disks().make_partition(&partition))
        }
        "disk.rmpart" => {
            let (disk, number) = (disk?, wanted.number("number")?);
            done!(node.disks().remove_partition(&disk, number))
        }
        "disk.mount" => {
            let arguments = wanted.all()?;
            done!(node.disks().mount(&arguments))
        }
        "disk.umount" => {
            let source = wanted.text("source")?;
            done!(node.disks().unmount(&source))
        }
        "disk.spindown" => {
            let (disk, steps) = (disk?, wanted.number::<u64>("spindown")?);
            done!(node.disks().spin_down(&disk, std::time::Duration::from_secs(5 * steps)))
        }
        "disk.protect" => {
            let uuid = wanted.text("partuuid")?;
            done!(node.disks().protect(&uuid))
        }
        _ => return None,
    })
}

fn btrfs(node: HostCommands, wanted: &Wanted) -> Option<Call> {
    let (path, mount_point) = (wanted.text("path"), wanted.text("mountpoint"));
    Some(match wanted.name.as_str() {
        "btrfs.list" => any!(node.btrfs().list()),
        "btrfs.info" => {
            let mount_point = mount_point?;
            any!(node.btrfs().info(&mount_point))
        }
        "btrfs.create" => {
            let arguments = wanted.all()?;
            done!(node.btrfs().create(&arguments))
        }
        "btrfs.device_add" => {
            let (mount_point, devices) = (mount_point?, wanted.words("devices")?);
            done!(node.btrfs().add_devices(&mount_point, &devices))
        }
        "btrfs.device_remove" => {
            let (mount_point, devices) = (mount_point?, wanted.words("devices")?);
            done!(node.btrfs().remove_devices(&mount_point, &devices))
        }
        "btrfs.subvol_create" => {
            let path = path?;
            done!(node.btrfs().create_subvolume(&path))
        }
        "btrfs.subvol_delete" => {
            let path = path?;
            done!(node.btrfs().delete_subvolume(&path))
        }
        "btrfs.subvol_list" => {
            let path = path?;
            any!(node.btrfs().subvolumes(&path))
        }
        "btrfs.subvol_snapshot" => {
            let arguments = wanted.all()?;
            done!(node.btrfs().snapshot(&arguments))
        }
        _ => return None,
    })
}

fn cgroup(node: HostCommands, wanted: &Wanted) -> Option<Call> {
    let subsystem = wanted.text("subsystem").map(|subsystem| Subsystem::from(subsystem.as_str()));
    let name = wanted.text("name");
    Some(match wanted.name.as_str() {
        "cgroup.list" => checked!(wanted, node.cgroups().list(), |groups, data| assert_eq!(json!(groups), data)),
        "cgroup.ensure" => {
            let (subsystem, name) = (subsystem?, name?);
            done!(node.cgroups().ensure(&subsystem, &name))
        }
        "cgroup.remove" => {
            let (subsystem, name) = (subsystem?, name?);
            done!(node.cgroups().remove(&subsystem, &name))
        }
        "cgroup.reset" => {
            let (subsystem, name) = (subsystem?, name?);
            done!(node.cgroups().reset(&subsystem, &name))
        }
        "cgroup.tasks" => {
            let (subsystem, name) = (subsystem?, name?);
            checked!(wanted, node.cgroups().tasks(&subsystem, &name), |pids, data| assert_eq!(json!(pids), data))
        }
        "cgroup.task-add" => {
            let (subsystem, name, pid) = (subsystem?, name?, wanted.number("pid")?);
            done!(node.cgroups().add_task(&subsystem, &name, pid))
        }
        "cgroup.task-remove" => {
            let (subsystem, name, pid) = (subsystem?, name?, wanted.number("pid")?);
            done!(node.cgroups().remove_task(&subsystem, &name, pid))
        }
        "cgroup.memory.spec" => {
            let (name, memory, swap) = (name?, wanted.number("mem").unwrap_or(0), wanted.number("swap").unwrap_or(0));
            checked!(wanted, node.cgroups().set_memory(&name, memory, swap), |limits, data| {
                // The largest number of whole pages stands for no limit.
                let told = data["mem"].as_u64().filter(|bytes| *bytes < 1 << 62);
                same!(limits.memory_bytes => told, limits.swap_bytes => data["swap"].as_u64());
            })
        }
        "cgroup.cpuset.spec" => {
            let (name, cpuset) = (name?, wanted.all()?);
            checked!(wanted, node.cgroups().cpuset(&name, &cpuset), |cpuset, data| {
                assert_eq!(cpuset.cpus, data["cpus"].as_str().unwrap().trim());
            })
        }
        _ => return None,
    })
}

fn kvm(node: HostCommands, wanted: &Wanted) -> Option<Call> {
    let uuid = wanted.text("uuid");
    macro_rules! machine {
        ($method:ident $(, $argument:expr)*) => {{
            let uuid = uuid?;
            done!(node.machines().$method(&uuid $(, $argument)*))
        }};
    }
    Some(match wanted.name.as_str() {
        "kvm.create" => {
            let mut arguments: MachineArguments = wanted.all()?;
            arguments.tags = wanted.tags();
            checked!(wanted, node.machines().create(&arguments), |uuid, data| assert_eq!(uuid, data))
        }
        "kvm.list" => any!(node.machines().list()),
        "kvm.get" => {
            let query = wanted.text("name").map(MachineQuery::Name).or(uuid.map(MachineQuery::Uuid))?;
            any!(node.machines().get(&query))
        }
        "kvm.destroy" => machine!(destroy),
        "kvm.shutdown" => machine!(shutdown),
        "kvm.reboot" => machine!(reboot),
        "kvm.reset" => machine!(reset),
        "kvm.pause" => machine!(pause),
        "kvm.resume" => machine!(resume),
        "kvm.migrate" => {
            let destination = wanted.text("desturi")?;
            machine!(migrate, &destination)
        }
        "kvm.info" => {
            let uuid = uuid?;
            any!(node.machines().statistics(&uuid))
        }
        "kvm.infops" => {
            let uuid = uuid?;
            any!(node.machines().metrics(&uuid))
        }
        "kvm.monitor" => done!(node.machines().sample()),
        "kvm.attach_disk" => {
            let media = parse(wanted.arguments.get("media")?)?;
            machine!(attach_disk, &media)
        }
        "kvm.detach_disk" => {
            let media = parse(wanted.arguments.get("media")?)?;
            machine!(detach_disk, &media)
        }
        "kvm.add_nic" => {
            let nic = wanted.all()?;
            machine!(add_nic, &nic)
        }
        "kvm.remove_nic" => {
            let nic = wanted.all()?;
            machine!(remove_nic, &nic)
        }
        "kvm.portforward-add" => {
            let forward = wanted.all()?;
            machine!(add_port_forward, &forward)
        }
        "kvm.portforward-remove" => {
            let forward = wanted.all()?;
            machine!(remove_port_forward, &forward)
        }
        "kvm.create-image" => {
            let (path, format, size) = (wanted.text("file_name")?, wanted.text("format")?, wanted.text("size")?);
            done!(node.machines().create_image(&path, &format, &size))
        }
        "kvm.convert-image" => {
            let image = wanted.all()?;
            done!(node.machines().convert_image(&image))
        }
        _ => return None,
    })
}

fn others(node: HostCommands, wanted: &Wanted) -> Option<Call> {
    Some(match wanted.name.as_str() {
        "config.get" => checked!(wanted, node.config(), |config, data| {
            same!(config.max_jobs => data["main"]["max_jobs"], config.max_containers => data["containers"]["max_count"]);
            same!(json!(config.file_levels) => data["logger"]["file"]["levels"].clone(), config.statistics => true);
            assert_eq!(config.kept_records, data["logger"]["Ledis"]["size"]);
        }),
        "aggregator.query" => {
            let name = wanted.text("key");
            let tags = wanted.arguments.get("tags").and_then(parse).unwrap_or_default();
            checked!(wanted, node.metrics().query(name.as_deref(), &tags), |found, data| {
                assert_eq!(found.len(), data.as_object().unwrap().len());
                for (key, metric) in found {
                    let told = &data[&key];
                    let factor = if key.starts_with("machine.memory") || key.starts_with("network.throughput") {
                        1024.0 * 1024.0
                    } else if key.starts_with("disk.throughput") {
                        1024.0
                    } else {
                        1.0
                    };
                    assert_eq!(metric.last_value, told["last_value"].as_f64().unwrap() * factor, "{key}");
                    assert_eq!(metric.last_at.unwrap().unix_seconds(), told["last_time"]);
                    assert_eq!(metric.current[&300].max, told["current"]["300"]["max"].as_f64().unwrap() * factor);
                    assert!(metric.tags.values().all(|value| !value.ends_with('\n')));
                }
            })
        }
        "monitor" => {
            let domain = wanted.text("domain")?.as_str().into();
            done!(node.metrics().sample(&domain))
        }
        "logger.subscribe" => {
            let subscription = wanted.all()?;
            checked!(wanted, node.logger().subscribe(&subscription), |list, data| assert_eq!(list, data))
        }
        "logger.unsubscribe" => {
            let queue = wanted.text("queue")?;
            done!(node.logger().unsubscribe(&queue))
        }
        "logger.set_level" => {
            let severity = wanted.text("level")?.as_str().into();
            done!(node.logger().set_level(&severity))
        }
        "logger.reopen" => done!(node.logger().reopen()),
        "zerotier.join" => {
            let network = wanted.text("network")?;
            done!(node.zerotier().join(&network))
        }
        "zerotier.leave" => {
            let network = wanted.text("network")?;
            done!(node.zerotier().leave(&network))
        }
        "zerotier.list" => any!(node.zerotier().networks()),
        "zerotier.info" => any!(node.zerotier().info()),
        "web.download" => {
            let (url, to) = (wanted.text("url")?, wanted.text("destination")?);
            checked!(wanted, node.diagnostics().download(&url, &to), |path, data| assert_eq!(path, data))
        }
        "rtinfo.start" => {
            let arguments = wanted.all()?;
            done!(node.diagnostics().start_rtinfo(&arguments))
        }
        "rtinfo.stop" => {
            let (host, port) = (wanted.text("host")?, wanted.number("port")?);
            done!(node.diagnostics().stop_rtinfo(&host, port))
        }
        "rtinfo.list" => checked!(wanted, node.diagnostics().rtinfo(), |targets, data| {
            assert_eq!(targets.len(), data.as_object().unwrap().len());
        }),
        "pprof.cpu.start" => {
            let file = wanted.text("file");
            done!(node.diagnostics().start_cpu_profile(file.as_deref()))
        }
        "pprof.cpu.stop" => done!(node.diagnostics().stop_cpu_profile()),
        "pprof.mem.write" => {
            let file = wanted.text("file");
            done!(node.diagnostics().write_memory_profile(file.as_deref()))
        }
        "pprof.mem.stat" => checked!(wanted, node.diagnostics().memory(), |memory, data| {
            same!(memory.heap_objects => data["HeapObjects"], memory.system_bytes => data["Sys"]);
            assert_eq!(memory.pause_total.as_nanos(), data["PauseTotalNs"].as_u64().unwrap().into());
        }),
        "info.dmi" => {
            let kind = |kind: &Value| match kind {
                Value::String(name) => Some(DmiKind::Name(name.clone())),
                number => Some(DmiKind::Number(number.as_u64()?.try_into().ok()?)),
            };
            let kinds: Option<Vec<DmiKind>> = match wanted.arguments.get("types") {
                Some(Value::Array(kinds)) => kinds.iter().map(kind).collect(),
                _ => Some(Vec::new()),
            };
            let kinds = kinds?;
            any!(node.commands().info().dmi(&kinds))
        }
        _ => return None,
    })
}

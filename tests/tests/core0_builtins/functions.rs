//! What functions really do, where a capture shows only that they answered.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::world::{ip, within};

#[test]
fn files_are_read_in_blocks_and_changed_by_name() {
    within(|world| {
        let content: Vec<u8> = (0..600 * 1024u32).map(|byte| byte.to_le_bytes()[0]).collect();
        std::fs::write("/tmp/large", &content).expect("written");
        let id = world.value("filesystem.open", &json!({"file": "/tmp/large", "mode": "r"}));
        let mut read = Vec::new();
        loop {
            let block = world.value("filesystem.read", &json!({"fd": id}));
            let block = STANDARD.decode(block.as_str().unwrap()).expect("base64");
            assert!(block.len() <= 512 * 1024);
            if block.is_empty() {
                break;
            }
            read.extend(block);
        }
        assert_eq!(read, content);
        world.value("filesystem.mkdir", &json!({"path": "/tmp/a/b"}));
        std::fs::write("/tmp/a/b/c", "").expect("written");
        world.value("filesystem.chmod", &json!({"path": "/tmp/a", "mode": 0o700, "recursive": true}));
        assert_eq!(std::fs::metadata("/tmp/a/b/c").unwrap().permissions().mode() & 0o777, 0o700);
        world
            .value("filesystem.chown", &json!({"path": "/tmp/a", "user": "daemon", "group": "bin", "recursive": true}));
        let found = std::fs::metadata("/tmp/a/b/c").unwrap();
        assert_eq!((found.uid(), found.gid()), (1, 2));
        let failed = world.failure("filesystem.chown", &json!({"path": "/tmp/a", "user": "root", "group": "nogroups"}));
        assert_eq!(failed, (500, "group: unknown group nogroups".to_owned()));
        let failed = world.failure("filesystem.move", &json!({"path": "/tmp/large", "destination": "/tmp/a"}));
        assert_eq!(failed, (500, "rename /tmp/large /tmp/a: file exists".to_owned()));
        let failed = world.failure("filesystem.mkdir", &json!({"path": "/tmp/large/x"}));
        assert_eq!(failed, (500, "mkdir /tmp/large: not a directory".to_owned()));
        let failed = world.failure("filesystem.list", &json!({"path": "/tmp/large"}));
        assert_eq!(failed, (500, "readdirent /tmp/large: not a directory".to_owned()));
    });
}

#[test]
fn arguments_are_needed_where_the_node_needs_them() {
    within(|world| {
        let nil = (500, "runtime error: invalid memory address or nil pointer dereference".to_owned());
        for command in
            ["filesystem.list", "process.list", "ip.link.up", "bridge.create", "nft.list", "cgroup.ensure", "monitor"]
        {
            assert_eq!(world.failure(command, &Value::Null), nil, "{command}");
        }
        for command in ["info.mem", "bridge.list", "ip.link.list", "cgroup.list", "socat.list"] {
            world.value(command, &Value::Null);
        }
        assert_eq!(world.failure("cgroup.ensure", &json!({"name": 1})).0, 400);
        assert_eq!(world.failure("monitor", &json!({"domain": "x"})).1, "invalid monitoring domain: x");
        for domain in ["cpu", "disk", "network", "memory"] {
            world.value("monitor", &json!({"domain": domain}));
        }
    });
}

#[test]
fn a_container_has_only_its_own_commands() {
    within(|world| {
        for command in
            ["bridge.list", "disk.list", "info.dmi", "cgroup.list", "kvm.events", "web.download", "config.get"]
        {
            assert!(world.call(&world.container, command, &json!({})).is_none(), "{command}");
        }
        for command in ["info.mem", "process.list", "ip.link.list"] {
            assert!(world.call(&world.container, command, &json!({})).is_some(), "{command}");
        }
    });
}

#[test]
fn links_addresses_and_routes_are_those_that_iproute2_sees() {
    within(|world| {
        world.value("ip.link.mtu", &json!({"name": "eth0", "mtu": 1400}));
        assert!(ip("link show eth0").contains("mtu 1400"));
        world.value("ip.link.down", &json!({"name": "eth0"}));
        world.value("ip.link.name", &json!({"name": "eth0", "new": "other"}));
        world.value("ip.link.up", &json!({"name": "other"}));
        world.value("ip.addr.add", &json!({"name": "other", "ip": "10.50.0.1/24"}));
        assert!(ip("addr show other").contains("10.50.0.1/24"));
        assert_eq!(world.failure("ip.addr.add", &json!({"name": "other", "ip": "10.50.0.1/24"})).1, "file exists");
        assert_eq!(
            world.failure("ip.addr.add", &json!({"name": "other", "ip": "10.50"})).1,
            "invalid CIDR address: 10.50"
        );
        world.value("ip.route.add", &json!({"dev": "other", "dst": "10.60.0.0/24", "gw": "10.50.0.2"}));
        assert!(ip("route show").contains("10.60.0.0/24 via 10.50.0.2 dev other"));
        let route = json!({"dev": "other", "dst": "10.60.0.0/24", "gw": "10.50.0.2"});
        assert!(world.value("ip.route.list", &json!({})).as_array().unwrap().contains(&route));
        world.value("ip.route.del", &route);
        assert!(!ip("route show").contains("10.60.0.0"));
        let failed = world.failure("ip.route.del", &json!({"dev": "other"}));
        assert!(failed.1 == "ambiguous route matches multiple routes" || failed.1 == "route not found", "{failed:?}");
        world.value("ip.addr.del", &json!({"name": "other", "ip": "10.50.0.1/24"}));
        assert!(!ip("addr show other").contains("10.50.0.1/24"));
        assert_eq!(world.failure("ip.link.up", &json!({"name": "none"})), (500, "Link not found".to_owned()));
        assert_eq!(
            world.failure("ip.link.mtu", &json!({"name": "none", "mtu": 1})),
            (404, "Link not found".to_owned())
        );
        assert_eq!(world.failure("ip.bridge.del", &json!({"name": "other"})).1, "no bridge with name 'other'");
    });
}

#[test]
fn bridges_take_links_and_leave_no_rules() {
    within(|world| {
        world.value("bridge.create", &json!({"name": "br", "hwaddr": "52:54:00:12:34:56", "network": {}}));
        assert!(ip("link show br").contains("52:54:00:12:34:56"));
        world.value("bridge.nic-add", &json!({"name": "br", "nic": "eth0"}));
        assert_eq!(world.value("bridge.nic-list", &json!({"name": "br"})), json!(["eth0"]));
        assert!(ip("link show eth0").contains("master br"));
        assert_eq!(world.failure("bridge.nic-list", &json!({"name": "eth0"})), (400, "not a bridge".to_owned()));
        world.value("bridge.nic-remove", &json!({"nic": "eth0"}));
        let rule = json!("iif \"br\" udp dport { 53, 67, 68 } accept");
        assert!(world.value("nft.list", &json!({})).as_array().unwrap().contains(&rule));
        world.value("bridge.delete", &json!({"name": "br"}));
        assert!(!world.value("nft.list", &json!({})).as_array().unwrap().contains(&rule));
        assert_eq!(world.failure("bridge.delete", &json!({"name": "br"})), (500, "Link not found".to_owned()));
        let range = json!({"cidr": "192.168.58.1/24", "start": "192.168.59.1", "end": "192.168.58.9"});
        let network = json!({"mode": "dnsmasq", "settings": range});
        let failed = world.failure("bridge.create", &json!({"name": "br", "network": network}));
        assert_eq!(failed.1, "start ip address out of range");
        assert!(!ip("link show").contains(": br:"), "a bridge that failed is gone");
    });
}

#[test]
fn reserved_ports_are_given_once() {
    within(|world| {
        let _listener = TcpListener::bind("127.0.0.1:1024").expect("listens");
        assert_eq!(world.value("socat.reserve", &json!({"number": 2})), json!([1025, 1026]));
        assert_eq!(world.value("socat.reserve", &json!({"number": 1})), json!([1027]));
        world.value("nft.open_port", &json!({"port": 80, "interface": "eth0", "subnet": "10.0.0.5/8"}));
        let rule = json!(["iifname \"eth0\" ip saddr 10.0.0.0/8 tcp dport 80 accept"]);
        assert_eq!(world.value("nft.list", &json!({"port": 80})), rule);
        assert_eq!(world.value("nft.rule_exists", &json!({"port": 81})), json!(false));
    });
}

#[test]
fn groups_hold_processes_and_limits() {
    within(|world| {
        let name = format!("builtins-{}", std::process::id());
        let memory = json!({"subsystem": "memory", "name": name});
        world.value("cgroup.ensure", &memory);
        let mut child = std::process::Command::new("sleep").arg("600").spawn().expect("started");
        world.value("cgroup.task-add", &json!({"subsystem": "memory", "name": name, "pid": child.id()}));
        assert_eq!(world.value("cgroup.tasks", &memory), json!([child.id()]));
        let limit = json!({"name": name, "mem": 64 << 20, "swap": 32 << 20});
        let spec = json!({"mem": 64 << 20, "swap": 32 << 20});
        assert_eq!(world.value("cgroup.memory.spec", &limit), spec);
        world.value("cgroup.reset", &memory);
        let limits = world.value("cgroup.memory.spec", &json!({"name": name}));
        assert_eq!(limits, json!({"mem": 9_223_372_036_854_771_712i64, "swap": 0}));
        world.value("cgroup.remove", &memory);
        assert_eq!(world.failure("cgroup.tasks", &memory), (404, "cgroup does not exist".to_owned()));
        let listed = world.value("process.list", &json!({"pid": child.id()}));
        assert_eq!((&listed[0]["cmdline"], &listed[0]["name"]), (&json!("sleep 600"), &json!("sleep")));
        world.value("process.kill", &json!({"pid": child.id(), "signal": 9}));
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&child.wait().expect("ended")), Some(9));
        assert_eq!(world.failure("process.kill", &json!({})).1, "invalid PID");
    });
}

#[test]
fn disks_are_those_of_the_kernel() {
    within(|world| {
        let disks = world.value("disk.list", &json!({}));
        for disk in disks.as_array().expect("a list") {
            let name = disk["name"].as_str().expect("a name");
            let sectors = std::fs::read_to_string(format!("/sys/block/{name}/size")).expect("a size");
            let sectors: u64 = sectors.trim().parse().unwrap();
            assert_eq!(disk["size"], sectors * disk["blocksize"].as_u64().unwrap(), "{name}");
            assert!(matches!(disk["rota"].as_str(), Some("0" | "1")), "{disk}");
            assert!(disk["free"].is_array() && disk["table"].is_string(), "{disk}");
            assert_eq!(world.value("disk.getinfo", &json!({"disk": name, "part": ""}))["maj:min"], disk["maj:min"]);
        }
        assert_eq!(world.failure("disk.protect", &json!({})).1, "partuuid is required");
    });
}

#[test]
fn downloads_are_what_the_server_sends() {
    within(|world| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listens");
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("asked");
            let mut request = [0; 1024];
            let count = stream.read(&mut request).expect("a request");
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
                .expect("answered");
            String::from_utf8_lossy(&request[..count]).into_owned()
        });
        let arguments = json!({"url": format!("http://127.0.0.1:{port}/file"), "destination": "/tmp/file"});
        assert_eq!(world.value("web.download", &arguments), "/tmp/file");
        assert_eq!(std::fs::read_to_string("/tmp/file").unwrap(), "hello");
        assert!(server.join().unwrap().starts_with("GET /file "));
        let failed = world.failure("web.download", &arguments);
        assert_eq!(failed, (500, format!("Get \"http://127.0.0.1:{port}/file\": connection refused")));
    });
}

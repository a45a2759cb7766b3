//! Cases of containers: creating, finding, listing, and the verbs of their lives.

use serde_json::{Value, json};

use super::{Case, Scene};

pub(super) fn cases(scene: &Scene) -> Vec<Case> {
    let mut cases = creating(scene);
    cases.extend(creating_limits(scene));
    cases.extend(finding(scene));
    cases.extend(listing(scene));
    cases.extend(verbs(scene));
    cases
}

/// Creates with this member beside the image.
fn with(scene: &Scene, name: &'static str, member: &str, value: &Value, field: &'static str) -> Case {
    Case::new(name, "POST", &scene.containers).json(&json!({"image": scene.image, member: value})).names(field)
}

fn creating(scene: &Scene) -> Vec<Case> {
    let create = |name, body: &Value| Case::new(name, "POST", &scene.containers).json(body);
    let bare = |name, body: &[u8]| Case::new(name, "POST", &scene.containers).typed("application/json", body);
    let member = |name, member: &str, value: Value, field: &'static str| with(scene, name, member, &value, field);
    let image = &scene.image;
    let long = |length: usize| "x".repeat(length);
    vec![
        create("create: unknown member", &json!({"image": image, "imge": 1})).names("imge"),
        create("create: image is a number", &json!({"image": 1})).names("image"),
        create("create: image is null", &json!({"image": null})).names("image"),
        create("create: no image", &json!({"name": "nothing"})).names("image"),
        create("create: empty image", &json!({"image": ""})).names("image"),
        create("create: image with a space", &json!({"image": "busy box"})).names("image"),
        create("create: image that climbs", &json!({"image": "a/../../b"})).names("image"),
        create("create: image of 600 bytes", &json!({"image": long(600)})).names("image"),
        create("create: absent image", &json!({"image": "roadstead/absent:1"})).not_found(),
        create("create: absent digest", &json!({"image": format!("roadstead/absent@sha256:{}", "0".repeat(64))}))
            .not_found(),
        create("create: an array", &json!([image])).names("body"),
        create("create: a string", &json!("image")).names("body"),
        bare("create: member twice", format!(r#"{{"image":"{image}","image":"{image}"}}"#).as_bytes()).names("image"),
        bare("create: cut JSON", br#"{"image":"#).names("body"),
        bare("create: no body", b"").names("body"),
        bare("create: more than one value", format!(r#"{{"image":"{image}"}} {{}}"#).as_bytes()).names("body"),
        bare("create: JSON that is not UTF-8", b"{\"image\":\"\xff\xfe\"}").names("body"),
        bare("create: nested a hundred thousand deep", "[".repeat(100_000).as_bytes()).names("body"),
        bare(
            "create: nested deep in a member",
            format!(r#"{{"image":"{image}","labels":{}1{}}}"#, r#"{"a":"#.repeat(5_000), "}".repeat(5_000)).as_bytes(),
        ),
        Case::new("create: unknown query key", "POST", format!("{}?nope=1", scene.containers))
            .json(&json!({"image": image}))
            .names("nope"),
        member("create: name of 300 bytes", "name", json!(long(300)), "name"),
        member("create: name of one letter", "name", json!("a"), "name"),
        member("create: empty name", "name", json!(""), "name"),
        member("create: name with a slash", "name", json!("a/b"), "name"),
        member("create: name with a line feed", "name", json!("ab\ncd"), "name"),
        member("create: name with a letter beyond ASCII", "name", json!("käse"), "name"),
        member("create: name that looks like an option", "name", json!("--rm"), "name"),
        member("create: name with NUL", "name", json!("ab\u{0}cd"), "name"),
        create("create: name that is taken", &json!({"image": image, "name": scene.running})).taken(),
        create("create: name that is taken by a stopped one", &json!({"image": image, "name": scene.created})).taken(),
        member("create: command is a string", "command", json!("sh -c true"), "command"),
        member("create: command with NUL", "command", json!(["sh", "a\u{0}b"]), "command[1]"),
        member("create: env is a list", "env", json!(["A=B"]), "env"),
        member("create: env name with =", "env", json!({"A=B": "c"}), "env"),
        member("create: env value is a number", "env", json!({"A": 1}), "env.A"),
        member("create: env value with NUL", "env", json!({"A": "b\u{0}"}), "env.A"),
        member("create: label key with a space", "labels", json!({"a b": "c"}), "labels"),
        member("create: label value is null", "labels", json!({"a": null}), "labels.a"),
        member("create: relative directory", "working_directory", json!("tmp"), "working_directory"),
        member("create: user of three parts", "user", json!("a:b:c"), "user"),
        member("create: host name with a space", "hostname", json!("a b"), "hostname"),
        member("create: host name of 254 bytes", "hostname", json!(long(254)), "hostname"),
        member("create: tty is a string", "tty", json!("yes"), "tty"),
        member("create: unknown stop signal", "stop_signal", json!("SIGNOPE"), "stop_signal"),
        member("create: negative stop time", "stop_timeout_seconds", json!(-1), "stop_timeout_seconds"),
        member(
            "create: kernel capability with a space",
            "capabilities_add",
            json!(["SYS ADMIN"]),
            "capabilities_add[0]",
        ),
        member("create: health check without command", "health_check", json!({"command": []}), "health_check.command"),
        member(
            "create: health check without pause",
            "health_check",
            json!({"command": ["true"], "interval_seconds": 0}),
            "health_check.interval_seconds",
        ),
        member("create: unknown restart policy", "restart", json!({"policy": "sometimes"}), "restart.policy"),
    ]
}

fn creating_limits(scene: &Scene) -> Vec<Case> {
    let member = |name, member: &str, value: Value, field: &'static str| with(scene, name, member, &value, field);
    let limit = |name, limits: Value, field| member(name, "limits", limits, field);
    let mount = |name, mount: Value, field| member(name, "mounts", json!([mount]), field);
    let port = |name, port: Value, field| member(name, "ports", json!([port]), field);
    vec![
        limit("limits: unknown member", json!({"memry": 1}), "limits.memry"),
        limit("limits: memory of a byte", json!({"memory_bytes": 1}), "limits.memory_bytes"),
        limit("limits: negative memory", json!({"memory_bytes": -1}), "limits.memory_bytes"),
        limit("limits: memory in words", json!({"memory_bytes": "64m"}), "limits.memory_bytes"),
        limit("limits: half a byte", json!({"memory_bytes": 67_108_864.5}), "limits.memory_bytes"),
        limit("limits: more memory than numbers", json!({"memory_bytes": u64::MAX}), "limits.memory_bytes"),
        limit("limits: swap alone", json!({"swap_bytes": 1_048_576}), "limits.swap_bytes"),
        limit("limits: no cpu", json!({"cpus": 0}), "limits.cpus"),
        limit("limits: negative cpu", json!({"cpus": -1}), "limits.cpus"),
        limit("limits: too many cpus", json!({"cpus": 1e300}), "limits.cpus"),
        limit("limits: too few shares", json!({"cpu_shares": 1}), "limits.cpu_shares"),
        limit("limits: cores backwards", json!({"cpu_set": "2-1"}), "limits.cpu_set"),
        limit("limits: no process", json!({"pids": 0}), "limits.pids"),
        member("limits: a list", "limits", json!([67_108_864]), "limits"),
        member("dns: a list", "dns", json!([["192.0.2.1"]]), "dns"),
        member("health check: a list", "health_check", json!([["true"]]), "health_check"),
        mount("mounts: a list", json!(["tmpfs", null, "/x", false, null]), "mounts[0]"),
        port("ports: a list", json!([80, null, null, "tcp"]), "ports[0]"),
        mount("mounts: bind without source", json!({"type": "bind", "target": "/x"}), "mounts[0].source"),
        mount("mounts: relative target", json!({"type": "tmpfs", "target": "x"}), "mounts[0].target"),
        mount("mounts: no target", json!({"type": "tmpfs"}), "mounts[0].target"),
        mount("mounts: unknown type", json!({"type": "cloud", "target": "/x"}), "mounts[0].type"),
        mount(
            "mounts: tmpfs with source",
            json!({"type": "tmpfs", "source": "/x", "target": "/x"}),
            "mounts[0].source",
        ),
        mount("mounts: relative source", json!({"type": "bind", "source": "../x", "target": "/x"}), "mounts[0].source"),
        mount("mounts: bad volume", json!({"type": "volume", "source": "../x", "target": "/x"}), "mounts[0].source"),
        mount(
            "mounts: size of a bind",
            json!({"type": "bind", "source": "/x", "target": "/x", "size_bytes": 1}),
            "mounts[0].size_bytes",
        ),
        mount(
            "mounts: unknown member",
            json!({"type": "tmpfs", "target": "/x", "readonly": true}),
            "mounts[0].readonly",
        ),
        port("ports: container port 0", json!({"container_port": 0}), "ports[0].container_port"),
        port("ports: host port 0", json!({"container_port": 80, "host_port": 0}), "ports[0].host_port"),
        port("ports: port 65536", json!({"container_port": 65_536}), "ports[0].container_port"),
        port("ports: unknown protocol", json!({"container_port": 80, "protocol": "icmp"}), "ports[0].protocol"),
        port("ports: host name", json!({"container_port": 80, "host_address": "localhost"}), "ports[0].host_address"),
        member("networks: bad name", "networks", json!([{"network": "a/b"}]), "networks[0].network"),
        member(
            "networks: bad address",
            "networks",
            json!([{"network": "ab", "address": "10.0.0"}]),
            "networks[0].address",
        ),
        member("dns: server by name", "dns", json!({"servers": ["ns.example"]}), "dns.servers[0]"),
        member("dns: bad domain", "dns", json!({"search": ["a..b"]}), "dns.search[0]"),
    ]
}

fn finding(scene: &Scene) -> Vec<Case> {
    let get = |name, target: &str| Case::new(name, "GET", scene.of(target, ""));
    vec![
        get("find: absent name", "absent").not_found(),
        get("find: absent id", &"0".repeat(64)).not_found(),
        get("find: path that climbs", "..%2f..%2finfo"),
        get("find: two dots", "%2e%2e"),
        get("find: NUL", "a%00b"),
        get("find: not UTF-8", "%ff%fe"),
        get("find: space", "a%20b"),
        get("find: 300 bytes", &"x".repeat(300)),
        get("find: query in the name", &format!("{}%3fall=1", scene.running)),
        get("find: unknown query key", &format!("{}?size=1", scene.running)).names("size"),
        get("find: broken percent", "%zz"),
        Case::new("find: empty segment", "GET", scene.of("", "/logs")).not_found(),
        Case::new("find: dots in the open", "GET", scene.of("..", "/networks")).not_found(),
        Case::new("find: absent verb", "POST", scene.of(&scene.running, "/explode")).not_found(),
        Case::new("find: absent node", "GET", "/v1/nodes/absent/containers").not_found(),
        Case::new("find: absent node, create", "POST", "/v1/nodes/absent/containers")
            .json(&json!({"image": scene.image}))
            .not_found(),
        Case::new("find: node that climbs", "GET", "/v1/nodes/..%2fx/containers"),
    ]
}

fn listing(scene: &Scene) -> Vec<Case> {
    let list = |name, query: &str, field| Case::new(name, "GET", format!("{}?{query}", scene.containers)).names(field);
    vec![
        list("list: unknown query key", "colour=red", "colour"),
        list("list: query key of another case", "State=running", "State"),
        list("list: unknown state", "state=flying", "state"),
        list("list: bad name", "name=a%2fb", "name"),
        list("list: empty label", "label=", "label"),
        list("list: no item", "limit=0", "limit"),
        list("list: negative limit", "limit=-1", "limit"),
        list("list: limit in words", "limit=ten", "limit"),
        list("list: limit beyond all numbers", "limit=99999999999999999999", "limit"),
        list("list: limit twice", "limit=1&limit=2", "limit"),
        list("list: made-up cursor", "cursor=bm9wZQ", "cursor"),
        list("list: unknown field", "fields=id,colour", "fields"),
        list("list: value that is not UTF-8", "name=%ff", "query"),
        Case::new("list all: unknown query key", "GET", "/v1/containers?colour=red").names("colour"),
        Case::new("list all: unknown state", "GET", "/v1/containers?state=flying").names("state"),
        Case::new("list nodes: unknown query key", "GET", "/v1/nodes?colour=red").names("colour"),
    ]
}

fn verbs(scene: &Scene) -> Vec<Case> {
    let post = |name, container: &str, verb: &str| Case::new(name, "POST", scene.of(container, verb));
    let (running, created, frozen) = (&scene.running, &scene.created, &scene.frozen);
    vec![
        post("start: absent", "absent", "/start").not_found(),
        post("start: frozen", frozen, "/start").conflict(),
        post("start: unknown member", running, "/start").json(&json!({"checkpoint": "x"})).names("checkpoint"),
        post("start: unknown query key", created, "/start?now=1").names("now"),
        post("stop: absent", "absent", "/stop").not_found(),
        post("stop: unknown member", running, "/stop").json(&json!({"timeout": 1})).names("timeout"),
        post("stop: too long", running, "/stop").json(&json!({"timeout_seconds": 3601})).names("timeout_seconds"),
        post("stop: negative", running, "/stop").json(&json!({"timeout_seconds": -1})).names("timeout_seconds"),
        post("stop: in words", running, "/stop").json(&json!({"timeout_seconds": "1"})).names("timeout_seconds"),
        post("restart: absent", "absent", "/restart").not_found(),
        post("restart: too long", running, "/restart").json(&json!({"timeout_seconds": 3601})).names("timeout_seconds"),
        post("kill: absent", "absent", "/kill").json(&json!({"signal": "SIGTERM"})).not_found(),
        post("kill: created", created, "/kill").json(&json!({"signal": "SIGTERM"})).conflict(),
        post("kill: unknown signal", running, "/kill").json(&json!({"signal": "SIGNOPE"})).names("signal"),
        post("kill: signal 0", running, "/kill").json(&json!({"signal": 0})).names("signal"),
        post("kill: signal 65", running, "/kill").json(&json!({"signal": 65})).names("signal"),
        post("kill: signal as object", running, "/kill").json(&json!({"signal": {}})).names("signal"),
        post("kill: empty signal", running, "/kill").json(&json!({"signal": ""})).names("signal"),
        post("freeze: absent", "absent", "/freeze").not_found(),
        post("freeze: created", created, "/freeze").conflict(),
        post("unfreeze: absent", "absent", "/unfreeze").not_found(),
        post("unfreeze: created", created, "/unfreeze").conflict(),
        post("rename: absent", "absent", "/rename").json(&json!({"name": "other"})).not_found(),
        post("rename: taken", running, "/rename").json(&json!({"name": created})).taken(),
        post("rename: bad name", running, "/rename").json(&json!({"name": "../x"})).names("name"),
        post("rename: 300 bytes", running, "/rename").json(&json!({"name": "x".repeat(300)})).names("name"),
        post("rename: no name", running, "/rename").json(&json!({})).names("name"),
        post("rename: unknown member", running, "/rename").json(&json!({"name": "ok", "to": "x"})).names("to"),
        post("update: absent", "absent", "/update")
            .json(&json!({"limits": {"pids": 100}}))
            .not_found()
            .unsupported_on("podman"),
        post("update: too little memory", running, "/update")
            .json(&json!({"limits": {"memory_bytes": 1}}))
            .names("limits.memory_bytes"),
        post("update: unknown member", running, "/update").json(&json!({"memory": 1})).names("memory"),
        post("update: unknown limit", running, "/update")
            .json(&json!({"limits": {"memory": 1}}))
            .names("limits.memory"),
        post("update: a policy in a list", running, "/update").json(&json!({"restart": ["always"]})).names("restart"),
        post("commit: absent", "absent", "/commit").json(&json!({"image": "roadstead/x:1"})).not_found(),
        post("commit: bad reference", running, "/commit").json(&json!({"image": "X Y"})).names("image"),
        post("commit: by digest", running, "/commit")
            .json(&json!({"image": format!("x@sha256:{}", "0".repeat(64))}))
            .names("image"),
        post("commit: no reference", running, "/commit").json(&json!({})).names("image"),
        post("wait: absent", "absent", "/wait").not_found(),
        Case::new("delete: absent", "DELETE", scene.of("absent", "")).not_found(),
        Case::new("delete: running", "DELETE", scene.of(running, "")).conflict(),
        Case::new("delete: frozen", "DELETE", scene.of(frozen, "")).conflict(),
        Case::new("delete: force in words", "DELETE", scene.of(running, "?force=perhaps")).names("force"),
        Case::new("delete: unknown query key", "DELETE", scene.of(created, "?forse=true")).names("forse"),
        Case::new("delete: force twice", "DELETE", scene.of(created, "?force=true&force=false")).names("force"),
    ]
}

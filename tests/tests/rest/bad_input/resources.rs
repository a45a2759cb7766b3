//! Cases of images, networks, volumes and nodes.

use serde_json::{Value, json};

use super::{Case, SECRET, Scene, tar};

pub(super) fn cases(scene: &Scene) -> Vec<Case> {
    let mut cases = images(scene);
    cases.extend(networks(scene));
    cases.extend(volumes(scene));
    cases.extend(nodes(scene));
    cases
}

fn images(scene: &Scene) -> Vec<Case> {
    let at = |rest: &str| format!("{}/images{rest}", scene.node);
    let image_at = |query: &str| format!("{}/image{query}", scene.node);
    let pull = |name, body: Value| Case::new(name, "POST", at("/pull")).json(&body);
    let archive = |name, rest: &str, body: &[u8]| Case::new(name, "POST", at(rest)).typed("application/x-tar", body);
    vec![
        Case::new("images: absent", "GET", image_at("?reference=roadstead/absent:1")).not_found(),
        Case::new("images: no reference", "GET", image_at("")).names("reference"),
        Case::new("images: reference twice", "GET", image_at("?reference=ab&reference=cd")).names("reference"),
        Case::new("images: unknown query key", "GET", at("?dangling=1")).names("dangling"),
        Case::new("images: bad reference", "GET", image_at("?reference=a%20b")).names("reference"),
        Case::new("images: reference with NUL", "GET", image_at("?reference=a%00b")).names("reference"),
        pull("pull: no reference", json!({})).names("reference"),
        pull("pull: bad reference", json!({"reference": "a b"})).names("reference"),
        pull("pull: unknown member", json!({"reference": "ab", "tag": "x"})).names("tag"),
        pull("pull: reference is a list", json!({"reference": ["ab"]})).names("reference"),
        pull("pull: bad platform", json!({"reference": "ab", "platform": "linux amd64"})).names("platform"),
        pull("pull: password without user", json!({"reference": "ab", "credentials": {"password": SECRET}}))
            .names("credentials.username"),
        pull(
            "pull: unknown member beside the password",
            json!({"reference": "ab", "credentials": {"username": "me", "password": SECRET, "realm": 1}}),
        )
        .names("credentials.realm"),
        archive("import: no reference", "/import", &tar("file", b"x")).names("reference"),
        archive("import: bad reference", "/import?reference=A%20B", &tar("file", b"x")).names("reference"),
        archive("import: by digest", "/import?reference=a@sha256:00", &tar("file", b"x")).names("reference"),
        archive("import: no archive", "/import?reference=roadstead/broken:1", &b"This is no archive. ".repeat(100)),
        archive("load: no archive", "/load", &b"This is no archive. ".repeat(100)),
        archive("load: an archive that is no image", "/load", &tar("file", b"x")),
        Case::new("load: as text", "POST", at("/load")).typed("text/plain", "x").gives(415, "unsupported_media_type"),
        Case::new("save: absent", "GET", at("/save?reference=roadstead/absent:1")).not_found(),
        Case::new("save: nothing", "GET", at("/save")).names("reference"),
        Case::new("tag: absent", "POST", at("/tag"))
            .json(&json!({"reference": "roadstead/absent:1", "new_reference": "roadstead/b:1"}))
            .not_found(),
        Case::new("tag: bad reference", "POST", at("/tag"))
            .json(&json!({"reference": scene.image, "new_reference": "A B"}))
            .names("new_reference"),
        Case::new("tag: no new reference", "POST", at("/tag"))
            .json(&json!({"reference": scene.image}))
            .names("new_reference"),
        Case::new("images: delete an absent one", "DELETE", image_at("?reference=roadstead/absent:1")).not_found(),
        Case::new("images: delete a used one", "DELETE", image_at(&format!("?reference={}", scene.image))).conflict(),
    ]
}

fn networks(scene: &Scene) -> Vec<Case> {
    let path = format!("{}/networks", scene.node);
    let create = |name, body: Value| Case::new(name, "POST", &path).json(&body);
    let on = |name, method, network: &str| Case::new(name, method, format!("{path}/{network}"));
    let subnet = |name, subnet: Value, field| create(name, json!({"name": "rt-net", "subnets": [subnet]})).names(field);
    vec![
        create("networks: no name", json!({})).names("name"),
        create("networks: bad name", json!({"name": "a/b"})).names("name"),
        create("networks: name of 300 bytes", json!({"name": "x".repeat(300)})).names("name"),
        create("networks: taken", json!({"name": scene.network})).taken(),
        create("networks: unknown member", json!({"name": "rt-net", "subnet": "10.0.0.0/24"})).names("subnet"),
        create("networks: bad driver", json!({"name": "rt-net", "driver": "a b"})).names("driver"),
        create("networks: internal in words", json!({"name": "rt-net", "internal": "yes"})).names("internal"),
        create("networks: bad label", json!({"name": "rt-net", "labels": {"a b": ""}})).names("labels"),
        subnet("networks: range without length", json!({"cidr": "10.0.0.0"}), "subnets[0].cidr"),
        subnet("networks: range too long", json!({"cidr": "10.0.0.0/33"}), "subnets[0].cidr"),
        subnet("networks: range in words", json!({"cidr": "private"}), "subnets[0].cidr"),
        subnet(
            "networks: gateway of another family",
            json!({"cidr": "10.254.0.0/24", "gateway": "fd00::1"}),
            "subnets[0].gateway",
        ),
        subnet(
            "networks: gateway by name",
            json!({"cidr": "10.254.0.0/24", "gateway": "router"}),
            "subnets[0].gateway",
        ),
        on("networks: absent", "GET", "absent").not_found(),
        on("networks: bad name to look for", "GET", "a%20b"),
        on("networks: delete an absent one", "DELETE", "absent").not_found(),
        on("networks: delete a used one", "DELETE", &scene.network).conflict(),
    ]
}

fn volumes(scene: &Scene) -> Vec<Case> {
    let path = format!("{}/volumes", scene.node);
    let create = |name, body: Value| Case::new(name, "POST", &path).json(&body);
    let on = |name, method, volume: &str| Case::new(name, method, format!("{path}/{volume}"));
    vec![
        create("volumes: no name", json!({})).names("name"),
        create("volumes: name of one letter", json!({"name": "a"})).names("name"),
        create("volumes: name that climbs", json!({"name": "../../etc"})).names("name"),
        create("volumes: taken", json!({"name": scene.volume})).taken(),
        create("volumes: unknown member", json!({"name": "rt-vol", "size": 1})).names("size"),
        create("volumes: bad driver", json!({"name": "rt-vol", "driver": "a b"})).names("driver"),
        create("volumes: option of another type", json!({"name": "rt-vol", "options": {"o": 1}})).names("options.o"),
        on("volumes: absent", "GET", "absent").not_found(),
        on("volumes: delete an absent one", "DELETE", "absent").not_found(),
        on("volumes: delete a used one", "DELETE", &scene.volume).conflict(),
        on("volumes: force in words", "DELETE", &format!("{}?force=perhaps", scene.volume)).names("force"),
    ]
}

fn nodes(scene: &Scene) -> Vec<Case> {
    let add = |name, body: Value| Case::new(name, "POST", "/v1/nodes").json(&body);
    let taken = scene.node.trim_start_matches("/v1/nodes/");
    vec![
        add("nodes: no URI", json!({"name": "new"})).names("uri"),
        add("nodes: no name", json!({"uri": "memory:"})).names("name"),
        add("nodes: bad name", json!({"name": "a/b", "uri": "memory:"})).names("name"),
        add("nodes: name of 64 bytes", json!({"name": "x".repeat(64), "uri": "memory:"})).names("name"),
        add("nodes: taken", json!({"name": taken, "uri": "memory:"})).taken(),
        add("nodes: unknown member", json!({"name": "new", "uri": "memory:", "colour": "red"})).names("colour"),
        add("nodes: no scheme", json!({"name": "new", "uri": "/run/docker.sock"})).names("uri"),
        add("nodes: unknown scheme", json!({"name": "new", "uri": "ftp://host"})).names("uri"),
        add("nodes: unknown parameter", json!({"name": "new", "uri": "docker+unix:///x?colour=red"})).names("uri"),
        add("nodes: bad port", json!({"name": "new", "uri": format!("docker+tcp://me:{SECRET}@host:99999")}))
            .names("uri"),
        add("nodes: unknown scheme with a password", json!({"name": "new", "uri": format!("ftp://me:{SECRET}@host")}))
            .names("uri"),
        Case::new("nodes: absent", "GET", "/v1/nodes/absent").not_found(),
        Case::new("nodes: capabilities of an absent one", "GET", "/v1/nodes/absent/capabilities").not_found(),
        Case::new("nodes: delete an absent one", "DELETE", "/v1/nodes/absent").not_found(),
    ]
}

//! What of a new container needs a look or a word inside, before it is started for the first time.

use std::collections::BTreeSet;

use roadstead_core::{ContainerSpec, Error, ErrorKind, Result};
use serde_json::json;

use super::create::change;
use super::instance::Instance;
use super::lifecycle::patient;
use super::request::Request;
use super::shared::Lxd;
use super::spec::{self, Plan, RAW, RawLxc};

/// A file that is read here is never longer than this.
const FILE_MAX: usize = 4 * 1024 * 1024;

/// Does what is left to do of `spec`.
pub(super) async fn finish(lxd: &Lxd, name: &str, spec: &ContainerSpec, plan: &Plan) -> Result<()> {
    if let Some(user) = spec.user.as_deref().filter(|user| spec::numbers(user).is_none() || !user.contains(':')) {
        set_user(lxd, name, user).await?;
    }
    if spec.read_only_root {
        // The root is mounted before the places for mounts are made in it.
        for directory in mount_points(spec) {
            make_directory(lxd, name, &directory).await?;
        }
    }
    resolve(lxd, name, spec, plan).await
}

/// A user by name, or one whose group only the image knows.
async fn set_user(lxd: &Lxd, name: &str, user: &str) -> Result<()> {
    let users = read(lxd, name, "/etc/passwd").await?.unwrap_or_default();
    let groups = read(lxd, name, "/etc/group").await?.unwrap_or_default();
    let (uid, gid) = find_user(user, &users, &groups)?;
    // As it is now: its addresses may be others than planned.
    let config = Instance::read(lxd, name).await?.config;
    let mut raw = RawLxc::parse(config.get(RAW).map(String::as_str).unwrap_or_default());
    spec::set_user(&mut raw, uid, gid);
    change(lxd, name, &json!({"config": {RAW: raw.to_string()}})).await
}

pub(super) fn find_user(user: &str, users: &str, groups: &str) -> Result<(u32, u32)> {
    let (user, group) = user.split_once(':').map_or((user, None), |(user, group)| (user, Some(group)));
    let line = |text: &str, name: &str, column: usize| {
        text.lines()
            .map(|line| line.split(':').map(str::to_owned).collect::<Vec<_>>())
            .find(|fields| fields.get(column).is_some_and(|field| field == name))
    };
    let number = |fields: &[String], column: usize| fields.get(column).and_then(|field| field.parse::<u32>().ok());
    let missing = |what: &str, name: &str| Error::invalid("user", format!("the image has no {what} {name}"));
    let (uid, own) = match user.parse::<u32>() {
        Ok(uid) => (uid, line(users, user, 2).and_then(|fields| number(&fields, 3))),
        Err(_) => {
            let fields = line(users, user, 0).ok_or_else(|| missing("user", user))?;
            (number(&fields, 2).ok_or_else(|| missing("user", user))?, number(&fields, 3))
        }
    };
    let gid = match group {
        None => own.unwrap_or(0),
        Some(group) => match group.parse::<u32>() {
            Ok(gid) => gid,
            Err(_) => {
                line(groups, group, 0).and_then(|fields| number(&fields, 2)).ok_or_else(|| missing("group", group))?
            }
        },
    };
    Ok((uid, gid))
}

/// Every directory on the way to a mount, those above first.
fn mount_points(spec: &ContainerSpec) -> BTreeSet<String> {
    let mut directories = BTreeSet::new();
    for mount in &spec.mounts {
        let mut path = String::new();
        for part in mount.target.split('/').filter(|part| !part.is_empty()) {
            path.push('/');
            path.push_str(part);
            directories.insert(path.clone());
        }
    }
    directories
}

/// Name servers and hosts. A container without a program that asks the network for them gets the network's own server.
async fn resolve(lxd: &Lxd, name: &str, spec: &ContainerSpec, plan: &Plan) -> Result<()> {
    let dns = &spec.dns;
    let raw = RawLxc::parse(plan.config.get(RAW).map(String::as_str).unwrap_or_default());
    let gateway = raw.get("lxc.net.0.ipv4.gateway");
    let asked = !dns.servers.is_empty() || !dns.search.is_empty() || !dns.options.is_empty();
    if asked || gateway.is_some() {
        let present = read(lxd, name, "/etc/resolv.conf").await?.unwrap_or_default();
        if asked || !present.lines().any(|line| line.trim_start().starts_with("nameserver")) {
            let mut servers: Vec<_> = dns.servers.iter().map(ToString::to_string).collect();
            if servers.is_empty() {
                servers.extend(gateway.map(str::to_owned));
            }
            let mut text: String = servers.iter().map(|server| format!("nameserver {server}\n")).collect();
            for (word, values) in [("search", &dns.search), ("options", &dns.options)] {
                if !values.is_empty() {
                    text.push_str(&format!("{word} {}\n", values.join(" ")));
                }
            }
            write(lxd, name, "/etc/resolv.conf", text).await?;
        }
    }
    if !dns.hosts.is_empty() {
        let mut text = read(lxd, name, "/etc/hosts").await?.unwrap_or_else(|| "127.0.0.1\tlocalhost\n".to_owned());
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text.extend(dns.hosts.iter().map(|(host, address)| format!("{address}\t{host}\n")));
        write(lxd, name, "/etc/hosts", text).await?;
    }
    Ok(())
}

/// The text of a file; nothing when there is none.
async fn read(lxd: &Lxd, name: &str, path: &str) -> Result<Option<String>> {
    let request = || Request::get(&["instances", name, "files"]).query("path", path).bytes(&lxd.client);
    match patient(request).await {
        Ok(bytes) => {
            Ok(Some(String::from_utf8_lossy(bytes.get(..bytes.len().min(FILE_MAX)).unwrap_or_default()).into()))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Puts a file in place of whatever is there; a link there may go to where nothing is before the start.
async fn write(lxd: &Lxd, name: &str, path: &str, text: String) -> Result<()> {
    let files = ["instances", name, "files"];
    match patient(|| Request::delete(&files).query("path", path).done(&lxd.client)).await {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    make_directory(lxd, name, "/etc").await?;
    patient(|| {
        let request = Request::post(&files).query("path", path).tell("uid", "0").tell("gid", "0").tell("mode", "0644");
        request.tell("type", "file").bytes_body(text.clone()).done(&lxd.client)
    })
    .await
}

/// Makes a directory unless it is there.
async fn make_directory(lxd: &Lxd, name: &str, path: &str) -> Result<()> {
    let files = ["instances", name, "files"];
    if patient(|| Request::get(&files).query("path", path).bytes(&lxd.client)).await.is_ok() {
        return Ok(());
    }
    patient(|| {
        let request = Request::post(&files).query("path", path).tell("uid", "0").tell("gid", "0").tell("mode", "0755");
        request.tell("type", "directory").done(&lxd.client)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name_and_number() {
        let users = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65533:nobody:/:/bin/false\nbroken\n";
        let groups = "root:x:0:\nnogroup:x:65534:\n";
        for (user, expected) in [
            ("root", (0, 0)),
            ("nobody", (65534, 65533)),
            ("nobody:nogroup", (65534, 65534)),
            ("65534", (65534, 65533)),
            ("7", (7, 0)),
            ("7:nogroup", (7, 65534)),
            ("root:9", (0, 9)),
        ] {
            assert_eq!(find_user(user, users, groups).unwrap(), expected, "{user}");
        }
        for user in ["nemo", "root:nemo", "broken"] {
            assert_eq!(find_user(user, users, groups).unwrap_err().field(), Some("user"), "{user}");
        }
    }

    #[test]
    fn places_of_mounts_come_after_those_above() {
        let mut spec = ContainerSpec::new("i");
        spec.mounts = serde_json::from_value(serde_json::json!([{"type": "tmpfs", "target": "/a//b/"}])).unwrap();
        assert_eq!(mount_points(&spec).into_iter().collect::<Vec<_>>(), ["/a", "/a/b"]);
    }
}

//! Users by name: the server takes numbers only, which stand in files of the container.

use bytes::Bytes;
use roadstead_core::{Error, ErrorKind, Result};

use super::super::request::Request;
use super::super::shared::Lxd;

const USERS: &str = "/etc/passwd";
const GROUPS: &str = "/etc/group";

/// Whose process it will be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::engines::lxd) struct User {
    pub(in crate::engines::lxd) uid: u32,
    pub(in crate::engines::lxd) gid: u32,
    /// Where the container says that they are at home.
    pub(in crate::engines::lxd) home: Option<String>,
}

/// The numbers of `user`, `uid`, `user:group` or `uid:gid`.
pub(super) async fn resolve(lxd: &Lxd, id: &str, wanted: &str) -> Result<User> {
    let (user, group) = split(wanted);
    if let (Ok(uid), Some(Ok(gid))) = (user.parse(), group.map(str::parse)) {
        return Ok(User { uid, gid, home: None });
    }
    let users = file(lxd, id, USERS).await?;
    let groups = match group {
        Some(name) if name.parse::<u32>().is_err() => file(lxd, id, GROUPS).await?,
        _ => Bytes::new(),
    };
    find(wanted, &String::from_utf8_lossy(&users), &String::from_utf8_lossy(&groups))
}

fn split(wanted: &str) -> (&str, Option<&str>) {
    match wanted.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (wanted, None),
    }
}

/// A file of the container; empty when it has none.
async fn file(lxd: &Lxd, id: &str, path: &str) -> Result<Bytes> {
    match Request::get(&["instances", id, "files"]).query("path", path).bytes(&lxd.client).await {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Bytes::new()),
        result => result,
    }
}

/// Looks `wanted` up. A number that nobody has is as good as any; a name has to be there.
pub(in crate::engines::lxd) fn find(wanted: &str, users: &str, groups: &str) -> Result<User> {
    let (user, group) = split(wanted);
    let entries = || users.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let named = entries().find(|fields| fields.first() == Some(&user));
    let entry = match (&named, user.parse::<u32>()) {
        (None, Ok(_)) => entries().find(|fields| fields.get(2) == Some(&user)),
        _ => named,
    };
    let number = |index: usize| entry.as_ref().and_then(|fields| fields.get(index)?.parse().ok());
    let unknown = |what: &str, name: &str| Error::invalid("user", format!("the container has no {what} {name:?}"));
    let uid = match number(2).or_else(|| user.parse().ok()) {
        Some(uid) => uid,
        None => return Err(unknown("user", user)),
    };
    let gid = match group {
        None => number(3).unwrap_or(0),
        Some(name) => {
            let entry = groups.lines().map(|line| line.split(':').collect::<Vec<_>>());
            let found =
                entry.filter(|fields| fields.first() == Some(&name)).find_map(|fields| fields.get(2)?.parse().ok());
            found.or_else(|| name.parse().ok()).ok_or_else(|| unknown("group", name))?
        }
    };
    let home = entry.as_ref().and_then(|fields| fields.get(5)).filter(|home| home.starts_with('/'));
    Ok(User { uid, gid, home: home.map(|home| (*home).to_owned()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/sh\n# odd line\nweb:x:33:34::/srv/web:/bin/false\n7:x:70:71::/seven:\n";
    const GROUP: &str = "root:x:0:\nstaff:x:50:web\n";

    #[test]
    fn users_and_groups() {
        let found = |wanted: &str| find(wanted, PASSWD, GROUP).map(|user| (user.uid, user.gid, user.home));
        let at = |home: &str| Some(home.to_owned());
        assert_eq!(found("root").unwrap(), (0, 0, at("/root")));
        assert_eq!(found("web").unwrap(), (33, 34, at("/srv/web")));
        assert_eq!(found("33").unwrap(), (33, 34, at("/srv/web")));
        assert_eq!(found("web:staff").unwrap(), (33, 50, at("/srv/web")));
        assert_eq!(found("web:5").unwrap(), (33, 5, at("/srv/web")));
        // A name of digits is a name first, as chown has it.
        assert_eq!(found("7").unwrap(), (70, 71, at("/seven")));
        assert_eq!(found("1234").unwrap(), (1234, 0, None));
        for bad in ["nobody", "web:nogroup"] {
            assert_eq!(found(bad).unwrap_err().field(), Some("user"));
        }
        assert_eq!(find("5", "", "").unwrap().gid, 0);
    }
}

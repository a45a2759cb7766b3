//! Which groups are those of containers, by the names that engines give them.
//!
//! | engine | group |
//! |---|---|
//! | Docker | `/docker/ID`, `docker-ID.scope` |
//! | Podman | `libpod-ID`, `libpod-ID.scope`; `libpod-conmon-ID.scope` is that of its monitor |
//! | LXD, Incus | `lxc.payload.NAME`, or with `-N` after it where another engine had the name first |
//!
//! An id has 64 digits and is nobody else's; a name may be that of a container of several engines.

/// What a group says of whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GroupName {
    /// The container with this id.
    Id(String),
    /// A container of this name, or of the part of it before a number at its end: `lxc.payload.a-1` is of `a-1` or of `a`.
    Name(String),
}

const ID_DIGITS: usize = 64;
const PAYLOAD: &str = "lxc.payload.";

impl GroupName {
    /// What one part of a path says; nothing for what is of no container.
    fn of(part: &str) -> Option<Self> {
        if part.len() > PAYLOAD.len() && part.starts_with(PAYLOAD) {
            return Some(GroupName::Name(part.to_owned()));
        }
        let part = part.strip_suffix(".scope").unwrap_or(part);
        let (prefix, id) = part.split_at_checked(part.len().checked_sub(ID_DIGITS)?)?;
        let is_id = id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let is_theirs = prefix.is_empty() || (prefix.ends_with('-') && !prefix.contains("conmon"));
        (is_id && is_theirs).then(|| GroupName::Id(id.to_owned()))
    }

    /// Whether this may be the group that an engine calls so.
    pub(super) fn may_be(&self, name: &str) -> bool {
        let GroupName::Name(own) = self else { return false };
        let number = own.strip_prefix(name).and_then(|rest| rest.strip_prefix('-'));
        own == name
            || number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
    }
}

/// The containers that a process with this group path is in, the outermost first: each with the part of the path that is its own.
pub(super) fn containers(path: &str) -> impl Iterator<Item = (&str, GroupName)> {
    let ends = path.match_indices('/').map(|(at, _)| at).skip(1).chain([path.len()]);
    ends.filter_map(|end| {
        let own = path.get(..end)?;
        let name = GroupName::of(own.rsplit('/').next()?)?;
        Some((own, name))
    })
}

/// Whether a path names a container.
pub(super) fn is_of_container(path: &[u8]) -> bool {
    std::str::from_utf8(path).is_ok_and(|path| containers(path).next().is_some())
}

/// Whether a process in group `path` is in the group `own`.
pub(super) fn is_within(path: &str, own: &str) -> bool {
    path.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "497e0b6d1af68ae7d31efc268d0f0ffae078f2eca38ca977c54236f559938bfc";

    fn found(path: &str) -> Vec<(String, GroupName)> {
        containers(path).map(|(own, name)| (own.to_owned(), name)).collect()
    }

    #[test]
    fn every_engine_s_groups_are_known() {
        let id = || GroupName::Id(ID.to_owned());
        let name = |name: &str| GroupName::Name(name.to_owned());
        for (path, own, expected) in [
            (format!("/docker/{ID}"), format!("/docker/{ID}"), id()),
            (format!("/docker/{ID}/init.scope"), format!("/docker/{ID}"), id()),
            (format!("/system.slice/docker-{ID}.scope"), format!("/system.slice/docker-{ID}.scope"), id()),
            (format!("/libpod_parent/libpod-{ID}"), format!("/libpod_parent/libpod-{ID}"), id()),
            (format!("/machine.slice/libpod-{ID}.scope/container"), format!("/machine.slice/libpod-{ID}.scope"), id()),
            ("/lxc.payload.web".to_owned(), "/lxc.payload.web".to_owned(), name("lxc.payload.web")),
            ("/x/lxc.payload.p_web-1/a".to_owned(), "/x/lxc.payload.p_web-1".to_owned(), name("lxc.payload.p_web-1")),
        ] {
            assert_eq!(found(&path), [(own, expected)], "{path}");
        }
        for nobody in [
            "/".to_owned(),
            String::new(),
            "/user.slice".to_owned(),
            format!("/machine.slice/libpod-conmon-{ID}.scope"),
            "/lxc.monitor.web".to_owned(),
            "/lxc.payload.".to_owned(),
            format!("/docker/{}", ID.replace('4', "x")),
            format!("/docker/x{ID}"),
            format!("/docker/{}", &ID[1..]),
            "/\u{e9}".repeat(40),
        ] {
            assert_eq!(found(&nobody), [], "{nobody}");
        }
    }

    #[test]
    fn a_container_in_a_container_is_in_both() {
        let path = format!("/lxc.payload.a/docker/{ID}/x");
        let owns: Vec<_> = found(&path).into_iter().map(|(own, _)| own).collect();
        assert_eq!(owns, ["/lxc.payload.a".to_owned(), format!("/lxc.payload.a/docker/{ID}")]);
        assert!(is_within(&path, &owns[0]) && is_within("/a", "/a") && !is_within("/ab", "/a"));
    }

    #[test]
    fn a_name_is_not_taken_for_the_beginning_of_another() {
        let may = |own: &str, name: &str| GroupName::Name(own.to_owned()).may_be(name);
        assert!(may("lxc.payload.a", "lxc.payload.a") && may("lxc.payload.a-2", "lxc.payload.a"));
        for own in ["lxc.payload.ab", "lxc.payload.a1", "lxc.payload.a-b", "lxc.payload.a-", "lxc.payload"] {
            assert!(!may(own, "lxc.payload.a"), "{own}");
        }
    }
}

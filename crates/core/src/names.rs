//! Checks of names, paths and references that callers give, before any engine sees them.
//!
//! The rules are the narrowest that every engine accepts for the noun: what passes here is safe in a URL path, a file
//! name and a command line. Each check names the field at fault.

use crate::error::{Error, Result};

/// The longest name of a container, network or volume; longer ones fail as host or file names.
pub const NAME_MAX: usize = 255;

fn word(field: &str, what: &str, value: &str) -> Result<()> {
    if value.is_empty() {
        return Err(Error::invalid(field, format!("{what} must not be empty")));
    }
    if value.len() > NAME_MAX {
        return Err(Error::invalid(field, format!("{what} has {} bytes, at most {NAME_MAX} are allowed", value.len())));
    }
    let mut characters = value.chars();
    let first_is_good = characters.next().is_some_and(|c| c.is_ascii_alphanumeric());
    if !first_is_good || !characters.all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')) {
        return Err(Error::invalid(
            field,
            format!("{what} {value:?} must be letters, digits, '_', '.' and '-', beginning with a letter or digit"),
        ));
    }
    Ok(())
}

/// A name for a container: Docker's rule, `[a-zA-Z0-9][a-zA-Z0-9_.-]+`, at least two characters.
///
/// # Errors
/// [`crate::ErrorKind::InvalidInput`] with `field`; the same for every check of this module.
pub fn container_name(field: &str, value: &str) -> Result<()> {
    word(field, "container name", value)?;
    if value.len() < 2 {
        Err(Error::invalid(field, "container name must have at least two characters"))
    } else {
        Ok(())
    }
}

/// A name or id by which an existing container, network or volume is asked for.
///
/// # Errors
/// See [`container_name`].
pub fn existing(field: &str, value: &str) -> Result<()> {
    word(field, "id or name", value)
}

/// A name for a network.
///
/// # Errors
/// See [`container_name`].
pub fn network_name(field: &str, value: &str) -> Result<()> {
    word(field, "network name", value)
}

/// A name for a volume.
///
/// # Errors
/// See [`container_name`].
pub fn volume_name(field: &str, value: &str) -> Result<()> {
    word(field, "volume name", value)?;
    if value.len() < 2 { Err(Error::invalid(field, "volume name must have at least two characters")) } else { Ok(()) }
}

/// A name for a snapshot of a container.
///
/// # Errors
/// See [`container_name`].
pub fn snapshot_name(field: &str, value: &str) -> Result<()> {
    word(field, "snapshot name", value)
}

/// A name for a node or a pool.
///
/// # Errors
/// See [`container_name`].
pub fn node_name(field: &str, value: &str) -> Result<()> {
    word(field, "node name", value)?;
    if value.len() > 63 { Err(Error::invalid(field, "node name may have 63 characters at most")) } else { Ok(()) }
}

/// An image reference (`[registry/]repository[:tag][@digest]`) or an image id.
///
/// # Errors
/// See [`container_name`].
pub fn image_reference(field: &str, value: &str) -> Result<()> {
    if value.is_empty() {
        return Err(Error::invalid(field, "an image reference must not be empty"));
    }
    if value.len() > 512 {
        return Err(Error::invalid(
            field,
            format!("image reference has {} bytes, at most 512 are allowed", value.len()),
        ));
    }
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '/' | ':' | '@' | '+' | '[' | ']');
    let starts_well = value.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '[');
    let ends_well = value.ends_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'));
    if !starts_well
        || !ends_well
        || !value.chars().all(good)
        || value.contains("//")
        || value.split('/').any(|part| part == "..")
    {
        return Err(Error::invalid(
            field,
            format!("{value:?} is not an image reference such as docker.io/library/nginx:1.27"),
        ));
    }
    Ok(())
}

/// What a container is made of: an image reference, or, where images are files, an absolute path of the node or a URL
/// (`file`, `http`, `https`). Engines whose images have references check that besides ([`image_reference`]).
///
/// # Errors
/// See [`container_name`].
pub fn image(field: &str, value: &str) -> Result<()> {
    let (scheme, path) = value.split_once("://").unwrap_or(("", value));
    let is_file = matches!(scheme, "file" | "http" | "https") || (scheme.is_empty() && value.starts_with('/'));
    if !is_file {
        return image_reference(field, value);
    }
    absolute_path(field, if scheme.starts_with("http") { "/" } else { path })?;
    let bad = |c: char| c.is_whitespace() || c.is_control();
    if value.len() > 4096 || value.chars().any(bad) || path.is_empty() || path.split('/').any(|part| part == "..") {
        return Err(Error::invalid(field, format!("{value:?} is not the path or URL of an image")));
    }
    Ok(())
}

/// A text without NUL, which no process can be given.
///
/// # Errors
/// See [`container_name`].
pub fn no_nul(field: &str, value: &str) -> Result<()> {
    if value.contains('\0') { Err(Error::invalid(field, "must not contain NUL")) } else { Ok(()) }
}

/// One word without white space or control characters.
///
/// # Errors
/// See [`container_name`].
pub fn one_word(field: &str, value: &str) -> Result<()> {
    if value.is_empty() || value.len() > NAME_MAX || value.chars().any(|c| c.is_whitespace() || c.is_control()) {
        Err(Error::invalid(field, format!("{value:?} must be one word of at most {NAME_MAX} bytes")))
    } else {
        Ok(())
    }
}

/// The name of an environment variable.
///
/// # Errors
/// See [`container_name`].
pub fn env_name(field: &str, value: &str) -> Result<()> {
    if value.is_empty() || value.contains(['=', '\0']) {
        Err(Error::invalid(field, format!("{value:?} is not a name of an environment variable")))
    } else {
        Ok(())
    }
}

/// The key of a label.
///
/// # Errors
/// See [`container_name`].
pub fn label_key(field: &str, value: &str) -> Result<()> {
    if value.is_empty()
        || value.len() > NAME_MAX
        || value.contains('=')
        || value.chars().any(|c| c.is_whitespace() || c.is_control())
    {
        Err(Error::invalid(
            field,
            format!("{value:?} is not a label key (no white space, no '=', at most {NAME_MAX} bytes)"),
        ))
    } else {
        Ok(())
    }
}

/// An absolute path.
///
/// # Errors
/// See [`container_name`].
pub fn absolute_path(field: &str, value: &str) -> Result<()> {
    if !value.starts_with('/') {
        return Err(Error::invalid(field, format!("{value:?} must be an absolute path")));
    }
    if value.len() > 4096 {
        return Err(Error::invalid(field, format!("path has {} bytes, at most 4096 are allowed", value.len())));
    }
    no_nul(field, value)
}

/// `user`, `uid`, `user:group` or `uid:gid`.
///
/// # Errors
/// See [`container_name`].
pub fn user(field: &str, value: &str) -> Result<()> {
    let parts: Vec<&str> = value.split(':').collect();
    let good = |part: &&str| {
        !part.is_empty()
            && part.len() <= 64
            && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '$'))
    };
    if parts.len() > 2 || !parts.iter().all(good) {
        Err(Error::invalid(field, format!("{value:?} must be user, uid, user:group or uid:gid")))
    } else {
        Ok(())
    }
}

/// A host name or domain: RFC 1123 labels, 63 characters each, 253 in all; underscores are tolerated as engines do.
///
/// # Errors
/// See [`container_name`].
pub fn hostname(field: &str, value: &str) -> Result<()> {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
    };
    if value.len() > 253 || !value.split('.').all(label) {
        Err(Error::invalid(field, format!("{value:?} is not a host name")))
    } else {
        Ok(())
    }
}

/// A kernel capability such as `NET_ADMIN`, `CAP_NET_ADMIN` or `ALL`.
///
/// # Errors
/// See [`container_name`].
pub fn kernel_capability(field: &str, value: &str) -> Result<()> {
    if value.is_empty() || value.len() > 64 || !value.chars().all(|c| c.is_ascii_alphabetic() || c == '_') {
        Err(Error::invalid(field, format!("{value:?} is not a kernel capability such as NET_ADMIN")))
    } else {
        Ok(())
    }
}

/// A list of cores such as `0-2,4`.
///
/// # Errors
/// See [`container_name`].
pub fn cpu_set(field: &str, value: &str) -> Result<()> {
    let number = |text: &str| text.parse::<u16>().ok();
    let range = |part: &str| match part.split_once('-') {
        Some((first, last)) => matches!((number(first), number(last)), (Some(a), Some(b)) if a <= b),
        None => number(part).is_some(),
    };
    if value.split(',').all(range) {
        Ok(())
    } else {
        Err(Error::invalid(field, format!("{value:?} is not a list of cores such as 0-2,4")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_engines_accept_passes() {
        for name in ["web", "a1", "Web_1.x-y", "0a"] {
            container_name("name", name).unwrap();
        }
        for image in
            ["nginx", "docker.io/library/nginx:1.27", "localhost:5000/a/b@sha256:00ff", "[::1]:5000/x", "sha256:00ff"]
        {
            image_reference("image", image).unwrap();
        }
        for file in ["/opt/x.flist", "file:///opt/x.tar", "http://hub.example/a/b.flist", "nginx:1.27"] {
            super::image("image", file).unwrap();
        }
        for text in ["root", "0", "1000:1000", "www-data:staff"] {
            user("user", text).unwrap();
        }
        for set in ["0", "0-2,4", "1,3"] {
            cpu_set("cpu_set", set).unwrap();
        }
    }

    #[test]
    fn what_would_hurt_is_refused_by_field() {
        let long = "x".repeat(NAME_MAX + 1);
        for name in ["", "a", "-a", "a/b", "../x", "a b", "é", "a\n", long.as_str()] {
            assert_eq!(container_name("name", name).unwrap_err().field(), Some("name"), "{name:?}");
        }
        for image in ["", "a b", "a//b", "../x", "-x", "x:", "a?b", "x/../y"] {
            assert!(image_reference("image", image).is_err(), "{image:?}");
            assert!(super::image("image", image).is_err(), "{image:?}");
        }
        for file in ["/opt/../etc/x", "/opt/a b", "file://x", "http://", "ftp://h/x", "/a\0b"] {
            assert!(super::image("image", file).is_err(), "{file:?}");
        }
        for set in ["", "a", "2-1", "1-", "0,,1"] {
            assert!(cpu_set("cpu_set", set).is_err(), "{set:?}");
        }
        for host in ["", "-a", "a..b", "a b", &"x".repeat(64)] {
            assert!(hostname("hostname", host).is_err(), "{host:?}");
        }
        assert!(absolute_path("p", "relative").is_err());
        assert!(env_name("env", "A=B").is_err());
        assert!(user("user", "a:b:c").is_err());
    }
}

//! Image references: their parts, and the one way in which they are shown.

/// The parts of `[registry/]repository[:tag][@digest]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reference<'a> {
    /// Registry and repository.
    pub(super) repository: &'a str,
    pub(super) tag: Option<&'a str>,
    pub(super) digest: Option<&'a str>,
}

impl<'a> Reference<'a> {
    /// Splits a reference that was found valid.
    pub(super) fn parse(text: &'a str) -> Self {
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (text, None),
        };
        // A colon before the last slash belongs to the registry's port.
        match name.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')) {
            Some((repository, tag)) => Reference { repository, tag: Some(tag), digest },
            None => Reference { repository: name, tag: None, digest },
        }
    }

    pub(super) fn tag_or_latest(&self) -> &'a str {
        self.tag.unwrap_or("latest")
    }

    /// The registry's host, when one is named: by Docker's rule the first part, if it has a dot or a port or is
    /// `localhost`.
    pub(super) fn registry(&self) -> Option<&'a str> {
        let (first, _) = self.repository.split_once('/')?;
        (first.contains(['.', ':']) || first == "localhost").then_some(first)
    }
}

/// References are shown as Docker shows them, without the registry that is meant when none is named; Podman writes
/// it out.
pub(super) fn familiar(reference: &str) -> &str {
    match reference.strip_prefix("docker.io/") {
        Some(rest) => rest.strip_prefix("library/").unwrap_or(rest),
        None => reference,
    }
}

/// An image's id with its algorithm; Podman leaves that out here and there.
pub(super) fn full_id(id: &str) -> String {
    if id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        format!("sha256:{id}")
    } else {
        id.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_references() {
        let parts = |text: &'static str| {
            let reference = Reference::parse(text);
            (reference.repository, reference.tag, reference.digest, reference.registry())
        };
        assert_eq!(parts("nginx"), ("nginx", None, None, None));
        assert_eq!(parts("a/b:1"), ("a/b", Some("1"), None, None));
        assert_eq!(parts("localhost:5000/a"), ("localhost:5000/a", None, None, Some("localhost:5000")));
        assert_eq!(parts("quay.io/a/b:v1@sha256:00"), ("quay.io/a/b", Some("v1"), Some("sha256:00"), Some("quay.io")));
        assert_eq!(parts("[::1]:5000/x:y"), ("[::1]:5000/x", Some("y"), None, Some("[::1]:5000")));
    }

    #[test]
    fn docker_hub_is_not_shown() {
        assert_eq!(familiar("docker.io/library/nginx:1"), "nginx:1");
        assert_eq!(familiar("docker.io/a/b:1"), "a/b:1");
        assert_eq!(familiar("quay.io/a:1"), "quay.io/a:1");
    }
}

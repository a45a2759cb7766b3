//! Addresses of machines as clients of older APIs give them, and the URI of a node that is made of one.

use std::net::{IpAddr, Ipv6Addr};

use roadstead_core::{Error, Result};

/// What stands in a template where the address goes.
const HOST: &str = "{host}";

/// The address of a machine: an IP address or a host name, and a port where one was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    host: String,
    port: Option<u16>,
}

fn is_name(host: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // Four numbers are meant as an address, and this was found to be none.
    let is_number = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
    host.len() <= 253 && host.split('.').all(label) && !host.split('.').next_back().is_some_and(is_number)
}

impl Address {
    /// Reads `HOST`, `HOST:PORT`, an IPv6 address, or `[IPv6]:PORT`.
    ///
    /// # Errors
    /// `InvalidInput` that names `field`.
    pub(crate) fn parse(field: &str, text: &str) -> Result<Self> {
        let refuse = |reason: &str| Err(Error::invalid(field, reason.to_owned()));
        if text.parse::<Ipv6Addr>().is_ok() {
            return Ok(Address { host: text.to_owned(), port: None });
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => match port.parse::<u16>() {
                Ok(number @ 1..) if port.bytes().all(|byte| byte.is_ascii_digit()) => (host, Some(number)),
                _ => return refuse("the port is not a number from 1 to 65535"),
            },
            None => (text, None),
        };
        let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(inner) if inner.parse::<Ipv6Addr>().is_ok() => inner,
            Some(_) => return refuse("what is in brackets is not an IPv6 address"),
            None if host.parse::<IpAddr>().is_ok_and(|address| address.is_ipv4()) || is_name(host) => host,
            None => return refuse("is neither an IP address nor a host name"),
        };
        Ok(Address { host: host.to_owned(), port })
    }

    /// The URI of the node at this address. A port that was given goes before the template's.
    pub(crate) fn in_template(&self, template: &str) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let Some((before, after)) = template.split_once(HOST) else { return template.to_owned() };
        match self.port {
            None => format!("{before}{host}{after}"),
            Some(port) => {
                let rest =
                    after.strip_prefix(':').map_or(after, |rest| rest.trim_start_matches(|c: char| c.is_ascii_digit()));
                format!("{before}{host}:{port}{rest}")
            }
        }
    }
}

/// Checks a template: that it has one place for the address, and is a URI with an address there.
///
/// # Errors
/// `InvalidInput` that names `field`.
pub(super) fn check_template(field: &str, template: &str) -> Result<()> {
    if template.matches(HOST).count() != 1 {
        return Err(Error::invalid(field, "must have {host} once, where the address goes that a client gives"));
    }
    shown_template(template).map(drop).map_err(|error| Error::invalid(field, error.message().to_owned()))
}

/// The template without secrets.
pub(super) fn shown_template(template: &str) -> Result<String> {
    const STANDS_IN: &str = "host.invalid";
    let uri: roadstead_core::NodeUri = template.replace(HOST, STANDS_IN).parse()?;
    Ok(uri.to_string().replace(STANDS_IN, HOST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let template = "lxd+https://{host}:8443?trust=first-use";
        for (text, uri) in [
            ("1.2.3.4", "lxd+https://1.2.3.4:8443?trust=first-use"),
            ("1.2.3.4:99", "lxd+https://1.2.3.4:99?trust=first-use"),
            ("ubuntu-dev", "lxd+https://ubuntu-dev:8443?trust=first-use"),
            ("a.b_c.example:1", "lxd+https://a.b_c.example:1?trust=first-use"),
            ("fe80::1", "lxd+https://[fe80::1]:8443?trust=first-use"),
            ("[::1]:7", "lxd+https://[::1]:7?trust=first-use"),
        ] {
            assert_eq!(Address::parse("ip", text).unwrap().in_template(template), uri);
        }
        assert_eq!(Address::parse("ip", "h:7").unwrap().in_template("docker+tcp://{host}"), "docker+tcp://h:7");
        let long = "a".repeat(64);
        for bad in [
            "",
            " ",
            "a b",
            "a:b",
            "a:0",
            "a:70000",
            "a:+1",
            "1.2.3",
            "1.2.3.4.5",
            "256.1.1.1",
            "[a]",
            "[::1",
            "a/b",
            "a@b",
            "a?b",
            "é",
            "-a",
            "a-",
            "a..b",
            "a:1:2",
            "{host}",
            long.as_str(),
            "a#b",
            "a%62",
            "\0",
        ] {
            assert_eq!(Address::parse("ip", bad).unwrap_err().field(), Some("ip"), "{bad:?}");
        }
    }

    #[test]
    fn templates_are_checked_and_show_no_secret() {
        check_template("f", "docker+tcp://{host}:2375").unwrap();
        for bad in ["docker+tcp://host", "docker+tcp://{host}/{host}", "{host}", "docker+tcp://{host}:x"] {
            assert_eq!(check_template("f", bad).unwrap_err().field(), Some("f"), "{bad}");
        }
        let shown = shown_template("x+https://me:hunter2@{host}:1?token=abc").unwrap();
        assert_eq!(shown, "x+https://me@{host}:1?token=…");
    }
}

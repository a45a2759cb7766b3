//! What every call on one connected node shares.

use std::fmt;
use std::time::Duration;

use roadstead_core::Capabilities;

use super::transport::Transport;

/// One connected node of a server.
pub(super) struct Remote {
    /// Name under which the node is known here.
    pub(super) name: String,
    /// Name that it has on its server.
    pub(super) there: String,
    /// Without secrets.
    pub(super) uri: String,
    pub(super) transport: Transport,
    pub(super) capabilities: Capabilities,
    /// How long what broke tries to connect again.
    pub(super) reconnect_deadline: Duration,
}

impl Remote {
    /// The path of something on the node.
    pub(super) fn path<'a>(&'a self, rest: &[&'a str]) -> Vec<&'a str> {
        let mut path = vec!["nodes", self.there.as_str()];
        path.extend_from_slice(rest);
        path
    }

    /// The path of something of a container on the node.
    pub(super) fn of_container<'a>(&'a self, id: &'a str, rest: &[&'a str]) -> Vec<&'a str> {
        let mut path = self.path(&["containers", id]);
        path.extend_from_slice(rest);
        path
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("name", &self.name).field("uri", &self.uri).finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::engines::roadstead::address::Address;
    use roadstead_core::ConnectOptions;

    /// A node called `near` here and `far` there, on a server that nobody asks.
    pub(in crate::engines::roadstead) fn remote() -> Remote {
        let uri = "roadstead+http://:t0ken@127.0.0.1:1/far".parse().unwrap();
        let address = Address::read(&uri, &ConnectOptions::default()).unwrap();
        Remote {
            name: "near".to_owned(),
            there: "far".to_owned(),
            uri: uri.to_string(),
            transport: Transport::new(&address, Duration::from_secs(1)).unwrap(),
            capabilities: Capabilities::all(),
            reconnect_deadline: Duration::from_secs(1),
        }
    }

    #[test]
    fn the_token_is_not_shown() {
        assert!(!format!("{:?} {:#?}", remote(), remote()).contains("t0ken"));
    }
}

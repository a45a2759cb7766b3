//! Processes in the words of the dialect, which are those of psutil.

use std::net::SocketAddr;

use roadstead_core::{Connection, ConnectionFamily, ConnectionKind, Process, ProcessState};
use serde_json::{Value, json};

use super::numbers::Ten;

/// A process with its numbers.
pub(super) fn process(process: &Process, ten: Ten) -> Value {
    json!({
        "pid": process.pid,
        "name": process.name,
        "exe": process.exe,
        "cmdline": process.cmdline,
        "status": status(process.state),
        "num_threads": process.threads,
        "open_files": process.open_files.as_ref().map(|files| {
            files.iter().map(|file| json!([file.path, file.fd])).collect::<Value>()
        }),
        "connections": process.connections.as_ref().map(|all| all.iter().filter_map(connection).collect::<Value>()),
        "metrics": ten.of_one(),
    })
}

fn status(state: ProcessState) -> &'static str {
    match state {
        ProcessState::Running => "running",
        ProcessState::Sleeping => "sleeping",
        ProcessState::DiskSleep => "disk-sleep",
        ProcessState::Stopped => "stopped",
        ProcessState::Traced => "tracing-stop",
        ProcessState::Zombie => "zombie",
        ProcessState::Dead => "dead",
        ProcessState::Idle => "idle",
        _ => "?",
    }
}

/// Nothing for what is neither TCP nor UDP: clients know these numbers only.
fn connection(connection: &Connection) -> Option<Value> {
    let family = match connection.family {
        ConnectionFamily::Ipv4 => 2,
        ConnectionFamily::Ipv6 => 10,
        _ => return None,
    };
    let kind = match connection.kind {
        ConnectionKind::Stream => 1,
        ConnectionKind::Datagram => 2,
        _ => return None,
    };
    let remote = connection.remote.as_deref().map_or_else(|| json!([]), end);
    let state = connection.state.as_deref().unwrap_or("none").to_ascii_uppercase();
    Some(json!([connection.fd, family, kind, end(&connection.local), remote, state]))
}

/// Address and port; nothing where it has none.
fn end(text: &str) -> Value {
    match text.parse::<SocketAddr>() {
        Ok(end) => json!([end.ip().to_string(), end.port()]),
        Err(_) => json!([]),
    }
}

#[cfg(test)]
mod tests {
    use roadstead_core::OpenFile;

    use super::*;

    fn socket(family: ConnectionFamily, kind: ConnectionKind, local: &str, remote: Option<&str>) -> Connection {
        let mut connection = Connection::default();
        (connection.fd, connection.family, connection.kind) = (3, family, kind);
        local.clone_into(&mut connection.local);
        connection.remote = remote.map(str::to_owned);
        connection
    }

    #[test]
    fn connections_are_numbers_and_pairs() {
        let mut tcp =
            socket(ConnectionFamily::Ipv4, ConnectionKind::Stream, "172.17.42.1:55465", Some("172.17.42.1:27017"));
        tcp.state = Some("established".to_owned());
        assert_eq!(
            connection(&tcp).unwrap().to_string(),
            r#"[3,2,1,["172.17.42.1",55465],["172.17.42.1",27017],"ESTABLISHED"]"#
        );
        let udp = socket(ConnectionFamily::Ipv6, ConnectionKind::Datagram, "[::1]:53", None);
        assert_eq!(connection(&udp).unwrap().to_string(), r#"[3,10,2,["::1",53],[],"NONE"]"#);
        let unbound = socket(ConnectionFamily::Ipv4, ConnectionKind::Stream, "", None);
        assert_eq!(connection(&unbound).unwrap().to_string(), r#"[3,2,1,[],[],"NONE"]"#);
        for (family, kind) in [
            (ConnectionFamily::Unix, ConnectionKind::Stream),
            (ConnectionFamily::Netlink, ConnectionKind::Raw),
            (ConnectionFamily::Ipv4, ConnectionKind::Raw),
        ] {
            assert_eq!(connection(&socket(family, kind, "/run/x", None)), None, "{family:?}");
        }
    }

    #[test]
    fn what_is_not_told_is_null() {
        let mut bare = Process::default();
        (bare.pid, bare.state) = (7, ProcessState::Sleeping);
        let told = process(&bare, Ten::default());
        for member in ["exe", "num_threads", "open_files", "connections"] {
            assert!(told[member].is_null(), "{member}");
        }
        assert_eq!((told["status"].as_str(), told["metrics"].as_array().map(Vec::len)), (Some("sleeping"), Some(10)));
        let mut file = OpenFile::default();
        (file.fd, file.path) = (4, "/var/log/x".to_owned());
        bare.open_files = Some(vec![file]);
        bare.connections = Some(vec![socket(ConnectionFamily::Unix, ConnectionKind::Stream, "", None)]);
        let told = process(&bare, Ten::default());
        assert_eq!(
            (told["open_files"].to_string().as_str(), told["connections"].to_string().as_str()),
            (r#"[["/var/log/x",4]]"#, "[]")
        );
    }

    #[test]
    fn states_are_words_of_psutil() {
        for (letter, word) in [
            ('R', "running"),
            ('S', "sleeping"),
            ('D', "disk-sleep"),
            ('T', "stopped"),
            ('t', "tracing-stop"),
            ('Z', "zombie"),
            ('X', "dead"),
            ('I', "idle"),
            ('?', "?"),
        ] {
            assert_eq!(status(ProcessState::from_letter(letter)), word);
        }
    }
}

//! Packet filter rules of the node, which are only written down: the filter of the machine is not the stand-in's to touch.
//! `nft.*` and `socat.list` tell what is written, bridges and port forwards write.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::{Failure, netlink};

/// Rules by chain: `input` lets packets of ports and bridges in, `forward` sends those of host ports on to containers.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Written {
    input: Vec<Rule>,
    forward: Vec<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Rule {
    /// The rule without the interface.
    body: String,
    /// The index of the link that packets come in by; the kernel forgets its name with it.
    link: Option<u32>,
    pub(super) port: Option<u16>,
}

/// The rules of one node.
#[derive(Debug)]
pub(super) struct Rules {
    file: PathBuf,
    written: Mutex<Written>,
}

impl Rules {
    /// The rules of a directory, with those that every node starts with.
    pub(super) fn of(directory: &Path) -> Self {
        let file = directory.join("rules.json");
        let known = std::fs::read(&file).ok().and_then(|text| serde_json::from_slice(&text).ok());
        let first = [
            "ct state { 2, 4 } accept",
            "iifname \"lo\" accept",
            "iifname \"vxbackend\" accept",
            "ip protocol 1 accept",
        ];
        let start = || Written {
            input: first.map(|body| Rule { body: body.to_owned(), link: None, port: None }).to_vec(),
            forward: Vec::new(),
        };
        Self { file, written: Mutex::new(known.unwrap_or_else(start)) }
    }

    /// What the input chain says, as it is printed.
    pub(super) fn input(&self, port: Option<u16>) -> Result<Vec<String>, Failure> {
        let links = netlink::links()?;
        let line = |rule: &Rule| match rule.link {
            None => rule.body.clone(),
            Some(index) => match links.iter().find(|link| link.index == index) {
                Some(link) => format!("iif \"{}\" {}", link.name, rule.body),
                None => format!("iif {index} {}", rule.body),
            },
        };
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(written.input.iter().filter(|rule| port.is_none() || rule.port == port).map(line).collect())
    }

    pub(super) fn forwards(&self) -> Vec<String> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).forward.clone()
    }

    /// Lets packets to a port in; `false` when a rule for the port is there.
    pub(super) fn open(&self, port: u16, body: String) -> Result<bool, Failure> {
        self.change(|written| {
            let free = written.input.iter().all(|rule| rule.port != Some(port));
            if free {
                written.input.push(Rule { body, link: None, port: Some(port) });
            }
            free
        })
    }

    pub(super) fn drop_port(&self, port: u16) -> Result<(), Failure> {
        self.change(|written| written.input.retain(|rule| rule.port != Some(port)))
    }

    /// Names and addresses for whoever is at a bridge.
    pub(super) fn serve(&self, link: u32) -> Result<(), Failure> {
        let body = "udp dport { 53, 67, 68 } accept".to_owned();
        self.change(|written| written.input.push(Rule { body, link: Some(link), port: None }))
    }

    pub(super) fn drop_link(&self, link: u32) -> Result<(), Failure> {
        self.change(|written| written.input.retain(|rule| rule.link != Some(link)))
    }

    pub(super) fn change_forwards(&self, change: impl FnOnce(&mut Vec<String>)) -> Result<(), Failure> {
        self.change(|written| change(&mut written.forward))
    }

    fn change<T>(&self, change: impl FnOnce(&mut Written) -> T) -> Result<T, Failure> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = change(&mut written);
        let text = serde_json::to_vec(&*written).map_err(|error| Failure::new(500, error.to_string()))?;
        std::fs::write(&self.file, text).map_err(super::errors::at("open", &self.file))?;
        Ok(changed)
    }
}

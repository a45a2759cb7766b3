//! What `corex.create` takes, what of it is refused, and how it is shown again.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use super::super::arguments::Fields;
use super::super::builtins::Failure;
use super::forwards::Source;

const TYPE: &str = "containers.ContainerCreateArguments";

pub(super) const CONFIGURED: &str = "configured";
pub(super) const DESTROYED: &str = "destroyed";
pub(super) const FAILED: &str = "error";
const UNKNOWN: &str = "unknown";

/// How an interface is configured.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct NetworkConfig {
    pub(super) dhcp: bool,
    pub(super) cidr: String,
    pub(super) gateway: String,
    pub(super) dns: Option<Vec<String>>,
}

/// An interface of a container.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Nic {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) id: String,
    pub(super) hwaddr: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) name: String,
    pub(super) config: NetworkConfig,
    pub(super) monitor: bool,
    pub(super) state: String,
}

impl Nic {
    /// What its owner calls it.
    pub(super) fn device(&self, index: usize) -> String {
        if self.name.is_empty() { format!("eth{index}") } else { self.name.clone() }
    }

    fn take(fields: &mut Fields<'_>) -> Self {
        let mut nic = Nic {
            kind: fields.text("type"),
            id: fields.text("id"),
            hwaddr: fields.text("hwaddr"),
            name: fields.text("name"),
            monitor: fields.flag("monitor"),
            state: UNKNOWN.to_owned(),
            ..Nic::default()
        };
        if let Some(config) = fields.any("config") {
            nic.config = fields.nested("config", config, "containers.NetworkConfig", |fields| NetworkConfig {
                dhcp: fields.flag("dhcp"),
                cidr: fields.text("cidr"),
                gateway: fields.text("gateway"),
                dns: fields.texts("dns"),
            });
        }
        nic
    }

    /// From the member `name` of `fields`.
    pub(super) fn in_member<'a>(fields: &mut Fields<'a>, name: &str, value: &'a Value) -> Self {
        fields.nested(name, value, "containers.Nic", Nic::take)
    }
}

/// The arguments, in the order in which they are shown.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct CreateArguments {
    pub(super) root: String,
    pub(super) mount: Option<BTreeMap<String, String>>,
    pub(super) host_network: bool,
    pub(super) identity: String,
    pub(super) nics: Option<Vec<Nic>>,
    pub(super) port: BTreeMap<String, i64>,
    pub(super) privileged: bool,
    pub(super) hostname: String,
    pub(super) storage: String,
    pub(super) name: String,
    pub(super) tags: Option<Vec<String>>,
    pub(super) env: Option<BTreeMap<String, String>>,
    pub(super) cgroups: Option<Vec<[String; 2]>>,
    pub(super) config: Option<BTreeMap<String, String>>,
}

fn text(value: &Value) -> Result<String, &'static str> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Null => Ok(String::new()),
        _ => Err("string"),
    }
}

impl CreateArguments {
    /// # Errors
    /// `code`, when a type is wrong.
    pub(super) fn take(arguments: Option<&Value>, tags: Option<Vec<String>>, code: u32) -> Result<Self, Failure> {
        let mut fields = Fields::of(arguments, TYPE)?;
        let texts = |fields: &mut Fields<'_>, name: &str| {
            fields.table(name, "map[string]string", text).map(|table| table.into_iter().collect())
        };
        let mut taken = CreateArguments {
            root: fields.text("root"),
            mount: texts(&mut fields, "mount"),
            host_network: fields.flag("host_network"),
            identity: fields.text("identity"),
            privileged: fields.flag("privileged"),
            hostname: fields.text("hostname"),
            storage: fields.text("storage"),
            name: fields.text("name"),
            env: texts(&mut fields, "env"),
            config: texts(&mut fields, "config"),
            tags,
            ..CreateArguments::default()
        };
        let ports = fields.table("port", "map[string]int", |value| match value {
            Value::Null => Ok(0),
            value => value.as_i64().ok_or("int"),
        });
        taken.port = ports.unwrap_or_default().into_iter().collect();
        if let Some(nics) = fields.elements("nics", "[]*containers.Nic") {
            let nics = nics.iter().map(|nic| Nic::in_member(&mut fields, "nics", nic));
            taken.nics = Some(nics.collect());
        }
        if let Some(groups) = fields.elements("cgroups", "[]containers.CGroup") {
            let group = |group: &Value| {
                let part = |index| group.get(index).and_then(Value::as_str).unwrap_or_default().to_owned();
                [part(0), part(1)]
            };
            taken.cgroups = Some(groups.iter().map(group).collect());
        }
        fields.finish(code)?;
        Ok(taken)
    }

    pub(super) fn nics(&self) -> &[Nic] {
        self.nics.as_deref().unwrap_or_default()
    }

    /// # Errors
    /// Why it is refused.
    pub(super) fn check(&self, default_bridge: &str) -> Result<(), String> {
        if self.root.is_empty() {
            return Err("root plist is required".to_owned());
        }
        for (host, guest) in self.mount.iter().flatten() {
            // With a scheme it is another root to unpack there.
            if has_scheme(host) {
                continue;
            }
            if !host.starts_with('/') {
                return Err(format!("host path '{host}' must be absolute"));
            }
            if !guest.starts_with('/') {
                return Err(format!("guest path '{guest}' must be absolute"));
            }
            if !Path::new(host).exists() {
                return Err(format!("host path '{host}' does not exist"));
            }
        }
        for (host, guest) in &self.port {
            if Source::parse(host).is_err() {
                return Err(format!("invalid host port '{host}'"));
            }
            if !(0..=65535).contains(guest) {
                return Err(format!("invalid guest port '{guest}'"));
            }
        }
        self.check_links(default_bridge)?;
        self.check_names()?;
        for [subsystem, name] in self.cgroups.iter().flatten() {
            // Every node has the group of unprivileged containers.
            let exists = (subsystem.as_str(), name.as_str()) == ("devices", "corex")
                || !subsystem.is_empty() && !name.is_empty() && super::group_directory(subsystem, name).is_dir();
            if !exists {
                return Err(format!("invalid cgroup [{subsystem} {name}]"));
            }
        }
        Ok(())
    }

    fn check_links(&self, default_bridge: &str) -> Result<(), String> {
        let mut links: Vec<&str> = Vec::new();
        for nic in self.nics().iter().filter(|nic| nic.state != DESTROYED) {
            let link = if nic.kind == "default" { default_bridge } else { nic.id.as_str() };
            let again = links.contains(&link);
            match nic.kind.as_str() {
                "default" if again => return Err("only one default network is allowed".to_owned()),
                "bridge" if link == default_bridge => {
                    return Err(format!(
                        "cannot use bridge {link} with nic type 'bridge', please use type default instead"
                    ));
                }
                "bridge" if again => {
                    return Err(format!("connecting to bridge '{link}' more than one time is not allowed"));
                }
                "macvlan" | "passthrough" if !super::network::link_exists(link) => {
                    return Err("Link not found".to_owned());
                }
                "macvlan" | "passthrough" if again => {
                    return Err(format!("connecting to link '{link}' more than one time is not allowed"));
                }
                "vlan" | "vxlan" | "zerotier" => continue,
                "default" | "bridge" | "macvlan" | "passthrough" => links.push(link),
                other => return Err(format!("unsupported network type '{other}'")),
            }
        }
        Ok(())
    }

    fn check_names(&self) -> Result<(), String> {
        let mut names: Vec<&str> = Vec::new();
        for nic in self.nics().iter().filter(|nic| nic.state != DESTROYED && !nic.name.is_empty()) {
            let name = nic.name.as_str();
            if names.contains(&name) {
                return Err(format!("name '{name}' is passed twice in the container"));
            }
            names.push(name);
            if name.len() > 15 {
                return Err(format!("invalid name '{name}' too long"));
            }
            if name == "default" {
                return Err(format!("invalid name `{name}`"));
            }
            if name.starts_with("eth") || name.starts_with("zt") {
                return Err(format!("name '{name}' cannot be used as it is started with eth or zt"));
            }
        }
        Ok(())
    }
}

pub(super) fn has_scheme(url: &str) -> bool {
    let scheme = url.split_once(':').map(|(scheme, _)| scheme);
    scheme.is_some_and(|scheme| {
        scheme.starts_with(|letter: char| letter.is_ascii_alphabetic())
            && scheme.chars().all(|letter| letter.is_ascii_alphanumeric() || "+-.".contains(letter))
    })
}

//! An instance as the server tells it. Everything may be missing or null, and words may be new.

use std::collections::BTreeMap;
use std::time::Duration;

use roadstead_core::{ContainerState, Error, ErrorKind, Result, Timestamp};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny};
use tokio::time::{Instant, sleep};

use super::request::Request;
use super::shared::Lxd;

/// Configuration: keys and values are text, whatever they mean.
pub(super) type Config = BTreeMap<String, String>;
/// Devices by name, each with its keys.
pub(super) type Devices = BTreeMap<String, Config>;

/// How long a server is asked again for the state of an instance that is just ending.
const ENDING: Duration = Duration::from_secs(5);
const ENDING_PAUSE: Duration = Duration::from_millis(50);

/// An instance, as lists and single answers tell it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Instance {
    #[serde(deserialize_with = "text")]
    pub(super) name: String,
    #[serde(rename = "type", deserialize_with = "text")]
    pub(super) kind: String,
    #[serde(deserialize_with = "text")]
    pub(super) status: String,
    #[serde(deserialize_with = "time")]
    pub(super) created_at: Option<Timestamp>,
    #[serde(deserialize_with = "time")]
    pub(super) last_used_at: Option<Timestamp>,
    pub(super) architecture: Option<String>,
    /// Whether it is deleted when it ends.
    pub(super) ephemeral: Option<bool>,
    /// The member of a cluster that has it.
    pub(super) location: Option<String>,
    pub(super) profiles: Option<Vec<String>>,
    /// A remark.
    pub(super) description: Option<String>,
    /// Its own, without the profiles'.
    #[serde(deserialize_with = "config")]
    pub(super) config: Config,
    #[serde(deserialize_with = "devices")]
    pub(super) devices: Devices,
    /// With the profiles'.
    #[serde(deserialize_with = "config")]
    expanded_config: Config,
    #[serde(deserialize_with = "devices")]
    expanded_devices: Devices,
}

impl Instance {
    /// Asks the server. A virtual machine is none of our containers.
    pub(super) async fn read(lxd: &Lxd, id: &str) -> Result<Self> {
        Ok(Instance::read_with_etag(lxd, id).await?.0)
    }

    /// The same, and the tag to change it by.
    pub(super) async fn read_with_etag(lxd: &Lxd, id: &str) -> Result<(Self, String)> {
        let (instance, etag): (Instance, String) = Request::get(&["instances", id]).json_with_etag(&lxd.client).await?;
        if instance.is_container() { Ok((instance, etag)) } else { Err(Error::not_found("container", id)) }
    }

    pub(super) fn is_container(&self) -> bool {
        // Servers of old know nothing else and tell no type.
        self.kind.is_empty() || self.kind == "container"
    }

    /// The configuration in effect.
    pub(super) fn effective(&self) -> &Config {
        if self.expanded_config.is_empty() { &self.config } else { &self.expanded_config }
    }

    /// The devices in effect.
    pub(super) fn effective_devices(&self) -> &Devices {
        if self.expanded_devices.is_empty() { &self.devices } else { &self.expanded_devices }
    }

    /// Its state in our words.
    pub(super) fn state(&self) -> ContainerState {
        match state(&self.status) {
            // The time of the last start is the year 1970 until there was one.
            ContainerState::Stopped if self.started_at().is_none() => ContainerState::Created,
            state => state,
        }
    }

    /// When it was last started.
    pub(super) fn started_at(&self) -> Option<Timestamp> {
        self.last_used_at.filter(|time| time.unix_seconds() > 0)
    }

    /// `Conflict` unless processes exist in it.
    pub(super) fn must_have_processes(&self) -> Result<()> {
        if self.state().has_processes() { Ok(()) } else { Err(not_running()) }
    }
}

/// The container does not run.
pub(super) fn not_running() -> Error {
    Error::new(ErrorKind::Conflict, "the container does not run")
}

fn state(word: &str) -> ContainerState {
    match word {
        "Running" | "Ready" | "Thawed" => ContainerState::Running,
        "Frozen" | "Freezing" => ContainerState::Frozen,
        "Stopped" => ContainerState::Stopped,
        "Stopping" | "Aborting" => ContainerState::Stopping,
        "Starting" => ContainerState::Restarting,
        "Error" => ContainerState::Failed,
        _ => ContainerState::Unknown,
    }
}

/// What `/1.0/instances/NAME/state` tells.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Now {
    pub(super) pid: Option<i64>,
    pub(super) processes: Option<i64>,
    pub(super) cpu: Option<Cpu>,
    pub(super) memory: Option<Memory>,
    pub(super) network: Option<BTreeMap<String, Interface>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Cpu {
    /// Nanoseconds.
    pub(super) usage: Option<i64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Memory {
    pub(super) usage: Option<i64>,
    pub(super) usage_peak: Option<i64>,
    pub(super) swap_usage: Option<i64>,
    pub(super) swap_usage_peak: Option<i64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Interface {
    pub(super) addresses: Option<Vec<Address>>,
    pub(super) counters: Option<Counters>,
    pub(super) hwaddr: Option<String>,
    pub(super) host_name: Option<String>,
    pub(super) mtu: Option<i64>,
    /// `up` or `down`.
    pub(super) state: Option<String>,
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Address {
    pub(super) address: Option<String>,
    /// The length of the prefix.
    pub(super) netmask: Option<String>,
    pub(super) scope: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Counters {
    pub(super) bytes_received: i64,
    pub(super) bytes_sent: i64,
    pub(super) packets_received: i64,
    pub(super) packets_sent: i64,
    pub(super) errors_received: i64,
    pub(super) errors_sent: i64,
}

impl Now {
    /// Asks the server, which takes 20 to 35 ms for it.
    pub(super) async fn read(lxd: &Lxd, id: &str) -> Result<Self> {
        let end = Instant::now() + ENDING;
        loop {
            let answer = Request::get(&["instances", id, "state"]).json::<Option<Now>>(&lxd.client).await;
            match answer {
                // Incus stumbles over a main process that has ended and is not cleaned up after yet.
                Err(error) if error.message().contains("Invalid PID") && Instant::now() < end => {
                    sleep(ENDING_PAUSE).await;
                }
                answer => return answer.map(Option::unwrap_or_default),
            }
        }
    }

    /// The main process, as the node counts.
    pub(super) fn pid(&self) -> Option<u32> {
        self.pid.and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid > 0)
    }
}

fn text<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<String, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.unwrap_or_default())
}

fn time<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<Timestamp>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.and_then(|text| text.parse::<Timestamp>().ok()).filter(|time| !time.is_never()))
}

/// Text that may be null, or something that is no text at all and then is left out.
#[derive(Deserialize)]
#[serde(untagged)]
enum Value {
    Text(String),
    Other(IgnoredAny),
}

fn plain(map: BTreeMap<String, Value>) -> Config {
    map.into_iter()
        .filter_map(|(key, value)| match value {
            Value::Text(text) => Some((key, text)),
            Value::Other(_) => None,
        })
        .collect()
}

/// Keys and values as they are written: null counts as none, and so does a value that is no text.
pub(super) fn config<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Config, D::Error> {
    Ok(plain(Option::<BTreeMap<String, Value>>::deserialize(deserializer)?.unwrap_or_default()))
}

/// The same, of each device.
pub(super) fn devices<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Devices, D::Error> {
    let devices = Option::<BTreeMap<String, Option<BTreeMap<String, Value>>>>::deserialize(deserializer)?;
    let devices = devices.unwrap_or_default().into_iter();
    Ok(devices.map(|(name, keys)| (name, plain(keys.unwrap_or_default()))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strange_answers_are_read() {
        let instance: Instance = serde_json::from_str(
            r#"{"name":"a","type":"container","status":"Levitating","created_at":null,"last_used_at":"x","profiles":null,
            "config":{"a":null,"b":"c","d":1},"devices":{"eth0":null},"expanded_config":null,"new":{}}"#,
        )
        .unwrap();
        assert_eq!(instance.state(), ContainerState::Unknown);
        assert_eq!(instance.effective().len(), 1);
        assert!(serde_json::from_str::<Instance>("{}").unwrap().is_container());
        let now: Now = serde_json::from_str(r#"{"pid":-1,"network":null,"cpu":{"usage":null}}"#).unwrap();
        assert_eq!(now.pid(), None);
    }

    #[test]
    fn what_was_never_started_is_created() {
        let mut instance = Instance::default();
        "Stopped".clone_into(&mut instance.status);
        assert_eq!(instance.state(), ContainerState::Created);
        for (time, state) in [
            ("1970-01-01T00:00:00Z", ContainerState::Created),
            ("0001-01-01T00:00:00Z", ContainerState::Created),
            ("2026-11-21T11:45:23Z", ContainerState::Stopped),
        ] {
            instance.last_used_at = time.parse().ok();
            assert_eq!(instance.state(), state, "{time}");
        }
    }
}

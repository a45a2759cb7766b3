//! `nft.*` and `socat.*`: ports that are open, forwarded and reserved.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::arguments::{INT, Kind, Shape, UINT16};
use super::netlink::Prefix;
use super::rules::Rules;
use super::{Failure, info};

const PORT: Shape =
    Shape { go: "builtin.Port", fields: &[("port", UINT16), ("interface", Kind::Text), ("subnet", Kind::Text)] };
const RESERVE: Shape = Shape { go: r#"struct { Number int "json:\"number\"" }"#, fields: &[("number", INT)] };
/// How long nobody else gets a reserved port.
const HELD: Duration = Duration::from_secs(2 * 60);

/// Ports that were given away, until when.
pub(super) type Reserved = Mutex<BTreeMap<u16, Instant>>;

/// The commands of both groups; `None` for any other name.
pub(super) fn call(
    rules: &Rules,
    reserved: &Reserved,
    command: &str,
    arguments: &Value,
) -> Option<Result<Value, Failure>> {
    // The port, and the rule that lets packets to it in.
    let port = || {
        PORT.decode(arguments, 500).map(|arguments| {
            let port = u16::try_from(arguments.whole("port")).unwrap_or(0);
            let mut body = String::new();
            if !arguments.text("interface").is_empty() {
                body += &format!("iifname \"{}\" ", arguments.text("interface"));
            }
            if !arguments.text("subnet").is_empty() {
                let subnet = arguments.text("subnet");
                let network = Prefix::parse(subnet).map(|prefix| prefix.network().to_string());
                body += &format!("ip saddr {} ", network.unwrap_or_else(|_| subnet.to_owned()));
            }
            (port, format!("{body}tcp dport {port} accept"))
        })
    };
    Some(match command {
        "nft.open_port" => port().and_then(|(port, body)| match rules.open(port, body)? {
            true => Ok(Value::Null),
            false => Err(Failure::new(500, format!("rule already exists for port: {port}"))),
        }),
        "nft.drop_port" => port().and_then(|(port, _)| rules.drop_port(port)).map(|()| Value::Null),
        "nft.rule_exists" => {
            port().and_then(|(port, _)| rules.input(Some(port))).map(|found| Value::Bool(!found.is_empty()))
        }
        "nft.list" => port().and_then(|(port, _)| rules.input((port != 0).then_some(port))).map(or_null),
        "socat.list" => Ok(or_null(rules.forwards())),
        "socat.reserve" => RESERVE.decode(arguments, 400).and_then(|arguments| {
            let number = arguments.whole("number");
            if number == 0 {
                return Err(Failure::new(400, "reseve number cannot be zero"));
            }
            let ports = reserve(usize::try_from(number).unwrap_or(0), rules, reserved);
            Ok(if ports.is_empty() { Value::Null } else { json!(ports) })
        }),
        _ => return None,
    })
}

/// An empty list is null in Go.
fn or_null(lines: Vec<String>) -> Value {
    if lines.is_empty() { Value::Null } else { lines.into() }
}

/// The first ports from 1024 on which nothing listens, which are not forwarded, and which nobody has reserved.
fn reserve(number: usize, rules: &Rules, reserved: &Reserved) -> Vec<u16> {
    let mut used: BTreeSet<u16> = info::listening_tcp().into_iter().collect();
    let forwarded = |rule: &String| rule.split(" dport ").nth(1)?.split_whitespace().next()?.parse::<u16>().ok();
    used.extend(rules.forwards().iter().filter_map(forwarded));
    let mut reserved = reserved.lock().unwrap_or_else(PoisonError::into_inner);
    let now = Instant::now();
    reserved.retain(|_, until| *until > now);
    let free = |port: &u16| !used.contains(port) && !reserved.contains_key(port);
    let ports: Vec<u16> = (1024..=u16::MAX).filter(free).take(number).collect();
    reserved.extend(ports.iter().map(|port| (*port, now + HELD)));
    ports
}

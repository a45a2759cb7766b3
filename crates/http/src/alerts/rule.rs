//! Rules of alerts as they stand in the configuration.

use std::time::Duration;

use roadstead_core::{Error, LabelSelector, Result, names};
use serde::{Deserialize, Serialize};

/// A rule: when it holds, there is an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlertConfig {
    /// What it is called in events.
    pub name: String,
    /// When it holds: `cpu > 90% for 30s` (of one core), `memory > 90% of limit for 10s`, `oom_kill`, `restarts > 3 in 60s`
    /// or `node gone for 30s`.
    pub when: String,
    /// Only on these nodes; on all when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<String>,
    /// Only containers with this label, `key` or `key=value`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

/// When a rule holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Condition {
    /// A container uses more than so many percent of one core.
    Cpu { above: f64, lasting: Duration },
    /// A container uses more than so many percent of its limit.
    Memory { above: f64, lasting: Duration },
    /// The kernel ended a process of a container for want of memory.
    OomKill,
    /// A container was restarted more often than that.
    Restarts { above: usize, within: Duration },
    /// The node does not answer.
    NodeGone { lasting: Duration },
}

impl Condition {
    /// How long it has to be so before the rule holds.
    pub(super) fn lasting(&self) -> Duration {
        match self {
            Condition::Cpu { lasting, .. } | Condition::Memory { lasting, .. } | Condition::NodeGone { lasting } => {
                *lasting
            }
            Condition::OomKill | Condition::Restarts { .. } => Duration::ZERO,
        }
    }
}

/// A rule that has been understood.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) name: String,
    pub(super) condition: Condition,
    pub(super) nodes: Vec<String>,
    pub(super) label: Option<LabelSelector>,
}

impl Rule {
    pub(super) fn is_of(&self, node: &str) -> bool {
        self.nodes.is_empty() || self.nodes.iter().any(|name| name == node)
    }
}

/// The rules of a configuration.
///
/// # Errors
/// `InvalidInput` that names the key, for example `alerts[0].when`.
pub(super) fn read(alerts: &[AlertConfig]) -> Result<Vec<Rule>> {
    read_as(alerts, |index, key, why| Error::invalid(format!("alerts[{index}].{key}"), why))
}

/// Those of the command line, or of the variable in its place.
///
/// # Errors
/// `InvalidInput` that names the flag, and in its words the rule.
pub(super) fn read_flags(alerts: &[AlertConfig]) -> Result<Vec<Rule>> {
    read_as(alerts, |index, key, why| {
        let rule = alerts.get(index).map(|alert| format!("{}={}", alert.name, alert.when)).unwrap_or_default();
        let part = if key == "name" { "the name " } else { "" };
        Error::invalid("--alert", format!("rule {} ({rule:?}): {part}{why}", index + 1))
    })
}

fn read_as(alerts: &[AlertConfig], refused: impl Fn(usize, &str, String) -> Error) -> Result<Vec<Rule>> {
    let mut rules: Vec<Rule> = Vec::with_capacity(alerts.len());
    for (index, alert) in alerts.iter().enumerate() {
        let refuse = |key: &str, why: String| refused(index, key, why);
        if alert.name.is_empty() || alert.name.len() > 128 || alert.name.chars().any(char::is_control) {
            return Err(refuse("name", "must be 1 to 128 bytes without control characters".to_owned()));
        }
        if rules.iter().any(|rule| rule.name == alert.name) {
            return Err(refuse("name", format!("{:?} is given twice", alert.name)));
        }
        let condition = condition(&alert.when).map_err(|why| refuse("when", why))?;
        for node in &alert.nodes {
            names::node_name("nodes", node).map_err(|error| refuse("nodes", error.message().to_owned()))?;
        }
        let label = alert.label.as_deref().map(LabelSelector::parse);
        if alert.label.as_deref().is_some_and(|label| label.is_empty() || label.starts_with('=')) {
            return Err(refuse("label", "must be key or key=value".to_owned()));
        }
        if label.is_some() && matches!(condition, Condition::NodeGone { .. }) {
            return Err(refuse("label", "a node has no labels".to_owned()));
        }
        rules.push(Rule { name: alert.name.clone(), condition, nodes: alert.nodes.clone(), label });
    }
    Ok(rules)
}

fn condition(text: &str) -> std::result::Result<Condition, String> {
    let words: Vec<_> = text.split_whitespace().collect();
    Ok(match words.as_slice() {
        ["cpu", ">", share, "for", time] => Condition::Cpu { above: percent(share)?, lasting: duration(time)? },
        ["memory", ">", share, "of", "limit", "for", time] => {
            Condition::Memory { above: percent(share)?, lasting: duration(time)? }
        }
        ["oom_kill"] => Condition::OomKill,
        ["restarts", ">", count, "in", time] => {
            let above: u16 = count.parse().map_err(|_| format!("{count:?} is not a whole number up to 65535"))?;
            Condition::Restarts { above: above.into(), within: duration(time)? }
        }
        ["node", "gone", "for", time] => Condition::NodeGone { lasting: duration(time)? },
        _ => {
            return Err("must be like `cpu > 90% for 30s`, `memory > 90% of limit for 10s`, `oom_kill`, \
                        `restarts > 3 in 60s` or `node gone for 30s`"
                .to_owned());
        }
    })
}

fn percent(text: &str) -> std::result::Result<f64, String> {
    let number = text.strip_suffix('%').and_then(|number| number.parse::<f64>().ok());
    number
        .filter(|number| number.is_finite() && *number >= 0.0)
        .ok_or_else(|| format!("{text:?} is not a percentage such as 90%"))
}

/// A day is the longest.
const LONGEST: u64 = 24 * 60 * 60;

fn duration(text: &str) -> std::result::Result<Duration, String> {
    let units = [('s', 1), ('m', 60), ('h', 3600)];
    let seconds =
        units.iter().find_map(|(unit, seconds)| text.strip_suffix(*unit)?.parse::<u64>().ok()?.checked_mul(*seconds));
    match seconds {
        Some(seconds @ 1..=LONGEST) => Ok(Duration::from_secs(seconds)),
        _ => Err(format!("{text:?} is not a time such as 30s, 5m or 24h, which is the longest")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(name: &str, when: &str) -> AlertConfig {
        AlertConfig { name: name.to_owned(), when: when.to_owned(), nodes: Vec::new(), label: None }
    }

    #[test]
    fn rules_are_understood() {
        let seconds = Duration::from_secs;
        for (when, meant) in [
            ("cpu > 90% for 30s", Condition::Cpu { above: 90.0, lasting: seconds(30) }),
            ("cpu  >  0.5%  for 2m", Condition::Cpu { above: 0.5, lasting: seconds(120) }),
            ("memory > 90% of limit for 10s", Condition::Memory { above: 90.0, lasting: seconds(10) }),
            ("oom_kill", Condition::OomKill),
            ("restarts > 3 in 60s", Condition::Restarts { above: 3, within: seconds(60) }),
            ("node gone for 24h", Condition::NodeGone { lasting: seconds(86400) }),
        ] {
            assert_eq!(condition(when), Ok(meant), "{when}");
        }
    }

    #[test]
    fn a_rule_of_the_command_line_is_refused_by_its_flag() {
        let refused = |alerts: &[AlertConfig]| {
            let error = read_flags(alerts).unwrap_err();
            assert_eq!(error.field(), Some("--alert"));
            error.message().to_owned()
        };
        let good = alert("a", "oom_kill");
        assert_eq!(
            refused(&[good.clone(), alert("b", "cpu > much for 1s")]),
            "--alert: rule 2 (\"b=cpu > much for 1s\"): \"much\" is not a percentage such as 90%"
        );
        assert!(refused(&[good.clone(), good]).ends_with("rule 2 (\"a=oom_kill\"): the name \"a\" is given twice"));
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_its_key() {
        let field = |alerts: &[AlertConfig]| read(alerts).unwrap_err().field().unwrap().to_owned();
        for when in [
            "",
            "cpu",
            "cpu > 90 for 30s",
            "cpu > -1% for 30s",
            "cpu > NaN% for 30s",
            "cpu > inf% for 1s",
            "cpu > 90% for 30",
            "cpu > 90% for 0s",
            "cpu > 90% for 25h",
            "cpu > 90% for 99999999999999999999h",
            "cpu > 1% for 18446744073709551615h",
            "memory > 90% for 10s",
            "oom_kill for 1s",
            "restarts > -1 in 60s",
            "restarts > 3 for 60s",
            "node gone",
        ] {
            assert_eq!(field(&[alert("a", "oom_kill"), alert("b", when)]), "alerts[1].when", "{when}");
        }
        assert_eq!(field(&[alert("", "oom_kill")]), "alerts[0].name");
        assert_eq!(field(&[alert("a", "oom_kill"), alert("a", "oom_kill")]), "alerts[1].name");
        assert_eq!(
            field(&[AlertConfig { nodes: vec!["a/b".to_owned()], ..alert("a", "oom_kill") }]),
            "alerts[0].nodes"
        );
        assert_eq!(field(&[AlertConfig { label: Some("=x".to_owned()), ..alert("a", "oom_kill") }]), "alerts[0].label");
        let labelled = AlertConfig { label: Some("x".to_owned()), ..alert("a", "node gone for 1s") };
        assert_eq!(field(&[labelled]), "alerts[0].label");
    }
}

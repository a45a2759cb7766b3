//! Which rules hold on one node: what is seen goes in with its time, and what begins or ends to hold comes out.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use roadstead_core::{Event, EventAction, NodeUsage, ResourceKind, Timestamp};

use super::rule::{Condition, Rule};

/// An alert of a single happening holds for so long after the last one.
const LINGER: Duration = Duration::from_secs(60);
/// A restart that is told within this time after a start is the same one.
const TOLD_TWICE: Duration = Duration::from_secs(1);
/// So many starts of a container are remembered.
const STARTS_MAX: usize = 65_537;

/// Something about which a rule holds.
#[derive(Clone, Debug)]
struct Holding {
    since: Instant,
    raised: bool,
    name: Option<String>,
    /// Absent where there is none that is true.
    value: Option<String>,
}

/// Something about which a rule holds now.
#[derive(Debug)]
struct Found {
    id: String,
    name: Option<String>,
    since: Instant,
    value: Option<String>,
}

/// What is remembered of a container.
#[derive(Clone, Debug, Default)]
struct Past {
    name: Option<String>,
    /// When its use was told last, or could not be.
    seen: Option<Instant>,
    oom_kills: Option<u64>,
    oom_at: Option<Instant>,
    /// How many the kernel has counted, if it was by them that the last one was found.
    oom_counted: Option<u64>,
    /// Whether it ended since it was last started.
    ended: bool,
    restarts: VecDeque<Instant>,
}

/// The rules on one node.
#[derive(Debug)]
pub(super) struct OnNode {
    node: String,
    rules: Vec<Rule>,
    /// By rule and by id; the node itself has its own name.
    holding: BTreeMap<(usize, String), Holding>,
    past: HashMap<String, Past>,
    /// Which containers have the label of a rule.
    labelled: HashMap<usize, HashSet<String>>,
    /// Whether any use of the node was told.
    looked: bool,
    /// Since when the node does not answer.
    gone: Option<Instant>,
}

impl OnNode {
    pub(super) fn new(node: &str, rules: &[Rule]) -> Self {
        let rules = rules.iter().filter(|rule| rule.is_of(node)).cloned().collect();
        OnNode {
            node: node.to_owned(),
            rules,
            holding: BTreeMap::new(),
            past: HashMap::new(),
            labelled: HashMap::new(),
            looked: false,
            gone: None,
        }
    }

    /// The rules, by number.
    pub(super) fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The containers that have the label of a rule.
    pub(super) fn label(&mut self, rule: usize, containers: HashSet<String>) {
        self.labelled.insert(rule, containers);
    }

    /// The node answers.
    pub(super) fn is_here(&mut self) {
        self.gone = None;
    }

    /// The node has not answered what it was asked at `since`, nor anything after.
    pub(super) fn is_gone(&mut self, since: Instant) {
        self.gone.get_or_insert(since);
    }

    /// When the next alert is due of what holds already.
    pub(super) fn due(&self) -> Option<Instant> {
        let open = self.holding.iter().filter(|(_, holding)| !holding.raised);
        open.filter_map(|((rule, _), holding)| holding.since.checked_add(self.rules.get(*rule)?.condition.lasting()))
            .min()
    }

    /// The node is not watched any more: what was raised is cleared.
    pub(super) fn forget(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        for index in 0..self.rules.len() {
            self.ends(index, |_| true, |_| None, &mut events);
        }
        events
    }

    /// What is used, of all containers that run.
    pub(super) fn see_usage(&mut self, now: Instant, usage: &NodeUsage) -> Vec<Event> {
        let mut events = Vec::new();
        for container in &usage.containers {
            let past = self.past.entry(container.id.clone()).or_default();
            past.name = Some(container.name.clone());
            let kills = container.stats.memory.oom_kills;
            // Of what began since the last time all kills are new; of what was there before anybody looked, none is known to be.
            let before = past.oom_kills.or((self.looked && past.seen.is_none()).then_some(0));
            // A container that is started again is counted anew.
            if kills.zip(before).is_some_and(|(now, before)| now > before || (now < before && now > 0)) {
                past.oom_at = Some(now);
                past.oom_counted = kills;
            }
            past.seen = Some(now);
            past.oom_kills = kills.or(past.oom_kills);
        }
        for error in &usage.errors {
            self.past.entry(error.container.clone()).or_default().seen = Some(now);
        }
        self.looked = true;
        let failed: HashSet<&str> = usage.errors.iter().map(|error| error.container.as_str()).collect();
        for (index, rule) in self.rules.clone().iter().enumerate() {
            let above = match rule.condition {
                Condition::Cpu { above, .. } | Condition::Memory { above, .. } => above,
                _ => continue,
            };
            let mut over = HashSet::new();
            let mut values = HashMap::new();
            // What is not told of a container for once is no reason to say that all is well.
            let mut unknown = failed.clone();
            for container in &usage.containers {
                if !self.concerns(index, rule, &container.id) {
                    continue;
                }
                let percent = match rule.condition {
                    Condition::Cpu { .. } => {
                        let percent = container.rates.map(|rates| rates.cpu_percent);
                        if percent.is_none() {
                            unknown.insert(container.id.as_str());
                        }
                        percent
                    }
                    // Without a limit, nothing of it is used.
                    _ => share_of_limit(&container.stats.memory),
                };
                let Some(percent) = percent else { continue };
                let value = Some(format!("{percent:.1}%"));
                if percent > above {
                    over.insert(container.id.as_str());
                    let (id, name) = (container.id.clone(), Some(container.name.clone()));
                    self.holds(now, index, Found { id, name, since: now, value }, &mut events);
                } else {
                    values.insert(container.id.as_str(), value);
                }
            }
            let below = |id: &str| !over.contains(id) && !unknown.contains(id);
            self.ends(index, below, |id| values.get(id).cloned().flatten(), &mut events);
        }
        events.extend(self.tick(now));
        // Those that do not run and are not started again are forgotten with their last restart, and not because they were left out
        // of one answer.
        let running: HashSet<&str> = usage.containers.iter().map(|container| container.id.as_str()).collect();
        self.past.retain(|id, past| {
            running.contains(id.as_str())
                || failed.contains(id.as_str())
                || past.ended
                || !past.restarts.is_empty()
                || past.oom_at.is_some()
                || past.seen.is_some_and(|at| now.duration_since(at) < LINGER)
        });
        events
    }

    /// What happened.
    pub(super) fn see_event(&mut self, now: Instant, event: &Event) -> Vec<Event> {
        if event.resource != ResourceKind::Container {
            return Vec::new();
        }
        if event.action == EventAction::Deleted {
            let past = self.past.remove(&event.id);
            // A use that was read before may be told after, and must not look like that of a new container.
            if let Some(Past { seen: Some(_), oom_kills, .. }) = past {
                self.past.insert(event.id.clone(), Past { seen: Some(now), oom_kills, ..Past::default() });
            }
            return self.tick(now);
        }
        let past = self.past.entry(event.id.clone()).or_default();
        past.name = event.name.clone().or_else(|| past.name.take());
        match event.action {
            EventAction::OutOfMemory => {
                // Whether the kernel's count has this one in it is not known.
                past.oom_counted = past.oom_counted.filter(|_| past.oom_at.is_some());
                past.oom_at = Some(now);
            }
            EventAction::Ended | EventAction::Stopped => past.ended = true,
            // Some engines tell a restart in one word, others as an end and a start, or as both.
            EventAction::Started if past.ended => past.restarted(now),
            EventAction::Restarted => {
                let last = past.restarts.back();
                let told = !past.ended && last.is_some_and(|last| now.duration_since(*last) < TOLD_TWICE);
                if !told {
                    past.restarted(now);
                }
            }
            _ => {}
        }
        self.tick(now)
    }

    /// What time alone changes.
    pub(super) fn tick(&mut self, now: Instant) -> Vec<Event> {
        let mut events = Vec::new();
        for (index, rule) in self.rules.clone().iter().enumerate() {
            let mut holding: Vec<Found> = Vec::new();
            let mut restarts = HashMap::new();
            match rule.condition {
                Condition::Cpu { .. } | Condition::Memory { .. } => continue,
                Condition::NodeGone { .. } => {
                    let id = self.node.clone();
                    holding.extend(self.gone.map(|since| Found {
                        id,
                        name: None,
                        since,
                        value: Some("gone".to_owned()),
                    }));
                }
                Condition::OomKill => {
                    for (id, past) in &mut self.past {
                        let Some(at) = past.oom_at else { continue };
                        if now.saturating_duration_since(at) < LINGER {
                            let (id, name) = (id.clone(), past.name.clone());
                            let value = past.oom_counted.map(|kills| kills.to_string());
                            holding.push(Found { id, name, since: now, value });
                        } else {
                            past.oom_at = None;
                        }
                    }
                }
                Condition::Restarts { above, within } => {
                    for (id, past) in &self.past {
                        let count = past.restarts.iter().filter(|at| now.duration_since(**at) < within).count();
                        if count > above {
                            let (id, name) = (id.clone(), past.name.clone());
                            holding.push(Found { id, name, since: now, value: Some(count.to_string()) });
                        } else {
                            restarts.insert(id.clone(), count.to_string());
                        }
                    }
                }
            }
            holding.retain(|found| {
                matches!(rule.condition, Condition::NodeGone { .. }) || self.concerns(index, rule, &found.id)
            });
            let ids: HashSet<String> = holding.iter().map(|found| found.id.clone()).collect();
            for found in holding {
                self.holds(now, index, found, &mut events);
            }
            self.ends(index, |id| !ids.contains(id), |id| restarts.get(id).cloned(), &mut events);
        }
        let longest = self.rules.iter().filter_map(|rule| match rule.condition {
            Condition::Restarts { within, .. } => Some(within),
            _ => None,
        });
        let longest = longest.max().unwrap_or_default();
        for past in self.past.values_mut() {
            while past.restarts.front().is_some_and(|at| now.duration_since(*at) >= longest) {
                past.restarts.pop_front();
            }
        }
        events
    }

    fn concerns(&self, index: usize, rule: &Rule, id: &str) -> bool {
        rule.label.is_none() || self.labelled.get(&index).is_some_and(|containers| containers.contains(id))
    }

    fn holds(&mut self, now: Instant, index: usize, found: Found, events: &mut Vec<Event>) {
        let Some(lasting) = self.rules.get(index).map(|rule| rule.condition.lasting()) else { return };
        let Found { id, name, since, value } = found;
        let fresh = Holding { since, raised: false, name: None, value: None };
        let holding = self.holding.entry((index, id.clone())).or_insert(fresh);
        (holding.name, holding.value) = (name, value);
        if !holding.raised && now.saturating_duration_since(holding.since) >= lasting {
            holding.raised = true;
            let holding = holding.clone();
            events.push(self.event(EventAction::AlertRaised, index, &id, &holding));
        }
    }

    /// Those that `over` is true of do not hold any more; `value` is what they have now, where that is known.
    fn ends(
        &mut self,
        index: usize,
        over: impl Fn(&str) -> bool,
        value: impl Fn(&str) -> Option<String>,
        events: &mut Vec<Event>,
    ) {
        let ended: Vec<_> = self.holding.keys().filter(|(rule, id)| *rule == index && over(id)).cloned().collect();
        for key in ended {
            if let Some(mut holding) = self.holding.remove(&key).filter(|holding| holding.raised) {
                holding.value = value(&key.1);
                events.push(self.event(EventAction::AlertCleared, index, &key.1, &holding));
            }
        }
    }

    fn event(&self, action: EventAction, index: usize, id: &str, holding: &Holding) -> Event {
        let of_node = self.rules.get(index).is_some_and(|rule| matches!(rule.condition, Condition::NodeGone { .. }));
        let resource = if of_node { ResourceKind::Node } else { ResourceKind::Container };
        let mut event = Event::new(Timestamp::now(), self.node.as_str(), resource, action, id);
        event.name.clone_from(&holding.name);
        let rule = self.rules.get(index).map(|rule| rule.name.clone()).unwrap_or_default();
        event.attributes.insert("rule".to_owned(), rule);
        event.attributes.extend(holding.value.clone().map(|value| ("value".to_owned(), value)));
        event
    }
}

impl Past {
    fn restarted(&mut self, now: Instant) {
        self.ended = false;
        self.restarts.push_back(now);
        if self.restarts.len() > STARTS_MAX {
            self.restarts.pop_front();
        }
    }
}

/// How much of its limit is used without what can be dropped at once, in percent.
#[allow(clippy::cast_precision_loss, reason = "a share has no more digits than a double")]
fn share_of_limit(memory: &roadstead_core::MemoryStats) -> Option<f64> {
    let used = memory.working_set_bytes.unwrap_or(memory.usage_bytes);
    memory.limit_bytes.filter(|limit| *limit > 0).map(|limit| used as f64 / limit as f64 * 100.0)
}

#[cfg(test)]
mod tests {
    use super::super::rule::{AlertConfig, read};
    use super::*;
    use roadstead_core::usage::{ContainerUsage, Rates, UsageError};
    use roadstead_core::{ContainerStats, Error, ErrorKind};

    fn on(when: &str) -> OnNode {
        let alert = AlertConfig { name: "r".to_owned(), when: when.to_owned(), nodes: Vec::new(), label: None };
        OnNode::new("sea", &read(&[alert]).unwrap())
    }

    fn usage(cpu: f64, memory: u64, kills: u64) -> NodeUsage {
        let mut usage = NodeUsage::at("sea", Timestamp::now());
        let mut stats = ContainerStats::at(Timestamp::now());
        (stats.memory.usage_bytes, stats.memory.limit_bytes) = (memory, Some(100));
        stats.memory.oom_kills = Some(kills);
        let mut container = ContainerUsage::new("c", "web", stats);
        let mut rates = Rates::default();
        rates.cpu_percent = cpu;
        container.rates = Some(rates);
        usage.containers.push(container);
        usage
    }

    /// Without a value, it is a dash.
    fn told(events: Vec<Event>) -> Vec<(EventAction, String)> {
        let value = |event: &Event| event.attributes.get("value").map_or("-", String::as_str).to_owned();
        events.into_iter().map(|event| (event.action, value(&event))).collect()
    }

    fn raised(value: &str) -> Vec<(EventAction, String)> {
        vec![(EventAction::AlertRaised, value.to_owned())]
    }

    fn cleared(value: &str) -> Vec<(EventAction, String)> {
        vec![(EventAction::AlertCleared, value.to_owned())]
    }

    #[test]
    fn what_lasts_is_told_once_and_its_end_once() {
        for (when, over, value, less) in [
            ("cpu > 90% for 10s", usage(95.0, 0, 0), "95.0%", "3.0%"),
            ("memory > 90% of limit for 10s", usage(0.0, 91, 0), "91.0%", "2.0%"),
        ] {
            let (mut on, begun) = (on(when), Instant::now());
            let at = |seconds| begun + Duration::from_secs(seconds);
            let well = usage(3.0, 2, 0);
            // A short peak is none.
            assert_eq!(told(on.see_usage(at(0), &over)), []);
            assert_eq!(told(on.see_usage(at(5), &well)), []);
            assert_eq!(told(on.see_usage(at(10), &over)), []);
            assert_eq!(told(on.see_usage(at(19), &over)), []);
            assert_eq!(told(on.see_usage(at(20), &over)), raised(value));
            assert_eq!(told(on.see_usage(at(30), &over)), []);
            assert_eq!(told(on.see_usage(at(31), &well)), cleared(less));
            assert_eq!(told(on.see_usage(at(32), &well)), []);
            // One that ends is over, too.
            on.see_usage(at(40), &over);
            assert_eq!(told(on.see_usage(at(50), &over)), raised(value));
            assert_eq!(told(on.see_usage(at(51), &NodeUsage::at("sea", Timestamp::now()))), cleared("-"));
        }
    }

    #[test]
    fn a_container_without_rates_for_once_is_not_well() {
        let (mut on, begun) = (on("cpu > 90% for 10s"), Instant::now());
        let at = |seconds| begun + Duration::from_secs(seconds);
        let over = usage(95.0, 0, 0);
        let mut failed = NodeUsage::at("sea", Timestamp::now());
        failed.errors.push(UsageError::new("c", &Error::new(ErrorKind::Unavailable, "busy")));
        let mut without = usage(0.0, 0, 0);
        without.containers[0].rates = None;
        assert_eq!(told(on.see_usage(at(0), &over)), []);
        for (second, unknown) in [(2, &failed), (4, &without)] {
            assert_eq!(told(on.see_usage(at(second), unknown)), []);
        }
        assert_eq!(told(on.see_usage(at(10), &over)), raised("95.0%"));
        for (second, unknown) in [(12, &failed), (14, &without)] {
            assert_eq!(told(on.see_usage(at(second), unknown)), []);
        }
        assert_eq!(told(on.see_usage(at(16), &usage(3.0, 0, 0))), cleared("3.0%"));
        // A limit that was taken away is not exceeded any more.
        let (mut on, mut without) = (self::on("memory > 90% of limit for 10s"), usage(0.0, 91, 0));
        on.see_usage(at(0), &without);
        assert_eq!(told(on.see_usage(at(10), &without)), raised("91.0%"));
        without.containers[0].stats.memory.limit_bytes = None;
        assert_eq!(told(on.see_usage(at(12), &without)), cleared("-"));
    }

    #[test]
    fn kills_for_want_of_memory() {
        let (mut on, begun) = (on("oom_kill"), Instant::now());
        let at = |seconds| begun + Duration::from_secs(seconds);
        // Those of before are old.
        assert_eq!(told(on.see_usage(at(0), &usage(0.0, 0, 3))), []);
        assert_eq!(told(on.see_usage(at(2), &usage(0.0, 0, 4))), raised("4"));
        assert_eq!(told(on.see_usage(at(4), &usage(0.0, 0, 4))), []);
        assert_eq!(told(on.tick(at(62))), cleared("-"));
        // It was started again, and is counted anew.
        assert_eq!(told(on.see_usage(at(64), &usage(0.0, 0, 1))), raised("1"));
        // To be left out of an answer is no start.
        assert_eq!(told(on.see_usage(at(66), &NodeUsage::at("sea", Timestamp::now()))), []);
        assert_eq!(told(on.see_usage(at(68), &usage(0.0, 0, 1))), []);
        // What was read before it was deleted and is told after is no start, either.
        let deleted = Event::new(Timestamp::now(), "sea", ResourceKind::Container, EventAction::Deleted, "c");
        assert_eq!(told(on.see_event(at(69), &deleted)), cleared("-"));
        assert_eq!(told(on.see_usage(at(69), &usage(0.0, 0, 1))), []);
        assert_eq!(told(on.see_usage(at(130), &NodeUsage::at("sea", Timestamp::now()))), []);
        assert!(on.past.is_empty(), "{:?}", on.past);
    }

    #[test]
    fn a_kill_that_the_engine_tells_of_has_no_count() {
        let (mut on, begun) = (on("oom_kill"), Instant::now());
        let at = |seconds| begun + Duration::from_secs(seconds);
        let event = |id| Event::new(Timestamp::now(), "sea", ResourceKind::Container, EventAction::OutOfMemory, id);
        assert_eq!(told(on.see_event(at(0), &event("d"))), raised("-"));
        // The kernel has not counted it yet, or counts the next run already.
        assert_eq!(told(on.see_usage(at(1), &usage(0.0, 0, 0))), []);
        assert_eq!(told(on.see_event(at(2), &event("c"))), raised("-"));
        assert_eq!(told(on.see_usage(at(3), &usage(0.0, 0, 1))), []);
        assert_eq!(told(on.tick(at(60))), cleared("-"));
        assert_eq!(told(on.tick(at(63))), cleared("-"));
        // One of before is not counted for one of now.
        assert_eq!(told(on.see_event(at(64), &event("c"))), raised("-"));
    }

    #[test]
    fn kills_before_the_first_look_at_a_new_container() {
        let (mut on, begun) = (on("oom_kill"), Instant::now());
        assert_eq!(told(on.see_usage(begun, &NodeUsage::at("sea", Timestamp::now()))), []);
        assert_eq!(told(on.see_usage(begun + Duration::from_secs(2), &usage(0.0, 0, 1))), raised("1"));
    }

    #[test]
    fn restarts_within_a_time() {
        let (mut on, begun) = (on("restarts > 2 in 60s"), Instant::now());
        let at = |seconds| begun + Duration::from_secs(seconds);
        let event = |action| Event::new(Timestamp::now(), "sea", ResourceKind::Container, action, "c");
        assert_eq!(told(on.see_event(at(0), &event(EventAction::Started))), [], "a first start is no restart");
        for second in [1, 2] {
            on.see_event(at(second), &event(EventAction::Ended));
            assert_eq!(told(on.see_event(at(second), &event(EventAction::Started))), []);
            // The same, told once more.
            assert_eq!(told(on.see_event(at(second), &event(EventAction::Restarted))), []);
        }
        assert_eq!(told(on.see_event(at(10), &event(EventAction::Restarted))), raised("3"));
        assert_eq!(told(on.tick(at(60))), []);
        assert_eq!(told(on.tick(at(61))), cleared("2"));
    }

    #[test]
    fn a_node_that_is_gone() {
        let (mut on, begun) = (on("node gone for 30s"), Instant::now());
        let at = |seconds| begun + Duration::from_secs(seconds);
        on.is_gone(at(0));
        assert_eq!(told(on.tick(at(9))), []);
        // It counts from the first question without an answer, whenever that was noticed.
        on.is_gone(at(9));
        assert_eq!((told(on.tick(at(29))), on.due()), (vec![], Some(at(30))));
        let event = on.tick(at(30)).remove(0);
        assert_eq!((event.resource, event.id.as_str()), (ResourceKind::Node, "sea"));
        assert_eq!((event.attributes["value"].as_str(), on.due()), ("gone", None));
        on.is_here();
        assert_eq!(told(on.tick(at(31))), cleared("-"));
        // A node that is not watched any more is not gone.
        on.is_gone(at(40));
        assert_eq!(told(on.tick(at(70))), raised("gone"));
        assert_eq!((told(on.forget()), told(on.forget())), (cleared("-"), vec![]));
    }
}

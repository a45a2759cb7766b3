//! What the members of a pool bear, and which of their containers would go where so that they bear less. Nothing is asked of anybody
//! here: what is measured is given, and the choice is arithmetic.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::relief::ReliefOptions;

/// The least share of a member's processors, in percent, that a container must use for its leaving to be a relief.
const SHARE_MIN: f64 = 1.0;

/// By what a member is over its measure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub enum Criterion {
    /// Its processors are too busy.
    #[default]
    Cpu,
    /// It answers too late over the network.
    Latency,
    /// One of both.
    CpuOrLatency,
}

/// What a member bears, as somebody measured it. What was not measured is absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct MemberLoad {
    /// Name of the node.
    pub node: String,
    /// How busy its processors are: 100 is every core.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_percent: Option<f64>,
    /// How late it answers over the network, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<f64>,
    /// Its processor cores; one when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<u32>,
    /// Its containers that may go.
    pub containers: Vec<ContainerLoad>,
}

impl MemberLoad {
    /// A member of which nothing is known yet.
    #[must_use]
    pub fn new(node: impl Into<String>) -> Self {
        MemberLoad { node: node.into(), ..MemberLoad::default() }
    }

    /// Whether it bears too much. What makes no sense counts as not measured.
    #[must_use]
    pub fn is_over(&self, options: &ReliefOptions) -> bool {
        self.strain(options).is_some()
    }

    fn value(&self, measure: Measure) -> Option<f64> {
        let value = match measure {
            Measure::Cpu => self.cpu_percent,
            Measure::Latency => self.latency_ms,
        };
        value.filter(|value| value.is_finite() && *value >= 0.0)
    }

    /// The first measure that it is over, and by what.
    fn strain(&self, options: &ReliefOptions) -> Option<(Measure, f64)> {
        let over = |measure: &Measure| {
            let value = self.value(*measure).filter(|value| *value > measure.threshold(options))?;
            Some((*measure, value))
        };
        options.criterion.measures().iter().find_map(over)
    }
}

/// What a container uses.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct ContainerLoad {
    /// The engine's id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its processor time in percent of one core; when absent, it counts as an even share of what the member bears.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_percent: Option<f64>,
}

impl ContainerLoad {
    /// A container that uses so much.
    #[must_use]
    pub fn new(id: impl Into<String>, name: impl Into<String>, cpu_percent: Option<f64>) -> Self {
        ContainerLoad { id: id.into(), name: name.into(), cpu_percent }
    }
}

/// One of the two things that are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Measure {
    Cpu,
    Latency,
}

impl Criterion {
    fn measures(self) -> &'static [Measure] {
        match self {
            Criterion::Cpu => &[Measure::Cpu],
            Criterion::Latency => &[Measure::Latency],
            Criterion::CpuOrLatency => &[Measure::Cpu, Measure::Latency],
        }
    }
}

impl Measure {
    fn threshold(self, options: &ReliefOptions) -> f64 {
        match self {
            Measure::Cpu => options.cpu_percent,
            Measure::Latency => options.latency_ms,
        }
    }

    fn told(self, value: f64) -> String {
        match self {
            Measure::Cpu => format!("cpu {value:.1} %"),
            Measure::Latency => format!("latency {value:.1} ms"),
        }
    }
}

/// A container that would go, and where it may go to, best first.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Choice {
    pub(super) container: ContainerLoad,
    /// Its share, in percent of one core.
    cores_percent: f64,
    pub(super) targets: Vec<(String, String)>,
}

/// What the members bear, and will once all that is planned has been done.
#[derive(Debug)]
pub(super) struct Outlook<'a> {
    loads: BTreeMap<&'a str, MemberLoad>,
    options: &'a ReliefOptions,
}

impl<'a> Outlook<'a> {
    pub(super) fn new(loads: &'a [MemberLoad], options: &'a ReliefOptions) -> Self {
        let known = |value: Option<f64>| value.filter(|value| value.is_finite() && *value >= 0.0);
        let loads = loads.iter().map(|load| {
            let load_of =
                MemberLoad { cpu_percent: known(load.cpu_percent), latency_ms: known(load.latency_ms), ..load.clone() };
            (load.node.as_str(), load_of)
        });
        Outlook { loads: loads.collect(), options }
    }

    fn threshold(&self, measure: Measure) -> f64 {
        measure.threshold(self.options)
    }

    /// What a member may bear with something more: enough below the threshold that it is not over it in a moment.
    fn ceiling(&self, measure: Measure) -> f64 {
        self.threshold(measure) * (1.0 - self.options.margin_percent / 100.0)
    }

    fn measures(&self) -> &'static [Measure] {
        self.options.criterion.measures()
    }

    fn strain(&self, node: &str) -> Option<(Measure, f64)> {
        self.loads.get(node)?.strain(self.options)
    }

    /// Why a member is over its measure; none when it is not.
    pub(super) fn why(&self, node: &str) -> Option<String> {
        let (measure, value) = self.strain(node)?;
        Some(format!("{} is over {}", measure.told(value), measure.told(self.threshold(measure))))
    }

    /// Which containers may go from a member that is over its measure, best first, and where to.
    ///
    /// # Errors
    /// Why none may.
    pub(super) fn choices(&self, node: &str) -> Result<Vec<Choice>, String> {
        let (Some(load), Some((measure, value))) = (self.loads.get(node), self.strain(node)) else {
            return Err("is not over its measure".to_owned());
        };
        let cores = f64::from(load.cpus.unwrap_or(1).max(1));
        let mut candidates: Vec<(f64, &ContainerLoad)> = Vec::new();
        let (mut resting, mut idle) = (0, 0);
        for container in &load.containers {
            if self.options.resting.contains(&container.id) || self.options.resting.contains(&container.name) {
                resting += 1;
                continue;
            }
            let even = load.cpu_percent.unwrap_or_default() / load.containers.len() as f64;
            let measured = container.cpu_percent.filter(|percent| percent.is_finite() && *percent >= 0.0);
            let share = measured.map_or(even, |percent| percent / cores);
            if measure == Measure::Cpu && share < SHARE_MIN {
                idle += 1;
                continue;
            }
            candidates.push((share, container));
        }
        if candidates.is_empty() {
            return Err(match (load.containers.len(), resting, idle) {
                (0, ..) => "it has no container that could go".to_owned(),
                (_, 0, _) => format!("none of its {idle} containers uses enough of its processors to be a relief"),
                (_, _, 0) => "its containers were moved lately".to_owned(),
                _ => {
                    "its containers were moved lately, or do not use enough of its processors to be a relief".to_owned()
                }
            });
        }
        let need = match measure {
            Measure::Cpu => value - self.ceiling(measure),
            // What a container contributes to that nobody knows: the busiest goes.
            Measure::Latency => f64::INFINITY,
        };
        // The smallest that is enough, so that little is moved; where none is, the largest.
        candidates.sort_by(|(one, a), (other, b)| {
            let order = match (*one >= need, *other >= need) {
                (true, true) => one.total_cmp(other),
                (false, false) => other.total_cmp(one),
                (true, false) => Ordering::Less,
                (false, true) => Ordering::Greater,
            };
            order.then_with(|| a.name.cmp(&b.name))
        });
        let choices = candidates.into_iter().map(|(share, container)| {
            let cores_percent = share * cores;
            Choice { container: container.clone(), cores_percent, targets: self.targets(node, measure, cores_percent) }
        });
        let choices: Vec<_> = choices.filter(|choice| !choice.targets.is_empty()).collect();
        if choices.is_empty() {
            let below = self.measures().iter().map(|measure| measure.told(self.ceiling(*measure)));
            let below = below.collect::<Vec<_>>().join(" and ");
            return Err(format!("no other member is measured and stays below {below} with one of its containers"));
        }
        Ok(choices)
    }

    /// The members that stay below their measures with so much more, and why; those that will bear least first.
    fn targets(&self, source: &str, by: Measure, cores_percent: f64) -> Vec<(String, String)> {
        let mut targets: Vec<_> = self.loads.iter().filter(|(node, _)| **node != source).collect();
        targets.retain(|(_, load)| {
            self.measures().iter().all(|measure| match Self::with(load, *measure, cores_percent) {
                Some(value) => value <= self.ceiling(*measure),
                None => *measure != by,
            })
        });
        let rank = |load: &MemberLoad| Self::with(load, by, cores_percent).unwrap_or(f64::INFINITY);
        targets.sort_by(|(a, one), (b, other)| rank(one).total_cmp(&rank(other)).then_with(|| a.cmp(b)));
        let told = |load: &MemberLoad| {
            let measures = self
                .measures()
                .iter()
                .filter_map(|measure| Some(measure.told(Self::with(load, *measure, cores_percent)?)));
            measures.collect::<Vec<_>>().join(" and ")
        };
        targets.into_iter().map(|(node, load)| ((*node).to_owned(), format!("will have {}", told(load)))).collect()
    }

    /// What a member bears with so much more.
    fn with(load: &MemberLoad, measure: Measure, cores_percent: f64) -> Option<f64> {
        let more = match measure {
            Measure::Cpu => cores_percent / f64::from(load.cpus.unwrap_or(1).max(1)),
            Measure::Latency => 0.0,
        };
        Some(load.value(measure)? + more)
    }

    /// What comes is counted before it is there, so that not all go to the same member.
    pub(super) fn expect(&mut self, choice: &Choice, target: &str) {
        if let Some(load) = self.loads.get_mut(target) {
            load.cpu_percent = Self::with(load, Measure::Cpu, choice.cores_percent);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `node cpu/latency/cores container=percent …`; `-` is what is not known.
    fn load(text: &str) -> MemberLoad {
        let mut words = text.split_whitespace();
        let (node, measured) = (words.next().unwrap(), words.next().unwrap());
        let number = |text: &str| text.parse::<f64>().ok();
        let measured: Vec<_> = measured.split('/').collect();
        MemberLoad {
            node: node.to_owned(),
            cpu_percent: number(measured[0]),
            latency_ms: number(measured[1]),
            cpus: measured[2].parse().ok(),
            containers: words
                .map(|word| {
                    let (name, percent) = word.split_once('=').unwrap();
                    ContainerLoad::new(format!("{name}-id"), name, number(percent))
                })
                .collect(),
        }
    }

    /// What would go where: `container>target,target`, best first; or why nothing does.
    fn chosen(loads: &[&str], options: &ReliefOptions) -> Vec<String> {
        let loads: Vec<_> = loads.iter().map(|text| load(text)).collect();
        let outlook = Outlook::new(&loads, options);
        let mut told = Vec::new();
        for member in loads.iter().filter(|member| outlook.why(&member.node).is_some()) {
            match outlook.choices(&member.node) {
                Ok(choices) => told.extend(choices.into_iter().map(|choice| {
                    let targets: Vec<_> = choice.targets.iter().map(|(node, _)| node.as_str()).collect();
                    format!("{}>{}", choice.container.name, targets.join(","))
                })),
                Err(reason) => told.push(format!("{}: {reason}", member.node)),
            }
        }
        told
    }

    #[test]
    fn the_smallest_that_is_enough_goes_to_the_member_that_bears_least() {
        let cpu = ReliefOptions::by(Criterion::Cpu);
        for (loads, expected) in [
            // Nobody is over the threshold; exactly on it is not over.
            (vec!["a 80/-/1 x=50", "b 10/-/1"], vec![]),
            // 95 has to come below 72.
            (
                vec!["a 95/-/1 small=5 enough=25 large=65", "b 10/-/1", "c 5/-/1"],
                vec!["enough>c,b", "large>c", "small>c,b"],
            ),
            // No single one is enough: the largest goes.
            (vec!["a 95/-/1 x=5 y=20 z=10", "b 10/-/1"], vec!["y>b", "z>b", "x>b"]),
            // Four cores: 80 % of one is 20 % of the machine, and all of the one that b has.
            (
                vec!["a 90/-/4 x=80", "b 10/-/1"],
                vec!["a: no other member is measured and stays below cpu 72.0 % with one of its containers"],
            ),
            (vec!["a 90/-/4 x=80", "b 10/-/8"], vec!["x>b"]),
            // What is not known counts as an even share: 45 each.
            (vec!["a 90/-/1 x=- y=-", "b 20/-/1", "c 30/-/1"], vec!["x>b", "y>b"]),
            // A member that nobody measures is no target, and one within the margin is none.
            (
                vec!["a 95/-/1 x=30", "b -/-/1", "c 43/-/1"],
                vec!["a: no other member is measured and stays below cpu 72.0 % with one of its containers"],
            ),
            // Nothing that goes would help.
            (
                vec!["a 95/-/1 x=0.5", "b 10/-/1"],
                vec!["a: none of its 1 containers uses enough of its processors to be a relief"],
            ),
            (vec!["a 95/-/1", "b 10/-/1"], vec!["a: it has no container that could go"]),
            // Latency is not asked for.
            (vec!["a 10/900/1 x=5", "b 10/1/1"], vec![]),
        ] {
            assert_eq!(chosen(&loads, &cpu), expected, "{loads:?}");
        }
    }

    #[test]
    fn latency_and_both() {
        let latency = ReliefOptions::by(Criterion::Latency);
        for (loads, expected) in [
            (vec!["a 99/100/1 x=1", "b 10/1/1"], vec![]),
            (
                vec!["a -/101/1 idle=0 busy=50", "b 99/20/1", "c 5/90/1", "d 5/91/1", "e 5/-/1"],
                vec!["busy>b,c", "idle>b,c"],
            ),
        ] {
            assert_eq!(chosen(&loads, &latency), expected, "{loads:?}");
        }
        let both = ReliefOptions::by(Criterion::CpuOrLatency);
        for (loads, expected) in [
            // Over by one is over; what is known of the other has to fit, too.
            (vec!["a 10/150/1 x=10", "b 70/1/1", "c 5/1/1", "d -/1/1"], vec!["x>c,d"]),
            (vec!["a 95/1/1 x=40", "b 10/99/1", "c 20/-/1", "d -/1/1"], vec!["x>c"]),
        ] {
            assert_eq!(chosen(&loads, &both), expected, "{loads:?}");
        }
    }

    #[test]
    fn what_was_moved_lately_stays_and_what_is_planned_counts() {
        let mut options = ReliefOptions::by(Criterion::Cpu);
        let two = ["a 95/-/1 x=30 y=30", "b 5/-/1"];
        options.resting = ["x".to_owned()].into();
        assert_eq!(chosen(&two, &options), ["y>b"]);
        options.resting.insert("y-id".to_owned());
        assert_eq!(chosen(&two, &options), ["a: its containers were moved lately"]);
        options.resting.clear();
        let loads: Vec<_> = ["a 95/-/1 x=40", "b 90/-/1 y=40", "c 10/-/1"].iter().map(|text| load(text)).collect();
        let mut outlook = Outlook::new(&loads, &options);
        let first = outlook.choices("a").unwrap().remove(0);
        assert_eq!(first.targets[0], ("c".to_owned(), "will have cpu 50.0 %".to_owned()));
        outlook.expect(&first, "c");
        assert!(outlook.choices("b").is_err(), "c has 50 % by then");
    }

    #[test]
    fn what_is_no_number_is_not_known() {
        let mut member = load("a 95/-/1 x=30");
        member.cpu_percent = Some(f64::NAN);
        let options = ReliefOptions::by(Criterion::Cpu);
        assert_eq!(Outlook::new(&[member.clone()], &options).why("a"), None);
        member.cpu_percent = Some(95.0);
        member.containers[0].cpu_percent = Some(f64::INFINITY);
        let loads = [member, load("b 1/-/2")];
        // An even share, which is all of it: more than the threshold less the margin on one core, and half of that on two.
        let choices = Outlook::new(&loads, &options).choices("a").unwrap();
        assert_eq!(choices[0].targets, [("b".to_owned(), "will have cpu 48.5 %".to_owned())]);
    }
}

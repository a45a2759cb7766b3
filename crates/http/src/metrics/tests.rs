//! Whether all that is known is told, once, and under labels that stay as they are.

use std::collections::BTreeMap;

use roadstead_core::usage::{ContainerUsage, MachineUsage, Sampling};
use roadstead_core::{ContainerStats, NetworkStats, NodeUsage, Timestamp};
use serde_json::{Map, Value, json};

use super::families::ALL;
use super::names::Names;
use super::nodes::{Answered, samples};
use super::text::write;

fn used(usage: NodeUsage) -> Answered {
    Answered::Used(Box::new(usage))
}

fn text(nodes: &[(&str, Answered)]) -> String {
    text_of(nodes, 1000)
}

fn text_of(nodes: &[(&str, Answered)], most: usize) -> String {
    write(samples(nodes, &Names::default().of(super::nodes::used(nodes), |_| true), most))
}

/// Makes a value in which nothing is lacking, as a schema of the API describes it.
struct Full<'a> {
    schemas: &'a Value,
    /// Each number by the way to it.
    numbers: BTreeMap<String, u32>,
}

impl Full<'_> {
    fn make(&mut self, schema: &Value, way: &str) -> Value {
        if let Some(name) = schema["$ref"].as_str() {
            let known = self.schemas;
            return self.make(&known[name.rsplit('/').next().unwrap()], way);
        }
        if let Some(parts) = schema["allOf"].as_array() {
            let parts = parts.iter().flat_map(|part| match self.make(part, way) {
                Value::Object(members) => members,
                other => panic!("{way} has a part that is no object: {other}"),
            });
            return Value::Object(parts.collect::<Map<_, _>>());
        }
        if let Some(either) = schema["oneOf"].as_array() {
            return self.make(either.iter().find(|one| one["type"] != "null").unwrap(), way);
        }
        if let Some(words) = schema["enum"].as_array() {
            return words[0].clone();
        }
        match schema["type"].as_str().unwrap_or_else(|| schema["type"][0].as_str().unwrap()) {
            "object" => {
                let members = schema["properties"].as_object().unwrap();
                let members =
                    members.iter().map(|(name, schema)| (name.clone(), self.make(schema, &format!("{way}/{name}"))));
                Value::Object(members.collect())
            }
            "array" => {
                // The only list of numbers is of three.
                let count = if schema["items"]["type"] == "number" { 3 } else { 1 };
                (0..count).map(|at| self.make(&schema["items"], &format!("{way}/{at}"))).collect()
            }
            "number" | "integer" => {
                let number = 1000 + u32::try_from(self.numbers.len()).unwrap();
                self.numbers.insert(way.to_owned(), number);
                number.into()
            }
            "boolean" => (!way.ends_with("/of_guest")).into(),
            "string" if schema["format"] == "date-time" || way.ends_with("_at") => "2026-01-02T03:04:05Z".into(),
            "string" => way.into(),
            other => panic!("{way} is {other}"),
        }
    }
}

#[test]
fn every_number_that_is_known_is_told() {
    let document = serde_json::to_value(crate::openapi()).unwrap();
    let schemas = &document["components"]["schemas"];
    let mut full = Full { schemas, numbers: BTreeMap::new() };
    let usage = full.make(&json!({"$ref": "#/components/schemas/NodeUsage"}), "");
    let usage: NodeUsage = serde_json::from_value(usage).unwrap();
    assert!(full.numbers.len() > 60, "{:?}", full.numbers);
    let text = text(&[("sea", used(usage))]);
    // What follows from counters and times is for whoever reads them.
    full.numbers.retain(|way, _| {
        !way.contains("/rates/")
            && (way.starts_with("/sampling/") || !(way.ends_with("_percent") || way.ends_with("/percent")))
    });
    for (way, number) in &full.numbers {
        let number = if way.ends_with("_percent") { f64::from(*number) / 100.0 } else { f64::from(*number) };
        let told = text.lines().filter(|line| line.ends_with(&format!("}} {number}"))).count();
        // The number of a core is a label.
        let is_label = way.ends_with("/core") && text.contains(&format!("core=\"{number}\""));
        assert!(told == 1 || is_label, "{way}, {number}, is told {told} times: {text}");
    }
    for family in ALL {
        assert!(text.contains(&format!("# HELP {} ", family.name)), "{family:?} is of nothing");
    }
    assert!(text.contains("roadstead_machine_sampling_slowed{machine=\"/machine/hostname\"} 1\n"), "{text}");
}

#[test]
fn what_is_too_much_is_counted() {
    let now = Timestamp::now();
    let mut usage = NodeUsage::at("sea", now);
    for number in 0..10 {
        let stats = ContainerStats::at(now);
        usage.containers.push(ContainerUsage::new(format!("{number:020}"), format!("c{number}"), stats));
    }
    // Ids that begin alike are told apart by their names, and those that cannot be are told once.
    usage.containers.push(ContainerUsage::new("0".repeat(20), "c0", ContainerStats::at(now)));
    let nodes = [("sea", used(usage))];
    let all = text(&nodes);
    assert_eq!(all.matches("roadstead_container_pids{").count(), 10, "{all}");
    assert!(all.contains("roadstead_node_series_left_out{node=\"sea\"} 0\n"));
    // Three of each: cpu, memory, pids.
    let text = text_of(&nodes, 10);
    assert_eq!(text.matches("roadstead_container_pids{").count(), 2, "{text}");
    assert!(text.contains("roadstead_node_series_left_out{node=\"sea\"} 24\n"), "{text}");
    let first = "roadstead_container_pids{node=\"sea\",container=\"000000000000\",name=\"c0\"} 0\n";
    assert!(text.contains(first), "{text}");
}

/// A node on the machine with this name and start, of which as many processes are told.
fn on(hostname: Option<&str>, boot_id: Option<&str>, processes: u64) -> Answered {
    let mut machine = MachineUsage::default();
    machine.hostname = hostname.map(str::to_owned);
    machine.boot_id = boot_id.map(str::to_owned);
    machine.processes = processes;
    let mut usage = NodeUsage::at("any", Timestamp::now());
    (usage.machine, usage.sampling) = (Some(machine), Some(Sampling::default()));
    used(usage)
}

/// Machines with their processes, and the machines of nodes, as they are told.
fn told(nodes: &[(&str, Answered)]) -> (Vec<String>, Vec<String>) {
    let text = text(nodes);
    let of = |family: &str| {
        let lines = text.lines().filter_map(|line| line.strip_prefix(family)?.split_once('}'));
        lines.map(|(labels, value)| format!("{labels}{value}").replace('"', "")).collect()
    };
    (of("roadstead_machine_processes{machine="), of("roadstead_node_machine_info{node="))
}

#[test]
fn a_machine_is_told_once_however_many_nodes_are_on_it() {
    let nodes = [
        ("away", Answered::Away),
        ("bay", on(Some("heim"), Some("11111111-2"), 5)),
        ("sea", on(Some("heim"), Some("11111111-2"), 6)),
        ("plain", Answered::Cannot),
        ("other", on(Some("ort"), Some("33333333-4"), 7)),
    ];
    let (machines, on) = told(&nodes);
    assert_eq!(machines, ["heim 5", "ort 7"]);
    assert_eq!(on, ["bay,machine=heim 1", "sea,machine=heim 1", "other,machine=ort 1"]);
    let text = text(&nodes);
    assert_eq!(text.matches("roadstead_machine_sampling_slowed{").count(), 2, "{text}");
    assert!(!text.contains("roadstead_machine_uptime_seconds{node"), "{text}");
}

#[test]
fn machines_with_one_name_are_told_apart() {
    let nodes = [
        ("a", on(Some("heim"), Some("11111111-2"), 1)),
        ("b", on(Some("heim"), Some("22222222-3"), 2)),
        // Those that do not say which they are: a server that is older.
        ("c", on(None, None, 3)),
        ("d", on(None, None, 4)),
        // And one whose name is like another's that was told apart.
        ("e", on(Some("heim-11111111"), Some("5"), 5)),
    ];
    let (machines, _) = told(&nodes);
    assert_eq!(machines, ["heim-11111111 1", "heim-22222222 2", "c 3", "d 4", "heim-11111111+ 5"]);
}

#[test]
fn ends_of_containers_and_what_is_there_twice_are_left_out() {
    let mut usage = NodeUsage::at("sea", Timestamp::now());
    let mut machine = MachineUsage::default();
    for (name, of_guest) in [("eth0", false), ("veth1a2b", true), ("eth0", false)] {
        let mut nic = NetworkStats::default();
        (nic.name, nic.of_guest) = (name.to_owned(), of_guest);
        machine.nics.push(nic);
    }
    usage.machine = Some(machine);
    let text = text(&[("sea", used(usage))]);
    assert_eq!(text.matches("roadstead_machine_network_sent_bytes_total{").count(), 1, "{text}");
    assert!(text.contains("interface=\"eth0\"") && !text.contains("veth"), "{text}");
}

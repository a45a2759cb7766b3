//! The names under which machines are told, which stay what they were when others come and go.

use std::collections::{BTreeMap, BTreeSet};

use roadstead_core::NodeUsage;

use super::machine::beginning;

/// A host name is at most so long, and so is what is taken for one.
const NAME_MAX: usize = 64;
/// So much of what tells machines with one name apart is told.
const APART: usize = 8;

/// What was told of machines before.
#[derive(Debug, Default)]
pub(crate) struct Names(Vec<Named>);

/// A machine that has a label.
#[derive(Debug)]
struct Named {
    name: String,
    /// What tells it apart from others with its name.
    key: String,
    label: String,
    /// Those that were on it when they answered last.
    nodes: BTreeSet<String>,
}

impl Names {
    /// The machine of each node that tells of one, by the name of the node: the value of its label `machine`, which is its host name.
    /// Of machines that have one in common, the beginning of what tells them apart follows it, but not in that which was told of
    /// before there was another. One that does not say which it is counts as another one than all others. What was on nodes
    /// that are not there any more is forgotten.
    pub(super) fn of<'a>(
        &mut self,
        nodes: impl Iterator<Item = (&'a str, &'a NodeUsage)>,
        is_there: impl Fn(&str) -> bool,
    ) -> BTreeMap<&'a str, String> {
        // By their names, the machines with the nodes that are on them.
        let mut machines: BTreeMap<&str, BTreeMap<&str, Vec<&str>>> = BTreeMap::new();
        for (node, usage) in nodes {
            let Some(machine) = &usage.machine else { continue };
            let key = machine.boot_id.as_deref().unwrap_or(node);
            let name = machine.hostname.as_deref().filter(|name| !name.is_empty()).unwrap_or(node);
            machines.entry(beginning(name, NAME_MAX)).or_default().entry(key).or_default().push(node);
        }
        for named in &mut self.0 {
            named.nodes.retain(|node| is_there(node));
        }
        for (name, keys) in &machines {
            for (key, nodes) in keys {
                self.started_again(name, key, nodes, keys);
            }
        }
        self.0.retain(|named| !named.nodes.is_empty());
        let mut names = BTreeMap::new();
        for (name, keys) in machines {
            let is_alone = keys.len() == 1 && self.0.iter().all(|named| named.name != name);
            for (key, nodes) in keys {
                let label = self.label(name, key, &nodes, is_alone);
                names.extend(nodes.into_iter().map(|node| (node, label.clone())));
            }
        }
        names
    }

    /// A machine that was started has another key, and keeps its label: it is the one on which its nodes were, if nobody tells of
    /// that any more. Otherwise, the nodes are on another machine than before.
    fn started_again(&mut self, name: &str, key: &str, nodes: &[&str], told: &BTreeMap<&str, Vec<&str>>) {
        let mut is_known = self.0.iter().any(|named| named.name == name && named.key == key);
        for named in self.0.iter_mut().filter(|named| named.name != name || named.key != key) {
            let is_over = named.name == name && !told.contains_key(named.key.as_str());
            if !is_known && is_over && nodes.iter().any(|node| named.nodes.contains(*node)) {
                key.clone_into(&mut named.key);
                is_known = true;
                continue;
            }
            named.nodes.retain(|node| !nodes.contains(&node.as_str()));
        }
    }

    /// The label of a machine, which it has from then on.
    fn label(&mut self, name: &str, key: &str, nodes: &[&str], is_alone: bool) -> String {
        let nodes = nodes.iter().map(|node| (*node).to_owned());
        if let Some(named) = self.0.iter_mut().find(|named| named.name == name && named.key == key) {
            named.nodes.extend(nodes);
            return named.label.clone();
        }
        let mut label = if is_alone { name.to_owned() } else { format!("{name}-{}", beginning(key, APART)) };
        // A name may end as if it had been told apart.
        while self.0.iter().any(|named| named.label == label) {
            label.push('+');
        }
        let (name, key, nodes) = (name.to_owned(), key.to_owned(), nodes.collect());
        self.0.push(Named { name, key, label: label.clone(), nodes });
        label
    }
}

#[cfg(test)]
mod tests {
    use roadstead_core::Timestamp;
    use roadstead_core::usage::MachineUsage;

    use super::*;

    /// The labels, where these nodes are on machines that are called `box` and have these keys.
    fn told(names: &mut Names, nodes: &[(&str, &str)]) -> Vec<String> {
        told_of(names, nodes, |_| true)
    }

    fn told_of(names: &mut Names, nodes: &[(&str, &str)], is_there: impl Fn(&str) -> bool) -> Vec<String> {
        let usage = |(node, boot): &(&str, &str)| {
            let mut machine = MachineUsage::default();
            (machine.hostname, machine.boot_id) = (Some("box".to_owned()), Some((*boot).to_owned()));
            let mut usage = NodeUsage::at(*node, Timestamp::now());
            usage.machine = Some(machine);
            usage
        };
        let usages: Vec<_> = nodes.iter().map(usage).collect();
        let nodes: Vec<_> = nodes.iter().map(|(node, _)| *node).collect();
        let labels = names.of(nodes.iter().copied().zip(&usages), is_there);
        nodes.iter().map(|node| labels[node].clone()).collect()
    }

    #[test]
    fn a_machine_keeps_its_label_whoever_else_is_there() {
        let mut names = Names::default();
        assert_eq!(told(&mut names, &[("a", "1")]), ["box"]);
        assert_eq!(told(&mut names, &[("a", "1"), ("b", "2")]), ["box", "box-2"]);
        assert_eq!(told(&mut names, &[("b", "2")]), ["box-2"]);
        assert_eq!(told(&mut names, &[("c", "2"), ("a", "1")]), ["box-2", "box"]);
        // Two that are seen together are told apart, and stay so.
        let mut names = Names::default();
        assert_eq!(told(&mut names, &[("a", "1"), ("b", "2")]), ["box-1", "box-2"]);
        assert_eq!(told(&mut names, &[("a", "1")]), ["box-1"]);
    }

    #[test]
    fn a_machine_that_is_started_again_keeps_its_label() {
        let mut names = Names::default();
        assert_eq!(told(&mut names, &[("a", "1"), ("b", "1"), ("c", "2")]), ["box-1", "box-1", "box-2"]);
        // Not all of its nodes answer at once.
        assert_eq!(told(&mut names, &[("a", "3"), ("c", "2")]), ["box-1", "box-2"]);
        assert_eq!(told(&mut names, &[("a", "3"), ("b", "3")]), ["box-1", "box-1"]);
        // A node that is on another machine now takes no label along.
        assert_eq!(told(&mut names, &[("a", "4"), ("b", "3"), ("c", "2")]), ["box-4", "box-1", "box-2"]);
    }

    #[test]
    fn what_was_on_nodes_that_are_gone_is_forgotten() {
        let mut names = Names::default();
        assert_eq!(told(&mut names, &[("a", "1"), ("b", "2")]), ["box-1", "box-2"]);
        assert_eq!(told_of(&mut names, &[], |_| false), Vec::<String>::new());
        assert!(names.0.is_empty(), "{names:?}");
        assert_eq!(told(&mut names, &[("b", "2")]), ["box"]);
    }
}

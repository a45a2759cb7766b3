//! What the dialect keeps in memory: the last metrics of each node and container, to be told when a node does not answer, and the
//! sizes of machines.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The most that is kept of metrics, in bytes of JSON, whatever they are of.
const BYTES_MAX: usize = 32 * 1024 * 1024;
/// The most documents.
const DOCUMENTS_MAX: usize = 4096;
/// How long the memory of a machine is taken to be what it was.
const MEMORY_KEPT: Duration = Duration::from_secs(300);
/// Of so many machines.
const MACHINES_MAX: usize = 4096;

/// What is kept.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// Whoever adds or removes a node holds it.
    pub(in crate::dialects) changing: tokio::sync::Mutex<()>,
    last: Mutex<Last>,
    memory: Mutex<HashMap<String, (u64, Instant)>>,
}

/// Of what metrics are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Of {
    /// The name of the node.
    pub(super) node: String,
    /// The id of the container; absent for the node itself.
    pub(super) container: Option<String>,
}

impl Of {
    pub(super) fn node(node: &str) -> Self {
        Of { node: node.to_owned(), container: None }
    }

    pub(super) fn container(node: &str, container: &str) -> Self {
        Of { node: node.to_owned(), container: Some(container.to_owned()) }
    }
}

/// The last documents, the oldest first.
#[derive(Debug, Default)]
struct Last {
    documents: HashMap<Of, (Arc<Value>, usize, u64)>,
    order: VecDeque<(Of, u64)>,
    bytes: usize,
    number: u64,
}

/// A poisoned lock only says that another thread panicked; what it guards is a copy of what can be had again.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Last {
    fn put(&mut self, of: Of, document: Arc<Value>, bytes: usize) {
        if bytes > BYTES_MAX {
            self.remove(&of);
            return;
        }
        self.number += 1;
        let number = self.number;
        if let Some((_, before, _)) = self.documents.insert(of.clone(), (document, bytes, number)) {
            self.bytes -= before;
        }
        self.bytes += bytes;
        self.order.push_back((of, number));
        while self.bytes > BYTES_MAX || self.documents.len() > DOCUMENTS_MAX {
            let Some((oldest, number)) = self.order.pop_front() else { break };
            if self.documents.get(&oldest).is_some_and(|(_, _, last)| *last == number) {
                self.remove(&oldest);
            }
        }
        // What was replaced since stands in the order in vain.
        if self.order.len() > 2 * DOCUMENTS_MAX {
            let documents = &self.documents;
            self.order.retain(|(of, number)| documents.get(of).is_some_and(|(_, _, last)| last == number));
        }
    }

    fn remove(&mut self, of: &Of) {
        if let Some((_, bytes, _)) = self.documents.remove(of) {
            self.bytes -= bytes;
        }
    }
}

impl Kept {
    /// Keeps metrics.
    pub(super) fn put(&self, of: Of, document: &Arc<Value>) {
        let bytes = serde_json::to_vec(document).map_or(0, |json| json.len());
        lock(&self.last).put(of, Arc::clone(document), bytes);
    }

    /// The last metrics, marked as such.
    pub(super) fn stale(&self, of: &Of) -> Option<Value> {
        let document = lock(&self.last).documents.get(of).map(|(document, ..)| Arc::clone(document))?;
        let mut document = Value::clone(&document);
        document.as_object_mut()?.insert("Stale".to_owned(), true.into());
        Some(document)
    }

    /// The containers of a node of which metrics are kept.
    pub(super) fn containers(&self, node: &str) -> Vec<String> {
        let last = lock(&self.last);
        last.documents.keys().filter(|of| of.node == node).filter_map(|of| of.container.clone()).collect()
    }

    /// Forgets a container that has ended.
    pub(super) fn forget_container(&self, of: &Of) {
        lock(&self.last).remove(of);
    }

    /// Forgets a node that was removed, and its containers.
    pub(in crate::dialects) fn forget(&self, node: &str) {
        let mut last = lock(&self.last);
        let gone: Vec<Of> = last.documents.keys().filter(|of| of.node == node).cloned().collect();
        for of in gone {
            last.remove(&of);
        }
        lock(&self.memory).remove(node);
    }

    /// The memory of the machine of a node, if it is known.
    pub(super) fn memory(&self, node: &str) -> Option<u64> {
        let memory = lock(&self.memory);
        memory.get(node).filter(|(_, at)| at.elapsed() < MEMORY_KEPT).map(|(bytes, _)| *bytes)
    }

    /// Keeps the memory of the machine of a node.
    pub(super) fn put_memory(&self, node: &str, bytes: u64) {
        let mut memory = lock(&self.memory);
        if memory.len() >= MACHINES_MAX {
            memory.clear();
        }
        memory.insert(node.to_owned(), (bytes, Instant::now()));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_last_is_told_as_stale_and_forgotten_with_its_node() {
        let kept = Kept::default();
        let (node, container) = (Of::node("sea"), Of::container("sea", "c"));
        kept.put(node.clone(), &Arc::new(json!({"Host": "sea", "Stale": false})));
        kept.put(container.clone(), &Arc::new(json!({"Id": "c", "Stale": false})));
        kept.put(Of::node("lake"), &Arc::new(json!({})));
        assert_eq!(kept.stale(&node).unwrap().to_string(), r#"{"Host":"sea","Stale":true}"#);
        assert_eq!((kept.containers("sea"), kept.containers("lake")), (vec!["c".to_owned()], Vec::new()));
        kept.forget_container(&container);
        assert_eq!(kept.stale(&container), None);
        kept.forget("sea");
        assert_eq!(kept.stale(&node), None);
        assert!(kept.stale(&Of::node("lake")).is_some());
        assert_eq!(lock(&kept.last).bytes, 2);
    }

    #[test]
    fn it_is_bounded() {
        let mut last = Last::default();
        let of = |number: usize| Of::container("sea", &number.to_string());
        for number in 0..3 * DOCUMENTS_MAX {
            last.put(of(number), Arc::default(), 10);
            // One that is told again and again does not push others out.
            last.put(of(0), Arc::default(), 10);
        }
        assert_eq!((last.documents.len(), last.bytes), (DOCUMENTS_MAX, 10 * DOCUMENTS_MAX));
        assert!(last.documents.contains_key(&of(0)) && last.order.len() <= 2 * DOCUMENTS_MAX + 1);
        last.put(of(1), Arc::default(), BYTES_MAX - 5);
        assert_eq!((last.documents.len(), last.bytes), (1, BYTES_MAX - 5));
        last.put(of(1), Arc::default(), BYTES_MAX + 1);
        assert_eq!((last.documents.len(), last.bytes), (0, 0));
    }

    #[test]
    fn the_memory_of_a_machine_is_known_for_a_while() {
        let kept = Kept::default();
        assert_eq!(kept.memory("sea"), None);
        kept.put_memory("sea", 5);
        assert_eq!(kept.memory("sea"), Some(5));
    }
}

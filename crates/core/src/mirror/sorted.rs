//! Containers in their order, shared between versions: a change copies one piece of the list, and not the list.
//!
//! A version is a list of pieces, each with at most [`PIECE_MAX`] items. Of 10,000 containers a change copies about a hundred
//! pointers to pieces and two hundred to items; everything else is the version's before.

use std::sync::Arc;

use super::item::{Item, ItemKey};

/// The most items of one piece.
const PIECE_MAX: usize = 256;
/// A piece with fewer is joined to the next one.
const PIECE_MIN: usize = 32;

type Piece = Arc<Vec<Arc<Item>>>;

/// A version of the list.
#[derive(Clone, Debug, Default)]
pub(super) struct Sorted {
    /// None is empty.
    pieces: Arc<Vec<Piece>>,
    len: usize,
}

impl Sorted {
    /// The list of these, in any order.
    pub(super) fn new(mut items: Vec<Arc<Item>>) -> Self {
        items.sort_by(|a, b| a.key().cmp(b.key()));
        let len = items.len();
        // Room for what comes next, so that it does not split every piece.
        let pieces = items.chunks(PIECE_MAX * 3 / 4).map(|piece| Arc::new(piece.to_vec())).collect();
        Sorted { pieces: Arc::new(pieces), len }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// All of them, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Item>> {
        self.pieces.iter().flat_map(|piece| piece.iter())
    }

    /// Those behind this place, in order.
    pub(super) fn after<'a>(&'a self, key: &ItemKey) -> impl Iterator<Item = &'a Arc<Item>> + use<'a> {
        let at = self.piece_of(key);
        let first = self.pieces.get(at);
        let begin = first.map_or(0, |piece| piece.partition_point(|item| item.key() <= key));
        let rest = self.pieces.get(at + 1..).unwrap_or_default();
        first
            .into_iter()
            .flat_map(move |piece| piece.get(begin..).unwrap_or_default())
            .chain(rest.iter().flat_map(|piece| piece.iter()))
    }

    /// The piece in which this place is, or would be.
    fn piece_of(&self, key: &ItemKey) -> usize {
        let behind = self.pieces.partition_point(|piece| piece.first().is_some_and(|first| first.key() <= key));
        behind.saturating_sub(1)
    }

    /// Takes one in. Its place must be free.
    pub(super) fn insert(&mut self, item: Arc<Item>) {
        let at = self.piece_of(item.key());
        let pieces = Arc::make_mut(&mut self.pieces);
        self.len += 1;
        let Some(piece) = pieces.get_mut(at) else {
            pieces.push(Arc::new(vec![item]));
            return;
        };
        let items = Arc::make_mut(piece);
        items.insert(items.partition_point(|other| other.key() < item.key()), item);
        if items.len() > PIECE_MAX {
            let half = items.split_off(items.len() / 2);
            pieces.insert(at + 1, Arc::new(half));
        }
    }

    /// Takes one out, if it is there.
    pub(super) fn remove(&mut self, key: &ItemKey) {
        let at = self.piece_of(key);
        let found = self.pieces.get(at).and_then(|piece| piece.binary_search_by(|item| item.key().cmp(key)).ok());
        let Some(index) = found else { return };
        let pieces = Arc::make_mut(&mut self.pieces);
        self.len -= 1;
        let Some(items) = pieces.get_mut(at).map(Arc::make_mut) else { return };
        items.remove(index);
        if items.len() >= PIECE_MIN {
            return;
        }
        let rest = std::mem::take(items);
        pieces.remove(at);
        // What is left goes to a neighbour; alone it stays, unless it is empty.
        match pieces.get_mut(at) {
            Some(next) if !rest.is_empty() => {
                Arc::make_mut(next).splice(..0, rest);
            }
            None if !rest.is_empty() => match at.checked_sub(1).and_then(|before| pieces.get_mut(before)) {
                Some(before) => Arc::make_mut(before).extend(rest),
                None => pieces.push(Arc::new(rest)),
            },
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::{ContainerSummary, Timestamp};

    fn item(created: i64, id: u16) -> Arc<Item> {
        let created_at = Timestamp::from_unix_seconds(created);
        Arc::new(Item::new(ContainerSummary { id: id.to_string(), created_at, ..ContainerSummary::default() }))
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

        /// Whatever is put in and taken out, it is what a sorted map of the same has, and versions before stay as they were.
        #[test]
        fn it_is_a_sorted_map(steps in prop::collection::vec((any::<bool>(), 0_i64..40, 0_u16..900), 0..3000)) {
            let mut sorted = Sorted::default();
            let mut model = BTreeMap::new();
            let mut before = (sorted.clone(), model.clone());
            for (number, (put, created, id)) in steps.into_iter().enumerate() {
                let item = item(created, id);
                if put && !model.contains_key(item.key()) {
                    model.insert(item.key().clone(), ());
                    sorted.insert(item);
                } else if !put {
                    model.remove(item.key());
                    sorted.remove(item.key());
                }
                if number == 1000 {
                    before = (sorted.clone(), model.clone());
                }
            }
            for (sorted, model) in [(&sorted, &model), (&before.0, &before.1)] {
                prop_assert!(sorted.iter().map(|item| item.key()).eq(model.keys()));
                prop_assert_eq!(sorted.len(), model.len());
                prop_assert!(sorted.pieces.iter().all(|piece| !piece.is_empty()));
                let all: Vec<_> = sorted.iter().cloned().collect();
                let made = Sorted::new(all.into_iter().rev().collect());
                prop_assert!(made.iter().map(|item| item.key()).eq(model.keys()));
                for (created, id) in [(0, 5), (20, 450), (39, 899), (50, 1)] {
                    let key = item(created, id).key().clone();
                    let behind = model.range((std::ops::Bound::Excluded(&key), std::ops::Bound::Unbounded));
                    prop_assert!(sorted.after(&key).map(|item| item.key()).eq(behind.map(|(key, ())| key)));
                }
            }
        }
    }
}

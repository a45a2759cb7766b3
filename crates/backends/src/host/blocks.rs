//! A ring that grows by blocks: it takes no more memory than what is in it needs, but for a part of a block, and what is in it never
//! moves. A vector would have up to twice what it needs, and copy all of it when it grows.

use std::collections::VecDeque;

/// The last so many of what was pushed, so many in a block.
#[derive(Clone, Debug)]
pub(super) struct Blocks<T, const BLOCK: usize> {
    /// All but the last are full.
    blocks: VecDeque<Vec<T>>,
    /// So many at the beginning of the first do not count any more.
    over: usize,
    /// One that was the first, to be the last again.
    spare: Option<Vec<T>>,
    len: usize,
    most: usize,
}

impl<T, const BLOCK: usize> Blocks<T, BLOCK> {
    /// Keeps at most so many, and at least one.
    pub(super) fn new(most: usize) -> Self {
        Blocks { blocks: VecDeque::new(), over: 0, spare: None, len: 0, most: most.max(1) }
    }

    /// Adds one behind the others; the first one is gone where there would be too many.
    pub(super) fn push(&mut self, item: T) {
        match self.blocks.back_mut() {
            Some(last) if last.len() < BLOCK => last.push(item),
            _ => {
                let mut block = self.spare.take().unwrap_or_else(|| Vec::with_capacity(BLOCK));
                block.push(item);
                self.blocks.push_back(block);
            }
        }
        if self.len < self.most {
            self.len += 1;
            return;
        }
        self.over += 1;
        if self.over == BLOCK {
            self.over = 0;
            self.spare = self.blocks.pop_front().map(|mut block| {
                block.clear();
                block
            });
        }
    }

    /// All of them, the oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.blocks.iter().flatten().skip(self.over)
    }

    /// The bytes that they take beside their owner.
    pub(super) fn bytes(&self) -> usize {
        let block = BLOCK * size_of::<T>();
        self.blocks.capacity() * size_of::<Vec<T>>() + (self.blocks.len() + usize::from(self.spare.is_some())) * block
    }

    /// The most bytes that so many take: parts of two blocks may not count, and the list of blocks doubles as it grows.
    #[cfg(test)]
    pub(super) fn most_bytes(count: usize) -> usize {
        let blocks = count.div_ceil(BLOCK) + 2;
        blocks * BLOCK * size_of::<T>() + blocks.next_power_of_two().max(4) * size_of::<Vec<T>>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_are_kept() {
        for most in [1, 2, 15, 16, 17, 100] {
            let mut blocks = Blocks::<_, 16>::new(most);
            assert_eq!((blocks.iter().count(), blocks.bytes()), (0, 0));
            for item in 0..500_usize {
                blocks.push(item);
                let kept: Vec<usize> = blocks.iter().copied().collect();
                let expected: Vec<usize> = ((item + 1).saturating_sub(most)..=item).collect();
                assert_eq!(kept, expected);
                assert!(blocks.bytes() <= Blocks::<usize, 16>::most_bytes(most), "{} of {most}", blocks.bytes());
            }
        }
    }

    #[test]
    fn it_takes_what_it_needs() {
        let mut blocks = Blocks::<_, 16>::new(10_000);
        for item in 0..1_000_u32 {
            blocks.push(item);
        }
        let items = 1_000 * size_of::<u32>();
        let list = 64 * size_of::<Vec<u32>>();
        assert!(blocks.bytes() <= items + 16 * size_of::<u32>() + list, "{}", blocks.bytes());
    }
}

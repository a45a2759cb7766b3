//! Bytes as choices: what a fuzzer changes in them changes one number or one word of what is made.

/// What is left of the bytes. When there are none, everything is as small as it can be.
#[derive(Debug)]
pub(crate) struct Given<'a>(&'a [u8]);

impl<'a> Given<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Given(bytes)
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    pub(crate) fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// Any number; small ones and the largest ones often.
    pub(crate) fn number(&mut self) -> u64 {
        match self.byte() % 4 {
            0 => u64::from(self.byte()),
            1 => u64::from_le_bytes([self.byte(), self.byte(), self.byte(), self.byte(), 0, 0, 0, 0]),
            2 => u64::from_le_bytes(std::array::from_fn(|_| self.byte())),
            _ => u64::MAX - u64::from(self.byte()),
        }
    }

    pub(crate) fn small(&mut self) -> u32 {
        u32::from_le_bytes(std::array::from_fn(|_| self.byte()))
    }

    pub(crate) fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.flag().then(|| make(self))
    }

    pub(crate) fn several<T>(&mut self, most: u8, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let count = self.byte() % (most + 1);
        (0..count).map(|_| make(self)).collect()
    }

    pub(crate) fn one_of<T: Clone>(&mut self, all: &[T]) -> T {
        all[usize::from(self.byte()) % all.len()].clone()
    }

    /// At most so many bytes; those that may not be there are letters.
    pub(crate) fn bytes(&mut self, most: u8, may_be: impl Fn(u8) -> bool) -> Vec<u8> {
        self.several(most, |given| {
            let byte = given.byte();
            if may_be(byte) { byte } else { b'a' + byte % 26 }
        })
    }

    /// Letters, digits and signs without blanks, at least one.
    pub(crate) fn word(&mut self, most: u8) -> String {
        let word = self.bytes(most - 1, |byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b'=' | b','));
        format!("w{}", String::from_utf8_lossy(&word))
    }
}

//! Ids and made-up names that follow from a seed, so that a run can be repeated exactly.

/// A sequence of ids: splitmix64, which needs no more than one word of state.
#[derive(Debug)]
pub(super) struct Ids {
    state: u64,
}

const FIRST: [&str; 8] = ["quiet", "windy", "deep", "bright", "stony", "broad", "outer", "calm"];
const SECOND: [&str; 8] = ["harbour", "anchor", "buoy", "jetty", "lagoon", "mooring", "sound", "tide"];

impl Ids {
    pub(super) fn new(seed: u64) -> Self {
        Ids { state: seed }
    }

    pub(super) fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 64 hexadecimal digits.
    pub(super) fn id(&mut self) -> String {
        (0..4).map(|_| format!("{:016x}", self.number())).collect()
    }

    /// A name such as `windy_anchor`; `attempt` makes it longer when the short one is taken.
    pub(super) fn name(&mut self, attempt: u32) -> String {
        let number = self.number();
        let pick = |words: &'static [&'static str; 8], shift: u32| {
            words.get(usize::try_from((number >> shift) % 8).unwrap_or(0)).copied().unwrap_or("ship")
        };
        let name = format!("{}_{}", pick(&FIRST, 0), pick(&SECOND, 8));
        if attempt == 0 { name } else { format!("{name}{}", number % 1_000_000) }
    }
}

/// A seed from a text: FNV-1a, the same on every machine.
pub(super) fn seed_of(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_give_equal_ids() {
        let (mut one, mut two, mut other) = (Ids::new(7), Ids::new(7), Ids::new(8));
        let id = one.id();
        assert_eq!(id.len(), 64);
        assert_eq!(id, two.id());
        assert_ne!(id, other.id());
        assert_eq!(one.name(1), two.name(1));
        assert_ne!(seed_of("a"), seed_of("b"));
    }
}

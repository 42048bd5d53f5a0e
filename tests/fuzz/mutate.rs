//! Mutations of valid inputs.

/// Longest input.
const INPUT_BYTES_MAX: usize = 1 << 20;
/// Numbers that lengths and counts often go wrong at.
const NUMBERS: [u64; 10] =
    [0, 1, 0x7f, 0x80, 0xff, 0xffff, 0x7fff_ffff, 0xffff_ffff, 0x7fff_ffff_ffff_ffff, 0xffff_ffff_ffff_ffff];

/// Draws for one execution of one target.
pub(crate) struct Mutator(u64);

impl Mutator {
    pub(crate) fn new(target: &str, execution: u64) -> Self {
        // FNV-1a of the name, so that targets differ.
        let name = target
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        Self(name ^ execution.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// SplitMix64 (Steele, Lea and Flood 2014).
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end.max(1)).unwrap_or(1)).unwrap_or(0)
    }

    /// A valid input with one to eight changes; sometimes nothing but noise.
    pub(crate) fn input(&mut self, valid: &[Vec<u8>]) -> Vec<u8> {
        let mut input = if valid.is_empty() || self.below(64) == 0 {
            (0..self.below(300)).map(|_| self.next().to_le_bytes()[0]).collect()
        } else {
            valid[self.below(valid.len())].clone()
        };
        for _ in 0..=self.below(8) {
            self.change(&mut input, valid);
        }
        input.truncate(INPUT_BYTES_MAX);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, valid: &[Vec<u8>]) {
        let place = self.below(input.len() + 1);
        let length = self.below(64).min(input.len() - place);
        match self.below(9) {
            0 if place < input.len() => input[place] ^= 1 << self.below(8),
            1 if place < input.len() => input[place] = NUMBERS[self.below(NUMBERS.len())].to_le_bytes()[0],
            2 => drop(input.drain(place..place + length)),
            3 => {
                let copy = input[place..place + length].to_vec();
                let target = self.below(input.len() + 1);
                input.splice(target..target, copy);
            }
            4 => {
                let noise: Vec<u8> = (0..self.below(32)).map(|_| self.next().to_le_bytes()[0]).collect();
                input.splice(place..place, noise);
            }
            5 => input.truncate(place),
            6 | 7 => {
                let width = [2, 4, 8][self.below(3)];
                let number = NUMBERS[self.below(NUMBERS.len())].wrapping_sub(u64::from(self.below(2) == 0));
                let bytes =
                    if self.below(2) == 0 { number.to_le_bytes() } else { number.rotate_left(32).to_be_bytes() };
                let end = input.len().min(place + width);
                let start = end.saturating_sub(width);
                input[start..end].copy_from_slice(&bytes[..end - start]);
            }
            _ if !valid.is_empty() => {
                let other = &valid[self.below(valid.len())];
                let from = self.below(other.len() + 1);
                input.truncate(place);
                input.extend_from_slice(&other[from..]);
            }
            _ => {}
        }
    }
}

//! Typed values of BCF records (VCF specification, section 6.3.3).

use crate::error::PlaceProblem;

const CUT_OFF: PlaceProblem = PlaceProblem::Damaged("its parts are longer than the whole");
const WRONG_TYPE: PlaceProblem = PlaceProblem::Damaged("a value has the wrong type");

/// What one place of an integer vector holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cell {
    Value(i32),
    Missing,
    /// The vector of this sample is shorter than the longest.
    End,
}

/// Bytes of a record part not yet read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a>(&'a [u8]);

/// A vector of integers of one width.
#[derive(Debug, Clone, Copy)]
pub(super) struct Integers<'a> {
    bytes: &'a [u8],
    width: usize,
}

/// Type and length of a value.
struct Descriptor {
    width: usize,
    kind: Kind,
    len: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Nothing,
    Integer,
    Float,
    Text,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, PlaceProblem> {
        let (head, rest) = self.0.split_first_chunk().ok_or(CUT_OFF)?;
        self.0 = rest;
        Ok(u32::from_le_bytes(*head))
    }

    /// A dictionary index.
    pub(super) fn key(&mut self) -> Result<u32, PlaceProblem> {
        match self.integers()?.get(0) {
            Some(Cell::Value(value)) => u32::try_from(value).map_err(|_| WRONG_TYPE),
            _ => Err(WRONG_TYPE),
        }
    }

    /// A text; a missing one is empty.
    pub(super) fn text(&mut self) -> Result<&'a [u8], PlaceProblem> {
        let descriptor = self.descriptor()?;
        match descriptor.kind {
            Kind::Text => self.take(descriptor.len),
            Kind::Nothing => Ok(&[]),
            _ => Err(WRONG_TYPE),
        }
    }

    /// A vector of integers; a missing one is empty.
    pub(super) fn integers(&mut self) -> Result<Integers<'a>, PlaceProblem> {
        self.integers_per_sample(1)
    }

    /// The vectors of integers of all samples, one after the other.
    pub(super) fn integers_per_sample(&mut self, samples: usize) -> Result<Integers<'a>, PlaceProblem> {
        let descriptor = self.descriptor()?;
        match descriptor.kind {
            Kind::Integer | Kind::Nothing => {
                let bytes = self.take(descriptor.bytes(samples)?)?;
                Ok(Integers { bytes, width: descriptor.width.max(1) })
            }
            _ => Err(WRONG_TYPE),
        }
    }

    pub(super) fn skip_value(&mut self) -> Result<(), PlaceProblem> {
        self.skip_values_per_sample(1)
    }

    pub(super) fn skip_values_per_sample(&mut self, samples: usize) -> Result<(), PlaceProblem> {
        let bytes = self.descriptor()?.bytes(samples)?;
        self.take(bytes).map(|_| ())
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], PlaceProblem> {
        let (head, rest) = self.0.split_at_checked(len).ok_or(CUT_OFF)?;
        self.0 = rest;
        Ok(head)
    }

    fn descriptor(&mut self) -> Result<Descriptor, PlaceProblem> {
        const LENGTH_FOLLOWS: u8 = 15;
        let byte = *self.0.first().ok_or(CUT_OFF)?;
        self.0 = &self.0[1..];
        let (kind, width) = kind_of(byte & 15)?;
        let len = match byte >> 4 {
            LENGTH_FOLLOWS => self.long_length()?,
            len => usize::from(len),
        };
        Ok(Descriptor { width, kind, len })
    }

    /// A length of 15 or more: an integer value of its own.
    fn long_length(&mut self) -> Result<usize, PlaceProblem> {
        let byte = *self.0.first().ok_or(CUT_OFF)?;
        self.0 = &self.0[1..];
        let (kind, width) = kind_of(byte & 15)?;
        if kind != Kind::Integer || byte >> 4 != 1 {
            return Err(WRONG_TYPE);
        }
        let integers = Integers { bytes: self.take(width)?, width };
        match integers.get(0) {
            Some(Cell::Value(value)) => usize::try_from(value).map_err(|_| WRONG_TYPE),
            _ => Err(WRONG_TYPE),
        }
    }
}

impl Descriptor {
    fn bytes(&self, samples: usize) -> Result<usize, PlaceProblem> {
        self.len.checked_mul(self.width).and_then(|bytes| bytes.checked_mul(samples)).ok_or(CUT_OFF)
    }
}

fn kind_of(code: u8) -> Result<(Kind, usize), PlaceProblem> {
    match code {
        0 => Ok((Kind::Nothing, 0)),
        1 => Ok((Kind::Integer, 1)),
        2 => Ok((Kind::Integer, 2)),
        3 => Ok((Kind::Integer, 4)),
        5 => Ok((Kind::Float, 4)),
        7 => Ok((Kind::Text, 1)),
        _ => Err(WRONG_TYPE),
    }
}

impl Integers<'_> {
    pub(super) fn len(&self) -> usize {
        self.bytes.len() / self.width
    }

    /// The values' bytes when they are one byte wide, else nothing.
    pub(super) fn single_bytes(&self) -> &[u8] {
        if self.width == 1 { self.bytes } else { &[] }
    }

    /// The place with this number, or `None` past the end.
    pub(super) fn get(&self, place: usize) -> Option<Cell> {
        let start = place.checked_mul(self.width)?;
        // The lowest value of each width stands for a missing one, the next for the end.
        let (value, lowest) = match self.bytes.get(start..start.checked_add(self.width)?)? {
            [a] => (i32::from(i8::from_le_bytes([*a])), i32::from(i8::MIN)),
            [a, b] => (i32::from(i16::from_le_bytes([*a, *b])), i32::from(i16::MIN)),
            [a, b, c, d] => (i32::from_le_bytes([*a, *b, *c, *d]), i32::MIN),
            _ => return None,
        };
        Some(match value.wrapping_sub(lowest) {
            0 => Cell::Missing,
            1 => Cell::End,
            _ => Cell::Value(value),
        })
    }

    pub(super) fn cells(&self) -> impl Iterator<Item = Cell> + '_ {
        (0..self.len()).map_while(|place| self.get(place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn integers_of_each_width_tell_missing_and_end_from_values() {
        for (bytes, width, expected) in [
            (&[0x80, 0x81, 0x05, 0xff][..], 1, vec![Cell::Missing, Cell::End, Cell::Value(5), Cell::Value(-1)]),
            (&[0x00, 0x80, 0x01, 0x80, 0x2c, 0x01], 2, vec![Cell::Missing, Cell::End, Cell::Value(300)]),
            (&[0, 0, 0, 0x80, 1, 0, 0, 0x80, 7, 0, 0, 0], 4, vec![Cell::Missing, Cell::End, Cell::Value(7)]),
        ] {
            let integers = Integers { bytes, width };
            assert_eq!(integers.cells().collect::<Vec<_>>(), expected);
            assert_eq!(integers.get(expected.len()), None);
        }
    }

    #[test]
    fn long_texts_carry_their_length_apart() {
        let text = "ACGT".repeat(10);
        let bytes = [&[0xf7, 0x11, 40][..], text.as_bytes(), &[0x07]].concat();
        let mut cursor = Cursor::new(&bytes);
        assert_eq!(cursor.text(), Ok(text.as_bytes()));
        assert_eq!(cursor.text(), Ok(&b""[..]));
        assert_eq!(cursor.text(), Err(CUT_OFF));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60), samples in 0usize..5) {
            let mut cursor = Cursor::new(&bytes);
            while cursor.integers_per_sample(samples).is_ok_and(|values| values.cells().count() > 0) {}
            while cursor.skip_values_per_sample(samples).is_ok() && !cursor.0.is_empty() {}
            let _ = cursor.text();
        }
    }
}

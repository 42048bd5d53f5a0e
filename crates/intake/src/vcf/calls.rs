//! Genotype calls in VCF notation.

use super::{CallsFound, Want};
use crate::report::RefusalReason;
use locus_genomics::Genotype;

/// A call of one person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    /// Two alleles, each a number or not called.
    Diploid(Option<u32>, Option<u32>),
    /// Nothing was called; the notation `.` leaves the ploidy open.
    None,
    /// One allele.
    Haploid,
    /// Three or more alleles.
    Polyploid,
}

/// Parses a GT value: allele numbers or dots separated by `/` or `|`, with an optional leading
/// separator (VCF 4.4). `None` when it is no GT value.
pub(crate) fn parse_call(text: &[u8]) -> Option<Call> {
    if let [first, b'/' | b'|', second] = text {
        return Some(Call::Diploid(single(*first)?, single(*second)?));
    }
    if text == b"." {
        return Some(Call::None);
    }
    let text = text.strip_prefix(b"/").or_else(|| text.strip_prefix(b"|")).unwrap_or(text);
    let mut alleles = text.split(|byte| matches!(byte, b'/' | b'|')).map(parse_allele);
    let call = match (alleles.next()??, alleles.next()) {
        (Some(_), None) => Call::Haploid,
        (None, None) => Call::None,
        (first, Some(second)) => Call::Diploid(first, second?),
    };
    match alleles.next() {
        None => Some(call),
        Some(third) => {
            third?;
            alleles.try_for_each(|allele| allele.map(|_| ()))?;
            Some(Call::Polyploid)
        }
    }
}

/// An allele of one character: `Some(None)` for a dot.
fn single(byte: u8) -> Option<Option<u32>> {
    match byte {
        b'.' => Some(None),
        b'0'..=b'9' => Some(Some(u32::from(byte - b'0'))),
        _ => None,
    }
}

fn parse_allele(text: &[u8]) -> Option<Option<u32>> {
    match text {
        [byte] => single(*byte),
        _ if text.is_empty() || text.len() > 6 || !text.iter().all(u8::is_ascii_digit) => None,
        _ => Some(Some(text.iter().fold(0, |number, byte| number * 10 + u32::from(byte - b'0')))),
    }
}

/// Whether every allele named exists in a record with this many alternate alleles.
pub(crate) fn names_known_alleles(call: Call, alt_alleles: u32) -> bool {
    let known = |allele: Option<u32>| allele.is_none_or(|number| number <= alt_alleles);
    match call {
        Call::Diploid(first, second) => known(first) && known(second),
        _ => true,
    }
}

/// Reads the wanted genotype off a call, or the reason that makes the whole record unusable. A
/// half call (`./1`) is missing: the other allele may be anything.
pub(crate) fn genotype(call: Call, want: Want) -> Result<Genotype, RefusalReason> {
    match call {
        Call::Haploid => Err(RefusalReason::Haploid),
        Call::Polyploid => Err(RefusalReason::Polyploid),
        Call::Diploid(Some(first), Some(second)) => Ok(wanted(first, second, want)),
        Call::None | Call::Diploid(_, _) => Ok(Genotype::Missing),
    }
}

fn wanted(first: u32, second: u32, want: Want) -> Genotype {
    match want {
        Want::Copies(number) => match u8::from(first == number) + u8::from(second == number) {
            0 => Genotype::HomRef,
            1 => Genotype::Het,
            _ => Genotype::HomAlt,
        },
        Want::ReferenceOnly if (first, second) == (0, 0) => Genotype::HomRef,
        Want::NeitherIs(number) if first != number && second != number => Genotype::HomRef,
        Want::ReferenceOnly | Want::NeitherIs(_) => Genotype::Missing,
    }
}

/// Packs genotypes as they come.
pub(crate) struct RowWriter<'r> {
    row: &'r mut [u8],
    place: usize,
    unusable: Option<RefusalReason>,
}

impl<'r> RowWriter<'r> {
    pub(crate) fn new(row: &'r mut [u8]) -> Self {
        row.fill(0);
        Self { row, place: 0, unusable: None }
    }

    /// Adds the genotype of the next person; the first unusable call makes the row unusable.
    pub(crate) fn push(&mut self, genotype: Result<Genotype, RefusalReason>) {
        match genotype {
            Ok(genotype) => {
                if let Some(byte) = self.row.get_mut(self.place / 4) {
                    *byte |= genotype.code() << (2 * (self.place % 4));
                }
            }
            Err(reason) => self.unusable = self.unusable.or(Some(reason)),
        }
        self.place += 1;
    }

    pub(crate) fn finish(self) -> CallsFound {
        self.unusable.map_or(CallsFound::Diploid, CallsFound::Unusable)
    }
}

/// Reads a whole row of calls of three characters each (`0|1`), separated by tabs and with nothing
/// else, as most large files have them. `None` when anything is different; the caller then looks
/// closely.
pub(crate) fn read_plain_row(text: &[u8], alt_alleles: u32, number: u32, row: &mut [u8]) -> Option<()> {
    if alt_alleles > 9 || number > 9 || text.len() % 4 != 3 {
        return None;
    }
    let highest = u8::try_from(alt_alleles).ok()?;
    let wanted = u8::try_from(number).ok()?;
    let (groups, rest) = text.as_chunks::<16>();
    let mut odd = false;
    let mut packed = row.iter_mut();
    for group in groups {
        let mut byte = 0;
        for (place, call) in group.as_chunks::<4>().0.iter().enumerate() {
            let (code, odd_here) = plain_code(*call, highest, wanted);
            byte |= code << (2 * place);
            odd |= odd_here;
        }
        *packed.next()? = byte;
    }
    let mut byte = 0;
    for (place, call) in rest.chunks(4).enumerate() {
        let call = if let [first, separator, second] = call {
            [*first, *separator, *second, b'\t']
        } else {
            <[u8; 4]>::try_from(call).ok()?
        };
        let (code, odd_here) = plain_code(call, highest, wanted);
        byte |= code << (2 * place);
        odd |= odd_here;
    }
    *packed.next()? = byte;
    (!odd && packed.next().is_none()).then_some(())
}

/// Code of one call of four characters, and whether it is anything but two single-character
/// alleles and a tab.
fn plain_code(call: [u8; 4], highest: u8, wanted: u8) -> (u8, bool) {
    let [first, separator, second, tab] = call;
    let (left, right) = (first.wrapping_sub(b'0'), second.wrapping_sub(b'0'));
    let (no_left, no_right) = (first == b'.', second == b'.');
    let odd = (tab != b'\t')
        | ((separator != b'|') & (separator != b'/'))
        | ((left > highest) & !no_left)
        | ((right > highest) & !no_right);
    let copies = u8::from(left == wanted) + u8::from(right == wanted);
    (if no_left | no_right { 3 } else { copies }, odd)
}

/// Reads a whole row of two-allele calls of one byte an allele, as BCF has them: `2 (allele + 1)`
/// plus the phasing bit. `None` when anything is different; the caller then looks closely.
pub(crate) fn read_byte_row(bytes: &[u8], alt_alleles: u32, number: u32, people: usize, row: &mut [u8]) -> Option<()> {
    /// Codes from here on are special values.
    const SPECIAL: u8 = 0x80;
    let highest = u8::try_from(alt_alleles.checked_add(1)?).ok()?;
    let wanted = u8::try_from(number.checked_add(1)?).ok()?;
    let (calls, rest) = bytes.as_chunks::<2>();
    if calls.len() != people || !rest.is_empty() || row.len() != people.div_ceil(4) {
        return None;
    }
    let mut odd = false;
    for (group, byte) in calls.chunks(4).zip(row) {
        *byte = 0;
        for (place, [first, second]) in group.iter().enumerate() {
            let (left, right) = (first >> 1, second >> 1);
            odd |= (*first >= SPECIAL) | (*second >= SPECIAL) | (left > highest) | (right > highest);
            let copies = u8::from(left == wanted) + u8::from(right == wanted);
            let code = if (left == 0) | (right == 0) { 3 } else { copies };
            *byte |= code << (2 * place);
        }
    }
    (!odd).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn calls_parse_as_the_specification_writes_them() {
        for (text, expected) in [
            ("0/1", Some(Call::Diploid(Some(0), Some(1)))),
            ("2|10", Some(Call::Diploid(Some(2), Some(10)))),
            ("./.", Some(Call::Diploid(None, None))),
            (".|1", Some(Call::Diploid(None, Some(1)))),
            ("/0|1", Some(Call::Diploid(Some(0), Some(1)))),
            (".", Some(Call::None)),
            ("1", Some(Call::Haploid)),
            ("12", Some(Call::Haploid)),
            ("0/0/1", Some(Call::Polyploid)),
            ("", None),
            ("/", None),
            ("0/", None),
            ("0/x", None),
            ("0/0/x", None),
            ("-1/0", None),
            ("0/1234567", None),
            ("0:1", None),
        ] {
            assert_eq!(parse_call(text.as_bytes()), expected, "{text:?}");
        }
    }

    #[test]
    fn a_split_record_counts_copies_of_its_own_allele_only() {
        for (call, number, expected) in [
            ("1/2", 1, Genotype::Het),
            ("1/2", 2, Genotype::Het),
            ("2/2", 1, Genotype::HomRef),
            ("2/2", 2, Genotype::HomAlt),
            ("0/2", 1, Genotype::HomRef),
            ("./1", 1, Genotype::Missing),
        ] {
            let call = parse_call(call.as_bytes()).expect("a call");
            assert_eq!(genotype(call, Want::Copies(number)), Ok(expected), "{call:?} allele {number}");
        }
        assert_eq!(genotype(Call::Haploid, Want::Copies(1)), Err(RefusalReason::Haploid));
    }

    proptest! {
        #[test]
        fn plain_rows_read_like_single_calls(
            calls in proptest::collection::vec("[0-3.][/|][0-3.]", 1..40), number in 1u32..4, damage in 0usize..400,
        ) {
            let mut text = calls.join("\t").into_bytes();
            if let Some(byte) = text.get_mut(damage) {
                *byte = b'x';
            }
            let mut row = vec![0; calls.len().div_ceil(4)];
            let plain = read_plain_row(&text, 3, number, &mut row);
            let mut expected_row = vec![0; row.len()];
            let mut writer = RowWriter::new(&mut expected_row);
            let parsed: Option<Vec<Call>> = text.split(|byte| *byte == b'\t').map(parse_call).collect();
            prop_assert_eq!(plain.is_some(), parsed.is_some() && damage >= text.len());
            if plain.is_some() {
                parsed.into_iter().flatten().for_each(|call| writer.push(genotype(call, Want::Copies(number))));
                prop_assert_eq!(writer.finish(), CallsFound::Diploid);
                prop_assert_eq!(row, expected_row);
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(text in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = parse_call(&text);
            let _ = read_plain_row(&text, 3, 1, &mut [0; 20]);
        }
    }
}

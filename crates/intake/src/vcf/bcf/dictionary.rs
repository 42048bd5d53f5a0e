//! The two dictionaries of a BCF header: sequences, and the words FILTER, INFO and FORMAT use
//! (VCF specification, section 6.2.1).

use crate::{
    limits::DICTIONARY_WORDS_MAX,
    vcf::meta::{field, split_line},
};
use std::collections::{BTreeMap, BTreeSet};

/// Names by number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Dictionaries {
    pub(super) contigs: BTreeMap<u32, String>,
    pub(super) words: BTreeMap<u32, String>,
}

impl Dictionaries {
    /// Reads the dictionaries out of a header: a line with `IDX` says its number, one without
    /// takes the next. `PASS` is word 0.
    pub(super) fn parse(header: &str) -> Option<Self> {
        let mut dictionaries = Self::default();
        dictionaries.words.insert(0, "PASS".to_owned());
        let (mut seen_contigs, mut seen_words) = (BTreeSet::new(), BTreeSet::from(["PASS"]));
        for line in header.lines() {
            let Some((key, value)) = split_line(line) else { continue };
            let (names, seen) = match key {
                "contig" => (&mut dictionaries.contigs, &mut seen_contigs),
                "FILTER" | "INFO" | "FORMAT" => (&mut dictionaries.words, &mut seen_words),
                _ => continue,
            };
            let Some(name) = field(value, "ID") else { continue };
            let stated = field(value, "IDX").map(|index| index.parse::<u32>().ok());
            // A word that INFO and FORMAT share has one number.
            let is_new = seen.insert(name);
            let number = match stated {
                Some(number) => number?,
                None if !is_new => continue,
                None => names.last_key_value().map_or(0, |(last, _)| last.saturating_add(1)),
            };
            names.insert(number, name.to_owned());
            if names.len() > DICTIONARY_WORDS_MAX {
                return None;
            }
        }
        Some(dictionaries)
    }

    /// The number of a word.
    pub(super) fn number_of(&self, word: &str) -> Option<u32> {
        self.words.iter().find(|(_, name)| *name == word).map(|(number, _)| *number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use noodles::vcf::header::StringMaps;

    const PLAIN: &str = "##fileformat=VCFv4.3\n\
        ##contig=<ID=20>\n##contig=<ID=21,length=5>\n\
        ##INFO=<ID=DP,Number=1,Type=Integer,Description=\"Depth, total\">\n\
        ##FILTER=<ID=q10,Description=\"Quality below 10\">\n\
        ##FORMAT=<ID=GT,Number=1,Type=String,Description=\"Genotype\">\n\
        ##FORMAT=<ID=DP,Number=1,Type=Integer,Description=\"Depth\">\n\
        ##FORMAT=<ID=GQ,Number=1,Type=Integer,Description=\"Quality\">\n\
        #CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n";

    #[test]
    fn numbers_agree_with_another_reader_of_the_same_header() {
        let maps: StringMaps = PLAIN.parse().expect("a header");
        let found = Dictionaries::parse(PLAIN).expect("dictionaries");
        for word in ["PASS", "DP", "q10", "GT", "GQ"] {
            let expected = maps.strings().get_index_of(word).and_then(|index| u32::try_from(index).ok());
            assert_eq!(found.number_of(word), expected, "{word}");
        }
        assert_eq!(found.contigs, BTreeMap::from([(0, "20".to_owned()), (1, "21".to_owned())]));
    }

    #[test]
    fn stated_numbers_win() {
        let header = "##contig=<ID=7,IDX=3>\n##contig=<ID=8>\n##FORMAT=<ID=GT,IDX=9>\n##INFO=<ID=END,IDX=2>\n";
        let found = Dictionaries::parse(header).expect("dictionaries");
        assert_eq!(found.contigs, BTreeMap::from([(3, "7".to_owned()), (4, "8".to_owned())]));
        assert_eq!((found.number_of("GT"), found.number_of("END"), found.number_of("DP")), (Some(9), Some(2), None));
        assert_eq!(Dictionaries::parse("##contig=<ID=7,IDX=x>\n"), None);
    }
}

//! Two holders of one key draw the same noise: known answers, and a source without floats.

use crate::stream::{AesStream, seeded_words};
use locus_commitment::{Digest32, sha3_256};
use locus_privacy::{DiscreteGaussian, SigmaSquared, UniformBytes, UniformWords};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Known answers: sigma^2, the first eight values, the word that follows 4096 values, and the digest
/// of those 4096 values. The stream is AES-256-CTR under the key 00 01 .. 1f, from a zero block.
struct KnownAnswer {
    numerator: u128,
    denominator: u128,
    first: [i64; 8],
    next_word: u32,
    digest: &'static str,
}

/// Computed by a separate program in exact fractions.
const KNOWN_ANSWERS: [KnownAnswer; 7] = [
    KnownAnswer {
        numerator: 1,
        denominator: 16,
        first: [0, 0, 0, 0, 0, 0, 0, 0],
        next_word: 759_301_548,
        digest: "9d92239a82d2c87dd2da89602a3aa9c5a0a0836d33e7f494449fe170e932180a",
    },
    KnownAnswer {
        numerator: 1,
        denominator: 1,
        first: [0, 0, 1, 1, -2, 0, 1, 0],
        next_word: 3_344_669_901,
        digest: "19a10851d29534d5ffe8211e061f60ec72c5353c3e369c164de543a83bc3f366",
    },
    KnownAnswer {
        numerator: 7,
        denominator: 5,
        first: [0, -1, 0, 1, -2, 0, 1, 0],
        next_word: 1_531_203_780,
        digest: "66bf5f018975db3bc4f2eabe3b76a4aea1a9a498677cf64091621c9ee9b751e2",
    },
    KnownAnswer {
        numerator: 10_000,
        denominator: 3,
        first: [45, -83, 38, -1, 39, 37, 91, 93],
        next_word: 684_213_062,
        digest: "40566a7328ba7b94064500b2b50ed77f98b711360f257426aaf12ae73ff76c65",
    },
    KnownAnswer {
        numerator: 4_398_046_511_104,
        denominator: 1,
        first: [1_490_962, -2_739_513, 3_352_836, 1_278_511, 1_219_916, 2_996_751, 3_077_236, 2_812_374],
        next_word: 2_952_907_370,
        digest: "0e6acef1d6e0ed4fecf3b137841d6351c5619cb4d6a5b50bb1f3c92d252650bb",
    },
    KnownAnswer {
        numerator: 11_885_000_000_000,
        denominator: 18_518_517,
        first: [728, -1_337, -484, -329, -108, -876, 413, -617],
        next_word: 3_472_553_317,
        digest: "de01c6b2263abba4691b43944268d474d88e4ac0b93fcb9ded1587b0cbed29a8",
    },
    KnownAnswer {
        numerator: 9_007_199_254_740_991,
        denominator: 8,
        first: [23_855_393, -43_832_221, 53_645_384, 20_456_185, 19_518_658, 47_948_022, 49_235_789, 44_997_990],
        next_word: 2_952_907_370,
        digest: "d2d9754b338fd6c42084726367d8aabfa58a8d0c08440352e34477d933c2323a",
    },
];

fn counting_key() -> [u8; 32] {
    std::array::from_fn(|place| u8::try_from(place).expect("below 32"))
}

fn digest_of(values: &[i64]) -> Digest32 {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    sha3_256("locus/privacy/known-answer/v1", &[&bytes])
}

#[test]
fn the_sampler_gives_the_known_answers() {
    for known in KNOWN_ANSWERS {
        let level = SigmaSquared::try_new(known.numerator, known.denominator).expect("positive");
        let mut words = UniformWords::new(AesStream::new(counting_key()));
        let mut values = [0; 4096];
        DiscreteGaussian::try_new(level).expect("supported").fill(&mut words, &mut values);
        assert_eq!(values[..8], known.first, "sigma^2 = {level}");
        assert_eq!(digest_of(&values).to_string(), known.digest, "sigma^2 = {level}");
        assert_eq!(words.next_word(), known.next_word, "sigma^2 = {level}");
    }
}

#[test]
fn drawing_one_by_one_or_all_at_once_is_the_same() {
    let sampler = DiscreteGaussian::flooding();
    let mut at_once = [0; 1000];
    sampler.fill(&mut seeded_words(5), &mut at_once);
    let mut words = seeded_words(5);
    let one_by_one: Vec<i64> = (0..1000).map(|_| sampler.sample(&mut words)).collect();
    assert_eq!(at_once[..], one_by_one[..]);
}

/// Counts the bytes that a sampler fetches.
struct Counted(AesStream, u64);

impl UniformBytes for &mut Counted {
    fn fill(&mut self, bytes: &mut [u8]) {
        self.1 += u64::try_from(bytes.len()).expect("fits");
        self.0.fill(bytes);
    }
}

#[test]
fn a_sample_takes_fewer_than_seventeen_words_on_average() {
    let mut source = Counted(AesStream::new(counting_key()), 0);
    let mut values = vec![0; 100_000];
    DiscreteGaussian::flooding().fill(&mut UniformWords::new(&mut source), &mut values);
    let words_per_sample = source.1 as f64 / 4.0 / values.len() as f64;
    assert!((12.0..17.0).contains(&words_per_sample), "{words_per_sample}");
}

/// Every source file below a folder, with its name.
fn sources_below(folder: PathBuf) -> Vec<(String, String)> {
    let mut sources = Vec::new();
    let mut folders = vec![folder];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("readable") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
            sources.push((name, fs::read_to_string(&path).expect("text")));
        }
    }
    sources
}

fn names_a_float(source: &str) -> bool {
    source.contains("f32") || source.contains("f64")
}

#[test]
fn no_source_but_the_report_names_a_float() {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo names it");
    let here = Path::new(&package);
    let own = sources_below(here.join("src"));
    assert!(own.len() >= 12, "only {} files were found", own.len());
    for (name, text) in &own {
        match name.as_str() {
            // Figures for people, and the frequencies that tests compare.
            "report.rs" | "tests.rs" => assert!(names_a_float(text), "{name} is exempt without need"),
            _ => assert!(!names_a_float(text), "{name} names a float"),
        }
    }
    // Where the noise is drawn for ciphertexts and added to them.
    let of_ciphertexts = sources_below(here.join("../rlwe/src"));
    assert!(of_ciphertexts.len() >= 18, "only {} files were found", of_ciphertexts.len());
    for (name, text) in &of_ciphertexts {
        assert!(!names_a_float(text), "{name} of rlwe names a float");
    }
}

//! Seven filtered questions about real exomes: three keyholders who see no attribute give exactly
//! plink2's counts, on every variant. Compares nothing where the shared data are absent.

mod support;

use locus_genomics::{Genotype, PackedGenotypes, PanelBlockIndex, Plane, VARIANTS_PER_PANEL_BLOCK};
use locus_phenotype::{AttributeKind, AttributeSchema, PersonAttributes, Predicate};
use locus_privacy::{MatchFloor, SlotMask};
use locus_rlwe::{CounterRange, DatasetEncryptor, FilteredSum, Mask, combine_filtered};
use std::{collections::BTreeMap, fs, path::PathBuf, time::Instant};
use support::{
    Person,
    keyholders::{Keyholders, Shared, add_person, empty_sums, secret_bits, share_attributes},
    master, slot, tau,
};

const SCHEMA: &str = r#"{
    "name": "kgp3", "version": "1",
    "attributes": [
        {"kind": "category", "name": "population", "values": ["ACB", "ASW", "BEB", "CDX", "CEU", "CHB", "CHS", "CLM", "ESN",
         "FIN", "GBR", "GIH", "GWD", "IBS", "ITU", "JPT", "KHV", "LWK", "MSL", "MXL", "PEL", "PJL", "PUR", "STU", "TSI", "YRI"]},
        {"kind": "category", "name": "super_population", "values": ["AFR", "AMR", "EAS", "EUR", "SAS"]},
        {"kind": "category", "name": "sex", "values": ["M", "F"]},
        {"kind": "term", "term": "HP:0000819"},
        {"kind": "flag", "name": "ever_smoked"},
        {"kind": "term", "term": "HP:0002099"},
        {"kind": "term", "term": "HP:0001513"},
        {"kind": "bands", "name": "bmi", "edges": ["18.5", "25", "30"], "unit": "kg/m2"},
        {"kind": "bands", "name": "ldl", "edges": ["3", ">4"], "unit": "mmol/L"}
    ]
}"#;

/// Column of the attribute file for each attribute, in order.
const COLUMNS: [&str; 9] = [
    "POP",
    "SUPERPOP",
    "SYN_SEX",
    "SYN_DIABETES",
    "SYN_EVER_SMOKED",
    "SYN_ASTHMA",
    "SYN_OBESITY",
    "SYN_BMI",
    "SYN_LDL",
];

/// Name, predicate, people matched, gates and rounds.
const QUESTIONS: [(&str, &str, i64, [u32; 2]); 7] = [
    ("q1_eur", "super_population = 'EUR'", 503, [0, 0]),
    ("q2_diabetic", "HP:0000819", 669, [0, 0]),
    ("q3_eur_diabetic", "super_population = 'EUR' and HP:0000819", 161, [1, 1]),
    ("q4_female_bmi30", "sex = 'F' and bmi >= 30", 322, [1, 1]),
    ("q5_smoker_asthma_or_obesity", "ever_smoked and (HP:0002099 or HP:0001513)", 135, [2, 2]),
    ("q6_not_afr_ldl", "super_population <> 'AFR' and ldl > 4.0", 560, [1, 1]),
    ("q7_small_gbr_diabetic_smoker", "population = 'GBR' and HP:0000819 and ever_smoked", 10, [2, 2]),
];

fn folder() -> Option<PathBuf> {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo names it");
    let folder = PathBuf::from(package).join("../../../shared/data/kgp3_exome");
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("the shared exomes are absent, nothing was compared");
    None
}

fn unpack(path: PathBuf) -> Vec<u8> {
    let file = fs::File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    zstd::decode_all(file).expect("it is zstd")
}

/// Everybody's genotypes, A1 of the fileset being the alternate allele.
fn people(folder: &std::path::Path) -> (Vec<String>, Vec<Person>, usize) {
    let fam = fs::read_to_string(folder.join("kgp3_exome.fam")).expect("it is readable");
    let names: Vec<String> =
        fam.lines().map(|line| line.split_whitespace().nth(1).expect("two columns").to_owned()).collect();
    let bed = unpack(folder.join("kgp3_exome.bed.zst"));
    let stride = names.len().div_ceil(4);
    let variants = (bed.len() - 3) / stride;
    let codes = [Genotype::HomAlt, Genotype::Missing, Genotype::Het, Genotype::HomRef];
    let person = |place: usize| -> PackedGenotypes {
        let code = |variant: usize| (bed[3 + variant * stride + place / 4] >> (2 * (place % 4))) & 3;
        (0..variants).map(|variant| codes[usize::from(code(variant))]).collect()
    };
    let ordinals = (0u32..).zip(0..names.len());
    let people = ordinals.map(|(ordinal, place)| Person::new(ordinal, person(place))).collect();
    (names, people, variants)
}

/// A person's attributes from a row of the attribute file; NA stays unknown.
fn attributes(schema: &AttributeSchema, row: &BTreeMap<&str, &str>) -> PersonAttributes {
    let mut person = PersonAttributes::unknown(schema);
    for ((index, attribute), column) in schema.attributes().zip(COLUMNS) {
        let value = row[column];
        if value == "NA" {
            continue;
        }
        match attribute.kind {
            AttributeKind::Category { .. } if column == "SYN_SEX" => {
                person.set_category(schema, index, if value == "2" { "F" } else { "M" }).expect("a value");
            }
            AttributeKind::Category { .. } => person.set_category(schema, index, value).expect("a value"),
            AttributeKind::Flag => person.set_flag(schema, index, value == "2").expect("a flag"),
            _ => drop(person.set_number(schema, index, value.parse().expect("a number")).expect("a number")),
        }
    }
    person
}

fn shared_attributes(
    folder: &std::path::Path,
    schema: &AttributeSchema,
    names: &[String],
    people: &[Person],
) -> Vec<Shared> {
    let text = fs::read_to_string(folder.join("kgp3_attributes.tsv")).expect("it is readable");
    let mut lines = text.lines().map(|line| line.split('\t').collect::<Vec<_>>());
    let header = lines.next().expect("a header");
    let rows: BTreeMap<String, BTreeMap<&str, &str>> = lines
        .map(|fields| (fields[1].to_owned(), header.iter().copied().zip(fields.iter().copied()).collect()))
        .collect();
    let share = |(name, person): (&String, &Person)| share_attributes(person, &attributes(schema, &rows[name]), schema);
    names.iter().zip(people).map(share).collect()
}

/// (het, hom_alt) of every variant from plink2.
fn truth(folder: &std::path::Path, question: &str) -> Vec<(i64, i64)> {
    let text = unpack(folder.join(format!("gt_queries/{question}.gcount.zst")));
    let text = String::from_utf8(text).expect("it is text");
    let counts = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        (fields[5].parse().expect("a count"), fields[6].parse().expect("a count"))
    };
    text.lines().skip(1).map(counts).collect()
}

fn slots_of(block: u32, variants: usize) -> SlotMask {
    let per_block = VARIANTS_PER_PANEL_BLOCK as usize;
    let count = (variants - block as usize * per_block).min(per_block);
    SlotMask::try_new((16..16 + count).map(slot)).expect("no check slot")
}

/// Every selection's sums over one panel block, in one pass over the bodies.
fn sum_block(people: &[Person], block: PanelBlockIndex, selections: &[Shared]) -> Vec<[FilteredSum; 3]> {
    let sum = |range: std::ops::Range<usize>| {
        let mut sums: Vec<[FilteredSum; 3]> = selections.iter().map(|_| empty_sums()).collect();
        for place in range {
            let person = &people[place];
            let encryptor = DatasetEncryptor::new(&master(), &person.context, &person.genotypes);
            let body = encryptor.encrypt(Mask::v1(), block, Plane::Calls).expect("the block exists");
            let secrets = secret_bits(person, block, Plane::Calls);
            for (sums, selection) in sums.iter_mut().zip(selections) {
                add_person(sums, selection, place, &body, &secrets);
            }
        }
        sums
    };
    let middle = people.len() / 2;
    std::thread::scope(|scope| {
        let first = scope.spawn(|| sum(0..middle));
        let second = sum(middle..people.len());
        let mut sums = first.join().expect("no panic");
        for (sum, more) in sums.iter_mut().flatten().zip(second.iter().flatten()) {
            sum.merge(more).expect("the same keyholder");
        }
        sums
    })
}

#[test]
fn filtered_counts_of_the_exomes_equal_plink_and_small_matches_are_refused() {
    let Some(folder) = folder() else { return };
    let schema = AttributeSchema::parse_json(SCHEMA).expect("the document is valid");
    let (names, people, variants) = people(&folder);
    assert_eq!((people.len(), variants), (2504, 23_770));
    let rows = shared_attributes(&folder, &schema, &names, &people);
    let mut keyholders = Keyholders::new(1);
    assert_eq!(keyholders.check_bits(&rows, &schema), Ok(()));

    let started = Instant::now();
    let mut selections = Vec::new();
    for (name, text, matched, cost) in QUESTIONS {
        let predicate = Predicate::parse(text, &schema).unwrap_or_else(|error| panic!("{error}"));
        let plan = predicate.plan(&schema);
        assert_eq!([plan.cost().gates, plan.cost().rounds], cost, "{name}");
        let before = keyholders.bytes_sent;
        let selection = keyholders.evaluate(&plan, &rows);
        let sent = keyholders.bytes_sent - before;
        assert_eq!(sent, 24 * people.len() * cost[0] as usize, "{name}");
        assert!(sent <= 64 * people.len() * cost[0] as usize, "{name}");
        let noisy = keyholders.matched(&selection, [0; 3]);
        assert_eq!(noisy, matched, "{name}");
        if MatchFloor::DEFAULT.is_reached(noisy, None) {
            selections.push((name, selection));
        } else {
            assert_eq!(name, "q7_small_gbr_diabetic_smoker");
        }
    }
    assert_eq!(selections.len(), 6);
    eprintln!("seven predicates over 2,504 people: {:?}", started.elapsed());

    let weights: Vec<Shared> = selections.iter().map(|(_, selection)| selection.clone()).collect();
    let truths: Vec<_> = selections.iter().map(|(name, _)| truth(&folder, name)).collect();
    let range = CounterRange::try_new(2504, 0).expect("fits");
    let started = Instant::now();
    for block in 0..u32::try_from(variants).expect("small").div_ceil(VARIANTS_PER_PANEL_BLOCK) {
        let slots = slots_of(block, variants);
        let sums = sum_block(&people, PanelBlockIndex(block), &weights);
        for (number, (sums, truth)) in (0u64..).zip(sums.into_iter().zip(&truths)) {
            let name = tau(1000 * u64::from(block) + number);
            let parts = keyholders.finish(sums, Plane::Calls, &slots, &name, None);
            let combined = combine_filtered(Plane::Calls, &slots, parts.each_ref()).expect("one evaluation");
            let counts = combined.decode_calls(range).expect("exact counts");
            let first = block as usize * VARIANTS_PER_PANEL_BLOCK as usize;
            for (place, count) in counts.iter().enumerate() {
                assert_eq!((count.het, count.hom_alt), truth[first + place], "variant {}", first + place);
            }
        }
    }
    eprintln!("six filtered counts of 23,770 variants, encryption included: {:?}", started.elapsed());
}

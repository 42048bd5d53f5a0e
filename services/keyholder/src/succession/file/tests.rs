//! What version 1 handed over is still taken.

use super::*;

/// Written once by version 1, and never again.
const FILE: &[u8] = include_bytes!("hand-over.v1");
const SEED: [u8; 32] = [33; 32];

fn header() -> Header {
    Header {
        network: NetworkId { chain_id: 31_337, registry: Address([1; 20]) },
        giver: KeyholderIndex::ALL[0],
        successor: KeyholderIndex::ALL[2],
        successor_signer: Address([2; 20]),
    }
}

fn giver() -> AccountKey {
    AccountKey::from_bytes(&[7; 32]).expect("a key")
}

/// One record of every kind.
fn records() -> Vec<Record> {
    let kinds = (1..=i32::from(u8::MAX)).filter_map(|number| Kind::try_from(number).ok());
    kinds.zip(0u8..).map(|(kind, number)| Record::new(kind, &[number; 12], &[number; 40])).collect()
}

fn read(file: &[u8]) -> Result<Vec<Record>, SuccessionError> {
    let mut reader = HandOverReader::open(file, &header(), SealingPrivateKey::from_seed(&SEED), giver().address())?;
    let mut found = Vec::new();
    while let Some(record) = reader.next()? {
        found.push(record);
    }
    Ok(found)
}

#[test]
fn a_file_of_version_1_says_what_it_said() {
    assert!(read(FILE).expect("it is read") == records());
    let mut changed = FILE.to_vec();
    changed[FILE.len() / 2] ^= 1;
    assert!(read(&changed).is_err(), "the control");
}

#[test]
#[ignore = "writes a file"]
fn write_the_file_of_version_1_if_it_is_missing() {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo names it");
    let path = std::path::Path::new(&package).join("src/succession/file/hand-over.v1");
    if FILE.is_empty() {
        let recipient = SealingPrivateKey::from_seed(&SEED).public_key();
        let mut writer = HandOverWriter::begin(Vec::new(), &header(), recipient).expect("it begins");
        records().iter().for_each(|record| writer.push(record).expect("it goes on"));
        std::fs::write(path, writer.finish(&giver()).expect("it ends")).expect("it is written");
    }
}

//! The decoders, each with valid encodings to begin from.

use locus_client::research::load_record;
use locus_cohort::{DisclosureDocument, Requirements};
use locus_genomics::{Assembly, Panel, Variant, VariantIndex, VariantSelection};
use locus_intake::{CohortSource, IntakeOptions, PlinkFiles, read_cohort};
use locus_ledger::{ChainConfig, EmbeddedChain, SystemClock};
use locus_phenotype::{AttributeSchema, Predicate};
use locus_proofs::{
    NetworkKeys, Statement, circom, disclosure::DisclosureProof, encryption::EncryptionProof, groth16::Proof,
    keys::CircuitKey,
};
use locus_rlwe::{BODY_BYTES, Body};
use locus_sharing::seal::{SealedBox, SealingPrivateKey, SealingPublicKey};
use locus_wire::{
    convert,
    pb::{archive, exchange, genomics, keyholder, query},
};
use prost::Message;
use std::{fs, path::PathBuf, sync::Arc};

/// What one execution costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cost {
    Memory,
    File,
}

/// A decoder: says whether it took the bytes.
pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) cost: Cost,
    /// Encodings that it takes.
    pub(crate) valid: Vec<Vec<u8>>,
    pub(crate) decode: Box<dyn Fn(&[u8]) -> bool>,
}

fn memory(name: &'static str, valid: Vec<Vec<u8>>, decode: impl Fn(&[u8]) -> bool + 'static) -> Target {
    Target { name, cost: Cost::Memory, valid, decode: Box::new(decode) }
}

pub(crate) fn all() -> Vec<Target> {
    let mut targets = genomic();
    targets.extend(sealed_and_proven());
    targets.extend(messages());
    targets.extend(files());
    targets
}

fn panel() -> Panel {
    let variants: Vec<Variant> = ["1:1000:A:G", "1:2000:C:T", "2:3000:GA:G", "22:4000:T:TC"]
        .iter()
        .map(|id| id.parse().expect("a variant"))
        .collect();
    Panel::try_new("fuzz", Assembly::GRCh38, false, variants.iter().map(Variant::as_ref)).expect("a panel")
}

fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

const SCHEMA: &str = r#"{"name": "demo", "version": "1", "attributes": [
    {"kind": "category", "name": "sex", "values": ["F", "M"]}, {"kind": "flag", "name": "smoker"},
    {"kind": "bands", "name": "age", "edges": ["18", "30", "50"], "whole": true, "unit": "a"},
    {"kind": "term", "term": "HP:0000819"}],
    "ontology": {"version": "1", "is_a": [["HP:0100651", "HP:0000819"], ["HP:0000819", "HP:0011014"]]}}"#;

fn genomic() -> Vec<Target> {
    let known = panel();
    let schema = AttributeSchema::parse_json(SCHEMA).expect("a schema");
    let words = ["smoker", "NOT smoker", "smoker AND (age >= 30 OR NOT HP:0000819)"];
    let predicates = words.map(|text| text.as_bytes().to_vec()).to_vec();
    let encodings = words.map(|text| Predicate::parse(text, &schema).expect("a predicate").to_bytes()).to_vec();
    let (of_text, of_bytes) = (schema.clone(), schema);
    let selections: Vec<Vec<u8>> =
        [VariantSelection::all(&known), some(&known)].map(|all| all.to_canonical_bytes()).to_vec();
    let bound = panel();
    vec![
        memory("panel_file", vec![known.to_canonical_bytes()], |bytes| Panel::from_canonical_bytes(bytes).is_ok()),
        memory("panel_text", vec![known.to_text().into_bytes()], |bytes| Panel::parse_text(&text(bytes)).is_ok()),
        memory("selection", selections, move |bytes| {
            let unbound = VariantSelection::decode_unbound(bytes).is_ok();
            VariantSelection::from_canonical_bytes(&bound, bytes).is_ok() && unbound
        }),
        memory("schema", vec![SCHEMA.as_bytes().to_vec()], |bytes| AttributeSchema::parse_json(&text(bytes)).is_ok()),
        memory("predicate_text", predicates, move |bytes| Predicate::parse(&text(bytes), &of_text).is_ok()),
        memory("predicate", encodings, move |bytes| Predicate::from_bytes(bytes, &of_bytes).is_ok()),
    ]
}

fn some(panel: &Panel) -> VariantSelection {
    VariantSelection::from_indices(panel, [VariantIndex(0), VariantIndex(2)]).expect("they are there")
}

/// A file of `tests/vectors/v1`.
macro_rules! of_version_1 {
    ($name:literal) => {
        include_bytes!(concat!("../vectors/v1/", $name)).to_vec()
    };
}

/// A proof that parses and proves nothing: the generators of both groups, as EIP-196 and EIP-197 give them.
fn proof_of_generators() -> Vec<u8> {
    const SECOND: [&str; 4] = [
        "198e9393920d483a7260bfb731fb5d25f1aa493335a9e71297e485b7aef312c2",
        "1800deef121f1e76426a00665e5c4479674322d4f75edadd46debd5cd992f6ed",
        "090689d0585ff075ec9e99ad690c3395bc4b313370b38ef355acdadcd122975b",
        "12c85ea5db8c6deb4aab71808dcb408fe3d1e7690c43d37b4ce6cc0166fa7daa",
    ];
    let mut first = vec![0; 64];
    (first[31], first[63]) = (1, 2);
    let digits = SECOND.concat();
    let byte = |place: usize| u8::from_str_radix(&digits[2 * place..2 * place + 2], 16).expect("two digits");
    let second: Vec<u8> = (0..128).map(byte).collect();
    [&first[..], &second, &first].concat()
}

fn sealed_and_proven() -> Vec<Target> {
    let key = |statement| {
        let key =
            NetworkKeys::new(None, true).circuit_key(statement).expect("it is in the tree").expect("there is one");
        key.to_bytes()
    };
    let keys: Vec<Vec<u8>> = Statement::ALL.map(key).to_vec();
    let requirements = vec![1, 0, 0, 0, 0, 0b0110, 2, 0, 0, 0, 0b0001];
    // Version, registration, expiry, one claim, its proof.
    let head = [&[1][..], &7u64.to_le_bytes(), &1_900_000_000u64.to_le_bytes(), &[1], &[2, 0, 0, 0, 0b0110]].concat();
    let disclosure = [head, proof_of_generators()].concat();
    let proof = Proof::parse(&proof_of_generators()).expect("points");
    let public = SealingPrivateKey::from_seed(&[7; 32]).public_key().to_bytes().to_vec();
    vec![
        memory("ciphertext", vec![vec![9; BODY_BYTES]], |bytes| Body::parse(bytes).is_ok()),
        memory("sealed", vec![vec![9; 2_000]], |bytes| SealedBox::parse(bytes.to_vec()).is_ok()),
        memory("sealing_key", vec![public], |bytes| SealingPublicKey::parse(bytes).is_ok()),
        memory("encryption_proof", vec![of_version_1!("encryption.proof")], |bytes| {
            EncryptionProof::parse(bytes).is_ok()
        }),
        memory("requirements", vec![requirements], |bytes| Requirements::parse(bytes, 4).is_ok()),
        memory("offer_disclosure", vec![disclosure], |bytes| DisclosureDocument::parse(bytes).is_ok()),
        memory("disclosure_proof", vec![proof_of_generators()], |bytes| DisclosureProof::parse(bytes).is_ok()),
        memory("verifying_key", keys, |bytes| CircuitKey::parse(bytes).is_ok()),
        memory("zkey", Vec::new(), |bytes| circom::read_zkey(bytes).is_ok()),
        memory("proof_json", vec![circom::write_proof(&proof).into_bytes()], |bytes| {
            circom::read_proof(&text(bytes)).is_ok()
        }),
    ]
}

/// Messages with every field set to something, and what is parsed out of them.
fn messages() -> Vec<Target> {
    let network = || Some(genomics::Network { chain_id: 31_337, registry: vec![1; 20].into() });
    let leaf = genomics::DatasetLeaf {
        dataset_id: vec![1; 32].into(),
        person_tag: vec![2; 32].into(),
        body_digest: vec![3; 32].into(),
        share_commitment: vec![4; 32].into(),
        genotype_commitment: vec![5; 32].into(),
    };
    let header = archive::UploadHeader {
        network: network(),
        registrant: vec![2; 20].into(),
        panel_digest: vec![3; 32].into(),
        version: 1,
        batch_nonce: 7,
        accreditor: vec![4; 20].into(),
        deadline_unix_s: 9,
        dataset_count: 1,
        proven: true,
    };
    use archive::upload_datasets_request::Part;
    let record = archive::DatasetRecord {
        leaf: Some(leaf.clone()),
        share_commitments: vec![6; 96].into(),
        ciphertext_commitment: vec![0; 64].into(),
    };
    let uploads = [
        Part::Header(header),
        Part::Datasets(archive::DatasetChunk { first_ordinal: 0, datasets: vec![record] }),
        Part::Seeds(archive::SealedSeeds {
            keyholder: 1,
            first_ordinal: 0,
            dataset_count: 1,
            sealed: vec![1; 1264].into(),
        }),
    ];
    let uploads = uploads.map(|part| archive::UploadDatasetsRequest { part: Some(part) }.encode_to_vec()).to_vec();
    let selection = convert::selection_to_pb(&some(&panel()));
    let question = keyholder::Question {
        order_id: vec![1; 32].into(),
        selection: Some(selection),
        hpke_public_key: vec![2; 1216].into(),
        filter: Some(genomics::CohortFilter {
            schema_digest: vec![3; 32].into(),
            selections: vec![vec![1; 60].into()],
            authenticated: true,
        }),
        requirements: vec![1].into(),
    };
    let prepare = keyholder::PrepareAnswerRequest { question: Some(question) }.encode_to_vec();
    let attributes = keyholder::AttributeHeader {
        registration_id: 1,
        revision: 1,
        schema_json: r#"{"name":"s","version":"1","attributes":[{"name":"smoker","kind":"flag"}]}"#.to_owned(),
        dataset_count: 1,
        commitments_digest: vec![1; 32].into(),
        registrant_signature: vec![2; 65].into(),
        attempt: 0,
    };
    let attributes = attributes.encode_to_vec();
    let known = panel();
    vec![
        memory("leaf", vec![leaf.encode_to_vec()], |bytes| {
            genomics::DatasetLeaf::decode(bytes).is_ok_and(|leaf| locus_ledger::DatasetLeaf::try_from(&leaf).is_ok())
        }),
        memory("upload", uploads, |bytes| {
            let Ok(message) = archive::UploadDatasetsRequest::decode(bytes) else { return false };
            match message.part {
                Some(Part::Header(header)) => header
                    .network
                    .as_ref()
                    .is_some_and(|network| locus_commitment::NetworkId::try_from(network).is_ok()),
                Some(Part::Datasets(chunk)) => chunk.datasets.iter().all(|record| {
                    record.leaf.as_ref().is_some_and(|leaf| locus_ledger::DatasetLeaf::try_from(leaf).is_ok())
                }),
                part => part.is_some(),
            }
        }),
        memory("attributes", vec![attributes], |bytes| {
            keyholder::AttributeHeader::decode(bytes)
                .is_ok_and(|header| convert::AttributeEnrolment::try_from(&header).is_ok())
        }),
        memory("question", vec![prepare], move |bytes| {
            let Ok(message) = keyholder::PrepareAnswerRequest::decode(bytes) else { return false };
            let selection = message.question.and_then(|question| question.selection);
            selection.is_some_and(|selection| {
                convert::parse_selection(&selection, known.digest(), known.variant_count()).is_ok()
            })
        }),
        memory("order", vec![of_version_1!("messages/order.pb")], |bytes| {
            genomics::Order::decode(bytes).is_ok_and(|order| locus_ledger::Order::try_from(&order).is_ok())
        }),
        memory("offer", vec![of_version_1!("messages/offer.pb")], |bytes| {
            genomics::Offer::decode(bytes).is_ok_and(|offer| locus_ledger::Offer::try_from(&offer).is_ok())
        }),
        memory("network", Vec::new(), |bytes| {
            exchange::GetNetworkResponse::decode(bytes)
                .is_ok_and(|network| convert::NetworkInfo::try_from(&network).is_ok())
        }),
        memory("rekey_receipt", vec![of_version_1!("messages/rekey_receipt.pb")], |bytes| {
            archive::RekeyReceipt::decode(bytes)
                .is_ok_and(|receipt| convert::parse_rekeyed_keys("keys", &receipt.keys).is_ok())
        }),
        memory("answer", vec![of_version_1!("messages/answer_record.pb")], |bytes| {
            query::AnswerRecord::decode(bytes).is_ok_and(|record| record.order.is_some())
        }),
    ]
}

/// A folder that lasts as long as the process.
fn folder() -> PathBuf {
    tempfile::tempdir().expect("a folder").keep()
}

const HEAD: &str =
    "##fileformat=VCFv4.3\n##reference=GRCh38\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tA\tB\n";
const RECORDS: &str = "1\t1000\t.\tA\tG\t.\tPASS\t.\tGT\t0/1\t1|1\nchr1\t2000\t.\tC\tT\t.\tPASS\t.\tGT:DP\t./.:3\t0/0:9\n2\t3000\t.\tGA\tG\t.\tPASS\t.\tGT\t0/1\t0/0\n";
const RAW: &str = "# rsid\tchromosome\tposition\tgenotype\n# build 38\nrs1\t1\t1000\tAG\nrs2\t1\t2000\tCC\n";

fn files() -> Vec<Target> {
    vec![
        intake("vcf", "people.vcf", [HEAD, RECORDS].concat().into_bytes()),
        intake("raw_text", "raw.txt", RAW.into()),
        plink(),
        answer_file(),
        journal(),
    ]
}

fn file(name: &'static str, valid: Vec<Vec<u8>>, decode: impl Fn(&[u8]) -> bool + 'static) -> Target {
    Target { name, cost: Cost::File, valid, decode: Box::new(decode) }
}

fn intake(name: &'static str, file_name: &'static str, valid: Vec<u8>) -> Target {
    let (dir, panel) = (folder(), Arc::new(panel()));
    let path = dir.join(file_name);
    file(name, vec![valid], move |bytes| {
        fs::write(&path, bytes).expect("written");
        let source = if file_name == "raw.txt" {
            CohortSource::TwentyThree(path.clone())
        } else {
            CohortSource::Vcf(vec![path.clone()])
        };
        let options = IntakeOptions { assembly: Some(Assembly::GRCh38), ..IntakeOptions::default() };
        read_cohort(&source, &panel, &options, &dir, &mut |_| {}).is_ok()
    })
}

fn plink() -> Target {
    let (dir, panel) = (folder(), Arc::new(panel()));
    let prefix = dir.join("people");
    fs::write(dir.join("people.fam"), "A A 0 0 0 -9\nB B 0 0 0 -9\n").expect("written");
    fs::write(dir.join("people.bim"), "1\tx\t0\t1000\tG\tA\n1\ty\t0\t2000\tT\tC\n").expect("written");
    file("bed", vec![vec![0x6c, 0x1b, 1, 0b1110, 0b1000]], move |bytes| {
        fs::write(dir.join("people.bed"), bytes).expect("written");
        let source = CohortSource::Plink(PlinkFiles::of_prefix(&prefix));
        let options = IntakeOptions { assembly: Some(Assembly::GRCh38), ..IntakeOptions::default() };
        read_cohort(&source, &panel, &options, &dir, &mut |_| {}).is_ok()
    })
}

fn answer_file() -> Target {
    let path = folder().join("answer");
    let record = query::AnswerRecord { order_id: vec![1; 32].into(), ..Default::default() };
    locus_client::research::save_record(&record, &path).expect("saved");
    let valid = fs::read(&path).expect("there");
    file("answer_file", vec![valid], move |bytes| {
        fs::write(&path, bytes).expect("written");
        load_record(&path).is_ok()
    })
}

fn journal() -> Target {
    let path = folder().join("chain.journal");
    let open = move |path: &PathBuf| EmbeddedChain::open(path, &ChainConfig::new(31_337), Arc::new(SystemClock));
    drop(open(&path).expect("a new chain"));
    let valid = fs::read(&path).expect("there");
    file("chain_journal", vec![valid], move |bytes| {
        fs::write(&path, bytes).expect("written");
        open(&path).is_ok()
    })
}

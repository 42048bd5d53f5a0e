//! Small panels, keys and markets for tests.

use crate::{
    enrol::{Accreditor, BatchIdentity, EnrolInput, PreparedBatch, UploadJob},
    network::Network,
    progress::NoProgress,
};
use locus_commitment::{Address, Digest32, NetworkId, PersonTag};
use locus_genomics::{Assembly, Genotype, Panel, Variant};
use locus_intake::{CohortSource, IntakeOptions, read_cohort};
use locus_ledger::{AccountKey, CommitteeMember, Contracts};
use locus_phenotype::AttributeSchema;
use locus_privacy::{NetworkParameterValues, NetworkParameters};
use locus_sharing::{MasterSecret, seal::SealingPrivateKey};
use locus_wire::convert::NetworkInfo;
use std::{ops::Range, sync::Arc};

/// A panel of `variants` substitutions A to C at positions 1, 2, 3 of chromosome 1.
pub(crate) fn panel(variants: u32, complete_calls: bool) -> Panel {
    let list: Vec<Variant> = (1..=variants).map(|place| format!("1:{place}:A:C").parse().expect("an id")).collect();
    Panel::try_new("test", Assembly::GRCh38, complete_calls, list.iter().map(Variant::as_ref)).expect("a panel")
}

/// A small schema with an attribute of every kind.
pub(crate) fn attribute_schema() -> AttributeSchema {
    let text = r#"{
        "name": "test", "version": "1",
        "attributes": [
            {"kind": "category", "name": "sex", "values": ["M", "F"]},
            {"kind": "flag", "name": "smoker"},
            {"kind": "term", "term": "HP:0000819"},
            {"kind": "bands", "name": "age", "edges": ["40", "65"], "whole": true, "unit": "a"},
            {"kind": "quantity", "name": "bmi", "origin": "10", "step": "0.5", "bits": 3, "squares": true}
        ]
    }"#;
    AttributeSchema::parse_json(text).expect("a schema")
}

/// An account key of this number.
pub(crate) fn account(number: u8) -> AccountKey {
    AccountKey::from_bytes(&[number; 32]).expect("a key")
}

/// Signing keys of keyholders 1, 2 and 3.
pub(crate) fn keyholder_accounts() -> [AccountKey; 3] {
    [account(11), account(12), account(13)]
}

/// Sealing keys of keyholders 1, 2 and 3.
pub(crate) fn keyholder_sealing_keys() -> [SealingPrivateKey; 3] {
    [21, 22, 23].map(|number| SealingPrivateKey::from_seed(&[number; 32]))
}

/// A test market with these keyholders.
pub(crate) fn network_info() -> NetworkInfo {
    let [one, two, three] = keyholder_accounts();
    let [first, second, third] = keyholder_sealing_keys();
    let member = |account: AccountKey, sealing: SealingPrivateKey| CommitteeMember {
        signer: account.address(),
        hpke_public_key: sealing.public_key().to_bytes().to_vec(),
    };
    let values = NetworkParameterValues {
        cohort_size_min: 1,
        exact_batch_min: 1,
        exact_change_min: 1,
        test_network: true,
        ..Default::default()
    };
    NetworkInfo {
        contracts: Contracts {
            network: NetworkId { chain_id: 31_337, registry: Address([1; 20]) },
            token: Address([2; 20]),
            offer_book: Address([3; 20]),
            escrow: Address([4; 20]),
            verifier: Address([5; 20]),
        },
        parameters: NetworkParameters::try_new(values).expect("values of a test network"),
        committee: [member(one, first), member(two, second), member(three, third)],
        committee_epoch: 3,
        token_name: "Test".to_owned(),
        settles_on_cohorts: false,
    }
}

/// The market of [`network_info`].
pub(crate) fn network() -> Network {
    Network::try_new(network_info()).expect("keyholder keys")
}

/// A test cohort: its panel, its genotypes as read from a VCF file, and the truth.
pub(crate) struct TestCohort {
    pub(crate) input: EnrolInput,
    pub(crate) people: u32,
}

/// The genotype of `person` at `variant` in every test cohort: irregular, all four kinds.
pub(crate) fn genotype(variant: u32, person: u32) -> Genotype {
    let mixed = variant.wrapping_mul(0x9e37_79b9) ^ person.wrapping_mul(0x85eb_ca6b).rotate_left(13);
    match (mixed ^ (mixed >> 15)).wrapping_mul(0x2c1b_3c6d) >> 28 {
        0..=8 => Genotype::HomRef,
        9..=12 => Genotype::Het,
        13..=14 => Genotype::HomAlt,
        _ => Genotype::Missing,
    }
}

impl TestCohort {
    /// Reads `people` individuals called P0, P1, ... on a panel of `variants` variants. With complete
    /// calls, missing genotypes are homozygous reference instead.
    pub(crate) fn read(people: u32, variants: u32, complete_calls: bool) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("cohort.vcf");
        let mut text = String::from("##fileformat=VCFv4.3\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT");
        (0..people).for_each(|person| text.push_str(&format!("\tP{person}")));
        text.push('\n');
        for variant in 0..variants {
            text.push_str(&format!("1\t{}\t.\tA\tC\t.\t.\t.\tGT", variant + 1));
            for person in 0..people {
                text.push_str(match genotype(variant, person) {
                    Genotype::Het => "\t0/1",
                    Genotype::HomAlt => "\t1/1",
                    Genotype::Missing if !complete_calls => "\t./.",
                    Genotype::HomRef | Genotype::Missing => "\t0/0",
                });
            }
            text.push('\n');
        }
        std::fs::write(&path, text).expect("written");
        let panel = Arc::new(panel(variants, complete_calls));
        let options = IntakeOptions { assembly: Some(Assembly::GRCh38), ..Default::default() };
        let cohort = read_cohort(&CohortSource::Vcf(vec![path]), &panel, &options, dir.path(), &mut |_| {});
        Self { input: EnrolInput::of_cohort(panel, cohort.expect("a cohort")), people }
    }

    /// The true counts at a variant: het, hom_alt, missing.
    pub(crate) fn truth(&self, variant: u32) -> [i64; 3] {
        let mut counts = [0; 3];
        for person in 0..self.people {
            match genotype(variant, person) {
                Genotype::HomRef => {}
                Genotype::Het => counts[0] += 1,
                Genotype::HomAlt => counts[1] += 1,
                Genotype::Missing if self.input.panel.complete_calls() => {}
                Genotype::Missing => counts[2] += 1,
            }
        }
        counts
    }

    /// A biobank's upload of everybody.
    pub(crate) fn job(&self) -> UploadJob {
        let identity = BatchIdentity {
            network: network().id(),
            registrant: account(31).address(),
            version: 1,
            accreditor: Some(account(32).address()),
            proven: false,
        };
        self.job_of(identity, 0..self.people)
    }

    /// An upload of some people under another identity.
    pub(crate) fn job_of(&self, identity: BatchIdentity, people: Range<u32>) -> UploadJob {
        let master = MasterSecret::from_bytes([41; 32]);
        let accreditor: Arc<dyn Accreditor> = Arc::new(TestAccreditor);
        let vouches = identity.accreditor.is_some();
        let vouching = vouches.then_some(accreditor.as_ref());
        let batch = PreparedBatch::prepare(identity, &master, &self.input, people, vouching, &NoProgress);
        UploadJob {
            batch: batch.expect("prepared"),
            network: network(),
            registrant: account(31),
            accreditor: vouches.then_some(accreditor),
            prover: None,
            deadline_unix_s: 1_700_000_000,
        }
    }
}

/// Vouches with account 32.
pub(crate) struct TestAccreditor;

impl Accreditor for TestAccreditor {
    fn address(&self) -> Address {
        account(32).address()
    }

    fn person_tag(&self, sample: &str) -> PersonTag {
        PersonTag::of_accredited(&[42; 32], sample.as_bytes())
    }

    fn sign(&self, accreditation: &Digest32) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(account(32).sign_digest(accreditation)?.to_bytes().to_vec())
    }
}

use super::*;
use crate::{
    encryption::{BlockGenotypes, genotype_commitment},
    groth16::{Circuit as _, Shape},
    testing::{Numbers, Solved, depends_on_every_input, key_of, matches_golden_rows, system_rng, violated},
};
use ark_bn254::Fr;
use ark_ff::Field;
use locus_commitment::{
    Address, DatasetContext, DatasetId, NetworkId,
    field::{FieldBytes, encode_field},
};
use locus_genomics::{PanelDigest, VariantIndex};

/// Two elements a block, the second not full.
fn small() -> DisclosureShape {
    DisclosureShape::try_new(200).unwrap()
}

fn block(number: u32) -> BlockGenotypes {
    let mut numbers = Numbers::new(&format!("block {number}"));
    BlockGenotypes { codes: (0..200).map(|_| numbers.byte_below(4)).collect(), blinding: numbers.field() }
}

fn tree() -> GenotypeTree {
    GenotypeTree::new(&(0..20).map(|number| genotype_commitment(&block(number))).collect::<Vec<Fr>>()).unwrap()
}

fn claim_of(code: u8) -> GenotypeClaim {
    if code == 0 { GenotypeClaim::DOES_NOT_CARRY } else { GenotypeClaim::CARRIES }
}

/// A statement about a variant, true when the variant is not missing.
fn about(variant: u32, claim: Option<GenotypeClaim>) -> (DisclosurePublic, DisclosureWitness) {
    let (number, position) = (variant / 200, variant as usize % 200);
    let genotypes = block(number);
    let claim = claim.unwrap_or(claim_of(genotypes.codes[position]));
    let (dataset, binding) = (tree().root(), Fr::from(5u64));
    let public = DisclosurePublic { dataset, variant: VariantIndex(variant), claim, binding };
    (public, DisclosureWitness { genotypes, path: tree().path(number) })
}

fn verdict(public: &DisclosurePublic, witness: &DisclosureWitness) -> Result<(), DisclosureViolation> {
    let native = public.check(small(), witness);
    let circuit = violated(&DisclosureCircuit { shape: small(), public, witness });
    assert_eq!(native.is_err(), circuit.is_some(), "check says {native:?}, the circuit {circuit:?}");
    native
}

/// The first variant from a place on with this genotype.
fn with_code(code: u8, from: u32) -> u32 {
    (from..).find(|variant| block(variant / 200).codes[*variant as usize % 200] == code).unwrap()
}

#[test]
fn true_claims_hold_at_the_ends_of_elements_and_blocks() {
    for variant in [0, 125, 126, 199, 200, 325, 3999] {
        let (public, witness) = about(variant, None);
        let missing = witness.genotypes.codes[variant as usize % 200] == 3;
        assert_eq!(verdict(&public, &witness).is_ok(), !missing, "variant {variant}");
    }
}

#[test]
fn d4_false_claims_are_refused_and_a_missing_genotype_supports_none() {
    for (code, claims) in [
        (0, [GenotypeClaim::CARRIES, GenotypeClaim::HOM_ALT].as_slice()),
        (1, &[GenotypeClaim::DOES_NOT_CARRY, GenotypeClaim::HOM_ALT]),
        (2, &[GenotypeClaim::DOES_NOT_CARRY]),
        (3, &[GenotypeClaim::DOES_NOT_CARRY, GenotypeClaim::CARRIES, GenotypeClaim::HOM_ALT]),
    ] {
        for claim in claims {
            let (public, witness) = about(with_code(code, 300), Some(*claim));
            assert_eq!(verdict(&public, &witness), Err(DisclosureViolation::Claim), "code {code}, {claim:?}");
        }
    }
    assert!(GenotypeClaim::try_from_bits(0b1000).is_err() && GenotypeClaim::try_from_bits(0).is_err());
    assert_eq!(GenotypeClaim::try_from_bits(0b0110).unwrap(), GenotypeClaim::CARRIES);
}

#[test]
fn d1_other_genotypes_or_another_blinding_do_not_open_the_commitment() {
    let variant = with_code(1, 0);
    let (public, mut witness) = about(variant, Some(GenotypeClaim::DOES_NOT_CARRY));
    witness.genotypes.codes[variant as usize % 200] = 0;
    assert_eq!(verdict(&public, &witness), Err(DisclosureViolation::Path));
    let (public, mut witness) = about(variant, None);
    witness.genotypes.blinding += Fr::ONE;
    assert_eq!(verdict(&public, &witness), Err(DisclosureViolation::Path));
}

#[test]
fn d2_a_block_of_another_place_or_dataset_is_refused() {
    let (mut public, mut witness) = about(with_code(1, 0), None);
    witness.path = tree().path(17);
    assert_eq!(verdict(&public, &witness), Err(DisclosureViolation::Path));
    witness.path = tree().path(0);
    public.dataset += Fr::ONE;
    assert_eq!(verdict(&public, &witness), Err(DisclosureViolation::Path));
}

#[test]
fn d3_another_place_than_the_one_opened_is_refused() {
    // The witness opens block 0; places of other blocks must not be reachable from it.
    let (public, witness) = about(with_code(1, 0), None);
    for shift in [200, 400] {
        let moved = DisclosurePublic { variant: VariantIndex(public.variant.0 + shift), ..public.clone() };
        assert_eq!(verdict(&moved, &witness), Err(DisclosureViolation::Path));
    }
    let beyond = DisclosurePublic { variant: VariantIndex(200 << 12), ..public };
    assert_eq!(verdict(&beyond, &witness), Err(DisclosureViolation::Place));
}

#[test]
fn the_tree_over_encoded_block_commitments_is_the_same_tree() {
    let blocks: Vec<Fr> = (0..20).map(|number| genotype_commitment(&block(number))).collect();
    let mut encoded: Vec<FieldBytes> = blocks.iter().map(|block| FieldBytes(encode_field(block))).collect();
    assert_eq!(GenotypeTree::of_commitments(&encoded).unwrap().commitment(), tree().commitment());
    encoded.swap(0, 1);
    assert_ne!(GenotypeTree::of_commitments(&encoded).unwrap().commitment(), tree().commitment());
    encoded[7] = FieldBytes([0xff; 32]);
    assert!(matches!(GenotypeTree::of_commitments(&encoded), Err(crate::ProofsError::NotCanonical)));
}

#[test]
fn ten_thousand_mutated_witnesses_are_refused() {
    let (public, witness) = about(with_code(2, 100), None);
    let mut solved = Solved::new(&DisclosureCircuit { shape: small(), public: &public, witness: &witness });
    solved.has_no_free_variable();
    solved.refuses_mutations(10_000, "disclosure");
}

fn context(claims: Vec<(VariantIndex, GenotypeClaim)>) -> DisclosureContext {
    let dataset = DatasetContext {
        network: NetworkId { chain_id: 1, registry: Address([1; 20]) },
        registrant: Address([2; 20]),
        dataset: DatasetId([3; 32]),
        panel: PanelDigest([4; 32]),
        version: 1,
    };
    let purpose = "trial".to_owned();
    DisclosureContext { dataset, verifier: b"sponsor".to_vec(), purpose, nonce: [6; 32], expiry_unix_s: 7, claims }
}

#[test]
fn a_list_of_claims_verifies_for_its_verifier_purpose_time_and_dataset_only() {
    let (public, witness) = about(with_code(1, 0), None);
    let circuit = DisclosureCircuit { shape: small(), public: &public, witness: &witness };
    let key = key_of(&Shape::of(&circuit));
    let proof = key.prove(&circuit, &mut system_rng()).unwrap();
    depends_on_every_input(&key, &circuit.public_inputs(), &proof);

    let carried = (VariantIndex(with_code(2, 700)), GenotypeClaim::CARRIES);
    let lacked = (VariantIndex(with_code(0, 50)), GenotypeClaim::DOES_NOT_CARRY);
    let context = context(vec![carried, lacked]);
    let tree = tree();
    let proof = DisclosureProof::prove_shape(&key, small(), &context, &tree, block, &mut system_rng()).unwrap();
    let verifier = DisclosureVerifier::new(key.verifying_key.clone());
    let bytes = proof.to_bytes();
    let proof = DisclosureProof::parse(&bytes).unwrap();
    assert!(verifier.verify(&context, &tree.commitment(), &proof).is_ok());

    let others = [
        DisclosureContext { verifier: b"insurer".to_vec(), ..context.clone() },
        DisclosureContext { purpose: "other".to_owned(), ..context.clone() },
        DisclosureContext { nonce: [7; 32], ..context.clone() },
        DisclosureContext { expiry_unix_s: 8, ..context.clone() },
        DisclosureContext { claims: vec![lacked, carried], ..context.clone() },
        DisclosureContext { claims: vec![carried], ..context.clone() },
        DisclosureContext { claims: Vec::new(), ..context.clone() },
        DisclosureContext { dataset: DatasetContext { version: 2, ..context.dataset }, ..context.clone() },
    ];
    for other in others {
        assert!(verifier.verify(&other, &tree.commitment(), &proof).is_err());
    }
    assert!(verifier.verify(&context, &FieldBytes([0; 32]), &proof).is_err());
    assert!(matches!(
        verifier.verify(&context, &FieldBytes([0xff; 32]), &proof),
        Err(crate::ProofsError::NotCanonical)
    ));
    assert!(DisclosureProof::parse(&bytes[1..]).is_err() && DisclosureProof::parse(&[]).is_err());

    let lie = DisclosureContext { claims: vec![(carried.0, GenotypeClaim::DOES_NOT_CARRY)], ..context };
    let refused = DisclosureProof::prove_shape(&key, small(), &lie, &tree, block, &mut system_rng());
    assert!(matches!(refused, Err(crate::ProofsError::Unsatisfied { clause: "D4 claim" })));
}

#[test]
fn the_rows_match_their_golden_files() {
    matches_golden_rows(&disclosure_shape(small()));
    matches_golden_rows(&disclosure_shape(DisclosureShape::FULL));
}

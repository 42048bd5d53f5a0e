use super::*;
use crate::{
    groth16::{Circuit as _, PROOF_BYTES, Proof, Shape},
    testing::{Numbers, Solved, depends_on_every_input, key_of, matches_golden_rows, system_rng, violated},
};
use ark_bn254::Fr;
use ark_ec::CurveGroup;
use ark_ff::Field;
use locus_commitment::{Address, BodyDigest, DatasetContext, DatasetId, Digest32, NetworkId};
use locus_genomics::{PanelBlockIndex, PanelDigest, Plane};

pub(super) fn small() -> EncryptionShape {
    EncryptionShape::try_new(64).unwrap()
}

/// A body that really is the encryption of the witness.
fn encrypt(shape: EncryptionShape, plane: Plane, witness: &EncryptionWitness) -> Vec<u64> {
    let values = witness.integer_body(shape, plane);
    values.iter().zip(shape.centre()).map(|(value, centre)| reduced(*value).wrapping_add(centre)).collect()
}

fn reduced(value: i128) -> u64 {
    u64::try_from(value.rem_euclid(1 << 64)).unwrap()
}

/// A true statement.
pub(super) fn valid(plane: Plane, label: &str) -> (EncryptionPublic, EncryptionWitness) {
    let shape = small();
    let mut numbers = Numbers::new(label);
    let length = shape.ring_dimension();
    let witness = EncryptionWitness {
        shares: [(); 3].map(|()| (0..length).map(|_| numbers.byte_below(2)).collect()),
        noise: (0..length).map(|_| i64::from(numbers.byte_below(16)) - 8).collect(),
        genotypes: BlockGenotypes {
            codes: (0..shape.variants()).map(|_| numbers.byte_below(4)).collect(),
            blinding: numbers.field(),
        },
        carries: Vec::new(),
    };
    complete(plane, witness)
}

fn complete(plane: Plane, mut witness: EncryptionWitness) -> (EncryptionPublic, EncryptionWitness) {
    let body = encrypt(small(), plane, &witness);
    let binding = Fr::from(99u64);
    let public = EncryptionPublic::complete(small(), binding, plane, PanelBlockIndex(0), body, &mut witness).unwrap();
    (public, witness)
}

/// `check` and the circuit agree.
fn verdict(public: &EncryptionPublic, witness: &EncryptionWitness) -> Result<(), EncryptionViolation> {
    let native = public.check(small(), witness);
    let circuit = violated(&EncryptionCircuit::new(small(), public, witness));
    assert_eq!(native.is_err(), circuit.is_some(), "check says {native:?}, the circuit {circuit:?}");
    native
}

#[test]
fn true_statements_satisfy_check_and_circuit_on_both_planes() {
    for plane in [Plane::Calls, Plane::Missing] {
        for label in ["a", "b", "c"] {
            let (public, witness) = valid(plane, label);
            assert_eq!(verdict(&public, &witness), Ok(()));
        }
    }
}

#[test]
fn e1_a_share_that_is_not_binary_is_refused() {
    let (_, mut witness) = valid(Plane::Calls, "a");
    witness.shares[1][5] = 2;
    let (public, witness) = complete(Plane::Calls, witness);
    assert_eq!(verdict(&public, &witness), Err(EncryptionViolation::Shares));
}

#[test]
fn e2_noise_one_beyond_either_end_is_refused() {
    for noise in [-9, 8, 1 << 26] {
        let (_, mut witness) = valid(Plane::Calls, "a");
        witness.noise[63] = noise;
        let (public, witness) = complete(Plane::Calls, witness);
        assert_eq!(verdict(&public, &witness), Err(EncryptionViolation::Noise));
    }
}

/// Adds `flag` to a slot of the body without the witness saying so.
fn tampered(slot: usize, flag: u64) -> (EncryptionPublic, EncryptionWitness) {
    let (public, mut witness) = valid(Plane::Calls, "a");
    let mut body = public.body.clone();
    body[slot] = body[slot].wrapping_add(flag);
    let public =
        EncryptionPublic::complete(small(), public.binding, Plane::Calls, PanelBlockIndex(0), body, &mut witness);
    (public.unwrap(), witness)
}

#[test]
fn e3_a_flag_in_a_check_slot_both_flags_or_a_doubled_flag_cannot_be_proven() {
    for (slot, flag) in [(0, 1 << 26), (15, 1 << 45), (20, (1 << 26) + (1 << 45)), (21, 2 << 26), (22, 7 << 45)] {
        let (public, witness) = tampered(slot, flag);
        assert_eq!(verdict(&public, &witness), Err(EncryptionViolation::Body), "slot {slot}");
    }
    let (_, mut witness) = valid(Plane::Calls, "a");
    witness.genotypes.codes[3] = 4;
    let (public, witness) = complete(Plane::Calls, witness);
    assert_eq!(verdict(&public, &witness), Err(EncryptionViolation::Genotypes));
}

#[test]
fn e3_genotypes_count_on_their_plane_only() {
    let (calls, witness) = valid(Plane::Calls, "a");
    let other_plane = EncryptionPublic { plane: Plane::Missing, ..calls.clone() };
    let digest = witness.noise_and_carries_digest();
    let relabelled = EncryptionPublic { challenge: other_plane.challenge_for(digest), ..other_plane };
    assert_eq!(verdict(&relabelled, &witness), Err(EncryptionViolation::Body));
}

#[test]
fn e4_a_carry_out_of_range_or_off_by_one_is_refused() {
    for (carry, violation) in
        [(128, EncryptionViolation::Carries), (-129, EncryptionViolation::Carries), (0, EncryptionViolation::Body)]
    {
        let (mut public, mut witness) = valid(Plane::Calls, "a");
        witness.carries[7] = if carry == 0 { witness.carries[7] + 1 } else { carry };
        public.challenge = public.challenge_for(witness.noise_and_carries_digest());
        assert_eq!(verdict(&public, &witness), Err(violation));
    }
}

#[test]
fn e5_a_share_commitment_to_other_bits_or_to_another_share_is_refused() {
    for position in 0..3 {
        let (mut public, mut witness) = valid(Plane::Calls, "a");
        witness.shares[position][60] ^= 1;
        assert!(verdict(&public, &witness).is_err(), "a body made with another share than committed");
        public.share_commitments.swap(position, (position + 1) % 3);
        assert_eq!(verdict(&public, &witness), Err(EncryptionViolation::ShareCommitment));
    }
}

#[test]
fn e6_a_genotype_commitment_to_other_genotypes_or_blinding_is_refused() {
    let (mut public, mut witness) = valid(Plane::Calls, "a");
    witness.genotypes.codes[0] ^= 1;
    public.genotype_commitment = genotype_commitment(&witness.genotypes);
    public.challenge = public.challenge_for(witness.noise_and_carries_digest());
    assert_eq!(verdict(&public, &witness), Err(EncryptionViolation::Body), "other genotypes than encrypted");
    let (public, mut witness) = valid(Plane::Calls, "a");
    witness.genotypes.blinding += Fr::ONE;
    assert_eq!(verdict(&public, &witness), Err(EncryptionViolation::GenotypeCommitment));
}

#[test]
fn e7_the_challenge_depends_on_everything() {
    let (public, witness) = valid(Plane::Calls, "a");
    let digest = witness.noise_and_carries_digest();
    let challenge = public.challenge;
    let mut others = vec![EncryptionPublic { binding: public.binding + Fr::ONE, ..public.clone() }];
    others.push(EncryptionPublic { plane: Plane::Missing, ..public.clone() });
    others.push(EncryptionPublic { genotype_commitment: Fr::ONE, ..public.clone() });
    for position in 0..3 {
        let mut other = public.clone();
        other.share_commitments[position] += Fr::ONE;
        others.push(other);
    }
    for other in others {
        assert_ne!(other.challenge_for(digest), challenge);
        assert!(verdict(&other, &witness).is_err());
    }
    for slot in 0..64 {
        let mut noisier = witness.clone();
        noisier.noise[slot] = -noisier.noise[slot] - 1;
        assert_ne!(noisier.noise_and_carries_digest(), digest);
        let mut carried = witness.clone();
        carried.carries[slot] += 1;
        assert_ne!(carried.noise_and_carries_digest(), digest);
    }
    let wrong = EncryptionPublic { challenge: challenge + Fr::ONE, ..public };
    assert_eq!(verdict(&wrong, &witness), Err(EncryptionViolation::Challenge));
}

#[test]
fn e8_a_flipped_bit_anywhere_in_the_body_is_refused() {
    let mut numbers = Numbers::new("bits");
    for slot in 0..64 {
        let (mut public, witness) = valid(Plane::Calls, "a");
        public.body[slot] ^= 1 << (numbers.next() % 64);
        assert_eq!(verdict(&public, &witness), Err(EncryptionViolation::Body));
    }
}

#[test]
fn ten_thousand_mutated_witnesses_are_refused_and_no_variable_is_free() {
    let (public, witness) = valid(Plane::Calls, "a");
    let mut solved = Solved::new(&EncryptionCircuit::new(small(), &public, &witness));
    solved.has_no_free_variable();
    solved.refuses_mutations(10_000, "encryption");
}

#[test]
fn proofs_verify_for_their_body_and_context_only() {
    let (public, witness) = valid(Plane::Missing, "a");
    let circuit = EncryptionCircuit::new(small(), &public, &witness);
    let key = key_of(&Shape::of(&circuit));
    let proof = key.prove(&circuit, &mut system_rng()).unwrap();
    depends_on_every_input(&key, &circuit.public_inputs(), &proof);

    let sealed = EncryptionProof::prove_statement(&key, small(), &public, &witness, &mut system_rng()).unwrap();
    let bytes = sealed.to_bytes();
    assert_eq!(EncryptionProof::parse(&bytes).unwrap(), sealed);
    let verifier = EncryptionVerifier::of_shape(small(), key.verifying_key.clone());
    let accepts = |binding: Fr, plane: Plane, body: &[u64], bytes: &[u8]| {
        EncryptionProof::parse(bytes).is_ok_and(|proof| verifier.verify_bound(binding, plane, body, &proof).is_ok())
    };
    let (binding, plane, body) = (public.binding, public.plane, &public.body);
    assert!(accepts(binding, plane, body, &bytes));
    assert!(!accepts(binding + Fr::ONE, plane, body, &bytes), "a copied ballot under another name");
    assert!(!accepts(binding, Plane::Calls, body, &bytes));
    assert!(!accepts(binding, plane, &body[1..], &bytes));
    for slot in 0..body.len() {
        let mut other = body.clone();
        other[slot] ^= 1;
        assert!(!accepts(binding, plane, &other, &bytes), "slot {slot}");
    }
    for word in 0..5 {
        let mut other = bytes;
        other[32 * word + 31] ^= 1;
        assert!(!accepts(binding, plane, body, &other), "word {word}");
        other[32 * word..32 * (word + 1)].fill(0xff);
        assert!(matches!(EncryptionProof::parse(&other), Err(crate::ProofsError::NotCanonical)));
    }
    assert!(EncryptionProof::parse(&bytes[1..]).is_err());
}

#[test]
fn a_copied_proof_in_new_bytes_serves_no_other_dataset() {
    let context = DatasetContext {
        network: NetworkId { chain_id: 1, registry: Address([1; 20]) },
        registrant: Address([2; 20]),
        dataset: DatasetId([3; 32]),
        panel: PanelDigest([4; 32]),
        version: 1,
    };
    let (block, plane, digest) = (PanelBlockIndex(0), Plane::Calls, BodyDigest(Digest32([5; 32])));
    let own = binding(&context, block, plane, &digest);
    let (statement, mut witness) = valid(plane, "a");
    let public = EncryptionPublic::complete(small(), own, plane, block, statement.body, &mut witness).unwrap();
    let key = key_of(&encryption_shape(small()));
    let proof = EncryptionProof::prove_statement(&key, small(), &public, &witness, &mut system_rng()).unwrap();

    // Anybody can make other points of a proof, without the witness.
    let bytes = proof.to_bytes();
    let (words, points) = bytes.split_at(EncryptionProof::BYTES - PROOF_BYTES);
    let Proof { a, b, c } = Proof::parse(points).unwrap();
    let factor = Fr::from(12_345u64);
    let inverse = factor.inverse().unwrap();
    let disguised = Proof { a: (a * factor).into_affine(), b: (b * inverse).into_affine(), c };
    let copy = EncryptionProof::parse(&[words, &disguised.to_bytes()[..]].concat()).unwrap();
    assert_ne!(copy, proof);
    let verifier = EncryptionVerifier::of_shape(small(), key.verifying_key.clone());
    let accepts = |binding: Fr| verifier.verify_bound(binding, plane, &public.body, &copy).is_ok();
    assert!(accepts(own), "control: under its own name the copy is as good as the original");

    let names = [
        DatasetContext { network: NetworkId { chain_id: 2, ..context.network }, ..context },
        DatasetContext { network: NetworkId { registry: Address([9; 20]), ..context.network }, ..context },
        DatasetContext { registrant: Address([9; 20]), ..context },
        DatasetContext { dataset: DatasetId([9; 32]), ..context },
        DatasetContext { panel: PanelDigest([9; 32]), ..context },
        DatasetContext { version: 2, ..context },
    ];
    for name in &names {
        assert!(!accepts(binding(name, block, plane, &digest)), "{name:?}");
    }
    assert!(!accepts(binding(&context, PanelBlockIndex(1), plane, &digest)), "another block");
    assert!(!accepts(binding(&context, block, Plane::Missing, &digest)), "the other plane");
    assert!(!accepts(binding(&context, block, plane, &BodyDigest(Digest32([9; 32])))), "another body");
    // What copies are known by is the same in both.
    for position in 0..3 {
        assert_eq!(copy.share_commitment(position), proof.share_commitment(position));
    }
    assert_eq!(copy.genotype_commitment(), proof.genotype_commitment());
}

#[test]
fn a_body_that_is_no_encryption_is_refused_when_the_statement_is_completed() {
    let (public, mut witness) = valid(Plane::Calls, "a");
    let short = EncryptionPublic::complete(
        small(),
        public.binding,
        Plane::Calls,
        PanelBlockIndex(3),
        public.body[1..].to_vec(),
        &mut witness,
    );
    assert!(matches!(short, Err(crate::ProofsError::WrongSize(_))));
}

#[test]
fn the_rows_match_their_golden_files() {
    matches_golden_rows(&encryption_shape(small()));
    matches_golden_rows(&encryption_shape(EncryptionShape::FULL));
}

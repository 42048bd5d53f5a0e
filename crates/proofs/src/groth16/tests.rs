use super::*;
use crate::{
    testing::{Numbers, depends_on_every_input, key_of, system_rng},
    words::domain_word,
};
use ark_ec::CurveGroup;
use ark_ff::{Field, PrimeField};
use ark_groth16::{Groth16, Proof as ArkProof, VerifyingKey as ArkVerifyingKey, prepare_verifying_key};

/// Knows x with x^5 + shift = out.
pub(crate) struct FifthPower {
    pub(crate) x: Fr,
    pub(crate) shift: Fr,
    pub(crate) out: Fr,
}

impl FifthPower {
    pub(crate) fn new(x: u64, shift: u64) -> Self {
        let (x, shift) = (Fr::from(x), Fr::from(shift));
        Self { x, shift, out: x.pow([5]) + shift }
    }
}

impl Circuit for FifthPower {
    fn name(&self) -> String {
        "fifth-power".to_owned()
    }

    fn public_inputs(&self) -> Vec<Fr> {
        vec![self.shift, self.out]
    }

    fn synthesize(&self, builder: &mut Builder, inputs: &[Linear]) {
        builder.clause("fifth power");
        let x = builder.witness(self.x);
        let square = builder.multiply(&x, &x);
        let fourth = builder.multiply(&square, &square);
        let fifth = builder.multiply(&fourth, &x);
        builder.enforce_equal(&fifth.plus(&inputs[0]), &inputs[1]);
    }
}

fn proven() -> (ProvingKey, Vec<Fr>, Proof) {
    let circuit = FifthPower::new(3, 7);
    let key = key_of(&Shape::of(&circuit));
    let proof = key.prove(&circuit, &mut system_rng()).unwrap();
    (key, circuit.public_inputs(), proof)
}

#[test]
fn a_proof_verifies_for_its_inputs_and_no_others() {
    let (key, inputs, proof) = proven();
    depends_on_every_input(&key, &inputs, &proof);
    assert!(PreparedVerifyingKey::new(key.verifying_key.clone()).verify(&inputs, &proof));
    assert!(!PreparedVerifyingKey::new(key.verifying_key.clone()).verify(&[inputs[1], inputs[0]], &proof));
}

#[test]
fn another_implementation_accepts_the_proof_and_refuses_a_changed_input() {
    let (key, inputs, proof) = proven();
    let ours = &key.verifying_key;
    let theirs = ArkVerifyingKey::<Bn254> {
        alpha_g1: ours.alpha_g1,
        beta_g2: ours.beta_g2,
        gamma_g2: ours.gamma_g2,
        delta_g2: ours.delta_g2,
        gamma_abc_g1: ours.inputs_g1.clone(),
    };
    let prepared = prepare_verifying_key(&theirs);
    let proof = ArkProof { a: proof.a, b: proof.b, c: proof.c };
    assert!(Groth16::<Bn254>::verify_proof(&prepared, &proof, &inputs).unwrap());
    assert!(!Groth16::<Bn254>::verify_proof(&prepared, &proof, &[inputs[0] + Fr::ONE, inputs[1]]).unwrap());
}

#[test]
fn proving_refuses_a_false_statement_and_an_unchecked_proof_of_one_does_not_verify() {
    let good = FifthPower::new(3, 7);
    let key = key_of(&Shape::of(&good));
    let false_statement = FifthPower { out: good.out + Fr::ONE, ..good };
    let refused = key.prove(&false_statement, &mut system_rng());
    assert!(matches!(refused, Err(ProofsError::Unsatisfied { clause: "fifth power" })));
    let forced = key.prove_assignment(assign(&false_statement), &mut system_rng()).unwrap();
    assert!(!key.verifying_key.verify(&false_statement.public_inputs(), &forced));
}

#[test]
fn two_proofs_of_one_statement_differ_and_hide_the_witness_behind_fresh_randomness() {
    let circuit = FifthPower::new(3, 7);
    let key = key_of(&Shape::of(&circuit));
    let proofs = [(); 2].map(|()| key.prove(&circuit, &mut system_rng()).unwrap());
    assert_ne!(proofs[0].a, proofs[1].a);
    assert_ne!(proofs[0].c, proofs[1].c);
}

#[test]
fn anybody_can_turn_a_proof_into_another_of_the_same_statement_so_bytes_identify_nothing() {
    let (key, inputs, proof) = proven();
    let factor = Fr::from(12_345u64);
    let inverse = factor.inverse().unwrap();
    let other = Proof { a: (proof.a * factor).into_affine(), b: (proof.b * inverse).into_affine(), c: proof.c };
    assert_ne!(other.to_bytes(), proof.to_bytes());
    depends_on_every_input(&key, &inputs, &other);
}

#[test]
fn a_proof_under_another_key_does_not_verify() {
    let (key, inputs, proof) = proven();
    let circuit = FifthPower::new(3, 7);
    let other = ProvingKey::setup(&Shape::of(&circuit), &ToxicWaste::generate(&mut system_rng())).unwrap();
    assert!(!other.verifying_key.verify(&inputs, &proof));
    assert_ne!(other.verifying_key, key.verifying_key);
    let again = key_of(&Shape::of(&circuit));
    assert_eq!(again.verifying_key, key.verifying_key, "development keys are the same everywhere");
}

#[test]
fn parsing_refuses_every_malformed_proof_without_panicking() {
    let (key, inputs, proof) = proven();
    let bytes = proof.to_bytes();
    assert_eq!(Proof::parse(&bytes).unwrap(), proof);
    assert!(matches!(Proof::parse(&bytes[1..]), Err(ProofsError::Truncated)));
    assert!(matches!(Proof::parse(&[&bytes[..], &[0]].concat()), Err(ProofsError::Truncated)));
    assert!(matches!(Proof::parse(&[0; PROOF_BYTES]), Err(ProofsError::BadPoint)), "neutral points");
    assert!(Proof::parse(&[0xff; PROOF_BYTES]).is_err());
    for byte in 0..PROOF_BYTES {
        let mut flipped = bytes;
        flipped[byte] ^= 1;
        let accepted = Proof::parse(&flipped).is_ok_and(|proof| key.verifying_key.verify(&inputs, &proof));
        assert!(!accepted, "byte {byte}");
    }
}

#[test]
fn coordinates_at_or_above_the_order_and_points_outside_the_subgroup_are_refused() {
    let (_, _, proof) = proven();
    let mut bytes = proof.to_bytes();
    // The same coordinate plus the order of its field.
    let order = num_bigint::BigUint::from_bytes_be(&{
        use ark_ff::BigInteger;
        ark_bn254::Fq::MODULUS.to_bytes_be()
    });
    let shifted = (num_bigint::BigUint::from_bytes_be(&bytes[..32]) + order).to_bytes_be();
    if shifted.len() == 32 {
        bytes[..32].copy_from_slice(&shifted);
        assert!(matches!(Proof::parse(&bytes), Err(ProofsError::NotCanonical)));
    }
    // Points of the twist are almost never of prime order.
    let mut numbers = Numbers::new("twist");
    let outside = (0..)
        .find_map(|_| {
            let x = ark_bn254::Fq2::new(ark_bn254::Fq::from(numbers.next()), ark_bn254::Fq::from(numbers.next()));
            G2Affine::get_point_from_x_unchecked(x, true)
        })
        .unwrap();
    assert!(outside.is_on_curve() && !outside.is_in_correct_subgroup_assuming_on_curve());
    let bytes = Proof { b: outside, ..proof }.to_bytes();
    assert!(matches!(Proof::parse(&bytes), Err(ProofsError::BadPoint)));
}

#[test]
fn verifying_keys_round_trip_and_contract_bytes_have_the_negated_points() {
    let (key, _, _) = proven();
    let verifying = &key.verifying_key;
    let bytes = verifying.to_bytes();
    assert_eq!(&VerifyingKey::parse(&bytes, 2).unwrap(), verifying);
    assert!(VerifyingKey::parse(&bytes, 3).is_err());
    let contract = verifying.to_contract_bytes();
    assert_eq!(contract.len(), 448 + 3 * 64);
    let negated = VerifyingKey {
        alpha_g1: -verifying.alpha_g1,
        gamma_g2: -verifying.gamma_g2,
        delta_g2: -verifying.delta_g2,
        ..verifying.clone()
    };
    assert_eq!(contract, negated.to_bytes());
    assert_eq!(proof_words(&proven().2).len(), 8);
    assert_ne!(domain_word("a"), domain_word("b"));
}

//! Files of circom and snarkjs, so that ordinary tools make keys and check proofs.
//!
//! A public ceremony for a circuit: [`write_r1cs`] gives the constraints; snarkjs makes a first key
//! from them and a powers-of-tau file, participants contribute, a beacon closes it; [`read_zkey`]
//! imports the result. [`write_zkey`] gives our own keys to snarkjs.

use crate::{
    error::ProofsError,
    groth16::{Assignment, Proof, ProvingKey, Shape, VerifyingKey, is_sound_g1, is_sound_g2},
    keys::{Reader, push_g1, push_g2},
};
use ark_bn254::{Fq, Fq2, Fr, G1Affine, G2Affine};
use ark_ec::AffineRepr;
use ark_ff::{AdditiveGroup, BigInteger, Field, PrimeField};
use locus_commitment::r1cs::Side;
use serde_json::{Value, json};
use std::str::FromStr;

const FIELD_BYTES: u32 = 32;

/// Files share one frame: magic, version, sections with number and length.
fn frame(magic: &[u8; 4], version: u32, sections: &[(u32, Vec<u8>)]) -> Vec<u8> {
    let mut out = magic.to_vec();
    out.extend_from_slice(&version.to_le_bytes());
    out.extend_from_slice(&count(sections.len()));
    for (number, content) in sections {
        out.extend_from_slice(&number.to_le_bytes());
        out.extend_from_slice(&(content.len() as u64).to_le_bytes());
        out.extend_from_slice(content);
    }
    out
}

/// A count as these files have it; circuits are far below 2^32.
fn count(value: usize) -> [u8; 4] {
    u32::try_from(value).unwrap_or(u32::MAX).to_le_bytes()
}

fn push_scalar(out: &mut Vec<u8>, value: &Fr) {
    out.extend_from_slice(&value.into_bigint().to_bytes_le());
}

fn scalar_field_header() -> Vec<u8> {
    let mut out = FIELD_BYTES.to_le_bytes().to_vec();
    out.extend_from_slice(&Fr::MODULUS.to_bytes_le());
    out
}

/// The constraints as an `.r1cs` file.
pub fn write_r1cs(shape: &Shape) -> Vec<u8> {
    let mut header = scalar_field_header();
    header.extend_from_slice(&count(shape.variables));
    header.extend_from_slice(&count(0));
    header.extend_from_slice(&count(shape.public_inputs));
    header.extend_from_slice(&count(0));
    header.extend_from_slice(&(shape.variables as u64).to_le_bytes());
    header.extend_from_slice(&count(shape.rows.len()));
    let mut constraints = Vec::new();
    for row in 0..shape.rows.len() {
        for side in Side::ALL {
            let entries: Vec<(u32, Fr)> = shape.rows.entries(side, row).collect();
            constraints.extend_from_slice(&count(entries.len()));
            for (variable, coefficient) in entries {
                constraints.extend_from_slice(&variable.to_le_bytes());
                push_scalar(&mut constraints, &coefficient);
            }
        }
    }
    let labels = (0..shape.variables as u64).flat_map(u64::to_le_bytes).collect();
    frame(b"r1cs", 1, &[(1, header), (2, constraints), (3, labels)])
}

/// Values as a `.wtns` file. It is as secret as the witness.
pub fn write_wtns(assignment: &Assignment) -> Vec<u8> {
    let mut header = scalar_field_header();
    header.extend_from_slice(&count(assignment.variables.len()));
    let mut values = Vec::with_capacity(32 * assignment.variables.len());
    assignment.variables.iter().for_each(|value| push_scalar(&mut values, value));
    frame(b"wtns", 2, &[(1, header), (2, values)])
}

/// A key as a `.zkey` file, without contributions.
pub fn write_zkey(key: &ProvingKey, shape: &Shape) -> Vec<u8> {
    let mut header = FIELD_BYTES.to_le_bytes().to_vec();
    header.extend_from_slice(&Fq::MODULUS.to_bytes_le());
    header.extend_from_slice(&scalar_field_header());
    header.extend_from_slice(&count(shape.variables));
    header.extend_from_slice(&count(shape.public_inputs));
    header.extend_from_slice(&count(shape.domain_size()));
    let verifying = &key.verifying_key;
    push_g1(&mut header, &verifying.alpha_g1);
    push_g1(&mut header, &key.beta_g1);
    push_g2(&mut header, &verifying.beta_g2);
    push_g2(&mut header, &verifying.gamma_g2);
    push_g1(&mut header, &key.delta_g1);
    push_g2(&mut header, &verifying.delta_g2);
    let points = |list: &[G1Affine]| {
        let mut out = Vec::with_capacity(64 * list.len());
        list.iter().for_each(|point| push_g1(&mut out, point));
        out
    };
    let mut b_g2 = Vec::with_capacity(128 * key.b_g2.len());
    key.b_g2.iter().for_each(|point| push_g2(&mut b_g2, point));
    let no_contributions = [vec![0; 64], count(0).to_vec()].concat();
    let sections = [
        (1, count(1).to_vec()),
        (2, header),
        (3, points(&verifying.inputs_g1)),
        (4, coefficients(shape)),
        (5, points(&key.a_g1)),
        (6, points(&key.b_g1)),
        (7, b_g2),
        (8, points(&key.private_g1)),
        (9, points(&key.quotient_g1)),
        (10, no_contributions),
    ];
    frame(b"zkey", 1, &sections)
}

/// Sides A and B of all rows, and the rows of the public inputs; coefficients times 2^512, which is
/// what snarkjs reads.
fn coefficients(shape: &Shape) -> Vec<u8> {
    let radix_squared = Fr::from(2u64).pow([512u64]);
    let mut entries = 0usize;
    let mut content = Vec::new();
    let mut push = |side: u32, row: usize, variable: u32, coefficient: Fr| {
        entries += 1;
        content.extend_from_slice(&side.to_le_bytes());
        content.extend_from_slice(&count(row));
        content.extend_from_slice(&variable.to_le_bytes());
        push_scalar(&mut content, &(coefficient * radix_squared));
    };
    for row in 0..shape.rows.len() {
        for (number, side) in [(0, Side::A), (1, Side::B)] {
            for (variable, coefficient) in shape.rows.entries(side, row) {
                push(number, row, variable, coefficient);
            }
        }
    }
    for (variable, row) in (0u32..).zip(shape.rows.len()..=shape.rows.len() + shape.public_inputs) {
        push(0, row, variable, Fr::ONE);
    }
    [count(entries).to_vec(), content].concat()
}

fn malformed(reason: &'static str) -> ProofsError {
    ProofsError::Foreign { format: "zkey", reason }
}

/// Imports a key from a `.zkey` file. Points are checked to be on their curves, those of the
/// verifying key also to be of prime order; that the key belongs to a circuit and a ceremony is what
/// `snarkjs zkey verify` checks.
///
/// # Errors
/// [`ProofsError::Foreign`], [`ProofsError::BadPoint`].
pub fn read_zkey(bytes: &[u8]) -> Result<ProvingKey, ProofsError> {
    let mut reader = Reader(bytes);
    if reader.take(4)? != b"zkey" || reader.number()? != 1 {
        return Err(malformed("magic or version"));
    }
    let mut sections: [&[u8]; 10] = [&[]; 10];
    for _ in 0..reader.number()? {
        let number = reader.number()?;
        let mut length = [0; 8];
        length.copy_from_slice(reader.take(8)?);
        let length = usize::try_from(u64::from_le_bytes(length)).map_err(|_| malformed("section length"))?;
        let content = reader.take(length)?;
        if let Some(section) = sections.get_mut(number) {
            *section = content;
        }
    }
    if sections[1] != count(1) {
        return Err(malformed("not a key of Groth16"));
    }
    let mut header = Reader(sections[2]);
    let fields = [header.take(36)?, header.take(36)?];
    let base = [FIELD_BYTES.to_le_bytes().to_vec(), Fq::MODULUS.to_bytes_le()].concat();
    if fields != [base.as_slice(), scalar_field_header().as_slice()] {
        return Err(malformed("another curve than BN254"));
    }
    let (variables, public_inputs, domain) = (header.number()?, header.number()?, header.number()?);
    if public_inputs >= variables {
        return Err(malformed("number of public inputs"));
    }
    let (alpha_g1, beta_g1, beta_g2) = (header.g1()?, header.g1()?, header.g2()?);
    let (gamma_g2, delta_g1, delta_g2) = (header.g2()?, header.g1()?, header.g2()?);
    let inputs_g1 = read_g1s(sections[3], public_inputs + 1)?;
    let verifying_key = VerifyingKey { alpha_g1, beta_g2, gamma_g2, delta_g2, inputs_g1 };
    let sound = [beta_g2, gamma_g2, delta_g2].iter().all(is_sound_g2)
        && [alpha_g1, beta_g1, delta_g1].iter().chain(&verifying_key.inputs_g1).all(is_sound_g1);
    let key = ProvingKey {
        verifying_key,
        beta_g1,
        delta_g1,
        a_g1: read_g1s(sections[5], variables)?,
        b_g1: read_g1s(sections[6], variables)?,
        b_g2: read_g2s(sections[7], variables)?,
        private_g1: read_g1s(sections[8], variables - public_inputs - 1)?,
        quotient_g1: read_g1s(sections[9], domain)?,
    };
    if sound && key.is_consistent() { Ok(key) } else { Err(ProofsError::BadPoint) }
}

fn read_g1s(section: &[u8], expected: usize) -> Result<Vec<G1Affine>, ProofsError> {
    if section.len() != 64 * expected {
        return Err(malformed("number of points"));
    }
    let mut reader = Reader(section);
    let points: Vec<G1Affine> = (0..expected).map(|_| reader.g1()).collect::<Result<_, _>>()?;
    if points.iter().all(G1Affine::is_on_curve) { Ok(points) } else { Err(ProofsError::BadPoint) }
}

fn read_g2s(section: &[u8], expected: usize) -> Result<Vec<G2Affine>, ProofsError> {
    if section.len() != 128 * expected {
        return Err(malformed("number of points"));
    }
    let mut reader = Reader(section);
    let points: Vec<G2Affine> = (0..expected).map(|_| reader.g2()).collect::<Result<_, _>>()?;
    if points.iter().all(G2Affine::is_on_curve) { Ok(points) } else { Err(ProofsError::BadPoint) }
}

fn json_g1(point: &G1Affine) -> Value {
    let (x, y) = point.xy().unwrap_or((Fq::ZERO, Fq::ZERO));
    json!([x.to_string(), y.to_string(), "1"])
}

fn json_g2(point: &G2Affine) -> Value {
    let (x, y) = point.xy().unwrap_or((Fq2::ZERO, Fq2::ZERO));
    let pair = |coordinate: Fq2| json!([coordinate.c0.to_string(), coordinate.c1.to_string()]);
    json!([pair(x), pair(y), ["1", "0"]])
}

/// A verifying key as `verification_key.json`.
pub fn write_verification_key(key: &VerifyingKey) -> String {
    let inputs: Vec<Value> = key.inputs_g1.iter().map(json_g1).collect();
    json!({
        "protocol": "groth16",
        "curve": "bn128",
        "nPublic": inputs.len() - 1,
        "vk_alpha_1": json_g1(&key.alpha_g1),
        "vk_beta_2": json_g2(&key.beta_g2),
        "vk_gamma_2": json_g2(&key.gamma_g2),
        "vk_delta_2": json_g2(&key.delta_g2),
        "IC": inputs,
    })
    .to_string()
}

/// A proof as `proof.json`.
pub fn write_proof(proof: &Proof) -> String {
    json!({
        "protocol": "groth16",
        "curve": "bn128",
        "pi_a": json_g1(&proof.a),
        "pi_b": json_g2(&proof.b),
        "pi_c": json_g1(&proof.c),
    })
    .to_string()
}

/// Public inputs as `public.json`.
pub fn write_public(inputs: &[Fr]) -> String {
    json!(inputs.iter().map(Fr::to_string).collect::<Vec<_>>()).to_string()
}

/// Parses `proof.json` with all checks.
///
/// # Errors
/// [`ProofsError`].
pub fn read_proof(text: &str) -> Result<Proof, ProofsError> {
    let foreign = |reason| ProofsError::Foreign { format: "proof.json", reason };
    let value: Value = serde_json::from_str(text).map_err(|_| foreign("no JSON"))?;
    let coordinate = |value: &Value| -> Result<Fq, ProofsError> {
        let text = value.as_str().ok_or_else(|| foreign("a coordinate is no string"))?;
        let parsed = Fq::from_str(text).map_err(|()| foreign("a coordinate is no number"))?;
        if parsed.to_string() == text { Ok(parsed) } else { Err(ProofsError::NotCanonical) }
    };
    let g1 = |point: &Value| -> Result<G1Affine, ProofsError> {
        Ok(G1Affine::new_unchecked(coordinate(&point[0])?, coordinate(&point[1])?))
    };
    let pair = |value: &Value| Ok::<_, ProofsError>(Fq2::new(coordinate(&value[0])?, coordinate(&value[1])?));
    let (a, c) = (g1(&value["pi_a"])?, g1(&value["pi_c"])?);
    let b = G2Affine::new_unchecked(pair(&value["pi_b"][0])?, pair(&value["pi_b"][1])?);
    if is_sound_g1(&a) && is_sound_g2(&b) && is_sound_g1(&c) {
        Ok(Proof { a, b, c })
    } else {
        Err(ProofsError::BadPoint)
    }
}

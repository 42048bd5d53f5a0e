//! Statement E as constraints.

use super::statement::{CARRY_BITS, CHECKS, EncryptionPublic, EncryptionShape, EncryptionWitness, NOISE_BITS, tags};
use crate::groth16::Circuit;
use ark_bn254::Fr;
use ark_ff::{AdditiveGroup, Field};
use locus_commitment::{
    field::signed,
    poseidon::r1cs::{hash_list, pack},
    r1cs::{Builder, Linear},
};
use locus_genomics::Plane;
use locus_rlwe::{HET_SHIFT, HOM_ALT_SHIFT, MISSING_SHIFT};

/// Which groups of witness bits the challenge binds. Anything but [`ALL`](Self::ALL) is a broken
/// circuit, for tests that show why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BoundGroups {
    pub(crate) shares: bool,
    pub(crate) genotypes: bool,
    pub(crate) noise: bool,
    pub(crate) carries: bool,
}

impl BoundGroups {
    pub(crate) const ALL: Self = Self { shares: true, genotypes: true, noise: true, carries: true };
}

/// Widths of the witness groups in bits. Anything but [`REAL`](Self::REAL) is for tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Widths {
    pub(crate) share: usize,
    /// Bits above the second count as further het flags.
    pub(crate) genotype: usize,
    pub(crate) noise: usize,
    pub(crate) carry: usize,
}

impl Widths {
    pub(crate) const REAL: Self = Self { share: 1, genotype: 2, noise: NOISE_BITS, carry: CARRY_BITS };
}

/// Statement E with a witness.
pub struct EncryptionCircuit<'a> {
    pub(crate) shape: EncryptionShape,
    pub(crate) public: &'a EncryptionPublic,
    pub(crate) witness: &'a EncryptionWitness,
    pub(crate) bound: BoundGroups,
    pub(crate) widths: Widths,
}

impl<'a> EncryptionCircuit<'a> {
    /// The circuit of this size.
    pub fn new(shape: EncryptionShape, public: &'a EncryptionPublic, witness: &'a EncryptionWitness) -> Self {
        Self { shape, public, witness, bound: BoundGroups::ALL, widths: Widths::REAL }
    }
}

/// The witness as combinations, by slot.
struct Variables {
    /// Share bits.
    shares: [Vec<Linear>; 3],
    /// Noise plus 8.
    noise: Vec<Linear>,
    /// Carries plus 128.
    carries: Vec<Linear>,
    /// Genotype codes of the variant slots.
    codes: Vec<Linear>,
    /// e + m - 2^64 k.
    addends: Vec<Linear>,
}

impl Circuit for EncryptionCircuit<'_> {
    fn name(&self) -> String {
        format!("encryption-{}", self.shape.ring_dimension())
    }

    fn public_inputs(&self) -> Vec<Fr> {
        self.public.inputs(self.shape)
    }

    fn synthesize(&self, builder: &mut Builder, inputs: &[Linear]) {
        let [binding, plane, first, second, third, genotype_commitment, challenge, evaluation] =
            [0, 1, 2, 3, 4, 5, 6, 7].map(|place: usize| &inputs[place]);
        let variables = self.allocate(builder, plane);

        builder.clause("E5 share commitments");
        for ((commitment, bits), tag) in [first, second, third].into_iter().zip(&variables.shares).zip(tags().shares) {
            let digest = hash_list(builder, tag, &pack(bits, self.widths.share));
            builder.enforce_equal(&digest, commitment);
        }

        builder.clause("E6 genotype commitment");
        let mut elements = vec![builder.witness(self.witness.genotypes.blinding)];
        elements.extend(pack(&variables.codes, self.widths.genotype));
        let digest = hash_list(builder, tags().genotypes, &elements);
        builder.enforce_equal(&digest, genotype_commitment);

        builder.clause("E7 challenge");
        let bound_noise = if self.bound.noise { pack(&variables.noise, self.widths.noise) } else { Vec::new() };
        let bound_carries = if self.bound.carries { pack(&variables.carries, self.widths.carry) } else { Vec::new() };
        let noise_and_carries = hash_list(builder, tags().noise_and_carries, &[bound_noise, bound_carries].concat());
        let zero = Linear::zero();
        let [first, second, third] = [first, second, third].map(|share| if self.bound.shares { share } else { &zero });
        let genotypes = if self.bound.genotypes { genotype_commitment } else { &zero };
        let elements = [binding, plane, first, second, third, genotypes, &noise_and_carries].map(Clone::clone);
        let expected = hash_list(builder, tags().challenge, &elements);
        builder.enforce_equal(&expected, challenge);

        self.enforce_equation(builder, &variables, challenge, evaluation);
    }
}

impl EncryptionCircuit<'_> {
    /// The witness, with clauses E1 to E4.
    fn allocate(&self, builder: &mut Builder, plane: &Linear) -> Variables {
        builder.clause("E1 key shares");
        let shares = self.witness.shares.each_ref().map(|share| {
            share.iter().map(|bit| builder.bits(u64::from(*bit), self.widths.share).1).collect::<Vec<Linear>>()
        });

        builder.clause("E2 encryption noise");
        let noise = allocate_biased(builder, &self.witness.noise, self.widths.noise);

        builder.clause("E3 genotypes");
        builder.enforce(plane, &plane.plus_constant(-Fr::ONE), &Linear::zero());
        let mut addends: Vec<Linear> =
            noise.iter().map(|value| value.plus_constant(-half(self.widths.noise))).collect();
        let genotypes = &self.witness.genotypes.codes;
        let codes = genotypes.iter().zip(&mut addends[CHECKS..]).map(|(code, addend)| {
            let (code, flags) = allocate_genotype(builder, (*code, self.widths.genotype), plane);
            addend.add(&flags);
            code
        });
        let codes = codes.collect();

        builder.clause("E4 carries");
        let carries = allocate_biased(builder, &self.witness.carries, self.widths.carry);
        let modulus = Fr::from(1u128 << 64);
        for (addend, carry) in addends.iter_mut().zip(&carries) {
            addend.add_scaled(-modulus, &carry.plus_constant(-half(self.widths.carry)));
        }
        Variables { shares, noise, carries, codes, addends }
    }

    /// E8 at the challenge: the sum of s'_j (X^j a)(g) plus the value of e + m - 2^64 k at g is the
    /// value of b - u.
    ///
    /// (X^j a)(g) modulo X^N + 1 is the chain w_0 = a(g), w_(j+1) = g w_j - a_(N-1-j) (g^N + 1). The
    /// circuit leaves w_0 free and closes the chain with w_N = -w_0, which forces w_0 = a(g) unless
    /// g^N = -1; that g^N + 1 is not zero has a row of its own.
    fn enforce_equation(&self, builder: &mut Builder, variables: &Variables, challenge: &Linear, evaluation: &Linear) {
        builder.clause("E8 encryption");
        let mask = self.shape.mask();
        let mut power = challenge.clone();
        for _ in 0..self.shape.ring_dimension().trailing_zeros() {
            power = builder.multiply(&power, &power);
        }
        let wrap = power.plus_constant(Fr::ONE);
        let inverse = builder.witness(wrap.value().inverse().unwrap_or(Fr::ZERO));
        builder.enforce(&wrap, &inverse, &Linear::one());

        let at_challenge = mask
            .iter()
            .rev()
            .fold(Fr::ZERO, |sum, coefficient| sum * challenge.value() + signed(i128::from(*coefficient)));
        let start = builder.witness(at_challenge);
        let mut shifted = start.clone();
        let mut total = Linear::zero();
        let [first, second, third] = &variables.shares;
        for (place, coefficient) in mask.iter().rev().enumerate() {
            let centred = first[place].plus(&second[place]).plus(&third[place]).plus_constant(-Fr::ONE);
            total.add(&builder.multiply(&shifted, &centred));
            let wrapped = wrap.times(signed(i128::from(*coefficient)));
            let next = builder.witness(challenge.value() * shifted.value() - wrapped.value());
            builder.enforce(&shifted, challenge, &next.plus(&wrapped));
            shifted = next;
        }
        builder.enforce_zero(&shifted.plus(&start));

        let mut highest_first = variables.addends.iter().rev();
        let mut value = highest_first.next().cloned().unwrap_or_else(Linear::zero);
        for addend in highest_first {
            value = builder.multiply(&value, challenge).plus(addend);
        }
        builder.enforce_equal(&total.plus(&value), evaluation);
    }
}

/// Half of the range of so many bits: what is added to signed values before they are taken apart.
fn half(bits: usize) -> Fr {
    Fr::from(1u64 << (bits - 1))
}

/// Signed values as unsigned numbers of `bits` bits, each bit constrained.
fn allocate_biased(builder: &mut Builder, values: &[i64], bits: usize) -> Vec<Linear> {
    let allocate = |value: &i64| builder.bits((value + (1 << (bits - 1))).cast_unsigned(), bits).1;
    values.iter().map(allocate).collect()
}

/// A two-bit code x + 2y and the flags it adds. With z = xy: het = x - z, hom_alt = y - z and
/// missing = z, so at most one of them is set.
fn allocate_genotype(builder: &mut Builder, (code, width): (u8, usize), plane: &Linear) -> (Linear, Linear) {
    debug_assert!(Plane::Calls.code() == 0 && Plane::Missing.code() == 1);
    let (bits, code) = builder.bits(u64::from(code), width);
    let both = builder.multiply(&bits[0], &bits[1]);
    let further = code.minus(&bits[0]).minus(&bits[1].times(Fr::from(2u64)));
    let het = bits[0].minus(&both).plus(&further).times(Fr::from(1u64 << HET_SHIFT));
    let calls = het.plus(&bits[1].minus(&both).times(Fr::from(1u64 << HOM_ALT_SHIFT)));
    let missing = both.times(Fr::from(1u64 << MISSING_SHIFT));
    let switched = builder.multiply(plane, &missing.minus(&calls));
    (code, calls.plus(&switched))
}

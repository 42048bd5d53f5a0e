//! Flooding noise and dp noise, derived so that both holders of a share draw the same.

use crate::{
    domain::DST_DERIVED_NOISE,
    error::RlweError,
    released::{released_count, requested_count},
    secret::{Keystream, keystream},
};
use ctr::cipher::StreamCipher;
use locus_commitment::sha3_256;
use locus_genomics::Plane;
use locus_privacy::{DiscreteGaussian, SigmaSquared, SlotMask, Tau, UniformBytes, UniformWords};
use locus_sharing::{NoiseKey, ShareIndex};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// What the noise of one share in one answer derives from.
///
/// `tau` names everything that affects the answer, so the same question gets the same noise and
/// averaging repeated answers gains nothing; another question gets unrelated noise.
#[derive(Clone, Copy)]
pub struct NoiseInput<'a> {
    /// Noise key of the share.
    pub noise_key: &'a NoiseKey,
    /// Name of the question.
    pub tau: &'a Tau,
    /// Variance of the dp noise that this share adds to every requested counter, a third of the
    /// total; `None` for exact counts. Flooding noise is added in any case.
    pub dp_share: Option<SigmaSquared>,
}

/// One kind of derived noise: each has its own stream.
#[derive(Clone, Copy)]
enum NoiseKind {
    Flooding,
    DpHet,
    DpHomAlt,
    DpMissing,
    DpMatched,
    DpSquares,
}

impl NoiseKind {
    fn code(self) -> u8 {
        match self {
            NoiseKind::Flooding => 0,
            NoiseKind::DpHet => 1,
            NoiseKind::DpHomAlt => 2,
            NoiseKind::DpMissing => 3,
            NoiseKind::DpMatched => 4,
            NoiseKind::DpSquares => 5,
        }
    }
}

/// The noise of one share in one answer. Whoever knows it can remove it.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct DerivedNoise {
    /// Flooding noise of the released slots, ascending; sigma 2^21.
    pub flooding: Vec<i64>,
    /// dp noise of the counter at bit 26 (het, or missing on the missing plane) of the requested
    /// slots, ascending; empty for exact counts.
    pub low_counter: Vec<i64>,
    /// dp noise of the hom_alt counter of the requested slots, ascending; empty on the missing
    /// plane and for exact counts.
    pub high_counter: Vec<i64>,
}

/// Draws the noise that share `share` adds to an answer over `slots` of one plane. The draws take
/// a time that depends on them: do it before secret data is read.
///
/// # Errors
/// [`RlweError::DpNoise`] when the variance is outside the sampler's range.
pub fn derive_noise(
    input: NoiseInput<'_>,
    share: ShareIndex,
    plane: Plane,
    slots: &SlotMask,
) -> Result<DerivedNoise, RlweError> {
    let draw = |kind: NoiseKind, distribution: &DiscreteGaussian, count: usize| {
        let mut words = UniformWords::new(NoiseStream::new(input, share, plane, kind));
        let mut values = vec![0; count];
        distribution.fill(&mut words, &mut values);
        values
    };
    let flooding = draw(NoiseKind::Flooding, &DiscreteGaussian::flooding(), released_count(slots));
    let Some(dp_share) = input.dp_share else {
        return Ok(DerivedNoise { flooding, low_counter: Vec::new(), high_counter: Vec::new() });
    };
    let distribution = DiscreteGaussian::try_new(dp_share).map_err(RlweError::DpNoise)?;
    let requested = requested_count(slots);
    let (low_counter, high_counter) = match plane {
        Plane::Calls => {
            (draw(NoiseKind::DpHet, &distribution, requested), draw(NoiseKind::DpHomAlt, &distribution, requested))
        }
        Plane::Missing => (draw(NoiseKind::DpMissing, &distribution, requested), Vec::new()),
    };
    Ok(DerivedNoise { flooding, low_counter, high_counter })
}

/// Draws the noise that a keyholder adds to the matched number of a selection, under its own noise key and
/// the tau of the selection's first block; 0 for exact counts.
///
/// # Errors
/// [`RlweError::DpNoise`] when the variance is outside the sampler's range.
pub fn derive_matched_noise(input: NoiseInput<'_>, share: ShareIndex) -> Result<i64, RlweError> {
    let Some(dp_share) = input.dp_share else { return Ok(0) };
    let distribution = DiscreteGaussian::try_new(dp_share).map_err(RlweError::DpNoise)?;
    Ok(distribution.sample(&mut UniformWords::new(NoiseStream::new(input, share, Plane::Calls, NoiseKind::DpMatched))))
}

/// Draws the noise that a keyholder adds to the sum of u^2 of a quantity whose u is at most `u_max`: one person
/// changes it by up to u_max^2, so it is that much wider than the noise of a matched number.
///
/// # Errors
/// [`RlweError::DpNoise`] when the variance is outside the sampler's range.
pub fn derive_squares_noise(input: NoiseInput<'_>, share: ShareIndex, u_max: u16) -> Result<i64, RlweError> {
    let Some(dp_share) = input.dp_share else { return Ok(0) };
    let change = u32::from(u_max) * u32::from(u_max);
    let widened = dp_share.widened(change).and_then(DiscreteGaussian::try_new).map_err(RlweError::DpNoise)?;
    Ok(widened.sample(&mut UniformWords::new(NoiseStream::new(input, share, Plane::Calls, NoiseKind::DpSquares))))
}

/// AES-256 in counter mode under SHA3-256(domain, noise key, tau, share, plane, kind).
struct NoiseStream(Keystream);

impl NoiseStream {
    fn new(input: NoiseInput<'_>, share: ShareIndex, plane: Plane, kind: NoiseKind) -> Self {
        let parts: [&[u8]; 5] =
            [input.noise_key.as_bytes(), &input.tau.0.0, &[share.get()], &[plane.code()], &[kind.code()]];
        let key = Zeroizing::new(sha3_256(DST_DERIVED_NOISE, &parts).0);
        Self(keystream(&key))
    }
}

impl UniformBytes for NoiseStream {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill(0);
        self.0.apply_keystream(bytes);
    }
}

//! The aggregate as tfhe's own type.

use crate::{constants::RING_DIMENSION, mask::Mask};
use tfhe::core_crypto::prelude::{CiphertextModulus, GlweCiphertextOwned, GlweSize, PolynomialSize};

/// A ciphertext sum in the layout of tfhe's `GlweCiphertext`: 8192 words, the mask polynomial, then
/// the body polynomial.
///
/// `GlweCiphertext::from_container(words, PolynomialSize(4096), CiphertextModulus::new_native())`
/// makes a GLWE ciphertext of dimension 1 that `decrypt_glwe_ciphertext` opens under the sum of all
/// secret keys, for audits by software that knows nothing of this crate.
pub fn export_aggregate(mask: &Mask, body_sum: &[u64; RING_DIMENSION]) -> Vec<u64> {
    let mut ciphertext =
        GlweCiphertextOwned::new(0u64, GlweSize(2), PolynomialSize(RING_DIMENSION), CiphertextModulus::new_native());
    ciphertext.get_mut_mask().as_mut().copy_from_slice(mask.coefficients());
    ciphertext.get_mut_body().as_mut().copy_from_slice(body_sum);
    ciphertext.into_container()
}

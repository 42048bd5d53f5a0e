//! What all 32-byte secrets have in common.

use locus_commitment::sha3_256;
use zeroize::{Zeroize as _, Zeroizing};

/// Defines a 32-byte secret: erased on drop, without `Debug`, `Display` or `PartialEq`.
macro_rules! secret_32 {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, zeroize::Zeroize, zeroize::ZeroizeOnDrop)]
        pub struct $name([u8; 32]);

        impl $name {
            /// The secret with these bytes.
            pub fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// A fresh uniform secret.
            pub fn generate(rng: &mut impl rand_core::CryptoRng) -> Self {
                let mut secret = Self([0; 32]);
                rng.fill_bytes(&mut secret.0);
                secret
            }

            /// The bytes, for hashing, sealing and storing.
            pub fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// Whether both are equal, in time that does not depend on where they differ.
            pub fn is_same_as(&self, other: &Self) -> bool {
                subtle::ConstantTimeEq::ct_eq(&self.0[..], &other.0[..]).into()
            }
        }
    };
}

pub(crate) use secret_32;

/// A 32-byte value of the domain `dst`; the intermediate digest is erased.
pub(crate) fn derive(dst: &str, parts: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    let mut digest = sha3_256(dst, parts);
    let derived = Zeroizing::new(digest.0);
    digest.0.zeroize();
    derived
}

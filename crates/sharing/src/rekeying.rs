//! New key shares for datasets whose contributor is not there: each share's two holders draw them together.

use crate::{
    domain::{
        DST_REKEYING_BLINDING, DST_REKEYING_CONTRIBUTION, DST_REKEYING_NOISE, DST_REKEYING_PIECE, DST_REKEYING_ROOT,
        DST_REKEYING_SEED, DST_REKEYING_SESSION,
    },
    error::SharingError,
    index::{KeyholderIndex, ShareIndex, other_holder},
    seal::{SealBinding, SealedBox, SealingPrivateKey, SealingPublicKey, open, seal},
    secret::{derive, secret_32},
    seed::KeySeed,
};
use locus_commitment::{Blinding, DatasetContext, Digest32, NetworkId, ShareCommitment, sha3_256};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

secret_32! {
    /// What one holder of a share adds to the share's new secrets.
    RekeyingContribution
}

secret_32! {
    /// What the new secrets of one share derive from, for all datasets of a re-keying. Its two holders know it until the new keys
    /// are in force, and nobody afterwards.
    RekeyingSeed
}

secret_32! {
    /// Seed of the noise of one share's parts of a re-keying of one dataset.
    RekeyingNoiseSeed
}

/// One re-keying of a registration, with the keys that were made for it alone: what is sealed to them stays closed when the
/// keyholders' long-lived keys leak later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RekeyingSession {
    /// The market.
    pub network: NetworkId,
    /// Number of the registration.
    pub registration: u64,
    /// The generation of keys that results, from 1.
    pub generation: u8,
    /// The committee whose signatures the chain takes.
    pub committee_epoch: u64,
    /// Keys of keyholders 1, 2 and 3 for this re-keying.
    pub keys: [SealingPublicKey; 3],
}

/// What one share of one dataset gets.
pub struct RekeyedShare {
    /// Root seed.
    pub seed: KeySeed,
    /// Blinding of the commitment to it.
    pub blinding: Blinding,
    /// Seed of the noise of the share's parts.
    pub noise: RekeyingNoiseSeed,
}

impl RekeyingSession {
    /// Name of the session.
    pub fn digest(&self) -> Digest32 {
        let keys = self.keys.each_ref().map(SealingPublicKey::to_bytes);
        let parts: [&[u8]; 8] = [
            &self.network.chain_id.to_le_bytes(),
            &self.network.registry.0,
            &self.registration.to_le_bytes(),
            &[self.generation],
            &self.committee_epoch.to_le_bytes(),
            &keys[0],
            &keys[1],
            &keys[2],
        ];
        sha3_256(DST_REKEYING_SESSION, &parts)
    }

    /// Seals what `from` adds to `share` to the share's other holder.
    ///
    /// # Errors
    /// [`SharingError::NotAHolder`].
    pub fn seal_contribution(
        &self,
        from: KeyholderIndex,
        share: ShareIndex,
        contribution: &RekeyingContribution,
        rng: &mut impl CryptoRng,
    ) -> Result<SealedBox, SharingError> {
        let recipient = &self.keys[other_holder(from, share)?.position()];
        let associated_data = self.contribution_data(from, share);
        seal(recipient, contribution_binding(&associated_data), contribution.as_bytes(), rng)
    }

    /// Opens what the other holder of `share` adds, sealed to `to`.
    ///
    /// # Errors
    /// [`SharingError::NotAHolder`], [`SharingError::Open`].
    pub fn open_contribution(
        &self,
        to: KeyholderIndex,
        share: ShareIndex,
        private_key: &SealingPrivateKey,
        sealed: &SealedBox,
    ) -> Result<RekeyingContribution, SharingError> {
        let associated_data = self.contribution_data(other_holder(to, share)?, share);
        let payload = open(private_key, contribution_binding(&associated_data), sealed)?;
        let (expected, got) = (32, payload.len());
        let bytes: &[u8; 32] =
            payload.as_slice().try_into().map_err(|_| SharingError::PayloadLength { expected, got })?;
        Ok(RekeyingContribution::from_bytes(*bytes))
    }

    fn contribution_data(&self, from: KeyholderIndex, share: ShareIndex) -> [u8; 34] {
        let mut data = [0; 34];
        data[..32].copy_from_slice(&self.digest().0);
        (data[32], data[33]) = (from.get(), share.get());
        data
    }

    /// The seed of `share` from what its holders add, the lower-numbered holder's first.
    pub fn seed(&self, share: ShareIndex, contributions: [&RekeyingContribution; 2]) -> RekeyingSeed {
        let [lower, higher] = contributions.map(RekeyingContribution::as_bytes);
        let parts: [&[u8]; 4] = [&self.digest().0, &[share.get()], lower, higher];
        RekeyingSeed::from_bytes(*derive(DST_REKEYING_SEED, &parts))
    }
}

impl RekeyingSeed {
    /// What `share` of the dataset in `context` gets; the context has the new version of its keys.
    pub fn dataset(&self, share: ShareIndex, context: &DatasetContext) -> RekeyedShare {
        let context = context.to_bytes();
        let parts: [&[u8]; 3] = [self.as_bytes(), &context, &[share.get()]];
        RekeyedShare {
            seed: KeySeed::from_bytes(*derive(DST_REKEYING_ROOT, &parts)),
            blinding: Blinding(*derive(DST_REKEYING_BLINDING, &parts)),
            noise: RekeyingNoiseSeed::from_bytes(*derive(DST_REKEYING_NOISE, &parts)),
        }
    }

    /// The key of one stream of messages between the two holders of the share, in the session with this digest. The salt is the
    /// sender's, random for each stream: the same messages sent again are sealed under another key.
    pub fn message_key(
        &self,
        session: &Digest32,
        from: KeyholderIndex,
        to: KeyholderIndex,
        salt: &[u8; 32],
    ) -> Zeroizing<[u8; 32]> {
        derive(DST_REKEYING_PIECE, &[self.as_bytes(), &session.0, &[from.get(), to.get()], salt])
    }
}

impl RekeyedShare {
    /// The commitment to the share, which seed and blinding open.
    pub fn commitment(&self, share: ShareIndex, context: &DatasetContext) -> ShareCommitment {
        ShareCommitment::new(context, share.get(), self.seed.as_bytes(), &self.blinding)
    }
}

fn contribution_binding(associated_data: &[u8]) -> SealBinding<'_> {
    SealBinding { info: DST_REKEYING_CONTRIBUTION.as_bytes(), associated_data }
}

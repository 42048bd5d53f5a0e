//! Secrets of a dataset, all derived from one client secret, the dataset's context and its
//! genotypes.

use crate::{
    domain::{
        DST_DATASET_ROOT, DST_ENCRYPTION_NOISE, DST_GENOTYPE_BLINDING, DST_GENOTYPE_DIGEST, DST_ROOT_SEED,
        DST_SHARE_BLINDING,
    },
    index::ShareIndex,
    secret::{derive, secret_32},
};
use locus_commitment::{Blinding, DatasetContext, ShareCommitment, ShareSetCommitment};
use zeroize::Zeroizing;

secret_32! {
    /// Root seed of one key share of one dataset version. Whoever has the seeds of all three
    /// shares can decrypt the dataset.
    KeySeed
}

secret_32! {
    /// A client's long-lived secret, from which all secrets of all its datasets derive.
    MasterSecret
}

secret_32! {
    /// Seed of the encryption noise of one dataset version.
    EncryptionNoiseSeed
}

secret_32! {
    /// Digest of a dataset's packed genotypes. Short panels can be guessed from it, so it is
    /// handled as a secret.
    GenotypeDigest
}

impl GenotypeDigest {
    /// The digest of all genotypes of a dataset, packed four to a byte.
    pub fn of_packed(packed_genotypes: &[u8]) -> Self {
        Self::from_bytes(*derive(DST_GENOTYPE_DIGEST, &[packed_genotypes]))
    }
}

/// The root seeds of shares 1, 2 and 3 of one dataset version.
#[derive(Clone)]
pub struct SeedShares([KeySeed; 3]);

impl SeedShares {
    /// The seeds of shares 1, 2 and 3, in this order.
    pub fn new(seeds: [KeySeed; 3]) -> Self {
        Self(seeds)
    }

    /// The seed of one share.
    pub fn of(&self, share: ShareIndex) -> &KeySeed {
        &self.0[share.position()]
    }
}

/// Every random value of one dataset version.
///
/// Derived as in SIV encryption ([[RS06]]): the plaintext is an input of the derivation, so
/// encrypting the same genotypes again gives the same bytes, and different genotypes under the same
/// context get unrelated keys. No key is ever used for two plaintexts.
///
/// Assumes: SHA3-256 with a secret first part is a pseudorandom function.
///
/// [RS06]: https://doi.org/10.1007/11761679_23
#[derive(Clone)]
pub struct DatasetSecrets {
    /// Root seeds of the key shares.
    pub seeds: SeedShares,
    /// Blindings of the commitments to shares 1, 2 and 3.
    pub share_blindings: [Blinding; 3],
    /// Blinding of the commitment to the genotypes.
    pub genotype_blinding: Blinding,
    /// Seed of the encryption noise.
    pub encryption_noise_seed: EncryptionNoiseSeed,
}

impl DatasetSecrets {
    /// Derives the secrets of the dataset version `context` whose genotypes have `genotype_digest`.
    pub fn derive(master: &MasterSecret, context: &DatasetContext, genotype_digest: &GenotypeDigest) -> Self {
        let parts: [&[u8]; 3] = [master.as_bytes(), &context.to_bytes(), genotype_digest.as_bytes()];
        let root = derive(DST_DATASET_ROOT, &parts);
        let seeds = ShareIndex::ALL.map(|share| KeySeed::from_bytes(*derive_share(DST_ROOT_SEED, &root, share)));
        let share_blindings = ShareIndex::ALL.map(|share| Blinding(*derive_share(DST_SHARE_BLINDING, &root, share)));
        Self {
            seeds: SeedShares::new(seeds),
            share_blindings,
            genotype_blinding: Blinding(*derive(DST_GENOTYPE_BLINDING, &[&root[..]])),
            encryption_noise_seed: EncryptionNoiseSeed::from_bytes(*derive(DST_ENCRYPTION_NOISE, &[&root[..]])),
        }
    }

    /// Commitments to shares 1, 2 and 3, each opened by its seed and blinding.
    pub fn share_commitments(&self, context: &DatasetContext) -> [ShareCommitment; 3] {
        ShareIndex::ALL.map(|share| {
            let blinding = &self.share_blindings[share.position()];
            ShareCommitment::new(context, share.get(), self.seeds.of(share).as_bytes(), blinding)
        })
    }

    /// The commitment to all three shares, as the chain keeps it.
    pub fn share_set_commitment(&self, context: &DatasetContext) -> ShareSetCommitment {
        ShareSetCommitment::new(&self.share_commitments(context))
    }
}

fn derive_share(dst: &str, root: &[u8; 32], share: ShareIndex) -> Zeroizing<[u8; 32]> {
    derive(dst, &[root, &[share.get()]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use locus_commitment::{Address, DatasetId, NetworkId};
    use locus_genomics::PanelDigest;

    fn context() -> DatasetContext {
        DatasetContext {
            network: NetworkId { chain_id: 31_337, registry: Address([1; 20]) },
            registrant: Address([2; 20]),
            dataset: DatasetId([3; 32]),
            panel: PanelDigest([4; 32]),
            version: 1,
        }
    }

    /// All 32-byte values of a dataset, in a fixed order.
    fn values(secrets: &DatasetSecrets) -> Vec<[u8; 32]> {
        let mut all: Vec<[u8; 32]> = ShareIndex::ALL.map(|share| *secrets.seeds.of(share).as_bytes()).to_vec();
        all.extend(secrets.share_blindings.iter().map(|blinding| blinding.0));
        all.push(secrets.genotype_blinding.0);
        all.push(*secrets.encryption_noise_seed.as_bytes());
        all
    }

    fn derived(master: u8, context: &DatasetContext, genotypes: &[u8]) -> Vec<[u8; 32]> {
        let master = MasterSecret::from_bytes([master; 32]);
        values(&DatasetSecrets::derive(&master, context, &GenotypeDigest::of_packed(genotypes)))
    }

    #[test]
    fn a_retry_derives_the_same_secrets() {
        assert_eq!(derived(9, &context(), b"genome"), derived(9, &context(), b"genome"));
    }

    #[test]
    fn all_secrets_of_a_dataset_differ_from_each_other() {
        let mut all = derived(9, &context(), b"genome");
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 8);
    }

    #[test]
    fn changing_any_input_changes_every_secret() {
        let base = derived(9, &context(), b"genome");
        let mut changed = vec![derived(8, &context(), b"genome"), derived(9, &context(), b"genomf")];
        let contexts = [
            DatasetContext { version: 2, ..context() },
            DatasetContext { panel: PanelDigest([5; 32]), ..context() },
            DatasetContext { dataset: DatasetId([5; 32]), ..context() },
            DatasetContext { registrant: Address([5; 20]), ..context() },
            DatasetContext { network: NetworkId { chain_id: 1, registry: Address([1; 20]) }, ..context() },
            DatasetContext { network: NetworkId { chain_id: 31_337, registry: Address([5; 20]) }, ..context() },
        ];
        changed.extend(contexts.iter().map(|other| derived(9, other, b"genome")));
        for other in changed {
            assert!(base.iter().zip(&other).all(|(left, right)| left != right));
        }
    }

    #[test]
    fn derivation_matches_its_known_answer() {
        let hex: String = derived(9, &context(), b"genome")[0].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "af88a3fab9e422562d54d82ae143f5ad923d4a046bce5311e64243de059eda28");
    }

    #[test]
    fn share_commitments_open_with_seed_and_blinding() {
        let secrets = DatasetSecrets::derive(
            &MasterSecret::from_bytes([9; 32]),
            &context(),
            &GenotypeDigest::of_packed(b"genome"),
        );
        let commitments = secrets.share_commitments(&context());
        for share in ShareIndex::ALL {
            let blinding = &secrets.share_blindings[share.position()];
            let opened = ShareCommitment::new(&context(), share.get(), secrets.seeds.of(share).as_bytes(), blinding);
            assert_eq!(opened, commitments[share.position()]);
        }
        assert_eq!(secrets.share_set_commitment(&context()), ShareSetCommitment::new(&commitments));
    }

    #[test]
    fn secrets_compare_by_content() {
        let left = KeySeed::from_bytes([1; 32]);
        assert!(left.is_same_as(&KeySeed::from_bytes([1; 32])));
        let mut other = [1; 32];
        other[31] = 0;
        assert!(!left.is_same_as(&KeySeed::from_bytes(other)));
    }
}

//! What a client seals for one keyholder: the seeds of its two shares for a run of datasets.

use crate::{
    domain::DST_SEED_PACKAGE,
    error::SharingError,
    index::{KeyholderIndex, ShareIndex, shares_of},
    seal::{SealBinding, SealedBox, SealingPrivateKey, SealingPublicKey, open, seal},
    seed::{DatasetSecrets, KeySeed},
};
use locus_commitment::{Address, Blinding, DatasetContext, DatasetId, NetworkId, ShareCommitment};
use locus_genomics::PanelDigest;
use rand_core::CryptoRng;
use zeroize::Zeroizing;

/// Most datasets of one registration.
pub const REGISTRATION_DATASETS_MAX: u32 = 4096;
/// Most datasets of one seed package: 128 KiB of seeds, far below message size limits.
pub const SEED_PACKAGE_DATASETS_MAX: u32 = 1024;
/// Bytes of one dataset in a package: seed and blinding of two shares.
const DATASET_BYTES: usize = 4 * 32;

/// Which registration, keyholder and datasets a package is for. It is the associated data of the
/// sealed message, so a package cannot be replayed under another name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeedPackageHeader {
    /// The market.
    pub network: NetworkId,
    /// Account that registers the datasets.
    pub registrant: Address,
    /// The registrant's number of the batch, from which dataset ids derive.
    pub batch_nonce: u64,
    /// The panel of all datasets of the batch.
    pub panel: PanelDigest,
    /// The version of all datasets of the batch.
    pub version: u32,
    /// The keyholder that can open the package.
    pub keyholder: KeyholderIndex,
    /// Ordinal of the first dataset of the package within the batch.
    pub first_ordinal: u32,
    /// Datasets in the package.
    pub count: u32,
}

impl SeedPackageHeader {
    /// Length of [`to_bytes`](Self::to_bytes).
    pub const BYTES: usize = 8 + 20 + 20 + 8 + 32 + 4 + 1 + 4 + 4;

    /// Refuses an empty package, one of more than 1,024 datasets and ordinals from 4,096 on.
    pub fn check(&self) -> Result<(), SharingError> {
        let range_error = SharingError::PackageRange { first: self.first_ordinal, count: self.count };
        let end = self.first_ordinal.checked_add(self.count).ok_or(range_error)?;
        let fits = (1..=SEED_PACKAGE_DATASETS_MAX).contains(&self.count) && end <= REGISTRATION_DATASETS_MAX;
        if fits { Ok(()) } else { Err(range_error) }
    }

    /// The canonical encoding: the fields in order, integers little endian, the keyholder one byte.
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let parts: [&[u8]; 9] = [
            &self.network.chain_id.to_le_bytes(),
            &self.network.registry.0,
            &self.registrant.0,
            &self.batch_nonce.to_le_bytes(),
            &self.panel.0,
            &self.version.to_le_bytes(),
            &[self.keyholder.get()],
            &self.first_ordinal.to_le_bytes(),
            &self.count.to_le_bytes(),
        ];
        let mut bytes = [0; Self::BYTES];
        let mut rest = &mut bytes[..];
        for part in parts {
            let (head, tail) = rest.split_at_mut(part.len());
            head.copy_from_slice(part);
            rest = tail;
        }
        bytes
    }

    /// The context of the dataset at `ordinal` of the batch.
    pub fn dataset_context(&self, ordinal: u32) -> DatasetContext {
        DatasetContext {
            network: self.network,
            registrant: self.registrant,
            dataset: DatasetId::derive(self.registrant, self.batch_nonce, ordinal),
            panel: self.panel,
            version: self.version,
        }
    }

    fn binding<'a>(associated_data: &'a [u8; Self::BYTES]) -> SealBinding<'a> {
        SealBinding { info: DST_SEED_PACKAGE.as_bytes(), associated_data }
    }

    fn payload_bytes(&self) -> usize {
        // At most 1,024 datasets by `check`, so neither conversion nor product can overflow.
        usize::try_from(self.count).unwrap_or(usize::MAX).saturating_mul(DATASET_BYTES)
    }
}

/// Seed of one share, with the blinding that opens its commitment.
#[derive(Clone)]
pub struct ShareSeed {
    /// The share.
    pub share: ShareIndex,
    /// Root seed of the share.
    pub seed: KeySeed,
    /// Blinding of its commitment.
    pub blinding: Blinding,
}

impl ShareSeed {
    /// The commitment that this seed opens in `context`.
    pub fn commitment(&self, context: &DatasetContext) -> ShareCommitment {
        ShareCommitment::new(context, self.share.get(), self.seed.as_bytes(), &self.blinding)
    }
}

/// The two seeds a keyholder gets for one dataset, by ascending share.
#[derive(Clone)]
pub struct DatasetSeeds(pub [ShareSeed; 2]);

impl DatasetSeeds {
    /// Selects what `keyholder` may have of a dataset's secrets.
    pub fn for_keyholder(secrets: &DatasetSecrets, keyholder: KeyholderIndex) -> Self {
        Self(shares_of(keyholder).map(|share| ShareSeed {
            share,
            seed: secrets.seeds.of(share).clone(),
            blinding: secrets.share_blindings[share.position()].clone(),
        }))
    }
}

/// The seeds of consecutive datasets of one registration for one keyholder.
pub struct SeedPackage {
    header: SeedPackageHeader,
    datasets: Vec<DatasetSeeds>,
}

impl SeedPackage {
    /// Puts `datasets`, in ordinal order, under `header`. Fails if their number differs from the
    /// header's or a seed belongs to a share that the keyholder does not hold.
    pub fn try_new(header: SeedPackageHeader, datasets: Vec<DatasetSeeds>) -> Result<Self, SharingError> {
        header.check()?;
        if u32::try_from(datasets.len()) != Ok(header.count) {
            return Err(SharingError::PackageCount { expected: header.count, got: datasets.len() });
        }
        let held = shares_of(header.keyholder);
        for seed in datasets.iter().flat_map(|dataset| dataset.0.iter().zip(held)) {
            let (given, expected) = seed;
            if given.share != expected {
                return Err(SharingError::NotAHolder { keyholder: header.keyholder, share: given.share });
            }
        }
        Ok(Self { header, datasets })
    }

    /// What the package is for.
    pub fn header(&self) -> &SeedPackageHeader {
        &self.header
    }

    /// The seeds, in ordinal order from the header's first ordinal.
    pub fn datasets(&self) -> &[DatasetSeeds] {
        &self.datasets
    }

    /// Seals the package to the keyholder's public key.
    pub fn seal(&self, recipient: &SealingPublicKey, rng: &mut impl CryptoRng) -> Result<SealedBox, SharingError> {
        let mut payload = Zeroizing::new(Vec::with_capacity(self.header.payload_bytes()));
        for part in self.datasets.iter().flat_map(|dataset| &dataset.0) {
            payload.extend_from_slice(part.seed.as_bytes());
            payload.extend_from_slice(&part.blinding.0);
        }
        let associated_data = self.header.to_bytes();
        seal(recipient, SeedPackageHeader::binding(&associated_data), &payload, rng)
    }

    /// Opens a package announced under `header`. Fails if it was sealed under another header, for
    /// another key, or has another length than the header's count demands.
    pub fn open(
        header: SeedPackageHeader,
        private_key: &SealingPrivateKey,
        sealed: &SealedBox,
    ) -> Result<Self, SharingError> {
        header.check()?;
        let associated_data = header.to_bytes();
        let payload = open(private_key, SeedPackageHeader::binding(&associated_data), sealed)?;
        let expected = header.payload_bytes();
        if payload.len() != expected {
            return Err(SharingError::PayloadLength { expected, got: payload.len() });
        }
        let shares = shares_of(header.keyholder);
        let datasets = payload.as_chunks::<DATASET_BYTES>().0.iter().map(|bytes| parse_dataset(shares, bytes));
        Ok(Self { header, datasets: datasets.collect() })
    }
}

fn parse_dataset(shares: [ShareIndex; 2], bytes: &[u8; DATASET_BYTES]) -> DatasetSeeds {
    let [first_seed, first_blinding, second_seed, second_blinding] = split(bytes);
    let [first, second] = shares;
    DatasetSeeds([
        ShareSeed { share: first, seed: KeySeed::from_bytes(*first_seed), blinding: Blinding(*first_blinding) },
        ShareSeed { share: second, seed: KeySeed::from_bytes(*second_seed), blinding: Blinding(*second_blinding) },
    ])
}

fn split(bytes: &[u8; DATASET_BYTES]) -> [&[u8; 32]; 4] {
    let parts = bytes.as_chunks::<32>().0;
    [&parts[0], &parts[1], &parts[2], &parts[3]]
}

//! Key seeds and what they belong to.
//!
//! A dataset is *pending* from the moment its seeds arrive until this keyholder signs its batch,
//! and *attested* from then on. Seeds of both are wrapped; erasure destroys both.

use super::{META, Store, StoreError, attributes, rekeyings, vault};
use locus_commitment::{DatasetCommitments, DatasetContext, DatasetId, Digest32, PersonTag};
use locus_ledger::RegistrationId;
use locus_sharing::{KeySeed, KeyholderIndex, ShareIndex, shares_of};
use redb::{ReadableDatabase as _, ReadableTable as _, ReadableTableMetadata as _, TableDefinition, WriteTransaction};
use zeroize::Zeroizing;

/// Bytes of a seed, and of the blinding that follows it.
const SEED_BYTES: usize = 32;

/// Wrapped seeds of attested datasets.
pub(super) const SEEDS: TableDefinition<&[u8; 36], &[u8]> = TableDefinition::new("seeds");
/// Pending datasets: (registration digest, ordinal) to an encoded [`PendingDataset`].
const PENDING: TableDefinition<(&[u8; 32], u32), &[u8]> = TableDefinition::new("pending");
/// (kind, commitment) to the dataset that uses it; never removed.
pub(super) const COMMITMENTS: TableDefinition<&[u8; 33], &[u8; 36]> = TableDefinition::new("commitments");
/// Wrapped noise keys by share; 0 for the one that is no other keyholder's.
pub(super) const NOISE_KEYS: TableDefinition<u8, &[u8]> = TableDefinition::new("noise_keys");

pub(super) fn create_tables(transaction: &WriteTransaction) -> Result<(), StoreError> {
    transaction.open_table(SEEDS)?;
    transaction.open_table(PENDING)?;
    transaction.open_table(COMMITMENTS)?;
    transaction.open_table(NOISE_KEYS)?;
    Ok(())
}

/// A dataset version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DatasetKey {
    /// The dataset.
    pub(crate) dataset: DatasetId,
    /// Its version.
    pub(crate) version: u32,
}

impl DatasetKey {
    /// The key of the dataset version that `context` names.
    pub(crate) fn of(context: &DatasetContext) -> Self {
        Self { dataset: context.dataset, version: context.version }
    }

    /// Dataset id, then the version, little endian.
    pub(super) fn to_bytes(self) -> [u8; 36] {
        let mut bytes = [0; 36];
        bytes[..32].copy_from_slice(&self.dataset.0);
        bytes[32..].copy_from_slice(&self.version.to_le_bytes());
        bytes
    }

    /// The key that [`to_bytes`](Self::to_bytes) encodes.
    pub(super) fn parse(bytes: &[u8; 36]) -> Self {
        let (mut dataset, mut version) = ([0; 32], [0; 4]);
        dataset.copy_from_slice(&bytes[..32]);
        version.copy_from_slice(&bytes[32..]);
        Self { dataset: DatasetId(dataset), version: u32::from_le_bytes(version) }
    }
}

/// The root seeds of a dataset's two shares, ascending, from its stored secret: (seed, blinding) of each.
pub(crate) fn seeds_of_secret(
    keyholder: KeyholderIndex,
    secret: &[u8],
) -> Result<[(ShareIndex, KeySeed); 2], StoreError> {
    let (pairs, rest) = secret.as_chunks::<{ 2 * SEED_BYTES }>();
    let ([lower, higher], []) = (pairs, rest) else { return Err(StoreError::Damaged("seed")) };
    let seed = |pair: &[u8; 2 * SEED_BYTES]| {
        let seed = pair.first_chunk::<SEED_BYTES>().ok_or(StoreError::Damaged("seed"))?;
        Ok::<_, StoreError>(KeySeed::from_bytes(*seed))
    };
    let [first, second] = shares_of(keyholder);
    Ok([(first, seed(lower)?), (second, seed(higher)?)])
}

/// A dataset between the two steps of enrolment.
pub(crate) struct PendingDataset {
    /// The dataset version.
    pub(crate) key: DatasetKey,
    /// Whose budget it will charge.
    pub(crate) person: PersonTag,
    /// Its commitments.
    pub(crate) commitments: DatasetCommitments,
    /// Seed and blinding of both shares, 128 bytes.
    pub(crate) seeds: Zeroizing<Vec<u8>>,
    /// For each (block, plane): the 16 check slots, then this keyholder's two check values.
    pub(crate) checks: Vec<[[u64; 16]; 3]>,
    /// Commitment to its bodies, in markets that settle on proven cohorts.
    pub(crate) ciphertext: Option<[u8; CIPHERTEXT_BYTES]>,
}

impl Store {
    /// Keeps pending datasets of one registration, replacing those of an earlier try.
    pub(crate) fn put_pending(
        &self,
        registration: &Digest32,
        first_ordinal: u32,
        datasets: &[PendingDataset],
    ) -> Result<(), StoreError> {
        let transaction = self.database.begin_write()?;
        {
            let mut pending = transaction.open_table(PENDING)?;
            let wrapping_key = self.wrapping_key();
            for (ordinal, dataset) in (first_ordinal..).zip(datasets) {
                let wrapped = wrapping_key.wrap(&dataset.key.to_bytes(), &dataset.seeds)?;
                pending.insert((&registration.0, ordinal), encode_pending(dataset, &wrapped).as_slice())?;
            }
        }
        transaction.commit()?;
        Ok(())
    }

    /// Reads pending datasets `range` of a registration, in order.
    pub(crate) fn pending(
        &self,
        registration: &Digest32,
        range: std::ops::Range<u32>,
    ) -> Result<Vec<PendingDataset>, StoreError> {
        let wrapping_key = self.wrapping_key();
        let table = self.database.begin_read()?.open_table(PENDING)?;
        let mut datasets = Vec::new();
        for entry in table.range((&registration.0, range.start)..(&registration.0, range.end))? {
            let (_, value) = entry?;
            let (mut dataset, wrapped) = decode_pending(value.value())?;
            dataset.seeds = wrapping_key.unwrap_record(&dataset.key.to_bytes(), &wrapped)?;
            datasets.push(dataset);
        }
        Ok(datasets)
    }

    /// Makes all pending datasets of a registration attested, in one step. Refuses a commitment
    /// that another dataset uses. A second call finds nothing pending and changes nothing.
    pub(crate) fn attest(&self, registration: &Digest32, count: u32) -> Result<(), StoreError> {
        let transaction = self.database.begin_write()?;
        {
            let mut pending = transaction.open_table(PENDING)?;
            let mut seeds = transaction.open_table(SEEDS)?;
            let mut commitments = transaction.open_table(COMMITMENTS)?;
            for ordinal in 0..count {
                let Some(bytes) = pending.remove((&registration.0, ordinal))?.map(|value| value.value().to_vec())
                else {
                    continue;
                };
                let (dataset, wrapped) = decode_pending(&bytes)?;
                let key = dataset.key.to_bytes();
                for (kind, what, digest) in unique_commitments(&dataset.commitments) {
                    let name = commitment_name(kind, &digest);
                    let owner = commitments.get(&name)?.map(|value| *value.value());
                    match owner {
                        Some(owner) if owner != key => {
                            return Err(StoreError::Duplicate { what, dataset: dataset.key.dataset });
                        }
                        Some(_) => {}
                        None => {
                            commitments.insert(&name, &key)?;
                        }
                    }
                }
                seeds.insert(&key, wrapped.as_slice())?;
            }
        }
        transaction.commit()?;
        Ok(())
    }

    /// Refuses when a commitment of `dataset` is used by another dataset.
    pub(crate) fn check_unique(&self, key: DatasetKey, commitments: &DatasetCommitments) -> Result<(), StoreError> {
        let table = self.database.begin_read()?.open_table(COMMITMENTS)?;
        for (kind, what, digest) in unique_commitments(commitments) {
            let owner = table.get(&commitment_name(kind, &digest))?.map(|value| *value.value());
            if owner.is_some_and(|owner| owner != key.to_bytes()) {
                return Err(StoreError::Duplicate { what, dataset: key.dataset });
            }
        }
        Ok(())
    }

    /// Seed and blinding of both shares of each dataset, in the order asked for.
    pub(crate) fn seeds(&self, keys: &[DatasetKey]) -> Result<Vec<Zeroizing<Vec<u8>>>, StoreError> {
        let wrapping_key = self.wrapping_key();
        let table = self.database.begin_read()?.open_table(SEEDS)?;
        keys.iter()
            .map(|key| {
                let name = key.to_bytes();
                let wrapped = table.get(&name)?.ok_or(StoreError::SeedsMissing(key.dataset))?;
                wrapping_key.unwrap_record(&name, wrapped.value())
            })
            .collect()
    }

    /// Destroys the seeds and attributes of these datasets of a registration and the key that wrapped them; returns how many
    /// were still there. Pending datasets of other registrations survive under the new key. A re-keying of the
    /// registration that nobody can have signed yet is over, for new seeds would follow from what was drawn for it.
    ///
    /// # Errors
    /// [`StoreError::BeingRekeyed`] while a re-keying of the registration may be signed and is not on the chain.
    pub(crate) fn erase(&self, registration: RegistrationId, keys: &[DatasetKey]) -> Result<u32, StoreError> {
        self.destroy(keys, &[registration], |transaction| rekeyings::check_not_stated(transaction, registration))
    }

    /// The same where every dataset of the registration is revoked: nobody could lead a re-keying of it to its end, and new
    /// keys of it would count nobody.
    pub(crate) fn erase_of_ended(&self, registration: RegistrationId, keys: &[DatasetKey]) -> Result<u32, StoreError> {
        self.destroy(keys, &[registration], |_| Ok(()))
    }

    /// Destroys these seeds and attributes, and what the re-keyings of these registrations were drawn from, and the key that
    /// wrapped them; nothing when `check` refuses.
    pub(super) fn destroy(
        &self,
        keys: &[DatasetKey],
        ended: &[RegistrationId],
        check: impl FnOnce(&WriteTransaction) -> Result<(), StoreError>,
    ) -> Result<u32, StoreError> {
        let transaction = self.database.begin_write()?;
        let mut wrapping_key = self.wrapping_key();
        let next_epoch = wrapping_key.epoch.saturating_add(1);
        vault::create_key(&self.dir, next_epoch, self.kek.as_ref())?;
        let next = vault::WrappingKey::load(&self.dir, next_epoch, self.kek.as_ref())?;
        let mut erased = 0;
        {
            check(&transaction)?;
            let mut seeds = transaction.open_table(SEEDS)?;
            for key in keys {
                erased += u32::from(seeds.remove(&key.to_bytes())?.is_some());
            }
            let mut rewrapped = Vec::new();
            for entry in seeds.iter()? {
                let (name, wrapped) = entry?;
                let secret = wrapping_key.unwrap_record(name.value(), wrapped.value())?;
                rewrapped.push((*name.value(), next.wrap(name.value(), &secret)?));
            }
            for (name, wrapped) in rewrapped {
                seeds.insert(&name, wrapped.as_slice())?;
            }
            rewrap_pending(&transaction, &wrapping_key, &next, keys)?;
            rewrap_noise_keys(&transaction, &wrapping_key, &next)?;
            attributes::rewrap(&transaction, &wrapping_key, &next, keys)?;
            rekeyings::rewrap(&transaction, &wrapping_key, &next, ended)?;
            transaction.open_table(META)?.insert(vault::EPOCH, next_epoch)?;
        }
        transaction.commit()?;
        *wrapping_key = next;
        vault::remove_other_keys(&self.dir, next_epoch)?;
        Ok(erased)
    }

    /// Number of attested datasets whose seeds are here.
    pub(crate) fn dataset_count(&self) -> Result<u64, StoreError> {
        Ok(self.database.begin_read()?.open_table(SEEDS)?.len()?)
    }

    /// Keeps the noise key of a share; the first one stays.
    pub(crate) fn put_noise_key(&self, share: u8, key: &[u8; 32]) -> Result<(), StoreError> {
        let transaction = self.database.begin_write()?;
        {
            let mut table = transaction.open_table(NOISE_KEYS)?;
            if table.get(share)?.is_none() {
                let wrapped = self.wrapping_key().wrap(&[share], key)?;
                table.insert(share, wrapped.as_slice())?;
            }
        }
        transaction.commit()?;
        Ok(())
    }

    /// The noise key of a share, once agreed.
    pub(crate) fn noise_key(&self, share: u8) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        let wrapping_key = self.wrapping_key();
        let table = self.database.begin_read()?.open_table(NOISE_KEYS)?;
        match table.get(share)? {
            Some(wrapped) => Ok(Some(wrapping_key.unwrap_record(&[share], wrapped.value())?)),
            None => Ok(None),
        }
    }
}

fn rewrap_pending(
    transaction: &WriteTransaction,
    current: &vault::WrappingKey,
    next: &vault::WrappingKey,
    erased: &[DatasetKey],
) -> Result<(), StoreError> {
    let mut pending = transaction.open_table(PENDING)?;
    let mut rewrapped = Vec::new();
    for entry in pending.iter()? {
        let (name, value) = entry?;
        let (registration, ordinal) = name.value();
        let (dataset, wrapped) = decode_pending(value.value())?;
        let replacement = if erased.contains(&dataset.key) {
            None
        } else {
            let key = dataset.key.to_bytes();
            let secret = current.unwrap_record(&key, &wrapped)?;
            Some(encode_pending(&dataset, &next.wrap(&key, &secret)?))
        };
        rewrapped.push((*registration, ordinal, replacement));
    }
    for (registration, ordinal, replacement) in rewrapped {
        match replacement {
            Some(bytes) => pending.insert((&registration, ordinal), bytes.as_slice())?,
            None => pending.remove((&registration, ordinal))?,
        };
    }
    Ok(())
}

fn rewrap_noise_keys(
    transaction: &WriteTransaction,
    current: &vault::WrappingKey,
    next: &vault::WrappingKey,
) -> Result<(), StoreError> {
    let mut table = transaction.open_table(NOISE_KEYS)?;
    for share in 0..=3u8 {
        let wrapped = table.get(share)?.map(|value| value.value().to_vec());
        if let Some(wrapped) = wrapped {
            let secret = current.unwrap_record(&[share], &wrapped)?;
            table.insert(share, next.wrap(&[share], &secret)?.as_slice())?;
        }
    }
    Ok(())
}

pub(super) fn unique_commitments(commitments: &DatasetCommitments) -> [(u8, &'static str, Digest32); 3] {
    [
        (0, "ciphertext", commitments.bodies.0),
        (1, "key share commitment", commitments.shares.0),
        (2, "genotype commitment", commitments.genotypes.0),
    ]
}

pub(super) fn commitment_name(kind: u8, digest: &Digest32) -> [u8; 33] {
    let mut name = [kind; 33];
    name[1..].copy_from_slice(&digest.0);
    name
}

/// Fixed part of an encoded pending dataset: dataset id, version, person, three commitments.
const PENDING_FIXED_BYTES: usize = 32 + 4 + 32 + 3 * 32;
const CHECKS_BYTES: usize = 3 * 16 * 8;
/// x and y of a commitment to ciphertexts.
const CIPHERTEXT_BYTES: usize = 64;
const _: () = assert!(CIPHERTEXT_BYTES < CHECKS_BYTES, "what is left over tells whether there is one");

/// Encodes: fixed part, `u32` length of the wrapped seeds, wrapped seeds, checks, commitment if any.
fn encode_pending(dataset: &PendingDataset, wrapped: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(PENDING_FIXED_BYTES + 4 + wrapped.len() + dataset.checks.len() * CHECKS_BYTES);
    bytes.extend(dataset.key.to_bytes());
    bytes.extend(dataset.person.0);
    for (_, _, digest) in unique_commitments(&dataset.commitments) {
        bytes.extend(digest.0);
    }
    let wrapped_len = u32::try_from(wrapped.len()).unwrap_or(u32::MAX);
    bytes.extend(wrapped_len.to_le_bytes());
    bytes.extend(wrapped);
    for value in dataset.checks.iter().flatten().flatten() {
        bytes.extend(value.to_le_bytes());
    }
    bytes.extend(dataset.ciphertext.iter().flatten());
    bytes
}

fn decode_pending(bytes: &[u8]) -> Result<(PendingDataset, Vec<u8>), StoreError> {
    decode_pending_parts(bytes).ok_or(StoreError::Damaged("pending dataset"))
}

fn decode_pending_parts(bytes: &[u8]) -> Option<(PendingDataset, Vec<u8>)> {
    let (dataset, rest) = bytes.split_first_chunk::<32>()?;
    let (version, rest) = rest.split_first_chunk::<4>()?;
    let (person, rest) = rest.split_first_chunk::<32>()?;
    let (bodies, rest) = rest.split_first_chunk::<32>()?;
    let (shares, rest) = rest.split_first_chunk::<32>()?;
    let (genotypes, rest) = rest.split_first_chunk::<32>()?;
    let (wrapped_len, rest) = rest.split_first_chunk::<4>()?;
    let (wrapped, rest) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*wrapped_len)).ok()?)?;
    let (checks, trailing) = rest.as_chunks::<CHECKS_BYTES>();
    let ciphertext = match trailing {
        [] => None,
        trailing => Some(trailing.try_into().ok()?),
    };
    let dataset = PendingDataset {
        key: DatasetKey { dataset: DatasetId(*dataset), version: u32::from_le_bytes(*version) },
        person: PersonTag(*person),
        commitments: DatasetCommitments {
            bodies: locus_commitment::DatasetBodyDigest(Digest32(*bodies)),
            shares: locus_commitment::ShareSetCommitment(Digest32(*shares)),
            genotypes: locus_commitment::GenotypeCommitment(Digest32(*genotypes)),
        },
        seeds: Zeroizing::new(Vec::new()),
        checks: checks.iter().map(decode_checks).collect(),
        ciphertext,
    };
    Some((dataset, wrapped.to_vec()))
}

fn decode_checks(bytes: &[u8; CHECKS_BYTES]) -> [[u64; 16]; 3] {
    let (words, _) = bytes.as_chunks::<8>();
    let mut checks = [[0; 16]; 3];
    for (value, word) in checks.iter_mut().flatten().zip(words) {
        *value = u64::from_le_bytes(*word);
    }
    checks
}

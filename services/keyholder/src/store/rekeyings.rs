//! Re-keyings that are under way: what this keyholder drew, what it computed, and whether it has signed.
//!
//! Draws are made once for a generation and a committee, so that a re-keying that is led again leads to the same keys. They are
//! destroyed with the old seeds, when the chain has the new keys.

mod state;

use super::{
    DatasetKey, Store, StoreError,
    attributes::{self, decode_record, encode_record, rewrap_record},
    datasets::{COMMITMENTS, SEEDS, commitment_name},
    vault::WrappingKey,
};
use locus_commitment::{Digest32, Sha3Writer};
use locus_ledger::{DatasetLeaf, RegistrationId, RegistrationRecord};
use locus_sharing::{
    AttributeEntry, KeyholderIndex, RekeyedShare, RekeyingContribution, ShareIndex, seal::SealingPrivateKey, shares_of,
};
use prost::Message as _;
use redb::{ReadableDatabase as _, ReadableTable as _, TableDefinition, WriteTransaction};
use state::{KeptResult, State, decode, read_state};
pub(crate) use state::{MadeDataset, RekeyingResult, Stated};
use std::sync::Arc;
use zeroize::Zeroizing;

/// Registration to an encoded [`State`].
const STATES: TableDefinition<u64, &[u8]> = TableDefinition::new("rekeyings");
/// (registration, ordinal) to a dataset with its new version (36) and the record of its attributes.
const ATTRIBUTES: TableDefinition<(u64, u32), &[u8]> = TableDefinition::new("rekeyed_attributes");
/// Bytes of a dataset's key.
const KEY_BYTES: usize = 36;
/// Key seed, then what is added to the lower and to the higher share.
const DRAW_BYTES: usize = 3 * 32;
/// Names what is remembered of the seeds that bodies were made with.
const DST_SEEDS: &str = "locus/keyholder/rekeyed-seeds/v1";
/// Names the wrapped draws.
const DRAWS_NAME: &[u8] = b"locus/keyholder/rekeying-draws/v1";

pub(super) fn create_tables(transaction: &WriteTransaction) -> Result<(), StoreError> {
    transaction.open_table(STATES)?;
    transaction.open_table(ATTRIBUTES)?;
    Ok(())
}

/// What a keyholder drew for a re-keying.
pub(crate) struct RekeyingDraws {
    pub(crate) generation: u8,
    pub(crate) committee_epoch: u64,
    private_key: SealingPrivateKey,
    contributions: [RekeyingContribution; 2],
}

impl RekeyingDraws {
    /// What the others seal to.
    pub(crate) fn private_key(&self) -> &SealingPrivateKey {
        &self.private_key
    }

    /// What this keyholder adds to each of its shares, ascending.
    pub(crate) fn contributions(&self, keyholder: KeyholderIndex) -> [(ShareIndex, RekeyingContribution); 2] {
        let ([lower, higher], [first, second]) = (shares_of(keyholder), &self.contributions);
        [(lower, first.clone()), (higher, second.clone())]
    }
}

/// A dataset's new seeds.
pub(crate) struct RekeyedDataset {
    pub(crate) ordinal: u32,
    pub(crate) key: DatasetKey,
    pub(crate) shares: [RekeyedShare; 2],
}

impl RekeyedDataset {
    /// Says which seeds a dataset gets, all of which are secrets of 32 uniform bytes.
    pub(crate) fn seeds_digest(&self) -> Digest32 {
        let mut digest = Sha3Writer::new(DST_SEEDS);
        digest.part(&self.ordinal.to_le_bytes()).part(&self.key.to_bytes());
        for share in &self.shares {
            digest.part(share.seed.as_bytes()).part(&share.blinding.0);
        }
        digest.finish()
    }
}

/// Attributes as they are kept of a dataset.
pub(crate) struct AttributeRecord {
    pub(crate) schema: Digest32,
    pub(crate) entry: AttributeEntry,
}

/// A dataset's attributes under its new seeds.
pub(crate) struct RekeyedAttributes {
    pub(crate) ordinal: u32,
    pub(crate) key: DatasetKey,
    pub(crate) record: AttributeRecord,
}

/// A re-keying that this keyholder signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attested {
    pub(crate) registration: RegistrationId,
    pub(crate) generation: u8,
}

impl Store {
    /// What this keyholder draws for a generation, under a committee: the first time anew.
    pub(crate) fn open_rekeying(
        &self,
        registration: RegistrationId,
        generation: u8,
        committee_epoch: u64,
    ) -> Result<RekeyingDraws, StoreError> {
        let transaction = self.database.begin_write()?;
        let state = {
            let mut states = transaction.open_table(STATES)?;
            let kept = read_state(&states, registration)?;
            let is_same =
                |state: &State| state.generation == u32::from(generation) && state.committee_epoch == committee_epoch;
            match kept.filter(is_same) {
                Some(state) => state,
                None => {
                    let mut draws = Zeroizing::new([0; DRAW_BYTES]);
                    getrandom::fill(&mut draws[..])?;
                    let draws = self.wrapping_key().wrap(&draws_name(registration), &draws[..])?;
                    let state = State { generation: u32::from(generation), committee_epoch, draws, ..State::default() };
                    states.insert(registration.0, state.encode_to_vec().as_slice())?;
                    drop_attributes(&transaction, registration)?;
                    state
                }
            }
        };
        let draws = unwrap_draws(&self.wrapping_key(), registration, &state)?;
        transaction.commit()?;
        Ok(draws)
    }

    /// What this keyholder drew last for a registration.
    pub(crate) fn rekeying_draws(&self, registration: RegistrationId) -> Result<Option<RekeyingDraws>, StoreError> {
        let wrapping_key = self.wrapping_key();
        let state = read_state(&self.database.begin_read()?.open_table(STATES)?, registration)?;
        state.map(|state| unwrap_draws(&wrapping_key, registration, &state)).transpose()
    }

    /// The live attributes of these datasets, of whatever schema, in this order.
    pub(crate) fn attribute_records(&self, keys: &[DatasetKey]) -> Result<Vec<Option<AttributeRecord>>, StoreError> {
        let wrapping_key = self.wrapping_key();
        let table = self.database.begin_read()?.open_table(attributes::LIVE)?;
        let record = |key: &DatasetKey| {
            let name = key.to_bytes();
            let Some(record) = table.get(&name)? else { return Ok(None) };
            let (schema, entry) = decode_record(&wrapping_key, &name, record.value())?;
            Ok(Some(AttributeRecord { schema, entry }))
        };
        keys.iter().map(record).collect()
    }

    /// Keeps what was computed, for a statement that counts until the deadline. After the signature only the same can be kept
    /// again, or the same of fewer datasets: who was revoked since is left out when a re-keying is led again that not everybody
    /// signed.
    pub(crate) fn finish_rekeying(
        &self,
        registration: RegistrationId,
        session: &Digest32,
        result: &RekeyingResult,
        attributes: &[RekeyedAttributes],
        deadline_unix_s: u64,
    ) -> Result<(), StoreError> {
        let transaction = self.database.begin_write()?;
        {
            let mut states = transaction.open_table(STATES)?;
            let mut state = read_state(&states, registration)?.ok_or(StoreError::RekeyingChanged)?;
            let kept = KeptResult::of(session, result);
            if state.is_attested && !state.result.as_ref().is_some_and(|signed| kept.is_part_of(signed)) {
                return Err(StoreError::RekeyingChanged);
            }
            state.result = Some(kept);
            state.deadline_unix_s = state.deadline_unix_s.max(deadline_unix_s);
            states.insert(registration.0, state.encode_to_vec().as_slice())?;
            drop_attributes(&transaction, registration)?;
            let mut table = transaction.open_table(ATTRIBUTES)?;
            let wrapping_key = self.wrapping_key();
            // Those of a signed one are live.
            for RekeyedAttributes { ordinal, key, record } in attributes.iter().filter(|_| !state.is_attested) {
                let name = key.to_bytes();
                let encoded = encode_record(&wrapping_key, &name, &record.schema, &record.entry)?;
                table.insert((registration.0, *ordinal), [name.as_slice(), &encoded].concat().as_slice())?;
            }
        }
        transaction.commit()?;
        Ok(())
    }

    /// What was computed in the session with this digest.
    pub(crate) fn rekeying_result(
        &self,
        registration: RegistrationId,
        session: &Digest32,
    ) -> Result<Option<RekeyingResult>, StoreError> {
        let state = read_state(&self.database.begin_read()?.open_table(STATES)?, registration)?;
        let kept = state.and_then(|state| state.result).filter(|kept| kept.session == session.0);
        kept.map(|kept| kept.parse().ok_or(StoreError::Damaged("re-keying"))).transpose()
    }

    /// Keeps the new seeds and attributes beside the old ones, in one step and before the signature leaves. They must be the
    /// seeds that the bodies of `result` were made with: the messages that they follow from come again with this call.
    pub(crate) fn attest_rekeying(
        &self,
        registration: RegistrationId,
        session: &Digest32,
        result: &RekeyingResult,
        datasets: &[RekeyedDataset],
        deadline_unix_s: u64,
    ) -> Result<(), StoreError> {
        let transaction = self.database.begin_write()?;
        {
            let mut states = transaction.open_table(STATES)?;
            let mut state = read_state(&states, registration)?.ok_or(StoreError::RekeyingChanged)?;
            let is_kept = state.result.as_ref() == Some(&KeptResult::of(session, result));
            let made = datasets.iter().map(RekeyedDataset::seeds_digest);
            if !is_kept || !made.eq(result.datasets.iter().map(|dataset| dataset.seeds_digest)) {
                return Err(StoreError::RekeyingChanged);
            }
            if !state.is_attested {
                self.keep_new_seeds(&transaction, result, datasets)?;
                self.make_live(&transaction, registration, datasets)?;
            }
            state.is_attested = true;
            state.deadline_unix_s = state.deadline_unix_s.max(deadline_unix_s);
            states.insert(registration.0, state.encode_to_vec().as_slice())?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// Keeps the seeds and commitments of new keys.
    fn keep_new_seeds(
        &self,
        transaction: &WriteTransaction,
        result: &RekeyingResult,
        datasets: &[RekeyedDataset],
    ) -> Result<(), StoreError> {
        let mut seeds = transaction.open_table(SEEDS)?;
        let mut commitments = transaction.open_table(COMMITMENTS)?;
        for (dataset, made) in datasets.iter().zip(&result.datasets) {
            let (name, keys) = (dataset.key.to_bytes(), made.keys);
            let used = [(0, "ciphertext", keys.bodies.0), (1, "key share commitment", keys.shares.0)];
            for (kind, what, digest) in used {
                let before = commitments.insert(&commitment_name(kind, &digest), &name)?;
                if before.is_some_and(|owner| *owner.value() != name) {
                    return Err(StoreError::Duplicate { what, dataset: dataset.key.dataset });
                }
            }
            let mut secret = Zeroizing::new(Vec::with_capacity(128));
            for share in &dataset.shares {
                secret.extend_from_slice(share.seed.as_bytes());
                secret.extend_from_slice(&share.blinding.0);
            }
            seeds.insert(&name, self.wrapping_key().wrap(&name, &secret)?.as_slice())?;
        }
        Ok(())
    }

    /// Moves re-keyed attributes to the live ones. They must still be those that the old seeds go with.
    fn make_live(
        &self,
        transaction: &WriteTransaction,
        registration: RegistrationId,
        datasets: &[RekeyedDataset],
    ) -> Result<(), StoreError> {
        let mut rekeyed = transaction.open_table(ATTRIBUTES)?;
        let mut live = transaction.open_table(attributes::LIVE)?;
        for dataset in datasets {
            let before = DatasetKey { version: dataset.key.version.saturating_sub(1), ..dataset.key };
            let old =
                live.get(&before.to_bytes())?.map(|record| attributes::record_name(record.value())).transpose()?;
            let taken = rekeyed.remove((registration.0, dataset.ordinal))?.map(|value| value.value().to_vec());
            let new = taken.as_deref().map(split).transpose()?;
            let new_name = new.map(|(_, record)| attributes::record_name(record)).transpose()?;
            if old != new_name {
                return Err(StoreError::RekeyingChanged);
            }
            if let Some((key, record)) = new {
                live.insert(key, record)?;
            }
        }
        Ok(())
    }

    /// The re-keying of a registration that others may have signed.
    pub(crate) fn stated_rekeying(&self, registration: RegistrationId) -> Result<Option<Stated>, StoreError> {
        let state = read_state(&self.database.begin_read()?.open_table(STATES)?, registration)?;
        Ok(state.and_then(|state| state.stated()))
    }

    /// Destroys what was drawn for a re-keying that can come into force no more, and the new seeds and attributes of its
    /// datasets, which have these keys.
    ///
    /// # Errors
    /// [`StoreError::RekeyingChanged`] when something else was stated since.
    pub(crate) fn end_rekeying(
        &self,
        registration: RegistrationId,
        stated: &Stated,
        keys: &[DatasetKey],
    ) -> Result<u32, StoreError> {
        self.destroy(keys, &[registration], |transaction| {
            let state = read_state(&transaction.open_table(STATES)?, registration)?;
            match state.and_then(|state| state.stated()) {
                Some(found) if found == *stated => Ok(()),
                _ => Err(StoreError::RekeyingChanged),
            }
        })
    }

    /// Re-keyings that this keyholder signed and has not seen on the chain yet.
    pub(crate) fn attested_rekeyings(&self) -> Result<Vec<Attested>, StoreError> {
        let table = self.database.begin_read()?.open_table(STATES)?;
        let mut attested = Vec::new();
        for item in table.iter()? {
            let (registration, bytes) = item?;
            let state = decode(bytes.value())?;
            if state.is_attested {
                let generation = u8::try_from(state.generation).map_err(|_| StoreError::Damaged("re-keying"))?;
                attested.push(Attested { registration: RegistrationId(registration.value()), generation });
            }
        }
        Ok(attested)
    }

    /// Whether the newest keys on the chain are some whose seeds are here.
    pub(crate) fn has_seeds_of(&self, record: &RegistrationRecord) -> Result<bool, StoreError> {
        let read = self.database.begin_read()?;
        let (commitments, seeds) = (read.open_table(COMMITMENTS)?, read.open_table(SEEDS)?);
        for leaf in record.leaves.iter() {
            let name = DatasetKey { dataset: leaf.dataset, version: record.key_version() }.to_bytes();
            let owner = commitments.get(&commitment_name(1, &leaf.commitments.shares.0))?.map(|owner| *owner.value());
            if owner == Some(name) && seeds.get(&name)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Destroys everything of these registrations' datasets that is older than this version of their keys, and what their
    /// re-keyings were drawn from; returns how many seeds there were.
    pub(crate) fn retire(&self, retired: &[(RegistrationId, u32, Arc<[DatasetLeaf]>)]) -> Result<u32, StoreError> {
        let older = |(_, key_version, leaves): &(RegistrationId, u32, Arc<[DatasetLeaf]>)| {
            let first = key_version.saturating_sub(u32::from(locus_privacy::REKEYINGS_MAX));
            let versions = first..*key_version;
            let of_leaf = move |leaf: &DatasetLeaf| {
                let dataset = leaf.dataset;
                versions.clone().map(move |version| DatasetKey { dataset, version })
            };
            leaves.iter().flat_map(of_leaf).collect::<Vec<_>>()
        };
        let keys: Vec<DatasetKey> = retired.iter().flat_map(older).collect();
        let ended: Vec<RegistrationId> = retired.iter().map(|(registration, ..)| *registration).collect();
        self.destroy(&keys, &ended, |_| Ok(()))
    }
}

fn draws_name(registration: RegistrationId) -> Vec<u8> {
    [DRAWS_NAME, &registration.0.to_le_bytes()].concat()
}

fn unwrap_draws(
    wrapping_key: &WrappingKey,
    registration: RegistrationId,
    state: &State,
) -> Result<RekeyingDraws, StoreError> {
    let damaged = || StoreError::Damaged("re-keying");
    let draws = wrapping_key.unwrap_record(&draws_name(registration), &state.draws)?;
    let ([seed, lower, higher], []) = draws.as_chunks::<32>() else { return Err(damaged()) };
    Ok(RekeyingDraws {
        generation: u8::try_from(state.generation).map_err(|_| damaged())?,
        committee_epoch: state.committee_epoch,
        private_key: SealingPrivateKey::from_seed(seed),
        contributions: [lower, higher].map(|bytes| RekeyingContribution::from_bytes(*bytes)),
    })
}

/// Refuses what would part old and new seeds of a registration whose re-keying may be signed: when this keyholder has stated
/// what it computed, others may have signed.
pub(super) fn check_not_stated(transaction: &WriteTransaction, registration: RegistrationId) -> Result<(), StoreError> {
    let state = read_state(&transaction.open_table(STATES)?, registration)?;
    if state.is_some_and(|state| state.result.is_some()) {
        Err(StoreError::BeingRekeyed(registration.0))
    } else {
        Ok(())
    }
}

/// Before attributes change: what was stated about a re-keying does not count any more, and it has to be led again.
///
/// # Errors
/// [`StoreError::BeingRekeyed`] when it is signed.
pub(super) fn withdraw_statement(
    transaction: &WriteTransaction,
    registration: RegistrationId,
) -> Result<(), StoreError> {
    let mut states = transaction.open_table(STATES)?;
    match read_state(&states, registration)? {
        Some(state) if state.is_attested => Err(StoreError::BeingRekeyed(registration.0)),
        Some(state) if state.result.is_some() => {
            let state = State { result: None, ..state };
            states.insert(registration.0, state.encode_to_vec().as_slice())?;
            drop_attributes(transaction, registration)
        }
        _ => Ok(()),
    }
}

fn drop_attributes(transaction: &WriteTransaction, registration: RegistrationId) -> Result<(), StoreError> {
    let mut table = transaction.open_table(ATTRIBUTES)?;
    table.retain_in((registration.0, 0)..=(registration.0, u32::MAX), |_, _| false)?;
    Ok(())
}

fn split(value: &[u8]) -> Result<(&[u8; KEY_BYTES], &[u8]), StoreError> {
    value.split_first_chunk().ok_or(StoreError::Damaged("re-keyed attribute"))
}

/// Removes the re-keyings that have ended and wraps all others under the next key.
pub(super) fn rewrap(
    transaction: &WriteTransaction,
    current: &WrappingKey,
    next: &WrappingKey,
    ended: &[RegistrationId],
) -> Result<(), StoreError> {
    for registration in ended {
        transaction.open_table(STATES)?.remove(registration.0)?;
        drop_attributes(transaction, *registration)?;
    }
    let mut states = transaction.open_table(STATES)?;
    let mut rewrapped = Vec::new();
    for item in states.iter()? {
        let (registration, bytes) = item?;
        let (registration, mut state) = (RegistrationId(registration.value()), decode(bytes.value())?);
        let name = draws_name(registration);
        state.draws = next.wrap(&name, &current.unwrap_record(&name, &state.draws)?)?;
        rewrapped.push((registration.0, state.encode_to_vec()));
    }
    for (registration, bytes) in rewrapped {
        states.insert(registration, bytes.as_slice())?;
    }
    let mut table = transaction.open_table(ATTRIBUTES)?;
    let mut rewrapped = Vec::new();
    for item in table.iter()? {
        let (place, value) = item?;
        let (key, record) = split(value.value())?;
        let record = rewrap_record(current, next, key, record)?;
        rewrapped.push((place.value(), [key.as_slice(), &record].concat()));
    }
    for (place, value) in rewrapped {
        table.insert(place, value.as_slice())?;
    }
    Ok(())
}

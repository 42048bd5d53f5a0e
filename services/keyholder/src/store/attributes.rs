//! Shares of people's attributes, and where their enrolment stands.
//!
//! A registration's shares are *pending* from the moment they arrive until all keyholders have
//! checked that they are bits, and *live* from then on. Kept is only what was sent: the commitment
//! and, where it is held, share 3, wrapped like a seed; shares 1 and 2 expand from the seeds. So the
//! erasure of a seed makes the attributes unreadable too, and here they are removed with it.

use super::{DatasetKey, Store, StoreError, rekeyings, vault::WrappingKey};
use locus_commitment::{Digest32, sha3_256};
use locus_ledger::{AttributeStatement, RegistrationId};
use locus_phenotype::SchemaDigest;
use locus_sharing::{AttributeCommitment, AttributeEntry};
use locus_wire::pb::keyholder::{AttributeCheck, AttributeSums};
use prost::Message as _;
use redb::{ReadableDatabase as _, ReadableTable as _, Table, TableDefinition, WriteTransaction};
use std::{collections::BTreeSet, ops::Range};
use zeroize::Zeroizing;

/// Registration to an encoded [`AttributeState`].
pub(super) const STATES: TableDefinition<u64, &[u8]> = TableDefinition::new("attribute_states");
/// (registration, ordinal) to a dataset (36) and its record: what arrived in the present attempt.
const PENDING: TableDefinition<(u64, u32), &[u8]> = TableDefinition::new("attributes_pending");
/// Dataset to its record: what may be asked about.
pub(super) const LIVE: TableDefinition<&[u8; 36], &[u8]> = TableDefinition::new("attributes");
/// Digest to the document of a schema that pending or live attributes have.
pub(super) const SCHEMAS: TableDefinition<&[u8; 32], &str> = TableDefinition::new("attribute_schemas");

/// A record: schema digest (32), commitment (32), wrapped share 3 or nothing.
const RECORD_FIXED_BYTES: usize = 64;
/// Bytes of a dataset's key.
const KEY_BYTES: usize = 36;
/// Names wrapped shares, so that no other secret of the dataset opens in their place.
const DST_WRAPPED: &str = "locus/keyholder/attributes/v1";
/// Records rewrapped with one reading of the table.
const REWRAP_RECORDS: usize = 256;

pub(super) fn create_tables(transaction: &WriteTransaction) -> Result<(), StoreError> {
    transaction.open_table(STATES)?;
    transaction.open_table(PENDING)?;
    transaction.open_table(LIVE)?;
    transaction.open_table(SCHEMAS)?;
    Ok(())
}

/// How far an attempt has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum AttributeStage {
    /// Shares are arriving.
    Receiving = 0,
    /// All are there, and what the others need to check them was signed.
    Checked = 1,
    /// The sums were signed.
    Verified = 2,
}

/// A statement as it is kept.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct KeptStatement {
    #[prost(uint32, tag = "1")]
    revision: u32,
    #[prost(bytes = "vec", tag = "2")]
    schema: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    commitments: Vec<u8>,
}

impl KeptStatement {
    fn of(statement: &AttributeStatement) -> Self {
        Self {
            revision: statement.revision,
            schema: statement.schema.0.to_vec(),
            commitments: statement.commitments.0.to_vec(),
        }
    }
}

/// The present attempt of a registration.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct PendingAttributes {
    #[prost(message, optional, tag = "1")]
    statement: Option<KeptStatement>,
    #[prost(enumeration = "AttributeStage", tag = "2")]
    stage: i32,
    /// What this keyholder signed first.
    #[prost(message, optional, tag = "3")]
    pub(crate) check: Option<AttributeCheck>,
    /// What it signed second.
    #[prost(message, optional, tag = "4")]
    pub(crate) sums: Option<AttributeSums>,
}

impl PendingAttributes {
    /// How far it has come.
    pub(crate) fn reached(&self) -> AttributeStage {
        self.stage()
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct AttributeState {
    /// The largest attempt that any randomness was taken for.
    #[prost(uint64, tag = "1")]
    pub(super) last_attempt: u64,
    #[prost(message, optional, tag = "2")]
    pub(super) pending: Option<PendingAttributes>,
    #[prost(message, optional, tag = "3")]
    pub(super) live: Option<KeptStatement>,
    /// Whether share 3 of the live attributes is one keyholder's word.
    #[prost(bool, tag = "4")]
    pub(super) is_handed_over: bool,
}

/// One attempt at one statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AttributeAttempt {
    /// What the registrant signed.
    pub(crate) statement: AttributeStatement,
    /// The attempt.
    pub(crate) number: u64,
}

/// A dataset's attributes on their way in.
pub(crate) struct PendingEntry {
    /// Its place in the registration.
    pub(crate) ordinal: u32,
    /// The dataset version.
    pub(crate) key: DatasetKey,
    /// Commitment, and share 3 where it is held.
    pub(crate) entry: AttributeEntry,
}

impl Store {
    /// Begins an attempt: durable before anything is computed with its randomness. What arrived in an
    /// earlier one is dropped.
    pub(crate) fn begin_attributes(&self, attempt: &AttributeAttempt, schema_json: &str) -> Result<(), StoreError> {
        let statement = &attempt.statement;
        let registration = statement.registration;
        let transaction = self.database.begin_write()?;
        {
            rekeyings::withdraw_statement(&transaction, registration)?;
            let mut states = transaction.open_table(STATES)?;
            let mut state = read_state(&states, registration)?;
            if attempt.number <= state.last_attempt {
                return Err(StoreError::AttemptUsed { attempt: attempt.number, last: state.last_attempt });
            }
            let kept = KeptStatement::of(statement);
            if let Some(live) = state.live.as_ref().filter(|live| is_superseded(&kept, live)) {
                return Err(StoreError::OldRevision { revision: statement.revision, live: live.revision });
            }
            state.last_attempt = attempt.number;
            state.pending = Some(PendingAttributes { statement: Some(kept), ..PendingAttributes::default() });
            states.insert(registration.0, state.encode_to_vec().as_slice())?;
            drop_pending(&mut transaction.open_table(PENDING)?, registration)?;
            transaction.open_table(SCHEMAS)?.insert(&statement.schema.0, schema_json)?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// Keeps attributes that arrived in the present attempt.
    pub(crate) fn put_attributes(
        &self,
        attempt: &AttributeAttempt,
        entries: &[PendingEntry],
    ) -> Result<(), StoreError> {
        let transaction = self.database.begin_write()?;
        {
            present(&transaction, attempt, AttributeStage::Receiving)?;
            let mut pending = transaction.open_table(PENDING)?;
            let wrapping_key = self.wrapping_key();
            for PendingEntry { ordinal, key, entry } in entries {
                let key = key.to_bytes();
                let record = encode_record(&wrapping_key, &key, &attempt.statement.schema, entry)?;
                let value = [key.as_slice(), &record].concat();
                pending.insert((attempt.statement.registration.0, *ordinal), value.as_slice())?;
            }
        }
        transaction.commit()?;
        Ok(())
    }

    /// Attributes of the present attempt with ordinals in `range`, in order.
    pub(crate) fn pending_attributes(
        &self,
        attempt: &AttributeAttempt,
        range: Range<u32>,
    ) -> Result<Vec<PendingEntry>, StoreError> {
        let wrapping_key = self.wrapping_key();
        let table = self.database.begin_read()?.open_table(PENDING)?;
        let registration = attempt.statement.registration.0;
        let mut entries = Vec::new();
        for item in table.range((registration, range.start)..(registration, range.end))? {
            let (name, value) = item?;
            let (key, record) = split_pending(value.value())?;
            let (_, entry) = decode_record(&wrapping_key, key, record)?;
            entries.push(PendingEntry { ordinal: name.value().1, key: DatasetKey::parse(key), entry });
        }
        Ok(entries)
    }

    /// Notes what this keyholder signed about the shares, all of which are there now.
    pub(crate) fn finish_check(&self, attempt: &AttributeAttempt, check: &AttributeCheck) -> Result<(), StoreError> {
        self.advance(attempt, AttributeStage::Receiving, |pending| {
            pending.set_stage(AttributeStage::Checked);
            pending.check = Some(check.clone());
        })?;
        Ok(())
    }

    /// Where the attempt stands; refuses when it is not the present one.
    pub(crate) fn attribute_attempt(&self, attempt: &AttributeAttempt) -> Result<PendingAttributes, StoreError> {
        let states = self.database.begin_read()?.open_table(STATES)?;
        pending_of(read_state(&states, attempt.statement.registration)?, attempt)
    }

    /// Keeps this keyholder's sums, of which it signs one set an attempt; returns the first one kept.
    pub(crate) fn finish_verification(
        &self,
        attempt: &AttributeAttempt,
        sums: &AttributeSums,
    ) -> Result<AttributeSums, StoreError> {
        let pending = self.advance(attempt, AttributeStage::Checked, |pending| {
            pending.set_stage(AttributeStage::Verified);
            pending.sums.get_or_insert_with(|| sums.clone());
        })?;
        pending.sums.ok_or(StoreError::Damaged("attribute state"))
    }

    /// Those of these registrations whose live attributes came in part from one keyholder alone.
    pub(crate) fn handed_over(
        &self,
        registrations: impl Iterator<Item = RegistrationId>,
    ) -> Result<BTreeSet<RegistrationId>, StoreError> {
        let states = self.database.begin_read()?.open_table(STATES)?;
        let mut handed_over = BTreeSet::new();
        let mut last = None;
        for registration in registrations {
            if last.replace(registration) != Some(registration) && read_state(&states, registration)?.is_handed_over {
                handed_over.insert(registration);
            }
        }
        Ok(handed_over)
    }

    /// Whether this statement's attributes are live.
    pub(crate) fn is_live(&self, statement: &AttributeStatement) -> Result<bool, StoreError> {
        let states = self.database.begin_read()?.open_table(STATES)?;
        Ok(read_state(&states, statement.registration)?.live == Some(KeptStatement::of(statement)))
    }

    /// Makes the attributes of the present attempt live instead of earlier ones; returns how many.
    pub(crate) fn admit_attributes(
        &self,
        attempt: &AttributeAttempt,
        datasets: &[DatasetKey],
    ) -> Result<u32, StoreError> {
        let registration = attempt.statement.registration;
        let transaction = self.database.begin_write()?;
        let mut admitted = 0;
        {
            present(&transaction, attempt, AttributeStage::Verified)?;
            rekeyings::check_not_stated(&transaction, registration)?;
            let mut live = transaction.open_table(LIVE)?;
            for dataset in datasets {
                live.remove(&dataset.to_bytes())?;
            }
            let mut pending = transaction.open_table(PENDING)?;
            for item in pending.range((registration.0, 0)..=(registration.0, u32::MAX))? {
                let (_, value) = item?;
                let (key, record) = split_pending(value.value())?;
                live.insert(key, record)?;
                admitted += 1;
            }
            drop_pending(&mut pending, registration)?;
            let mut states = transaction.open_table(STATES)?;
            let mut state = read_state(&states, registration)?;
            state.live = Some(KeptStatement::of(&attempt.statement));
            state.pending = None;
            state.is_handed_over = false;
            states.insert(registration.0, state.encode_to_vec().as_slice())?;
            drop_unused_schemas(&transaction, &states)?;
        }
        transaction.commit()?;
        Ok(admitted)
    }

    /// How many of these datasets have attributes of `schema`.
    pub(crate) fn attribute_count(&self, keys: &[DatasetKey], schema: &SchemaDigest) -> Result<u32, StoreError> {
        let commitments = self.attribute_commitments(keys, schema)?;
        Ok(u32::try_from(commitments.iter().flatten().count()).unwrap_or(u32::MAX))
    }

    /// The commitments to the live attributes of these datasets, in this order; `None` for a dataset
    /// that has none of this schema.
    pub(crate) fn attribute_commitments(
        &self,
        keys: &[DatasetKey],
        schema: &SchemaDigest,
    ) -> Result<Vec<Option<AttributeCommitment>>, StoreError> {
        let table = self.database.begin_read()?.open_table(LIVE)?;
        let commitment = |key: &DatasetKey| {
            let Some(record) = table.get(&key.to_bytes())? else { return Ok(None) };
            let (digest, commitment, _) = split_record(record.value())?;
            Ok((digest == schema.0).then_some(commitment))
        };
        keys.iter().map(commitment).collect()
    }

    /// What was sent of the live attributes of these datasets, in this order; `None` for a dataset that
    /// has none of this schema.
    pub(crate) fn attributes(
        &self,
        keys: &[DatasetKey],
        schema: &SchemaDigest,
    ) -> Result<Vec<Option<AttributeEntry>>, StoreError> {
        let wrapping_key = self.wrapping_key();
        let table = self.database.begin_read()?.open_table(LIVE)?;
        let entry = |key: &DatasetKey| {
            let name = key.to_bytes();
            let Some(record) = table.get(&name)? else { return Ok(None) };
            let (digest, entry) = decode_record(&wrapping_key, &name, record.value())?;
            Ok((digest == schema.0).then_some(entry))
        };
        keys.iter().map(entry).collect()
    }

    /// The document of a schema that attributes here have.
    pub(crate) fn schema_json(&self, digest: &SchemaDigest) -> Result<Option<String>, StoreError> {
        let table = self.database.begin_read()?.open_table(SCHEMAS)?;
        Ok(table.get(&digest.0.0)?.map(|json| json.value().to_owned()))
    }

    /// Changes the present attempt, which must have come this far at least.
    fn advance(
        &self,
        attempt: &AttributeAttempt,
        stage: AttributeStage,
        change: impl FnOnce(&mut PendingAttributes),
    ) -> Result<PendingAttributes, StoreError> {
        let transaction = self.database.begin_write()?;
        let pending = {
            let mut pending = present(&transaction, attempt, stage)?;
            change(&mut pending);
            let mut states = transaction.open_table(STATES)?;
            let mut state = read_state(&states, attempt.statement.registration)?;
            state.pending = Some(pending.clone());
            states.insert(attempt.statement.registration.0, state.encode_to_vec().as_slice())?;
            pending
        };
        transaction.commit()?;
        Ok(pending)
    }
}

/// Whether a live revision stands in the way: a later one, or the same one with other content.
fn is_superseded(kept: &KeptStatement, live: &KeptStatement) -> bool {
    kept.revision < live.revision || (kept.revision == live.revision && kept != live)
}

pub(super) fn read_state(
    states: &impl redb::ReadableTable<u64, &'static [u8]>,
    registration: RegistrationId,
) -> Result<AttributeState, StoreError> {
    match states.get(registration.0)? {
        Some(bytes) => AttributeState::decode(bytes.value()).map_err(|_| StoreError::Damaged("attribute state")),
        None => Ok(AttributeState::default()),
    }
}

/// What is pending, if it is of this attempt.
fn pending_of(state: AttributeState, attempt: &AttributeAttempt) -> Result<PendingAttributes, StoreError> {
    let statement = KeptStatement::of(&attempt.statement);
    let is_present = |pending: &PendingAttributes| pending.statement.as_ref() == Some(&statement);
    let pending = state.pending.filter(is_present).filter(|_| state.last_attempt == attempt.number);
    pending.ok_or(StoreError::AttemptGone(attempt.number))
}

/// What is pending, if it is of this attempt and has come this far.
fn present(
    transaction: &WriteTransaction,
    attempt: &AttributeAttempt,
    stage: AttributeStage,
) -> Result<PendingAttributes, StoreError> {
    let states = transaction.open_table(STATES)?;
    let pending = pending_of(read_state(&states, attempt.statement.registration)?, attempt)?;
    // More shares after the check was signed would be other shares than those signed for.
    let is_over = stage == AttributeStage::Receiving && pending.reached() != stage;
    if pending.reached() < stage || is_over { Err(StoreError::AttemptGone(attempt.number)) } else { Ok(pending) }
}

fn drop_pending(
    pending: &mut Table<'_, (u64, u32), &'static [u8]>,
    registration: RegistrationId,
) -> Result<(), StoreError> {
    pending.retain_in((registration.0, 0)..=(registration.0, u32::MAX), |_, _| false)?;
    Ok(())
}

/// Removes the documents of schemas that no registration has any more.
fn drop_unused_schemas(
    transaction: &WriteTransaction,
    states: &Table<'_, u64, &'static [u8]>,
) -> Result<(), StoreError> {
    let mut used = BTreeSet::new();
    for item in states.iter()? {
        let (_, bytes) = item?;
        let state = AttributeState::decode(bytes.value()).map_err(|_| StoreError::Damaged("attribute state"))?;
        let pending = state.pending.and_then(|pending| pending.statement);
        used.extend(pending.into_iter().chain(state.live).map(|statement| statement.schema));
    }
    transaction.open_table(SCHEMAS)?.retain(|digest, _| used.contains(digest.as_slice()))?;
    Ok(())
}

/// Removes the attributes of erased datasets and wraps all others under the next key. An attempt that
/// had one of the erased datasets is over.
pub(super) fn rewrap(
    transaction: &WriteTransaction,
    current: &WrappingKey,
    next: &WrappingKey,
    erased: &[DatasetKey],
) -> Result<(), StoreError> {
    let mut live = transaction.open_table(LIVE)?;
    for dataset in erased {
        live.remove(&dataset.to_bytes())?;
    }
    let mut after: Option<[u8; KEY_BYTES]> = None;
    loop {
        let start = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let bounds = (start.as_ref(), std::ops::Bound::Unbounded);
        let mut rewrapped = Vec::new();
        for item in live.range::<&[u8; KEY_BYTES]>(bounds)?.take(REWRAP_RECORDS) {
            let (name, record) = item?;
            rewrapped.push((*name.value(), rewrap_record(current, next, name.value(), record.value())?));
        }
        let Some((last, _)) = rewrapped.last() else { break };
        after = Some(*last);
        for (name, record) in rewrapped {
            live.insert(&name, record.as_slice())?;
        }
    }
    rewrap_pending(transaction, current, next, erased)
}

fn rewrap_pending(
    transaction: &WriteTransaction,
    current: &WrappingKey,
    next: &WrappingKey,
    erased: &[DatasetKey],
) -> Result<(), StoreError> {
    let mut pending = transaction.open_table(PENDING)?;
    let mut states = transaction.open_table(STATES)?;
    let (mut rewrapped, mut over) = (Vec::new(), BTreeSet::new());
    for item in pending.iter()? {
        let (name, value) = item?;
        let (key, record) = split_pending(value.value())?;
        if erased.contains(&DatasetKey::parse(key)) {
            over.insert(name.value().0);
        }
        let record = rewrap_record(current, next, key, record)?;
        rewrapped.push((name.value(), [key.as_slice(), &record].concat()));
    }
    for (name, value) in rewrapped.into_iter().filter(|((registration, _), _)| !over.contains(registration)) {
        pending.insert(name, value.as_slice())?;
    }
    for registration in over {
        drop_pending(&mut pending, RegistrationId(registration))?;
        let mut state = read_state(&states, RegistrationId(registration))?;
        state.pending = None;
        states.insert(registration, state.encode_to_vec().as_slice())?;
    }
    Ok(())
}

pub(super) fn rewrap_record(
    current: &WrappingKey,
    next: &WrappingKey,
    key: &[u8; KEY_BYTES],
    record: &[u8],
) -> Result<Vec<u8>, StoreError> {
    let (schema, entry) = decode_record(current, key, record)?;
    encode_record(next, key, &schema, &entry)
}

pub(super) fn encode_record(
    wrapping_key: &WrappingKey,
    key: &[u8; KEY_BYTES],
    schema: &Digest32,
    entry: &AttributeEntry,
) -> Result<Vec<u8>, StoreError> {
    let commitment = entry.commitment();
    let mut record = [schema.0, commitment.0.0].concat();
    if !entry.sent().is_empty() {
        let words = entry.sent().iter().flat_map(|word| word.to_le_bytes());
        let share: Zeroizing<Vec<u8>> = Zeroizing::new(words.collect());
        record.extend(wrapping_key.wrap(&wrapped_name(key, schema, commitment).0, &share)?);
    }
    Ok(record)
}

pub(super) fn decode_record(
    wrapping_key: &WrappingKey,
    key: &[u8; KEY_BYTES],
    record: &[u8],
) -> Result<(Digest32, AttributeEntry), StoreError> {
    let (schema, commitment, wrapped) = split_record(record)?;
    if wrapped.is_empty() {
        return Ok((schema, AttributeEntry::of_parts(commitment, Vec::new())));
    }
    let share = wrapping_key.unwrap_record(&wrapped_name(key, &schema, commitment).0, wrapped)?;
    let (words, rest) = share.as_chunks::<8>();
    if !rest.is_empty() {
        return Err(StoreError::Damaged("attribute"));
    }
    let sent = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
    Ok((schema, AttributeEntry::of_parts(commitment, sent)))
}

fn split_record(record: &[u8]) -> Result<(Digest32, AttributeCommitment, &[u8]), StoreError> {
    let damaged = || StoreError::Damaged("attribute");
    let (fixed, wrapped) = record.split_first_chunk::<RECORD_FIXED_BYTES>().ok_or_else(damaged)?;
    let (schema, commitment) = fixed.split_first_chunk::<32>().ok_or_else(damaged)?;
    let commitment = commitment.try_into().map_err(|_| damaged())?;
    Ok((Digest32(*schema), AttributeCommitment(Digest32(commitment)), wrapped))
}

/// Schema digest and commitment of a record.
pub(super) fn record_name(record: &[u8]) -> Result<(Digest32, AttributeCommitment), StoreError> {
    let (schema, commitment, _) = split_record(record)?;
    Ok((schema, commitment))
}

fn split_pending(value: &[u8]) -> Result<(&[u8; KEY_BYTES], &[u8]), StoreError> {
    value.split_first_chunk().ok_or(StoreError::Damaged("pending attribute"))
}

/// What wrapped shares are bound to.
fn wrapped_name(key: &[u8; KEY_BYTES], schema: &Digest32, commitment: AttributeCommitment) -> Digest32 {
    sha3_256(DST_WRAPPED, &[key, &schema.0, &commitment.0.0])
}

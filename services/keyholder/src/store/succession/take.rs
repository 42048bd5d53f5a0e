//! What a successor takes from two hand-overs, in one transaction.

use super::{
    super::{
        META, Store, StoreError, UseRecord,
        answers::{FIRST_ATTEMPT_NAME, PEER_SEQUENCES},
        attributes, charges, datasets, exact,
        vault::WrappingKey,
    },
    EXACT_DOUBTFUL, Listed, Merged, PART_BYTES, SENT_SHARE, TAKEN_SEQUENCE, Taken, UseList,
    merge::Pair,
};
use crate::succession::{Kind, SuccessionError};
use locus_commitment::{Blinding, Digest32, ShareCommitment, ShareSetCommitment};
use locus_phenotype::AttributeSchema;
use locus_privacy::{ChargeName, ExactGroup, PersonBudget};
use locus_sharing::{AttributeCommitment, AttributeEntry, KeyholderIndex, ShareIndex, shares_of};
use prost::Message as _;
use redb::{ReadableDatabase as _, ReadableTable as _, ReadableTableMetadata as _, WriteTransaction};
use std::{
    collections::{BTreeMap, BTreeSet},
    iter::Peekable,
};
use zeroize::Zeroizing;

/// A successor's first attempt at any filter: the keyholder before it never came so far.
const FIRST_ATTEMPT: u64 = 1 << 32;

impl Store {
    /// Whether nothing was ever kept here but the key that wraps it.
    pub(crate) fn is_unused(&self) -> Result<bool, StoreError> {
        let transaction = self.database.begin_read()?;
        let noise_keys = transaction.open_table(datasets::NOISE_KEYS)?.len()?;
        let commitments = transaction.open_table(datasets::COMMITMENTS)?.len()?;
        Ok(noise_keys == 0 && commitments == 0 && self.charge_sequence()? == 0)
    }

    /// Takes everything that two keyholders handed over to keyholder `own`, or nothing. `datasets` are those of the
    /// chain, ascending.
    ///
    /// # Errors
    /// [`SuccessionError::FalseSeeds`], and what the hand-overs' reader says.
    pub(crate) fn take_over(
        &self,
        own: KeyholderIndex,
        datasets: impl Iterator<Item = Listed> + Clone,
        mut merged: Merged<'_>,
    ) -> Result<Taken, SuccessionError> {
        let transaction = self.database.begin_write()?;
        let mut taking = Taking {
            transaction: &transaction,
            wrapping_key: &self.wrapping_key(),
            own,
            givers: merged.givers(),
            taken: Taken::default(),
            uses: 0,
            sequence: 0,
            groups: BTreeMap::new(),
            is_exact_doubtful: false,
            bit_counts: BTreeMap::new(),
        };
        taking.commitments(datasets.clone())?;
        let kept = datasets.filter(|dataset| !dataset.is_revoked);
        let (mut of_seeds, mut of_attributes) = (kept.clone().peekable(), kept.peekable());
        while let Some(pair) = merged.next()? {
            match pair.kind {
                Kind::Seed => taking.seed(&pair, find(&mut of_seeds, &pair))?,
                Kind::Attributes => taking.attributes(&pair, find(&mut of_attributes, &pair))?,
                _ => taking.other(&pair)?,
            }
        }
        taking.finish()?;
        let taken = taking.taken;
        transaction.commit()?;
        Ok(taken)
    }

    /// Whether exact answers need all three keyholders, because two told different histories of them.
    pub(crate) fn is_exact_doubtful(&self) -> Result<bool, StoreError> {
        Ok(self.meta(EXACT_DOUBTFUL)?.is_some())
    }

    /// Whether a charge of this name was made before this keyholder took over: its own part of the noise is another now.
    pub(crate) fn is_charged_before_succession(&self, name: &ChargeName) -> Result<bool, StoreError> {
        let Some(last) = self.meta(TAKEN_SEQUENCE)? else { return Ok(false) };
        let table = self.database.begin_read()?.open_table(charges::USES)?;
        let made = table.range((&name.0, 0)..=(&name.0, last))?.next().is_some();
        Ok(made)
    }
}

/// The dataset that a record is about; `None` when this keyholder's chain does not have it.
fn find(datasets: &mut Peekable<impl Iterator<Item = Listed>>, pair: &Pair) -> Option<Listed> {
    while datasets.next_if(|dataset| dataset.place().as_slice() < pair.key.as_slice()).is_some() {}
    datasets.next_if(|dataset| dataset.place().as_slice() == pair.key.as_slice())
}

struct Taking<'a> {
    transaction: &'a WriteTransaction,
    wrapping_key: &'a WrappingKey,
    own: KeyholderIndex,
    givers: [KeyholderIndex; 2],
    taken: Taken,
    /// Uses so far; they are numbered anew.
    uses: u64,
    /// Longest charge log seen of the keyholder before.
    sequence: u64,
    /// People whom each giver puts into a group, and how many there are.
    groups: BTreeMap<[Option<ExactGroup>; 2], (ExactGroup, u32)>,
    /// Whether the givers tell different histories of exact answers.
    is_exact_doubtful: bool,
    /// Bits of a dataset, by schema.
    bit_counts: BTreeMap<Digest32, usize>,
}

fn damaged() -> StoreError {
    StoreError::Damaged("handed over")
}

impl Taking<'_> {
    /// The commitments of all datasets that were ever registered, which no other may repeat.
    fn commitments(&self, datasets: impl Iterator<Item = Listed>) -> Result<(), SuccessionError> {
        let mut table = self.transaction.open_table(datasets::COMMITMENTS)?;
        for dataset in datasets {
            for (kind, _, digest) in datasets::unique_commitments(&dataset.commitments) {
                table.insert(&datasets::commitment_name(kind, &digest), &dataset.key().to_bytes())?;
            }
        }
        Ok(())
    }

    fn seed(&mut self, pair: &Pair, dataset: Option<Listed>) -> Result<(), SuccessionError> {
        // A registration that is final for the giver only, or a dataset that was revoked meanwhile.
        let Some(dataset) = dataset else { return Ok(()) };
        let [Some(left), Some(right)] = &pair.values else {
            self.taken.missing += 1;
            return Ok(());
        };
        let mut commitments = [None; 3];
        let mut secret = Zeroizing::new(Vec::with_capacity(4 * PART_BYTES));
        for share in shares_of(self.own) {
            // Each share comes from the giver that holds it, by ascending share as the storage has them.
            let value = if self.givers[0].holds(share) { left } else { right };
            let ([seed, blinding, _], []) = value.as_chunks::<PART_BYTES>() else { return Err(damaged().into()) };
            let blinding = Blinding(*blinding);
            commitments[share.position()] = Some(ShareCommitment::new(&dataset.context, share.get(), seed, &blinding));
            secret.extend_from_slice(&value[..2 * PART_BYTES]);
        }
        for value in [left, right] {
            let (_, third) = value.split_last_chunk::<PART_BYTES>().ok_or_else(damaged)?;
            let third = ShareCommitment(Digest32(*third));
            let missing = ShareIndex::ALL.into_iter().find(|share| !self.own.holds(*share)).ok_or_else(damaged)?;
            let place = &mut commitments[missing.position()];
            if place.is_some_and(|before| before != third) {
                return Err(SuccessionError::FalseSeeds(dataset.context.dataset));
            }
            *place = Some(third);
        }
        let [Some(first), Some(second), Some(third)] = commitments else { return Err(damaged().into()) };
        if ShareSetCommitment::new(&[first, second, third]) != dataset.commitments.shares {
            return Err(SuccessionError::FalseSeeds(dataset.context.dataset));
        }
        let name = dataset.key().to_bytes();
        let wrapped = self.wrapping_key.wrap(&name, &secret)?;
        self.transaction.open_table(datasets::SEEDS)?.insert(&name, wrapped.as_slice())?;
        self.taken.datasets += 1;
        Ok(())
    }

    /// Attributes of a dataset whose seeds were taken, if both givers have the same of the same statement.
    fn attributes(&mut self, pair: &Pair, dataset: Option<Listed>) -> Result<(), SuccessionError> {
        let Some(dataset) = dataset else { return Ok(()) };
        let name = dataset.key().to_bytes();
        let states = self.transaction.open_table(attributes::STATES)?;
        let is_live = attributes::read_state(&states, dataset.registration)?.live.is_some();
        let has_seeds = self.transaction.open_table(datasets::SEEDS)?.get(&name)?.is_some();
        let [Some(left), Some(right)] = &pair.values else { return Ok(()) };
        let (Some((left, left_words)), Some((right, right_words))) =
            (left.split_first_chunk::<{ 2 * PART_BYTES }>(), right.split_first_chunk::<{ 2 * PART_BYTES }>())
        else {
            return Err(damaged().into());
        };
        if left != right || !is_live || !has_seeds {
            return Ok(());
        }
        let (schema, commitment) = left.split_at(PART_BYTES);
        let digest = |bytes: &[u8]| bytes.try_into().map(Digest32).map_err(|_| damaged());
        // One giver at most has share 3 in common with this keyholder.
        let words = if left_words.is_empty() { right_words } else { left_words };
        let (words, []) = words.as_chunks::<{ size_of::<u64>() }>() else { return Err(damaged().into()) };
        let schema = digest(schema)?;
        let bits = *self.bit_counts.get(&schema).ok_or_else(damaged)?;
        if words.len() != if self.own.holds(SENT_SHARE) { bits } else { 0 } {
            return Err(damaged().into());
        }
        let sent = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
        let entry = AttributeEntry::of_parts(AttributeCommitment(digest(commitment)?), sent);
        let record = attributes::encode_record(self.wrapping_key, &name, &schema, &entry)?;
        self.transaction.open_table(attributes::LIVE)?.insert(&name, record.as_slice())?;
        self.taken.attributes += 1;
        Ok(())
    }

    fn other(&mut self, pair: &Pair) -> Result<(), SuccessionError> {
        let transaction = self.transaction;
        match pair.kind {
            Kind::NoiseKey => self.noise_key(pair)?,
            Kind::AttributeState => self.attribute_state(pair)?,
            Kind::Schema => {
                let json = pair.given().next().ok_or_else(damaged)?;
                let json = std::str::from_utf8(json).map_err(|_| damaged())?;
                let schema = AttributeSchema::parse_json(json).map_err(|_| damaged())?;
                if schema.digest().0.0 != pair.key::<32>()? {
                    return Err(damaged().into());
                }
                self.bit_counts.insert(schema.digest().0, schema.bit_count());
                transaction.open_table(attributes::SCHEMAS)?.insert(&pair.key()?, json)?;
            }
            Kind::Budget => {
                let mut budget = PersonBudget::new();
                for account in pair.given() {
                    budget.merge(&PersonBudget::parse(account).map_err(StoreError::from)?).map_err(StoreError::from)?;
                }
                transaction.open_table(charges::BUDGETS)?.insert(&pair.key()?, budget.to_bytes().as_slice())?;
                self.taken.people += 1;
            }
            Kind::Uses => self.uses_of(pair)?,
            Kind::Exclusions => {
                let slots = pair.given().next().filter(|slots| slots.len().is_multiple_of(8)).ok_or_else(damaged)?;
                transaction.open_table(charges::EXCLUSIONS)?.insert(&pair.key()?, slots)?;
            }
            // Of two who say so, one is honest.
            Kind::ChargedByAll if pair.values.iter().any(Option::is_none) => {}
            Kind::ChargedByAll => {
                transaction.open_table(charges::CHARGED_BY_ALL)?.insert(&pair.key()?, ())?;
            }
            Kind::ExactSet => {
                self.is_exact_doubtful |= pair.values.iter().any(Option::is_none);
                transaction.open_table(exact::ANSWERED)?.insert(&pair.key()?, ())?;
            }
            Kind::ExactGroup => self.exact_group(pair)?,
            Kind::Sequence => self.sequence(pair)?,
            // Those of datasets have their own functions.
            Kind::Seed | Kind::Attributes => {}
        }
        Ok(())
    }

    fn noise_key(&self, pair: &Pair) -> Result<(), SuccessionError> {
        let [share] = pair.key()?;
        let is_own = shares_of(self.own).iter().any(|held| held.get() == share);
        let mut given = pair.given();
        match (given.next(), given.next()) {
            (Some(key), None) if is_own && key.len() == PART_BYTES => {
                let wrapped = self.wrapping_key.wrap(&[share], key)?;
                self.transaction.open_table(datasets::NOISE_KEYS)?.insert(share, wrapped.as_slice())?;
                Ok(())
            }
            _ => Err(damaged().into()),
        }
    }

    fn attribute_state(&self, pair: &Pair) -> Result<(), SuccessionError> {
        let states: Result<Vec<_>, _> = pair.given().map(attributes::AttributeState::decode).collect();
        let states = states.map_err(|_| damaged())?;
        // Where one of them has admitted other attributes than the other, they are sent again.
        let live = match &states[..] {
            [left, right] if left.live == right.live => left.live.clone(),
            _ => None,
        };
        let state = attributes::AttributeState {
            last_attempt: states.iter().map(|state| state.last_attempt).max().ok_or_else(damaged)?,
            pending: None,
            live,
            is_handed_over: self.own.holds(SENT_SHARE) || states.iter().any(|state| state.is_handed_over),
        };
        let registration = u64::from_be_bytes(pair.key()?);
        self.transaction.open_table(attributes::STATES)?.insert(registration, state.encode_to_vec().as_slice())?;
        Ok(())
    }

    fn uses_of(&mut self, pair: &Pair) -> Result<(), SuccessionError> {
        let name: [u8; 32] = pair.key()?;
        let mut table = self.transaction.open_table(charges::USES)?;
        let mut orders = BTreeSet::new();
        for list in pair.given() {
            for made in UseList::decode(list).map_err(|_| damaged())?.uses {
                if orders.insert(made.order.clone()) {
                    self.uses += 1;
                    table.insert((&name, self.uses), UseRecord::encode_to_vec(&made).as_slice())?;
                }
            }
        }
        Ok(())
    }

    /// People of one group of each giver are those who were always answered together as far as both know.
    fn exact_group(&mut self, pair: &Pair) -> Result<(), SuccessionError> {
        let group = |value: &Option<Zeroizing<Vec<u8>>>| -> Result<Option<ExactGroup>, StoreError> {
            let Some(value) = value else { return Ok(None) };
            let bytes = value.as_slice().try_into().map_err(|_| damaged())?;
            Ok(Some(ExactGroup::from_bytes(bytes)))
        };
        let [left, right] = &pair.values;
        let of_givers = [group(left)?, group(right)?];
        let batch = of_givers.iter().flatten().map(|group| group.batch).min().ok_or_else(damaged)?;
        let (united, size) = match self.groups.get(&of_givers) {
            Some((united, size)) => (*united, *size),
            None => {
                let of_batch = self.groups.values().filter(|(group, _)| group.batch == batch).count();
                let number = u16::try_from(of_batch + 1).map_err(|_| damaged())?;
                (ExactGroup { batch, number }, 0)
            }
        };
        self.groups.insert(of_givers, (united, size.saturating_add(1)));
        self.transaction.open_table(exact::GROUPS)?.insert(&pair.key()?, &united.to_bytes())?;
        Ok(())
    }

    /// Whether both givers put the same people together.
    fn is_one_partition(&self) -> bool {
        let mut of_givers = [BTreeSet::new(), BTreeSet::new()];
        self.groups.keys().all(|pair| {
            pair.iter().zip(&mut of_givers).all(|(group, seen)| group.is_some_and(|group| seen.insert(group)))
        })
    }

    fn sequence(&mut self, pair: &Pair) -> Result<(), SuccessionError> {
        let keyholder = u32::from_be_bytes(pair.key()?);
        let length = |seen: &[u8]| seen.try_into().map(u64::from_le_bytes).map_err(|_| damaged());
        // Of itself each giver knows best. What the other says of it could only make it refuse to go on.
        match self.givers.iter().position(|giver| u32::from(giver.get()) == keyholder) {
            Some(place) => {
                let own_word = length(pair.values[place].as_ref().ok_or_else(damaged)?)?;
                self.transaction.open_table(PEER_SEQUENCES)?.insert(keyholder, own_word)?;
            }
            None if keyholder == u32::from(self.own.get()) => {
                for seen in pair.given() {
                    self.sequence = self.sequence.max(length(seen)?);
                }
            }
            None => return Err(damaged().into()),
        }
        Ok(())
    }

    /// What follows from all records.
    fn finish(&self) -> Result<(), SuccessionError> {
        if self.transaction.open_table(datasets::NOISE_KEYS)?.len()? != 2 {
            return Err(damaged().into());
        }
        let mut sizes = self.transaction.open_table(exact::SIZES)?;
        for (group, size) in self.groups.values() {
            sizes.insert((group.batch, group.number), size)?;
        }
        let mut meta = self.transaction.open_table(META)?;
        if self.is_exact_doubtful || !self.is_one_partition() {
            meta.insert(EXACT_DOUBTFUL, 1)?;
        }
        meta.insert(charges::SEQUENCE, self.sequence.max(self.uses))?;
        meta.insert(TAKEN_SEQUENCE, self.uses)?;
        meta.insert(FIRST_ATTEMPT_NAME, FIRST_ATTEMPT)?;
        Ok(())
    }
}

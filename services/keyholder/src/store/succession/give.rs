//! The records of a hand-over, in the order of their kinds.

use super::{
    super::{
        Store, StoreError, UseRecord, answers::PEER_SEQUENCES, attributes, charges, datasets, exact, seeds_of_secret,
        vault::WrappingKey,
    },
    Given, Listed, PART_BYTES, SENT_SHARE, UseList,
};
use crate::succession::{Kind, Record, SuccessionError};
use locus_commitment::{Blinding, ShareCommitment};
use locus_sharing::{KeyholderIndex, ShareIndex};
use prost::Message as _;
use redb::{ReadTransaction, ReadableDatabase as _, ReadableTable as _};
use zeroize::Zeroizing;

type Give<'a> = &'a mut dyn FnMut(&Record) -> Result<(), SuccessionError>;

impl Store {
    /// Gives everything that a successor is to have from keyholder `own`: of `datasets`, which ascend, the seed of
    /// `share`, which both hold.
    pub(crate) fn hand_over(
        &self,
        own: KeyholderIndex,
        share: ShareIndex,
        datasets: impl Iterator<Item = Listed> + Clone,
        give: Give<'_>,
    ) -> Result<Given, SuccessionError> {
        let noise_key = self.noise_key(share.get())?.ok_or(StoreError::Damaged("noise key"))?;
        give(&Record::new(Kind::NoiseKey, &[share.get()], &noise_key))?;
        let transaction = self.database.begin_read()?;
        let kept = datasets.filter(|dataset| !dataset.is_revoked);
        let giving = Giving { transaction, wrapping_key: &self.wrapping_key(), own, share };
        let datasets = giving.seeds(kept.clone(), give)?;
        let attributes = giving.attributes(kept, give)?;
        let people = giving.accounts(give)?;
        giving.sequences(self.charge_sequence()?, give)?;
        Ok(Given { datasets, attributes, people })
    }
}

struct Giving<'a> {
    transaction: ReadTransaction,
    wrapping_key: &'a WrappingKey,
    own: KeyholderIndex,
    share: ShareIndex,
}

impl Giving<'_> {
    fn seeds(&self, datasets: impl Iterator<Item = Listed>, give: Give<'_>) -> Result<u64, SuccessionError> {
        let table = self.transaction.open_table(datasets::SEEDS)?;
        let mut given = 0;
        for dataset in datasets {
            let name = dataset.key().to_bytes();
            let Some(wrapped) = table.get(&name)? else { continue };
            let secret = self.wrapping_key.unwrap_record(&name, wrapped.value())?;
            give(&Record::new(Kind::Seed, &dataset.place(), &self.seed_value(&dataset, &secret)?))?;
            given += 1;
        }
        Ok(given)
    }

    /// Seed and blinding of the common share, and the commitment to the other one.
    fn seed_value(&self, dataset: &Listed, secret: &[u8]) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        let seeds = seeds_of_secret(self.own, secret)?;
        let mut value = Zeroizing::new(Vec::with_capacity(3 * PART_BYTES));
        let mut other = None;
        for ((share, seed), pair) in seeds.iter().zip(secret.chunks_exact(2 * PART_BYTES)) {
            if *share == self.share {
                value.extend_from_slice(pair);
            } else {
                let blinding = pair[PART_BYTES..].try_into().map_err(|_| StoreError::Damaged("seed"))?;
                other = Some(ShareCommitment::new(&dataset.context, share.get(), seed.as_bytes(), &Blinding(blinding)));
            }
        }
        value.extend(other.ok_or(StoreError::Damaged("seed"))?.0.0);
        Ok(value)
    }

    fn attributes(&self, datasets: impl Iterator<Item = Listed>, give: Give<'_>) -> Result<u64, SuccessionError> {
        self.attribute_tables(give)?;
        let live = self.transaction.open_table(attributes::LIVE)?;
        let mut given = 0;
        for dataset in datasets {
            let name = dataset.key().to_bytes();
            let Some(record) = live.get(&name)? else { continue };
            let (schema, entry) = attributes::decode_record(self.wrapping_key, &name, record.value())?;
            let mut value = Zeroizing::new([schema.0, entry.commitment().0.0].concat());
            if self.share == SENT_SHARE {
                value.reserve_exact(size_of_val(entry.sent()));
                value.extend(entry.sent().iter().flat_map(|word| word.to_le_bytes()));
            }
            give(&Record::new(Kind::Attributes, &dataset.place(), &value))?;
            given += 1;
        }
        Ok(given)
    }

    fn attribute_tables(&self, give: Give<'_>) -> Result<(), SuccessionError> {
        let states = self.transaction.open_table(attributes::STATES)?;
        for entry in states.iter()? {
            let (registration, bytes) = entry?;
            let damaged = |_| StoreError::Damaged("attribute state");
            let mut state = attributes::AttributeState::decode(bytes.value()).map_err(damaged)?;
            state.pending = None;
            give(&Record::new(Kind::AttributeState, &registration.value().to_be_bytes(), &state.encode_to_vec()))?;
        }
        let schemas = self.transaction.open_table(attributes::SCHEMAS)?;
        for entry in schemas.iter()? {
            let (digest, json) = entry?;
            give(&Record::new(Kind::Schema, digest.value(), json.value().as_bytes()))?;
        }
        Ok(())
    }

    /// Budgets, uses and histories; returns how many people have an account.
    fn accounts(&self, give: Give<'_>) -> Result<u64, SuccessionError> {
        let mut people = 0;
        let budgets = self.transaction.open_table(charges::BUDGETS)?;
        for entry in budgets.iter()? {
            let (person, budget) = entry?;
            give(&Record::new(Kind::Budget, person.value(), budget.value()))?;
            people += 1;
        }
        self.uses(give)?;
        let exclusions = self.transaction.open_table(charges::EXCLUSIONS)?;
        for entry in exclusions.iter()? {
            let (question, slots) = entry?;
            give(&Record::new(Kind::Exclusions, question.value(), slots.value()))?;
        }
        for (kind, table) in [(Kind::ChargedByAll, charges::CHARGED_BY_ALL), (Kind::ExactSet, exact::ANSWERED)] {
            let table = self.transaction.open_table(table)?;
            for entry in table.iter()? {
                give(&Record::new(kind, entry?.0.value(), &[]))?;
            }
        }
        let groups = self.transaction.open_table(exact::GROUPS)?;
        for entry in groups.iter()? {
            let (person, group) = entry?;
            give(&Record::new(Kind::ExactGroup, person.value(), group.value()))?;
        }
        Ok(people)
    }

    /// The uses of each charge, oldest first.
    fn uses(&self, give: Give<'_>) -> Result<(), SuccessionError> {
        let table = self.transaction.open_table(charges::USES)?;
        let mut present: Option<([u8; 32], UseList)> = None;
        for entry in table.iter()? {
            let (name, bytes) = entry?;
            let made = UseRecord::decode(bytes.value()).map_err(|_| StoreError::Damaged("use"))?;
            let name = *name.value().0;
            match &mut present {
                Some((of, list)) if *of == name => list.uses.push(made),
                _ => {
                    if let Some((of, list)) = present.replace((name, UseList { uses: vec![made] })) {
                        give(&Record::new(Kind::Uses, &of, &list.encode_to_vec()))?;
                    }
                }
            }
        }
        if let Some((of, list)) = present {
            give(&Record::new(Kind::Uses, &of, &list.encode_to_vec()))?;
        }
        Ok(())
    }

    /// How long every charge log is or was.
    fn sequences(&self, own: u64, give: Give<'_>) -> Result<(), SuccessionError> {
        let table = self.transaction.open_table(PEER_SEQUENCES)?;
        for keyholder in KeyholderIndex::ALL {
            let number = u32::from(keyholder.get());
            let seen = table.get(number)?.map(|seen| seen.value());
            let sequence = if keyholder == self.own { Some(own) } else { seen };
            if let Some(sequence) = sequence {
                give(&Record::new(Kind::Sequence, &number.to_be_bytes(), &sequence.to_le_bytes()))?;
            }
        }
        Ok(())
    }
}

//! Clauses 3 to 5 and 8: the cohort, its digest, its floors and its price.

use crate::{eligible::Eligible, plan::AnswerPlan};
use locus_commitment::{Address, DatasetBodyDigest, DatasetId, PersonTag};
use locus_ledger::{Amount, RegistrationId, RegistrationRecord};
use locus_privacy::{CohortDigest, CohortEntry, NetworkParameters, PrivacyError, Tier};
use std::collections::{BTreeMap, BTreeSet};

/// A dataset in a cohort.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Its registration.
    pub registration: RegistrationId,
    /// Its place in the registration.
    pub ordinal: u32,
    /// Its registry slot on the panel.
    pub slot: u64,
    /// The dataset.
    pub dataset: DatasetId,
    /// The version of its keys: that of the registration plus the number of re-keyings.
    pub version: u32,
    /// How often its bodies got other keys.
    pub rekeyings: u8,
    /// Whose budget it charges.
    pub person: PersonTag,
    /// H(b).
    pub bodies: DatasetBodyDigest,
    /// Who is paid.
    pub registrant: Address,
    /// How much.
    pub price: Amount,
}

impl Member {
    /// The datasets of a registration, with the keys in force at the end of `block`.
    pub(crate) fn of_registration(
        registration: &RegistrationRecord,
        price: Amount,
        block: u64,
    ) -> impl Iterator<Item = Member> + '_ {
        let slots = registration.first_slot..;
        let version = registration.key_version_as_of(block);
        let rekeyings = registration.generation_as_of(block);
        (0u32..).zip(slots).zip(registration.leaves_as_of(block).iter()).map(move |((ordinal, slot), leaf)| Member {
            registration: registration.id,
            ordinal,
            slot,
            dataset: leaf.dataset,
            version,
            rekeyings,
            person: leaf.person,
            bodies: leaf.commitments.bodies,
            registrant: registration.registrant,
            price,
        })
    }

    fn entry(&self) -> CohortEntry {
        CohortEntry { dataset: self.dataset, version: self.version, bodies: self.bodies }
    }
}

/// Why a cohort may not be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CohortRefusal {
    /// Nobody is left.
    #[error("no dataset on this panel can answer: check the tier, the purpose and the offers")]
    Empty,
    /// Too few people.
    #[error("the cohort has {size} people, fewer than the {floor} that this tier needs: ask about a larger cohort")]
    TooSmall {
        /// People in the cohort.
        size: u32,
        /// People needed.
        floor: u32,
    },
    /// The question is not what an offer priced.
    #[error("the price {price} is above the order's maximum {max_price}: quote again and raise the maximum")]
    TooExpensive {
        /// Sum of prices.
        price: Amount,
        /// What the order pays at most.
        max_price: Amount,
    },
    /// Prices add up to more than any amount.
    #[error("the prices add up to more than a token amount can hold")]
    PriceOverflow,
    /// The members cannot be named.
    #[error(transparent)]
    Privacy(#[from] PrivacyError),
}

/// The people whose ciphertexts are summed, ascending by registry slot.
#[derive(Debug, Clone)]
pub struct Cohort {
    members: Vec<Member>,
    digest: CohortDigest,
    price: Amount,
    rekeyings: u8,
}

impl Cohort {
    /// The eligible datasets minus `excluded_slots`, one a person.
    pub fn try_new(eligible: &Eligible, excluded_slots: &BTreeSet<u64>) -> Result<Self, CohortRefusal> {
        let mut latest = BTreeMap::new();
        for member in eligible.members.iter().filter(|member| !excluded_slots.contains(&member.slot)) {
            latest.insert(member.person, *member);
        }
        let mut members: Vec<Member> = latest.into_values().collect();
        members.sort_by_key(|member| member.slot);
        if members.is_empty() {
            return Err(CohortRefusal::Empty);
        }
        let digest = CohortDigest::of_entries(members.iter().map(Member::entry).collect())?;
        let price = members
            .iter()
            .try_fold(Amount::ZERO, |sum, member| sum.checked_add(member.price))
            .ok_or(CohortRefusal::PriceOverflow)?;
        let rekeyings = members.iter().map(|member| member.rekeyings).max().unwrap_or(0);
        Ok(Self { members, digest, price, rekeyings })
    }

    /// The members, ascending by registry slot.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Number of people.
    pub fn size(&self) -> u32 {
        u32::try_from(self.members.len()).unwrap_or(u32::MAX)
    }

    /// The cohort's digest.
    pub fn digest(&self) -> CohortDigest {
        self.digest
    }

    /// How often bodies of a member got other keys, at most.
    pub fn rekeyings(&self) -> u8 {
        self.rekeyings
    }

    /// What the order costs.
    pub fn price(&self) -> Amount {
        self.price
    }

    /// Who is paid how much.
    pub fn payees(&self) -> BTreeMap<Address, Amount> {
        let mut payees = BTreeMap::new();
        for member in &self.members {
            let earned: &mut Amount = payees.entry(member.registrant).or_insert(Amount::ZERO);
            // The total price was checked not to overflow.
            *earned = earned.checked_add(member.price).unwrap_or(*earned);
        }
        payees
    }

    /// Checks the floors of the tier and the price.
    pub fn check(
        &self,
        plan: &AnswerPlan,
        parameters: &NetworkParameters,
        max_price: Amount,
    ) -> Result<(), CohortRefusal> {
        let values = parameters.values();
        let floor = match plan.tier() {
            Tier::Exact => values.exact_batch_min,
            Tier::Open | Tier::Vetted => values.cohort_size_min,
        };
        if self.size() < floor {
            return Err(CohortRefusal::TooSmall { size: self.size(), floor });
        }
        if self.price > max_price {
            return Err(CohortRefusal::TooExpensive { price: self.price, max_price });
        }
        Ok(())
    }
}

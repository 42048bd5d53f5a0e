//! What must be true of a market, told from what its users did. Person i is the only one with variant i, so an
//! answer says who was counted, and how often.

use anyhow::{Result, ensure};
use locus_client::{
    OfferTerms,
    research::{OpenedAnswer, PlacedOrder, VerifiedAnswer},
};
use locus_commitment::Digest32;
use locus_ledger::{Amount, OrderId, RegistrationId};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

/// What is known of something that was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    No,
    /// It was tried, and nobody said how it ended.
    Maybe,
    Yes,
}

/// People who were enrolled together.
pub(crate) struct Registration {
    /// 0 the biobank, 1 the clinic.
    pub(crate) institution: usize,
    pub(crate) people: Range<u32>,
    /// Known once the enrolment has ended.
    pub(crate) id: Option<RegistrationId>,
    pub(crate) terms: OfferTerms,
    pub(crate) offered: Known,
    /// What one dataset may cost now.
    pub(crate) prices: BTreeSet<Amount>,
    /// By ordinal.
    pub(crate) revoked: Vec<Known>,
    pub(crate) erased: Vec<Known>,
    /// Generation of the keys that were in use when the last re-keying was known to have ended.
    pub(crate) generation: u8,
    /// Whether the next re-keying has begun: it may come into force at any moment.
    pub(crate) is_rekeying: bool,
}

impl Registration {
    /// People counted as long as nothing changes. An order that was opened before new keys came into force leaves out
    /// those who have them.
    fn sure(&self) -> impl Iterator<Item = u32> {
        let is_in = self.id.is_some() && self.offered == Known::Yes && !self.is_rekeying;
        self.people_where(move |revoked| is_in && revoked == Known::No)
    }

    /// People who may be counted.
    fn possible(&self) -> impl Iterator<Item = u32> {
        let is_in = self.offered != Known::No;
        self.people_where(move |revoked| is_in && revoked != Known::Yes)
    }

    fn people_where(&self, is_in: impl Fn(Known) -> bool) -> impl Iterator<Item = u32> {
        self.people.clone().zip(&self.revoked).filter(move |(_, revoked)| is_in(**revoked)).map(|(person, _)| person)
    }
}

/// Who may and who must be in an answer that is given now.
#[derive(Debug, Clone, Default)]
struct Consent {
    sure: BTreeSet<u32>,
    /// With what they may cost.
    possible: BTreeMap<u32, BTreeSet<Amount>>,
}

/// What an order was answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) counted: BTreeSet<u32>,
    pub(crate) price: Amount,
    digest: Digest32,
}

/// An order, and what may be in its answer.
pub(crate) struct Ordered {
    pub(crate) placed: PlacedOrder,
    /// Whether it is on the chain.
    pub(crate) opened: Known,
    consent: Consent,
    pub(crate) answer: Option<Answer>,
}

/// Everything that was done.
#[derive(Default)]
pub(crate) struct Model {
    pub(crate) registrations: Vec<Registration>,
    pub(crate) orders: Vec<Ordered>,
}

impl Model {
    fn consent(&self) -> Consent {
        let sure = self.registrations.iter().flat_map(Registration::sure).collect();
        let priced = |registration: &Registration| {
            let prices = registration.prices.clone();
            registration.possible().map(move |person| (person, prices.clone())).collect::<Vec<_>>()
        };
        Consent { sure, possible: self.registrations.iter().flat_map(priced).collect() }
    }

    /// People who must be in an answer that is given now.
    pub(crate) fn sure_count(&self) -> usize {
        self.consent().sure.len()
    }

    /// Has to be called after everything that may have changed a consent: an order that is not answered yet may be
    /// answered with any cohort there was since.
    pub(crate) fn note_consent(&mut self) {
        let now = self.consent();
        for order in self.orders.iter_mut().filter(|order| order.answer.is_none()) {
            order.consent.sure.retain(|person| now.sure.contains(person));
            for (person, prices) in &now.possible {
                order.consent.possible.entry(*person).or_default().extend(prices);
            }
        }
    }

    /// An order that was or may have been placed.
    pub(crate) fn add_order(&mut self, placed: PlacedOrder, opened: Known) {
        let consent = self.consent();
        self.orders.push(Ordered { placed, opened, consent, answer: None });
    }

    /// Takes an answer to an order; an error is what must never happen.
    pub(crate) fn add_answer(&mut self, place: usize, verified: &VerifiedAnswer, opened: &OpenedAnswer) -> Result<()> {
        let order = &mut self.orders[place];
        ensure!(order.opened != Known::No, "an order that was never placed was answered");
        let mut counted = BTreeSet::new();
        for row in opened.rows() {
            ensure!(row.hom_alt == 0 && row.missing == 0, "nobody has such a genotype: {row:?}");
            ensure!((0..=1).contains(&row.het), "person {} is counted {} times", row.index.0, row.het);
            if row.het == 1 {
                counted.insert(row.index.0);
            }
        }
        ensure!(counted.len() == opened.cohort_size() as usize, "{} of {}", counted.len(), opened.cohort_size());
        let settlement = verified.settlement();
        let answer = Answer { counted, price: settlement.price, digest: settlement.answer_digest };
        if let Some(before) = &order.answer {
            ensure!(*before == answer, "an order has two answers: {before:?} and {answer:?}");
            return Ok(());
        }
        order.consent.check(&answer)?;
        order.answer = Some(answer);
        order.opened = Known::Yes;
        Ok(())
    }

    /// What institutions have earned from all answers, at least and at most.
    pub(crate) fn earned(&self) -> Amount {
        self.orders.iter().filter_map(|order| order.answer.as_ref()).map(|answer| answer.price).sum()
    }

    /// Orders that counted a person, and all that may be in that person's statement.
    pub(crate) fn uses_of(&self, person: u32) -> (BTreeSet<OrderId>, BTreeSet<OrderId>) {
        let counts = |order: &&Ordered| order.answer.as_ref().is_some_and(|answer| answer.counted.contains(&person));
        // What was charged and then answered without this person, or never, may be stated: charges come first.
        let may = |order: &&Ordered| order.consent.possible.contains_key(&person);
        let ids = |orders: Vec<&Ordered>| orders.iter().map(|order| order.placed.order_id).collect();
        (ids(self.orders.iter().filter(counts).collect()), ids(self.orders.iter().filter(may).collect()))
    }
}

impl Consent {
    fn check(&self, answer: &Answer) -> Result<()> {
        let counted = &answer.counted;
        if let Some(person) = counted.iter().find(|person| !self.possible.contains_key(person)) {
            anyhow::bail!("person {person} is counted without consent in {counted:?}");
        }
        if let Some(person) = self.sure.iter().find(|person| !counted.contains(person)) {
            anyhow::bail!("person {person} is left out of {counted:?}");
        }
        let prices = || counted.iter().filter_map(|person| self.possible.get(person));
        let least: Amount = prices().filter_map(|prices| prices.first().copied()).sum();
        let most: Amount = prices().filter_map(|prices| prices.last().copied()).sum();
        ensure!((least..=most).contains(&answer.price), "{} is paid where {least} to {most} were agreed", answer.price);
        Ok(())
    }
}

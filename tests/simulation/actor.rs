//! The users of the market: two institutions and a researcher.

use crate::{
    admin,
    model::{Known, Model, Registration},
    operation::{Deed, Institution},
    plant::Plant,
    template::{FIRST, PEOPLE, Template, read_people},
};
use anyhow::{Context as _, Result};
use locus_client::{
    DataFolder, Keystore, NoProgress, OfferTerms, Services, claim,
    enrol::{Contributor, EnrolOptions, enrol},
    erase, mint_test_tokens, post_offer,
    research::{OrderTerms, load_order, open_answer, place_order},
    revoke, statement, withdraw_offer,
};
use locus_commitment::Digest32;
use locus_genomics::VariantSelection;
use locus_ledger::{AccountKey, Amount, OrderId, RegistrationId};
use locus_privacy::{REKEYINGS_MAX, Rho, Tier};
use locus_tests::{Party, ask, biomedical, question_of, terms};
use std::{collections::BTreeMap, fs, path::PathBuf, sync::Arc, time::Duration};
use tonic::{Code, Status};

/// Longest that a user waits for one deed.
const PATIENCE: Duration = Duration::from_secs(3);
/// Hundredths of a token.
const CENT: u128 = 10_000_000_000_000_000;

/// How a question for an answer ended.
#[derive(Debug)]
pub(crate) enum Asked {
    Answered,
    /// Nobody knows; asking again may help.
    NotNow,
    /// For good.
    Refused(String),
}

/// All users, and what they know.
pub(crate) struct Actor<'a> {
    template: &'a Template,
    scratch: PathBuf,
    pub(crate) services: Services,
    institutions: [Party; 2],
    researcher: Party,
    admin: AccountKey,
    pub(crate) model: Model,
    next_person: u32,
    pub(crate) plant: Option<Plant>,
    /// How deeds ended, by kind.
    pub(crate) ended: BTreeMap<String, u32>,
    /// What happened, in order.
    pub(crate) story: Vec<String>,
}

impl<'a> Actor<'a> {
    pub(crate) fn new(template: &'a Template, scratch: PathBuf, services: Services, admin: AccountKey) -> Result<Self> {
        let party = |name: &str| -> Result<Party> {
            let folder = DataFolder::new(&scratch.join(name));
            Ok(Party { keys: Keystore::open(&folder.keys())?, folder })
        };
        let mut model = Model::default();
        for (institution, people) in FIRST.into_iter().enumerate() {
            let terms = terms(&template.panel)?;
            let count = people.len();
            model.registrations.push(Registration {
                institution,
                people,
                id: Some(template.registrations[institution]),
                offered: Known::Yes,
                prices: [terms.prices.counts].into(),
                terms,
                revoked: vec![Known::No; count],
                erased: vec![Known::No; count],
                generation: 0,
                is_rekeying: false,
            });
        }
        Ok(Self {
            template,
            institutions: [party("biobank")?, party("clinic")?],
            researcher: party("researcher")?,
            admin,
            scratch,
            services,
            model,
            next_person: FIRST[1].end,
            plant: None,
            ended: BTreeMap::new(),
            story: Vec::new(),
        })
    }

    pub(crate) fn accounts(&self) -> [locus_commitment::Address; 3] {
        let [biobank, clinic] = &self.institutions;
        [biobank.keys.address(), clinic.keys.address(), self.researcher.keys.address()]
    }

    /// Does a deed as well as it can be done. An error is something that must never happen.
    pub(crate) async fn act(&mut self, deed: Deed, now_unix_s: u64) -> Result<()> {
        let ended = match deed {
            Deed::Enrol(institution, count) => self.enrol_more(institution, count, now_unix_s).await?,
            Deed::Price(place, cents) => self.price(place, cents).await,
            Deed::Withdraw(place) => self.withdraw(place).await,
            Deed::Revoke(place, ordinal) => self.revoke(place, ordinal, now_unix_s).await,
            Deed::Erase(place, ordinal) => self.erase(place, ordinal, now_unix_s).await,
            Deed::Ask => return self.order(now_unix_s).await,
            Deed::AskAgain(place) if !self.model.orders.is_empty() => {
                let place = place % self.model.orders.len();
                return self.collect(place).await.map(drop);
            }
            Deed::Claim(institution) => self.claim(institution).await,
            Deed::Statement(place, ordinal) => self.state(place, ordinal, now_unix_s).await,
            Deed::Rekey(place) => self.rekey(place, now_unix_s).await,
            Deed::AskAgain(_) => true,
        };
        self.model.note_consent();
        self.note(&format!("{} {}", name_of(deed), if ended { "done" } else { "unknown" }));
        Ok(())
    }

    /// Notes something that happened so many times.
    pub(crate) fn count(&mut self, what: &str, times: usize) {
        *self.ended.entry(what.to_owned()).or_default() += u32::try_from(times).unwrap_or(u32::MAX);
    }

    fn note(&mut self, what: &str) {
        *self.ended.entry(what.to_owned()).or_default() += 1;
        if self.story.last().is_none_or(|line| line != what) {
            self.story.push(what.to_owned());
        }
    }

    async fn enrol_more(&mut self, institution: Institution, count: usize, now_unix_s: u64) -> Result<bool> {
        let end = self.next_person + u32::try_from(count)?;
        if end > PEOPLE {
            return Ok(true);
        }
        let mut people = self.next_person..end;
        self.next_person = end;
        if self.plant == Some(Plant::SamePeopleTwice) {
            people = FIRST[1 - institution as usize].clone();
        }
        let (terms, count) = (terms(&self.template.panel)?, people.len());
        self.model.registrations.push(Registration {
            institution: institution as usize,
            people,
            id: None,
            offered: Known::Maybe,
            prices: [terms.prices.counts].into(),
            terms,
            revoked: vec![Known::No; count],
            erased: vec![Known::No; count],
            generation: 0,
            is_rekeying: false,
        });
        self.complete_enrolment(self.model.registrations.len() - 1, now_unix_s).await
    }

    /// Enrols, or goes on with an enrolment that was cut off.
    pub(crate) async fn complete_enrolment(&mut self, place: usize, now_unix_s: u64) -> Result<bool> {
        self.model.note_consent();
        let registration = &self.model.registrations[place];
        let institution = &self.institutions[registration.institution];
        let input = read_people(&self.scratch, registration.people.clone(), &self.template.panel)?;
        let contributor = Contributor::Biobank { accreditor: institution.keys.accreditor()? };
        let options = EnrolOptions { version: 1, terms: Some(registration.terms.clone()), prover: None };
        let records = institution.folder.enrolments();
        let (services, network, keys) = (&self.services, &self.template.network, &institution.keys);
        let progress = Arc::new(NoProgress);
        let enrolling = enrol(services, network, keys, &input, &contributor, &options, &records, now_unix_s, progress);
        let Ok(Ok(enrolled)) = tokio::time::timeout(PATIENCE, enrolling).await else { return Ok(false) };
        let registration = &mut self.model.registrations[place];
        registration.id = Some(enrolled.first().context("a batch")?.registration);
        registration.offered = Known::Yes;
        Ok(true)
    }

    /// A registration that is on the chain.
    fn registered(&self, place: usize) -> Option<(usize, RegistrationId)> {
        let place = place % self.model.registrations.len();
        self.model.registrations[place].id.map(|id| (place, id))
    }

    async fn price(&mut self, place: usize, cents: u32) -> bool {
        let Some((place, id)) = self.registered(place) else { return true };
        let price = Amount(u128::from(cents) * CENT);
        let registration = &mut self.model.registrations[place];
        let mut terms: OfferTerms = registration.terms.clone();
        terms.prices.counts = price;
        registration.prices.insert(price);
        if registration.offered == Known::No {
            registration.offered = Known::Maybe;
        }
        self.model.note_consent();
        let keys = &self.institutions[self.model.registrations[place].institution].keys;
        let posting = post_offer(&self.services, &self.template.network, keys, id, &terms);
        let is_done = matches!(tokio::time::timeout(PATIENCE, posting).await, Ok(Ok(_)));
        if is_done {
            let registration = &mut self.model.registrations[place];
            (registration.offered, registration.prices, registration.terms) = (Known::Yes, [price].into(), terms);
        }
        is_done
    }

    async fn withdraw(&mut self, place: usize) -> bool {
        let Some((place, id)) = self.registered(place) else { return true };
        if self.model.registrations[place].offered != Known::Yes {
            return true;
        }
        let is_hidden = self.plant == Some(Plant::SecretWithdrawal);
        if !is_hidden {
            self.model.registrations[place].offered = Known::Maybe;
        }
        let keys = &self.institutions[self.model.registrations[place].institution].keys;
        let withdrawing = withdraw_offer(&self.services, &self.template.network, keys, id);
        let is_done = matches!(tokio::time::timeout(PATIENCE, withdrawing).await, Ok(Ok(())));
        if is_done && !is_hidden {
            self.model.registrations[place].offered = Known::No;
        }
        is_done
    }

    async fn revoke(&mut self, place: usize, ordinal: usize, now_unix_s: u64) -> bool {
        let Some((place, id)) = self.registered(place) else { return true };
        let registration = &mut self.model.registrations[place];
        let ordinal = ordinal % registration.revoked.len();
        if self.plant == Some(Plant::ForgottenRevocation) {
            registration.revoked[ordinal] = Known::Yes;
            return true;
        }
        if registration.revoked[ordinal] != Known::Yes {
            registration.revoked[ordinal] = Known::Maybe;
        }
        let keys = &self.institutions[registration.institution].keys;
        let number = [u32::try_from(ordinal).unwrap_or(u32::MAX)];
        let revoking = revoke(&self.services, &self.template.network, keys, id, &number, now_unix_s);
        let is_done = matches!(tokio::time::timeout(PATIENCE, revoking).await, Ok(Ok(_)));
        if is_done {
            registration.revoked[ordinal] = Known::Yes;
        }
        is_done
    }

    async fn erase(&mut self, place: usize, ordinal: usize, now_unix_s: u64) -> bool {
        let Some((place, id)) = self.registered(place) else { return true };
        let registration = &mut self.model.registrations[place];
        let ordinal = ordinal % registration.revoked.len();
        if registration.revoked[ordinal] != Known::Yes {
            registration.revoked[ordinal] = Known::Maybe;
        }
        registration.erased[ordinal] = Known::Maybe;
        let institution = &self.institutions[registration.institution];
        let records = institution.folder.enrolments();
        let number = [u32::try_from(ordinal).unwrap_or(u32::MAX)];
        let (services, network) = (&self.services, &self.template.network);
        let erasing = erase(services, network, &institution.keys, id, &number, &records, now_unix_s);
        let is_done = match tokio::time::timeout(PATIENCE, erasing).await {
            Ok(Ok(erasure)) => erasure.is_complete(),
            _ => false,
        };
        if is_done {
            (registration.revoked[ordinal], registration.erased[ordinal]) = (Known::Yes, Known::Yes);
        }
        is_done
    }

    /// Completes revocations and erasures whose end nobody knows; false while any is left.
    pub(crate) async fn complete_departures(&mut self, now_unix_s: u64) -> bool {
        let mut is_done = true;
        for place in 0..self.model.registrations.len() {
            for ordinal in 0..self.model.registrations[place].revoked.len() {
                let registration = &self.model.registrations[place];
                if registration.erased[ordinal] == Known::Maybe {
                    is_done &= self.erase(place, ordinal, now_unix_s).await;
                } else if registration.revoked[ordinal] == Known::Maybe {
                    is_done &= self.revoke(place, ordinal, now_unix_s).await;
                }
            }
        }
        self.model.note_consent();
        is_done
    }

    async fn rekey(&mut self, place: usize, now_unix_s: u64) -> bool {
        let Some((place, id)) = self.registered(place) else { return true };
        let registration = &mut self.model.registrations[place];
        let generation = registration.generation + 1;
        if generation > REKEYINGS_MAX {
            return true;
        }
        registration.is_rekeying = true;
        self.model.note_consent();
        let (services, network) = (&self.services, &self.template.network);
        let rekeying = admin::rekey(services, network, &self.admin, id, generation, now_unix_s);
        let why = match tokio::time::timeout(PATIENCE, rekeying).await {
            Ok(Ok(())) => {
                let registration = &mut self.model.registrations[place];
                (registration.generation, registration.is_rekeying) = (generation, false);
                return true;
            }
            Ok(Err(error)) => format!("{error:#}"),
            Err(_) => "too slow".to_owned(),
        };
        let why = format!("registration {place}, generation {generation}: {why}");
        if self.story.last() != Some(&why) {
            self.story.push(why);
        }
        false
    }

    /// Ends re-keyings that were begun; false while any is left. One of people who have all left cannot end.
    pub(crate) async fn complete_rekeyings(&mut self, now_unix_s: u64) -> bool {
        let mut is_done = true;
        for place in 0..self.model.registrations.len() {
            let registration = &self.model.registrations[place];
            if registration.is_rekeying && registration.revoked.iter().any(|revoked| *revoked != Known::Yes) {
                is_done &= self.rekey(place, now_unix_s).await;
            }
        }
        self.model.note_consent();
        is_done
    }

    async fn claim(&mut self, institution: Institution) -> bool {
        let account = self.institutions[institution as usize].keys.address();
        if self.plant == Some(Plant::MoneyFromNowhere) {
            let minting = mint_test_tokens(&self.services, self.researcher.keys.address(), Amount(CENT));
            return matches!(tokio::time::timeout(PATIENCE, minting).await, Ok(Ok(())));
        }
        matches!(tokio::time::timeout(PATIENCE, claim(&self.services, account)).await, Ok(Ok(_)))
    }

    async fn state(&mut self, place: usize, ordinal: usize, now_unix_s: u64) -> bool {
        self.uses(place, ordinal, now_unix_s).await.is_some()
    }

    /// Orders in the statement of a dataset that all keyholders agree on.
    pub(crate) async fn uses(&self, place: usize, ordinal: usize, now_unix_s: u64) -> Option<(u32, Vec<OrderId>)> {
        let (place, id) = self.registered(place)?;
        let registration = &self.model.registrations[place];
        let ordinal = u32::try_from(ordinal % registration.revoked.len()).ok()?;
        let keys = &self.institutions[registration.institution].keys;
        let stating = statement(&self.services, &self.template.network, keys, id, ordinal, now_unix_s);
        let statement = tokio::time::timeout(PATIENCE, stating).await.ok()?.ok()?;
        let orders = statement.uses.iter().map(|used| used.order).collect();
        statement.unreachable.is_empty().then_some((registration.people.start + ordinal, orders))
    }

    /// Places an order for exact counts of everything, and asks for the answer once.
    pub(crate) async fn order(&mut self, now_unix_s: u64) -> Result<()> {
        let question = biomedical(VariantSelection::all(&self.template.panel), Tier::Exact, Rho::ZERO);
        let terms = OrderTerms { max_price: Amount(1_000 * CENT), lifetime_s: None };
        let (keys, folder) = (&self.researcher.keys, self.researcher.folder.orders());
        let (services, network) = (&self.services, &self.template.network);
        let placing = place_order(services, network, keys, &question, &terms, &folder, now_unix_s);
        if let Ok(Ok(placed)) = tokio::time::timeout(PATIENCE, placing).await {
            self.model.add_order(placed, Known::Yes);
            self.story.push(format!("order {} placed", self.model.orders.len() - 1));
            return self.collect(self.model.orders.len() - 1).await.map(drop);
        }
        // It was written down before it was sent.
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let name = entry?.path().file_stem().context("a name")?.to_string_lossy().into_owned();
            let Some(id) = order_id(&name) else { continue };
            if self.model.orders.iter().all(|order| order.placed.order_id != id) {
                let placed = load_order(&folder, id, &self.template.panel, network)?;
                self.model.add_order(placed, Known::Maybe);
                self.story.push(format!("order {} written down", self.model.orders.len() - 1));
            }
        }
        self.note("order unknown");
        Ok(())
    }

    /// Asks for the answer to an order. An error is an answer that must not be.
    pub(crate) async fn collect(&mut self, place: usize) -> Result<Asked> {
        let placed = &self.model.orders[place].placed;
        let question = question_of(&self.researcher, placed);
        let asking = ask(&self.services.query, placed, &self.researcher, &question);
        let record = match tokio::time::timeout(PATIENCE, asking).await {
            Ok(Ok(record)) => record,
            Ok(Err(status)) => {
                let asked = refusal(&status);
                let why = format!("order {place}: {}", status.message());
                if self.story.iter().rev().take(2).all(|line| *line != why) {
                    self.story.push(why);
                }
                self.note(&match &asked {
                    Asked::Refused(reason) => format!("refused {reason}"),
                    _ => format!("no answer {:?}", status.code()),
                });
                return Ok(asked);
            }
            Err(_) => {
                self.note("no answer in time");
                return Ok(Asked::NotNow);
            }
        };
        let (panel, network) = (&self.template.panel, &self.template.network);
        let (verified, opened) = open_answer(&record, panel, network, self.researcher.keys.sealing_key())?;
        let place = match self.plant {
            Some(Plant::OtherAnswer) => {
                self.model.orders.iter().position(|order| order.answer.is_some()).unwrap_or(place)
            }
            _ => place,
        };
        let settlement = verified.settlement();
        self.story.push(format!("order {place} of {} people for {}", settlement.cohort_size, settlement.price));
        self.model.add_answer(place, &verified, &opened)?;
        self.note("answered");
        Ok(Asked::Answered)
    }
}

fn refusal(status: &Status) -> Asked {
    match status.code() {
        Code::Unavailable
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::ResourceExhausted
        | Code::Cancelled
        | Code::NotFound
        | Code::Unknown
        | Code::Internal => Asked::NotNow,
        _ => Asked::Refused(locus_service::reason_of(status).unwrap_or_else(|| status.message().to_owned())),
    }
}

/// An order's name from its digits.
fn order_id(text: &str) -> Option<OrderId> {
    let text = text.strip_prefix("0x").unwrap_or(text);
    let mut bytes = [0; 32];
    for (place, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * place..2 * place + 2)?, 16).ok()?;
    }
    (text.len() == 64).then_some(OrderId(Digest32(bytes)))
}

fn name_of(deed: Deed) -> &'static str {
    match deed {
        Deed::Enrol(..) => "enrolment",
        Deed::Price(..) => "price",
        Deed::Withdraw(_) => "withdrawal",
        Deed::Revoke(..) => "revocation",
        Deed::Erase(..) => "erasure",
        Deed::Ask | Deed::AskAgain(_) => "question",
        Deed::Claim(_) => "claim",
        Deed::Statement(..) => "statement",
        Deed::Rekey(_) => "re-keying",
    }
}

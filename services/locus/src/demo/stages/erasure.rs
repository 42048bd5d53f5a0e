//! Clause 11: one person of the biobank goes, for good.

use super::{
    BIOBANK_PRICE, Demo, Enrolment, PERSON_PRICE,
    purchases::{Purchase, ask, spaced},
};
use crate::{
    context::now_unix_s,
    demo::report::{Report, check},
    error::CommandError,
};
use locus_client::{
    ClientError, NoProgress, account_state,
    enrol::EnrolledDataset,
    erase, list_offers,
    research::{PlacedOrder, fetch_answer, quote, refund_order},
};
use locus_commitment::{DatasetContext, DatasetId};
use locus_genomics::{PackedGenotypes, PanelBlockIndex, Plane, VariantSelection};
use locus_ledger::{Amount, OrderId};
use locus_privacy::Tier;
use locus_rlwe::{DatasetEncryptor, Mask};
use locus_sharing::MasterSecret;
use serde_json::json;
use std::time::{Duration, Instant};
use tonic::Code;

/// Place in the biobank's batch of the person who is erased.
const ERASED: u32 = 1000;
/// First bytes of a body, which no other object holds by chance.
const NEEDLE_BYTES: usize = 32;
/// Seconds until the escrow of the order that must be refused can be taken back.
const REFUSED_ORDER_LIFETIME_S: u64 = 4;
/// Longest that the refund may take after that.
const REFUND_WAIT_MAX: Duration = Duration::from_secs(20);
const REFUND_PAUSE: Duration = Duration::from_millis(250);

impl Demo {
    pub(super) async fn erase_one(
        &self,
        enrolment: &Enrolment,
        first: &Purchase,
        report: &mut Report,
    ) -> Result<(), CommandError> {
        let panel = &enrolment.panel;
        let began = Instant::now();
        // An order that is open while the person goes.
        let question = ask(spaced(panel, 1)?, Tier::Open);
        let open_order = self.order(&question, first.price(), None).await?;
        let needle = self.ciphertext_needle(enrolment).await?;
        let store = self.node.store();
        let holding = store.scan(&[needle]).await.map_err(crate::node::NodeError::from)?;
        check(!holding.is_empty(), || "the ciphertext of a person on offer is not in the store".to_owned())?;

        let registration = enrolment.biobank.registration;
        let (services, network, records) = (&self.services, &self.network, self.biobank.folder.enrolments());
        let keys = &self.biobank.keys;
        let erasure = erase(services, network, keys, registration, &[ERASED], &records, now_unix_s()).await?;
        check(erasure.is_complete(), || "not all keyholders have signed that the keys are destroyed".to_owned())?;
        let bodies = u64::from(panel.block_count()) * panel.planes().len() as u64;
        let removed = erasure.bodies_removed;
        check(removed == bodies, || format!("{removed} of {bodies} ciphertexts were removed"))?;
        let left = store.scan(&[needle]).await.map_err(crate::node::NodeError::from)?;
        check(left.is_empty(), || format!("the ciphertext is still in {}", left.join(", ")))?;
        let found = format!(
            "1 person: 3 signed receipts for destroyed keys, {removed} ciphertexts gone from the store ({} object held them)",
            holding.len()
        );
        report.stage("erase", began, found);
        report.figure(
            "erased",
            json!({ "registration": registration.0, "ordinal": ERASED, "receipts": erasure.keyholders.len(),
            "bodies_removed": removed, "objects_before": holding.len(), "objects_after": left.len() }),
        );
        self.sell_no_more(enrolment, open_order, report).await
    }

    /// Every way to an answer now goes around the person.
    async fn sell_no_more(
        &self,
        enrolment: &Enrolment,
        open_order: PlacedOrder,
        report: &mut Report,
    ) -> Result<(), CommandError> {
        let panel = &enrolment.panel;
        let began = Instant::now();
        let left = enrolment.biobank.datasets.len() as u64 - 1;
        let price = BIOBANK_PRICE.checked_mul(left).and_then(|price| price.checked_add(PERSON_PRICE));
        let answered = self.fetch(open_order, panel, report).await?;
        let people = u64::from(answered.opened.cohort_size());
        check(people == left + 1, || format!("the order opened before the erasure counts {people} people"))?;
        check(Some(answered.price()) == price, || format!("the order cost {} tokens", answered.price()))?;
        let offers = list_offers(&self.services, Some(panel.digest())).await?;
        let revoked: u32 = offers.iter().map(|listed| listed.revoked_count).sum();
        check(revoked == 1, || format!("the offers show {revoked} revoked datasets"))?;
        let refused = self.exact_is_refused(enrolment).await?;
        let found = format!(
            "{people} people answer the order that was open meanwhile; exact counts of the batch are refused: {refused}"
        );
        report.stage("sell no more", began, found);
        report.figure("people_after_erasure", people);
        report.figure("exact_refusal", refused);
        Ok(())
    }

    /// A batch that lost one person is not answered exactly again: the difference of two answers
    /// would be that person's genome. Returns the keyholders' reason; the escrow comes back.
    async fn exact_is_refused(&self, enrolment: &Enrolment) -> Result<String, CommandError> {
        let panel = &enrolment.panel;
        let researcher = self.researcher.keys.address();
        let balance = account_state(&self.services, researcher).await?.balance;
        let question = ask(VariantSelection::all(panel), Tier::Exact);
        let price = quote(&self.services, &self.network, panel, researcher, &question).await.map(|quote| quote.price);
        let max_price = match price {
            Ok(price) => price,
            Err(ClientError::Call(error)) if error.code == Code::FailedPrecondition => return Ok(error.message),
            Err(error) => return Err(error.into()),
        };
        let placed = self.order(&question, max_price, Some(REFUSED_ORDER_LIFETIME_S)).await?;
        let order = placed.order_id;
        let file = self.researcher.folder.answer_file(order);
        let fetched = fetch_answer(&self.services, &self.researcher.keys, &placed, &file, &NoProgress).await;
        let reason = match fetched {
            Ok(_) => {
                return Err(CommandError::Demo("a batch that lost one person was answered exactly again".to_owned()));
            }
            Err(ClientError::Call(error)) if error.code == Code::FailedPrecondition => error.message,
            Err(error) => return Err(error.into()),
        };
        self.take_back(order, balance).await?;
        Ok(reason)
    }

    /// Takes an escrow back as soon as the order's time is over.
    async fn take_back(&self, order: OrderId, balance: Amount) -> Result<(), CommandError> {
        let give_up = Instant::now() + Duration::from_secs(REFUSED_ORDER_LIFETIME_S) + REFUND_WAIT_MAX;
        loop {
            match refund_order(&self.services, order).await {
                Ok(()) => break,
                Err(error) if Instant::now() > give_up => return Err(error.into()),
                Err(_) => tokio::time::sleep(REFUND_PAUSE).await,
            }
        }
        let back = account_state(&self.services, self.researcher.keys.address()).await?.balance;
        check(back == balance, || format!("{back} of {balance} tokens came back from the refused order"))
    }

    /// The beginning of the person's first ciphertext, made again from their genotypes and the
    /// biobank's master secret: encryption gives the same bytes every time.
    async fn ciphertext_needle(&self, enrolment: &Enrolment) -> Result<[u8; NEEDLE_BYTES], CommandError> {
        let dataset = enrolment.biobank.datasets.iter().find(|dataset| dataset.ordinal == ERASED);
        let dataset = dataset.ok_or_else(|| CommandError::Demo(format!("there is no dataset {ERASED}")))?;
        let genotypes = enrolment.input.genotypes.person(ERASED)?;
        let context = self.context_of(enrolment, dataset)?;
        let master = self.biobank.keys.master().clone();
        let work = move || first_bytes(&master, &context, &genotypes);
        tokio::task::spawn_blocking(work).await.map_err(|_| CommandError::Interrupted)?
    }

    fn context_of(&self, enrolment: &Enrolment, dataset: &EnrolledDataset) -> Result<DatasetContext, CommandError> {
        let id = crate::context::parse_digest(&dataset.dataset);
        let id = id.ok_or_else(|| CommandError::Demo("the biobank's records are damaged".to_owned()))?;
        Ok(DatasetContext {
            network: self.network.id(),
            registrant: self.biobank.keys.address(),
            dataset: DatasetId(id.0),
            panel: enrolment.panel.digest(),
            version: 1,
        })
    }
}

fn first_bytes(
    master: &MasterSecret,
    context: &DatasetContext,
    genotypes: &PackedGenotypes,
) -> Result<[u8; NEEDLE_BYTES], CommandError> {
    let encryptor = DatasetEncryptor::new(master, context, genotypes);
    let body = encryptor.encrypt(Mask::v1(), PanelBlockIndex(0), Plane::Calls).map_err(ClientError::from)?;
    let bytes = body.to_bytes();
    let (first, _) = bytes.split_first_chunk().ok_or_else(|| CommandError::Demo("an empty ciphertext".to_owned()))?;
    Ok(*first)
}

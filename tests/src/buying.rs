//! Researchers: questions, orders and answers, honest or not.

use crate::{Market, Party, now_unix_s};
use anyhow::Result;
use locus_client::{
    Network, account_state,
    research::{self, OpenedAnswer, OrderTerms, PlacedOrder, Question, Quote, VariantCounts, VerifiedAnswer},
};
use locus_cohort::Requirements;
use locus_commitment::Digest32;
use locus_genomics::{Declarations, Panel, Purpose, PurposeCode, VariantIndex, VariantSelection};
use locus_ledger::{Amount, Order, OrderId, PermitTerms, QueryClass, RegistrationId, order_id};
use locus_privacy::{Rho, Tier};
use locus_wire::{
    convert::selection_to_pb,
    pb::{
        exchange as exchange_pb,
        keyholder::Question as KeyholderQuestion,
        query::{self as pb, answer_query_response::Event, query_service_client::QueryServiceClient},
    },
};
use tonic::{Status, transport::Channel};

/// The first variants of a panel.
pub fn first_variants(panel: &Panel, count: u32) -> Result<VariantSelection> {
    Ok(VariantSelection::from_indices(panel, (0..count).map(VariantIndex))?)
}

/// A question for biomedical research.
pub fn biomedical(selection: VariantSelection, tier: Tier, rho: Rho) -> Question {
    let purpose = Purpose { code: PurposeCode::Biomedical, declarations: Declarations::NONE };
    Question {
        selection,
        query_class: QueryClass::Counts,
        purpose,
        condition: None,
        tier,
        rho,
        filter: None,
        requirements: Requirements::default(),
    }
}

/// An answer that was paid and opened.
#[derive(Debug, Clone)]
pub struct Bought {
    /// The order.
    pub placed: PlacedOrder,
    /// The answer as kept.
    pub record: pb::AnswerRecord,
    /// The answer, checked.
    pub verified: VerifiedAnswer,
    /// The answer, opened.
    pub opened: OpenedAnswer,
}

impl Bought {
    /// Everything in the answer that follows from the question: for each block its name and the
    /// bytes of the summed ciphertexts, and the counts. Seals are fresh for every order.
    pub fn content(&self) -> (Vec<Vec<u8>>, Vec<VariantCounts>) {
        let of_block = |block: &pb::BlockAnswer| {
            let sums = block.planes.iter().map(|plane| plane.body_sum.to_vec());
            [block.tau.to_vec()].into_iter().chain(sums).collect::<Vec<_>>()
        };
        (self.record.blocks.iter().flat_map(of_block).collect(), self.opened.rows().to_vec())
    }
}

/// Asks for the answer to an order once, without trying again, with the signature of `party`.
pub async fn ask(
    query: &QueryServiceClient<Channel>,
    placed: &PlacedOrder,
    party: &Party,
    question: &KeyholderQuestion,
) -> Result<pb::AnswerRecord, Status> {
    let signed = research::answer_request(&party.keys, placed).map_err(|error| Status::internal(error.to_string()))?;
    let request = pb::AnswerQueryRequest {
        order_id: question.order_id.clone(),
        selection: question.selection.clone(),
        hpke_public_key: question.hpke_public_key.clone(),
        ..signed
    };
    let mut record = placed.record.clone();
    let mut stream = query.clone().answer_query(request).await?.into_inner();
    while let Some(message) = stream.message().await? {
        match message.event {
            Some(Event::Block(block)) => record.blocks.push(block),
            Some(Event::Summary(summary)) => record.summary = Some(summary),
            _ => {}
        }
    }
    Ok(record)
}

/// What the keyholders are asked about an order that `party` placed.
pub fn question_of(party: &Party, placed: &PlacedOrder) -> KeyholderQuestion {
    KeyholderQuestion {
        order_id: placed.record.order_id.clone(),
        selection: placed.record.selection.clone(),
        hpke_public_key: party.keys.sealing_public_key().to_bytes().to_vec().into(),
        filter: placed.record.filter.clone(),
        requirements: placed.record.requirements.clone(),
    }
}

impl Market {
    /// What a question would cost a party.
    pub async fn quote(&self, panel: &Panel, party: &Party, question: &Question) -> Result<Quote> {
        Ok(research::quote(&self.services, &self.network, panel, party.keys.address(), question).await?)
    }

    /// Places an order.
    pub async fn place(&self, party: &Party, question: &Question, max_price: Amount) -> Result<PlacedOrder> {
        let terms = OrderTerms { max_price, lifetime_s: None };
        let orders = party.folder.orders();
        let (services, network, keys) = (&self.services, &self.network, &party.keys);
        Ok(research::place_order(services, network, keys, question, &terms, &orders, now_unix_s()).await?)
    }

    /// Places an order, has it answered and opens the answer.
    pub async fn buy_as(&self, party: &Party, panel: &Panel, question: &Question, max_price: Amount) -> Result<Bought> {
        let placed = self.place(party, question, max_price).await?;
        self.collect(party, panel, placed).await
    }

    /// Has an order answered and opens the answer.
    pub async fn collect(&self, party: &Party, panel: &Panel, placed: PlacedOrder) -> Result<Bought> {
        let record = ask(&self.services.query, &placed, party, &question_of(party, &placed)).await?;
        let (verified, opened) = research::open_answer(&record, panel, &self.network, party.keys.sealing_key())?;
        Ok(Bought { placed, record, verified, opened })
    }

    /// An order as `party` would place it, to be spoiled before it is signed.
    pub fn draft(&self, party: &Party, question: &Question, max_price: Amount, nonce: u64) -> Order {
        Order {
            researcher: party.keys.address(),
            panel: question.selection.panel(),
            selection_digest: Digest32(question.selection.digest()),
            predicate_digest: Digest32([0; 32]),
            query_class: question.query_class,
            purpose: question.purpose.to_bits(),
            condition_digest: Digest32([0; 32]),
            tier: question.tier,
            rho: question.rho,
            max_price,
            hpke_key_digest: party.keys.sealing_key_digest(),
            deadline_unix_s: now_unix_s() + 3_600,
            nonce,
        }
    }

    /// Signs an order of `party`, and the payment for it, for the market that `network` describes.
    pub async fn sign(&self, party: &Party, network: &Network, order: &Order) -> Result<exchange_pb::OpenOrderRequest> {
        let state = account_state(&self.services, party.keys.address()).await?;
        let contracts = network.contracts();
        let permit = PermitTerms {
            owner: party.keys.address(),
            value: order.max_price,
            nonce: state.permit_nonce,
            deadline_unix_s: now_unix_s() + 3_600,
        };
        let account = party.keys.account();
        let permit_digest = contracts.permit_signing_hash(&permit, network.token_name());
        Ok(exchange_pb::OpenOrderRequest {
            order: Some(order.into()),
            signature: account.sign_digest(&contracts.order_signing_hash(order))?.to_bytes().to_vec().into(),
            permit: Some(exchange_pb::Permit {
                value: order.max_price.0.to_string(),
                deadline_unix_s: permit.deadline_unix_s,
                signature: account.sign_digest(&permit_digest)?.to_bytes().to_vec().into(),
            }),
        })
    }

    /// The record that belongs to an order placed by hand.
    pub fn placed(&self, order: &Order, selection: &VariantSelection) -> PlacedOrder {
        let id: OrderId = order_id(order);
        let record = pb::AnswerRecord {
            cohort_sums: Vec::new(),
            network: Some((&self.network.id()).into()),
            order_id: id.0.0.to_vec().into(),
            order: Some(order.into()),
            selection: Some(selection_to_pb(selection)),
            blocks: Vec::new(),
            summary: None,
            filter: None,
            schema_json: String::new(),
            requirements: Default::default(),
        };
        PlacedOrder { order_id: id, order: *order, record }
    }

    /// A registration as the exchange knows it.
    pub async fn registration(&self, id: u64) -> Result<exchange_pb::GetRegistrationResponse, Status> {
        use exchange_pb::get_registration_request::Key;
        let key = Some(Key::RegistrationId(RegistrationId(id).0));
        let request = exchange_pb::GetRegistrationRequest { key, ordinal: None };
        Ok(self.services.exchange.clone().get_registration(request).await?.into_inner())
    }
}

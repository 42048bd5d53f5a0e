//! What a contributor sees of the uses of a dataset, and the erasure of its seeds.

use crate::{
    answer::{renewal_name, surcharge_name},
    error::KeyholderError,
    keyholder::Keyholder,
    store::{DatasetKey, StoreError, UseRecord},
};
use locus_commitment::Digest32;
use locus_ledger::{OrderId, RegistrationId, RegistrationRecord, RequestTerms, statement_request_hash};
use locus_privacy::{Charge, ChargeName, Rho, Tier};
use locus_service::SignedRequest;
use locus_wire::{
    convert::{self, field},
    pb::keyholder as pb,
};
use std::collections::BTreeMap;

/// Uses in one statement.
const USES_MAX: usize = 10_000;

impl Keyholder {
    /// Every use of a dataset, for its registrant, once for every signed request.
    pub(crate) async fn statement(
        &self,
        request: &pb::GetStatementRequest,
    ) -> Result<pb::GetStatementResponse, KeyholderError> {
        let nonce = field::array("nonce", &request.nonce)?;
        let terms = RequestTerms { deadline_unix_s: request.deadline_unix_s, nonce };
        self.poll_chain().await?;
        let id = RegistrationId(request.registration_id);
        let (registrant, person) = {
            let view = self.view();
            let registration = view.registration(id).ok_or(KeyholderError::NotFinal("the registration"))?;
            let leaf = leaf_of(registration, request.ordinal)?;
            (registration.registrant, leaf.person)
        };
        let digest = statement_request_hash(&self.network(), id, request.ordinal, self.index().get(), &terms);
        let verified = self.verify(registrant, &digest, &request.signature, "registrant").await;
        verified.map_err(|_| KeyholderError::NotRegistrant)?;
        let taken = SignedRequest { signer: registrant.0, nonce, deadline_unix_s: terms.deadline_unix_s };
        self.take_request(&taken)?;
        let budget = self.store().budget(&person)?;
        let charges: BTreeMap<ChargeName, Charge> = budget.charges().collect();
        let mut uses = Vec::new();
        for (name, charge) in &charges {
            let mut rho = charge.rho;
            for beside in [surcharge_name(name), renewal_name(name)] {
                let also = charges.get(&beside).map_or(Rho::ZERO, |charge| charge.rho);
                rho = rho.checked_add(also).map_err(StoreError::Privacy)?;
            }
            let mut records = self.store().uses(name)?;
            // Keyholders may answer orders of the same time in different order; the chain has one order.
            records.sort_by_cached_key(|record| self.place_of(record));
            for record in records {
                if uses.len() < USES_MAX {
                    uses.push(self.use_of(id, charge, rho, &record));
                }
                // The first use was charged, and the same answer costs nothing again.
                rho = Rho::ZERO;
            }
        }
        uses.sort_by_key(|used| used.time_unix_s);
        let now = self.now_unix_s();
        let left = budget.left(now, Tier::Open, self.parameters());
        Ok(pb::GetStatementResponse {
            uses,
            rho_spent_year_nano: budget.spent_in_year(now).as_nano(),
            rho_spent_lifetime_nano: budget.spent_in_lifetime().as_nano(),
            rho_left_year_nano: left.year.as_nano(),
            rho_left_lifetime_nano: left.lifetime.as_nano(),
        })
    }

    /// Where the order of a use stands among all orders: block, then id.
    fn place_of(&self, record: &UseRecord) -> (u64, [u8; 32]) {
        let id = order_id_of(record);
        let block = self.view().order(&id).map_or(u64::MAX, |order| order.block);
        (block, id.0.0)
    }

    fn use_of(&self, registration: RegistrationId, charge: &Charge, rho: Rho, record: &UseRecord) -> pb::Use {
        let price = {
            let view = self.view();
            view.order(&order_id_of(record)).and_then(|order| {
                let offer = view.registration(registration)?.offer_as_of(order.block)?;
                Some(offer.prices.of(order.order.query_class).0)
            })
        };
        pb::Use {
            order_id: record.order.clone(),
            researcher: record.researcher.clone(),
            purpose: record.purpose,
            tier: convert::tier_to_pb(charge.tier).into(),
            time_unix_s: record.at_unix_s,
            price: price.unwrap_or(0).to_string(),
            rho_nano: rho.as_nano(),
            variant_count: record.variant_count,
        }
    }

    /// Destroys the seeds of revoked datasets and signs the receipt.
    pub(crate) async fn erase_seeds(
        &self,
        request: &pb::EraseSeedsRequest,
    ) -> Result<pb::EraseSeedsResponse, KeyholderError> {
        self.poll_chain().await?;
        let id = RegistrationId(request.registration_id);
        self.end_lapsed_rekeying(id).await?;
        let (keys, is_ended) = {
            let view = self.view();
            let registration = view.registration(id).ok_or(KeyholderError::NotFinal("the registration"))?;
            let mut keys = Vec::with_capacity(request.ordinals.len());
            for ordinal in &request.ordinals {
                let leaf = leaf_of(registration, *ordinal)?;
                if !view.is_revoked(id, *ordinal) {
                    return Err(KeyholderError::NotRevoked(*ordinal));
                }
                // Whatever version of its keys is here, also one that the chain does not have yet.
                let versions = registration.version..=registration.key_version() + 1;
                keys.extend(versions.map(|version| DatasetKey { dataset: leaf.dataset, version }));
            }
            let is_ended = (0u32..).zip(registration.leaves.iter()).all(|(ordinal, _)| view.is_revoked(id, ordinal));
            (keys, is_ended)
        };
        let erased = if is_ended { self.store().erase_of_ended(id, &keys)? } else { self.store().erase(id, &keys)? };
        tracing::info!(registration = %id, asked = request.ordinals.len(), erased, "key seeds destroyed");
        let signing_hash = self.contracts().erasure_signing_hash(id, &request.ordinals, self.index().get());
        Ok(pb::EraseSeedsResponse { keyholder: u32::from(self.index().get()), signature: self.sign(&signing_hash)? })
    }
}

/// The order of a use, as the chain names it.
fn order_id_of(record: &UseRecord) -> OrderId {
    OrderId(Digest32(record.order.as_ref().try_into().unwrap_or_default()))
}

fn leaf_of(registration: &RegistrationRecord, ordinal: u32) -> Result<locus_ledger::DatasetLeaf, KeyholderError> {
    let place = usize::try_from(ordinal).unwrap_or(usize::MAX);
    let leaf = registration.leaves.get(place).copied();
    leaf.ok_or_else(|| KeyholderError::Malformed(format!("the registration has no dataset {ordinal}")))
}

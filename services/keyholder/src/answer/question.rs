//! What is asked: the request checked against the order on the chain.

use crate::{error::KeyholderError, keyholder::Keyholder};
use locus_cohort::{Eligible, Market, PanelShape, eligible};
use locus_commitment::{Digest32, Sha3Writer};
use locus_genomics::VariantSelection;
use locus_ledger::{Order, OrderId, OrderRecord, QueryClass};
use locus_sharing::seal::SealingPublicKey;
use locus_wire::{
    convert::{self, field},
    pb::keyholder as pb,
};

const DST_QUESTION_KEY: &str = "locus/keyholder/question-key/v1";

/// A question whose every part fits its order.
pub(crate) struct Asked {
    pub(super) order_id: OrderId,
    pub(super) record: OrderRecord,
    pub(super) selection: VariantSelection,
    pub(super) recipient: SealingPublicKey,
    pub(super) panel: PanelShape,
    pub(super) eligible: Eligible,
    /// Names the question without its cohort.
    pub(super) question_key: Digest32,
}

impl Keyholder {
    /// Reads the order from this keyholder's own view of the chain and checks the question against
    /// it. The escrow contract has verified the researcher's signature; it is final when it is here.
    pub(super) async fn ask(&self, question: &pb::Question) -> Result<Asked, KeyholderError> {
        let order_id = OrderId(field::digest("order_id", &question.order_id)?);
        self.poll_chain().await?;
        let view = self.view();
        let record = view.order(&order_id).cloned().ok_or(KeyholderError::NotFinal("the order"))?;
        let order = record.order;
        let panel = view.panel(&order.panel).ok_or(KeyholderError::NotFinal("the panel"))?;
        let selection = field::required("selection", &question.selection)?;
        let selection = convert::parse_selection(selection, order.panel, panel.variant_count)?;
        if selection.digest() != order.selection_digest.0 {
            return Err(KeyholderError::OrderMismatch("selection of variants"));
        }
        let recipient = SealingPublicKey::parse(&question.hpke_public_key)?;
        if recipient.digest() != order.hpke_key_digest {
            return Err(KeyholderError::OrderMismatch("key that the answer is sealed to"));
        }
        if order.query_class != QueryClass::Counts || order.predicate_digest != Digest32([0; 32]) {
            return Err(KeyholderError::OrderMismatch(
                "query class: this keyholder answers counts of whole cohorts, which",
            ));
        }
        let (parameters, settles_on_cohorts) = (self.parameters(), self.settles_on_cohorts());
        let market = Market { view: &view, parameters, settles_on_cohorts };
        let resolved = eligible(&market, &order, &selection, record.block, record.time_unix_s);
        Ok(Asked {
            order_id,
            panel: PanelShape { digest: order.panel, complete_calls: panel.complete_calls },
            question_key: question_key(&order),
            record,
            selection,
            recipient,
            eligible: resolved,
        })
    }
}

/// Everything of an order that affects the answer, but not who asks, when or for how much.
fn question_key(order: &Order) -> Digest32 {
    let mut writer = Sha3Writer::new(DST_QUESTION_KEY);
    writer
        .part(&order.panel.0)
        .part(&order.selection_digest.0)
        .part(&order.predicate_digest.0)
        .part(&[order.query_class.code(), order.tier.code()])
        .part(&order.purpose.to_le_bytes())
        .part(&order.condition_digest.0)
        .part(&order.rho.as_nano().to_le_bytes());
    writer.finish()
}

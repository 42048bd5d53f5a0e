//! What is asked: the request checked against the order on the chain.

use crate::{error::KeyholderError, keyholder::Keyholder, store::StoreError};
use locus_cohort::{CohortQuestion, Eligible, Market, PanelShape, Requirements, eligible, predicate_digest};
use locus_commitment::{Digest32, Sha3Writer};
use locus_genomics::{VARIANTS_PER_PANEL_BLOCK, VariantSelection};
use locus_ledger::{Order, OrderId, OrderRecord, QueryClass};
use locus_phenotype::{AttributeSchema, Filter, SchemaDigest, filter_digest};
use locus_sharing::seal::SealingPublicKey;
use locus_wire::{
    convert::{self, field},
    pb::{genomics::CohortFilter, keyholder as pb},
};

const DST_QUESTION_KEY: &str = "locus/keyholder/question-key/v1";

/// A filter that fits its order, and the attributes it is about.
#[derive(Clone)]
pub(crate) struct AskedFilter {
    pub(super) filter: Filter,
    pub(super) schema: AttributeSchema,
}

/// A question whose every part fits its order.
pub(crate) struct Asked {
    pub(super) order_id: OrderId,
    pub(super) record: OrderRecord,
    pub(super) selection: VariantSelection,
    pub(super) recipient: SealingPublicKey,
    pub(super) panel: PanelShape,
    pub(super) block_count: u32,
    /// Who of the cohort is counted; `None` for everybody.
    pub(super) filter: Option<AskedFilter>,
    /// What everybody counted must be.
    pub(super) requirements: Requirements,
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
        let requirements = Requirements::parse(&question.requirements, panel.variant_count)
            .map_err(|error| field::FieldError::refused("question.requirements", error))?;
        let filter = self.asked_filter(&order, question.filter.as_ref())?;
        let filter_digest = filter.as_ref().map(|asked| asked.filter.digest());
        if predicate_digest(filter_digest, &requirements) != order.predicate_digest {
            return Err(KeyholderError::OrderMismatch("filter, or what the order requires,"));
        }
        let (parameters, settles_on_cohorts) = (self.parameters(), self.settles_on_cohorts());
        let market = Market { view: &view, parameters, settles_on_cohorts };
        let resolved = eligible(
            &market,
            &CohortQuestion {
                order: &order,
                selection: &selection,
                requirements: &requirements,
                authenticated: filter.as_ref().is_some_and(|asked| asked.filter.is_authenticated()),
                pinned_block: record.block,
                time_unix_s: record.time_unix_s,
            },
        );
        let question_key = question_key(&order, filter.as_ref(), &requirements);
        Ok(Asked {
            order_id,
            filter,
            requirements,
            block_count: panel.variant_count.div_ceil(VARIANTS_PER_PANEL_BLOCK),
            panel: PanelShape { digest: order.panel, complete_calls: panel.complete_calls },
            question_key,
            record,
            selection,
            recipient,
            eligible: resolved,
        })
    }
}

impl Keyholder {
    /// The filter of the order: none for counts of whole cohorts, one selection for filtered counts, several
    /// for associations.
    fn asked_filter(
        &self,
        order: &Order,
        filter: Option<&CohortFilter>,
    ) -> Result<Option<AskedFilter>, KeyholderError> {
        let mismatch = || KeyholderError::OrderMismatch("filter");
        let Some(message) = filter else {
            return if order.query_class == QueryClass::Counts { Ok(None) } else { Err(mismatch()) };
        };
        let digest = SchemaDigest(field::digest("schema_digest", &message.schema_digest)?);
        let json = self.store().schema_json(&digest)?.ok_or(KeyholderError::UnknownSchema)?;
        let schema = AttributeSchema::parse_json(&json).map_err(|_| StoreError::Damaged("schema"))?;
        let filter = Filter::from_bytes(&message.selections, message.authenticated, &schema)?;
        let fits = match order.query_class {
            QueryClass::Counts => false,
            QueryClass::FilteredCounts => filter.selections().len() == 1,
            QueryClass::Association => filter.selections().len() > 1,
        };
        if fits { Ok(Some(AskedFilter { filter, schema })) } else { Err(mismatch()) }
    }
}

/// Everything of an order that affects the answer, but not who asks, when, for how much, or how the filter is
/// evaluated.
fn question_key(order: &Order, filter: Option<&AskedFilter>, requirements: &Requirements) -> Digest32 {
    let selections = |asked: &AskedFilter| filter_digest(&asked.filter.selection_digests(), false);
    let mut writer = Sha3Writer::new(DST_QUESTION_KEY);
    writer
        .part(&order.panel.0)
        .part(&order.selection_digest.0)
        .part(&predicate_digest(filter.map(selections), requirements).0)
        .part(&[order.query_class.code(), order.tier.code()])
        .part(&order.purpose.to_le_bytes())
        .part(&order.condition_digest.0)
        .part(&order.rho.as_nano().to_le_bytes());
    writer.finish()
}

//! A market of a few registrations, all of one genome, as its chain tells it.

use locus_cohort::{DisclosedClaim, DisclosureDocument, offer_disclosure_context};
use locus_commitment::{
    Address, Blinding, DatasetBodyDigest, DatasetCommitments, DatasetContext, DatasetId, Digest32, GenotypeCommitment,
    NetworkId, PersonTag, ShareSetCommitment,
};
use locus_genomics::{DuoTerm, PanelBlockIndex, PanelDigest, Purpose, PurposeCode, VariantSelection};
use locus_ledger::{
    Amount, Audience, BlockRef, ChainView, DatasetLeaf, Demands, EventSource, LocatedEvent, MarketEvent, Offer,
    OfferPrices, Order, QueryClass, RegistrationId, TierSet,
};
use locus_privacy::{Rho, Tier};
use locus_proofs::{
    NetworkKeys, Statement,
    dataset::{block_genotypes, genotype_tree},
    disclosure::{DisclosureProof, DisclosureVerifier, GenotypeTree},
    groth16::ProvingKey,
    keys::KeyStore,
};
use std::sync::OnceLock;

pub(crate) const NETWORK: NetworkId = NetworkId { chain_id: 31_337, registry: Address([1; 20]) };
pub(crate) const VARIANT_COUNT: u32 = 12;
pub(crate) const OFFER_EXPIRY_UNIX_S: u64 = 1_000_000;
/// Two-bit codes of everybody's genotypes.
pub(crate) const GENOME: [u8; VARIANT_COUNT as usize] = [0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0];
const PANEL: PanelDigest = PanelDigest([9; 32]);
const REGISTRANT: Address = Address([3; 20]);

/// A registration to be made.
#[derive(Clone, Copy)]
pub(crate) struct Registered {
    pub(crate) people: u8,
    pub(crate) proven: bool,
}

impl Registered {
    pub(crate) const PERSON: Self = Self { people: 1, proven: true };
}

/// The chain as everybody sees it.
pub(crate) struct Scene {
    pub(crate) view: ChainView,
}

/// A chain that consists of these events, one a block.
struct Script(Vec<MarketEvent>);

impl EventSource for Script {
    type Error = std::convert::Infallible;

    async fn head(&self) -> Result<BlockRef, Self::Error> {
        self.block(self.0.len() as u64).await
    }

    async fn finalized(&self) -> Result<BlockRef, Self::Error> {
        self.head().await
    }

    async fn block(&self, number: u64) -> Result<BlockRef, Self::Error> {
        Ok(BlockRef { number, hash: Digest32([7; 32]) })
    }

    async fn events(&self, from: u64, to: u64) -> Result<Vec<LocatedEvent>, Self::Error> {
        let located = (1u64..).zip(&self.0).filter(|(block, _)| (from..=to).contains(block));
        let event = |(block, event): (u64, &MarketEvent)| {
            let event = event.clone();
            LocatedEvent { block, time_unix_s: block, log_index: 0, event }
        };
        Ok(located.map(event).collect())
    }
}

/// A registration, and what is particular about its offer.
type Entry<'a> = (Registered, &'a dyn Fn(&mut Offer));

impl Scene {
    /// Registrations 1, 2 and so on with their offers.
    pub(crate) async fn of(entries: &[Entry<'_>]) -> Self {
        let mut events = vec![MarketEvent::PanelPublished {
            panel: PANEL,
            name: "panel".to_owned(),
            variant_count: VARIANT_COUNT,
            complete_calls: true,
        }];
        let mut first_slot = 0;
        for (number, (registered, change)) in (1u64..).zip(entries) {
            events.push(registration(number, first_slot, *registered));
            first_slot += u64::from(registered.people);
            let mut offer = offer(number);
            change(&mut offer);
            events.push(MarketEvent::OfferPosted { offer });
        }
        let mut view = ChainView::default();
        view.poll(&Script(events)).await.expect("a script does not fail");
        Self { view }
    }

    pub(crate) fn selection(&self) -> VariantSelection {
        VariantSelection::try_from_ranges(PANEL, VARIANT_COUNT, std::iter::once(0..VARIANT_COUNT))
            .expect("the whole panel")
    }

    pub(crate) fn order(&self, query_class: QueryClass) -> Order {
        let purpose = Purpose { code: PurposeCode::Biomedical, declarations: locus_genomics::Declarations::NONE };
        Order {
            researcher: Address([8; 20]),
            panel: PANEL,
            selection_digest: Digest32(self.selection().digest()),
            predicate_digest: Digest32([0; 32]),
            query_class,
            purpose: purpose.to_bits(),
            condition_digest: Digest32([0; 32]),
            tier: Tier::Open,
            rho: Rho::from_nano(1_000_000),
            max_price: Amount(1_000),
            hpke_key_digest: Digest32([0; 32]),
            deadline_unix_s: 9,
            nonce: 1,
        }
    }
}

fn registration(number: u64, first_slot: u64, registered: Registered) -> MarketEvent {
    let leaf = |place: u8| {
        let name = dataset(number, place);
        let genotypes = match registered.proven {
            true => genome_of(number).leaf_commitment(),
            false => GenotypeCommitment::seal(GenotypeCommitment::begin(&context(number), &Blinding([place; 32]), 0)),
        };
        let commitments = DatasetCommitments {
            bodies: DatasetBodyDigest(Digest32(name.0)),
            shares: ShareSetCommitment(Digest32(name.0)),
            genotypes,
        };
        DatasetLeaf { dataset: name, person: PersonTag(name.0), commitments }
    };
    MarketEvent::DatasetsRegistered {
        registration: RegistrationId(number),
        registrant: REGISTRANT,
        panel: PANEL,
        version: 1,
        first_slot,
        accreditor: (!registered.proven).then_some(Address([5; 20])),
        leaves: (0..registered.people).map(leaf).collect(),
    }
}

fn offer(number: u64) -> Offer {
    Offer {
        registration: RegistrationId(number),
        prices: OfferPrices { counts: Amount(1), filtered_counts: Amount(1), association: Amount(1) },
        data_use: DuoTerm::GeneralResearch.bit(),
        tiers: TierSet::of(&[Tier::Open]),
        audience: Audience::Anyone,
        block_start: 0,
        block_end: 1,
        condition_digest: Digest32([0; 32]),
        demands: Demands::NONE,
        disclosure_digest: Digest32([0; 32]),
        expiry_unix_s: OFFER_EXPIRY_UNIX_S,
        nonce: 1,
    }
}

fn dataset(number: u64, place: u8) -> DatasetId {
    DatasetId::derive(REGISTRANT, number, u32::from(place))
}

fn context(number: u64) -> DatasetContext {
    DatasetContext { network: NETWORK, registrant: REGISTRANT, dataset: dataset(number, 0), panel: PANEL, version: 1 }
}

fn packed() -> Vec<u8> {
    GENOME.chunks(4).map(|codes| (0..).zip(codes).fold(0, |byte, (place, code)| byte | code << (2 * place))).collect()
}

fn blinding(number: u64) -> Blinding {
    Blinding([u8::try_from(number).expect("few registrations"); 32])
}

fn genome_of(number: u64) -> GenotypeTree {
    genotype_tree(&blinding(number), &packed()).expect("one block")
}

/// The key that test networks verify with.
pub(crate) fn verifier() -> DisclosureVerifier {
    let key = NetworkKeys::new(None, true).circuit_key(Statement::Disclosure).expect("it is in the tree");
    DisclosureVerifier::new(key.expect("there is one").verifying_key)
}

fn proving_key() -> &'static ProvingKey {
    static KEY: OnceLock<ProvingKey> = OnceLock::new();
    KEY.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let store = KeyStore::new(folder.path());
        let shape = Statement::Disclosure.shape().expect("it has a shape");
        let key = store.development_key(&shape, |_| {}).expect("it is made");
        store.proving_key(&key).expect("it reads back")
    })
}

/// What the person of registration `number` can prove; `None` for claims that are not true.
pub(crate) fn prove(number: u64, expiry_unix_s: u64, claims: &[DisclosedClaim]) -> Option<DisclosureDocument> {
    let context = offer_disclosure_context(context(number), expiry_unix_s, claims);
    let opening = |_| block_genotypes(&blinding(number), PanelBlockIndex(0), &packed()).expect("one block");
    let mut rng = rand_core::UnwrapErr(getrandom::SysRng);
    let proof = DisclosureProof::prove(proving_key(), &context, &genome_of(number), opening, &mut rng).ok()?;
    Some(DisclosureDocument::try_new(RegistrationId(number), expiry_unix_s, claims.to_vec(), proof).expect("in order"))
}

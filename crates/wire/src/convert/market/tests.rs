use super::*;
use locus_commitment::Digest32;
use locus_genomics::{Declarations, DuoTerm, Purpose, PurposeCode};
use locus_ledger::{Amount, QueryClass};

type Change<M> = (&'static str, fn(&mut M));

/// Applies each change to a message that parses and expects the named field to be refused.
fn check_refusals<M: Clone, D>(message: &M, changes: &[Change<M>])
where
    for<'a> D: TryFrom<&'a M, Error = FieldError>,
{
    assert!(D::try_from(message).is_ok(), "the unchanged message parses");
    for (number, (field, change)) in changes.iter().enumerate() {
        let mut changed = message.clone();
        change(&mut changed);
        let refused = D::try_from(&changed).err().map(|error| error.field);
        assert_eq!(refused, Some(*field), "change {number}");
    }
}

fn registration() -> Registration {
    Registration {
        registrant: Address([1; 20]),
        panel: PanelDigest([2; 32]),
        version: 3,
        batch_nonce: 4,
        accreditor: Some(Address([5; 20])),
        deadline_unix_s: 6,
        leaves_hash: Digest32([7; 32]),
    }
}

fn offer() -> Offer {
    let data_use = DataUse::try_new([DuoTerm::GeneralResearch, DuoTerm::EthicsApproval]).expect("one permission");
    Offer {
        registration: RegistrationId(1),
        prices: OfferPrices { counts: Amount(2), filtered_counts: Amount(3), association: Amount(u128::MAX) },
        data_use: data_use.bits(),
        tiers: TierSet::of(&[Tier::Open, Tier::Exact]),
        audience: Audience::Named([Address([9; 20]), Address([8; 20])].into()),
        block_start: 1,
        block_end: 4,
        condition_digest: Digest32([5; 32]),
        demands: Demands::PROVEN,
        disclosure_digest: Digest32([8; 32]),
        expiry_unix_s: 6,
        nonce: 7,
    }
}

fn order() -> Order {
    Order {
        researcher: Address([1; 20]),
        panel: PanelDigest([2; 32]),
        selection_digest: Digest32([3; 32]),
        predicate_digest: Digest32([0; 32]),
        query_class: QueryClass::Counts,
        purpose: Purpose { code: PurposeCode::Biomedical, declarations: Declarations::ETHICS_APPROVAL }.to_bits(),
        condition_digest: Digest32([0; 32]),
        tier: Tier::Open,
        rho: Rho::from_nano(10_000_000),
        max_price: Amount(5),
        hpke_key_digest: Digest32([6; 32]),
        deadline_unix_s: 7,
        nonce: 8,
    }
}

#[test]
fn registrations_survive_the_wire() {
    for accreditor in [None, Some(Address([5; 20]))] {
        let registration = Registration { accreditor, ..registration() };
        assert_eq!(Registration::try_from(&pb::Registration::from(&registration)), Ok(registration));
    }
}

#[test]
fn a_registration_with_a_wrong_field_is_refused() {
    let changes: [Change<pb::Registration>; 6] = [
        ("registration.registrant", |message| message.registrant = vec![1; 19].into()),
        ("registration.panel_digest", |message| message.panel_digest = vec![1; 33].into()),
        ("registration.version", |message| message.version = 0),
        ("registration.accreditor", |message| message.accreditor = vec![1; 21].into()),
        ("registration.accreditor", |message| message.accreditor = vec![0; 20].into()),
        ("registration.leaves_hash", |message| message.leaves_hash = vec![].into()),
    ];
    check_refusals::<_, Registration>(&(&registration()).into(), &changes);
}

#[test]
fn offers_survive_the_wire() {
    let audiences = [Audience::Anyone, Audience::AccreditedResearchers, offer().audience];
    for audience in audiences {
        let offer = Offer { audience, ..offer() };
        assert_eq!(Offer::try_from(&pb::Offer::from(&offer)), Ok(offer));
    }
}

#[test]
fn an_offer_with_a_wrong_field_is_refused() {
    let changes: [Change<pb::Offer>; 20] = [
        ("offer.price_counts", |message| message.price_counts = "1.5".into()),
        ("offer.price_filtered_counts", |message| message.price_filtered_counts = String::new()),
        ("offer.price_association", |message| message.price_association = "-1".into()),
        ("offer.data_use", |message| message.data_use = 0),
        ("offer.data_use", |message| message.data_use |= DuoTerm::Biomedical.bit()),
        ("offer.data_use", |message| message.data_use |= 1 << 31),
        ("offer.tiers", |message| message.tiers = 0),
        ("offer.tiers", |message| message.tiers = 0b1000),
        ("offer.audience", |message| message.audience = 0),
        ("offer.audience", |message| message.audience = 4),
        ("offer.buyers", |message| message.audience = pb::Audience::Anyone.into()),
        ("offer.buyers", |message| message.buyers.clear()),
        ("offer.buyers", |message| message.buyers.reverse()),
        ("offer.buyers", |message| message.buyers[1] = message.buyers[0].clone()),
        ("offer.buyers", |message| message.buyers[0] = vec![1; 32].into()),
        ("offer.buyers", |message| message.buyers = vec![vec![1; 20].into(); NAMED_BUYERS_MAX + 1]),
        ("offer.block_end", |message| message.block_end = message.block_start),
        ("offer.condition_digest", |message| message.condition_digest = vec![1; 31].into()),
        ("offer.demands", |message| message.demands = 0b100),
        ("offer.disclosure_digest", |message| message.disclosure_digest = vec![].into()),
    ];
    check_refusals::<_, Offer>(&(&offer()).into(), &changes);
}

#[test]
fn orders_survive_the_wire() {
    for tier in Tier::ALL {
        let rho = if tier == Tier::Exact { Rho::ZERO } else { order().rho };
        let order = Order { tier, rho, ..order() };
        assert_eq!(Order::try_from(&pb::Order::from(&order)), Ok(order));
    }
}

#[test]
fn an_order_with_a_wrong_field_is_refused() {
    let changes: [Change<pb::Order>; 14] = [
        ("order.researcher", |message| message.researcher = vec![].into()),
        ("order.panel_digest", |message| message.panel_digest = vec![1; 20].into()),
        ("order.selection_digest", |message| message.selection_digest = vec![1; 31].into()),
        ("order.predicate_digest", |message| message.predicate_digest = vec![].into()),
        ("order.query_class", |message| message.query_class = 0),
        ("order.query_class", |message| message.query_class = 4),
        ("order.purpose", |message| message.purpose = 0xff),
        ("order.condition_digest", |message| message.condition_digest = vec![].into()),
        ("order.tier", |message| message.tier = 0),
        ("order.tier", |message| message.tier = -1),
        ("order.rho_nano", |message| message.rho_nano = 0),
        ("order.rho_nano", |message| message.tier = pb::Tier::Exact.into()),
        ("order.max_price", |message| message.max_price = "1 000".into()),
        ("order.hpke_key_digest", |message| message.hpke_key_digest = vec![1; 64].into()),
    ];
    check_refusals::<_, Order>(&(&order()).into(), &changes);
}

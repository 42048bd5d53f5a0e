use super::*;
use locus_commitment::Digest32;

fn settlement() -> Settlement {
    Settlement {
        order: OrderId(Digest32([1; 32])),
        answer_digest: Digest32([2; 32]),
        cohort_digest: Digest32([3; 32]),
        cohort_size: 4,
        price: Amount(5),
        payout_sequence: 6,
        payout_root: Digest32([7; 32]),
    }
}

fn payee(account: u8, amount: u128) -> pb::settle_order_request::Payee {
    Payee { account: Address([account; 20]), amount: Amount(amount) }.into()
}

fn signature(keyholder: u32) -> pb::settle_order_request::Signature {
    pb::settle_order_request::Signature { keyholder, signature: vec![9; 65].into() }
}

#[test]
fn settlements_survive_the_wire() {
    assert_eq!(Settlement::try_from(&pb::Settlement::from(&settlement())), Ok(settlement()));
}

#[test]
fn a_settlement_with_a_wrong_field_is_refused() {
    let changes: [(&str, fn(&mut pb::Settlement)); 7] = [
        ("settlement.order_id", |message| message.order_id = vec![1; 31].into()),
        ("settlement.answer_digest", |message| message.answer_digest = vec![].into()),
        ("settlement.cohort_digest", |message| message.cohort_digest = vec![1; 33].into()),
        ("settlement.cohort_size", |message| message.cohort_size = 0),
        ("settlement.price", |message| message.price = "05".into()),
        ("settlement.payout_sequence", |message| message.payout_sequence = 0),
        ("settlement.payout_root", |message| message.payout_root = vec![1; 20].into()),
    ];
    for (field, change) in changes {
        let mut message = pb::Settlement::from(&settlement());
        change(&mut message);
        assert_eq!(Settlement::try_from(&message).err().map(|error| error.field), Some(field));
    }
}

#[test]
fn payees_add_up_to_the_price_and_come_in_one_order() {
    let parsed = parse_payees(&[payee(1, 2), payee(2, 3)], Amount(5)).expect("they add up");
    assert_eq!(parsed, [(Address([1; 20]), Amount(2)), (Address([2; 20]), Amount(3))].into());
    let refused = |payees: &[pb::settle_order_request::Payee], price| {
        parse_payees(payees, Amount(price)).err().map(|error| error.field)
    };
    assert_eq!(refused(&[payee(1, 2), payee(2, 3)], 4), Some("payees.amount"));
    assert_eq!(refused(&[], 1), Some("payees.amount"));
    assert_eq!(refused(&[payee(2, 3), payee(1, 2)], 5), Some("payees.account"));
    assert_eq!(refused(&[payee(1, 2), payee(1, 3)], 5), Some("payees.account"));
    // A sum that wraps around to the price would pay out more than the escrow holds.
    assert_eq!(refused(&[payee(1, u128::MAX), payee(2, 6)], 5), Some("payees.amount"));
    let mut short = payee(1, 5);
    short.account = vec![1; 19].into();
    assert_eq!(refused(&[short], 5), Some("payees.account"));
}

#[test]
fn signatures_name_different_keyholders() {
    let keyholders = |messages: &[pb::settle_order_request::Signature]| {
        parse_settlement_signatures(messages)
            .map(|all| all.iter().map(|signed| signed.keyholder).collect::<Vec<_>>())
            .map_err(|error| error.field)
    };
    assert_eq!(keyholders(&[signature(1), signature(3)]), Ok(vec![1, 3]));
    for wrong in [&[signature(1), signature(1)][..], &[signature(2), signature(1)], &[signature(0)], &[signature(4)]] {
        assert_eq!(keyholders(wrong), Err("signatures.keyholder"));
    }
    assert_eq!(keyholders(&[1, 2, 3, 3].map(signature)), Err("signatures"));
    let mut unsigned = signature(1);
    unsigned.signature = Bytes::new();
    assert_eq!(keyholders(&[unsigned]), Err("signatures.signature"));
}

#[test]
fn a_table_of_earnings_is_ascending_over_all_its_pages_and_lists_nobody_with_nothing() {
    let earning = |account: u8, base: u128| -> pb::Earning {
        Earning { account: Address([account; 20]), cumulative: Amount(base) }.into()
    };
    let refused = |page: &[pb::Earning], last: Option<u8>| {
        parse_earnings(page, last.map(|account| Address([account; 20]))).err().map(|error| error.field)
    };
    let page = [earning(2, 5), earning(3, 1)];
    let parsed = parse_earnings(&page, Some(Address([1; 20]))).expect("it ascends");
    assert_eq!(parsed[1], Earning { account: Address([3; 20]), cumulative: Amount(1) });
    assert_eq!(refused(&page, Some(2)), Some("earnings.account"));
    assert_eq!(refused(&[earning(3, 1), earning(2, 5)], None), Some("earnings.account"));
    assert_eq!(refused(&[earning(2, 1), earning(2, 5)], None), Some("earnings.account"));
    assert_eq!(refused(&[earning(2, 0)], None), Some("earnings.cumulative"));
    assert_eq!(refused(&vec![earning(2, 1); EARNINGS_PAGE_MAX + 1], None), Some("earnings"));
}

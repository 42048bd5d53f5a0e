use super::*;

fn open(dir: &tempfile::TempDir) -> PayoutBook {
    PayoutBook::open(&dir.path().join("payouts.redb")).expect("opened")
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn order(number: u8) -> OrderId {
    OrderId(Digest32([number; 32]))
}

fn payees(list: &[(u8, u128)]) -> BTreeMap<Address, Amount> {
    list.iter().map(|&(account, amount)| (Address([account; 20]), Amount(amount))).collect()
}

fn earned(book: &PayoutBook, account: u8) -> u128 {
    book.earned(Address([account; 20])).expect("read").0
}

/// Stages and adopts a settlement, as when nothing goes wrong.
fn settle(book: &PayoutBook, number: u8, list: &[(u8, u128)]) -> VersionKey {
    let version = book.next(order(number), &payees(list)).expect("a version");
    book.stage(&version).expect("staged");
    assert!(book.move_to(version.key).expect("adopted"));
    version.key
}

#[test]
fn earnings_accumulate_and_the_tree_has_the_root_that_was_announced() {
    let dir = folder();
    let book = open(&dir);
    assert_eq!(book.current().expect("read"), VersionKey::EMPTY);
    settle(&book, 1, &[(1, 5), (2, 7)]);
    let second = settle(&book, 2, &[(2, 3)]);
    assert_eq!((earned(&book, 1), earned(&book, 2), earned(&book, 3)), (5, 10, 0));
    assert_eq!(second.sequence, 2);
    let tree = book.tree().expect("a tree");
    assert_eq!(tree.root(), second.root);
    assert!(tree.proof(Address([2; 20])).expect("earned").verify(&second.root));
}

#[test]
fn a_version_that_the_chain_never_showed_changes_nothing() {
    let dir = folder();
    let book = open(&dir);
    let version = book.next(order(1), &payees(&[(1, 5)])).expect("a version");
    book.stage(&version).expect("staged");
    drop(book);
    let book = open(&dir);
    assert_eq!((book.current().expect("read"), earned(&book, 1)), (VersionKey::EMPTY, 0));
    assert_eq!(book.tree().expect("a tree").root(), Digest32([0; 32]));
}

#[test]
fn a_crash_between_submitting_and_adopting_heals_from_the_staged_version() {
    let dir = folder();
    let version = {
        let book = open(&dir);
        let version = book.next(order(1), &payees(&[(1, 5)])).expect("a version");
        book.stage(&version).expect("staged");
        version
    };
    let book = open(&dir);
    assert!(book.move_to(version.key).expect("healed"));
    assert_eq!(earned(&book, 1), 5);
    // Seeing the same root again pays nobody twice.
    assert!(!book.move_to(version.key).expect("seen again"));
    assert_eq!(earned(&book, 1), 5);
}

#[test]
fn a_reorganisation_takes_back_what_it_unsettles() {
    let dir = folder();
    let book = open(&dir);
    let base = settle(&book, 1, &[(1, 5)]);
    let other = book.next(order(9), &payees(&[(3, 4)])).expect("a version");
    book.stage(&other).expect("staged");
    settle(&book, 2, &[(2, 7)]);
    settle(&book, 3, &[(1, 1)]);
    assert!(book.move_to(base).expect("two settlements are gone"));
    assert_eq!((earned(&book, 1), earned(&book, 2)), (5, 0));
    settle(&book, 4, &[(2, 1)]);
    assert!(book.move_to(other.key).expect("the other fork won"));
    assert_eq!((earned(&book, 1), earned(&book, 2), earned(&book, 3)), (5, 0, 4));
    assert_eq!(book.tree().expect("a tree").root(), other.key.root);
}

#[test]
fn a_settlement_is_known_by_its_version_and_order_only_while_the_chain_has_it() {
    let dir = folder();
    let book = open(&dir);
    let first = settle(&book, 1, &[(1, 5)]);
    let second = settle(&book, 2, &[(2, 7)]);
    for (key, number, known) in [(first, 1, true), (second, 2, true), (first, 2, false), (second, 1, false)] {
        assert_eq!(book.includes(key, order(number)).expect("read"), known, "{number}");
    }
    let never = VersionKey { root: Digest32([9; 32]), ..second };
    assert!(!book.includes(never, order(2)).expect("read"));
    assert!(!book.includes(VersionKey::EMPTY, order(0)).expect("read"));
    book.move_to(first).expect("the second is gone");
    assert!(!book.includes(second, order(2)).expect("read"));
    assert!(book.includes(first, order(1)).expect("read"));
}

#[test]
fn an_unknown_root_is_refused_and_nothing_moves() {
    let dir = folder();
    let book = open(&dir);
    let known = settle(&book, 1, &[(1, 5)]);
    for key in [
        VersionKey { sequence: 2, root: Digest32([9; 32]) },
        VersionKey { sequence: 1, root: Digest32([9; 32]) },
        VersionKey { sequence: 0, root: Digest32([9; 32]) },
        VersionKey { sequence: 2, root: known.root },
    ] {
        assert!(matches!(book.move_to(key), Err(PayoutError::UnknownVersion { .. })), "{key:?}");
    }
    assert_eq!((book.current().expect("read"), earned(&book, 1)), (known, 5));
}

#[test]
fn settlements_without_a_price_still_move_the_sequence() {
    let dir = folder();
    let book = open(&dir);
    let free = settle(&book, 1, &[]);
    let zero = settle(&book, 2, &[(1, 0)]);
    assert_eq!((free.root, zero.root), (Digest32([0; 32]), Digest32([0; 32])));
    assert_eq!(book.current().expect("read").sequence, 2);
    assert!(book.move_to(VersionKey::EMPTY).expect("both gone"));
}

#[test]
fn earnings_past_the_largest_amount_are_refused() {
    let dir = folder();
    let book = open(&dir);
    settle(&book, 1, &[(1, u128::MAX)]);
    let refused = book.next(order(2), &payees(&[(1, 1)]));
    assert!(matches!(refused, Err(PayoutError::Overflow(Address([1, ..])))));
}

#[test]
fn old_versions_are_forgotten_and_recent_ones_kept() {
    let dir = folder();
    let book = open(&dir);
    let keys: Vec<VersionKey> = (0..=HISTORY_MAX + 2).map(|_| settle(&book, 1, &[(1, 1)])).collect();
    let newest = u128::from(HISTORY_MAX) + 3;
    assert_eq!(earned(&book, 1), newest);
    assert!(matches!(book.move_to(keys[0]), Err(PayoutError::UnknownVersion { .. })));
    assert!(book.move_to(keys[10]).expect("still known"));
    assert_eq!(earned(&book, 1), 11);
}

#[test]
fn versions_read_back_as_written_and_damage_is_seen() {
    let version = Version {
        key: VersionKey { sequence: 3, root: Digest32([1; 32]) },
        parent_root: Digest32([2; 32]),
        order: order(4),
        payees: payees(&[(1, u128::MAX), (2, 0)]),
    };
    let bytes = version.encode();
    assert_eq!(Version::decode(version.key, &bytes), Some(version.clone()));
    assert_eq!(VersionKey::from_bytes(&version.key.to_bytes()), version.key);
    for cut in [1, 36, 70] {
        let shorter = Version::decode(version.key, &bytes[..bytes.len() - cut]);
        assert_ne!(shorter, Some(version.clone()));
        assert!(cut == 36 || shorter.is_none());
    }
}

#[test]
fn the_pages_of_the_table_hold_every_earner_once_in_order() {
    let dir = folder();
    let book = open(&dir);
    settle(&book, 1, &[(1, 5), (2, 7), (3, 0), (4, 1)]);
    let second = settle(&book, 2, &[(5, 9), (2, 1)]);
    let mut seen = Vec::new();
    loop {
        let page = book.page(seen.last().map(|&(account, _)| account), 2).expect("read");
        assert_eq!(page.version, second);
        assert!(page.earnings.len() <= 2);
        seen.extend(page.earnings);
        if page.is_last {
            break;
        }
    }
    let expected = payees(&[(1, 5), (2, 8), (4, 1), (5, 9)]);
    assert_eq!(seen, expected.clone().into_iter().collect::<Vec<_>>(), "nobody who earned nothing");
    assert_eq!(PayoutTree::build(expected).root(), second.root);
}

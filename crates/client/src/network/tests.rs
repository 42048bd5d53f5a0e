use super::*;
use crate::testing;
use locus_commitment::Address;

#[test]
fn a_remembered_market_is_compared_field_by_field() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let file = dir.path().join("client").join("network.bin");
    assert_eq!(Network::load(&file).expect("nothing yet"), None);
    let known = testing::network();
    known.save(&file).expect("saved");
    assert_eq!(Network::load(&file).expect("loaded"), Some(known.clone()));
    assert!(known.check_same(&known, &file).is_ok());
    let changes: [(&str, fn(&mut NetworkInfo)); 6] = [
        ("set of contracts", |info| info.contracts.escrow = Address([9; 20])),
        ("set of contracts", |info| info.contracts.network.chain_id = 1),
        ("set of contracts", |info| info.token_name = "Other".to_owned()),
        ("set of privacy rules", |info| info.parameters = NetworkParameters::standard()),
        ("keyholder committee", |info| info.committee.swap(0, 1)),
        ("keyholder committee", |info| info.committee_epoch += 1),
    ];
    for (what, change) in changes {
        let mut info = testing::network_info();
        change(&mut info);
        let changed = Network::try_new(info).expect("still a market");
        let refused = changed.check_same(&known, &file).expect_err(what);
        assert_eq!(refused.what, what);
        assert!(refused.to_string().contains("network.bin"), "{refused}");
    }
}

#[test]
fn a_damaged_file_or_key_is_refused() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let file = dir.path().join("network.bin");
    files::replace_file(&file, b"junk").expect("written");
    assert!(matches!(Network::load(&file), Err(ClientError::Malformed { .. })));
    let mut info = testing::network_info();
    info.committee[1].hpke_public_key = vec![0xff; 1216];
    assert!(matches!(Network::try_new(info), Err(ClientError::Sharing(_))));
}

#[test]
fn signatures_count_for_their_own_keyholder_only() {
    let network = testing::network();
    let digest = Digest32([7; 32]);
    let [first, second, _] = KeyholderIndex::ALL;
    let signature = testing::keyholder_accounts()[0].sign_digest(&digest).expect("signed").to_bytes();
    assert!(network.is_signed_by(first, &digest, &signature));
    assert!(!network.is_signed_by(second, &digest, &signature));
    assert!(!network.is_signed_by(first, &Digest32([8; 32]), &signature));
    assert!(!network.is_signed_by(first, &digest, &signature[..64]));
}

//! What the archive carries, changed on its way.

use super::*;
use bytes::Bytes;
use locus_commitment::NetworkId;

const PIECE: (ErrorCode, &str) = (ErrorCode::Conflict, "REKEYING_PIECE");
const MISSING: (ErrorCode, &str) = (ErrorCode::Refused, "STEP_MISSING");
const MALFORMED: (ErrorCode, &str) = (ErrorCode::BadRequest, "MALFORMED");
const SIGNATURE: (ErrorCode, &str) = (ErrorCode::Forbidden, "BAD_SIGNATURE");

fn flipped(bytes: &Bytes) -> Bytes {
    let mut bytes = bytes.to_vec();
    bytes[5] ^= 1;
    bytes.into()
}

#[tokio::test]
async fn pieces_that_are_changed_left_out_repeated_exchanged_or_cut_off_are_refused() {
    let scene = Scene::set().await;
    let headers = scene.headers(1, &[]).await.expect("all are honest");
    let (place, header) = (1, &headers[1]);
    let source = scene.source(place);
    let pieces = scene.pieces(source, &headers[source]).await.expect("it sends");
    let again = scene.pieces(source, &headers[source]).await.expect("it sends the same under another salt");
    let to_another = scene.pieces(1, &headers[1]).await.expect("keyholder 2 to keyholder 3");
    assert_eq!((pieces.len(), again.len(), to_another.len()), (3, 3, 3), "two columns, and the end");
    let with = |change: fn(&mut [pb::RekeyingPiece])| {
        let mut pieces = pieces.clone();
        change(&mut pieces);
        pieces
    };
    let of = |places: &[usize]| places.iter().map(|place| pieces[*place].clone()).collect::<Vec<_>>();
    let [first, second, last] = [0, 1, 2].map(|place| pieces[place].clone());
    let refused = [
        ("changed", with(|pieces| pieces[1].sealed = flipped(&pieces[1].sealed)), PIECE),
        ("end changed", with(|pieces| pieces[2].sealed = flipped(&pieces[2].sealed)), PIECE),
        ("under another salt", with(|pieces| pieces[0].salt = flipped(&pieces[0].salt)), PIECE),
        ("without salt", with(|pieces| pieces[0].salt = Bytes::new()), MALFORMED),
        ("left out", of(&[0, 2]), PIECE),
        ("first left out", of(&[1, 2]), PIECE),
        ("repeated", of(&[0, 0, 1, 2]), PIECE),
        ("in another order", of(&[1, 0, 2]), PIECE),
        ("renumbered", with(|pieces| (pieces[2].number, pieces[2].is_last) = (1, false)), PIECE),
        ("numbers exchanged", with(|pieces| pieces.swap(0, 1)), PIECE),
        ("said to be the last", with(|pieces| pieces[1].is_last = true), PIECE),
        ("said not to be the last", with(|pieces| pieces[2].is_last = false), PIECE),
        ("one of another run", vec![first.clone(), again[1].clone(), last.clone()], PIECE),
        ("the first of another run", vec![again[0].clone(), second, last], PIECE),
        ("for another keyholder", to_another, PIECE),
        ("cut off", of(&[0, 1]), MISSING),
        ("nothing", of(&[]), MISSING),
    ];
    let session = scene.keyholders[place].prepare_rekeying(header).await.expect("honest messages").session;
    let result = || scene.keyholders[place].store().rekeying_result(scene.id(), &session).expect("it reads");
    for (what, pieces, expected) in refused {
        assert_eq!(refusal(scene.receive(place, header, &pieces).await), expected, "{what}");
        assert!(result().is_none(), "{what}: nothing is kept");
    }
    // Control: each of the two runs as it was sent.
    let made = scene.receive(place, header, &pieces).await.expect("as it was sent");
    assert!(result().is_some());
    assert_eq!(scene.receive(place, header, &again).await.expect("the same").statement, made.statement);
}

#[tokio::test]
async fn openings_and_contributions_that_are_not_their_senders_are_refused() {
    let scene = Scene::set().await;
    let headers = scene.headers(1, &[]).await.expect("all are honest");
    let keyholder = &scene.keyholders[0];
    let resigned = |opening: &pb::RekeyingOpening, signer: usize| {
        let mut opening = opening.clone();
        let digest = relay::rekeying_opening_digest(&keyholder.network(), &opening);
        opening.signature = scene.keyholders[signer].sign(&digest).expect("keys sign");
        opening
    };
    let header = &headers[0];
    let with = |change: &dyn Fn(&mut pb::RekeyingHeader)| {
        let mut header = header.clone();
        change(&mut header);
        header
    };
    let own_key = header.openings[0].hpke_public_key.clone();
    let changed = [
        // The key is one whose private key the archive has.
        (with(&|header| header.openings[1].hpke_public_key = own_key.clone()), SIGNATURE),
        (
            with(&|header| {
                header.openings[1].hpke_public_key = own_key.clone();
                header.openings[1] = resigned(&header.openings[1], 2);
            }),
            SIGNATURE,
        ),
        // Another keyholder's word, in the place of the second.
        (with(&|header| header.openings[1] = header.openings[2].clone()), GONE),
        (with(&|header| header.openings.swap(1, 2)), GONE),
        (with(&|header| header.openings.truncate(2)), GONE),
        (
            with(&|header| {
                header.openings[1].generation = 2;
                header.openings[1] = resigned(&header.openings[1], 1);
            }),
            GONE,
        ),
        // A session with an own key that it did not draw.
        (
            with(&|header| {
                header.openings[0].hpke_public_key = header.openings[1].hpke_public_key.clone();
                header.openings[0] = resigned(&header.openings[0], 0);
            }),
            GONE,
        ),
        (with(&|header| header.contributions.truncate(1)), MISSING),
        (with(&|header| header.contributions[0].sealed = flipped(&header.contributions[0].sealed)), SIGNATURE),
        // Those for keyholder 3, one of which is its own.
        (with(&|header| header.contributions = headers[2].contributions.clone()), SIGNATURE),
    ];
    for (place, (header, expected)) in changed.into_iter().enumerate() {
        assert_eq!(refusal(keyholder.prepare_rekeying(&header).await.map(drop)), expected, "{place}");
    }
    // Claimed to be left out, and alive.
    let prepared = keyholder.prepare_rekeying(&with(&|header| header.left_out = vec![1])).await;
    assert_eq!(refusal(prepared.map(drop)), (ErrorCode::Refused, "NOT_REVOKED"));
    keyholder.prepare_rekeying(header).await.expect("control");
}

#[tokio::test]
async fn only_three_statements_about_the_same_keys_are_attested() {
    let scene = Scene::set().await;
    let headers = scene.headers(1, &[]).await.expect("all are honest");
    let early = scene.attest(1, &headers[1], Vec::new()).await;
    assert_eq!(refusal(early), GONE, "nothing was made yet");
    let run = scene.run(1, &[]).await.expect("all are honest");
    let with = |change: &dyn Fn(&mut pb::RekeyingStatement)| {
        let mut statements = run.statements();
        change(&mut statements[2]);
        let digest = relay::rekeying_statement_digest(&statements[2]);
        statements[2].signature = scene.keyholders[2].sign(&digest).expect("keys sign");
        statements
    };
    let [first, second, third] = [0, 1, 2].map(|place| run.made[place].statement.clone());
    let mut unsigned = run.statements();
    unsigned[2].signature = first.signature.clone();
    let refused = [
        ("none", Vec::new(), MISSING),
        ("two", vec![first.clone(), second.clone()], MISSING),
        ("one twice", vec![first.clone(), second.clone(), second.clone()], MISSING),
        ("without its own", vec![first.clone(), third.clone(), third], MISSING),
        ("of another session", with(&|statement| statement.session = vec![1; 32].into()), DISAGREE),
        ("other keys", with(&|statement| statement.keys_hash = flipped(&statement.keys_hash)), DISAGREE),
        ("other attributes", with(&|statement| statement.attributes_digest = vec![1; 32].into()), DISAGREE),
        ("signed by another", unsigned, SIGNATURE),
        ("in another's name", with(&|statement| statement.keyholder = 1), SIGNATURE),
        ("of nobody", with(&|statement| statement.keyholder = 4), (ErrorCode::Forbidden, "NOT_IN_COMMITTEE")),
    ];
    for (what, statements, expected) in refused {
        assert_eq!(refusal(scene.attest(1, &run.headers[1], statements).await), expected, "{what}");
        assert!(!scene.is_anything_attested(), "{what}");
    }
    scene.attest(1, &run.headers[1], run.statements()).await.expect("control");
    assert!(scene.is_anything_attested());
}

#[tokio::test]
async fn draws_are_made_once_for_a_generation_and_an_epoch() {
    let scene = Scene::set().await;
    let order = scene.order(1);
    let first = scene.openings(&order).await.expect("opened");
    assert_eq!(scene.openings(&order).await.expect("again"), first);
    let keys = |openings: &[pb::RekeyingOpening]| -> BTreeSet<Bytes> {
        openings.iter().map(|opening| opening.hpke_public_key.clone()).collect()
    };
    let run = scene.run(1, &[]).await.expect("all are honest");
    let again = scene.run(1, &[]).await.expect("and led again");
    assert_eq!(again.statements(), run.statements(), "the same keys");
    // Another committee draws anew, and does not take what was of the one before.
    scene.committee.begin_epoch(3).await;
    let later = scene.openings(&order).await.expect("opened");
    assert!(keys(&later).is_disjoint(&keys(&first)));
    assert_eq!(refusal(scene.attest(0, &run.headers[0], run.statements()).await), GONE);
    let run = scene.run(1, &[]).await.expect("all are honest");
    assert_ne!(run.made[0].keys, again.made[0].keys);
    let signatures = scene.attest_all(&run).await.expect("they agree");
    scene.submit(&run, &signatures).await;
    // So does another generation.
    let next = scene.openings(&scene.order(2)).await.expect("opened");
    assert!(keys(&next).is_disjoint(&keys(&first)) && keys(&next).is_disjoint(&keys(&later)));
}

#[tokio::test]
async fn only_the_admins_order_for_the_next_generation_is_taken() {
    let scene = Scene::set().await;
    let keyholder = &scene.keyholders[0];
    let admin = AccountKey::from_bytes(&[ADMIN; 32]).expect("a key");
    let request = RekeyRequest { registration: scene.id(), generation: 1, deadline_unix_s: scene.deadline_unix_s };
    let by = |signer, request: RekeyRequest| scene.committee.rekeying_order(signer, &request);
    let in_the_name = pb::RekeyingOrder { admin: admin.address().0.to_vec().into(), ..by(1, request) };
    let elsewhere = NetworkId { chain_id: 1, ..keyholder.network() };
    let signature = admin.sign_digest(&rekey_request_hash(&elsewhere, &request)).expect("keys sign");
    let of_another = pb::RekeyingOrder { signature: signature.to_bytes().to_vec().into(), ..scene.order(1) };
    let later = pb::RekeyingOrder { deadline_unix_s: scene.deadline_unix_s + 1, ..scene.order(1) };
    let generation = (ErrorCode::Refused, "OTHER_GENERATION");
    let refused = [
        ("expired", by(ADMIN, RekeyRequest { deadline_unix_s: 1_700_000_000, ..request }), MALFORMED),
        (
            "in a week",
            by(ADMIN, RekeyRequest { deadline_unix_s: request.deadline_unix_s + 604_800, ..request }),
            MALFORMED,
        ),
        ("the one after the next", scene.order(2), generation),
        ("the first keys", scene.order(0), MALFORMED),
        ("the ninth", scene.order(9), MALFORMED),
        ("a keyholder's", by(1, request), SIGNATURE),
        ("the contributor's", by(20, request), SIGNATURE),
        ("in the admin's name", in_the_name, SIGNATURE),
        ("of another market", of_another, SIGNATURE),
        ("with another deadline", later, SIGNATURE),
        (
            "of nobody",
            by(ADMIN, RekeyRequest { registration: RegistrationId(99), ..request }),
            (ErrorCode::NotFound, "NOT_FINAL"),
        ),
    ];
    for (what, order, expected) in refused {
        assert_eq!(refusal(keyholder.open_rekeying(&order).await), expected, "{what}");
        assert!(keyholder.store().rekeying_draws(scene.id()).expect("it reads").is_none(), "{what}");
    }
    let run = scene.run(1, &[]).await.expect("control");
    let signatures = scene.attest_all(&run).await.expect("they agree");
    scene.submit(&run, &signatures).await;
    assert_eq!(refusal(keyholder.open_rekeying(&scene.order(1)).await), generation, "it was carried out");
}

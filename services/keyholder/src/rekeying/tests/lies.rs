//! One keyholder lies to the others.

use super::*;
use crate::rekeying::pieces::{Channel, Opener, Sealer};
use locus_sharing::RekeyingContribution;

/// Keyholder 1, which sends to keyholder 2 what share 2 changes by.
const LIAR: usize = 0;
const VICTIM: usize = 1;
const HONEST: usize = 2;

/// Opens what a keyholder sent, changes the first piece and seals all again, as that keyholder can.
fn altered(
    from: &Prepared,
    keyholder: KeyholderIndex,
    pieces: &[pb::RekeyingPiece],
    change: impl Fn(&mut [u8]),
) -> Vec<pb::RekeyingPiece> {
    let channel = Channel {
        seed: from.seed_of(keyholder.other_share()).expect("it holds it").clone(),
        session: from.session,
        from: keyholder,
        to: lacking(keyholder.released_share()).expect("1 to 3"),
    };
    let (mut opener, mut sealer) = (Opener::new(channel.clone()), Sealer::new(&channel).expect("randomness"));
    let reseal = |piece: &pb::RekeyingPiece| {
        let mut plaintext = opener.open(piece).expect("its own");
        if piece.number == 0 {
            change(&mut plaintext);
        }
        sealer.seal(&plaintext, piece.is_last).expect("it seals")
    };
    pieces.iter().map(reseal).collect()
}

impl Scene {
    /// The statement of the keyholder at `place`, changed and signed by it.
    fn restated(
        &self,
        place: usize,
        statement: &pb::RekeyingStatement,
        change: impl FnOnce(&mut pb::RekeyingStatement),
    ) -> pb::RekeyingStatement {
        let keyholder = &self.keyholders[place];
        let mut statement = statement.clone();
        statement.keyholder = u32::from(keyholder.index().get());
        change(&mut statement);
        statement.signature = keyholder.sign(&relay::rekeying_statement_digest(&statement)).expect("keys sign");
        statement
    }

    /// Seeds that the keyholders would keep of a person.
    async fn seeds_to_come(&self, headers: &[pb::RekeyingHeader; 3], place: usize) -> [KeySeed; 3] {
        let context = self.context(place, 2);
        let mut seeds = Vec::new();
        for (keyholder, header) in self.keyholders.iter().zip(headers) {
            let prepared = keyholder.prepare_rekeying(header).await.expect("honest messages");
            let of_share = |(share, seed): &(ShareIndex, RekeyingSeed)| (*share, seed.dataset(*share, &context).seed);
            seeds.extend(prepared.seeds.iter().map(of_share));
        }
        ShareIndex::ALL.map(|wanted| seeds.iter().find(|(share, _)| *share == wanted).expect("a holder").1.clone())
    }

    /// Another contribution of the liar to `share`, in the place of the one in the header of its other holder.
    async fn contribute_otherwise(&self, header: &pb::RekeyingHeader, share: ShareIndex) -> pb::RekeyingHeader {
        let liar = &self.keyholders[LIAR];
        let ordered = liar.check_order(header.order.as_ref().expect("an order")).await.expect("the admin's");
        let (session, _) = liar.session(&ordered, &header.openings).await.expect("it is under way");
        let other = RekeyingContribution::from_bytes([7; 32]);
        let sealed = session.seal_contribution(liar.index(), share, &other, &mut crate::keyholder::system_rng());
        let mut header = header.clone();
        let mut messages = header.contributions.iter_mut();
        let message = messages.find(|message| message.share == u32::from(share.get())).expect("both hold it");
        assert_eq!(message.from_keyholder, 1);
        message.sealed = sealed.expect("it seals").into_bytes().into();
        message.signature =
            liar.sign(&relay::rekeying_contribution_digest(&session.digest(), message)).expect("keys sign");
        header
    }
}

#[tokio::test]
async fn a_genotype_that_a_keyholder_adds_is_attested_by_nobody() {
    let scene = Scene::set().await;
    let mut run = scene.run(1, &[]).await.expect("all are honest");
    let column = columns()[0];
    let flags = scene.flags(0, column);
    // A variant that the first person does not have.
    let slot = (100..).find(|slot| flags[*slot] == 0).expect("there is one");
    let liar = &scene.keyholders[LIAR];
    let prepared = liar.prepare_rekeying(&run.headers[LIAR]).await.expect("honest messages");
    let honest = scene.pieces(LIAR, &run.headers[LIAR]).await.expect("it sends");
    let pieces = altered(&prepared, liar.index(), &honest, |parts| {
        let word = parts[8 * slot..].first_chunk_mut::<8>().expect("inside the first body");
        *word = u64::from_le_bytes(*word).wrapping_add(1 << HET_SHIFT).to_le_bytes();
    });
    let deceived = scene.receive(VICTIM, &run.headers[VICTIM], &pieces).await.expect("sealed as it must be");
    // Control: the person would have the variant from now on.
    let seeds = scene.seeds_to_come(&run.headers, 0).await;
    let mut expected = flags.clone();
    expected[slot] += 1 << HET_SHIFT;
    assert_eq!(open(&deceived.bodies[0][0], column, &scene.context(0, 2), &seeds), Some(expected));
    assert_eq!(open(&run.made[HONEST].bodies[0][0], column, &scene.context(0, 2), &seeds), Some(flags));

    let [honest_keys, false_keys] = [&run.made[HONEST].statement, &deceived.statement].map(Clone::clone);
    assert_ne!(honest_keys.keys_hash, false_keys.keys_hash);
    // Whatever the liar states, to one it states something else than the other does.
    for stated in [&honest_keys, &false_keys] {
        let of_liar = scene.restated(LIAR, stated, |_| {});
        let statements = vec![of_liar, false_keys.clone(), honest_keys.clone()];
        for place in [VICTIM, HONEST] {
            let attested = scene.attest(place, &run.headers[place], statements.clone()).await;
            assert_eq!(refusal(attested), DISAGREE, "keyholder {}", place + 1);
        }
    }
    // And in another's name it cannot state anything.
    let mut forged = scene.restated(LIAR, &false_keys, |statement| statement.keyholder = 3);
    let of_liar = scene.restated(LIAR, &false_keys, |_| {});
    let statements = vec![of_liar.clone(), false_keys.clone(), forged.clone()];
    let attested = scene.attest(VICTIM, &run.headers[VICTIM], statements).await;
    assert_eq!(refusal(attested), (ErrorCode::Forbidden, "BAD_SIGNATURE"));
    forged.keyholder = 1;
    assert!(scene.attest(VICTIM, &run.headers[VICTIM], vec![of_liar, false_keys, forged]).await.is_err());
    assert!(!scene.is_anything_attested());

    // Control: with what it sent honestly all of them sign.
    run.made[VICTIM] = scene.receive(VICTIM, &run.headers[VICTIM], &honest).await.expect("honest");
    scene.attest_all(&run).await.expect("they agree");
}

#[tokio::test]
async fn a_contribution_that_is_another_one_than_its_sender_uses_is_attested_by_nobody() {
    let scene = Scene::set().await;
    let headers = scene.headers(1, &[]).await.expect("all are honest");
    let liar = scene.keyholders[LIAR].index();
    // To keyholder 3 about share 2: keyholder 2 gets parts of share 2 that do not fit what keyholder 3 has.
    let mut changed = headers.clone();
    changed[HONEST] = scene.contribute_otherwise(&headers[HONEST], liar.released_share()).await;
    let mut made = Vec::new();
    for place in [VICTIM, HONEST] {
        made.push(scene.receive_honestly(place, &changed).await.expect("nobody sees it yet").statement);
    }
    for stated in &made {
        let statements = vec![scene.restated(LIAR, stated, |_| {}), made[0].clone(), made[1].clone()];
        for place in [VICTIM, HONEST] {
            assert_eq!(refusal(scene.attest(place, &changed[place], statements.clone()).await), DISAGREE);
        }
    }
    // To keyholder 2 about share 3, which seals what these two tell each other.
    let mut changed = headers.clone();
    changed[VICTIM] = scene.contribute_otherwise(&headers[VICTIM], liar.other_share()).await;
    let made = scene.receive_honestly(VICTIM, &changed).await;
    assert_eq!(refusal(made), (ErrorCode::Conflict, "REKEYING_PIECE"));
    assert!(!scene.is_anything_attested());
    // Control.
    let run = scene.run(1, &[]).await.expect("all are honest");
    scene.attest_all(&run).await.expect("they agree");
}

#[tokio::test]
async fn seeds_that_are_not_those_of_the_bodies_are_not_kept() {
    let scene = Scene::set().await;
    let run = scene.run(1, &[]).await.expect("all are honest");
    // All three agree on the keys. Before the signature the archive brings another contribution of the liar: what keyholder 3
    // would keep opens nothing, and so the liar alone would have share 2.
    let share = scene.keyholders[LIAR].index().released_share();
    let changed = scene.contribute_otherwise(&run.headers[HONEST], share).await;
    assert_eq!(refusal(scene.attest(HONEST, &changed, run.statements()).await), GONE);
    assert!(!scene.is_anything_attested());
    // Control: with the contribution that was used.
    scene.attest_all(&run).await.expect("they agree");
    for place in 0..PEOPLE {
        scene.seeds(place, 2).expect("both holders of each share have the same");
    }
}

#[tokio::test]
async fn who_is_left_out_is_the_same_from_the_bodies_to_the_signature() {
    let scene = Scene::set().await;
    scene.committee.revoke(&scene.people, &[0, 1]).await;
    let run = scene.run(1, &[0]).await.expect("all are honest");
    // As many others: the keys would be kept under the names of other people.
    let other = pb::RekeyingHeader { left_out: vec![1], ..run.headers[HONEST].clone() };
    assert_eq!(refusal(scene.attest(HONEST, &other, run.statements()).await), GONE);
    assert!(!scene.is_anything_attested());
    // Control.
    scene.attest_all(&run).await.expect("as it was");
}

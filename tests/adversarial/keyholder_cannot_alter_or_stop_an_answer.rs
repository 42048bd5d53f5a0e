//! One keyholder lies, or is gone.

use anyhow::{Context as _, Result, ensure};
use locus_client::{account_state, research::open_answer, statement};
use locus_genomics::{Genotype, Panel};
use locus_ledger::RegistrationId;
use locus_privacy::{Rho, Tier};
use locus_service::reason_of;
use locus_sharing::KeyholderIndex;
use locus_tests::{
    Lie, Market, OtherAggregator, People, ask, biomedical, first_variants, now_unix_s, question_of, small_floors,
};
use locus_wire::{
    pb::{
        exchange::{GetOrderRequest, OrderState},
        query::AnswerRecord,
    },
    relay,
};
use std::sync::Arc;

struct Scene {
    market: Market,
    panel: Arc<Panel>,
    people: People,
    registration: RegistrationId,
}

impl Scene {
    async fn set() -> Result<Self> {
        let market = Market::start_with(small_floors()).await?;
        let people = People::new(24, 40, 83);
        let input = market.read_people("everyone", &people)?;
        let batch = market.enrol(&market.biobank, &input).await?.pop().context("a batch")?;
        Ok(Self { panel: input.panel.clone(), market, people, registration: batch.registration })
    }

    /// An aggregator whose keyholder `cheat` tells this lie. The handle keeps the cheat alive.
    async fn with_liar(
        &self,
        cheat: KeyholderIndex,
        lie: Lie,
    ) -> Result<(OtherAggregator, locus_service::ServerHandle)> {
        let liar = self.market.cheating_keyholder(cheat, lie).await?;
        let honest = &self.market.node.connectors().keyholders;
        let reach = |keyholder: KeyholderIndex| {
            Some(if keyholder == cheat { liar.connector() } else { honest[keyholder.position()].clone() })
        };
        let aggregator = self.market.aggregator_with(&format!("{lie:?}-{cheat}"), reach).await?;
        Ok((aggregator, liar))
    }

    /// An aggregator that does not reach these keyholders.
    async fn without(&self, down: &[KeyholderIndex]) -> Result<OtherAggregator> {
        let honest = &self.market.node.connectors().keyholders;
        let reach =
            |keyholder: KeyholderIndex| (!down.contains(&keyholder)).then(|| honest[keyholder.position()].clone());
        self.market.aggregator_with(&format!("without-{down:?}"), reach).await
    }

    fn check_counts(&self, record: &AnswerRecord) -> Result<()> {
        let (market, key) = (&self.market, self.market.researcher.keys.sealing_key());
        let (_, opened) = open_answer(record, &self.panel, &market.network, key)?;
        for row in opened.rows() {
            let truth = [Genotype::Het, Genotype::HomAlt].map(|one| self.people.count(row.index.0, one));
            ensure!([row.het, row.hom_alt] == truth, "variant {} is counted wrong", row.index.0);
        }
        Ok(())
    }

    async fn state(&self, order_id: &bytes::Bytes) -> Result<OrderState> {
        let request = GetOrderRequest { order_id: order_id.clone() };
        Ok(self.market.services.exchange.clone().get_order(request).await?.into_inner().state())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_altered_commitment_is_seen_by_its_peers_and_nothing_is_released_or_paid() -> Result<()> {
    let scene = Scene::set().await?;
    let market = &scene.market;
    let exact = biomedical(first_variants(&scene.panel, 20)?, Tier::Exact, Rho::ZERO);
    for cheat in KeyholderIndex::ALL {
        for (lie, expected) in
            [(Lie::AlteredCommitment, "KEYHOLDERS_DISAGREE"), (Lie::OtherCohort, "KEYHOLDER_MESSAGE")]
        {
            let (aggregator, _liar) = scene.with_liar(cheat, lie).await?;
            let placed = market.place(&market.researcher, &exact, "1".parse()?).await?;
            let asked = question_of(&market.researcher, &placed);
            let status = ask(&aggregator.query, &placed, &market.researcher, &asked).await.err().context("answered")?;
            assert_eq!(reason_of(&status).as_deref(), Some(expected), "{}", status.message());
            assert!(status.message().contains("nothing is released"), "{}", status.message());
            assert_eq!(scene.state(&placed.record.order_id).await?, OrderState::Open);

            // An aggregator that conspires with the cheat passes its commitment on: the honest
            // keyholders, who share a share with it, release nothing either.
            let mut prepared = Vec::new();
            for keyholder in KeyholderIndex::ALL {
                prepared.push(market.prepare(keyholder, &asked).await?);
            }
            let mut commitments = Vec::new();
            for keyholder in KeyholderIndex::ALL {
                commitments.push(market.commit(keyholder, &asked, &prepared).await?);
            }
            let altered = &mut commitments[cheat.position()];
            let mut bytes = altered.blocks[0].share_commitments[1].to_vec();
            bytes[7] ^= 1;
            altered.blocks[0].share_commitments[1] = bytes.into();
            altered.signature = {
                let digest = relay::commitment_digest(&market.network.id(), altered);
                market.keyholder_signer(cheat)?.sign_digest(&digest)?.to_bytes().to_vec().into()
            };
            let honest = KeyholderIndex::ALL.into_iter().filter(|keyholder| *keyholder != cheat);
            let mut refusals = 0;
            for keyholder in honest {
                if let Err(status) = market.release(keyholder, &asked, &commitments, 1).await {
                    assert_eq!(reason_of(&status).as_deref(), Some("KEYHOLDERS_DISAGREE"));
                    refusals += 1;
                }
            }
            // The other holder of the altered share refuses; without what it would release, no
            // answer opens.
            assert_eq!(refusals, 1, "keyholder {cheat}");
        }
        // Control: the same way with an honest keyholder answers.
        let (aggregator, _honest) = scene.with_liar(cheat, Lie::None).await?;
        let placed = market.place(&market.researcher, &exact, "1".parse()?).await?;
        let record =
            ask(&aggregator.query, &placed, &market.researcher, &question_of(&market.researcher, &placed)).await?;
        scene.check_counts(&record)?;
        assert_eq!(scene.state(&placed.record.order_id).await?, OrderState::Settled);
    }
    // Paid for the three controls only.
    let earned = account_state(&market.services, market.biobank.keys.address()).await?.earned;
    assert_eq!(earned.to_string(), "0.72");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_released_share_that_is_not_the_one_committed_to_is_seen_by_the_researcher() -> Result<()> {
    let scene = Scene::set().await?;
    let market = &scene.market;
    let exact = biomedical(first_variants(&scene.panel, 20)?, Tier::Exact, Rho::ZERO);
    for cheat in KeyholderIndex::ALL {
        let (aggregator, _liar) = scene.with_liar(cheat, Lie::AlteredRelease).await?;
        let placed = market.place(&market.researcher, &exact, "1".parse()?).await?;
        let record =
            ask(&aggregator.query, &placed, &market.researcher, &question_of(&market.researcher, &placed)).await?;
        let opened = open_answer(&record, &scene.panel, &market.network, market.researcher.keys.sealing_key());
        let error = opened.err().with_context(|| format!("keyholder {cheat} has changed a count unseen"))?;
        assert!(error.to_string().contains("altered the answer"), "{error}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn with_one_keyholder_down_answers_are_right_and_marked_with_two_down_there_are_none() -> Result<()> {
    for down in KeyholderIndex::ALL {
        let scene = Scene::set().await?;
        let market = &scene.market;
        let exact = biomedical(first_variants(&scene.panel, 20)?, Tier::Exact, Rho::ZERO);
        let aggregator = scene.without(&[down]).await?;
        let placed = market.place(&market.researcher, &exact, "1".parse()?).await?;
        let record =
            ask(&aggregator.query, &placed, &market.researcher, &question_of(&market.researcher, &placed)).await?;
        scene.check_counts(&record)?;
        let summary = record.summary.as_ref().context("a summary")?;
        assert!(summary.degraded, "without keyholder {down}");
        assert_eq!(summary.signatures.len(), 2);
        let key = market.researcher.keys.sealing_key();
        let (verified, _) = open_answer(&record, &scene.panel, &market.network, key)?;
        assert!(verified.is_degraded());
        assert!(!verified.signed_by().contains(&down));

        let others: Vec<_> = KeyholderIndex::ALL.into_iter().filter(|keyholder| *keyholder != down).collect();
        let aggregator = scene.without(&others).await?;
        let placed = market.place(&market.researcher, &exact, "1".parse()?).await?;
        let asked = question_of(&market.researcher, &placed);
        let status = ask(&aggregator.query, &placed, &market.researcher, &asked)
            .await
            .err()
            .context("answered by one keyholder")?;
        assert_eq!(reason_of(&status).as_deref(), Some("TOO_FEW_KEYHOLDERS"), "{}", status.message());
        assert_eq!(scene.state(&placed.record.order_id).await?, OrderState::Open);
        // When they are back, the same order is answered in full.
        let record = ask(&market.services.query, &placed, &market.researcher, &asked).await?;
        scene.check_counts(&record)?;
        assert!(!record.summary.context("a summary")?.degraded);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keyholder_that_goes_between_commitment_and_release_delays_the_answer_only() -> Result<()> {
    let scene = Scene::set().await?;
    let market = &scene.market;
    let open = biomedical(first_variants(&scene.panel, 20)?, Tier::Open, "0.01".parse()?);
    let (aggregator, _liar) = scene.with_liar(KeyholderIndex::ALL[1], Lie::NoRelease).await?;
    let placed = market.place(&market.researcher, &open, "1".parse()?).await?;
    let asked = question_of(&market.researcher, &placed);
    let status = ask(&aggregator.query, &placed, &market.researcher, &asked).await.err().context("answered")?;
    assert_eq!(reason_of(&status).as_deref(), Some("KEYHOLDER_GONE"), "{}", status.message());
    let answer = market.collect(&market.researcher, &scene.panel, placed).await?;
    assert!(!answer.verified.is_degraded());
    let keys = &market.biobank.keys;
    let spent = statement(&market.services, &market.network, keys, scene.registration, 0, now_unix_s()).await?;
    assert_eq!((spent.uses.len(), spent.differences.len()), (1, 0), "charged once");
    Ok(())
}

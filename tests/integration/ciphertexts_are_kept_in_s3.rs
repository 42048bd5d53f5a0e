//! A market whose object store is a server that speaks S3, over TCP, and that asks for patience now and then.

#[allow(dead_code, reason = "the tests of the store use the rest")]
#[path = "../../crates/store/tests/common/s3.rs"]
mod s3;

use anyhow::{Context as _, Result, ensure};
use locus_client::{erase, revoke};
use locus_genomics::Genotype;
use locus_privacy::{Rho, Tier};
use locus_tests::{Market, People, Upload, biomedical, first_variants, now_unix_s, small_floors};
use std::sync::atomic::Ordering;

#[tokio::test(flavor = "multi_thread")]
async fn a_cohort_in_s3_is_enrolled_asked_and_erased() -> Result<()> {
    const ERASED: u32 = 7;
    let server = s3::S3Server::empty();
    server.faults.slow_down_every.store(9, Ordering::SeqCst);
    let market = Market::start_changed(|config| {
        config.parameters = small_floors();
        config.store_url = Some(format!("s3://{}/market", s3::BUCKET));
        config.store_options = server.options();
    })
    .await?;
    let people = People::new(24, 40, 83);
    let input = market.read_people("everyone", &people)?;
    locus_client::publish_panel(&market.services, &input.panel).await?;
    let upload = Upload::of_institution(&market, &market.biobank, &input).await?;
    let batch = market.enrol(&market.biobank, &input).await?.pop().context("a batch")?;

    let exact = biomedical(first_variants(&input.panel, 40)?, Tier::Exact, Rho::ZERO);
    let bought = market.buy_as(&market.researcher, &input.panel, &exact, "1".parse()?).await?;
    for row in bought.opened.rows() {
        let truth = [Genotype::Het, Genotype::HomAlt].map(|one| people.count(row.index.0, one));
        ensure!([row.het, row.hom_alt] == truth, "variant {}", row.index.0);
    }

    let bodies = &upload.bodies[&(0, 0)];
    let needle =
        |person: u32| -> Result<[u8; 32]> { bodies[person as usize][1_000..].first_chunk().copied().context("a body") };
    let store = market.node.store();
    ensure!(store.scan(&[needle(ERASED)?]).await?.len() == 1, "the control: what is stored is found");
    let (services, network, keys) = (&market.services, &market.network, &market.biobank.keys);
    revoke(services, network, keys, batch.registration, &[ERASED], now_unix_s()).await?;
    let records = market.biobank.folder.enrolments();
    let erasure = erase(services, network, keys, batch.registration, &[ERASED], &records, now_unix_s()).await?;
    ensure!(erasure.is_unreadable_for_ever());
    ensure!(store.scan(&[needle(ERASED)?]).await?.is_empty(), "the ciphertext is in no object of the bucket");
    ensure!(store.scan(&[needle(ERASED + 1)?]).await?.len() == 1, "and others are");

    let open = biomedical(first_variants(&input.panel, 20)?, Tier::Open, "0.01".parse()?);
    let smaller = market.buy_as(&market.researcher, &input.panel, &open, "1".parse()?).await?;
    ensure!(smaller.opened.cohort_size() == 23);
    ensure!(server.faults.refused() > 5, "the control: {} requests were refused", server.faults.refused());
    Ok(())
}

//! The spine, on real genomes: enrol, order, answer, pay.

use anyhow::Result;
use locus_client::{account_state, claim, erase, research::VariantCounts, revoke, statement};
use locus_genomics::{Assembly, Panel, Variant, VariantSelection};
use locus_intake::{CohortSource, IntakeOptions, PlinkFiles, RefusalReason, read_cohort};
use locus_privacy::{Rho, Tier};
use locus_tests::{
    Market, PlinkCounts, by_variant, committed_extract, first_variants, now_unix_s, read_plink_counts, shared_cohort,
};
use std::{collections::BTreeMap, path::Path};

/// Compares exact counts of all variants of a data folder's cohort with plink2's.
async fn check_against_plink(name: &str) -> Result<()> {
    let Some(prefix) = shared_cohort(name) else {
        eprintln!("{name} is not beside the repository: not compared");
        return Ok(());
    };
    let folder = prefix.parent().unwrap_or(Path::new("."));
    let truth = read_plink_counts(&folder.join(format!("gt/{name}.all.gcount.zst")))?;
    let market = Market::start().await?;
    let (panel, _) = market.enrol_plink(&prefix).await?;
    let (_, opened, _) = market.buy(&panel, VariantSelection::all(&panel), Tier::Exact, Rho::ZERO).await?;
    let mut found: Vec<PlinkCounts> = opened.rows().iter().filter_map(|row| plink_counts(&panel, row)).collect();
    let mut expected: Vec<PlinkCounts> = truth.iter().map(orient).collect();
    found = found.iter().map(orient).collect();
    assert_eq!(found.len(), expected.len(), "{name}");
    let key = |row: &PlinkCounts| (row.ref_allele.clone(), row.alt_allele.clone(), row.counts);
    found.sort_by_key(key);
    expected.sort_by_key(key);
    assert!(found == expected, "{name}: counts differ from plink2");
    Ok(())
}

/// A row as plink2 would print it.
fn plink_counts(panel: &Panel, row: &VariantCounts) -> Option<PlinkCounts> {
    let variant = panel.variant(row.index)?;
    Some(PlinkCounts {
        // Ids of PLINK files may be anything, and are not compared.
        id: String::new(),
        ref_allele: variant.ref_allele().to_owned(),
        alt_allele: variant.alt_allele().to_owned(),
        counts: [row.hom_ref(), row.het, row.hom_alt, row.missing],
    })
}

/// The same counts with the alleles in alphabetical order: PLINK 1 files do not say which is REF.
fn orient(row: &PlinkCounts) -> PlinkCounts {
    let [hom_ref, het, hom_alt, missing] = row.counts;
    if row.ref_allele <= row.alt_allele {
        return PlinkCounts { id: String::new(), ..row.clone() };
    }
    PlinkCounts {
        id: String::new(),
        ref_allele: row.alt_allele.clone(),
        alt_allele: row.ref_allele.clone(),
        counts: [hom_alt, het, hom_ref, missing],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn exact_counts_of_the_exome_equal_plink_on_every_variant() -> Result<()> {
    check_against_plink("kgp3_exome").await
}

#[tokio::test(flavor = "multi_thread")]
async fn exact_counts_of_chromosome_22_equal_plink_on_every_variant() -> Result<()> {
    check_against_plink("kgp3_chr22_dense").await
}

#[tokio::test(flavor = "multi_thread")]
async fn exact_counts_of_a_small_european_cohort_equal_plink_on_every_variant() -> Result<()> {
    check_against_plink("kgp1_eur379").await
}

#[tokio::test(flavor = "multi_thread")]
async fn exact_counts_with_missing_calls_equal_plink_on_every_variant() -> Result<()> {
    check_against_plink("sim5k_dev").await
}

/// From the VCF as its authors published it: four copy-number alleles are refused and named, every
/// other variant is counted as plink2 counts it.
#[tokio::test(flavor = "multi_thread")]
async fn a_published_vcf_is_enrolled_bought_and_settled_with_the_counts_of_plink() -> Result<()> {
    let Some(prefix) = shared_cohort("kgp3_chr22_demo") else {
        eprintln!("kgp3_chr22_demo is not beside the repository: not compared");
        return Ok(());
    };
    let folder = prefix.parent().unwrap_or(Path::new("."));
    let truth = read_plink_counts(&folder.join("gt/kgp3_chr22_demo.all.gcount.zst"))?;
    let market = Market::start().await?;
    let source = CohortSource::Vcf(vec![prefix.with_extension("vcf.gz")]);
    let (input, report) = market.read_cohort("chr22", &source, Assembly::GRCh37)?;
    let refused = &report.files[0].refused[&RefusalReason::SymbolicAllele];
    assert_eq!((refused.count, report.files[0].refused_count()), (4, 4));
    assert!(refused.examples.iter().all(|example| example.contains("16050654")), "{:?}", refused.examples);
    let symbolic = truth.iter().filter(|row| row.alt_allele.starts_with('<')).count();
    assert_eq!((symbolic, report.variants_matched), (4, 6_135));

    let enrolled = market.enrol(&market.biobank, &input).await?;
    assert_eq!(enrolled[0].datasets.len(), 2_504);
    let panel = &input.panel;
    let (verified, opened, _) = market.buy(panel, VariantSelection::all(panel), Tier::Exact, Rho::ZERO).await?;
    assert_eq!((verified.signed_by().len(), opened.cohort_size()), (3, 2_504));
    let found: BTreeMap<Variant, [i64; 4]> = opened
        .rows()
        .iter()
        .filter_map(|row| {
            let variant = panel.variant(row.index)?.to_owned();
            Some((variant, [row.hom_ref(), row.het, row.hom_alt, row.missing]))
        })
        .collect();
    let expected = by_variant(&truth)?;
    assert_eq!((found.len(), expected.len()), (6_135, 6_135));
    let differing: Vec<_> = found.iter().filter(|(variant, counts)| expected.get(*variant) != Some(counts)).collect();
    assert!(differing.is_empty(), "{} variants differ from plink2, first {:?}", differing.len(), differing.first());
    let earned = account_state(&market.services, market.biobank.keys.address()).await?.earned;
    assert_eq!(earned.to_string(), "25.04");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cohort_is_enrolled_asked_paid_revoked_and_erased() -> Result<()> {
    let market = Market::start().await?;
    let (panel, enrolled) = market.enrol_plink(&committed_extract()).await?;
    let batch = &enrolled[0];
    assert_eq!(batch.datasets.len(), 2_504);

    // Exact counts of everything equal a count over the plaintext.
    let all = VariantSelection::all(&panel);
    let (_, exact, _) = market.buy(&panel, all.clone(), Tier::Exact, Rho::ZERO).await?;
    let source = CohortSource::Plink(PlinkFiles::of_prefix(&committed_extract()));
    let cohort = read_cohort(&source, &panel, &IntakeOptions::default(), market.scratch(), &mut |_| {})?;
    for row in exact.rows() {
        let truth = cohort.spool.counts(row.index)?;
        assert_eq!(u64::try_from(row.het)?, truth.het());
        assert_eq!(u64::try_from(row.hom_alt)?, truth.hom_alt());
    }

    // Noisy counts differ from the truth by what the quote says; the same question in another order
    // gives the same counts and charges nobody again.
    let rho: Rho = "0.01".parse()?;
    let (first, noisy, quote) = market.buy(&panel, first_variants(&panel, 100)?, Tier::Open, rho).await?;
    let (second, again, _) = market.buy(&panel, first_variants(&panel, 100)?, Tier::Open, rho).await?;
    assert_ne!(first.order_id(), second.order_id());
    assert_eq!(noisy.rows(), again.rows());
    let errors: Vec<f64> = noisy
        .rows()
        .iter()
        .zip(exact.rows())
        .flat_map(|(noisy, exact)| [noisy.het - exact.het, noisy.hom_alt - exact.hom_alt])
        .map(|error| error as f64)
        .collect();
    let variance = errors.iter().map(|error| error * error).sum::<f64>() / errors.len() as f64;
    // M / rho = 10,000; 200 samples of a Gaussian have a relative deviation of 0.1.
    assert!((5_000.0..15_000.0).contains(&variance), "variance {variance}");
    assert!((0.04..0.05).contains(&quote.allele_frequency_se()));

    // Every use is in the statement, charged once.
    let keys = &market.biobank.keys;
    let uses = statement(&market.services, &market.network, keys, batch.registration, 7, now_unix_s()).await?;
    assert!(uses.differences.is_empty(), "{:?}", uses.differences);
    assert_eq!(uses.uses.len(), 3);

    // Three answers at 0.01 token a person.
    let state = account_state(&market.services, keys.address()).await?;
    assert_eq!(state.earned.to_string(), "75.12");
    assert_eq!(claim(&market.services, keys.address()).await?.to_string(), "75.12");
    assert_eq!(claim(&market.services, keys.address()).await?.to_string(), "0", "nothing is paid twice");

    // A person leaves: the sealed batch is not sold exactly any more, noisy cohorts have one less.
    revoke(&market.services, &market.network, keys, batch.registration, &[7], now_unix_s()).await?;
    let records = market.biobank.folder.enrolments();
    let network = &market.network;
    let erasure = erase(&market.services, network, keys, batch.registration, &[7], &records, now_unix_s()).await?;
    assert!(erasure.is_unreadable_for_ever());
    assert!(market.buy(&panel, all, Tier::Exact, Rho::ZERO).await.is_err());
    let (_, smaller, _) = market.buy(&panel, first_variants(&panel, 50)?, Tier::Open, rho).await?;
    assert_eq!(smaller.cohort_size(), 2_503);
    Ok(())
}

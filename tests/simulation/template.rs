//! The market that every run begins with, made once and copied.

use anyhow::{Context as _, Result};
use locus_client::{Network, enrol::EnrolInput};
use locus_genomics::Panel;
use locus_intake::{CohortSource, IntakeOptions, read_cohort};
use locus_ledger::{Contracts, RegistrationId};
use locus_privacy::NetworkParameterValues;
use locus_tests::{Market, test_parameters};
use std::{
    fmt::Write as _,
    fs,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};
use tempfile::TempDir;

/// People there are, each with one variant of their own that nobody else carries.
pub(crate) const PEOPLE: u32 = 72;
/// People enrolled at the beginning, by the biobank and by the clinic.
pub(crate) const FIRST: [Range<u32>; 2] = [0..8, 8..14];

/// Privacy rules under which every change of the cohort may be asked about.
fn parameters() -> NetworkParameterValues {
    NetworkParameterValues { cohort_size_min: 1, exact_batch_min: 1, exact_change_min: 1, ..test_parameters() }
}

/// A market with two registrations, at rest.
pub(crate) struct Template {
    dir: TempDir,
    pub(crate) contracts: Contracts,
    pub(crate) network: Network,
    pub(crate) panel: Arc<Panel>,
    pub(crate) registrations: [RegistrationId; 2],
}

impl Template {
    /// Makes it.
    pub(crate) async fn make() -> Result<Self> {
        let market = Market::start_with(parameters()).await?;
        let everybody = market.scratch().join("everybody.vcf");
        write_people(&everybody, 0..PEOPLE)?;
        let source = CohortSource::Vcf(vec![everybody]);
        let (whole, _) = market.read_cohort("everybody", &source, locus_genomics::Assembly::GRCh38)?;
        let panel = whole.panel;
        let [biobank, clinic] = FIRST.map(|people| read_people(market.scratch(), people, &panel));
        let first = market.enrol(&market.biobank, &biobank?).await?.pop().context("a batch")?;
        let second = market.enrol(&market.clinic, &clinic?).await?.pop().context("a batch")?;
        let (contracts, network) = (*market.node.contracts(), market.network.clone());
        let registrations = [first.registration, second.registration];
        let dir = market.stop().await;
        Ok(Self { dir, contracts, network, panel, registrations })
    }

    /// A copy of all its files.
    pub(crate) fn copy(&self) -> Result<TempDir> {
        let copy = tempfile::tempdir()?;
        copy_folder(self.dir.path(), copy.path())?;
        Ok(copy)
    }

    /// Makes a folder of a copy what it was at the beginning.
    pub(crate) fn restore(&self, copy: &Path, folder: &Path) -> Result<()> {
        fs::remove_dir_all(copy.join(folder))?;
        copy_folder(&self.dir.path().join(folder), &copy.join(folder))
    }
}

/// Copies a folder with all that is in it.
pub(crate) fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    fs::set_permissions(to, fs::metadata(from)?.permissions())?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target: PathBuf = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}

/// Genotypes of some people on the panel.
pub(crate) fn read_people(scratch: &Path, people: Range<u32>, panel: &Arc<Panel>) -> Result<EnrolInput> {
    let file = scratch.join(format!("people-{}-{}.vcf", people.start, people.end));
    write_people(&file, people)?;
    let source = CohortSource::Vcf(vec![file]);
    let cohort = read_cohort(&source, panel, &IntakeOptions::default(), scratch, &mut |_| {})?;
    Ok(EnrolInput::of_cohort(panel.clone(), cohort))
}

/// Person i is heterozygous at variant i and nowhere else.
fn write_people(file: &Path, people: Range<u32>) -> Result<()> {
    let mut text = String::from("##fileformat=VCFv4.2\n##contig=<ID=chr1,length=248956422,assembly=GRCh38>\n");
    text.push_str("##FORMAT=<ID=GT,Number=1,Type=String,Description=\"Genotype\">\n");
    text.push_str("#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT");
    for person in people.clone() {
        write!(text, "\tP{person}")?;
    }
    for variant in 0..PEOPLE {
        write!(text, "\nchr1\t{}\t.\tA\tC\t.\tPASS\t.\tGT", 1_000 + 10 * variant)?;
        for person in people.clone() {
            text.push_str(if person == variant { "\t0/1" } else { "\t0/0" });
        }
    }
    text.push('\n');
    Ok(fs::write(file, text)?)
}

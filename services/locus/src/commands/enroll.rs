//! `locus enroll`.

use super::{disclosure::OwnGenome, offers::offer_terms};
use crate::{
    cli::{EnrollArgs, GenotypeArgs},
    context::{Context, now_unix_s},
    error::CommandError,
    progress::Bars,
    proving::encryption_prover,
};
use locus_client::{
    DataFolder, Keystore, Progress,
    enrol::{Contributor, EnrolInput, EnrolOptions, Enrolled, enrol},
    post_offer, publish_panel,
};
use locus_genomics::Panel;
use locus_intake::{Cohort, CohortSource, IntakeOptions, IntakeReport, PlinkFiles, read_cohort};
use serde_json::json;
use std::sync::Arc;

pub(super) async fn run(args: EnrollArgs, context: &Context) -> Result<(), CommandError> {
    let keystore = context.keystore()?;
    let services = context.services()?;
    let network = context.network(&services).await?;
    let panel = Arc::new(context.panel(&args.panel, &services).await?);
    let terms = offer_terms(&args.terms, &panel)?;
    let bars = Bars::new(context.output);
    let cohort = read(&args.genotypes, panel.clone(), context, &bars).await?;
    let report = cohort.report.clone();
    let input = EnrolInput::of_cohort(panel.clone(), cohort);
    let contributor = contributor(&args, &input, &keystore)?;
    bars.clear();
    context.output.note(&report_words(&report));

    // Also when the archive has the panel: an earlier run may have been cut off before the chain had it.
    publish_panel(&services, &panel).await?;
    let bars = Bars::new(context.output);
    let progress: Arc<dyn Progress> = bars.clone();
    let is_person = matches!(contributor, Contributor::Person { .. });
    let prover = if is_person || args.prove {
        Some(encryption_prover(&network, args.proof_keys.as_deref(), &bars).await?)
    } else {
        None
    };
    // What is disclosed can be proven only of a registration that is there.
    let offered = Some(&terms).filter(|_| args.disclose.is_empty()).cloned();
    let options = EnrolOptions { version: args.version, terms: offered, prover };
    let records = context.folder.enrolments();
    let mut enrolled =
        enrol(&services, &network, &keystore, &input, &contributor, &options, &records, now_unix_s(), progress).await?;
    if let (Contributor::Person { individual }, [own], false) =
        (&contributor, &mut enrolled[..], args.disclose.is_empty())
    {
        let genotypes = input.genotypes.person(*individual)?;
        let (services, network, keystore, panel) = (&services, &network, &keystore, &*panel);
        let genome = OwnGenome { services, network, keystore, panel, genotypes };
        let mut terms = terms;
        let proof_keys = args.proof_keys.as_deref();
        genome.disclose_in(own.registration, &mut terms, &args.disclose, proof_keys, &bars).await?;
        let nonce = post_offer(services, network, keystore, own.registration, &terms).await?;
        records.note_offer(&network.id(), own.registration, nonce)?;
        own.offer_nonce = Some(nonce);
    }
    bars.clear();
    print(&enrolled, &report, context)
}

/// Reads the genotypes off the event loop.
pub(super) async fn read(
    args: &GenotypeArgs,
    panel: Arc<Panel>,
    context: &Context,
    bars: &Arc<Bars>,
) -> Result<Cohort, CommandError> {
    let source = if let Some(prefix) = &args.plink {
        CohortSource::Plink(PlinkFiles::of_prefix(prefix))
    } else if let Some(file) = &args.twenty_three {
        CohortSource::TwentyThree(file.clone())
    } else {
        CohortSource::Vcf(args.vcf.clone())
    };
    let options = IntakeOptions {
        assume_hom_ref: args.assume_hom_ref,
        reference: args.reference.clone(),
        assembly: args.assembly,
        pass_only: args.pass_only,
        accept_strand_ambiguous: args.accept_strand_ambiguous,
    };
    let scratch = context.scratch()?;
    let shown = bars.clone();
    let work = move || {
        let mut progress = |at: locus_intake::Progress| shown.show("reading genotypes", at.bytes_read, at.bytes_total);
        read_cohort(&source, &panel, &options, &scratch, &mut progress)
    };
    Ok(tokio::task::spawn_blocking(work).await.map_err(|_| CommandError::Interrupted)??)
}

/// Who enrols: an institution everybody, or a person themselves.
fn contributor(args: &EnrollArgs, input: &EnrolInput, keystore: &Keystore) -> Result<Contributor, CommandError> {
    if args.biobank {
        let keys = match &args.accreditor_key {
            Some(folder) => Keystore::open(&DataFolder::new(folder).keys())?.accreditor()?,
            None => keystore.accreditor()?,
        };
        return Ok(Contributor::Biobank { accreditor: keys });
    }
    Ok(Contributor::Person { individual: own_place(args.sample.as_deref(), input)? })
}

/// Which individual of a file a person is.
pub(super) fn own_place(sample: Option<&str>, input: &EnrolInput) -> Result<u32, CommandError> {
    Ok(match (sample, input.samples.as_slice()) {
        (Some(name), _) => {
            let unknown = || CommandError::Usage(format!("the file has no individual called {name}"));
            input.position(name).ok_or_else(unknown)?
        }
        (None, [_] | []) => 0,
        (None, several) => {
            let count = several.len();
            return Err(CommandError::Usage(format!(
                "the file has {count} individuals: say which one you are with --sample, or enrol all of them as an \
                 institution with --biobank"
            )));
        }
    })
}

/// What was read, refused and why, for people.
pub(crate) fn report_words(report: &IntakeReport) -> String {
    let mut text = format!(
        "read {} people on panel {} ({}):\n  {:>9} of {} variants found",
        report.samples, report.panel, report.assembly, report.variants_matched, report.panel_variants
    );
    let mut line = |count: u64, what: &str| {
        if count > 0 {
            text += &format!("\n  {count:>9} {what}");
        }
    };
    line(report.variants_covered, "covered by reference blocks");
    line(report.variants_refused, "refused in every file, so missing");
    let absent = if report.absent_taken_as_reference {
        "not mentioned, taken as homozygous reference as you asked"
    } else {
        "not mentioned, so missing"
    };
    line(report.variants_absent, absent);
    line(report.missing_calls, "calls missing in all");
    for file in &report.files {
        let mut part = |count: u64, what: &str| {
            if count > 0 {
                text += &format!("\n  {count:>9} records of {}: {what}", file.file);
            }
        };
        part(file.swapped, "alleles in the other order, exchanged");
        part(file.repeated, "repeated with the same genotypes, left out");
        for (reason, refusals) in &file.refused {
            let example = refusals.examples.first().map_or("", String::as_str);
            part(refusals.count, &format!("refused, {reason} (such as {example})"));
        }
    }
    text
}

fn print(enrolled: &[Enrolled], report: &IntakeReport, context: &Context) -> Result<(), CommandError> {
    let registrations: Vec<_> = enrolled
        .iter()
        .map(|batch| {
            json!({
                "registration": batch.registration.0,
                "first_slot": batch.first_slot,
                "dataset_count": batch.datasets.len(),
                "offer_nonce": batch.offer_nonce,
                "resumed": batch.resumed,
            })
        })
        .collect();
    let value = json!({ "report": report, "registrations": registrations });
    context.output.result(&value, || {
        let line = |batch: &Enrolled| {
            let (number, people) = (batch.registration.0, batch.datasets.len());
            let before = if batch.resumed { " (it was on the chain already)" } else { "" };
            format!("registration {number}: {people} datasets are on offer{before}\n")
        };
        enrolled.iter().map(line).collect()
    })
}

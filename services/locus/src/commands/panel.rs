//! `locus panel`.

use crate::{
    cli::{PanelBuildArgs, PanelCommand},
    context::{Context, read_panel, write_in_one_step},
    error::CommandError,
    progress::Bars,
};
use locus_client::{list_panels, publish_panel};
use locus_genomics::Panel;
use locus_intake::{CohortSource, CompleteCalls, PanelReport, PanelRequest, PanelSource, PlinkFiles, build_panel};
use serde_json::{Value, json};
use std::path::Path;

pub(super) async fn run(command: PanelCommand, context: &Context) -> Result<(), CommandError> {
    match command {
        PanelCommand::Build(args) => build(args, context).await,
        PanelCommand::Show { panel, variants } => show(&panel, variants, context).await,
        PanelCommand::Publish { panel } => publish(&panel, context).await,
        PanelCommand::List => list(context).await,
        PanelCommand::Fetch { panel, out } => fetch(&panel, &out, context).await,
    }
}

async fn build(args: PanelBuildArgs, context: &Context) -> Result<(), CommandError> {
    let source = match (args.sites, args.plink) {
        (Some(sites), _) => PanelSource::Sites(sites),
        (None, Some(prefix)) => PanelSource::Cohort(CohortSource::Plink(PlinkFiles::of_prefix(&prefix))),
        (None, None) => PanelSource::Cohort(CohortSource::Vcf(args.vcf)),
    };
    let request = PanelRequest {
        name: args.name,
        assembly: args.assembly,
        complete_calls: args.complete_calls.map_or(CompleteCalls::Detect, CompleteCalls::Declared),
        reference: args.reference,
    };
    let scratch = context.scratch()?;
    let bars = Bars::new(context.output);
    let shown = bars.clone();
    let work = move || {
        let mut progress = |at: locus_intake::Progress| shown.show("reading variants", at.bytes_read, at.bytes_total);
        build_panel(&source, &request, &scratch, &mut progress)
    };
    let (panel, report) = tokio::task::spawn_blocking(work).await.map_err(|_| CommandError::Interrupted)??;
    bars.clear();
    write_in_one_step(&args.out, &panel.to_canonical_bytes())?;
    let mut value = describe(&panel);
    value["file"] = json!(args.out);
    value["report"] = json!(report);
    context
        .output
        .result(&value, || words(&panel) + &report_words(&report) + &format!("file       {}\n", args.out.display()))
}

fn report_words(report: &PanelReport) -> String {
    let mut text = String::new();
    if report.repeated > 0 {
        text += &format!("repeated   {} sites were there twice\n", report.repeated);
    }
    for file in &report.files {
        for (reason, refusals) in &file.refused {
            let example = refusals.examples.first().map_or("", String::as_str);
            text += &format!("left out   {} of {}: {reason} (such as {example})\n", refusals.count, file.file);
        }
    }
    text
}

/// A panel file is described without any service.
async fn show(panel: &str, with_variants: bool, context: &Context) -> Result<(), CommandError> {
    let panel = if Path::new(panel).is_file() {
        read_panel(Path::new(panel))?
    } else {
        context.panel(panel, &context.services()?).await?
    };
    let mut value = describe(&panel);
    if with_variants {
        value["variants"] = panel.variants().map(|variant| variant.to_string()).collect();
    }
    context.output.result(&value, || {
        let mut text = words(&panel);
        if with_variants {
            panel.variants().for_each(|variant| text += &format!("{variant}\n"));
        }
        text
    })
}

async fn publish(panel: &str, context: &Context) -> Result<(), CommandError> {
    let services = context.services()?;
    context.network(&services).await?;
    let panel = context.panel(panel, &services).await?;
    publish_panel(&services, &panel).await?;
    context.output.result(&describe(&panel), || format!("panel {} is published as {}\n", panel.name(), panel.digest()))
}

async fn list(context: &Context) -> Result<(), CommandError> {
    let services = context.services()?;
    let panels = list_panels(&services).await?;
    let entry = |panel: &locus_client::ListedPanel| {
        json!({
            "name": panel.name,
            "digest": panel.digest.to_string(),
            "assembly": panel.assembly.to_string(),
            "variant_count": panel.variant_count,
            "complete_calls": panel.complete_calls,
        })
    };
    let value: Value = panels.iter().map(entry).collect();
    context.output.result(&value, || {
        if panels.is_empty() {
            return "no panels are published yet\n".to_owned();
        }
        let line = |panel: &locus_client::ListedPanel| {
            format!(
                "{}  {:<8} {:>9} variants  {}\n",
                panel.digest,
                panel.assembly.to_string(),
                panel.variant_count,
                panel.name
            )
        };
        panels.iter().map(line).collect()
    })
}

async fn fetch(panel: &str, out: &Path, context: &Context) -> Result<(), CommandError> {
    let panel = context.panel(panel, &context.services()?).await?;
    write_in_one_step(out, &panel.to_canonical_bytes())?;
    let mut value = describe(&panel);
    value["file"] = json!(out);
    context.output.result(&value, || words(&panel) + &format!("file       {}\n", out.display()))
}

fn describe(panel: &Panel) -> Value {
    json!({
        "name": panel.name(),
        "digest": panel.digest().to_string(),
        "assembly": panel.assembly().to_string(),
        "variant_count": panel.variant_count(),
        "block_count": panel.block_count(),
        "complete_calls": panel.complete_calls(),
    })
}

fn words(panel: &Panel) -> String {
    let calls = if panel.complete_calls() { "every dataset has a call everywhere" } else { "calls may be missing" };
    format!(
        "panel      {}\nassembly   {}\nvariants   {} in {} blocks\ncalls      {calls}\ndigest     {}\n",
        panel.name(),
        panel.assembly(),
        panel.variant_count(),
        panel.block_count(),
        panel.digest(),
    )
}

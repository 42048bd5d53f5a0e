//! `locus attributes`.

use crate::{
    cli::{AttributeFormatArg, AttributesAddArgs, AttributesCommand},
    context::{Context, now_unix_s, parse_digest, write_in_one_step},
    error::CommandError,
    progress::Bars,
};
use locus_client::{
    Keystore, Network, Services,
    enrol::{AttributeInput, AttributesAdded, EnrolmentRecord, add_attributes},
    research::{ListedSchema, get_schema, list_schemas},
};
use locus_intake::{AttributeIntake, AttributeMapping, AttributeReport, AttributeSource, read_attributes};
use locus_ledger::RegistrationId;
use locus_phenotype::{Attribute, AttributeKind, AttributeSchema, SchemaDigest};
use serde_json::{Value, json};
use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

/// Largest schema or mapping document.
const DOCUMENT_BYTES_MAX: u64 = 1 << 20;
/// How much of a JSON file is read to see what it is.
const PEEK_BYTES: u64 = 64 << 10;

pub(super) async fn run(command: AttributesCommand, context: &Context) -> Result<(), CommandError> {
    match command {
        AttributesCommand::Add(args) => add(args, context).await,
        AttributesCommand::Schemas => schemas(context).await,
        AttributesCommand::Schema { schema, out } => show(&schema, out.as_deref(), context).await,
    }
}

async fn add(args: AttributesAddArgs, context: &Context) -> Result<(), CommandError> {
    let keystore = context.keystore()?;
    let services = context.services()?;
    let network = context.network(&services).await?;
    let schema = read_schema(&args.schema, &services).await?;
    let source = source_of(&args)?;
    let mapping = match &args.mapping {
        Some(path) => AttributeMapping::parse_json(path, &read_text(path)?)?,
        None => AttributeMapping::default(),
    };
    let of_schema = schema.clone();
    let intake = tokio::task::spawn_blocking(move || read_attributes(&source, &of_schema, &mapping));
    let intake: AttributeIntake = intake.await.map_err(|_| CommandError::Interrupted)??;
    let report = intake.report.clone();
    context.output.note(&report_words(&report));
    let input = AttributeInput::of_intake(schema, intake);
    let registrations = registrations_of(&args, &input, &keystore, &network, context)?;
    let records = context.folder.enrolments();
    let mut added = Vec::with_capacity(registrations.len());
    for registration in registrations {
        let bars = Bars::new(context.output);
        let now = now_unix_s();
        let progress = bars.clone();
        added
            .push(add_attributes(&services, &network, &keystore, &records, registration, &input, now, progress).await?);
        bars.clear();
    }
    print(&added, &report, &input, context)
}

/// The registration that is named, or all of this folder's that have one of these people.
fn registrations_of(
    args: &AttributesAddArgs,
    input: &AttributeInput,
    keystore: &Keystore,
    network: &Network,
    context: &Context,
) -> Result<Vec<RegistrationId>, CommandError> {
    if let Some(registration) = args.registration {
        return Ok(vec![RegistrationId(registration)]);
    }
    let records = context.folder.enrolments().load()?;
    let own = keystore.address().to_string();
    let is_meant = |record: &&EnrolmentRecord| {
        record.registrant == own && record.is_of(&network.id()) && input.matched(record) > 0
    };
    let registrations = records.iter().filter(is_meant).filter_map(|record| record.registration_id);
    let registrations: Vec<RegistrationId> = registrations.map(RegistrationId).collect();
    if registrations.is_empty() {
        let text = "nobody in the source was enrolled from this folder: people must have the names that they had in the \
                    genotype file, see `locus export`";
        return Err(CommandError::Usage(text.to_owned()));
    }
    Ok(registrations)
}

fn source_of(args: &AttributesAddArgs) -> Result<AttributeSource, CommandError> {
    let Some(first) = args.from.first() else {
        return Err(CommandError::Usage("name a source with --from".to_owned()));
    };
    let format = args.format.map_or_else(|| format_of(first), Ok)?;
    match (format, args.from.as_slice()) {
        (AttributeFormatArg::Table, [table]) => Ok(AttributeSource::Table(table.clone())),
        (AttributeFormatArg::Table, _) => {
            Err(CommandError::Usage("a table is one file: put the columns of several into one".to_owned()))
        }
        (AttributeFormatArg::Phenopackets, files) => Ok(AttributeSource::Phenopackets(files.to_vec())),
        (AttributeFormatArg::Fhir, files) => Ok(AttributeSource::Fhir(files.to_vec())),
    }
}

/// The format that a file's name, or for JSON its content, tells.
fn format_of(path: &Path) -> Result<AttributeFormatArg, CommandError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let plain = [".gz", ".bgz", ".zst"].iter().find_map(|ending| name.strip_suffix(ending));
    let is_compressed = plain.is_some();
    let ending = plain.unwrap_or(&name).rsplit_once('.').map_or("", |(_, ending)| ending);
    match ending {
        "tsv" | "txt" | "tab" => Ok(AttributeFormatArg::Table),
        "pb" | "phenopacket" => Ok(AttributeFormatArg::Phenopackets),
        "json" if !is_compressed => {
            let mut head = Vec::new();
            let file = fs::File::open(path).map_err(CommandError::file(path))?;
            file.take(PEEK_BYTES).read_to_end(&mut head).map_err(CommandError::file(path))?;
            let is_fhir = String::from_utf8_lossy(&head).contains("\"resourceType\"");
            Ok(if is_fhir { AttributeFormatArg::Fhir } else { AttributeFormatArg::Phenopackets })
        }
        _ => {
            let path = path.display();
            let text = format!("{path} does not tell its format: say --format table, phenopackets or fhir");
            Err(CommandError::Usage(text))
        }
    }
}

/// A schema by file, or by digest from the archive.
pub(super) async fn read_schema(text: &str, services: &Services) -> Result<AttributeSchema, CommandError> {
    let path = Path::new(text);
    if path.is_file() {
        return parse_schema(path);
    }
    let Some(digest) = parse_digest(text) else {
        let reason = "is neither a schema document nor the digest of a schema: see `locus attributes schemas`";
        return Err(CommandError::Usage(format!("{text} {reason}")));
    };
    Ok(get_schema(services, SchemaDigest(digest)).await?)
}

fn parse_schema(path: &Path) -> Result<AttributeSchema, CommandError> {
    let refused = |source| CommandError::SchemaFile { path: path.to_path_buf(), source };
    AttributeSchema::parse_json(&read_text(path)?).map_err(refused)
}

fn read_text(path: &Path) -> Result<String, CommandError> {
    let bytes = fs::metadata(path).map_err(CommandError::file(path))?.len();
    if bytes > DOCUMENT_BYTES_MAX {
        let path = path.display();
        let text = format!("{path} has {bytes} bytes, a schema or mapping has at most {DOCUMENT_BYTES_MAX}");
        return Err(CommandError::Usage(text));
    }
    fs::read_to_string(path).map_err(CommandError::file(path))
}

/// What was read, left out and why, for people. Names attributes and codes, and no person.
pub(crate) fn report_words(report: &AttributeReport) -> String {
    let mut text = format!("read attributes of {} people:\n  {:>9} statements used", report.people, report.used);
    for (reason, dropped) in &report.dropped {
        let example = dropped.examples.first().map_or("", String::as_str);
        text += &format!("\n  {:>9} not used: {reason} (such as {example})", dropped.count);
    }
    for (attribute, known) in &report.known {
        text += &format!("\n  {known:>9} known: {attribute}");
    }
    text
}

fn print(
    added: &[AttributesAdded],
    report: &AttributeReport,
    input: &AttributeInput,
    context: &Context,
) -> Result<(), CommandError> {
    let entry = |added: &AttributesAdded| {
        json!({
            "registration": added.registration.0,
            "revision": added.revision,
            "dataset_count": added.dataset_count,
            "matched": added.matched,
        })
    };
    let schema = input.schema().digest().0.to_string();
    let registrations: Vec<Value> = added.iter().map(entry).collect();
    let value = json!({ "report": report, "schema": schema, "registrations": registrations });
    context.output.result(&value, || {
        let line = |added: &AttributesAdded| {
            let (number, count, matched) = (added.registration.0, added.dataset_count, added.matched);
            format!("registration {number}: filters may ask about {count} datasets, {matched} of them in the source\n")
        };
        let mut text: String = added.iter().map(line).collect();
        let found: usize = added.iter().map(|added| added.matched).sum();
        if found < input.people() {
            let missing = input.people() - found;
            text += &format!("{missing} people of the source are in none of these registrations\n");
        }
        text
    })
}

async fn schemas(context: &Context) -> Result<(), CommandError> {
    let schemas = list_schemas(&context.services()?).await?;
    let entry = |schema: &ListedSchema| {
        json!({
            "digest": schema.digest.0.to_string(),
            "name": schema.name,
            "version": schema.version,
            "registrations": schema.registrations,
        })
    };
    let value: Value = schemas.iter().map(entry).collect();
    context.output.result(&value, || {
        if schemas.is_empty() {
            return "nobody has attributes yet\n".to_owned();
        }
        let line = |schema: &ListedSchema| {
            let registrations: Vec<String> = schema.registrations.iter().map(ToString::to_string).collect();
            let (name, version) = (&schema.name, &schema.version);
            format!("{}  {name} {version}  registrations {}\n", schema.digest.0, registrations.join(", "))
        };
        schemas.iter().map(line).collect()
    })
}

async fn show(text: &str, out: Option<&Path>, context: &Context) -> Result<(), CommandError> {
    let path: PathBuf = text.into();
    let schema = if path.is_file() { parse_schema(&path)? } else { read_schema(text, &context.services()?).await? };
    let document = schema.to_json();
    if let Some(out) = out {
        write_in_one_step(out, document.as_bytes())?;
    }
    let value = json!({
        "digest": schema.digest().0.to_string(),
        "name": schema.name(),
        "version": schema.version(),
        "attribute_count": schema.attribute_count(),
        "bit_count": schema.bit_count(),
        "document": serde_json::from_str::<Value>(&document).unwrap_or(Value::Null),
        "file": out,
    });
    context.output.result(&value, || words(&schema, out))
}

fn words(schema: &AttributeSchema, out: Option<&Path>) -> String {
    let mut text = format!(
        "schema      {} {}\ndigest      {}\nattributes  {}, {} bits\n",
        schema.name(),
        schema.version(),
        schema.digest().0,
        schema.attribute_count(),
        schema.bit_count()
    );
    for (_, attribute) in schema.attributes() {
        text += &format!("  {:<24} {}\n", attribute.key.to_string(), values_of(attribute));
    }
    if let Some(out) = out {
        text += &format!("file        {}\n", out.display());
    }
    text
}

/// What values an attribute has, in words.
fn values_of(attribute: &Attribute) -> String {
    let in_unit = |unit: &str| if unit.is_empty() { String::new() } else { format!(" {unit}") };
    match &attribute.kind {
        AttributeKind::Category { values } => values.join(", "),
        AttributeKind::Flag => "no, yes".to_owned(),
        AttributeKind::Bands { edges, unit, .. } => {
            let edges: Vec<String> = edges.iter().map(ToString::to_string).collect();
            format!("bands from {}{}", edges.join(", "), in_unit(unit))
        }
        AttributeKind::Quantity { origin, step, bits, has_squares, unit, .. } => {
            let squares = if *has_squares { ", with squares" } else { "" };
            let steps = (1u32 << bits) - 1;
            format!("number from {origin}{} in {steps} steps of {step}, for --trait{squares}", in_unit(unit))
        }
    }
}

//! Somebody gets hold of everything that a market has written or logged: data folders, objects, logs
//! of every level, error texts. The test is alone in its process, because it listens to all logs.

use anyhow::{Context as _, Result, ensure};
use locus_client::{claim, enrol::EnrolInput, erase, publish_panel, revoke, statement};
use locus_genomics::{Genotype, PanelBlockIndex};
use locus_phenotype::Predicate;
use locus_privacy::{Rho, Tier};
use locus_sharing::{DatasetSecrets, ShareIndex};
use locus_tests::{
    AttributeUpload, Bought, Finding, Market, Needle, People, Scanner, Upload, about, ask, biomedical, files_below,
    filter_of, first_variants, made_up_attributes, made_up_bmi, made_up_input, made_up_schema, noise_keys, now_unix_s,
    question_of, small_floors, wrapping_key,
};
use prost::Message as _;
use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};
use tracing_subscriber::{fmt::MakeWriter, prelude::*};

/// Bytes of packed genotypes that are looked for at once: 128 genotypes.
const WINDOW: usize = 32;
/// Counts that are looked for at once.
const COUNTS: usize = 12;
/// People enrolled.
const PEOPLE: u32 = 60;
/// Who is asked about.
const SELECTED: &str = "(sex = 'F' or HP:0000819) and age >= 40";

/// Everything that was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Log {
    /// Keeps every event of every level from now on, of this and all other crates.
    fn listen() -> Result<Self> {
        let log = Self::default();
        let layer = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(log.clone());
        tracing_subscriber::registry().with(layer).try_init()?;
        Ok(log)
    }

    fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A market's life, and what must stay secret about it.
struct Life {
    market: Market,
    people: People,
    input: EnrolInput,
    secrets: Vec<DatasetSecrets>,
    answers: Vec<Bought>,
    /// What was sent to give the people attributes.
    attributes_sent: Vec<u8>,
    /// Every error text that somebody was shown.
    errors: Vec<String>,
}

/// Enrols, asks in both kinds of tier, settles, claims, states, revokes and erases, with refusals.
async fn live() -> Result<Life> {
    let market = Market::start_with(small_floors()).await?;
    let people = People { missing: true, ..People::new(PEOPLE, 1_000, 97) };
    let input = market.read_people("everyone", &people)?;
    publish_panel(&market.services, &input.panel).await?;
    let keys = &market.biobank.keys;
    let upload = Upload::of_institution(&market, &market.biobank, &input).await?;
    let secrets = |ordinal| upload.secrets(&market, &market.biobank, &input, ordinal);
    let secrets = (0..PEOPLE).map(secrets).collect::<Result<Vec<_>>>()?;
    let mut errors = Vec::new();
    let mut refused = upload.clone();
    refused.bodies.values_mut().for_each(|column| column.swap(0, 1));
    refused.declare_bodies(&market, &market.biobank)?;
    errors.push(format!("{:?}", refused.send(&market).await.err().context("swapped bodies are refused")?));
    let batch = market.enrol(&market.biobank, &input).await?.pop().context("a batch")?;
    let attributes = made_up_input(&people)?;
    let sent = AttributeUpload::of(&market, &market.biobank, batch.registration, &attributes).await?;
    let mut attributes_sent = sent.header.encode_to_vec();
    sent.chunks.iter().for_each(|chunk| attributes_sent.extend(chunk.encode_to_vec()));
    market.add_attributes(&market.biobank, batch.registration, &attributes).await?;

    let (researcher, one): (_, locus_ledger::Amount) = (&market.researcher, "1".parse()?);
    let open = biomedical(first_variants(&input.panel, 300)?, Tier::Open, "0.01".parse()?);
    let exact = biomedical(first_variants(&input.panel, 1_000)?, Tier::Exact, Rho::ZERO);
    let filter = filter_of(&[SELECTED], &made_up_schema()?)?;
    let selected = about(filter, first_variants(&input.panel, 100)?, Tier::Exact, Rho::ZERO);
    let mut answers = Vec::new();
    for question in [&open, &exact, &selected] {
        answers.push(market.buy_as(researcher, &input.panel, question, one).await?);
    }
    let placed = market.place(researcher, &exact, "0.1".parse()?).await?;
    let refused = ask(&market.services.query, &placed, researcher, &question_of(researcher, &placed)).await;
    errors.push(format!("{:?}", refused.err().context("too little money is refused")?));
    statement(&market.services, &market.network, keys, batch.registration, 4, now_unix_s()).await?;
    claim(&market.services, keys.address()).await?;
    revoke(&market.services, &market.network, keys, batch.registration, &[4], now_unix_s()).await?;
    let records = market.biobank.folder.enrolments();
    let now = now_unix_s();
    erase(&market.services, &market.network, keys, batch.registration, &[4], &records, now).await?;
    let placed = market.place(researcher, &exact, one).await?;
    let refused = ask(&market.services.query, &placed, researcher, &question_of(researcher, &placed)).await;
    errors.push(format!("{:?}", refused.err().context("a batch that lost one is refused")?));
    Ok(Life { market, people, input, secrets, answers, attributes_sent, errors })
}

/// Everybody's attributes, bit by bit, who is selected, and a quantity.
fn attribute_needles() -> Result<Vec<Needle>> {
    let schema = made_up_schema()?;
    let people: Vec<_> = (0..PEOPLE).map(|number| made_up_attributes(number, &schema)).collect::<Result<_>>()?;
    let rows: Vec<_> = people.iter().map(|person| person.to_bits(&schema)).collect();
    let predicate = Predicate::parse(SELECTED, &schema)?;
    let mut columns: Vec<(String, Vec<u64>)> = (0..rows[0].len())
        .map(|bit| (format!("attribute bit {bit}"), rows.iter().map(|row| row[bit]).collect()))
        .collect();
    columns.push(("selection".into(), people.iter().map(|person| u64::from(predicate.selects(person))).collect()));
    // Bits that are the same for everybody say nothing.
    columns.retain(|(_, column)| column.contains(&0) && column.contains(&1));
    ensure!(columns.len() > 12, "{} columns are looked for", columns.len());
    let mut needles = Vec::new();
    for (name, column) in columns {
        let bytes = column.iter().map(|bit| u8::try_from(*bit)).collect::<Result<Vec<_>, _>>()?;
        needles.push(Needle::bytes(&name, &bytes));
        needles.push(Needle::counts(&name, &column.iter().map(|bit| i64::from(*bit != 0)).collect::<Vec<_>>()));
    }
    // In half units from ten on, as the schema has it, and as people write it.
    let steps: Vec<u32> = (0..PEOPLE).map(|number| 10 + number * 5 % 31).collect();
    ensure!(steps.iter().zip(0..).all(|(step, number)| 10.0 + 0.5 * f64::from(*step) == made_up_bmi(number)));
    let steps: Vec<i64> = steps.into_iter().map(i64::from).collect();
    let written: Vec<String> = (0..PEOPLE).map(|number| made_up_bmi(number).to_string()).collect();
    for start in (0..steps.len() - COUNTS).step_by(COUNTS / 2) {
        needles.push(Needle::counts("quantity", &steps[start..start + COUNTS]));
        needles.push(Needle::bytes("quantity", written[start..start + COUNTS].join(", ").as_bytes()));
    }
    Ok(needles)
}

fn needles(life: &Life) -> Result<Vec<Needle>> {
    let master = life.market.biobank.keys.master().as_bytes();
    let mut needles = vec![Needle::bytes("master secret", master)];
    for (ordinal, secrets) in life.secrets.iter().enumerate() {
        for share in ShareIndex::ALL {
            let seed = secrets.seeds.of(share).as_bytes();
            needles.push(Needle::bytes(format!("root seed {share} of dataset {ordinal}"), seed));
        }
        let noise = secrets.encryption_noise_seed.as_bytes();
        needles.push(Needle::bytes(format!("noise seed of dataset {ordinal}"), noise));
        let ordinal = u32::try_from(ordinal)?;
        let packed = life.input.genotypes.person(ordinal)?;
        for (place, window) in packed.as_bytes().chunks_exact(WINDOW).enumerate() {
            needles.push(Needle::bytes(format!("genotypes {place} of person {ordinal}"), window));
        }
        let strip = life.input.genotypes.read_strip(PanelBlockIndex(0), ordinal - ordinal % 4..ordinal + 1)?;
        ensure!(strip.person(ordinal).is_some_and(|block| block.starts_with(&packed.as_bytes()[..WINDOW])));
    }
    for (place, bought) in life.answers.iter().enumerate() {
        for (kind, count) in [("het", true), ("hom_alt", false)] {
            let rows = bought.opened.selections().iter().flat_map(|counts| &counts.rows).chain(bought.opened.rows());
            let counts: Vec<i64> = rows.map(|row| if count { row.het } else { row.hom_alt }).collect();
            for window in counts.chunks_exact(COUNTS).step_by(5) {
                needles.push(Needle::counts(format!("{kind} counts of answer {place}"), window));
            }
        }
    }
    // True counts must not be anywhere either, whatever was asked.
    let truth: Vec<i64> = (0..1_000).map(|variant| life.people.count(variant, Genotype::Missing)).collect();
    for window in truth.chunks_exact(COUNTS).step_by(5) {
        needles.push(Needle::counts("missing counts", window));
    }
    needles.extend(attribute_needles()?);
    for folder in life.market.node.keyholder_folders() {
        needles.push(Needle::bytes("wrapping key", &wrapping_key(folder)?));
    }
    Ok(needles)
}

/// Scans every file below the scratch folder of a market, except those that own secrets.
fn scan_files(scanner: &Scanner, root: &Path, owners: &[PathBuf]) -> Result<(BTreeSet<Finding>, u64)> {
    let mut findings = BTreeSet::new();
    let mut scanned = 0;
    for path in files_below(root)?.into_iter().filter(|path| !owners.iter().any(|owner| path.starts_with(owner))) {
        let bytes = fs::read(&path)?;
        scanned += bytes.len() as u64;
        findings.extend(scanner.scan(&path.display().to_string(), &bytes));
    }
    Ok((findings, scanned))
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_and_no_count_is_in_any_file_log_or_error() -> Result<()> {
    let log = Log::listen()?;
    let life = live().await?;
    let mut needles = needles(&life)?;
    let Life { market, attributes_sent, errors, .. } = life;
    let folders = market.node.keyholder_folders().clone();
    let root = market.scratch().to_path_buf();
    let owners = [market.biobank.keys.folder(), market.clinic.keys.folder(), market.researcher.keys.folder()];
    let mut owners: Vec<PathBuf> = owners.map(Path::to_path_buf).into();
    let dir = market.stop().await;
    for folder in &folders {
        for key in noise_keys(folder)?.into_values() {
            needles.push(Needle::bytes("noise key", &key));
        }
        owners.extend(files_below(folder)?.into_iter().filter(|path| path.to_string_lossy().contains("wrapping-key.")));
    }

    let scanner = Scanner::new(&needles)?;
    let (findings, scanned) = scan_files(&scanner, &root, &owners)?;
    assert_eq!(findings, BTreeSet::new(), "in files");
    assert!(scanned > 1 << 20, "{scanned} bytes were looked through");
    let logged = log.bytes();
    assert_eq!(scanner.scan("log", &logged), BTreeSet::new());
    for level in ["TRACE", "DEBUG", " INFO"] {
        assert!(logged.windows(5).any(|word| word == level.as_bytes()), "nothing was logged at {level}");
    }
    assert_eq!(scanner.scan("errors", errors.join("\n").as_bytes()), BTreeSet::new());
    assert_eq!(errors.len(), 3);
    assert_eq!(scanner.scan("messages", &attributes_sent), BTreeSet::new());
    assert!(attributes_sent.len() > PEOPLE as usize * 8 * 16, "every keyholder was sent shares");

    // Controls: each kind is found where it does lie, and where somebody lets it slip.
    let own = scan_files(&scanner, &root, &[])?.0;
    assert!(own.iter().any(|finding| finding.needle == "master secret"), "the keystore holds it: {own:?}");
    assert!(own.iter().any(|finding| finding.needle == "wrapping key"));
    let before = log.bytes().len();
    let careless: Vec<i64> = (0..PEOPLE).map(|number| i64::from(number % 3 == 1 && number % 11 != 3)).collect();
    assert!(!scanner.scan("vector", format!("{careless:?}").as_bytes()).is_empty(), "who has the diagnosis");
    tracing::trace!(seed = ?planted(&needles, "root seed"), "a careless line");
    tracing::debug!("counts {:?}", "7, 1, 8, 2, 8, 1, 8, 2, 8, 4, 5, 9");
    let slipped = scanner.scan("log", &log.bytes()[before..]);
    assert_eq!(slipped.len(), 1, "{slipped:?}");
    let mut more = needles.clone();
    more.push(Needle::counts("planted counts", &[7, 1, 8, 2, 8, 1, 8, 2, 8, 4, 5, 9]));
    assert_eq!(Scanner::new(&more)?.scan("log", &log.bytes()[before..]).len(), 2);
    drop(dir);
    Ok(())
}

/// The bytes of the first needle whose name begins so, as a careless `Debug` would show them.
fn planted(needles: &[Needle], name: &str) -> Vec<u8> {
    needles
        .iter()
        .find(|needle| needle.name.starts_with(name))
        .map(|needle| needle.secret().to_vec())
        .unwrap_or_default()
}

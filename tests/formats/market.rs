//! A whole market as version 1 left it: the chain's journal, the object store, the databases, keys and books of every
//! service, and the folders of a biobank and a researcher.

use anyhow::{Context as _, Result, ensure};
use locus_client::{Network, account_state, claim, erase, research, statement};
use locus_genomics::{Genotype, Panel, VariantIndex, VariantSelection};
use locus_ledger::{OrderId, RegistrationId};
use locus_privacy::{NetworkParameterValues, Rho, Tier};
use locus_tests::{
    Bought, Market, People, about, biomedical, files_below, filter_of, made_up_input, made_up_schema, now_unix_s,
    terms, test_parameters,
};
use std::{fs, io::Write as _, ops::Range, path::Path};

pub(crate) const FILE: &str = "market.zst";
/// Second in which the offer of version 1 ends: 2100-01-01.
const EXPIRY_UNIX_S: u64 = 4_102_444_800;
const REGISTRATION: RegistrationId = RegistrationId(1);
/// What was asked in version 1, and what is asked now.
const ASKED: Range<u32> = 0..10;
const ASKED_NOW: Range<u32> = 10..20;
const WOMEN: &str = "sex = 'F'";

fn people() -> People {
    People::new(2, 20, 1)
}

fn parameters() -> NetworkParameterValues {
    NetworkParameterValues { cohort_size_min: 1, exact_batch_min: 1, exact_change_min: 1, ..test_parameters() }
}

fn selection(panel: &Panel, variants: Range<u32>) -> Result<VariantSelection> {
    Ok(VariantSelection::from_indices(panel, variants.map(VariantIndex))?)
}

/// Enrols two people with attributes, sells one answer, and packs everything that is left when all services have stopped.
pub(crate) async fn make() -> Result<Vec<u8>> {
    let market = Market::start_with(parameters()).await?;
    for party in [&market.biobank, &market.researcher] {
        Network::fetch_pinned(&market.services, &party.folder.network_file()).await?;
    }
    let input = market.read_people("v1", &people())?;
    let mut terms = terms(&input.panel)?;
    terms.expiry_unix_s = EXPIRY_UNIX_S;
    market.enrol_on_terms(&market.biobank, &input, terms).await?;
    market.add_attributes(&market.biobank, REGISTRATION, &made_up_input(&people())?).await?;
    let question = biomedical(selection(&input.panel, ASKED)?, Tier::Exact, Rho::ZERO);
    let price = market.quote(&input.panel, &market.researcher, &question).await?.price;
    let bought = market.buy_as(&market.researcher, &input.panel, &question, price).await?;
    let file = market.researcher.folder.answer_file(bought.placed.order_id);
    research::save_record(&bought.record, &file)?;
    fs::write(market.scratch().join("v1.panel"), input.panel.to_canonical_bytes())?;
    pack(market.stop().await.path())
}

/// Starts the market again, and does with it whatever anybody does.
pub(crate) async fn goes_on(file: &Path) -> Result<()> {
    let dir = tempfile::tempdir()?;
    unpack(&fs::read(file)?, dir.path())?;
    let panel = Panel::from_canonical_bytes(&fs::read(dir.path().join("v1.panel"))?)?;
    let market = Market::resume(dir, parameters()).await.context("the market does not start")?;
    for party in [&market.biobank, &market.researcher] {
        Network::fetch_pinned(&market.services, &party.folder.network_file()).await.context("the pinned market")?;
    }
    the_old_answer_is_read(&market, &panel).await.context("the answer that was sold")?;
    new_answers_are_right(&market, &panel).await.context("a new answer from old ciphertexts and keys")?;
    books_and_money_go_on(&market).await.context("books and earnings")?;
    let (services, network, keys) = (&market.services, &market.network, &market.biobank.keys);
    let records = market.biobank.folder.enrolments();
    let erased =
        erase(services, network, keys, REGISTRATION, &[1], &records, now_unix_s()).await.context("an erasure")?;
    ensure!(erased.is_complete(), "keyholders gave receipts: {:?}", erased.keyholders);
    Ok(())
}

/// The researcher's file opens, and the market gives the same answer again.
async fn the_old_answer_is_read(market: &Market, panel: &Panel) -> Result<()> {
    let party = &market.researcher;
    let order = old_order(market)?;
    let placed = research::load_order(&party.folder.orders(), order, panel, &market.network)?;
    let record = research::load_record(&party.folder.answer_file(order))?;
    let (verified, opened) = research::open_answer(&record, panel, &market.network, party.keys.sealing_key())?;
    let kept = Bought { placed: placed.clone(), record, verified, opened };
    check_counts(&kept, ASKED)?;
    let again = market.collect(party, panel, placed).await?;
    ensure!(again.content() == kept.content(), "the market gives another answer");
    Ok(())
}

/// The one order that the researcher placed in version 1.
fn old_order(market: &Market) -> Result<OrderId> {
    let files = files_below(&market.researcher.folder.orders())?;
    let file = files.first().context("an order")?;
    Ok(OrderId(research::load_record(file)?.order_id.as_ref().try_into().map(locus_commitment::Digest32)?))
}

fn check_counts(bought: &Bought, variants: Range<u32>) -> Result<()> {
    let people = people();
    let count = |variant, genotype| people.count(variant, genotype);
    let expected: Vec<(i64, i64)> =
        variants.map(|variant| (count(variant, Genotype::Het), count(variant, Genotype::HomAlt))).collect();
    let counted: Vec<(i64, i64)> = bought.opened.rows().iter().map(|row| (row.het, row.hom_alt)).collect();
    ensure!(counted == expected, "{counted:?} were counted, not {expected:?}");
    Ok(())
}

/// Ciphertexts, seeds and attributes of version 1 answer questions that were not asked then.
async fn new_answers_are_right(market: &Market, panel: &Panel) -> Result<()> {
    let researcher = &market.researcher;
    let question = biomedical(selection(panel, ASKED_NOW)?, Tier::Exact, Rho::ZERO);
    let price = market.quote(panel, researcher, &question).await?.price;
    check_counts(&market.buy_as(researcher, panel, &question, price).await?, ASKED_NOW)?;

    // Two people are too few to be selected from, which the keyholders see only when they have evaluated the filter on the
    // shares of attributes that they kept.
    let selected = selection(panel, 0..1)?;
    let question = about(filter_of(&[WOMEN], &made_up_schema()?)?, selected, Tier::Exact, Rho::ZERO);
    let refused =
        market.buy_as(researcher, panel, &question, price).await.err().context("too few people to select from")?;
    ensure!(
        refused.to_string().contains("too few people match selection 0"),
        "the filter was not evaluated: {refused:#}"
    );
    Ok(())
}

/// Every keyholder's books have the old use and the new ones, and everything earned is paid.
async fn books_and_money_go_on(market: &Market) -> Result<()> {
    let (services, keys) = (&market.services, &market.biobank.keys);
    let books = statement(services, &market.network, keys, REGISTRATION, 0, now_unix_s()).await?;
    ensure!(books.differences.is_empty() && books.unreachable.is_empty(), "keyholders do not agree");
    ensure!(
        books.uses.len() >= 2 && books.uses.iter().any(|used| Ok(used.order) == old_order(market).map_err(drop)),
        "uses"
    );
    let earned = account_state(services, keys.address()).await?.claimable();
    let paid = claim(services, keys.address()).await?;
    ensure!(paid == earned && paid == "0.04".parse()?, "{paid} was paid for two answers of two people");
    Ok(())
}

/// All files of a folder in one: for each the length of its path, the path, its length and its bytes; compressed.
fn pack(folder: &Path) -> Result<Vec<u8>> {
    let mut packed = zstd::stream::write::Encoder::new(Vec::new(), 19)?;
    for file in files_below(folder)? {
        let (path, bytes) = (file.strip_prefix(folder)?.to_str().context("utf-8")?.to_owned(), fs::read(&file)?);
        packed.write_all(&u32::try_from(path.len())?.to_le_bytes())?;
        packed.write_all(path.as_bytes())?;
        packed.write_all(&u64::try_from(bytes.len())?.to_le_bytes())?;
        packed.write_all(&bytes)?;
    }
    Ok(packed.finish()?)
}

fn unpack(packed: &[u8], folder: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let bytes = zstd::stream::decode_all(packed)?;
    let mut rest = &bytes[..];
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let (path, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize).context("a path")?;
        let (length, after) = after.split_first_chunk::<8>().context("a length")?;
        let (content, after) =
            after.split_at_checked(usize::try_from(u64::from_le_bytes(*length))?).context("a file")?;
        let file = folder.join(std::str::from_utf8(path)?);
        fs::create_dir_all(file.parent().context("a folder")?)?;
        fs::write(&file, content)?;
        // Keys may be nobody else's to read.
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
        let mut parent = file.parent();
        while let Some(below) = parent.filter(|parent| *parent != folder) {
            fs::set_permissions(below, fs::Permissions::from_mode(0o700))?;
            parent = below.parent();
        }
        rest = after;
    }
    Ok(())
}

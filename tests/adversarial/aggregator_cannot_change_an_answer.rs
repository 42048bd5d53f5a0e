//! An aggregator, or whoever carries messages and keeps objects, plays the parties against each other.

use anyhow::{Context as _, Result, ensure};
use locus_client::{
    ClientError,
    research::{AnswerError, PlacedOrder, Question, open_answer},
    revoke,
};
use locus_genomics::{DataUse, DuoTerm, Genotype, Panel, PurposeCode};
use locus_privacy::{NetworkParameterValues, Rho, Tier};
use locus_rlwe::RlweError;
use locus_service::reason_of;
use locus_sharing::KeyholderIndex;
use locus_tests::{
    Bought, Dataset, Market, People, Stage, Upload, ask, biomedical, files_below, first_variants, now_unix_s,
    question_of, small_floors, terms,
};
use locus_wire::pb::{
    exchange::{GetOrderRequest, OrderState},
    keyholder::{self as pb, AnswerCommitment, Preparation},
    query::AnswerRecord,
};
use std::{fs, path::PathBuf, sync::Arc};
use tonic::Status;

const ONE: KeyholderIndex = KeyholderIndex::ALL[0];
const TWO: KeyholderIndex = KeyholderIndex::ALL[1];
const THREE: KeyholderIndex = KeyholderIndex::ALL[2];

struct Scene {
    market: Market,
    panel: Arc<Panel>,
    people: People,
    registration: locus_ledger::RegistrationId,
    /// What the biobank uploaded.
    upload: Upload,
}

impl Scene {
    async fn set(parameters: NetworkParameterValues) -> Result<Self> {
        let market = Market::start_with(parameters).await?;
        let people = People::new(24, 40, 71);
        let input = market.read_people("everyone", &people)?;
        locus_client::publish_panel(&market.services, &input.panel).await?;
        let upload = Upload::of_institution(&market, &market.biobank, &input).await?;
        let batch = market.enrol(&market.biobank, &input).await?.pop().context("a batch")?;
        Ok(Self { panel: input.panel.clone(), market, people, registration: batch.registration, upload })
    }

    fn exact(&self) -> Result<Question> {
        Ok(biomedical(first_variants(&self.panel, 20)?, Tier::Exact, Rho::ZERO))
    }

    fn open(&self, variants: u32) -> Result<Question> {
        Ok(biomedical(first_variants(&self.panel, variants)?, Tier::Open, "0.01".parse()?))
    }

    /// A paid order and what keyholders are asked about it.
    async fn order(&self, question: &Question) -> Result<(PlacedOrder, pb::Question)> {
        let placed = self.market.place(&self.market.researcher, question, "1".parse()?).await?;
        let asked = question_of(&self.market.researcher, &placed);
        Ok((placed, asked))
    }

    async fn prepare_all(&self, asked: &pb::Question) -> Result<Vec<Preparation>> {
        let mut preparations = Vec::new();
        for keyholder in KeyholderIndex::ALL {
            preparations.push(self.market.prepare(keyholder, asked).await?);
        }
        Ok(preparations)
    }

    async fn commit_all(&self, asked: &pb::Question, prepared: &[Preparation]) -> Result<Vec<AnswerCommitment>> {
        let mut commitments = Vec::new();
        for keyholder in KeyholderIndex::ALL {
            commitments.push(self.market.commit(keyholder, asked, prepared).await?);
        }
        Ok(commitments)
    }

    async fn check_open(&self, placed: &PlacedOrder) -> Result<()> {
        let request = GetOrderRequest { order_id: placed.record.order_id.clone() };
        let order = self.market.services.exchange.clone().get_order(request).await?.into_inner();
        ensure!(order.state() == OrderState::Open, "the order was settled");
        Ok(())
    }

    /// Buys exact counts and compares them with the truth.
    async fn buy_true_counts(&self) -> Result<Bought> {
        let bought = self.market.buy_as(&self.market.researcher, &self.panel, &self.exact()?, "1".parse()?).await?;
        for row in bought.opened.rows() {
            let truth = [Genotype::Het, Genotype::HomAlt].map(|one| self.people.count(row.index.0, one));
            ensure!([row.het, row.hom_alt] == truth, "variant {}", row.index.0);
        }
        Ok(bought)
    }
}

fn check<T>(name: &str, result: Result<T, Status>, expected: &str) -> Result<()> {
    let status = result.err().with_context(|| format!("{name} was accepted"))?;
    let reason = reason_of(&status).unwrap_or_default();
    ensure!(reason == expected, "{name}: {reason} instead of {expected}: {}", status.message());
    Ok(())
}

/// Control: keyholders that take the cohort as they are told it would tell the genotypes of one person.
fn a_forged_cohort_of_one_is_a_genome_where_nobody_compares(people: &People, victim: usize) -> Result<()> {
    let datasets = Dataset::of_people(people)?;
    let variants = people.variants.min(20);
    let counts = Stage::new(variants, None)?.counts(&[&datasets[victim]])?;
    for (variant, counts) in (0..variants).zip(counts) {
        let called = match (counts.het, counts.hom_alt) {
            (0, 0) => Genotype::HomRef,
            (1, 0) => Genotype::Het,
            (0, 1) => Genotype::HomAlt,
            other => anyhow::bail!("no genotype: {other:?}"),
        };
        ensure!(called == people.genotype(u32::try_from(victim)?, variant), "variant {variant}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn keyholders_answer_nothing_but_the_order_and_the_preparations_that_were_signed() -> Result<()> {
    let scene = Scene::set(small_floors()).await?;
    let market = &scene.market;
    let (placed, asked) = scene.order(&scene.open(20)?).await?;
    let (_, other_asked) = scene.order(&scene.open(21)?).await?;
    let other_prepared = scene.prepare_all(&other_asked).await?;
    check("commit before prepare", market.commit(ONE, &asked, &[]).await, "STEP_MISSING")?;
    let prepared = scene.prepare_all(&asked).await?;

    // Another question than the order's; an order that is not on the chain.
    let unknown = pb::Question { order_id: vec![9; 32].into(), ..asked.clone() };
    let other_variants = pb::Question { selection: other_asked.selection.clone(), ..asked.clone() };
    let thief = market.funded_party("thief").await?;
    let other_key = question_of(&thief, &placed);
    // Forged lists, lists of another order, the own list or all others missing.
    let mut forged = prepared.clone();
    forged[2].excluded_slots = vec![3];
    // A list that leaves only one person to be counted.
    const VICTIM: u64 = 7;
    let mut alone = prepared.clone();
    alone[2].excluded_slots = (0..24).filter(|slot| *slot != VICTIM).collect();
    let mut grafted = prepared.clone();
    grafted[1] = other_prepared[1].clone();
    for keyholder in KeyholderIndex::ALL {
        let place = keyholder.position();
        check("an unknown order", market.prepare(keyholder, &unknown).await, "NOT_FINAL")?;
        check("other variants", market.commit(keyholder, &other_variants, &prepared).await, "ORDER_MISMATCH")?;
        check("another key", market.commit(keyholder, &other_key, &prepared).await, "ORDER_MISMATCH")?;
        check("a forged list", market.commit(keyholder, &asked, &forged).await, "BAD_SIGNATURE")?;
        check("a list of all but one", market.commit(keyholder, &asked, &alone).await, "BAD_SIGNATURE")?;
        check("another order's list", market.commit(keyholder, &asked, &grafted).await, "ORDER_MISMATCH")?;
        check("one list", market.commit(keyholder, &asked, &prepared[place..=place]).await, "STEP_MISSING")?;
        let without: Vec<_> = prepared.iter().filter(|list| list.keyholder as usize != place + 1).cloned().collect();
        check("no own list", market.commit(keyholder, &asked, &without).await, "STEP_MISSING")?;
    }

    // Releases without commitments, with those of another order, with altered ones.
    check("release before commit", market.release(ONE, &asked, &[], 1).await, "STEP_MISSING")?;
    let committed = scene.commit_all(&asked, &prepared).await?;
    let other_committed = scene.commit_all(&other_asked, &other_prepared).await?;
    let mut altered = committed.clone();
    altered[1].cohort_size += 1;
    for keyholder in KeyholderIndex::ALL {
        check("two commitments", market.release(keyholder, &asked, &committed[..2], 1).await, "STEP_MISSING")?;
        check("other commitments", market.release(keyholder, &asked, &other_committed, 1).await, "ORDER_MISMATCH")?;
        check("an altered commitment", market.release(keyholder, &asked, &altered, 1).await, "BAD_SIGNATURE")?;
    }
    scene.check_open(&placed).await?;

    a_forged_cohort_of_one_is_a_genome_where_nobody_compares(&scene.people, usize::try_from(VICTIM)?)?;
    // Control: the same calls in order release each share once, with a settlement signature.
    let mut released = Vec::new();
    for keyholder in KeyholderIndex::ALL {
        let (shares, signed) = market.release(keyholder, &asked, &committed, 1).await?;
        assert!(signed);
        released.extend(shares.into_iter().map(|share| share.share));
    }
    released.sort_unstable();
    assert_eq!(released, [1, 2, 3]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn keyholders_that_are_told_of_different_cohorts_release_nothing() -> Result<()> {
    // A second cohort whose terms admit care, so that its people can be asked without the first. The
    // budget is for one question, or for one that two keyholders answer.
    let parameters = NetworkParameterValues { rho_year_max: Rho::from_nano(15_001_000), ..small_floors() };
    let scene = Scene::set(parameters).await?;
    let market = &scene.market;
    let patients = market.read_more_people("patients", &scene.people.next(24), &scene.panel)?;
    let mut wide = terms(&scene.panel)?;
    wide.data_use = DataUse::try_new([DuoTerm::NoRestriction])?;
    market.enrol_on_terms(&market.clinic, &patients, wide).await?;

    // Keyholder 1 alone is made to charge the patients for a question that is never finished.
    let mut care = scene.open(9)?;
    care.purpose.code = PurposeCode::ClinicalCare;
    let (_, asked) = scene.order(&care).await?;
    let prepared = scene.prepare_all(&asked).await?;
    market.commit(ONE, &asked, &prepared).await?;

    // Now it leaves them out of the next question, and the others do not.
    let (placed, asked) = scene.order(&scene.open(20)?).await?;
    let prepared = scene.prepare_all(&asked).await?;
    assert_eq!(prepared.iter().map(|list| list.excluded_slots.len()).collect::<Vec<_>>(), [24, 0, 0]);
    let small = market.commit(ONE, &asked, &prepared).await?;
    let large =
        [market.commit(TWO, &asked, &prepared[1..]).await?, market.commit(THREE, &asked, &prepared[1..]).await?];
    assert_eq!((small.cohort_size, large[0].cohort_size), (24, 48));
    let all = [small, large[0].clone(), large[1].clone()];
    for keyholder in KeyholderIndex::ALL {
        check("different cohorts", market.release(keyholder, &asked, &all, 1).await, "KEYHOLDERS_DISAGREE")?;
    }
    scene.check_open(&placed).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_who_was_revoked_since_the_preparation_is_not_counted() -> Result<()> {
    let scene = Scene::set(small_floors()).await?;
    let market = &scene.market;
    let keys = &market.biobank.keys;
    let (placed, asked) = scene.order(&scene.open(20)?).await?;
    let stale = scene.prepare_all(&asked).await?;
    revoke(&market.services, &market.network, keys, scene.registration, &[4], now_unix_s()).await?;
    for keyholder in KeyholderIndex::ALL {
        check("a revoked member", market.commit(keyholder, &asked, &stale).await, "KEYHOLDERS_DISAGREE")?;
    }
    // Asked again, everybody leaves the member out, and the old lists are worth nothing any more.
    let fresh = scene.prepare_all(&asked).await?;
    assert!(fresh.iter().all(|list| list.excluded_slots == [4]));
    for keyholder in KeyholderIndex::ALL {
        check("old lists", market.commit(keyholder, &asked, &stale).await, "KEYHOLDERS_DISAGREE")?;
        let mut mixed = stale.clone();
        mixed[keyholder.position()] = fresh[keyholder.position()].clone();
        // The union of old and new lists leaves the member out as well: nothing is won by mixing.
        assert_eq!(market.commit(keyholder, &asked, &mixed).await?.cohort_size, 23);
    }
    let answer = market.collect(&market.researcher, &scene.panel, placed).await?;
    assert_eq!(answer.opened.cohort_size(), 23);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_who_was_revoked_since_the_commitment_is_not_counted_and_an_order_has_one_answer() -> Result<()> {
    let scene = Scene::set(small_floors()).await?;
    let market = &scene.market;
    let keys = &market.biobank.keys;
    let (placed, asked) = scene.order(&scene.open(20)?).await?;
    let prepared = scene.prepare_all(&asked).await?;
    let committed = scene.commit_all(&asked, &prepared).await?;
    assert!(committed.iter().all(|commitment| commitment.cohort_size == 24));
    revoke(&market.services, &market.network, keys, scene.registration, &[4], now_unix_s()).await?;
    let answer = market.collect(&market.researcher, &scene.panel, placed).await?;
    assert_eq!(answer.opened.cohort_size(), 23, "nothing had left yet");

    // An aggregator that has the shares of an answer and does not settle gets no second answer for the money.
    let (_, asked) = scene.order(&scene.open(19)?).await?;
    let prepared = scene.prepare_all(&asked).await?;
    let committed = scene.commit_all(&asked, &prepared).await?;
    market.release(ONE, &asked, &committed, 2).await?;
    revoke(&market.services, &market.network, keys, scene.registration, &[5], now_unix_s()).await?;
    assert_eq!(market.prepare(ONE, &asked).await?, prepared[ONE.position()]);
    assert_eq!(market.commit(ONE, &asked, &prepared).await?, committed[ONE.position()]);
    assert_ne!(market.prepare(TWO, &asked).await?, prepared[TWO.position()], "the control: nothing left here");
    check("a forgotten answer", market.release(TWO, &asked, &committed, 2).await, "STEP_MISSING")?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keyholder_whose_cohort_the_others_gave_up_follows_them_until_it_has_released() -> Result<()> {
    let scene = Scene::set(small_floors()).await?;
    let market = &scene.market;
    // Somebody leaves and the others prepare anew, while the third has not heard of it and repeats its list.
    let leave = async |ordinal: u32, asked: &pb::Question, lists: &[Preparation]| -> Result<Vec<Preparation>> {
        let Market { services, network, biobank, .. } = market;
        revoke(services, network, &biobank.keys, scene.registration, &[ordinal], now_unix_s()).await?;
        Ok(vec![market.prepare(ONE, asked).await?, market.prepare(TWO, asked).await?, lists[THREE.position()].clone()])
    };

    // Only the third commits; what the others were about to say is lost.
    let (placed, asked) = scene.order(&scene.open(20)?).await?;
    let lists = scene.prepare_all(&asked).await?;
    assert_eq!(market.commit(THREE, &asked, &lists).await?.cohort_size, 24);
    let lists = leave(4, &asked, &lists).await?;
    let committed = scene.commit_all(&asked, &lists).await?;
    assert!(committed.iter().all(|commitment| commitment.cohort_size == 23), "the others would not go back");
    let (shares, _) = market.release(THREE, &asked, &committed, 1).await?;
    assert!(!shares.is_empty());
    let answer = market.collect(&market.researcher, &scene.panel, placed).await?;
    assert_eq!(answer.opened.cohort_size(), 23);

    // The same when the third has let its shares go: it stays with what it released.
    let (_, asked) = scene.order(&scene.open(19)?).await?;
    let lists = scene.prepare_all(&asked).await?;
    let committed = scene.commit_all(&asked, &lists).await?;
    market.release(THREE, &asked, &committed, 2).await?;
    let lists = leave(5, &asked, &lists).await?;
    assert_eq!(market.commit(ONE, &asked, &lists).await?.cohort_size, 22, "the control: nothing left here");
    assert_eq!(market.commit(THREE, &asked, &lists).await?, committed[THREE.position()]);
    Ok(())
}

/// Objects of the one batch whose name ends so.
fn objects(scene: &Scene, suffix: &str) -> Result<Vec<PathBuf>> {
    let files = files_below(&scene.market.data_dir().join("objects"))?;
    Ok(files.into_iter().filter(|path| path.to_string_lossy().ends_with(suffix)).collect())
}

fn position(haystack: &[u8], needle: &[u8]) -> Result<usize> {
    haystack.windows(needle.len()).position(|window| window == needle).context("the row is not in the object")
}

/// What becomes of a question when objects were changed.
#[derive(Debug, PartialEq, Eq)]
enum Handled {
    /// No answer, and the order stays open.
    Refused,
    /// The sum is that of the registered bodies, made from what is intact.
    Healed,
}

/// Words of the sum over everybody but `left` at the check slots and the first variants.
fn true_sum(column: &[Vec<u8>], left: usize, variants: usize) -> Vec<u8> {
    let mut sum = vec![0u64; 16 + variants];
    for (_, body) in column.iter().enumerate().filter(|(ordinal, _)| *ordinal != left) {
        for (sum, word) in sum.iter_mut().zip(body.as_chunks::<8>().0) {
            *sum = sum.wrapping_add(u64::from_le_bytes(*word));
        }
    }
    sum.into_iter().flat_map(u64::to_le_bytes).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_that_were_changed_lost_or_exchanged_change_no_sum() -> Result<()> {
    let scene = Scene::set(small_floors()).await?;
    let market = &scene.market;
    scene.buy_true_counts().await?;
    // One person less, so that the sum reads a row beside the stored total.
    let left = [11];
    revoke(&market.services, &market.network, &market.biobank.keys, scene.registration, &left, now_unix_s()).await?;
    let [rows] = &objects(&scene, "rows=00000.parquet")?[..] else { anyhow::bail!("one object of rows") };
    let [total] = &objects(&scene, "rows=00000.total")?[..] else { anyhow::bail!("one total") };
    let [digests] = &objects(&scene, "rows=00000.digests")?[..] else { anyhow::bail!("one object of digests") };
    let column = &scene.upload.bodies[&(0, 0)];
    let mut question = 20;
    let mut handle = async |name: &str, expected, path: &PathBuf, change: &dyn Fn(&mut Vec<u8>) -> Result<()>| {
        let honest = fs::read(path)?;
        let mut changed = honest.clone();
        change(&mut changed)?;
        ensure!(changed != honest, "{name} changes nothing");
        if changed.is_empty() {
            fs::remove_file(path)?
        } else {
            fs::write(path, &changed)?
        }
        let (placed, asked) = scene.order(&scene.open(question)?).await?;
        let handled = match ask(&market.services.query, &placed, &market.researcher, &asked).await {
            Ok(record) => {
                let truth = true_sum(column, 11, question as usize);
                ensure!(record.blocks[0].planes[0].body_sum == truth, "{name}: a wrong sum");
                Handled::Healed
            }
            Err(status) => {
                let reason = reason_of(&status).unwrap_or_default();
                ensure!(["STORE", "SUM_FAILED"].contains(&reason.as_str()), "{name}: {reason}: {}", status.message());
                scene.check_open(&placed).await?;
                Handled::Refused
            }
        };
        ensure!(handled == expected, "{name}: {handled:?}");
        // What comes back is answered, with what the keyholders had committed to.
        fs::write(path, &honest)?;
        let answer = market.collect(&market.researcher, &scene.panel, placed).await?;
        ensure!(answer.opened.cohort_size() == 23);
        question += 1;
        Ok(())
    };
    // Control: taken from the stored total as it is, this row would change the fifth variant's sum.
    handle("a flipped bit in the row that is taken away", Handled::Healed, rows, &|bytes| {
        let start = position(bytes, &column[11][..64])?;
        bytes[start + 20 * 8 + 3] ^= 0x10;
        Ok(())
    })
    .await?;
    handle("two rows exchanged", Handled::Refused, rows, &|bytes| {
        let [first, second] = [position(bytes, &column[11][..64])?, position(bytes, &column[12][..64])?];
        let length = column[11].len();
        let row = bytes[first..first + length].to_vec();
        bytes.copy_within(second..second + length, first);
        bytes[second..second + length].copy_from_slice(&row);
        Ok(())
    })
    .await?;
    handle("a lost object", Handled::Refused, rows, &|bytes| {
        bytes.clear();
        Ok(())
    })
    .await?;
    handle("a truncated object", Handled::Refused, rows, &|bytes| {
        bytes.truncate(bytes.len() / 2);
        Ok(())
    })
    .await?;
    handle("another total", Handled::Refused, total, &|bytes| {
        bytes[20 * 8 + 3] ^= 4;
        Ok(())
    })
    .await?;
    // What the row and the total say can only be told apart with the digests.
    handle("other digests, and a flipped bit in the row", Handled::Refused, digests, &|bytes| {
        bytes[40] ^= 1;
        let mut changed = fs::read(rows)?;
        let start = position(&changed, &column[11][..64])?;
        changed[start + 20 * 8 + 3] ^= 0x10;
        Ok(fs::write(rows, changed)?)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_researcher_sees_that_a_sum_leaves_someone_out_or_belongs_elsewhere() -> Result<()> {
    let scene = Scene::set(small_floors()).await?;
    let (market, panel) = (&scene.market, &scene.panel);
    let honest = scene.buy_true_counts().await?;
    let other = market.buy_as(&market.researcher, panel, &scene.open(20)?, "1".parse()?).await?;
    let open = |record: &AnswerRecord| {
        open_answer(record, panel, &market.network, market.researcher.keys.sealing_key()).map(drop)
    };
    assert!(open(&honest.record).is_ok());

    // A row missing, and a row counted twice.
    let body = &scene.upload.bodies[&(0, 0)][6];
    for sign in [1, u64::MAX] {
        let mut record = honest.record.clone();
        let sum = honest.record.blocks[0].planes[0].body_sum.clone();
        let words = sum.as_chunks::<8>().0.iter().zip(body.as_chunks::<8>().0);
        let changed = words.map(|(sum, row)| {
            u64::from_le_bytes(*sum).wrapping_add(u64::from_le_bytes(*row).wrapping_mul(sign)).to_le_bytes()
        });
        record.blocks[0].planes[0].body_sum = changed.collect::<Vec<_>>().concat().into();
        assert!(matches!(open(&record), Err(ClientError::Rlwe(RlweError::AnswerCheckSlot { .. }))));
    }
    // Sums, shares and settlements of other answers.
    let mut sums = honest.record.clone();
    sums.blocks[0].planes = other.record.blocks[0].planes.clone();
    let mut shares = honest.record.clone();
    shares.blocks[0].shares = other.record.blocks[0].shares.clone();
    let mut blocks = honest.record.clone();
    blocks.blocks = other.record.blocks.clone();
    let mut settled = honest.record.clone();
    settled.summary = other.record.summary.clone();
    let mut unsigned = honest.record.clone();
    unsigned.summary.as_mut().context("a summary")?.signatures.truncate(1);
    let mut cheaper = honest.record.clone();
    cheaper.summary.as_mut().context("a summary")?.price = "1".to_owned();
    // The same people are in both cohorts, so the sums are the same where both were asked.
    assert_eq!(sums, honest.record);
    assert!(matches!(open(&shares), Err(ClientError::Sharing(_))));
    assert!(matches!(open(&blocks), Err(ClientError::Answer(AnswerError::Parts { .. }))));
    assert!(matches!(open(&settled), Err(ClientError::Answer(AnswerError::OtherOrder(_)))));
    assert!(matches!(open(&unsigned), Err(ClientError::Answer(AnswerError::TooFewSignatures { valid: 1 }))));
    assert!(matches!(open(&cheaper), Err(ClientError::Answer(AnswerError::OtherOrder(_)))));
    Ok(())
}

/// Distinct noisy answers that these sets of keyholders commit to, in turn, until each refuses.
async fn answers_committed(scene: &Scene, sets: &[&[KeyholderIndex]]) -> Result<usize> {
    let mut answered = 0;
    // A relay may try more often than the budget allows; each question is another one.
    for (variants, set) in (5..).zip(sets.iter().cycle().take(12)) {
        let (_, asked) = scene.order(&scene.open(variants)?).await?;
        let mut prepared = Vec::new();
        for keyholder in *set {
            prepared.push(scene.market.prepare(*keyholder, &asked).await);
        }
        let Ok(prepared) = prepared.into_iter().collect::<Result<Vec<_>, _>>() else { continue };
        let mut committed = 0;
        for keyholder in *set {
            committed += usize::from(scene.market.commit(*keyholder, &asked, &prepared).await.is_ok());
        }
        answered += usize::from(committed == set.len());
    }
    Ok(answered)
}

#[tokio::test(flavor = "multi_thread")]
async fn telling_each_pair_that_the_third_keyholder_is_down_buys_no_more_than_the_yearly_budget() -> Result<()> {
    // Three noisy answers a year.
    let parameters = || NetworkParameterValues { rho_year_max: Rho::from_nano(30_001_000), ..small_floors() };
    let control = Scene::set(parameters()).await?;
    assert_eq!(answers_committed(&control, &[&KeyholderIndex::ALL]).await?, 3, "all three together");
    let scene = Scene::set(parameters()).await?;
    let pairs: [&[KeyholderIndex]; 3] = [&[ONE, TWO], &[TWO, THREE], &[ONE, THREE]];
    let answered = answers_committed(&scene, &pairs).await?;
    assert!((1..=3).contains(&answered), "{answered} answers from a budget for 3");
    Ok(())
}

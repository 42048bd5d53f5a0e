//! Exact genotype counts of every variant of the cohort: from stored ciphertexts to decoded
//! numbers, against plink2 on the plaintext.
//!
//! The figure is what a buyer waits for when each keyholder has a machine like this one: the engine's
//! sums, then the slowest keyholder's work on its two shares, then decoding, one after the other.

use crate::{
    peers::output,
    report::figure,
    row::{Bench, Goal, Measured, Row},
    synthetic::fresh_engine,
    timing::{fastest, seconds},
};
use anyhow::{Context as _, Result, ensure};
use locus_commitment::{Address, BodyDigest, DatasetBodyDigest, DatasetContext, DatasetId, Digest32, NetworkId};
use locus_genomics::{Assembly, PackedGenotypes, PanelBlockIndex, Plane, Slot};
use locus_intake::{
    CohortSource, CompleteCalls, IntakeOptions, PanelRequest, PanelSource, PlinkFiles, build_panel, read_cohort,
};
use locus_privacy::{SlotMask, Tau};
use locus_rlwe::{
    CounterRange, DatasetEncryptor, Mask, NoiseInput, PartialDecryption, ShareSum, SignedCounts, combine,
    partial_decryption, select_released,
};
use locus_sharing::{DatasetSecrets, KeyholderIndex, MasterSecret, NoiseKey, ShareIndex, shares_of};
use locus_store::{BatchId, Column, PanelShape, PanelStore, RegistrationCommit, SlotRange, SlotSet, open_store};
use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
};
use tokio::runtime::Runtime;

pub(crate) const ROW: Row = Row { id: "counts_vs_plink2", unit: "s", goal: Goal::RatioAtMost(1.0), measure };

const VARIANTS_PER_BLOCK: u32 = 4080;
const CHECK_SLOTS: u32 = 16;
const RUNS: usize = 15;

/// Seconds of each part.
struct Times {
    engine: f64,
    keyholders: [f64; 3],
    decoding: f64,
    plink: f64,
}

impl Default for Times {
    fn default() -> Self {
        Self { engine: f64::INFINITY, keyholders: [f64::INFINITY; 3], decoding: f64::INFINITY, plink: f64::INFINITY }
    }
}

impl Times {
    fn fastest(&self, other: &Self) -> Self {
        let keyholder = |index: usize| self.keyholders[index].min(other.keyholders[index]);
        Self {
            engine: self.engine.min(other.engine),
            keyholders: [keyholder(0), keyholder(1), keyholder(2)],
            decoding: self.decoding.min(other.decoding),
            plink: self.plink.min(other.plink),
        }
    }
}

/// A panel block and the slots that are released of it.
type Block = (PanelBlockIndex, SlotMask);

struct People {
    panel: locus_genomics::Panel,
    contexts: Vec<DatasetContext>,
    genotypes: Vec<PackedGenotypes>,
    secrets: Vec<DatasetSecrets>,
}

fn measure(bench: &mut Bench) -> Result<Measured> {
    let folder = bench.folder("counts")?;
    let people = People::read(bench, &folder)?;
    let runtime = Runtime::new()?;
    let (store, registered) = runtime.block_on(people.enrol(&folder))?;
    let manifest = runtime.block_on(store.latest())?;
    let count = u32::try_from(people.contexts.len())?;
    let everybody = SlotSet::from_range(SlotRange { first: 0, count })?;
    let columns: Vec<Column> = store.shape().columns().collect();
    let engine = fresh_engine();
    let sum = || {
        let summing = engine.sum_many(&store, &manifest, &columns, &everybody, &registered);
        runtime.block_on(summing).context("the sum failed")
    };
    let (first_sum, sums) = seconds(sum)?;
    let blocks = people.blocks(&columns)?;
    let shares = people.all_shares(&blocks)?.0;
    let counts = people.decode(&blocks, &sums, &shares)?;
    let mut measured = Measured::default();
    let out = folder.join("plink");
    let has_plink = bench.peers.program("plink2");
    let plink = || {
        let mut plink = Command::new("plink2");
        plink.arg("--bfile").arg(&bench.cohort.prefix).args(["--geno-counts", "--out"]).arg(&out);
        if has_plink { output(&mut plink).map(drop) } else { Ok(()) }
    };
    let mut best = Times::default();
    // In turns, so that whatever else the machine does slows all alike.
    for _ in 0..RUNS {
        let (engine, sums) = seconds(sum)?;
        let (shares, keyholders) = people.all_shares(&blocks)?;
        let (decoding, _) = seconds(|| people.decode(&blocks, &sums, &shares))?;
        let (plink, ()) = seconds(plink)?;
        best = best.fastest(&Times { engine, keyholders, decoding, plink });
    }
    let slowest = best.keyholders.into_iter().fold(0.0, f64::max);
    measured.value = best.engine + slowest + best.decoding;
    measured.note = format!(
        "{}; sums {} s ({} s when every row is hashed for the first time), slowest of three keyholders {} s, decoding {} s; everything on this one machine {} s",
        bench.cohort.describe(),
        figure(best.engine),
        figure(first_sum),
        figure(slowest),
        figure(best.decoding),
        figure(best.engine + best.keyholders.iter().sum::<f64>() + best.decoding),
    );
    if !has_plink {
        measured.peer = Some("plink2: absent".to_owned());
        return Ok(measured);
    }
    measured.peer = Some("plink2 --geno-counts".to_owned());
    measured.peer_value = Some(best.plink);
    let truth = read_counts(&out.with_extension("gcount"))?;
    ensure!(counts == truth, "the counts differ from those of plink2");
    measured.note += "; counts equal on every variant";
    measured.note += &bcftools(bench, &folder)?;
    Ok(measured)
}

impl People {
    fn read(bench: &Bench, folder: &Path) -> Result<Self> {
        let source = || CohortSource::Plink(PlinkFiles::of_prefix(&bench.cohort.prefix));
        let complete_calls = CompleteCalls::Declared(true);
        let request =
            PanelRequest { name: "bench".to_owned(), assembly: Assembly::GRCh37, complete_calls, reference: None };
        let (panel, _) = build_panel(&PanelSource::Cohort(source()), &request, folder, &mut |_| {})?;
        let cohort = read_cohort(&source(), &panel, &IntakeOptions::default(), folder, &mut |_| {})?;
        let registrant = Address([2; 20]);
        let context = |ordinal| DatasetContext {
            network: NetworkId { chain_id: 31_337, registry: Address([1; 20]) },
            registrant,
            dataset: DatasetId::derive(registrant, 7, ordinal),
            panel: panel.digest(),
            version: 1,
        };
        let contexts: Vec<DatasetContext> = (0..cohort.spool.people()).map(context).collect();
        let genotypes = (0..cohort.spool.people()).map(|person| cohort.spool.person(person));
        let genotypes = genotypes.collect::<Result<Vec<_>, _>>()?;
        let secrets = contexts.iter().zip(&genotypes);
        let secrets = secrets.map(|(context, genotypes)| encryptor(context, genotypes).secrets().clone()).collect();
        Ok(Self { panel, contexts, genotypes, secrets })
    }

    /// Encrypts everybody into a new store, at slots from 0.
    async fn enrol(&self, folder: &Path) -> Result<(PanelStore, BTreeMap<u32, DatasetBodyDigest>)> {
        let shape = PanelShape::try_new(self.panel.block_count(), true)?;
        let folder = folder.join("objects").display().to_string();
        let panel = open_store(&folder, BTreeMap::new())?.panel(self.panel.digest(), shape);
        let encryptors: Vec<_> = self
            .contexts
            .iter()
            .zip(&self.genotypes)
            .map(|(context, genotypes)| encryptor(context, genotypes))
            .collect();
        let mut digests: Vec<Vec<BodyDigest>> = vec![Vec::new(); encryptors.len()];
        let batch = BatchId([1; 32]);
        let mut writer = panel.create_batch(batch, u32::try_from(encryptors.len())?).await?;
        while let Some((column, first)) = writer.expects() {
            let some = encryptors.iter().zip(&mut digests).skip(first as usize).take(64);
            let mut bodies = Vec::new();
            for (encryptor, digests) in some {
                let body = encryptor.encrypt(Mask::v1(), column.block, column.plane)?;
                digests.push(body.digest());
                bodies.extend_from_slice(&*body.to_bytes());
            }
            writer.append(column, first, bodies.into()).await?;
        }
        let datasets: Vec<_> = digests.iter().map(|digests| DatasetBodyDigest::of_bodies(digests)).collect();
        writer.finish(&datasets).await?;
        panel.commit_registration(RegistrationCommit { batch, registration: 1, first_slot: 0 }, &datasets).await?;
        panel.compact(&panel.latest().await?.fragmented_shards()).await?;
        Ok((panel, (0..).zip(datasets).collect()))
    }

    fn blocks(&self, columns: &[Column]) -> Result<Vec<Block>> {
        columns.iter().map(|column| Ok((column.block, self.slots(column.block)?))).collect()
    }

    /// The released shares of every block, in the order of keyholders, and the seconds that each
    /// keyholder took for both of its shares.
    fn all_shares(&self, blocks: &[Block]) -> Result<(Vec<Vec<PartialDecryption>>, [f64; 3])> {
        let mut released: Vec<Vec<PartialDecryption>> = blocks.iter().map(|_| Vec::new()).collect();
        let mut times = [0.0; 3];
        for keyholder in KeyholderIndex::ALL {
            let (time, partials) = seconds(|| self.keyholder(keyholder, blocks))?;
            times[keyholder.position()] = time;
            for (block, share, partial) in partials {
                if share == keyholder.released_share() {
                    released[block].push(partial);
                }
            }
        }
        Ok((released, times))
    }

    /// What one keyholder does for an answer: both of its shares of every block, on all processors.
    fn keyholder(
        &self,
        keyholder: KeyholderIndex,
        blocks: &[Block],
    ) -> Result<Vec<(usize, ShareIndex, PartialDecryption)>> {
        let tasks = blocks.iter().enumerate().flat_map(|block| shares_of(keyholder).map(|share| (block, share)));
        let tasks: Vec<_> = tasks.collect();
        let next = AtomicUsize::new(0);
        let work = || -> Result<Vec<_>> {
            let mut done = Vec::new();
            while let Some(&((place, (block, slots)), share)) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
                done.push((place, share, self.partial(*block, slots, share)?));
            }
            Ok(done)
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| {
            let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            let mut all = Vec::new();
            for thread in running {
                all.extend(thread.join().map_err(|_| anyhow::anyhow!("a thread panicked"))??);
            }
            Ok(all)
        })
    }

    /// What the researcher does with sums and shares.
    fn decode(&self, blocks: &[Block], sums: &[Vec<u64>], shares: &[Vec<PartialDecryption>]) -> Result<Vec<[i64; 3]>> {
        let people = u32::try_from(self.contexts.len())?;
        let mut counts = Vec::new();
        for (((_, slots), sum), partials) in blocks.iter().zip(sums).zip(shares) {
            let sum: &[u64; 4096] = sum.as_slice().try_into().context("a sum has 4096 counters")?;
            let [first, second, third] = partials.as_slice() else { anyhow::bail!("there are three shares") };
            let combined = combine(Plane::Calls, slots, &select_released(slots, sum), [first, second, third])?;
            let decoded = combined.decode_calls(CounterRange::try_new(people, 0)?)?;
            let row = |count: &SignedCounts| [i64::from(people) - count.het - count.hom_alt, count.het, count.hom_alt];
            counts.extend(decoded.iter().map(row));
        }
        Ok(counts)
    }

    fn slots(&self, block: PanelBlockIndex) -> Result<SlotMask> {
        let variants = (self.panel.variant_count() - block.0 * VARIANTS_PER_BLOCK).min(VARIANTS_PER_BLOCK);
        Ok(SlotMask::try_new((CHECK_SLOTS..CHECK_SLOTS + variants).filter_map(Slot::try_new))?)
    }

    /// One share's key sum and partial decryption, as each of its two keyholders computes it.
    fn partial(&self, block: PanelBlockIndex, slots: &SlotMask, share: ShareIndex) -> Result<PartialDecryption> {
        let seeds = self.contexts.iter().zip(&self.secrets);
        let seeds = seeds.map(|(context, secrets)| (context, secrets.seeds.of(share)));
        let key_sum = ShareSum::over(share, block, Plane::Calls, seeds)?;
        let noise_key = NoiseKey::from_bytes([share.get(); 32]);
        let tau = Tau(Digest32([block.0.to_le_bytes()[0]; 32]));
        let noise = NoiseInput { noise_key: &noise_key, tau: &tau, dp_share: None };
        Ok(partial_decryption(Mask::v1(), &key_sum, Plane::Calls, slots, noise)?)
    }
}

fn encryptor<'a>(context: &DatasetContext, genotypes: &'a PackedGenotypes) -> DatasetEncryptor<'a> {
    DatasetEncryptor::new(&MasterSecret::from_bytes([9; 32]), context, genotypes)
}

/// Homozygous reference, heterozygous and homozygous alternate counts by line of a `.gcount` file.
fn read_counts(path: &Path) -> Result<Vec<[i64; 3]>> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let mut lines = text.lines();
    let titles: Vec<&str> = lines.next().context("plink2 wrote nothing")?.split('\t').collect();
    let column = |name: &str| titles.iter().position(|title| *title == name).context("plink2 wrote other columns");
    let columns = [column("HOM_REF_CT")?, column("HET_REF_ALT_CTS")?, column("TWO_ALT_GENO_CTS")?];
    let row = |line: &str| -> Result<[i64; 3]> {
        let fields: Vec<&str> = line.split('\t').collect();
        let [hom_ref, het, hom_alt] = columns.map(|column| fields.get(column).and_then(|field| field.parse().ok()));
        Ok([hom_ref.context("a count")?, het.context("a count")?, hom_alt.context("a count")?])
    };
    lines.map(row).collect()
}

/// How long bcftools takes for the same counts, for the note.
fn bcftools(bench: &Bench, folder: &Path) -> Result<String> {
    if !bench.peers.program("bcftools") {
        return Ok("; bcftools: absent".to_owned());
    }
    let prefix = folder.join("bcf");
    let mut export = Command::new("plink2");
    export.arg("--bfile").arg(&bench.cohort.prefix).args(["--export", "bcf", "--out"]).arg(&prefix);
    output(&mut export)?;
    let mut tags = Command::new("bcftools");
    tags.args(["+fill-tags", "-Ou", "-o", "/dev/null"]).arg(prefix.with_extension("bcf"));
    tags.args(["--", "-t", "AC_Het,AC_Hom,AN"]);
    match fastest(2, || output(&mut tags).map(drop)) {
        Ok(seconds) => Ok(format!("; bcftools +fill-tags {} s", figure(seconds))),
        Err(error) => Ok(format!("; bcftools: {error:#}")),
    }
}

//! Proving the cohort of an order, in a market that settles on proven cohorts.
//!
//! First the panel's registry root is moved over everything that was queued when the order opened, then
//! the cohort is proven under that root. Orders on the same cohort share its proof.

use crate::{aggregator::Aggregator, answers::CohortRecord, error::AggregatorError, events::Events, question::Asked};
use locus_cohort::{Cohort, Member, RegisteredDataset, cohort_statement, order_day, settlement_signing_hash};
use locus_commitment::{Digest32, field::FieldBytes};
use locus_genomics::PanelDigest;
use locus_ledger::{
    Cohort as CohortSums, CohortChoice, CohortEvidence, Contracts, Ledger, Order, OrderState, ProvenRegistry,
    Settlement,
};
use locus_proofs::{
    NetworkKeys, ProofsError,
    groth16::ProvingKey,
    keys::{KeyStage, KeyStore},
    registry::PRICE_UNIT,
};
use locus_prover::{Circuits, CohortBook, CohortProver, MarketKeys, PanelMirror, ProverError, ProvingTurn, RootProver};
use locus_service::blocking;
use locus_wire::{
    convert::field,
    pb::keyholder::{ProvenCohort, proven_cohort::Blinding},
};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::OnceCell;

/// The proven cohort of an answer.
#[derive(Debug, Clone)]
pub(crate) struct ProvenAnswer {
    order: Order,
    pub(crate) evidence: CohortEvidence,
    shard_groups: u32,
    /// Of the shards that have members, ascending.
    blindings: Vec<(u32, FieldBytes)>,
}

impl ProvenAnswer {
    /// What was remembered of an answer.
    fn of_record(order: Order, record: &CohortRecord) -> Result<Self, AggregatorError> {
        let damaged = || AggregatorError::DamagedRecord("cohort");
        let proven = record.proven.as_ref().ok_or_else(damaged)?;
        let evidence = CohortEvidence::try_from(proven.evidence.as_ref().ok_or_else(damaged)?)?;
        let blinding =
            |blinding: &Blinding| Ok((blinding.shard, FieldBytes(field::array("blinding", &blinding.blinding)?)));
        let blindings = proven.blindings.iter().map(blinding).collect::<Result<_, field::FieldError>>()?;
        Ok(Self { order, evidence, shard_groups: proven.shard_groups, blindings })
    }

    fn record(&self, cohort: &Cohort) -> CohortRecord {
        // The engine addresses slots by 32 bits, and has summed them.
        let slots = cohort.members().iter().filter_map(|member| u32::try_from(member.slot).ok());
        CohortRecord { proven: Some(self.message()), slots: slots.collect(), panel: self.order.panel.0.to_vec() }
    }

    /// What a keyholder is shown.
    pub(crate) fn message(&self) -> ProvenCohort {
        let blinding =
            |(shard, blinding): &(u32, FieldBytes)| Blinding { shard: *shard, blinding: blinding.0.to_vec().into() };
        ProvenCohort {
            evidence: Some((&self.evidence).into()),
            shard_groups: self.shard_groups,
            blindings: self.blindings.iter().map(blinding).collect(),
        }
    }

    /// What a keyholder signs; `None` for a purpose that does not exist.
    pub(crate) fn signing_hash(&self, contracts: &Contracts, settlement: &Settlement) -> Option<Digest32> {
        settlement_signing_hash(contracts, settlement, &self.order, Some(&self.evidence))
    }
}

/// What a prover is made with.
#[derive(Debug, Clone)]
pub struct ProverKeys {
    /// The circuits that the market was deployed with.
    pub market: MarketKeys,
    /// Folder with their proving keys.
    pub folder: PathBuf,
}

impl ProverKeys {
    /// The keys of the circuits in use, from `folder`; a test network's are made when they are missing, which
    /// takes a minute; `note` hears of it.
    ///
    /// # Errors
    /// [`ProverError::Proofs`] for keys that are not there or cannot be used, such as development keys on a real
    /// network.
    pub fn load(folder: &Path, is_test_network: bool, note: impl FnMut(KeyStage)) -> Result<Self, ProverError> {
        let market = if is_test_network {
            MarketKeys::development(&KeyStore::new(folder), Circuits::FULL, note)?
        } else {
            let keys = MarketKeys::of_network(&NetworkKeys::new(Some(folder), false))?;
            keys.ok_or_else(|| ProofsError::Missing(folder.to_path_buf()))?
        };
        Ok(Self { market, folder: folder.to_path_buf() })
    }
}

/// Moves registry roots and proves cohorts. Proving keys are read when they are first needed; proving takes
/// up to a gigabyte of memory.
pub(crate) struct Prover {
    registry: ProvenRegistry,
    keys: ProverKeys,
    /// Folder of the records of proven cohorts.
    data_dir: PathBuf,
    turn: ProvingTurn,
    proving_keys: OnceCell<(Arc<ProvingKey>, Arc<ProvingKey>)>,
    panels: Mutex<BTreeMap<PanelDigest, Arc<PanelProver>>>,
}

/// The provers of one panel.
struct PanelProver {
    roots: RootProver,
    cohorts: CohortProver,
}

impl Prover {
    /// The prover of a market; the connection of `ledger` pays for transactions.
    pub(crate) async fn open(ledger: Ledger, keys: ProverKeys, data_dir: PathBuf) -> Result<Self, AggregatorError> {
        let registry = ProvenRegistry::open(ledger).await?;
        let (turn, proving_keys, panels) = Default::default();
        Ok(Self { registry, keys, data_dir, turn, proving_keys, panels })
    }

    async fn proving_keys(&self) -> Result<&(Arc<ProvingKey>, Arc<ProvingKey>), AggregatorError> {
        let keys = self.keys.clone();
        let read = || {
            blocking(move || {
                let store = KeyStore::new(&keys.folder);
                let (update, cohort) =
                    (keys.market.update_proving_key(&store)?, keys.market.cohort_proving_key(&store)?);
                Ok::<_, locus_proofs::ProofsError>((Arc::new(update), Arc::new(cohort)))
            })
        };
        Ok(self.proving_keys.get_or_try_init(read).await.map_err(ProverError::from)?)
    }

    async fn panel(&self, panel: PanelDigest) -> Result<Arc<PanelProver>, AggregatorError> {
        let (update_key, cohort_key) = self.proving_keys().await?.clone();
        let mut panels = self.panels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = panels.get(&panel) {
            return Ok(known.clone());
        }
        let circuits = self.keys.market.circuits();
        let mirror = Arc::new(PanelMirror::new(self.registry.clone(), panel, circuits.depth()));
        let book = CohortBook::open(&self.data_dir.join(format!("cohorts-{panel}.redb"))).map_err(ProverError::from)?;
        let roots = RootProver::new(mirror.clone(), circuits.update(), update_key, self.turn.clone());
        let cohorts = CohortProver::new(mirror, circuits.cohort(), cohort_key, self.turn.clone(), book);
        let made = Arc::new(PanelProver { roots, cohorts });
        panels.insert(panel, made.clone());
        Ok(made)
    }

    /// Moves the roots of all panels over whatever waits, also when one of them cannot be moved.
    ///
    /// # Errors
    /// That of the first panel that failed; the log has the others.
    pub(crate) async fn follow(&self, aggregator: &Aggregator) -> Result<(), AggregatorError> {
        let view = aggregator.view.refreshed().await?;
        let Some(last) = view.finalized().map(|block| block.number) else { return Ok(()) };
        let panels: Vec<PanelDigest> = view.panels().map(|(panel, _)| *panel).collect();
        let panels = panels.into_iter().filter(|panel| view.registrations_on(panel, last).next().is_some());
        for_each_panel(panels, |panel| self.move_root(panel, last)).await
    }

    /// Moves the root of a panel over whatever was queued up to block `last`.
    async fn move_root(&self, panel: PanelDigest, last: u64) -> Result<(), AggregatorError> {
        let moved = self.panel(panel).await?.roots.advance_to(last, |_| ()).await?;
        if moved.batches > 0 {
            tracing::info!(%panel, batches = moved.batches, root = moved.sequence, "registry root moved");
        }
        Ok(())
    }

    /// What an order settles on: its cohort, proven on the chain.
    pub(crate) async fn prove(
        &self,
        aggregator: &Aggregator,
        asked: &Asked,
        cohort: &Cohort,
        events: &Events,
    ) -> Result<ProvenAnswer, AggregatorError> {
        if let OrderState::Settled(_) = asked.record.state
            && let Some(record) = aggregator.answers.cohort(&asked.order_id)?
        {
            return ProvenAnswer::of_record(asked.record.order, &record);
        }
        let panel = self.panel(asked.panel.digest).await?;
        let stage = "proving the cohort";
        let moved = panel.roots.advance_to(asked.record.block, |moving| {
            events.report(stage, moving.batches_done, moving.batches_done + moving.batches_to_do + 1);
        });
        let root = moved.await?;
        let view = aggregator.view.snapshot();
        let mut evidence = CohortEvidence {
            choice: CohortChoice {
                sequence: root.sequence,
                day: order_day(asked.record.time_unix_s),
                accredited_only: false,
                proven_only: asked.requirements.proven_only(),
                price_max_units: highest_price_units(cohort.members()),
            },
            researcher_accredited: view.is_accredited_researcher(&asked.record.order.researcher, asked.record.block),
            cohort: CohortSums::empty(),
        };
        let statement = cohort_statement(&asked.record.order, &evidence);
        let statement = statement.ok_or(AggregatorError::OrderMismatch("purpose"))?;
        let datasets: Vec<RegisteredDataset> = cohort.members().iter().map(RegisteredDataset::from).collect();
        let proven = panel.cohorts.prove(&statement, &datasets, |done, total| events.report(stage, done, total));
        let proven = proven.await?;
        evidence.cohort = proven.cohort();
        let shard_groups = u32::try_from(self.keys.market.circuits().cohort().groups()).unwrap_or(u32::MAX);
        let blindings = proven.blindings.into_iter().collect();
        let answer = ProvenAnswer { order: asked.record.order, evidence, shard_groups, blindings };
        aggregator.answers.put_cohort(&asked.order_id, &answer.record(cohort))?;
        Ok(answer)
    }
}

/// Works on one panel after the other, also after it failed for one.
///
/// # Errors
/// The first failure; all are logged.
async fn for_each_panel<F>(
    panels: impl Iterator<Item = PanelDigest>,
    work: impl Fn(PanelDigest) -> F,
) -> Result<(), AggregatorError>
where
    F: Future<Output = Result<(), AggregatorError>>,
{
    let mut first = None;
    for panel in panels {
        if let Err(error) = work(panel).await {
            tracing::warn!(%panel, %error, "registry root not moved");
            first.get_or_insert(error);
        }
    }
    first.map_or(Ok(()), Err)
}

fn highest_price_units(members: &[Member]) -> u64 {
    let units = members.iter().map(|member| member.price.0.div_ceil(PRICE_UNIT)).max().unwrap_or(0);
    u64::try_from(units).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panel_that_fails_does_not_keep_the_others_from_their_turn() {
        let worked = Mutex::new(Vec::new());
        let work = async |panel: PanelDigest| {
            worked.lock().expect("no test panics inside").push(panel.0[0]);
            if panel.0[0] == 3 { Ok(()) } else { Err(AggregatorError::UnknownPanel(panel)) }
        };
        let panels = [1, 2, 3].map(|number| PanelDigest([number; 32]));
        match for_each_panel(panels.into_iter(), work).await {
            Err(AggregatorError::UnknownPanel(panel)) => assert_eq!(panel, panels[0], "the first failure is told"),
            other => panic!("{other:?}"),
        }
        assert_eq!(*worked.lock().expect("no test panics inside"), [1, 2, 3]);
    }
}

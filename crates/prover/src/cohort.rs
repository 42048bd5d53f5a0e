//! Proving that everybody in a cohort consents, once for each statement and selection.

use crate::{
    book::CohortBook,
    domain::DST_COHORT_NAME,
    entropy::{blinding, system_rng},
    error::ProverError,
    mirror::PanelMirror,
    panel::PanelTree,
    turn::ProvingTurn,
};
use locus_cohort::{RegisteredDataset, Selection};
use locus_commitment::{
    Digest32,
    field::{FieldBytes, NotCanonical, decode_field, encode_field},
    pedersen::CiphertextCommitment,
    sha3_256,
};
use locus_ledger::{Cohort, CohortId, CohortStatement, CohortStep, cohort_id};
use locus_proofs::{
    ProofsError,
    cohort::{CohortPolicy, CohortProof, CohortPublic, CohortShape, CohortState, CohortViolation, CohortWitness},
    groth16::ProvingKey,
    registry::{Group, GroupOffer},
    update::RegistryTree,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

/// Shards proven in one transaction. The first costs about 281,000 gas and each other 214,000, so a transaction takes
/// about 7 million, below the 2^24 that Ethereum permits.
const STEPS_PER_TRANSACTION: usize = 32;

/// Why a dataset cannot be in a cohort.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// It is named twice.
    #[error("it is named twice")]
    Duplicate,
    /// The root does not have it.
    #[error("it is not registered in this root")]
    NotRegistered,
    /// It is revoked in the root.
    #[error("it is revoked")]
    Revoked,
    /// Nothing is on offer.
    #[error("it is not on offer, or on terms that no proof covers")]
    NotOnOffer,
    /// Its ciphertext is not committed to, so the sum of a cohort with it would not open.
    #[error("it has no commitment to its ciphertext")]
    Uncommitted,
    /// The offer does not fit the statement.
    #[error(transparent)]
    Offer(#[from] CohortViolation),
}

/// All datasets that cannot be in a cohort, as they were named, with the first reason for each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct CohortRefusals(pub Vec<(RegisteredDataset, Obstacle)>);

impl fmt::Display for CohortRefusals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [] => f.write_str("every dataset can be in the cohort"),
            [(dataset, obstacle)] => write!(f, "{dataset} cannot be in the cohort: {obstacle}"),
            [(dataset, obstacle), others @ ..] => {
                write!(f, "{dataset} cannot be in the cohort: {obstacle}; nor can {} others", others.len())
            }
        }
    }
}

/// A cohort with its proofs. The blindings hide who is in it: they are for keyholders, who check with them and with
/// [`Selection::check`] that the cohort is theirs.
#[derive(Clone, PartialEq, Eq)]
pub struct ProvenCohort {
    /// What is asked of every dataset.
    pub statement: CohortStatement,
    /// A proof for each shard, ascending.
    pub steps: Vec<CohortStep>,
    /// What blinds each shard's selection in the payouts' hash.
    pub blindings: BTreeMap<u32, FieldBytes>,
}

impl ProvenCohort {
    /// What all its datasets add up to.
    pub fn cohort(&self) -> Cohort {
        self.steps.last().map_or_else(Cohort::empty, |step| step.cohort)
    }

    /// Its name, which keyholders sign.
    pub fn id(&self) -> CohortId {
        cohort_id(&self.statement, &self.cohort())
    }
}

impl fmt::Debug for ProvenCohort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProvenCohort {{ {:?}, {:?}, {} shards }}", self.statement, self.cohort(), self.steps.len())
    }
}

/// A statement as the circuit has it.
#[derive(Clone, Copy)]
struct Asked {
    statement: CohortStatement,
    policy: CohortPolicy,
    public: CohortPublic,
}

impl Asked {
    fn new(statement: &CohortStatement, tree: &RegistryTree) -> Result<Self, ProverError> {
        let policy = CohortPolicy::from_bits(statement.policy).ok_or(ProverError::Policy(statement.policy))?;
        let condition = decode_field(&statement.condition.0).map_err(|NotCanonical| ProofsError::NotCanonical)?;
        let (before, after) = (CohortState::empty(), CohortState::empty());
        let price_max = statement.price_max_units;
        let public = CohortPublic { root: tree.root(), shard: 0, policy, condition, price_max, before, after };
        Ok(Self { statement: *statement, policy, public })
    }

    /// Why a dataset of a group may not be selected.
    fn obstacle(&self, group: &Group, member: usize) -> Option<Obstacle> {
        if !group.live[member] {
            return Some(Obstacle::Revoked);
        }
        if group.offer == GroupOffer::default() {
            return Some(Obstacle::NotOnOffer);
        }
        // A part of small order commits to nothing either.
        if group.commitments[member].opens_like(&CiphertextCommitment::empty()) {
            return Some(Obstacle::Uncommitted);
        }
        self.policy.check_group(group, &self.public.condition, self.public.price_max).err().map(Obstacle::Offer)
    }
}

/// Which of these datasets cannot be in a cohort of this statement, and why; none is needed to prove it.
///
/// # Errors
/// [`ProverError::UnknownRoot`] when the tree of the statement's root is not kept, [`ProverError::Policy`].
pub fn refusals(
    panel: &PanelTree,
    statement: &CohortStatement,
    datasets: &[RegisteredDataset],
) -> Result<CohortRefusals, ProverError> {
    let tree = tree_of(panel, statement)?;
    let asked = Asked::new(statement, tree)?;
    let mut seen = BTreeSet::new();
    let obstacle = |dataset: &RegisteredDataset| {
        if !seen.insert(*dataset) {
            return Some(Obstacle::Duplicate);
        }
        let place = panel.registration(dataset.registration).and_then(|groups| groups.place_of(dataset.ordinal));
        let found = place.and_then(|(group, member)| Some((tree.group(group)?, member)));
        match found {
            None => Some(Obstacle::NotRegistered),
            Some((group, member)) => asked.obstacle(group, member),
        }
    };
    let obstacles: Vec<_> = datasets.iter().map(obstacle).collect();
    let refused = datasets.iter().zip(obstacles).filter_map(|(dataset, obstacle)| Some((*dataset, obstacle?)));
    Ok(CohortRefusals(refused.collect()))
}

fn tree_of<'a>(panel: &'a PanelTree, statement: &CohortStatement) -> Result<&'a RegistryTree, ProverError> {
    let unknown = || ProverError::UnknownRoot { sequence: statement.sequence, present: panel.sequence() };
    panel.tree_at(statement.sequence).ok_or_else(unknown)
}

/// Proves cohorts on one panel and keeps them.
pub struct CohortProver {
    mirror: Arc<PanelMirror>,
    shape: CohortShape,
    key: Arc<ProvingKey>,
    turn: ProvingTurn,
    book: CohortBook,
    steps_per_transaction: usize,
    proving: tokio::sync::Mutex<()>,
}

impl CohortProver {
    /// A prover with the key of the market's cohort circuit. The mirror's connection pays for transactions.
    pub fn new(
        mirror: Arc<PanelMirror>,
        shape: CohortShape,
        key: Arc<ProvingKey>,
        turn: ProvingTurn,
        book: CohortBook,
    ) -> Self {
        let proving = tokio::sync::Mutex::default();
        Self { mirror, shape, key, turn, book, steps_per_transaction: STEPS_PER_TRANSACTION, proving }
    }

    /// For chains with other limits of gas: proves at most so many shards, at least one, in a transaction.
    #[must_use]
    pub fn with_steps_per_transaction(mut self, steps: usize) -> Self {
        self.steps_per_transaction = steps.max(1);
        self
    }

    /// The panel as this prover sees it.
    pub fn mirror(&self) -> &Arc<PanelMirror> {
        &self.mirror
    }

    /// The proven cohort of exactly these datasets. Proves it unless it was proven before, and sends it to the contract
    /// unless the chain has it, so a proof that was reorganised away is sent again by asking again. `progress` hears how
    /// many shards are proven, of how many.
    ///
    /// # Errors
    /// [`ProverError::Refused`] with all datasets that cannot be in it; [`ProverError::UnknownRoot`]; those of
    /// [`PanelMirror::follow`]; the contract's refusal.
    pub async fn prove(
        &self,
        statement: &CohortStatement,
        datasets: &[RegisteredDataset],
        mut progress: impl FnMut(u64, u64),
    ) -> Result<ProvenCohort, ProverError> {
        if statement.panel != self.mirror.panel() {
            return Err(ProverError::OtherPanel { expected: self.mirror.panel(), found: statement.panel });
        }
        let _one = self.proving.lock().await;
        let panel = self.mirror.follow().await?;
        let refused = refusals(&panel, statement, datasets)?;
        if !refused.0.is_empty() {
            return Err(refused.into());
        }
        let selection = Selection::try_new(datasets.iter().copied(), |id| panel.registration(id))?;
        let tree = tree_of(&panel, statement)?;
        let name = name_of(statement, tree, self.shape, &selection);
        let proven = match self.book.get(&name, statement)? {
            Some(known) => known,
            None => {
                let proven = self.prove_shards(Asked::new(statement, tree)?, tree, &selection, &mut progress).await?;
                self.book.put(&name, &proven)?;
                proven
            }
        };
        self.record(&proven).await?;
        Ok(proven)
    }

    async fn prove_shards(
        &self,
        asked: Asked,
        tree: &RegistryTree,
        selection: &Selection,
        progress: &mut impl FnMut(u64, u64),
    ) -> Result<ProvenCohort, ProverError> {
        let shards = selection.shards(self.shape.groups())?;
        let mut proven = ProvenCohort { statement: asked.statement, steps: Vec::new(), blindings: BTreeMap::new() };
        let mut state = CohortState::empty();
        for (done, (shard, selected)) in (0..).zip(&shards) {
            progress(done, shards.len() as u64);
            let blinding = blinding()?;
            let witness = CohortWitness {
                groups: tree.shard(self.shape.shard_levels(), *shard),
                selected: selected.clone(),
                blinding: decode_field(&blinding.0).map_err(|NotCanonical| ProofsError::NotCanonical)?,
                path: tree.path(self.shape.shard_levels(), *shard),
            };
            let after = witness.advance(&state, *shard, asked.policy);
            let public = CohortPublic { shard: *shard, before: state, after, ..asked.public };
            let (shape, key) = (self.shape, self.key.clone());
            let step = self.turn.run(move || prove_shard(shape, &key, &public, &witness)).await?;
            proven.steps.push(step);
            proven.blindings.insert(*shard, blinding);
            state = after;
        }
        progress(shards.len() as u64, shards.len() as u64);
        Ok(proven)
    }

    /// Sends what the chain does not have yet. A transaction makes a cohort of all shards up to its last, from which
    /// the next goes on, also after an interruption.
    async fn record(&self, proven: &ProvenCohort) -> Result<(), ProverError> {
        let registry = self.mirror.registry();
        let statement = &proven.statement;
        let parts: Vec<&[CohortStep]> = proven.steps.chunks(self.steps_per_transaction).collect();
        let mut missing = Vec::new();
        let mut from = Cohort::empty();
        for part in parts.into_iter().rev() {
            let Some(last) = part.last() else { continue };
            if registry.is_cohort_proven(&cohort_id(statement, &last.cohort)).await? {
                from = last.cohort;
                break;
            }
            missing.push(part);
        }
        for part in missing.into_iter().rev() {
            registry.prove_cohort(statement, &from, part).await?;
            from = part.last().map_or(from, |step| step.cohort);
        }
        Ok(())
    }
}

/// Proves one shard, after a look in plain Rust that names the clause that does not hold.
fn prove_shard(
    shape: CohortShape,
    key: &ProvingKey,
    public: &CohortPublic,
    witness: &CohortWitness,
) -> Result<CohortStep, ProverError> {
    public.check(shape, witness)?;
    let proof = CohortProof::prove(key, shape, public, witness, &mut system_rng()?)?;
    let word = |element| FieldBytes(encode_field(element));
    let (x, y) = public.after.commitment.coordinates();
    let cohort = Cohort {
        shard: public.shard,
        size: public.after.size,
        total_price_units: public.after.total_price,
        commitment: [word(&x), word(&y)],
        payouts: word(&public.after.payouts),
    };
    Ok(CohortStep { cohort, digest: public.digest_word(), proof: proof.to_bytes() })
}

/// Name of a cohort in the record: statement, the root itself, since a reorganisation may put another one under its
/// number, and the selection.
fn name_of(statement: &CohortStatement, tree: &RegistryTree, shape: CohortShape, selection: &Selection) -> Digest32 {
    let CohortStatement { panel, sequence, policy, condition, price_max_units } = statement;
    sha3_256(
        DST_COHORT_NAME,
        &[
            &panel.0,
            &sequence.to_le_bytes(),
            &encode_field(&tree.root()),
            &policy.to_le_bytes(),
            &condition.0,
            &price_max_units.to_le_bytes(),
            &selection_bytes(shape, selection),
        ],
    )
}

/// Levels of a shard, then place and members of every group, ascending: equal for equal selections only.
fn selection_bytes(shape: CohortShape, selection: &Selection) -> Vec<u8> {
    let mut bytes = vec![u8::try_from(shape.shard_levels()).unwrap_or(u8::MAX)];
    for (place, selected) in selection.groups() {
        bytes.extend_from_slice(&place.to_le_bytes());
        bytes.extend(selected.map(u8::from));
    }
    bytes
}

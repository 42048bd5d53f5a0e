//! The circuits of a market and their keys.

use crate::error::ProverError;
use locus_commitment::field::{FieldBytes, encode_field};
use locus_ledger::{ProofDeployment, VerifierKey};
use locus_proofs::{
    NetworkKeys, ProofsError, Statement,
    cohort::{CohortShape, cohort_shape},
    groth16::ProvingKey,
    keys::{CircuitKey, KeyOrigin, KeyStage, KeyStore},
    update::{RegistryTree, UpdateShape, update_shape},
};

/// Events of a batch, groups' levels of a shard, and levels of the tree in small circuits: a proof takes about a
/// second, and the contracts' panels of 2^20 groups fit.
const SMALL: (usize, usize, usize) = (8, 1, 5);

/// Sizes of the circuits that move roots and prove cohorts, over one tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Circuits {
    update: UpdateShape,
    cohort: CohortShape,
}

impl Circuits {
    /// The sizes in use: batches of 64 events, shards of 256 groups, 2^20 groups on a panel.
    pub const FULL: Self = Self { update: UpdateShape::FULL, cohort: CohortShape::FULL };

    /// Circuits of these sizes.
    ///
    /// # Errors
    /// [`ProverError::Depths`] unless both are for trees of one depth.
    pub fn try_new(update: UpdateShape, cohort: CohortShape) -> Result<Self, ProverError> {
        if update.depth() != cohort.depth() {
            return Err(ProverError::Depths { update: update.depth(), cohort: cohort.depth() });
        }
        Ok(Self { update, cohort })
    }

    /// Small circuits for trying things out: batches of 8 events, shards of 16 groups. Markets deployed with
    /// them need development keys, so they are test networks.
    ///
    /// # Errors
    /// [`ProofsError`], never for these sizes.
    pub fn small() -> Result<Self, ProverError> {
        let (events, shard_levels, depth) = SMALL;
        Self::try_new(UpdateShape::try_new(events, depth)?, CohortShape::try_new(shard_levels, depth)?)
    }

    /// The circuit that moves roots.
    pub fn update(&self) -> UpdateShape {
        self.update
    }

    /// The circuit that proves cohorts.
    pub fn cohort(&self) -> CohortShape {
        self.cohort
    }

    /// Levels of the registry tree.
    pub fn depth(&self) -> usize {
        self.update.depth()
    }
}

/// The verifying keys that a market is deployed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarketKeys {
    circuits: Circuits,
    update: CircuitKey,
    cohort: CircuitKey,
}

impl MarketKeys {
    /// The keys of the circuits in use; `None` when a real network's operator named no folder of keys.
    ///
    /// # Errors
    /// Those of [`NetworkKeys::circuit_key`], among them development keys on a real network.
    pub fn of_network(keys: &NetworkKeys) -> Result<Option<Self>, ProofsError> {
        let (update, cohort) = (keys.circuit_key(Statement::Update)?, keys.circuit_key(Statement::Cohort)?);
        Ok(update.zip(cohort).map(|(update, cohort)| Self { circuits: Circuits::FULL, update, cohort }))
    }

    /// Development keys of these circuits, made where the store does not have them. Takes about a second for small
    /// circuits and a minute for those in use.
    ///
    /// # Errors
    /// [`ProofsError`] for a store that cannot be used.
    pub fn development(
        store: &KeyStore,
        circuits: Circuits,
        mut progress: impl FnMut(KeyStage),
    ) -> Result<Self, ProverError> {
        let update = store.development_key(&update_shape(circuits.update)?, &mut progress)?;
        let cohort = store.development_key(&cohort_shape(circuits.cohort), &mut progress)?;
        Ok(Self { circuits, update, cohort })
    }

    /// Sizes of the circuits.
    pub fn circuits(&self) -> Circuits {
        self.circuits
    }

    /// The proving key of root updates, from the store that has its verifying key.
    ///
    /// # Errors
    /// Those of [`KeyStore::proving_key`].
    pub fn update_proving_key(&self, store: &KeyStore) -> Result<ProvingKey, ProofsError> {
        store.proving_key(&self.update)
    }

    /// The proving key of cohorts, from the store that has its verifying key.
    ///
    /// # Errors
    /// Those of [`KeyStore::proving_key`].
    pub fn cohort_proving_key(&self, store: &KeyStore) -> Result<ProvingKey, ProofsError> {
        store.proving_key(&self.cohort)
    }

    /// What [`deploy_with_proofs`](locus_ledger::deploy_with_proofs) takes: `root_age_max_s` is the longest, at most
    /// 30 days, that an operation may be missing from the root of a settlement.
    pub fn deployment(&self, root_age_max_s: u64) -> ProofDeployment {
        let empty_root = FieldBytes(encode_field(&RegistryTree::of_depth(self.circuits.depth()).root()));
        ProofDeployment {
            update_key: verifier_key(&self.update),
            cohort_key: verifier_key(&self.cohort),
            // A batch has at most 64 events.
            batch_events: u32::try_from(self.circuits.update.events()).unwrap_or(u32::MAX),
            empty_root,
            root_age_max_s,
        }
    }
}

fn verifier_key(key: &CircuitKey) -> VerifierKey {
    VerifierKey {
        contract_bytes: key.verifying_key.to_contract_bytes(),
        id: key.id().0,
        development: key.origin == KeyOrigin::Development,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_market_is_deployed_with_the_networks_keys_and_the_root_of_the_empty_tree() {
        let keys = MarketKeys::of_network(&NetworkKeys::new(None, true)).unwrap().unwrap();
        let deployment = keys.deployment(3_600);
        assert_eq!((deployment.batch_events, deployment.root_age_max_s), (64, 3_600));
        assert!(deployment.update_key.development && deployment.cohort_key.development);
        assert_ne!(deployment.update_key.id, deployment.cohort_key.id);
        assert_eq!(deployment.empty_root.0, encode_field(&RegistryTree::new().root()));
        assert_eq!(MarketKeys::of_network(&NetworkKeys::new(None, false)).unwrap(), None, "no folder of keys");
    }

    #[test]
    fn circuits_share_one_tree() {
        let update = UpdateShape::try_new(4, 3).unwrap();
        assert!(Circuits::try_new(update, CohortShape::try_new(1, 3).unwrap()).is_ok());
        let other = Circuits::try_new(update, CohortShape::try_new(1, 4).unwrap());
        assert!(matches!(other, Err(ProverError::Depths { update: 3, cohort: 4 })));
        let small = Circuits::small().unwrap();
        assert_eq!((small.depth(), small.update().events(), small.cohort().groups()), (5, 8, 16));
    }
}

//! Contract types generated from the committed artifacts, and conversions to the project's own.

#![allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]

/// The dataset registry.
pub(crate) mod registry {
    alloy_sol_types::sol!(
        #[derive(Debug)]
        DatasetRegistry,
        "contracts/artifacts/DatasetRegistry.json"
    );
}
/// The offer book.
pub(crate) mod offers {
    alloy_sol_types::sol!(
        #[derive(Debug)]
        OfferBook,
        "contracts/artifacts/OfferBook.json"
    );
}
/// The escrow.
pub(crate) mod escrow {
    alloy_sol_types::sol!(
        #[derive(Debug)]
        QueryEscrow,
        "contracts/artifacts/QueryEscrow.json"
    );
}
/// The settlement verifier.
pub(crate) mod verifier {
    alloy_sol_types::sol!(
        #[derive(Debug)]
        CommitteeVerifier,
        "contracts/artifacts/CommitteeVerifier.json"
    );
}
/// The test token.
pub(crate) mod token {
    alloy_sol_types::sol!(
        #[derive(Debug)]
        LocusToken,
        "contracts/artifacts/LocusToken.json"
    );
}
/// The roots of registry trees.
pub(crate) mod roots {
    alloy_sol_types::sol!(
        #[derive(Debug)]
        RegistryRoots,
        "contracts/artifacts/RegistryRoots.json"
    );
}
/// The settlement verifier of markets with proofs.
pub(crate) mod cohorts {
    alloy_sol_types::sol!(
        #[derive(Debug)]
        CohortVerifier,
        "contracts/artifacts/CohortVerifier.json"
    );
}
/// A verifying key.
pub(crate) mod groth16 {
    alloy_sol_types::sol!(
        #[derive(Debug)]
        Groth16Verifier,
        "contracts/artifacts/Groth16Verifier.json"
    );
}

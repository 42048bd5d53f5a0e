//! Who may make which call.

use locus_service::{Access, AccessTable, KEYHOLDERS, Role};

/// Enrolment comes through the archive, answers through the aggregator, noise keys from the other
/// keyholders; contributors ask for their own statements.
pub const ACCESS: AccessTable = AccessTable {
    service: "locus.keyholder.v1.KeyholderService",
    methods: &[
        ("GetKeyholder", Access::Anyone),
        ("CheckDatasets", Access::Only(&[Role::Archive])),
        ("AttestDatasets", Access::Only(&[Role::Archive])),
        ("ShareNoiseKey", Access::Only(KEYHOLDERS)),
        ("PrepareAnswer", Access::Only(&[Role::Aggregator])),
        ("CommitAnswer", Access::Only(&[Role::Aggregator])),
        ("EvaluateAnswer", Access::Only(&[Role::Aggregator])),
        ("ReleaseAnswer", Access::Only(&[Role::Aggregator])),
        ("ImportPayouts", Access::Only(&[Role::Aggregator])),
        ("CheckAttributes", Access::Only(&[Role::Archive])),
        ("VerifyAttributes", Access::Only(&[Role::Archive])),
        ("AdmitAttributes", Access::Only(&[Role::Archive])),
        ("OpenRekeying", Access::Only(&[Role::Archive])),
        ("ShareRekeying", Access::Only(&[Role::Archive])),
        ("SendRekeying", Access::Only(&[Role::Archive])),
        ("ReceiveRekeying", Access::Only(&[Role::Archive])),
        ("AttestRekeying", Access::Only(&[Role::Archive])),
        ("EraseSeeds", Access::Only(&[Role::Archive])),
        ("GetStatement", Access::Anyone),
    ],
};

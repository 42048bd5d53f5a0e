//! Who may make which call.

use locus_service::{Access, AccessTable, Role};

/// What people sign for themselves, and the settlements that the aggregator brings.
pub const ACCESS: AccessTable = AccessTable {
    service: "locus.exchange.v1.ExchangeService",
    methods: &[
        ("GetNetwork", Access::Anyone),
        ("GetRegistration", Access::Anyone),
        ("PublishPanel", Access::Anyone),
        ("RegisterDatasets", Access::Anyone),
        ("PostOffer", Access::Anyone),
        ("WithdrawOffer", Access::Anyone),
        ("ListOffers", Access::Anyone),
        ("RevokeDatasets", Access::Anyone),
        ("RecordErasure", Access::Anyone),
        ("RekeyDatasets", Access::Anyone),
        ("OpenOrder", Access::Anyone),
        ("SettleOrder", Access::Only(&[Role::Aggregator])),
        ("RefundOrder", Access::Anyone),
        ("GetOrder", Access::Anyone),
        ("GetAccount", Access::Anyone),
        ("ListEarnings", Access::Anyone),
        ("ClaimPayout", Access::Anyone),
        ("MintTestTokens", Access::Anyone),
    ],
};

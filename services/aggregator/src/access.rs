//! Who may make which call.

use locus_service::{Access, AccessTable};

/// Quotes follow from the chain; answers carry their researcher's signature; sums of ciphertexts tell nobody
/// anything.
pub const ACCESS: AccessTable = AccessTable {
    service: "locus.query.v1.QueryService",
    methods: &[("QuoteQuery", Access::Anyone), ("AnswerQuery", Access::Anyone), ("OpenCohort", Access::Anyone)],
};

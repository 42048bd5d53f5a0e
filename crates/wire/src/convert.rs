//! Wire messages to checked domain values and back, one function a type and direction.
//!
//! Parsing is `TryFrom<&pb::X>` and names the field it refuses; encoding is `From<&X>` and cannot
//! fail. What a domain value is checked against (a panel, a committee) is not known here.

mod attributes;
pub mod field;
mod genomics;
mod market;
mod network;
mod rekeying;
mod settlement;

pub use attributes::{AttributeEnrolment, SCHEMA_JSON_BYTES_MAX};
pub use field::{FieldError, FieldErrorKind};
pub use genomics::{
    parse_purpose, parse_query_class, parse_selection, parse_tier, query_class_to_pb, selection_to_pb, tier_to_pb,
};
pub use market::{NAMED_BUYERS_MAX, parse_rho};
pub use network::NetworkInfo;
pub use rekeying::{parse_generation, parse_rekeyed_keys, rekeyed_keys};
pub use settlement::{
    EARNINGS_PAGE_MAX, Earning, PAYEES_MAX, Payee, SettlementSignature, parse_earnings, parse_payees,
    parse_settlement_signatures,
};

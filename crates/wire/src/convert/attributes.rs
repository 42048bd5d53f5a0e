//! What a registrant says about attributes.

use super::{
    FieldError, FieldErrorKind,
    field::{self, in_range},
};
use crate::pb::keyholder as pb;
use locus_ledger::{AttributeStatement, RegistrationId};
use locus_phenotype::AttributeSchema;
use locus_privacy::BATCH_SIZE_MAX;

/// Largest schema document.
pub const SCHEMA_JSON_BYTES_MAX: usize = 1 << 20;

/// The header of an enrolment of attributes, well formed. Who signed it, and whether the registration
/// exists, is for its reader to see.
#[derive(Debug, Clone)]
pub struct AttributeEnrolment {
    /// What is signed.
    pub statement: AttributeStatement,
    /// The schema that the statement names.
    pub schema: AttributeSchema,
    /// Datasets of the registration.
    pub dataset_count: u32,
    /// The registrant's signature of the statement.
    pub registrant_signature: Vec<u8>,
    /// Names the randomness of the check; 0 before one was chosen.
    pub attempt: u64,
}

impl TryFrom<&pb::AttributeHeader> for AttributeEnrolment {
    type Error = FieldError;

    fn try_from(message: &pb::AttributeHeader) -> Result<Self, FieldError> {
        let (max, got) = (SCHEMA_JSON_BYTES_MAX, message.schema_json.len());
        if got > max {
            return Err(FieldError::new("header.schema_json", FieldErrorKind::TooLong { max, got }));
        }
        let refused = |error| FieldError::refused("header.schema_json", error);
        let schema = AttributeSchema::parse_json(&message.schema_json).map_err(refused)?;
        Ok(Self {
            statement: AttributeStatement {
                registration: RegistrationId(message.registration_id),
                revision: in_range("header.revision", message.revision, 1, u64::from(u32::MAX))?,
                schema: schema.digest().0,
                commitments: field::digest("header.commitments_digest", &message.commitments_digest)?,
            },
            dataset_count: in_range("header.dataset_count", message.dataset_count, 1, u64::from(BATCH_SIZE_MAX))?,
            registrant_signature: field::signature("header.registrant_signature", &message.registrant_signature)?,
            attempt: message.attempt,
            schema,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: &str = r#"{"name":"s","version":"1","attributes":[{"name":"smoker","kind":"flag"}]}"#;

    fn header() -> pb::AttributeHeader {
        pb::AttributeHeader {
            registration_id: 7,
            revision: 1,
            schema_json: SCHEMA.to_owned(),
            dataset_count: 2,
            commitments_digest: vec![1; 32].into(),
            registrant_signature: vec![2; 65].into(),
            attempt: 3,
        }
    }

    #[test]
    fn a_header_names_the_schema_that_is_signed() {
        let parsed = AttributeEnrolment::try_from(&header()).expect("well formed");
        assert_eq!(parsed.statement.schema, parsed.schema.digest().0);
        assert_eq!((parsed.statement.registration, parsed.attempt), (RegistrationId(7), 3));
    }

    #[test]
    fn every_malformed_field_is_refused() {
        let changes: [(&str, fn(&mut pb::AttributeHeader)); 7] = [
            ("revision", |header| header.revision = 0),
            ("schema", |header| header.schema_json = "{}".to_owned()),
            ("long schema", |header| header.schema_json = " ".repeat(SCHEMA_JSON_BYTES_MAX) + SCHEMA),
            ("no datasets", |header| header.dataset_count = 0),
            ("too many datasets", |header| header.dataset_count = 4097),
            ("commitments", |header| header.commitments_digest = vec![1; 31].into()),
            ("signature", |header| header.registrant_signature.clear()),
        ];
        for (what, change) in changes {
            let mut message = header();
            change(&mut message);
            assert!(AttributeEnrolment::try_from(&message).is_err(), "{what}");
        }
    }
}

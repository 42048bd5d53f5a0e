//! Attribute schemas in use.

use crate::{
    error::ClientError,
    service::{Services, name, retrying},
};
use locus_ledger::RegistrationId;
use locus_phenotype::{AttributeSchema, SchemaDigest};
use locus_wire::{
    convert::{SCHEMA_JSON_BYTES_MAX, field},
    pb::archive as pb,
};

/// A schema as the archive lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedSchema {
    /// Its digest.
    pub digest: SchemaDigest,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Registrations whose datasets have attributes of it, ascending.
    pub registrations: Vec<RegistrationId>,
}

/// The attribute schemas in use.
///
/// # Errors
/// [`ClientError::Call`] or [`ClientError::Malformed`].
pub async fn list_schemas(services: &Services) -> Result<Vec<ListedSchema>, ClientError> {
    let call = || {
        let mut archive = services.archive.clone();
        async move { archive.list_schemas(pb::ListSchemasRequest {}).await }
    };
    let message = retrying(name::ARCHIVE, call).await?;
    let parse = |schema: pb::list_schemas_response::Schema| {
        let digest = field::digest("schemas.schema_digest", &schema.schema_digest);
        Ok(ListedSchema {
            digest: SchemaDigest(digest.map_err(|error| ClientError::Malformed { service: name::ARCHIVE, error })?),
            name: schema.name,
            version: schema.version,
            registrations: schema.registrations.into_iter().map(RegistrationId).collect(),
        })
    };
    message.schemas.into_iter().map(parse).collect()
}

/// Fetches a schema by digest and checks that it is that schema.
///
/// # Errors
/// [`ClientError::Call`] when the archive does not have it, [`ClientError::OtherSchema`] when what it
/// sends has another digest.
pub async fn get_schema(services: &Services, digest: SchemaDigest) -> Result<AttributeSchema, ClientError> {
    let request = pb::GetSchemaRequest { schema_digest: digest.0.0.to_vec().into() };
    let call = || {
        let (mut archive, request) = (services.archive.clone(), request.clone());
        async move { archive.get_schema(request).await }
    };
    let message = retrying(name::ARCHIVE, call).await?;
    let other = ClientError::OtherSchema { wanted: digest.0 };
    if message.schema_json.len() > SCHEMA_JSON_BYTES_MAX {
        return Err(other);
    }
    match AttributeSchema::parse_json(&message.schema_json) {
        Ok(schema) if schema.digest() == digest => Ok(schema),
        _ => Err(other),
    }
}

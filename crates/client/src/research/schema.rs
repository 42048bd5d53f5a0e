//! Which attributes the people of a market have.

use crate::{
    error::ClientError,
    service::{Services, name, retrying},
};
use locus_phenotype::{AttributeSchema, SchemaDigest};
use locus_wire::{
    convert::{FieldError, field},
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
    /// Registrations whose datasets have its attributes, ascending.
    pub registrations: Vec<u64>,
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
    let parse = |schema: pb::list_schemas_response::Schema| {
        Ok(ListedSchema {
            digest: SchemaDigest(field::digest("schemas.schema_digest", &schema.schema_digest)?),
            name: schema.name,
            version: schema.version,
            registrations: schema.registrations,
        })
    };
    let listed = retrying(name::ARCHIVE, call).await?.schemas.into_iter().map(parse);
    listed.collect::<Result<_, FieldError>>().map_err(malformed)
}

/// Fetches a schema by digest and checks that it is that schema.
///
/// # Errors
/// [`ClientError::Call`] when the archive does not have it, [`ClientError::Malformed`] when what it sends
/// is another one.
pub async fn get_schema(services: &Services, digest: SchemaDigest) -> Result<AttributeSchema, ClientError> {
    let request = pb::GetSchemaRequest { schema_digest: digest.0.0.to_vec().into() };
    let call = || {
        let (mut archive, request) = (services.archive.clone(), request.clone());
        async move { archive.get_schema(request).await }
    };
    let message = retrying(name::ARCHIVE, call).await?;
    let refused = |reason: &dyn std::fmt::Display| malformed(FieldError::refused("schema_json", reason));
    let schema = AttributeSchema::parse_json(&message.schema_json).map_err(|error| refused(&error))?;
    if schema.digest() == digest { Ok(schema) } else { Err(refused(&"it is not the schema asked for")) }
}

fn malformed(error: FieldError) -> ClientError {
    ClientError::Malformed { service: name::ARCHIVE, error }
}

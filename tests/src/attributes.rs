//! Enrolments of attributes: as the client makes them, or recorded, changed and sent to the real
//! archive.

use crate::{Market, Party, now_unix_s, system_rng, upload::Recorder};
use anyhow::{Context as _, Result, ensure};
use locus_client::{
    ClientError, NoProgress,
    enrol::{AttributeInput, AttributesAdded, EnrolInput, Enrolled, EnrolmentRecords, add_attributes},
};
use locus_commitment::{DatasetContext, DatasetId, Digest32};
use locus_ledger::RegistrationId;
use locus_phenotype::{AttributeSchema, PersonAttributes};
use locus_service::{Listen, MESSAGE_BYTES_MAX, ServerOptions, serve};
use locus_sharing::{
    AttributeEntry, AttributePackage, AttributePackageHeader, AttributeShares, DatasetSecrets, GenotypeDigest,
    KeyholderIndex,
};
use locus_wire::pb::{
    archive::{
        AttributeChunk, EnrolAttributesRequest,
        archive_service_server::ArchiveServiceServer,
        enrol_attributes_request::Part,
        enrol_attributes_response::{Event, Receipt},
    },
    keyholder::{AttributeHeader, SealedAttributes},
};
use std::{fs, sync::Arc};
use tonic::{Status, service::Routes};

/// An enrolment of attributes, taken apart.
#[derive(Debug, Clone)]
pub struct AttributeUpload {
    /// First message.
    pub header: AttributeHeader,
    /// The others, in the order sent.
    pub chunks: Vec<AttributeChunk>,
}

impl AttributeUpload {
    /// What an honest client of `party` would send.
    pub async fn of(
        market: &Market,
        party: &Party,
        registration: RegistrationId,
        input: &AttributeInput,
    ) -> Result<Self> {
        let recorder = Recorder::default();
        let server = ArchiveServiceServer::new(recorder.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let server = serve(Routes::new(server), Listen::InProcess, ServerOptions::default()).await?;
        let services = market.services_with_archive(&server.connector()).await?;
        // A copy of the records, which learns what is only recorded here.
        let copy = market.scratch().join("recorded-attributes.jsonl");
        fs::copy(party.folder.keys().with_file_name("enrolments.jsonl"), &copy)?;
        let records = EnrolmentRecords::new(&copy);
        let (network, now) = (&market.network, now_unix_s());
        let progress = Arc::new(NoProgress);
        let refused =
            add_attributes(&services, network, &party.keys, &records, registration, input, now, progress).await;
        ensure!(refused.is_err(), "the recorder takes nothing in");
        let mut chunks = Vec::new();
        let mut header = None;
        for message in recorder.take_attributes() {
            match message.part.context("a message without content")? {
                Part::Header(part) => header = Some(part),
                Part::Chunk(chunk) => chunks.push(chunk),
            }
        }
        Ok(Self { header: header.context("no header")?, chunks })
    }

    /// Replaces what one keyholder is sent: the same commitments, and share 3 as `alter` makes it of each
    /// dataset.
    #[allow(clippy::too_many_arguments)]
    pub fn reseal(
        &mut self,
        market: &Market,
        party: &Party,
        genotypes: &EnrolInput,
        enrolled: &Enrolled,
        attributes: &[PersonAttributes],
        keyholder: KeyholderIndex,
        alter: impl Fn(usize, &mut Vec<u64>),
    ) -> Result<()> {
        let schema = AttributeSchema::parse_json(&self.header.schema_json)?;
        let header = AttributePackageHeader {
            network: market.network.id(),
            registration: enrolled.registration.0,
            keyholder,
            first_ordinal: 0,
            count: u32::try_from(attributes.len())?,
            schema: schema.digest().0,
            bit_count: u32::try_from(schema.bit_count())?,
        };
        let mut entries = Vec::with_capacity(attributes.len());
        for (place, (person, dataset)) in attributes.iter().zip(&enrolled.datasets).enumerate() {
            let context = DatasetContext {
                network: market.network.id(),
                registrant: party.keys.address(),
                dataset: DatasetId(parse_digest(&dataset.dataset)?.0),
                panel: genotypes.panel.digest(),
                version: 1,
            };
            let packed = genotypes.genotypes.person(u32::try_from(place)?)?;
            let digest = GenotypeDigest::of_packed(packed.as_bytes());
            let secrets = DatasetSecrets::derive(party.keys.master(), &context, &digest);
            let (master, bits) = (party.keys.master(), person.to_bits(&schema));
            let shares = AttributeShares::new(master, &context, &secrets.seeds, &schema.digest().0, &bits)?;
            let entry = shares.entry_for(keyholder);
            let mut sent = entry.sent().to_vec();
            alter(place, &mut sent);
            entries.push(AttributeEntry::of_parts(entry.commitment(), sent));
        }
        let package = AttributePackage::try_new(header, entries)?;
        let sealed = package.seal(market.network.sealing_key(keyholder), &mut system_rng())?.into_bytes().into();
        let number = u32::from(keyholder.get());
        let attributes = Some(SealedAttributes { first_ordinal: 0, dataset_count: header.count, sealed });
        self.chunks.retain(|chunk| chunk.keyholder != number);
        self.chunks.push(AttributeChunk { keyholder: number, attributes });
        Ok(())
    }

    /// Sends it to the market's archive.
    pub async fn send(&self, market: &Market) -> Result<Receipt, Status> {
        let header = Part::Header(self.header.clone());
        let parts = std::iter::once(header).chain(self.chunks.iter().cloned().map(Part::Chunk));
        let messages: Vec<_> = parts.map(|part| EnrolAttributesRequest { part: Some(part) }).collect();
        let mut archive = market.services.archive.clone();
        let mut stream = archive.enrol_attributes(tokio_stream::iter(messages)).await?.into_inner();
        while let Some(message) = stream.message().await? {
            if let Some(Event::Receipt(receipt)) = message.event {
                return Ok(receipt);
            }
        }
        Err(Status::aborted("the enrolment of attributes ended without a receipt"))
    }
}

fn parse_digest(text: &str) -> Result<Digest32> {
    ensure!(text.len() == 64, "64 digits");
    let mut digest = [0; 32];
    for (place, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * place..2 * place + 2).context("two digits")?, 16)?;
    }
    Ok(Digest32(digest))
}

impl Market {
    /// Gives the people of a registration attributes, as its institution would.
    pub async fn add_attributes(
        &self,
        party: &Party,
        registration: RegistrationId,
        input: &AttributeInput,
    ) -> Result<AttributesAdded, ClientError> {
        let records = party.folder.enrolments();
        let (services, network, now) = (&self.services, &self.network, now_unix_s());
        let progress = Arc::new(NoProgress);
        add_attributes(services, network, &party.keys, &records, registration, input, now, progress).await
    }
}

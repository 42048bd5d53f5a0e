//! The archive carries the messages of a re-keying: what it changes, exchanges or withholds is refused, and what it sees is sealed.

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use locus_client::publish_new_keys;
use locus_genomics::{Genotype, Panel};
use locus_ledger::{AccountKey, RegistrationId, RekeyRequest, rekey_request_hash};
use locus_privacy::{Rho, Tier};
use locus_service::reason_of;
use locus_sharing::{KeyholderIndex, seal::SealingPrivateKey};
use locus_tests::{Market, People, biomedical, first_variants, now_unix_s, small_floors};
use locus_wire::{
    convert::parse_rekeyed_keys,
    pb::keyholder::{self as pb, receive_rekeying_request::Part as Sent, receive_rekeying_response::Part as Received},
    relay,
};
use std::sync::Arc;
use tonic::Status;

const PEOPLE: u32 = 24;
const VARIANTS: u32 = 12;
/// Keyholder 2, which gets parts from keyholder 1.
const RECEIVER: usize = 1;
const SENDER: usize = 0;

/// Two registrations, and everything that an archive can say to the keyholders.
struct Scene {
    market: Market,
    admin: AccountKey,
    people: People,
    panel: Arc<Panel>,
    registration: RegistrationId,
    other: RegistrationId,
}

/// A re-keying up to the second step.
struct Opened {
    order: pb::RekeyingOrder,
    openings: Vec<pb::RekeyingOpening>,
    /// For keyholders 1, 2 and 3.
    headers: [pb::RekeyingHeader; 3],
}

impl Scene {
    async fn set() -> Result<Self> {
        let market = Market::start_with(small_floors()).await?;
        let people = People::new(PEOPLE, VARIANTS, 61);
        let input = market.read_people("everyone", &people)?;
        let registration = market.enrol(&market.biobank, &input).await?.pop().context("a batch")?.registration;
        let others = market.read_more_people("others", &people.next(5), &input.panel)?;
        let other = market.enrol(&market.clinic, &others).await?.pop().context("a batch")?.registration;
        let admin = market.admin()?;
        Ok(Self { panel: input.panel.clone(), market, admin, people, registration, other })
    }

    fn order(&self, registration: RegistrationId, signer: &AccountKey) -> Result<pb::RekeyingOrder> {
        let request = RekeyRequest { registration, generation: 1, deadline_unix_s: now_unix_s() + 600 };
        let signature = signer.sign_digest(&rekey_request_hash(&self.market.network.id(), &request))?;
        Ok(pb::RekeyingOrder {
            registration_id: registration.0,
            generation: u32::from(request.generation),
            deadline_unix_s: request.deadline_unix_s,
            admin: self.admin.address().0.to_vec().into(),
            signature: signature.to_bytes().to_vec().into(),
        })
    }

    async fn open(&self, place: usize, order: &pb::RekeyingOrder) -> Result<pb::RekeyingOpening, Status> {
        let request = pb::OpenRekeyingRequest { order: Some(order.clone()) };
        let response = self.market.services.keyholders[place].clone().open_rekeying(request).await?;
        response.into_inner().opening.ok_or_else(|| Status::internal("no opening"))
    }

    async fn contributions(
        &self,
        place: usize,
        order: &pb::RekeyingOrder,
        openings: &[pb::RekeyingOpening],
    ) -> Result<Vec<pb::RekeyingContribution>, Status> {
        let request = pb::ShareRekeyingRequest { order: Some(order.clone()), openings: openings.to_vec() };
        let response = self.market.services.keyholders[place].clone().share_rekeying(request).await?;
        Ok(response.into_inner().contributions)
    }

    /// The first two steps, as an honest archive leads them.
    async fn begin(&self, registration: RegistrationId) -> Result<Opened> {
        let order = self.order(registration, &self.admin)?;
        let (mut openings, mut contributions) = (Vec::new(), Vec::new());
        for place in 0..3 {
            openings.push(self.open(place, &order).await?);
        }
        for place in 0..3 {
            contributions.extend(self.contributions(place, &order, &openings).await?);
        }
        let headers = [1, 2, 3].map(|keyholder| pb::RekeyingHeader {
            order: Some(order.clone()),
            openings: openings.clone(),
            contributions: contributions.iter().filter(|sent| sent.to_keyholder == keyholder).cloned().collect(),
            left_out: Vec::new(),
        });
        Ok(Opened { order, openings, headers })
    }

    async fn pieces(&self, place: usize, header: &pb::RekeyingHeader) -> Result<Vec<pb::RekeyingPiece>, Status> {
        let request = pb::SendRekeyingRequest { header: Some(header.clone()) };
        let mut stream = self.market.services.keyholders[place].clone().send_rekeying(request).await?.into_inner();
        let mut pieces = Vec::new();
        while let Some(message) = stream.message().await? {
            pieces.extend(message.piece);
        }
        Ok(pieces)
    }

    async fn receive(
        &self,
        place: usize,
        header: &pb::RekeyingHeader,
        pieces: &[pb::RekeyingPiece],
    ) -> Result<(Bytes, pb::RekeyingStatement), Status> {
        let header = pb::ReceiveRekeyingHeader { header: Some(header.clone()), with_bodies: false };
        let parts = std::iter::once(Sent::Header(header)).chain(pieces.iter().cloned().map(Sent::Piece));
        let messages: Vec<_> = parts.map(|part| pb::ReceiveRekeyingRequest { part: Some(part) }).collect();
        let call = tokio_stream::iter(messages);
        let mut stream = self.market.services.keyholders[place].clone().receive_rekeying(call).await?.into_inner();
        let mut keys = Bytes::new();
        while let Some(message) = stream.message().await? {
            match message.part {
                Some(Received::Keys(found)) => keys = found.keys,
                Some(Received::Statement(statement)) => return Ok((keys, statement)),
                _ => {}
            }
        }
        Err(Status::internal("no statement"))
    }

    async fn attest(
        &self,
        place: usize,
        header: &pb::RekeyingHeader,
        statements: &[pb::RekeyingStatement],
    ) -> Result<Vec<u8>, Status> {
        let request = pb::AttestRekeyingRequest { header: Some(header.clone()), statements: statements.to_vec() };
        let response = self.market.services.keyholders[place].clone().attest_rekeying(request).await?;
        Ok(response.into_inner().signature.to_vec())
    }

    /// Exact counts of those who were re-keyed, which must be right.
    async fn count(&self) -> Result<()> {
        let question = biomedical(first_variants(&self.panel, VARIANTS)?, Tier::Exact, Rho::ZERO);
        let market = &self.market;
        let bought = market.buy_as(&market.researcher, &self.panel, &question, "5".parse()?).await?;
        // The other registration is too small for an exact answer.
        ensure!(bought.opened.cohort_size() == PEOPLE, "{}", bought.opened.cohort_size());
        for row in bought.opened.rows() {
            let truth = [Genotype::Het, Genotype::HomAlt].map(|wanted| self.people.count(row.index.0, wanted));
            ensure!([row.het, row.hom_alt] == truth, "{:?}", row.index);
        }
        Ok(())
    }
}

fn refused<T>(result: Result<T, Status>, reason: &str, what: &str) -> Result<()> {
    let status = result.err().with_context(|| format!("{what} was taken"))?;
    ensure!(reason_of(&status).as_deref() == Some(reason), "{what}: {status}");
    Ok(())
}

fn flipped(bytes: &Bytes) -> Bytes {
    let mut bytes = bytes.to_vec();
    bytes[9] ^= 1;
    bytes.into()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_archive_changes_in_a_rekeying_is_refused_and_the_honest_messages_lead_to_the_keys() -> Result<()> {
    let scene = Scene::set().await?;
    let network = scene.market.network.id();

    // It cannot order one itself.
    let signer = scene.market.keyholder_signer(KeyholderIndex::try_new(1)?)?;
    let order = scene.order(scene.registration, &signer)?;
    refused(scene.open(0, &order).await, "BAD_SIGNATURE", "an order that another signed")?;
    let honest = scene.order(scene.registration, &scene.admin)?;
    let for_the_other = pb::RekeyingOrder { registration_id: scene.other.0, ..honest };
    refused(scene.open(0, &for_the_other).await, "BAD_SIGNATURE", "the order for another registration")?;

    let opened = scene.begin(scene.registration).await?;
    let other = scene.begin(scene.other).await?;
    let header = &opened.headers[RECEIVER];

    // A key whose private key it has, in the place of a keyholder's: contributions would be sealed to it.
    let own_key = SealingPrivateKey::from_seed(&[9; 32]).public_key().to_bytes().to_vec();
    let mut openings = opened.openings.clone();
    openings[RECEIVER].hpke_public_key = own_key.into();
    refused(scene.contributions(SENDER, &opened.order, &openings).await, "BAD_SIGNATURE", "its own key")?;
    let digest = relay::rekeying_opening_digest(&network, &openings[RECEIVER]);
    openings[RECEIVER].signature = scene.admin.sign_digest(&digest)?.to_bytes().to_vec().into();
    refused(scene.contributions(SENDER, &opened.order, &openings).await, "BAD_SIGNATURE", "its own key, signed by it")?;
    let mut openings = opened.openings.clone();
    openings[RECEIVER] = other.openings[RECEIVER].clone();
    refused(scene.contributions(SENDER, &opened.order, &openings).await, "REKEYING_GONE", "another session's opening")?;

    // Contributions and pieces of another registration.
    let replayed =
        pb::RekeyingHeader { contributions: other.headers[RECEIVER].contributions.clone(), ..header.clone() };
    refused(scene.pieces(RECEIVER, &replayed).await, "BAD_SIGNATURE", "contributions of another registration")?;
    let pieces = scene.pieces(SENDER, &opened.headers[SENDER]).await?;
    let of_the_other = scene.pieces(SENDER, &other.headers[SENDER]).await?;
    refused(scene.receive(RECEIVER, header, &of_the_other).await, "REKEYING_PIECE", "pieces of another registration")?;

    // Pieces that it changes or cuts off.
    for number in 0..pieces.len() {
        let mut changed = pieces.clone();
        changed[number].sealed = flipped(&changed[number].sealed);
        refused(scene.receive(RECEIVER, header, &changed).await, "REKEYING_PIECE", "a flipped bit")?;
    }
    let cut_off = &pieces[..pieces.len() - 1];
    refused(scene.receive(RECEIVER, header, cut_off).await, "STEP_MISSING", "a stream without its end")?;

    // Somebody would keep the old keys, which the archive may know of.
    let without = pb::RekeyingHeader { left_out: vec![3], ..header.clone() };
    refused(scene.receive(RECEIVER, &without, &pieces).await, "NOT_REVOKED", "a dataset that was not revoked")?;
    refused(scene.attest(RECEIVER, header, &[]).await, "REKEYING_GONE", "a signature before there are bodies")?;

    let (mut keys, mut statements) = (Vec::new(), Vec::new());
    for keyholder in KeyholderIndex::ALL {
        let (place, source) = (keyholder.position(), keyholder.sends_to().position());
        let pieces = scene.pieces(source, &opened.headers[source]).await?;
        let (found, statement) = scene.receive(place, &opened.headers[place], &pieces).await?;
        keys.push(found);
        statements.push(statement);
    }
    ensure!(keys.iter().all(|found| *found == keys[0]), "all three computed the same");
    refused(scene.attest(RECEIVER, header, &statements[..2]).await, "STEP_MISSING", "statements of two keyholders")?;
    let mut forged = statements.clone();
    forged[2].keys_hash = flipped(&forged[2].keys_hash);
    refused(scene.attest(RECEIVER, header, &forged).await, "BAD_SIGNATURE", "a statement that was changed")?;

    // Control: what the keyholders said themselves. The chain takes it, and the market's own archive leads to the same keys.
    let mut signatures = [const { Vec::new() }; 3];
    for (place, signature) in signatures.iter_mut().enumerate() {
        *signature = scene.attest(place, &opened.headers[place], &statements).await?;
    }
    let led = scene.market.attest_new_keys(scene.registration).await?;
    let keys = parse_rekeyed_keys("keys", &keys[0])?;
    ensure!(led.keys == keys, "the same keys");
    scene
        .market
        .admin_ledger()
        .await?
        .rekey_datasets(scene.registration, &keys, opened.order.deadline_unix_s, &signatures)
        .await?;
    publish_new_keys(&scene.market.services, scene.registration).await?;
    scene.count().await?;
    refused(scene.open(0, &opened.order).await, "OTHER_GENERATION", "an order that was carried out")
}

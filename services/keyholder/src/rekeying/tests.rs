//! Three keyholders give a few people new keys, while one of them or the archive cheats.

mod endings;
mod lies;
mod messages;

use super::*;
use crate::{
    store::seeds_of_secret,
    testing::{ADMIN, Committee, People, two_planes},
};
use locus_genomics::{Genotype, PackedGenotypes};
use locus_ledger::AccountKey;
use locus_rlwe::{BODY_BYTES, Body, DatasetEncryptor, HET_SHIFT, LOW_BITS_ABS_MAX, Mask, ShareSum};
use locus_service::{ErrorCode, ServiceError as _};
use locus_sharing::KeySeed;
use locus_store::Column;
use locus_wire::convert::parse_rekeyed_keys;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::sync::mpsc;

const PEOPLE: usize = 3;
/// From an order to its deadline.
const ORDER_LIFETIME_S: u64 = 3_600;
/// More than three noises of a re-keying and the one of before, and far below a flag.
const NOISE_ABS_MAX: u64 = 200;
/// More messages than there are in a stream.
const MESSAGES_MAX: usize = 16;

struct Scene {
    committee: Committee,
    _dirs: Vec<TempDir>,
    keyholders: Vec<Keyholder>,
    people: People,
    genotypes: Vec<PackedGenotypes>,
    /// Of the orders.
    deadline_unix_s: u64,
}

/// What one keyholder made.
struct Made {
    /// Of the first column, then of the second; three bodies each.
    bodies: Vec<Vec<Body>>,
    keys: pb::RekeyedKeys,
    statement: pb::RekeyingStatement,
}

/// A re-keying that all three could sign.
struct Run {
    headers: [pb::RekeyingHeader; 3],
    made: Vec<Made>,
}

impl Run {
    fn statements(&self) -> Vec<pb::RekeyingStatement> {
        self.made.iter().map(|made| made.statement.clone()).collect()
    }
}

fn genotypes(person: usize) -> PackedGenotypes {
    let all = [Genotype::HomRef, Genotype::Het, Genotype::HomAlt, Genotype::Missing];
    (0..4_080).map(|variant| all[(variant * (person + 3) + variant / 7) % 4]).collect()
}

fn columns() -> Vec<Column> {
    two_planes().columns().collect()
}

/// What a body says under root seeds of shares 1, 2 and 3; `None` when they are not its keys.
fn open(body: &Body, column: Column, context: &DatasetContext, seeds: &[KeySeed; 3]) -> Option<Vec<u64>> {
    let mut words = body.coefficients().to_vec();
    for (share, seed) in ShareIndex::ALL.into_iter().zip(seeds) {
        let secret = ShareSum::over(share, column.block, column.plane, [(context, seed)]).expect("one dataset");
        let product = Mask::v1().multiply(&secret);
        words.iter_mut().zip(product.iter()).for_each(|(word, known)| *word = word.wrapping_sub(*known));
    }
    let flag = |word: u64| {
        let rounded = word.wrapping_add(LOW_BITS_ABS_MAX) >> HET_SHIFT << HET_SHIFT;
        let noise = word.wrapping_sub(rounded).cast_signed().unsigned_abs();
        (noise <= NOISE_ABS_MAX).then_some(rounded)
    };
    words.into_iter().map(flag).collect()
}

fn refusal<T>(result: Result<T, KeyholderError>) -> (ErrorCode, &'static str) {
    let Err(error) = result else { panic!("it was taken") };
    (error.code(), error.reason())
}

const GONE: (ErrorCode, &str) = (ErrorCode::Conflict, "REKEYING_GONE");
const DISAGREE: (ErrorCode, &str) = (ErrorCode::Conflict, "KEYHOLDERS_DISAGREE");

impl Scene {
    async fn set() -> Self {
        let committee = Committee::deploy().await;
        let genotypes: Vec<PackedGenotypes> = (0..PEOPLE).map(genotypes).collect();
        let people = committee.enrol_people(20, &genotypes).await;
        let (mut dirs, mut keyholders) = (Vec::new(), Vec::new());
        for number in 1..=3 {
            let dir = tempfile::tempdir().expect("a folder");
            let keyholder = committee.keyholder(number, dir.path()).await;
            people.attest_at(&keyholder);
            dirs.push(dir);
            keyholders.push(keyholder);
        }
        let deadline_unix_s = committee.now_unix_s() + ORDER_LIFETIME_S;
        Self { committee, _dirs: dirs, keyholders, people, genotypes, deadline_unix_s }
    }

    fn id(&self) -> RegistrationId {
        self.people.registration
    }

    fn order(&self, generation: u8) -> pb::RekeyingOrder {
        let request = RekeyRequest { registration: self.id(), generation, deadline_unix_s: self.deadline_unix_s };
        self.committee.rekeying_order(ADMIN, &request)
    }

    async fn openings(&self, order: &pb::RekeyingOrder) -> Result<Vec<pb::RekeyingOpening>, KeyholderError> {
        let mut openings = Vec::new();
        for keyholder in &self.keyholders {
            openings.push(keyholder.open_rekeying(order).await?);
        }
        Ok(openings)
    }

    /// The first two steps.
    async fn headers(&self, generation: u8, left_out: &[u32]) -> Result<[pb::RekeyingHeader; 3], KeyholderError> {
        let order = self.order(generation);
        let openings = self.openings(&order).await?;
        let mut contributions = Vec::new();
        for keyholder in &self.keyholders {
            let request = pb::ShareRekeyingRequest { order: Some(order.clone()), openings: openings.clone() };
            contributions.extend(keyholder.share_rekeying(&request).await?);
        }
        Ok([1, 2, 3].map(|keyholder| pb::RekeyingHeader {
            order: Some(order.clone()),
            openings: openings.clone(),
            contributions: contributions.iter().filter(|sent| sent.to_keyholder == keyholder).cloned().collect(),
            left_out: left_out.to_vec(),
        }))
    }

    /// What the keyholder at `place` sends.
    async fn pieces(
        &self,
        place: usize,
        header: &pb::RekeyingHeader,
    ) -> Result<Vec<pb::RekeyingPiece>, KeyholderError> {
        let keyholder = &self.keyholders[place];
        let making = keyholder.begin_making(keyholder.prepare_rekeying(header).await?)?;
        let (answers, mut sent) = mpsc::channel(MESSAGES_MAX);
        keyholder.send_rekeying(Arc::new(making), &answers).await?;
        drop(answers);
        let mut pieces = Vec::new();
        while let Some(message) = sent.recv().await {
            pieces.extend(message.expect("no error").piece);
        }
        Ok(pieces)
    }

    /// What the keyholder at `place` makes of these pieces.
    async fn receive(
        &self,
        place: usize,
        header: &pb::RekeyingHeader,
        pieces: &[pb::RekeyingPiece],
    ) -> Result<Made, KeyholderError> {
        use pb::receive_rekeying_response::Part;
        let keyholder = &self.keyholders[place];
        let making = keyholder.begin_making(keyholder.prepare_rekeying(header).await?)?;
        let (answers, mut made) = mpsc::channel(MESSAGES_MAX);
        let (sender, receiver) = mpsc::channel(MESSAGES_MAX);
        for piece in pieces {
            sender.try_send(piece.clone()).expect("there is room");
        }
        drop(sender);
        keyholder.receive_rekeying(Arc::new(making), true, receiver, &answers).await?;
        drop(answers);
        let (mut bodies, mut keys) = (Vec::new(), None);
        while let Some(message) = made.recv().await {
            match message.expect("no error").part {
                Some(Part::Bodies(rows)) => {
                    let rows = rows.bodies.chunks(BODY_BYTES);
                    bodies.push(rows.map(|row| Body::parse(row).expect("a body")).collect());
                }
                Some(Part::Keys(found)) => keys = Some(found),
                Some(Part::Statement(statement)) => {
                    return Ok(Made { bodies, keys: keys.expect("they come first"), statement });
                }
                None => panic!("an empty message"),
            }
        }
        panic!("no statement")
    }

    /// Place of the keyholder that sends to the one at `place`.
    fn source(&self, place: usize) -> usize {
        self.keyholders[place].index().sends_to().position()
    }

    async fn receive_honestly(&self, place: usize, headers: &[pb::RekeyingHeader; 3]) -> Result<Made, KeyholderError> {
        let source = self.source(place);
        let pieces = self.pieces(source, &headers[source]).await?;
        self.receive(place, &headers[place], &pieces).await
    }

    /// All steps before the last, all of them honest.
    async fn run(&self, generation: u8, left_out: &[u32]) -> Result<Run, KeyholderError> {
        let headers = self.headers(generation, left_out).await?;
        let mut made = Vec::new();
        for place in 0..3 {
            made.push(self.receive_honestly(place, &headers).await?);
        }
        Ok(Run { headers, made })
    }

    async fn attest(
        &self,
        place: usize,
        header: &pb::RekeyingHeader,
        statements: Vec<pb::RekeyingStatement>,
    ) -> Result<Vec<u8>, KeyholderError> {
        let request = pb::AttestRekeyingRequest { header: Some(header.clone()), statements };
        Ok(self.keyholders[place].attest_rekeying(&request).await?.signature.to_vec())
    }

    async fn attest_all(&self, run: &Run) -> Result<[Vec<u8>; 3], KeyholderError> {
        let mut signatures = [const { Vec::new() }; 3];
        for (place, signature) in signatures.iter_mut().enumerate() {
            *signature = self.attest(place, &run.headers[place], run.statements()).await?;
        }
        Ok(signatures)
    }

    /// Brings attested keys onto the chain, puts the bodies in their place, and has all keyholders read the chain.
    async fn submit(&self, run: &Run, signatures: &[Vec<u8>; 3]) {
        let made = &run.made[0];
        let keys = parse_rekeyed_keys("keys", &made.keys.keys).expect("keys");
        let rekeyed = self.committee.ledger().rekey_datasets(self.id(), &keys, self.deadline_unix_s, signatures);
        rekeyed.await.expect("the chain takes them");
        self.committee.replace_bodies(&self.people, &keys, &made.bodies).await;
        for keyholder in &self.keyholders {
            keyholder.poll_chain().await.expect("it reads the chain");
        }
    }

    fn context(&self, place: usize, version: u32) -> DatasetContext {
        DatasetContext { version, ..self.people.contexts[place] }
    }

    /// Root seeds of a person's shares, which both holders of each must have.
    fn seeds(&self, place: usize, version: u32) -> Result<[KeySeed; 3], KeyholderError> {
        let key = DatasetKey::of(&self.context(place, version));
        let mut found: [Vec<KeySeed>; 3] = Default::default();
        for keyholder in &self.keyholders {
            let secrets = keyholder.store().seeds(&[key])?;
            for (share, seed) in seeds_of_secret(keyholder.index(), &secrets[0])? {
                found[usize::from(share.get() - 1)].push(seed);
            }
        }
        Ok(found.map(|mut of_share| {
            let seed = of_share.pop().expect("two holders");
            assert!(of_share.iter().all(|other| other.as_bytes() == seed.as_bytes()), "the holders have other seeds");
            seed
        }))
    }

    fn old_body(&self, place: usize, column: Column) -> Body {
        let encryptor =
            DatasetEncryptor::new(&self.people.master, &self.people.contexts[place], &self.genotypes[place]);
        encryptor.encrypt(Mask::v1(), column.block, column.plane).expect("a block of the panel")
    }

    /// What the bodies of before say.
    fn flags(&self, place: usize, column: Column) -> Vec<u64> {
        let secrets = &self.people.secrets[place].seeds;
        let seeds = ShareIndex::ALL.map(|share| secrets.of(share).clone());
        open(&self.old_body(place, column), column, &self.people.contexts[place], &seeds).expect("the first keys")
    }

    /// Whether a keyholder has seeds of generation 1, or says that it signed.
    fn is_anything_attested(&self) -> bool {
        self.keyholders.iter().any(|keyholder| {
            let keys: Vec<DatasetKey> = (0..PEOPLE).map(|place| DatasetKey::of(&self.context(place, 2))).collect();
            let has_seeds = keys.iter().any(|key| keyholder.store().seeds(&[*key]).is_ok());
            has_seeds || !keyholder.store().attested_rekeyings().expect("it reads").is_empty()
        })
    }
}

#[tokio::test]
async fn all_three_make_the_same_keys_and_only_the_new_seeds_open_the_new_bodies() {
    let scene = Scene::set().await;
    let run = scene.run(1, &[]).await.expect("all are honest");
    assert!(run.made.iter().all(|made| made.keys == run.made[0].keys && made.bodies == run.made[0].bodies));
    assert!(!scene.is_anything_attested(), "nobody was asked to sign");
    let signatures = scene.attest_all(&run).await.expect("they agree");
    let before: Vec<[KeySeed; 3]> = (0..PEOPLE).map(|place| scene.seeds(place, 1).expect("still there")).collect();
    for keyholder in &scene.keyholders {
        assert_eq!(keyholder.store().dataset_count().expect("it reads"), 2 * PEOPLE as u64, "old beside new");
    }
    assert_eq!(scene.attest_all(&run).await.expect("again"), signatures);

    scene.submit(&run, &signatures).await;
    for keyholder in &scene.keyholders {
        assert_eq!(keyholder.store().dataset_count().expect("it reads"), PEOPLE as u64, "the old ones are gone");
        assert!(
            keyholder.store().rekeying_draws(scene.id()).expect("it reads").is_none(),
            "and what the new come from"
        );
    }
    for (place, old) in before.iter().enumerate() {
        assert_eq!(refusal(scene.seeds(place, 1)), (ErrorCode::Refused, "SEEDS_MISSING"));
        let new = scene.seeds(place, 2).expect("both holders have them");
        for (number, column) in columns().into_iter().enumerate() {
            let flags = scene.flags(place, column);
            assert!(flags.iter().any(|flag| *flag != 0), "there is something to see");
            let (body, [first, second]) = (&run.made[0].bodies[number][place], [1, 2].map(|v| scene.context(place, v)));
            assert_eq!(open(body, column, &second, &new), Some(flags), "person {place}, {column:?}");
            assert_eq!(open(body, column, &first, old), None);
            assert_eq!(open(&scene.old_body(place, column), column, &second, &new), None);
        }
    }
}

//! Making the new bodies: one pass over the stored ones, a window of datasets at a time, while the parts of the share that this
//! keyholder lacks come from the keyholder that releases it.

use super::{
    Dataset, Ordered, Prepared, lacking,
    pieces::{Channel, Opener, Sealer},
};
use crate::{
    error::KeyholderError,
    keyholder::Keyholder,
    store::{AttributeRecord, DatasetKey, MadeDataset, RekeyedAttributes, RekeyingResult, StoreError, seeds_of_secret},
};
use locus_commitment::{BodyDigest, DatasetBodyDigest, Digest32, Sha3Writer, ShareCommitment, ShareSetCommitment};
use locus_engine::{RowVisitor, visit_rows};
use locus_ledger::{DatasetKeys, keys_hash};
use locus_phenotype::{AttributeSchema, SchemaDigest};
use locus_rlwe::{BODY_BYTES, BlockKeys, Body, Mask, RekeyingNoise, RekeyingPart};
use locus_service::blocking;
use locus_sharing::{KeySeed, RekeyedShare, ShareIndex, attribute_share_change, shares_of};
use locus_store::{BodyBytes, Column, Manifest, PanelStore, SlotSet, StoreError as ObjectError};
use locus_wire::{pb::keyholder as pb, relay};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Arc,
};
use tokio::sync::mpsc;
use tonic::Status;
use zeroize::Zeroizing;

/// Datasets of one piece: 2 MiB of bodies.
const WINDOW_DATASETS: usize = 64;
/// The share of attributes that is kept; the others expand from seeds.
const KEPT_SHARE: ShareIndex = ShareIndex::ALL[2];
const DST_ATTRIBUTES: &str = "locus/keyholder/rekeyed-attributes/v1";
const DST_DATASET_ATTRIBUTES: &str = "locus/keyholder/rekeyed-attributes-of-dataset/v1";

type Answers<T> = mpsc::Sender<Result<T, Status>>;

/// What one share of one dataset changes from and to.
struct ShareChange {
    share: ShareIndex,
    old_seed: KeySeed,
    old: BlockKeys,
    rekeyed: RekeyedShare,
    new: BlockKeys,
    commitment: ShareCommitment,
}

impl ShareChange {
    fn part(&self, column: Column) -> RekeyingPart {
        let (block, plane) = (column.block, column.plane);
        let noise = RekeyingNoise::expand(&self.rekeyed.noise, block, plane);
        RekeyingPart::new(Mask::v1(), &self.old.expand(block, plane), &self.new.expand(block, plane), &noise)
    }
}

/// The attributes of a dataset as they are before a re-keying, and how many bits they have.
struct Attributes {
    record: AttributeRecord,
    bit_count: usize,
}

/// A prepared re-keying with all that is needed of each dataset.
pub(crate) struct Making {
    prepared: Prepared,
    /// Lower and higher share of every dataset.
    changes: Vec<[ShareChange; 2]>,
    attributes: Vec<Option<Attributes>>,
    columns: Vec<Column>,
}

impl Keyholder {
    /// Reads what a prepared re-keying changes.
    pub(crate) fn begin_making(&self, prepared: Prepared) -> Result<Making, KeyholderError> {
        let keys: Vec<DatasetKey> =
            prepared.datasets.iter().map(|dataset| DatasetKey::of(&dataset.contexts[0])).collect();
        let mut changes = Vec::with_capacity(keys.len());
        for (dataset, secret) in prepared.datasets.iter().zip(self.store().seeds(&keys)?) {
            let [lower, higher] = seeds_of_secret(self.index(), &secret)?;
            changes.push([change(&prepared, dataset, lower)?, change(&prepared, dataset, higher)?]);
        }
        let mut bit_counts = BTreeMap::new();
        let mut attributes = Vec::with_capacity(keys.len());
        for record in self.store().attribute_records(&keys)? {
            attributes.push(match record {
                Some(record) => {
                    let bit_count = self.bit_count(&mut bit_counts, record.schema)?;
                    Some(Attributes { record, bit_count })
                }
                None => None,
            });
        }
        let blocks = prepared.ordered.shape.columns().collect();
        Ok(Making { prepared, changes, attributes, columns: blocks })
    }

    fn bit_count(&self, known: &mut BTreeMap<Digest32, usize>, schema: Digest32) -> Result<usize, KeyholderError> {
        if let Some(count) = known.get(&schema) {
            return Ok(*count);
        }
        let json = self.store().schema_json(&SchemaDigest(schema))?.ok_or(KeyholderError::UnknownSchema)?;
        let parsed = AttributeSchema::parse_json(&json).map_err(|_| StoreError::Damaged("attribute schema"))?;
        known.insert(schema, parsed.bit_count());
        Ok(parsed.bit_count())
    }

    /// Third step: the parts of the share that this keyholder releases, to the one that lacks it.
    pub(crate) async fn send_rekeying(
        &self,
        making: Arc<Making>,
        answers: &Answers<pb::SendRekeyingResponse>,
    ) -> Result<(), KeyholderError> {
        let share = self.index().released_share();
        let channel = Channel {
            seed: making.prepared.seed_of(self.index().other_share())?.clone(),
            session: making.prepared.session,
            from: self.index(),
            to: lacking(share)?,
        };
        let mut sealer = Sealer::new(&channel)?;
        let windows = making.windows();
        for column in making.columns.clone() {
            for window in windows.clone() {
                let of_window = making.clone();
                let parts = blocking(move || of_window.parts(share, column, window)).await;
                let piece = sealer.seal(&parts, false)?;
                if answers.send(Ok(pb::SendRekeyingResponse { piece: Some(piece) })).await.is_err() {
                    return Ok(());
                }
            }
        }
        for (place, window) in windows.iter().enumerate() {
            let tail = making.tail(share, window.clone());
            let piece = sealer.seal(&tail, place + 1 == windows.len())?;
            if answers.send(Ok(pb::SendRekeyingResponse { piece: Some(piece) })).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Fourth step: takes in the parts of the share that this keyholder lacks, makes the new bodies and keeps what it will sign for.
    pub(crate) async fn receive_rekeying(
        &self,
        making: Arc<Making>,
        with_bodies: bool,
        mut pieces: mpsc::Receiver<pb::RekeyingPiece>,
        answers: &Answers<pb::ReceiveRekeyingResponse>,
    ) -> Result<(), KeyholderError> {
        // The share of its own number is the one that a keyholder lacks.
        let share = ShareIndex::try_new(self.index().get())?;
        let from = self.index().sends_to();
        let common = from.other_share();
        let seed = making.prepared.seed_of(common)?.clone();
        let channel = Channel { seed, session: making.prepared.session, from, to: self.index() };
        let mut opener = Opener::new(channel);
        let mut next = async |opener: &mut Opener| {
            let piece = pieces.recv().await.ok_or(KeyholderError::StepMissing("all pieces of the other keyholder"))?;
            opener.open(&piece)
        };
        let stored = StoredBodies::open(self, &making).await?;
        let windows = making.windows();
        let mut digests = vec![Vec::with_capacity(making.columns.len()); making.changes.len()];
        for (number, column) in making.columns.clone().into_iter().enumerate() {
            for window in windows.clone() {
                let parts = next(&mut opener).await?;
                let old = stored.read(column, &making.prepared.datasets[window.clone()]).await?;
                let (of_window, rows) = (making.clone(), window.clone());
                let made = blocking(move || of_window.bodies(column, rows, &old, &parts)).await?;
                for (digests, digest) in digests[window.clone()].iter_mut().zip(&made.digests) {
                    digests.push(*digest);
                }
                if with_bodies {
                    let bodies = pb::RekeyedBodies {
                        column: u32::try_from(number).unwrap_or(u32::MAX),
                        first: u32::try_from(window.start).unwrap_or(u32::MAX),
                        bodies: made.bodies.into(),
                    };
                    let part = pb::receive_rekeying_response::Part::Bodies(bodies);
                    if answers.send(Ok(pb::ReceiveRekeyingResponse { part: Some(part) })).await.is_err() {
                        return Ok(());
                    }
                }
            }
        }
        let mut ending = Ending::new(self, &making, share);
        for window in windows {
            let tail = next(&mut opener).await?;
            ending.take(window, &tail)?;
        }
        if !opener.is_over() {
            return Err(KeyholderError::StepMissing("the last piece"));
        }
        let (keys, statement) = self.finish_making(&making, ending, &digests)?;
        for part in
            [pb::receive_rekeying_response::Part::Keys(keys), pb::receive_rekeying_response::Part::Statement(statement)]
        {
            if answers.send(Ok(pb::ReceiveRekeyingResponse { part: Some(part) })).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn finish_making(
        &self,
        making: &Making,
        ending: Ending<'_>,
        digests: &[Vec<BodyDigest>],
    ) -> Result<(pb::RekeyedKeys, pb::RekeyingStatement), KeyholderError> {
        let prepared = &making.prepared;
        let mut datasets = Vec::with_capacity(digests.len());
        let mut attributes_digest = Sha3Writer::new(DST_ATTRIBUTES);
        attributes_digest.part(&prepared.session.0);
        for ((place, digests), rekeyed) in digests.iter().enumerate().zip(prepared.rekeyed_datasets()) {
            let made = MadeDataset {
                ordinal: rekeyed.ordinal,
                keys: DatasetKeys { bodies: DatasetBodyDigest::of_bodies(digests), shares: ending.commitments[place] },
                attributes_digest: ending.attribute_digests[place],
                seeds_digest: rekeyed.seeds_digest(),
            };
            attributes_digest.part(&made.attributes_digest.0);
            datasets.push(made);
        }
        let keys: Vec<DatasetKeys> = datasets.iter().map(|dataset| dataset.keys).collect();
        let (entries, attributes_digest) = (prepared.entries(&keys), attributes_digest.finish());
        let result = RekeyingResult { datasets, keys_hash: keys_hash(&entries), attributes_digest };
        let Ordered { record, deadline_unix_s, .. } = &prepared.ordered;
        self.store().finish_rekeying(record.id, &prepared.session, &result, &ending.attributes, *deadline_unix_s)?;
        let mut statement = pb::RekeyingStatement {
            keyholder: u32::from(self.index().get()),
            session: prepared.session.0.to_vec().into(),
            keys_hash: result.keys_hash.0.to_vec().into(),
            attributes_digest: attributes_digest.0.to_vec().into(),
            signature: Default::default(),
        };
        statement.signature = self.sign(&relay::rekeying_statement_digest(&statement))?;
        Ok((locus_wire::convert::rekeyed_keys(&entries), statement))
    }
}

fn change(
    prepared: &Prepared,
    dataset: &Dataset,
    (share, old_seed): (ShareIndex, KeySeed),
) -> Result<ShareChange, KeyholderError> {
    let [before, after] = &dataset.contexts;
    let rekeyed = prepared.seed_of(share)?.dataset(share, after);
    Ok(ShareChange {
        share,
        old: BlockKeys::new(before, share, &old_seed),
        new: BlockKeys::new(after, share, &rekeyed.seed),
        commitment: rekeyed.commitment(share, after),
        old_seed,
        rekeyed,
    })
}

/// New bodies of a window.
struct Made {
    digests: Vec<BodyDigest>,
    bodies: Vec<u8>,
}

impl Making {
    fn windows(&self) -> Vec<Range<usize>> {
        let count = self.changes.len();
        (0..count).step_by(WINDOW_DATASETS).map(|start| start..count.min(start + WINDOW_DATASETS)).collect()
    }

    fn change(&self, place: usize, share: ShareIndex) -> Option<&ShareChange> {
        self.changes[place].iter().find(|change| change.share == share)
    }

    /// The parts of a share for one column of a window, one after the other.
    fn parts(&self, share: ShareIndex, column: Column, window: Range<usize>) -> Zeroizing<Vec<u8>> {
        let mut parts = Zeroizing::new(Vec::with_capacity(window.len() * BODY_BYTES));
        for change in window.filter_map(|place| self.change(place, share)) {
            parts.extend_from_slice(&change.part(column).to_bytes());
        }
        parts
    }

    /// The new bodies of one column of a window from the old ones and the parts of the share that is lacking here.
    fn bodies(&self, column: Column, window: Range<usize>, old: &[Body], parts: &[u8]) -> Result<Made, KeyholderError> {
        let (theirs, rest) = parts.as_chunks::<BODY_BYTES>();
        if theirs.len() != window.len() || old.len() != window.len() || !rest.is_empty() {
            return Err(KeyholderError::Malformed("parts of another number of datasets".into()));
        }
        let mut made = Made { digests: Vec::with_capacity(old.len()), bodies: Vec::with_capacity(parts.len()) };
        for ((changes, old), theirs) in self.changes[window].iter().zip(old).zip(theirs) {
            let [lower, higher] = changes.each_ref().map(|change| change.part(column));
            let body = old.rekeyed([&lower, &higher, &RekeyingPart::parse(theirs)?]);
            made.digests.push(body.digest());
            made.bodies.extend_from_slice(&body.to_bytes()[..]);
        }
        Ok(made)
    }

    /// By how much `share` of a dataset's attributes changes; `None` for the share that is kept and the one that is not held.
    fn attribute_change(&self, place: usize, share: ShareIndex) -> Option<Zeroizing<Vec<u64>>> {
        let attributes = self.attributes[place].as_ref().filter(|_| share != KEPT_SHARE)?;
        let change = self.change(place, share)?;
        let [before, after] = &self.prepared.datasets[place].contexts;
        let (old, new) = ((&change.old_seed, before), (&change.rekeyed.seed, after));
        let commitment = attributes.record.entry.commitment();
        Some(attribute_share_change(share, old, new, commitment, attributes.bit_count))
    }

    /// What follows the parts: for each dataset of a window the commitment to its share (32), the number of words by which the
    /// share of its attributes changes (4), and if there are any schema (32), commitment (32) and the words (8 each).
    fn tail(&self, share: ShareIndex, window: Range<usize>) -> Zeroizing<Vec<u8>> {
        let mut tail = Zeroizing::new(Vec::new());
        for place in window {
            let commitment = self.change(place, share).map_or(Digest32([0; 32]), |change| change.commitment.0);
            tail.extend_from_slice(&commitment.0);
            let change = self.attribute_change(place, share).unwrap_or_default();
            tail.extend_from_slice(&u32::try_from(change.len()).unwrap_or(u32::MAX).to_le_bytes());
            if let (Some(attributes), false) = (&self.attributes[place], change.is_empty()) {
                tail.extend_from_slice(&attributes.record.schema.0);
                tail.extend_from_slice(&attributes.record.entry.commitment().0.0);
                change.iter().for_each(|word| tail.extend_from_slice(&word.to_le_bytes()));
            }
        }
        tail
    }
}

/// What follows from the end of the other keyholder's stream.
struct Ending<'a> {
    making: &'a Making,
    /// The share that is lacking here.
    share: ShareIndex,
    is_kept_here: bool,
    commitments: Vec<ShareSetCommitment>,
    /// Of the changes of attribute shares, by dataset.
    attribute_digests: Vec<Digest32>,
    attributes: Vec<RekeyedAttributes>,
}

impl<'a> Ending<'a> {
    fn new(keyholder: &Keyholder, making: &'a Making, share: ShareIndex) -> Self {
        let is_kept_here = shares_of(keyholder.index()).contains(&KEPT_SHARE);
        let (commitments, attribute_digests, attributes) = (Vec::new(), Vec::new(), Vec::new());
        Self { making, share, is_kept_here, commitments, attribute_digests, attributes }
    }

    fn take(&mut self, window: Range<usize>, tail: &[u8]) -> Result<(), KeyholderError> {
        let mut rest = tail;
        for place in window {
            let commitment = take::<32>(&mut rest)?;
            let words = u32::from_le_bytes(take::<4>(&mut rest)?) as usize;
            let named = if words > 0 { Some((take::<32>(&mut rest)?, take::<32>(&mut rest)?)) } else { None };
            let (theirs, behind) = rest.split_at_checked(8 * words).ok_or_else(cut_short)?;
            rest = behind;
            let theirs = theirs.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)).collect();
            self.take_commitment(place, ShareCommitment(Digest32(commitment)));
            self.take_attributes(place, named, Zeroizing::new(theirs))?;
        }
        if rest.is_empty() { Ok(()) } else { Err(cut_short()) }
    }

    fn take_commitment(&mut self, place: usize, theirs: ShareCommitment) {
        let of_share = |share| self.making.change(place, share).map_or(theirs, |change| change.commitment);
        self.commitments.push(ShareSetCommitment::new(&ShareIndex::ALL.map(of_share)));
    }

    /// The shares that expand, 1 and 2, change; what is kept makes up for it.
    fn take_attributes(
        &mut self,
        place: usize,
        named: Option<([u8; 32], [u8; 32])>,
        theirs: Zeroizing<Vec<u64>>,
    ) -> Result<(), KeyholderError> {
        let own = self.making.attributes[place].as_ref();
        let is_told = self.share != KEPT_SHARE;
        let expected = own.filter(|_| is_told).map(|own| (own.record.schema.0, own.record.entry.commitment().0.0));
        let is_of_length = own.is_none_or(|own| !is_told || theirs.len() == own.bit_count);
        if named != expected || !is_of_length {
            let text = "the keyholders have other attributes of a dataset: start the re-keying again";
            return Err(KeyholderError::Disagreement(text.into()));
        }
        let Some(own) = own else {
            self.attribute_digests.push(Digest32([0; 32]));
            return Ok(());
        };
        let mut theirs = Some(theirs);
        let [first, second, _] = ShareIndex::ALL;
        let mut changes = Vec::with_capacity(2);
        for share in [first, second] {
            let change = self.making.attribute_change(place, share).or_else(|| theirs.take());
            changes.push(change.ok_or(KeyholderError::StepMissing("the change of an attribute share"))?);
        }
        let dataset = &self.making.prepared.datasets[place];
        let mut digest = Sha3Writer::new(DST_DATASET_ATTRIBUTES);
        digest.part(&self.making.prepared.session.0).part(&dataset.ordinal.to_le_bytes());
        digest.part(&own.record.schema.0).part(&own.record.entry.commitment().0.0);
        for change in &changes {
            let bytes: Zeroizing<Vec<u8>> = Zeroizing::new(change.iter().flat_map(|word| word.to_le_bytes()).collect());
            digest.part(&bytes);
        }
        self.attribute_digests.push(digest.finish());
        let entry = match self.is_kept_here {
            true => own.record.entry.rekeyed([&changes[0], &changes[1]])?,
            false => own.record.entry.clone(),
        };
        self.attributes.push(RekeyedAttributes {
            ordinal: dataset.ordinal,
            key: DatasetKey::of(&dataset.contexts[1]),
            record: AttributeRecord { schema: own.record.schema, entry },
        });
        Ok(())
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], KeyholderError> {
    let (taken, behind) = rest.split_first_chunk::<N>().ok_or_else(cut_short)?;
    *rest = behind;
    Ok(*taken)
}

fn cut_short() -> KeyholderError {
    KeyholderError::Malformed("the end of the parts has another length".into())
}

/// The bodies of the registration as they are stored.
struct StoredBodies {
    panel: PanelStore,
    manifest: Manifest,
}

impl StoredBodies {
    async fn open(keyholder: &Keyholder, making: &Making) -> Result<Self, KeyholderError> {
        let ordered = &making.prepared.ordered;
        let panel = keyholder.objects()?.panel(ordered.record.panel, ordered.shape);
        let manifest = panel.latest().await.map_err(|error| KeyholderError::Engine(error.into()))?;
        Ok(Self { panel, manifest })
    }

    /// The bodies of one column of these datasets, each held against H(b) on the chain.
    async fn read(&self, column: Column, datasets: &[Dataset]) -> Result<Vec<Body>, KeyholderError> {
        let engine = |error: ObjectError| KeyholderError::Engine(error.into());
        let slots: BTreeSet<u32> = datasets.iter().map(|dataset| dataset.slot).collect();
        let selection = SlotSet::try_from_iter(slots.iter().copied()).map_err(engine)?;
        let registered: BTreeMap<u32, DatasetBodyDigest> =
            datasets.iter().map(|dataset| (dataset.slot, dataset.bodies)).collect();
        let collected =
            visit_rows(&self.panel, &self.manifest, column, &selection, &registered, Collected::default()).await?;
        let mut bodies = collected.0;
        let body = |dataset: &Dataset| bodies.remove(&dataset.slot).ok_or(KeyholderError::StepMissing("a stored body"));
        datasets.iter().map(body).collect()
    }
}

/// Bodies by slot.
#[derive(Default)]
struct Collected(BTreeMap<u32, Body>);

impl RowVisitor for Collected {
    fn visit(&mut self, slot: u32, body: &BodyBytes) -> Result<(), ObjectError> {
        self.0.insert(slot, Body::parse(body).map_err(|_| ObjectError::Interrupted)?);
        Ok(())
    }
}

//! Three keyholders in one process that pass messages in memory.

use super::{Person, master, noise_key};
use locus_commitment::Digest32;
use locus_genomics::{PanelBlockIndex, Plane};
use locus_phenotype::{AttributeSchema, AttributeTable, Evaluation, EvaluationPlan, PersonAttributes};
use locus_privacy::{SigmaSquared, SlotMask, Tau};
use locus_rlwe::{BlockKeys, Body, FilteredPart, FilteredSum, Mask, NoiseInput, SecretBits, WeightShares};
use locus_sharing::{
    AttributeShares, BitCheck, CoinPart, KeyholderIndex, NoiseKey, ProductPart, Prss, PrssSession, ShareIndex,
    SharedValues as _, SharedVector, SharingError, SumPart, open_sum, shares_of, verify_bits,
};

pub(crate) type Shared = [SharedVector<u64>; 3];

/// Number of the gate that masks parts of answers, above those of any plan.
const ANSWER_GATE: u32 = 1 << 20;

/// The sources of common randomness of all three, in one attempt, and what they have sent.
pub(crate) struct Keyholders {
    pub(crate) prss: [Prss; 3],
    next_gate: u32,
    next_answer: u32,
    pub(crate) bytes_sent: usize,
}

impl Keyholders {
    pub(crate) fn new(attempt: u64) -> Self {
        let session = PrssSession { tau: Digest32([8; 32]), attempt };
        let prss = KeyholderIndex::ALL.map(|keyholder| {
            let keys = [keyholder.released_share(), keyholder.other_share()].map(noise_key);
            Prss::new(keyholder, &keys[0], &keys[1], session)
        });
        Self { prss, next_gate: 0, next_answer: ANSWER_GATE, bytes_sent: 0 }
    }

    /// Who of `rows` a plan selects.
    pub(crate) fn evaluate(&mut self, plan: &EvaluationPlan, rows: &[Shared]) -> Shared {
        let columns =
            KeyholderIndex::ALL.map(|keyholder| rows.iter().map(|row| &row[keyholder.position()]).collect::<Vec<_>>());
        let tables = KeyholderIndex::ALL.map(|keyholder| {
            let rows = &columns[keyholder.position()];
            AttributeTable::of_rows(keyholder, rows, plan.inputs()).expect("rows have all bits")
        });
        let mut runs =
            tables.each_ref().map(|table| Evaluation::new(plan, table, self.next_gate).expect("all inputs are there"));
        self.next_gate += u32::try_from(plan.gates().len()).expect("small");
        while !runs[0].is_done() {
            let messages = [0, 1, 2].map(|place| runs[place].send(&mut self.prss[place]).expect("fresh gates"));
            self.bytes_sent +=
                messages.iter().map(|message| message.len() * SharedVector::<u64>::PRODUCT_BYTES).sum::<usize>();
            for keyholder in KeyholderIndex::ALL {
                let message = &messages[keyholder.receives_from().position()];
                runs[keyholder.position()].receive(message).expect("the same length");
            }
        }
        runs.each_ref().map(|run| run.selection().expect("all rounds are done").clone())
    }

    /// Products, place by place.
    pub(crate) fn multiply(&mut self, left: &Shared, right: &Shared) -> Shared {
        let gate = self.next_gate;
        self.next_gate += 1;
        let sent = KeyholderIndex::ALL.map(|keyholder| {
            let place = keyholder.position();
            let mut part = ProductPart::new(keyholder, left[place].len());
            part.add_product(&left[place], &right[place]).expect("one length");
            part.mask(&mut self.prss[place], gate).expect("a fresh gate")
        });
        KeyholderIndex::ALL.map(|keyholder| {
            let received = sent[keyholder.receives_from().position()].clone();
            SharedVector::of_parts(keyholder, sent[keyholder.position()].clone(), received).expect("one length")
        })
    }

    /// How many are selected, with each keyholder's noise.
    pub(crate) fn matched(&mut self, selection: &Shared, noise: [i64; 3]) -> i64 {
        self.next_answer += 1;
        let parts = [0, 1, 2].map(|place| {
            SumPart::new(&selection[place], noise[place], &mut self.prss[place], self.next_answer).expect("fresh")
        });
        open_sum(parts)
    }

    /// Checks that everybody's shares are valid bits.
    pub(crate) fn check_bits(&mut self, rows: &[Shared], schema: &AttributeSchema) -> Result<(), SharingError> {
        let rules = schema.bit_rules();
        let gate = self.next_gate;
        self.next_gate += 2;
        let begun = self.prss.each_mut().map(|prss| BitCheck::begin(prss, gate).expect("fresh"));
        let parts = KeyholderIndex::ALL.map(|keyholder| {
            let sender = KeyholderIndex::ALL.into_iter().find(|other| CoinPart::recipient(*other) == keyholder);
            let received = begun[sender.expect("somebody").position()].1;
            let people: Vec<_> = rows.iter().map(|row| &row[keyholder.position()]).collect();
            let prss = &mut self.prss[keyholder.position()];
            begun[keyholder.position()].0.part(received, &people, &rules, prss, gate + 1)
        });
        let [first, second, third] = parts;
        verify_bits([&first?, &second?, &third?])
    }

    /// Every keyholder's part of the answer from its sums.
    pub(crate) fn finish(
        &mut self,
        sums: [FilteredSum; 3],
        plane: Plane,
        slots: &SlotMask,
        tau: &Tau,
        dp_share: Option<SigmaSquared>,
    ) -> [FilteredPart; 3] {
        self.next_answer += 1;
        let mut sums = sums.map(Some);
        KeyholderIndex::ALL.map(|keyholder| {
            let noise_key = own_noise_key(keyholder);
            let noise = NoiseInput { noise_key: &noise_key, tau, dp_share };
            let prss = &mut self.prss[keyholder.position()];
            let sum = sums[keyholder.position()].take().expect("one each");
            sum.finish(Mask::v1(), plane, slots, noise, prss, self.next_answer).expect("in range")
        })
    }
}

/// The key of the noise that one keyholder alone adds.
pub(crate) fn own_noise_key(keyholder: KeyholderIndex) -> NoiseKey {
    NoiseKey::from_bytes([200 + keyholder.get(); 32])
}

/// A person's attributes as the three keyholders get them.
pub(crate) fn share_attributes(person: &Person, attributes: &PersonAttributes, schema: &AttributeSchema) -> Shared {
    let bits = attributes.to_bits(schema);
    let shares = AttributeShares::new(&master(), &person.context, &person.secrets.seeds, &schema.digest().0, &bits)
        .expect("bits");
    KeyholderIndex::ALL.map(|keyholder| {
        let seeds = shares_of(keyholder).map(|share| (share, person.secrets.seeds.of(share)));
        shares.entry_for(keyholder).shares(keyholder, &person.context, seeds, bits.len()).expect("its own seeds")
    })
}

/// The secret bits of all three shares of a body.
pub(crate) fn secret_bits(person: &Person, block: PanelBlockIndex, plane: Plane) -> [SecretBits; 3] {
    ShareIndex::ALL
        .map(|share| BlockKeys::new(&person.context, share, person.secrets.seeds.of(share)).expand(block, plane))
}

/// Adds one person to the three keyholders' sums of one selection.
pub(crate) fn add_person(
    sums: &mut [FilteredSum; 3],
    selection: &Shared,
    place: usize,
    body: &Body,
    secrets: &[SecretBits; 3],
) {
    for keyholder in KeyholderIndex::ALL {
        let weights = &selection[keyholder.position()];
        let weight = WeightShares { released: weights.released()[place], other: weights.other()[place] };
        let [released, other] =
            [keyholder.released_share(), keyholder.other_share()].map(|share| &secrets[share.position()]);
        sums[keyholder.position()].add(weight, body, released, other).expect("a small cohort");
    }
}

pub(crate) fn empty_sums() -> [FilteredSum; 3] {
    KeyholderIndex::ALL.map(FilteredSum::new)
}

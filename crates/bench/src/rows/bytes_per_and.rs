//! What three keyholders send each other to evaluate one AND, for each person.

use crate::row::{Bench, Goal, Measured, Row};
use anyhow::{Context as _, Result, ensure};
use locus_commitment::Digest32;
use locus_phenotype::{AttributeSchema, AttributeTable, Evaluation, EvaluationPlan, Predicate};
use locus_sharing::{
    AuthenticatedVector, KeyholderIndex, MacCheck, MacKey, NoiseKey, Opening, Prss, PrssSession, RingWord,
    SharedValues, SharedVector,
};

pub(crate) const ROW: Row = Row { id: "bytes_per_and", unit: "bytes", goal: Goal::AtMost(64.0), measure };
pub(crate) const AUTHENTICATED: Row =
    Row { id: "bytes_per_and_authenticated", unit: "bytes", goal: Goal::None, measure: measure_authenticated };

const PEOPLE: usize = 2_504;
const SCHEMA: &str = r#"{"name": "bench", "version": "1", "attributes": [
    {"kind": "category", "name": "site", "values": ["north", "south"]}, {"kind": "term", "term": "HP:0000819"}
]}"#;
const PREDICATE: &str = "site = 'north' and HP:0000819";
/// Gates above that of the plan.
const INPUT_GATE: u32 = 8;
const KEY_GATE: u32 = 9;
const CHECK_GATE: u32 = 10;

/// Three keyholders that count what they send.
struct Exchange {
    prss: [Prss; 3],
    bytes: usize,
}

impl Exchange {
    fn new() -> Self {
        let session = PrssSession { tau: Digest32([1; 32]), attempt: 1 };
        let prss = KeyholderIndex::ALL.map(|keyholder| {
            let keys = [keyholder.released_share(), keyholder.other_share()];
            let [released, other] = keys.map(|share| NoiseKey::from_bytes([share.get(); 32]));
            Prss::new(keyholder, &released, &other, session)
        });
        Self { prss, bytes: 0 }
    }

    /// What each receives when each passes a message on.
    fn pass_on<W: RingWord>(&mut self, messages: [Vec<W>; 3]) -> [Vec<W>; 3] {
        self.bytes += messages.iter().map(|message| message.len() * W::BYTES).sum::<usize>();
        KeyholderIndex::ALL.map(|keyholder| messages[keyholder.receives_from().position()].clone())
    }

    /// What each is shown when each shows both others the shares that they lack.
    fn show(&mut self, openings: &[Opening; 3]) -> [[Vec<u128>; 2]; 3] {
        let shown = openings.iter().map(|opening| opening.to_next.len() + opening.to_previous.len());
        self.bytes += shown.sum::<usize>() * u128::BYTES;
        KeyholderIndex::ALL.map(|keyholder| {
            let [before, after] = [keyholder.sends_to(), keyholder.receives_from()].map(KeyholderIndex::position);
            [openings[before].to_next.clone(), openings[after].to_previous.clone()]
        })
    }

    /// Shared values as inputs: what they are changes no message.
    fn tables(&mut self, plan: &EvaluationPlan) -> Result<[AttributeTable<SharedVector<u64>>; 3]> {
        let bits = plan.inputs().iter().flatten().max().map_or(0, |last| last + 1);
        let mut tables = Vec::new();
        for prss in &mut self.prss {
            let row = prss.random::<u64>(INPUT_GATE, bits)?;
            tables.push(AttributeTable::of_rows(prss.keyholder(), &vec![&row; PEOPLE], plan.inputs())?);
        }
        tables.try_into().ok().context("three keyholders")
    }

    fn evaluate<V: SharedValues>(
        &mut self,
        plan: &EvaluationPlan,
        tables: &[AttributeTable<V>; 3],
    ) -> Result<[Vec<V>; 3]> {
        let mut runs = Vec::new();
        for table in tables {
            runs.push(Evaluation::new(plan, table, 0)?);
        }
        while runs.iter().any(|run| !run.is_done()) {
            let mut messages = Vec::new();
            for (run, prss) in runs.iter_mut().zip(&mut self.prss) {
                messages.push(run.send(prss)?);
            }
            let received = self.pass_on(messages.try_into().ok().context("three messages")?);
            for (run, message) in runs.iter_mut().zip(&received) {
                run.receive(message)?;
            }
        }
        let values: Vec<Vec<V>> = runs.into_iter().map(Evaluation::into_values).collect();
        values.try_into().ok().context("three keyholders")
    }

    /// The tables with tags, and the keys.
    fn tag(
        &mut self,
        tables: &[AttributeTable<SharedVector<u64>>; 3],
    ) -> Result<(Vec<MacKey>, [AttributeTable<AuthenticatedVector>; 3])> {
        let (mut keys, mut inputs, mut own) = (Vec::new(), Vec::new(), Vec::new());
        for (table, prss) in tables.iter().zip(&mut self.prss) {
            let key = MacKey::new(prss, KEY_GATE)?;
            let widened: Vec<SharedVector<u128>> = table.sums().map(SharedVector::widened).collect();
            own.push(key.tag(&widened, prss, KEY_GATE)?);
            keys.push(key);
            inputs.push(widened);
        }
        let own: [Vec<u128>; 3] = own.try_into().ok().context("three messages")?;
        let received = self.pass_on(own.clone());
        let mut tagged = Vec::new();
        for ((table, inputs), (own, received)) in tables.iter().zip(inputs).zip(own.iter().zip(&received)) {
            tagged.push(table.with_sums(AuthenticatedVector::of_tags(inputs, own, received)?));
        }
        Ok((keys, tagged.try_into().ok().context("three keyholders")?))
    }

    fn check(&mut self, keys: &[MacKey], all: [Vec<&AuthenticatedVector>; 3]) -> Result<()> {
        let (mut checks, mut own) = (Vec::new(), Vec::new());
        for ((key, values), prss) in keys.iter().zip(&all).zip(&mut self.prss) {
            let (check, message) = MacCheck::begin(key, values, prss, CHECK_GATE)?;
            checks.push(check);
            own.push(message);
        }
        let received = self.pass_on(own.try_into().ok().context("three messages")?);
        let (mut combinations, mut openings) = (Vec::new(), Vec::new());
        for (check, received) in checks.iter().zip(received) {
            let (combined, opening) = check.combined(received)?;
            combinations.push(combined);
            openings.push(opening);
        }
        let shown = self.show(&openings.try_into().ok().context("three openings")?);
        let mut differences = Vec::new();
        for ((check, combined), [first, second]) in checks.iter().zip(&combinations).zip(&shown) {
            differences.push(check.difference(combined, [first, second])?);
        }
        let openings: Vec<Opening> = differences.iter().map(Opening::of).collect();
        let shown = self.show(&openings.try_into().ok().context("three openings")?);
        for (difference, [first, second]) in differences.iter().zip(&shown) {
            MacCheck::verify(difference, [first, second])?;
        }
        Ok(())
    }
}

fn plan() -> Result<EvaluationPlan> {
    let schema = AttributeSchema::parse_json(SCHEMA)?;
    let plan = Predicate::parse(PREDICATE, &schema)?.plan(&schema);
    ensure!(plan.cost().gates == 1, "the predicate is one AND");
    Ok(plan)
}

fn measured(bytes: usize, what: &str) -> Measured {
    let note = format!("{PEOPLE} people, {PREDICATE}: {what}");
    Measured { value: bytes as f64 / PEOPLE as f64, note, ..Measured::default() }
}

fn measure(_: &mut Bench) -> Result<Measured> {
    let (plan, mut exchange) = (plan()?, Exchange::new());
    let tables = exchange.tables(&plan)?;
    exchange.evaluate(&plan, &tables)?;
    Ok(measured(exchange.bytes, "all messages of all three keyholders before sealing"))
}

fn measure_authenticated(_: &mut Bench) -> Result<Measured> {
    let (plan, mut exchange) = (plan()?, Exchange::new());
    let tables = exchange.tables(&plan)?;
    let (keys, tables) = exchange.tag(&tables)?;
    let tags = exchange.bytes;
    let values = exchange.evaluate(&plan, &tables)?;
    let product = exchange.bytes - tags;
    let all = [0, 1, 2].map(|place| tables[place].sums().chain(&values[place]).collect());
    exchange.check(&keys, all)?;
    let what = format!(
        "tags of two inputs ({} bytes a person), value and tag of the product ({}), and the check, which passes",
        tags / PEOPLE,
        product / PEOPLE
    );
    Ok(measured(exchange.bytes, &what))
}

//! One run: what the seed says happens, then calm, and everything must come to a good end.

use crate::{
    actor::{Actor, Asked},
    cluster::Cluster,
    link::Weather,
    model::Known,
    operation::{Deed, Event, Part, events},
    plant::Plant,
    random::Random,
    template::{Template, copy_folder},
};
use anyhow::{Context as _, Result, bail, ensure};
use locus_client::{AccountState, account_state};
use locus_commitment::Address;
use locus_ledger::Amount;
use locus_tests::files_below;
use locus_wire::pb::exchange::{GetOrderRequest, OrderState};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};
use tonic::Code;

/// Events of a run.
const EVENTS: usize = 16;
/// Everything has to come to its end within this time after the last fault.
const LIVENESS: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);
/// Statements that are compared with the answers at the end.
const STATEMENTS: usize = 3;
/// One run in so many has a chain that reorganises.
const REORGANISES_EVERY: u64 = 3;
/// Fewest people of a cohort.
const COHORT_MIN: usize = 1;

/// What was done to a stored object, to be undone.
enum Damage {
    Flipped(PathBuf, u64),
    Hidden(PathBuf),
}

struct Run<'a> {
    template: &'a Template,
    cluster: Cluster,
    actor: Actor<'a>,
    damages: Vec<Damage>,
    balance_at_first: Amount,
    plant: Option<Plant>,
    root: PathBuf,
    reorganises: bool,
}

/// Runs a seed, and tells how deeds ended. An error is something that must never happen.
pub(crate) async fn run(template: &Template, seed: u64, plant: Option<Plant>) -> Result<BTreeMap<String, u32>> {
    let mut random = Random::new(seed);
    let copy = template.copy()?;
    let root = copy.path().to_path_buf();
    let reorganises = seed.is_multiple_of(REORGANISES_EVERY);
    let mut cluster = Cluster::open(&root.join("market"), template, reorganises, &mut random).await?;
    cluster.start_all().await?;
    let services = cluster.services()?;
    let mut actor = Actor::new(template, root.clone(), services, cluster.admin())?;
    let [_, _, researcher] = actor.accounts();
    let balance_at_first = account_state(&actor.services, researcher).await?.balance;
    actor.plant = plant;
    let damages = Vec::new();
    let mut run = Run { template, cluster, actor, damages, balance_at_first, plant, root, reorganises };
    let ended = run.play(&mut random).await;
    ended.with_context(|| run.actor.story.join("\n"))?;
    Ok(run.actor.ended)
}

impl Run<'_> {
    async fn play(&mut self, random: &mut Random) -> Result<()> {
        for event in events(random, EVENTS, self.reorganises) {
            self.actor.story.push(format!("{event:?}"));
            self.happen(event).await?;
        }
        self.actor.story.push("after the last fault".to_owned());
        self.settle(random).await
    }

    async fn happen(&mut self, event: Event) -> Result<()> {
        let now = self.cluster.now_unix_s();
        match event {
            Event::Deed(Deed::Rekey(place)) if self.plant == Some(Plant::LostRekeying) => {
                self.lose_rekeying(place, now).await?;
            }
            Event::Deed(deed) => self.actor.act(deed, now).await?,
            Event::DeedAndCrash(deed, part, after_ms) => {
                let crash = async {
                    tokio::time::sleep(Duration::from_millis(after_ms)).await;
                    self.cluster.crash(part);
                };
                let (acted, ()) = tokio::join!(self.actor.act(deed, now), crash);
                acted?;
                self.lose_writes(part)?;
                self.cluster.start(part).await?;
            }
            Event::Crash(part, is_back) => {
                self.cluster.crash(part);
                self.lose_writes(part)?;
                if is_back {
                    self.cluster.start(part).await?;
                }
            }
            Event::StartAll => self.cluster.start_all().await?,
            Event::Weather(weather) => self.cluster.set_weather(weather),
            Event::Wait(seconds) => self.cluster.wait(seconds),
            Event::FlipBit(file, bit) => {
                self.damage(&["/batch=", "/manifest/"], file, |path| Damage::Flipped(path, bit))?;
            }
            // Without the newest manifest the one before would be continued.
            Event::Hide(file) => self.damage(&["/batch="], file, Damage::Hidden)?,
            Event::Repair => self.repair()?,
            Event::Reorganise(depth) => self.reorganise(depth)?,
            Event::DeedAndReorganise(deed, after_ms, depth) => {
                let reorganise = async {
                    tokio::time::sleep(Duration::from_millis(after_ms)).await;
                    self.cluster.reorganise(depth)
                };
                let (acted, taken_back) = tokio::join!(self.actor.act(deed, now), reorganise);
                self.actor.count("transactions taken back", taken_back?);
                acted?;
            }
        }
        Ok(())
    }

    /// The planted bug of lost writes: keyholders find what they had at the beginning.
    fn lose_writes(&mut self, part: Part) -> Result<()> {
        if self.plant != Some(Plant::LostWrites) || !matches!(part, Part::Keyholder(_)) {
            return Ok(());
        }
        for place in 0..3 {
            self.cluster.crash(Part::Keyholder(place));
            let folder = format!("keyholder-{}", place + 1);
            self.template.restore(&self.root, &PathBuf::from("market").join(folder))?;
        }
        Ok(())
    }

    /// The planted bug of a lost re-keying: one keyholder finds what it had before.
    async fn lose_rekeying(&mut self, place: usize, now: u64) -> Result<()> {
        let part = Part::Keyholder(1);
        let (folder, kept) = (self.root.join("market/keyholder-2"), self.root.join("before"));
        self.cluster.crash(part);
        copy_folder(&folder, &kept)?;
        self.cluster.start(part).await?;
        self.actor.act(Deed::Rekey(place), now).await?;
        self.cluster.crash(part);
        fs::remove_dir_all(&folder)?;
        fs::rename(&kept, &folder)?;
        self.cluster.start(part).await
    }

    fn reorganise(&mut self, depth: u64) -> Result<()> {
        let taken_back = self.cluster.reorganise(depth)?;
        self.actor.count("transactions taken back", taken_back);
        Ok(())
    }

    fn damage(&mut self, kinds: &[&str], file: usize, damage: impl Fn(PathBuf) -> Damage) -> Result<()> {
        let mut files = files_below(&self.cluster.objects())?;
        files.retain(|path| kinds.iter().any(|kind| path.to_string_lossy().contains(kind)));
        let Some(path) = files.get(file % files.len().max(1)) else { return Ok(()) };
        let damage = damage(path.clone());
        damage.switch(true)?;
        self.damages.push(damage);
        Ok(())
    }

    fn repair(&mut self) -> Result<()> {
        while let Some(damage) = self.damages.pop() {
            damage.switch(false)?;
        }
        Ok(())
    }

    /// Calm, everything up, everything that was begun is ended, and the books are checked.
    async fn settle(&mut self, random: &mut Random) -> Result<()> {
        self.repair()?;
        self.cluster.set_weather(Weather::Calm);
        self.cluster.start_all().await?;
        let deadline = Instant::now() + LIVENESS;
        let now = self.cluster.now_unix_s();
        while !self.complete(now).await? {
            ensure!(Instant::now() < deadline, "what was begun does not end: {:?}", self.actor.ended);
            tokio::time::sleep(PAUSE).await;
        }
        if self.actor.model.sure_count() >= COHORT_MIN {
            let before = self.actor.model.orders.len();
            while !self.ask_to_the_end(before, now).await? {
                ensure!(Instant::now() < deadline, "nobody is answered any more: {:?}", self.actor.ended);
                tokio::time::sleep(PAUSE).await;
            }
        }
        while !self.cluster.is_settled() {
            ensure!(Instant::now() < deadline, "the chain does not come to rest");
            tokio::time::sleep(PAUSE).await;
        }
        self.check_money(deadline).await?;
        for _ in 0..STATEMENTS {
            self.check_statement(random, deadline, now).await?;
        }
        Ok(())
    }

    /// Ends enrolments, re-keyings, departures and orders; false while any is left.
    async fn complete(&mut self, now: u64) -> Result<bool> {
        if !self.cluster.is_settled() {
            return Ok(false);
        }
        let mut is_done = true;
        for place in 0..self.actor.model.registrations.len() {
            if self.actor.model.registrations[place].id.is_none() {
                is_done &= self.actor.complete_enrolment(place, now).await?;
            }
        }
        is_done &= self.actor.complete_rekeyings(now).await;
        // Nothing is erased while a re-keying that was signed is not final.
        is_done &= self.actor.complete_departures(now).await;
        for place in 0..self.actor.model.orders.len() {
            let order = &self.actor.model.orders[place];
            if order.opened == Known::Maybe {
                let opened = self.is_on_chain(place).await?;
                is_done &= opened.is_some();
                if let Some(opened) = opened {
                    self.actor.model.orders[place].opened = if opened { Known::Yes } else { Known::No };
                }
            }
            let order = &self.actor.model.orders[place];
            if order.opened == Known::Yes && order.answer.is_none() {
                is_done &= !matches!(self.actor.collect(place).await?, Asked::NotNow);
            }
        }
        Ok(is_done)
    }

    /// Whether an order is on the chain; `None` while nobody says.
    async fn is_on_chain(&self, place: usize) -> Result<Option<bool>> {
        let order_id = self.actor.model.orders[place].placed.record.order_id.clone();
        let mut exchange = self.actor.services.exchange.clone();
        Ok(match exchange.get_order(GetOrderRequest { order_id }).await {
            Ok(found) => Some(found.into_inner().state() != OrderState::Unspecified),
            Err(status) if status.code() == Code::NotFound => Some(false),
            Err(_) => None,
        })
    }

    /// A last order, which must be answered.
    async fn ask_to_the_end(&mut self, before: usize, now: u64) -> Result<bool> {
        if self.actor.model.orders.len() == before {
            self.actor.order(now).await?;
        }
        let Some(place) = self.actor.model.orders.len().checked_sub(1).filter(|place| *place >= before) else {
            return Ok(false);
        };
        if self.actor.model.orders[place].answer.is_some() {
            return Ok(true);
        }
        match self.actor.collect(place).await? {
            Asked::Answered => Ok(true),
            Asked::NotNow => Ok(false),
            Asked::Refused(reason) => bail!("a question that may be asked is refused: {reason}"),
        }
    }

    /// What the researcher has paid is what institutions have earned, and what is left is still there.
    async fn check_money(&self, deadline: Instant) -> Result<()> {
        let [biobank, clinic, researcher] = self.actor.accounts();
        let mut earned = Amount::ZERO;
        for account in [biobank, clinic] {
            earned = earned.checked_add(self.account(account, deadline).await?.earned).context("money")?;
        }
        ensure!(earned == self.actor.model.earned(), "{earned} is earned of {} paid", self.actor.model.earned());
        let held = self.account(researcher, deadline).await?.balance;
        let waiting = |order: &&crate::model::Ordered| order.opened == Known::Yes && order.answer.is_none();
        let orders = self.actor.model.orders.iter().filter(waiting);
        let escrow: Amount = orders.map(|order| order.placed.order.max_price).sum();
        let everything = [held, escrow, earned].into_iter().sum::<Amount>();
        ensure!(everything == self.balance_at_first, "{everything} of {} tokens", self.balance_at_first);
        Ok(())
    }

    async fn account(&self, account: Address, deadline: Instant) -> Result<AccountState> {
        loop {
            match account_state(&self.actor.services, account).await {
                Ok(state) => return Ok(state),
                Err(error) => ensure!(Instant::now() < deadline, "the exchange does not answer: {error}"),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// A contributor sees every use once, and no other.
    async fn check_statement(&mut self, random: &mut Random, deadline: Instant, now: u64) -> Result<()> {
        let (place, ordinal) = (random.place(64), random.place(64));
        loop {
            if let Some((person, uses)) = self.actor.uses(place, ordinal, now).await {
                let (must, may) = self.actor.model.uses_of(person);
                let stated: BTreeSet<_> = uses.iter().copied().collect();
                ensure!(stated.len() == uses.len(), "a use of person {person} is stated twice: {uses:?}");
                ensure!(must.is_subset(&stated), "person {person} was counted in {must:?} and is told of {stated:?}");
                ensure!(stated.is_subset(&may), "person {person} is told of {stated:?} and was counted in {may:?}");
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "no statement is given");
            tokio::time::sleep(PAUSE).await;
        }
    }
}

impl Damage {
    /// Does the damage or undoes it. Objects that are gone need no repair.
    fn switch(&self, is_done: bool) -> Result<()> {
        match self {
            Self::Flipped(path, bit) => {
                let Ok(mut bytes) = fs::read(path) else { return Ok(()) };
                if let Some(byte) = usize::try_from(bit / 8).ok().and_then(|place| place.checked_rem(bytes.len())) {
                    bytes[byte] ^= 1 << (bit % 8);
                    fs::write(path, bytes)?;
                }
            }
            Self::Hidden(path) => {
                let mut hidden = path.clone().into_os_string();
                hidden.push(".hidden");
                let hidden = PathBuf::from(hidden);
                let (from, to) = if is_done { (path, &hidden) } else { (&hidden, path) };
                if from.exists() {
                    fs::rename(from, to)?;
                }
            }
        }
        Ok(())
    }
}

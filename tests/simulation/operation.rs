//! What happens in a run: a list that follows from the seed.

use crate::{link::Weather, node::REORG_MAX, random::Random};

/// A service, by its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// By position, 0 to 2.
    Keyholder(usize),
    Archive,
    Exchange,
    Aggregator,
}

/// All services. Keyholders with a lower number look for the others at their start.
pub(crate) const PARTS: [Part; 6] =
    [Part::Keyholder(2), Part::Keyholder(1), Part::Keyholder(0), Part::Exchange, Part::Archive, Part::Aggregator];

/// One of the two institutions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Institution {
    Biobank,
    Clinic,
}

/// What somebody does. Numbers are taken modulo what there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deed {
    /// An institution enrols so many people who were never enrolled.
    Enrol(Institution, usize),
    /// A registration gets another price, in hundredths of a token.
    Price(usize, u32),
    Withdraw(usize),
    Revoke(usize, usize),
    Erase(usize, usize),
    /// Somebody orders exact counts of everybody and asks for the answer.
    Ask,
    /// Somebody asks again for the answer to an order.
    AskAgain(usize),
    Claim(Institution),
    Statement(usize, usize),
    /// The admin has a registration's datasets get new keys, or goes on with that.
    Rekey(usize),
}

/// What happens to the market.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    Deed(Deed),
    /// A service dies so many milliseconds after a deed began, wherever it is in its work.
    DeedAndCrash(Deed, Part, u64),
    /// A service dies; it starts again at once or stays down.
    Crash(Part, bool),
    /// Everything that is down starts.
    StartAll,
    Weather(Weather),
    /// So many seconds pass: few, because users sign with the clock of the machine and are believed for two minutes.
    Wait(u64),
    /// A bit of a stored object changes.
    FlipBit(usize, u64),
    /// A stored object is missing.
    Hide(usize),
    /// Stored objects are as they were.
    Repair,
    /// So many of the newest blocks are taken back.
    Reorganise(u64),
    /// The same, so many milliseconds after a deed began.
    DeedAndReorganise(Deed, u64, u64),
}

/// Deeds and mishaps of one run, on a chain that reorganises or on one that does not.
pub(crate) fn events(random: &mut Random, count: usize, reorganises: bool) -> Vec<Event> {
    (0..count).map(|_| event(random, reorganises)).collect()
}

fn event(random: &mut Random, reorganises: bool) -> Event {
    match random.below(if reorganises { 26 } else { 20 }) {
        0..9 => Event::Deed(deed(random)),
        9..12 => Event::DeedAndCrash(deed(random), part(random), random.below(60)),
        12 => Event::Crash(part(random), true),
        13 => Event::Crash(part(random), false),
        14 => Event::StartAll,
        15 => Event::Weather(Weather::Rough(100 + random.below(400))),
        16 => Event::Weather(Weather::Calm),
        17 => Event::Wait(random.below(20)),
        18 if random.below(2) == 0 => Event::FlipBit(random.place(1 << 20), random.below(1 << 40)),
        18 => Event::Hide(random.place(1 << 20)),
        19 => Event::Repair,
        20..22 => Event::Reorganise(1 + random.below(REORG_MAX)),
        _ => Event::DeedAndReorganise(deed(random), random.below(150), 1 + random.below(REORG_MAX)),
    }
}

fn deed(random: &mut Random) -> Deed {
    let institution = if random.below(2) == 0 { Institution::Biobank } else { Institution::Clinic };
    let (registration, ordinal) = (random.place(64), random.place(64));
    match random.below(18) {
        0..2 => Deed::Enrol(institution, 4 + random.place(3)),
        2 => Deed::Price(registration, 1 + u32::try_from(random.below(5)).unwrap_or(0)),
        3 => Deed::Withdraw(registration),
        4..6 => Deed::Revoke(registration, ordinal),
        6 => Deed::Erase(registration, ordinal),
        7..12 => Deed::Ask,
        12..14 => Deed::AskAgain(random.place(64)),
        14 => Deed::Claim(institution),
        15 => Deed::Statement(registration, ordinal),
        _ => Deed::Rekey(registration),
    }
}

fn part(random: &mut Random) -> Part {
    PARTS[random.place(PARTS.len())]
}

//! Who holds which share, and who releases which.

use crate::error::SharingError;
use std::fmt;

/// One of the three additive shares of every secret key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShareIndex(u8);

/// One of the three keyholders. Keyholder `j` holds the shares other than `j`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyholderIndex(u8);

impl ShareIndex {
    /// Shares 1, 2 and 3.
    pub const ALL: [Self; 3] = [Self(1), Self(2), Self(3)];

    /// The share numbered 1, 2 or 3.
    pub fn try_new(number: u8) -> Result<Self, SharingError> {
        if (1..=3).contains(&number) { Ok(Self(number)) } else { Err(SharingError::UnknownShare(number)) }
    }

    /// The share's number, 1 to 3.
    pub fn get(self) -> u8 {
        self.0
    }

    /// The share's place in an array of three, 0 to 2.
    pub fn position(self) -> usize {
        usize::from(self.0 - 1)
    }
}

impl KeyholderIndex {
    /// Keyholders 1, 2 and 3.
    pub const ALL: [Self; 3] = [Self(1), Self(2), Self(3)];

    /// The keyholder numbered 1, 2 or 3.
    pub fn try_new(number: u8) -> Result<Self, SharingError> {
        if (1..=3).contains(&number) { Ok(Self(number)) } else { Err(SharingError::UnknownKeyholder(number)) }
    }

    /// The keyholder's number, 1 to 3.
    pub fn get(self) -> u8 {
        self.0
    }

    /// The keyholder's place in an array of three, 0 to 2.
    pub fn position(self) -> usize {
        usize::from(self.0 - 1)
    }

    /// The share that this keyholder releases when all are up, and whose part of a product it
    /// computes: `j mod 3 + 1`.
    pub fn released_share(self) -> ShareIndex {
        usually_released_by(self)
    }

    /// The other share it holds.
    pub fn other_share(self) -> ShareIndex {
        self.receives_from().released_share()
    }

    /// The other holder of its released share, to whom its part of a product goes.
    pub fn sends_to(self) -> Self {
        Self((self.0 + 1) % 3 + 1)
    }

    /// The keyholder whose part of a product it receives: the one that releases its other share.
    pub fn receives_from(self) -> Self {
        Self(self.0 % 3 + 1)
    }

    /// Whether this keyholder holds `share`.
    pub fn holds(self, share: ShareIndex) -> bool {
        self.0 != share.0
    }
}

impl fmt::Display for ShareIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for KeyholderIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The two shares a keyholder holds, ascending.
pub fn shares_of(keyholder: KeyholderIndex) -> [ShareIndex; 2] {
    others(keyholder.0).map(ShareIndex)
}

/// The keyholder that has a share beside `keyholder`.
///
/// # Errors
/// [`SharingError::NotAHolder`] when `keyholder` does not have it.
pub fn other_holder(keyholder: KeyholderIndex, share: ShareIndex) -> Result<KeyholderIndex, SharingError> {
    match holders_of(share) {
        [lower, higher] if lower == keyholder => Ok(higher),
        [lower, higher] if higher == keyholder => Ok(lower),
        _ => Err(SharingError::NotAHolder { keyholder, share }),
    }
}

/// The two keyholders of a share, ascending.
pub fn holders_of(share: ShareIndex) -> [KeyholderIndex; 2] {
    others(share.0).map(KeyholderIndex)
}

fn others(number: u8) -> [u8; 2] {
    match number {
        1 => [2, 3],
        2 => [1, 3],
        _ => [1, 2],
    }
}

/// Who releases the partial decryption of one share, and who has checked it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReleaseAssignment {
    /// The share.
    pub share: ShareIndex,
    /// The holder that sends the partial decryption to the researcher.
    pub releaser: KeyholderIndex,
    /// The other holder, which computed the same value and compared commitments; `None` when it is
    /// down, which makes the answer `degraded`.
    pub checker: Option<KeyholderIndex>,
}

/// Who releases shares 1, 2 and 3 while at most one keyholder is `down`.
///
/// With everybody up keyholder `j` releases share `j mod 3 + 1`. The share of a keyholder that is
/// down is released by that share's other holder. Two keyholders down cannot answer at all: one
/// share would have no live holder.
pub fn release_plan(down: Option<KeyholderIndex>) -> [ReleaseAssignment; 3] {
    ShareIndex::ALL.map(|share| {
        let [first, second] = holders_of(share);
        let (usual, other) = if usually_released_by(first) == share { (first, second) } else { (second, first) };
        match down {
            Some(absent) if absent == usual => ReleaseAssignment { share, releaser: other, checker: None },
            Some(absent) if absent == other => ReleaseAssignment { share, releaser: usual, checker: None },
            _ => ReleaseAssignment { share, releaser: usual, checker: Some(other) },
        }
    })
}

fn usually_released_by(keyholder: KeyholderIndex) -> ShareIndex {
    ShareIndex(keyholder.0 % 3 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_share_has_two_holders_and_no_keyholder_holds_all_three() {
        for share in ShareIndex::ALL {
            let holders: Vec<_> = KeyholderIndex::ALL.into_iter().filter(|holder| holder.holds(share)).collect();
            assert_eq!(holders, holders_of(share));
        }
        for keyholder in KeyholderIndex::ALL {
            let shares: Vec<_> = ShareIndex::ALL.into_iter().filter(|share| keyholder.holds(*share)).collect();
            assert_eq!(shares, shares_of(keyholder));
        }
    }

    #[test]
    fn with_everybody_up_each_keyholder_releases_one_share_and_checks_another() {
        let plan = release_plan(None);
        for keyholder in KeyholderIndex::ALL {
            let released: Vec<_> = plan.iter().filter(|part| part.releaser == keyholder).collect();
            assert_eq!(released.len(), 1);
            assert_eq!(released[0].share.get(), keyholder.get() % 3 + 1);
            assert_eq!(plan.iter().filter(|part| part.checker == Some(keyholder)).count(), 1);
        }
    }

    #[test]
    fn with_one_keyholder_down_the_other_two_release_everything_they_hold() {
        for absent in KeyholderIndex::ALL {
            let plan = release_plan(Some(absent));
            for part in plan {
                assert!(part.releaser != absent && part.releaser.holds(part.share));
                assert_eq!(part.checker.is_some(), part.share.get() == absent.get(), "only its missing share");
                assert_ne!(part.checker, Some(absent));
            }
        }
    }

    #[test]
    fn parts_of_products_go_round_in_a_ring() {
        for keyholder in KeyholderIndex::ALL {
            let mut held = [keyholder.released_share(), keyholder.other_share()];
            held.sort();
            assert_eq!(held, shares_of(keyholder));
            assert!(keyholder.sends_to() != keyholder && keyholder.sends_to().holds(keyholder.released_share()));
            assert_eq!(keyholder.sends_to().receives_from(), keyholder);
            assert_eq!(keyholder.sends_to().other_share(), keyholder.released_share());
        }
    }

    #[test]
    fn indices_outside_one_to_three_are_refused() {
        for number in [0, 4, 255] {
            assert_eq!(ShareIndex::try_new(number), Err(SharingError::UnknownShare(number)));
            assert_eq!(KeyholderIndex::try_new(number), Err(SharingError::UnknownKeyholder(number)));
        }
    }
}

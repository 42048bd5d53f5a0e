//! Bugs that are planted to see that they would be found.

/// What goes wrong on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plant {
    /// A revocation is confirmed and never made: somebody is counted without consent.
    ForgottenRevocation,
    /// An offer is withdrawn that should stand: somebody is left out.
    SecretWithdrawal,
    /// Another institution enrols the same people: they are counted twice.
    SamePeopleTwice,
    /// Tokens appear: what is paid and what is earned differ.
    MoneyFromNowhere,
    /// An order is answered with another one's answer.
    OtherAnswer,
    /// When a keyholder dies, all of them lose what they wrote since the beginning.
    LostWrites,
    /// After a re-keying a keyholder finds what it had before: it lacks the seeds in force.
    LostRekeying,
}

/// All of them.
pub(crate) const PLANTS: [Plant; 7] = [
    Plant::ForgottenRevocation,
    Plant::SecretWithdrawal,
    Plant::SamePeopleTwice,
    Plant::MoneyFromNowhere,
    Plant::OtherAnswer,
    Plant::LostWrites,
    Plant::LostRekeying,
];

impl Plant {
    /// What the violation says that it leads to, one of these.
    pub(crate) fn signs(self) -> &'static [&'static str] {
        match self {
            Self::ForgottenRevocation => &["is counted without consent"],
            Self::SecretWithdrawal => &["is left out"],
            // Or one of the two statements does not tell of what the other was counted in.
            Self::SamePeopleTwice => &["is counted 2 times", "and is told of"],
            Self::MoneyFromNowhere => &["tokens"],
            Self::OtherAnswer => &["an order has two answers"],
            Self::LostWrites => &["and is told of", "does not end", "is refused"],
            Self::LostRekeying => &["does not end", "is refused", "nobody is answered"],
        }
    }
}

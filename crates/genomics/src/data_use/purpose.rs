//! What a researcher declares about the use of an answer.

use super::DataUseError;
use crate::domain::{DST_CONDITION, sha3_256};
use std::{fmt, str::FromStr};

/// The purpose of a query. Its discriminant is its code on the wire and on the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum PurposeCode {
    /// Anything else, research or not.
    Unrestricted = 0,
    /// Research outside the other codes.
    GeneralResearch = 1,
    /// Health, medical or biomedical research.
    Biomedical = 2,
    /// Research on one disease.
    Disease = 3,
    /// Research on population origins or ancestry.
    PopulationOrigins = 4,
    /// Development of general methods: software, algorithms, statistics.
    MethodsDevelopment = 5,
    /// Decisions in the care of patients.
    ClinicalCare = 6,
}

/// Purposes with their names, in code order.
const PURPOSES: [(PurposeCode, &str); 7] = [
    (PurposeCode::Unrestricted, "unrestricted"),
    (PurposeCode::GeneralResearch, "general-research"),
    (PurposeCode::Biomedical, "biomedical"),
    (PurposeCode::Disease, "disease"),
    (PurposeCode::PopulationOrigins, "population-origins"),
    (PurposeCode::MethodsDevelopment, "methods-development"),
    (PurposeCode::ClinicalCare, "clinical-care"),
];

impl PurposeCode {
    /// All purposes in code order.
    pub fn all() -> impl Iterator<Item = PurposeCode> {
        PURPOSES.into_iter().map(|(purpose, _)| purpose)
    }

    /// The code on the wire and on the chain.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The purpose with this [`code`](Self::code).
    pub fn from_code(code: u8) -> Option<Self> {
        PURPOSES.get(usize::from(code)).map(|(purpose, _)| *purpose)
    }
}

impl fmt::Display for PurposeCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PURPOSES[usize::from(self.code())].1)
    }
}

impl FromStr for PurposeCode {
    type Err = DataUseError;

    /// Parses a name such as `biomedical`, or the abbreviation or identifier of the DUO permission
    /// of the same meaning (`NRES`, `GRU`, `HMB`, `DS`, `POA`, `CC`).
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        use super::DuoTerm;
        let lower = text.trim().to_ascii_lowercase();
        if let Some((purpose, _)) = PURPOSES.into_iter().find(|(_, name)| *name == lower) {
            return Ok(purpose);
        }
        match text.parse()? {
            DuoTerm::NoRestriction => Ok(Self::Unrestricted),
            DuoTerm::GeneralResearch => Ok(Self::GeneralResearch),
            DuoTerm::Biomedical => Ok(Self::Biomedical),
            DuoTerm::DiseaseSpecific => Ok(Self::Disease),
            DuoTerm::PopulationOrigins => Ok(Self::PopulationOrigins),
            DuoTerm::ClinicalCare => Ok(Self::ClinicalCare),
            _ => Err(DataUseError::UnknownTerm(text.to_owned())),
        }
    }
}

/// Statements that a researcher signs together with the purpose, as a set of bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Declarations(u32);

/// Every declaration with its wording, in bit order.
const DECLARATIONS: [(Declarations, &str, &str); 12] = [
    (Declarations::NOT_FOR_PROFIT_ORGANISATION, "not-for-profit", "works for a not-for-profit organisation"),
    (Declarations::NON_COMMERCIAL_USE, "non-commercial", "will not use the results commercially"),
    (Declarations::ETHICS_APPROVAL, "ethics-approval", "holds an ethics approval"),
    (Declarations::WILL_PUBLISH, "will-publish", "will publish the results"),
    (Declarations::WILL_COLLABORATE, "will-collaborate", "will collaborate with the contributors"),
    (Declarations::WILL_RETURN_RESULTS, "will-return-results", "will return derived data to the resource"),
    (Declarations::WITHIN_REGION, "within-region", "is within the region named in the terms"),
    (Declarations::RESPECTS_MORATORIUM, "respects-moratorium", "will not publish before the date named in the terms"),
    (Declarations::WITHIN_TIME_LIMIT, "within-time-limit", "will use the results within the period named in the terms"),
    (Declarations::NAMED_USER, "named-user", "is a user named in the terms"),
    (Declarations::NAMED_PROJECT, "named-project", "works on the project named in the terms"),
    (Declarations::NAMED_INSTITUTION, "named-institution", "works for the institution named in the terms"),
];

impl Declarations {
    /// No declaration.
    pub const NONE: Self = Self(0);
    /// Works for a not-for-profit organisation.
    pub const NOT_FOR_PROFIT_ORGANISATION: Self = Self(1);
    /// Will not use the results commercially.
    pub const NON_COMMERCIAL_USE: Self = Self(1 << 1);
    /// Holds an ethics approval for the study.
    pub const ETHICS_APPROVAL: Self = Self(1 << 2);
    /// Will publish the results.
    pub const WILL_PUBLISH: Self = Self(1 << 3);
    /// Will collaborate with the contributors.
    pub const WILL_COLLABORATE: Self = Self(1 << 4);
    /// Will return derived data to the resource.
    pub const WILL_RETURN_RESULTS: Self = Self(1 << 5);
    /// Is within the region that the terms name.
    pub const WITHIN_REGION: Self = Self(1 << 6);
    /// Will not publish before the date that the terms name.
    pub const RESPECTS_MORATORIUM: Self = Self(1 << 7);
    /// Will use the results within the period that the terms name.
    pub const WITHIN_TIME_LIMIT: Self = Self(1 << 8);
    /// Is a user that the terms name.
    pub const NAMED_USER: Self = Self(1 << 9);
    /// Works on the project that the terms name.
    pub const NAMED_PROJECT: Self = Self(1 << 10);
    /// Works for the institution that the terms name.
    pub const NAMED_INSTITUTION: Self = Self(1 << 11);

    /// Declarations from their bits, or `None` for an unknown bit.
    pub fn from_bits(bits: u32) -> Option<Self> {
        (bits >> DECLARATIONS.len() == 0).then_some(Self(bits))
    }

    /// One bit a declaration.
    pub fn bits(self) -> u32 {
        self.0
    }

    /// Both sets together.
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// This set without the other.
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether all of `other` is in this set.
    pub fn contains(self, other: Self) -> bool {
        other.without(self) == Self::NONE
    }

    /// The names of the declarations, in bit order, as [`FromStr`] takes them.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        DECLARATIONS.into_iter().filter(move |(one, _, _)| self.contains(*one)).map(|(_, name, _)| name)
    }
}

/// What is declared, in words, separated by commas.
impl fmt::Display for Declarations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wordings = DECLARATIONS.into_iter().filter(|(one, _, _)| self.contains(*one)).map(|(_, _, words)| words);
        for (place, words) in wordings.enumerate() {
            if place > 0 {
                f.write_str(", ")?;
            }
            f.write_str(words)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Declarations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Declarations({self})")
    }
}

impl FromStr for Declarations {
    type Err = DataUseError;

    /// Parses names such as `ethics-approval`, separated by commas or blanks.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let words = text.split([',', ' ']).filter(|word| !word.is_empty());
        words
            .map(|word| {
                let found = DECLARATIONS.into_iter().find(|(_, name, _)| *name == word);
                found.map(|(one, _, _)| one).ok_or_else(|| DataUseError::UnknownTerm(word.to_owned()))
            })
            .try_fold(Self::NONE, |all, one| one.map(|one| all.with(one)))
    }
}

/// What a researcher declares about a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Purpose {
    /// The purpose.
    pub code: PurposeCode,
    /// What the researcher signs beside it.
    pub declarations: Declarations,
}

impl Purpose {
    /// The purpose as one number: its code in the low eight bits, the declarations above.
    pub fn to_bits(self) -> u32 {
        u32::from(self.code.code()) | self.declarations.bits() << 8
    }

    /// The purpose with these [`to_bits`](Self::to_bits), or `None` for unknown bits.
    pub fn from_bits(bits: u32) -> Option<Self> {
        let [code, ..] = bits.to_le_bytes();
        Some(Self { code: PurposeCode::from_code(code)?, declarations: Declarations::from_bits(bits >> 8)? })
    }
}

const _: () = assert!(DECLARATIONS.len() <= 24, "declarations sit above the eight bits of the purpose code");

/// A disease or trait, named by an ontology term such as `MONDO:0005148`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Condition(String);

/// Longest [`Condition`], in bytes.
const CONDITION_BYTES_MAX: usize = 64;

impl Condition {
    /// The term.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// SHA3-256 of the term: what offers and orders carry.
    pub fn digest(&self) -> [u8; 32] {
        sha3_256(DST_CONDITION, &[self.0.as_bytes()])
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Condition {
    type Err = DataUseError;

    /// Parses `PREFIX:LOCAL`, both of letters, digits, dots, dashes and underscores. The prefix is
    /// put in upper case; terms are compared letter by letter, no ontology is consulted.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = |part: &str| {
            !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        };
        let parts = text.trim().split_once(':').filter(|(prefix, local)| plain(prefix) && plain(local));
        match parts {
            Some((prefix, local)) if text.len() <= CONDITION_BYTES_MAX => {
                Ok(Self(format!("{}:{local}", prefix.to_ascii_uppercase())))
            }
            _ => Err(DataUseError::Condition(text.to_owned())),
        }
    }
}

/// How the disease of a purpose relates to the disease of the terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConditionMatch {
    /// Both name the same disease.
    Same,
    /// They name different diseases, or one of them names none.
    Different,
}

impl ConditionMatch {
    /// Compares the digest in the terms with the digest in the purpose; zeros name no disease.
    pub fn of_digests(terms: &[u8; 32], purpose: &[u8; 32]) -> Self {
        if terms == purpose && *terms != [0; 32] { Self::Same } else { Self::Different }
    }
}

//! Data use terms: what a contributor allows and what a researcher declares.
//!
//! Terms are those of the Data Use Ontology [[DUO]]; the truth table is clause 8 of this crate's
//! specification.
//!
//! [DUO]: https://doi.org/10.1016/j.xgen.2021.100028

use std::{fmt, str::FromStr};

mod purpose;

pub use purpose::{Condition, ConditionMatch, Declarations, Purpose, PurposeCode};

/// A term of the Data Use Ontology that the market understands. Its discriminant is its bit in
/// [`DataUse::bits`] and never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum DuoTerm {
    /// NRES: no restriction.
    NoRestriction = 0,
    /// GRU: any research.
    GeneralResearch = 1,
    /// HMB: health, medical or biomedical research; not the study of origins or ancestry.
    Biomedical = 2,
    /// DS: research on one named disease.
    DiseaseSpecific = 3,
    /// POA: research on population origins or ancestry only.
    PopulationOrigins = 4,
    /// NMDS: no development of general methods.
    NoMethodsDevelopment = 5,
    /// GSO: genetic studies only. Every query here is one, so it never refuses.
    GeneticStudiesOnly = 6,
    /// NPOA: no research on population origins or ancestry.
    NoPopulationOrigins = 7,
    /// CC: clinical care is allowed as well.
    ClinicalCare = 8,
    /// NPU: not-for-profit organisations only.
    NotForProfitOrganisation = 9,
    /// NCU: non-commercial use only.
    NonCommercialUse = 10,
    /// NPUNCU: not-for-profit organisations and non-commercial use only.
    NotForProfitNonCommercial = 11,
    /// IRB: ethics approval required.
    EthicsApproval = 12,
    /// PUB: results must be published.
    Publication = 13,
    /// COL: collaboration with the contributor required.
    Collaboration = 14,
    /// RTN: derived data must be returned to the resource.
    ReturnResults = 15,
    /// GS: use limited to a region, named in the offer's text.
    Geographic = 16,
    /// MOR: no publication before a date named in the offer's text.
    Moratorium = 17,
    /// TS: use limited to a period named in the offer's text.
    TimeLimit = 18,
    /// US: use limited to named users.
    UserSpecific = 19,
    /// PS: use limited to a named project.
    ProjectSpecific = 20,
    /// IS: use limited to a named institution.
    InstitutionSpecific = 21,
}

/// Number of terms.
const TERM_COUNT: usize = 22;

/// Every term with its abbreviation and its number in the ontology, in bit order.
const TERMS: [(DuoTerm, &str, u32); TERM_COUNT] = [
    (DuoTerm::NoRestriction, "NRES", 4),
    (DuoTerm::GeneralResearch, "GRU", 42),
    (DuoTerm::Biomedical, "HMB", 6),
    (DuoTerm::DiseaseSpecific, "DS", 7),
    (DuoTerm::PopulationOrigins, "POA", 11),
    (DuoTerm::NoMethodsDevelopment, "NMDS", 15),
    (DuoTerm::GeneticStudiesOnly, "GSO", 16),
    (DuoTerm::NoPopulationOrigins, "NPOA", 44),
    (DuoTerm::ClinicalCare, "CC", 43),
    (DuoTerm::NotForProfitOrganisation, "NPU", 45),
    (DuoTerm::NonCommercialUse, "NCU", 46),
    (DuoTerm::NotForProfitNonCommercial, "NPUNCU", 18),
    (DuoTerm::EthicsApproval, "IRB", 21),
    (DuoTerm::Publication, "PUB", 19),
    (DuoTerm::Collaboration, "COL", 20),
    (DuoTerm::ReturnResults, "RTN", 29),
    (DuoTerm::Geographic, "GS", 22),
    (DuoTerm::Moratorium, "MOR", 24),
    (DuoTerm::TimeLimit, "TS", 25),
    (DuoTerm::UserSpecific, "US", 26),
    (DuoTerm::ProjectSpecific, "PS", 27),
    (DuoTerm::InstitutionSpecific, "IS", 28),
];

/// The permissions; terms name exactly one of them.
const PERMISSIONS: u32 = DuoTerm::NoRestriction.bit()
    | DuoTerm::GeneralResearch.bit()
    | DuoTerm::Biomedical.bit()
    | DuoTerm::DiseaseSpecific.bit()
    | DuoTerm::PopulationOrigins.bit();

impl DuoTerm {
    /// All terms in bit order.
    pub fn all() -> impl Iterator<Item = DuoTerm> {
        TERMS.into_iter().map(|(term, _, _)| term)
    }

    /// The term's bit in [`DataUse::bits`].
    pub const fn bit(self) -> u32 {
        1 << self as u32
    }

    /// The abbreviation in common use, such as `GRU`.
    pub fn abbreviation(self) -> &'static str {
        TERMS[self as usize].1
    }

    /// The identifier in the ontology, such as `DUO:0000042`.
    pub fn curie(self) -> String {
        format!("DUO:{:07}", TERMS[self as usize].2)
    }

    /// Whether this is one of the five permissions, of which terms name exactly one.
    pub fn is_permission(self) -> bool {
        PERMISSIONS & self.bit() != 0
    }

    /// What a researcher must declare to satisfy this term; nothing for most.
    pub fn required_declarations(self) -> Declarations {
        match self {
            DuoTerm::NotForProfitOrganisation => Declarations::NOT_FOR_PROFIT_ORGANISATION,
            DuoTerm::NonCommercialUse => Declarations::NON_COMMERCIAL_USE,
            DuoTerm::NotForProfitNonCommercial => {
                Declarations::NOT_FOR_PROFIT_ORGANISATION.with(Declarations::NON_COMMERCIAL_USE)
            }
            DuoTerm::EthicsApproval => Declarations::ETHICS_APPROVAL,
            DuoTerm::Publication => Declarations::WILL_PUBLISH,
            DuoTerm::Collaboration => Declarations::WILL_COLLABORATE,
            DuoTerm::ReturnResults => Declarations::WILL_RETURN_RESULTS,
            DuoTerm::Geographic => Declarations::WITHIN_REGION,
            DuoTerm::Moratorium => Declarations::RESPECTS_MORATORIUM,
            DuoTerm::TimeLimit => Declarations::WITHIN_TIME_LIMIT,
            DuoTerm::UserSpecific => Declarations::NAMED_USER,
            DuoTerm::ProjectSpecific => Declarations::NAMED_PROJECT,
            DuoTerm::InstitutionSpecific => Declarations::NAMED_INSTITUTION,
            _ => Declarations::NONE,
        }
    }
}

impl fmt::Display for DuoTerm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.abbreviation())
    }
}

impl FromStr for DuoTerm {
    type Err = DataUseError;

    /// Parses an abbreviation in any letter case, or an identifier such as `DUO:0000042` or
    /// `DUO_0000042`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let upper = text.trim().to_ascii_uppercase();
        let number = upper.strip_prefix("DUO:").or_else(|| upper.strip_prefix("DUO_"));
        let number: Option<u32> = number.filter(|digits| digits.len() == 7).and_then(|digits| digits.parse().ok());
        let found = TERMS.into_iter().find(|(_, name, id)| *name == upper || Some(*id) == number);
        found.map(|(term, _, _)| term).ok_or_else(|| DataUseError::UnknownTerm(text.to_owned()))
    }
}

/// Why terms are not data use terms.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DataUseError {
    /// A text or bit that names no term.
    #[error("unknown data use term {0:?}: use a DUO identifier or abbreviation such as GRU, HMB, NPU, IRB")]
    UnknownTerm(String),
    /// A text that is no ontology term.
    #[error("{0:?} is not an ontology term: name the disease as in MONDO:0005148")]
    Condition(String),
    /// No permission, or more than one.
    #[error("data use terms name exactly one permission of NRES, GRU, HMB, DS and POA, not {0}")]
    PermissionCount(u32),
}

/// The terms under which a dataset may be used: one permission and any modifiers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DataUse(u32);

impl DataUse {
    /// Terms from single ones, in any order.
    ///
    /// # Errors
    /// [`DataUseError::PermissionCount`].
    pub fn try_new(terms: impl IntoIterator<Item = DuoTerm>) -> Result<Self, DataUseError> {
        Self::try_from_bits(terms.into_iter().fold(0, |bits, term| bits | term.bit()))
    }

    /// Terms from their bits.
    ///
    /// # Errors
    /// [`DataUseError`] for an unknown bit or not exactly one permission.
    pub fn try_from_bits(bits: u32) -> Result<Self, DataUseError> {
        if bits >> TERM_COUNT != 0 {
            return Err(DataUseError::UnknownTerm(format!("{bits:#x}")));
        }
        match (bits & PERMISSIONS).count_ones() {
            1 => Ok(Self(bits)),
            count => Err(DataUseError::PermissionCount(count)),
        }
    }

    /// One bit a term, see [`DuoTerm::bit`].
    pub fn bits(self) -> u32 {
        self.0
    }

    /// Whether the terms include this one.
    pub fn contains(self, term: DuoTerm) -> bool {
        self.0 & term.bit() != 0
    }

    /// The terms in bit order, the permission first.
    pub fn terms(self) -> impl Iterator<Item = DuoTerm> {
        DuoTerm::all().filter(move |term| self.contains(*term))
    }

    /// Whether the terms name a disease, so that an offer must say which.
    pub fn needs_condition(self) -> bool {
        self.contains(DuoTerm::DiseaseSpecific)
    }

    /// Everything a researcher must declare to satisfy the modifiers.
    pub fn required_declarations(self) -> Declarations {
        self.terms().fold(Declarations::NONE, |all, term| all.with(term.required_declarations()))
    }

    /// Decides whether a purpose satisfies the terms: total over all terms, purposes and
    /// declarations, and the only such decision in the project.
    ///
    /// `condition` tells how the disease of the purpose relates to the disease of the terms; it
    /// matters only for [`DuoTerm::DiseaseSpecific`].
    ///
    /// # Errors
    /// [`DataUseRefusal`] naming the first term that refuses: the permission, then modifiers in
    /// bit order.
    pub fn permits(self, purpose: &Purpose, condition: ConditionMatch) -> Result<(), DataUseRefusal> {
        let code = purpose.code;
        for term in self.terms() {
            let refusal = DataUseRefusal::Purpose { term, purpose: code };
            match term {
                permission if permission.is_permission() => self.check_permission(permission, code, condition)?,
                DuoTerm::NoMethodsDevelopment if code == PurposeCode::MethodsDevelopment => {
                    return Err(refusal);
                }
                DuoTerm::NoPopulationOrigins if code == PurposeCode::PopulationOrigins => {
                    return Err(refusal);
                }
                _ => {}
            }
            let undeclared = term.required_declarations().without(purpose.declarations);
            if undeclared != Declarations::NONE {
                return Err(DataUseRefusal::Undeclared { term, undeclared });
            }
        }
        Ok(())
    }

    fn check_permission(
        self,
        permission: DuoTerm,
        code: PurposeCode,
        condition: ConditionMatch,
    ) -> Result<(), DataUseRefusal> {
        use PurposeCode as P;
        let by_condition = condition == ConditionMatch::Same;
        let permitted = match (permission, code) {
            (DuoTerm::NoRestriction, _) => true,
            (_, P::ClinicalCare) => self.contains(DuoTerm::ClinicalCare),
            (DuoTerm::GeneralResearch, code) => code != P::Unrestricted,
            (DuoTerm::Biomedical, code) => matches!(code, P::Biomedical | P::Disease | P::MethodsDevelopment),
            (DuoTerm::DiseaseSpecific, P::Disease | P::MethodsDevelopment) if !by_condition => {
                return Err(DataUseRefusal::OtherCondition);
            }
            (DuoTerm::DiseaseSpecific, code) => matches!(code, P::Disease | P::MethodsDevelopment),
            (DuoTerm::PopulationOrigins, code) => code == P::PopulationOrigins,
            _ => false,
        };
        if permitted { Ok(()) } else { Err(DataUseRefusal::Purpose { term: permission, purpose: code }) }
    }
}

/// The abbreviations, permission first, separated by commas.
impl fmt::Display for DataUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, term) in self.terms().enumerate() {
            if place > 0 {
                f.write_str(",")?;
            }
            write!(f, "{term}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for DataUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DataUse({self})")
    }
}

impl FromStr for DataUse {
    type Err = DataUseError;

    /// Parses terms separated by commas or blanks.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let words = text.split([',', ' ']).filter(|word| !word.is_empty());
        let terms: Result<Vec<DuoTerm>, DataUseError> = words.map(str::parse).collect();
        Self::try_new(terms?)
    }
}

/// Why terms refuse a purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DataUseRefusal {
    /// The term does not cover the purpose.
    #[error("the data use term {term} does not permit {purpose}")]
    Purpose {
        /// The refusing term.
        term: DuoTerm,
        /// The purpose declared.
        purpose: PurposeCode,
    },
    /// The purpose studies another disease than the terms name, or none.
    #[error("the data may be used for another disease only")]
    OtherCondition,
    /// The term asks for a declaration that the researcher did not make.
    #[error("the data use term {term} asks the researcher to declare: {undeclared}")]
    Undeclared {
        /// The refusing term.
        term: DuoTerm,
        /// What is not declared.
        undeclared: Declarations,
    },
}

#[cfg(test)]
mod tests;

use super::*;
use proptest::prelude::*;

fn purpose(code: PurposeCode, declarations: Declarations) -> Purpose {
    Purpose { code, declarations }
}

fn permits(terms: &str, code: PurposeCode, declared: &str, condition: ConditionMatch) -> Result<(), DataUseRefusal> {
    let terms: DataUse = terms.parse().expect("terms");
    terms.permits(&purpose(code, declared.parse().expect("declarations")), condition)
}

#[test]
fn every_term_parses_by_abbreviation_and_identifier() {
    for (term, abbreviation, number) in TERMS {
        assert_eq!(abbreviation.parse(), Ok(term));
        assert_eq!(abbreviation.to_ascii_lowercase().parse(), Ok(term));
        assert_eq!(format!("DUO:{number:07}").parse(), Ok(term));
        assert_eq!(term.curie().parse(), Ok(term));
        assert_eq!(TERMS[term as usize].0, term, "the table is in bit order");
    }
    for text in ["", "DUO:42", "DUO:0000001", "GRU2"] {
        assert_eq!(text.parse::<DuoTerm>(), Err(DataUseError::UnknownTerm(text.to_owned())));
    }
}

#[test]
fn the_bits_of_terms_stay_what_they_are() {
    let terms: DataUse = "DUO:0000006, irb NPU".parse().expect("terms");
    assert_eq!(terms.bits(), 1 << 2 | 1 << 12 | 1 << 9);
    assert_eq!(terms.to_string(), "HMB,NPU,IRB");
    assert_eq!(DataUse::try_from_bits(terms.bits()), Ok(terms));
    assert!(DataUse::try_from_bits(1 << 1 | 1 << 22).is_err());
}

#[test]
fn terms_without_exactly_one_permission_are_refused() {
    assert_eq!("NPU,IRB".parse::<DataUse>(), Err(DataUseError::PermissionCount(0)));
    assert_eq!("GRU,HMB".parse::<DataUse>(), Err(DataUseError::PermissionCount(2)));
    assert_eq!("GRU,GRU".parse::<DataUse>().map(DataUse::bits), Ok(2));
}

/// Rows are permissions, columns are purposes in code order: permitted with the same disease.
const SAME_DISEASE: [(&str, [bool; 7]); 7] = [
    //        unrestricted general biomedical disease origins methods clinical
    ("NRES", [true, true, true, true, true, true, true]),
    ("GRU", [false, true, true, true, true, true, false]),
    ("HMB", [false, false, true, true, false, true, false]),
    ("DS", [false, false, false, true, false, true, false]),
    ("POA", [false, false, false, false, true, false, false]),
    ("HMB,CC", [false, false, true, true, false, true, true]),
    ("GRU,NMDS,NPOA", [false, true, true, true, false, false, false]),
];

#[test]
fn permissions_cover_exactly_their_purposes() {
    for (terms, row) in SAME_DISEASE {
        for (code, expected) in PurposeCode::all().zip(row) {
            let found = permits(terms, code, "", ConditionMatch::Same).is_ok();
            assert_eq!(found, expected, "{terms} and {code}");
            let other_disease = permits(terms, code, "", ConditionMatch::Different).is_ok();
            assert_eq!(other_disease, expected && terms != "DS", "{terms} and {code} for another disease");
        }
    }
}

#[test]
fn disease_terms_refuse_another_disease_by_name() {
    assert_eq!(permits("DS", PurposeCode::Disease, "", ConditionMatch::Different), Err(DataUseRefusal::OtherCondition));
}

#[test]
fn each_modifier_asks_for_its_own_declaration() {
    for (modifier, needed) in [
        ("NPU", "not-for-profit"),
        ("NCU", "non-commercial"),
        ("NPUNCU", "not-for-profit,non-commercial"),
        ("IRB", "ethics-approval"),
        ("PUB", "will-publish"),
        ("COL", "will-collaborate"),
        ("RTN", "will-return-results"),
        ("GS", "within-region"),
        ("MOR", "respects-moratorium"),
        ("TS", "within-time-limit"),
        ("US", "named-user"),
        ("PS", "named-project"),
        ("IS", "named-institution"),
    ] {
        let terms = format!("GRU,{modifier}");
        let code = PurposeCode::Biomedical;
        assert_eq!(permits(&terms, code, needed, ConditionMatch::Different), Ok(()), "{modifier}");
        let every: u32 = (1 << 12) - 1;
        let needed: Declarations = needed.parse().expect("names");
        let all_others = Declarations::from_bits(every).expect("all bits").without(needed);
        let terms: DataUse = terms.parse().expect("terms");
        let refusal = terms.permits(&purpose(code, all_others), ConditionMatch::Same);
        let term = modifier.parse().expect("a term");
        assert_eq!(refusal, Err(DataUseRefusal::Undeclared { term, undeclared: needed }), "{modifier}");
        assert_eq!(terms.required_declarations(), needed);
    }
    assert_eq!(permits("GRU,GSO", PurposeCode::Biomedical, "", ConditionMatch::Different), Ok(()));
}

#[test]
fn refusals_say_which_term_and_what_to_declare() {
    let refusal = permits("HMB,IRB", PurposeCode::Biomedical, "", ConditionMatch::Different).expect_err("undeclared");
    assert_eq!(refusal.to_string(), "the data use term IRB asks the researcher to declare: holds an ethics approval");
    let refusal = permits("HMB", PurposeCode::PopulationOrigins, "", ConditionMatch::Different).expect_err("origins");
    assert_eq!(refusal.to_string(), "the data use term HMB does not permit population-origins");
}

#[test]
fn purposes_parse_by_name_and_by_permission() {
    for code in PurposeCode::all() {
        assert_eq!(code.to_string().parse(), Ok(code));
        assert_eq!(PurposeCode::from_code(code.code()), Some(code));
    }
    assert_eq!("DUO:0000006".parse(), Ok(PurposeCode::Biomedical));
    assert!("IRB".parse::<PurposeCode>().is_err());
    assert_eq!(PurposeCode::from_code(7), None);
}

#[test]
fn purposes_travel_as_one_number() {
    let stated = purpose(PurposeCode::ClinicalCare, Declarations::NAMED_INSTITUTION);
    assert_eq!(stated.to_bits(), 6 | 1 << 19);
    assert_eq!(Purpose::from_bits(stated.to_bits()), Some(stated));
    assert_eq!(Purpose::from_bits(7), None);
    assert_eq!(Purpose::from_bits(1 << 20), None);
}

#[test]
fn conditions_match_only_when_both_name_the_same_disease() {
    let diabetes: Condition = " mondo:0005148".parse().expect("a term");
    let other: Condition = "MONDO:0005149".parse().expect("a term");
    assert_eq!(diabetes.as_str(), "MONDO:0005148");
    assert_eq!(ConditionMatch::of_digests(&diabetes.digest(), &diabetes.digest()), ConditionMatch::Same);
    assert_eq!(ConditionMatch::of_digests(&diabetes.digest(), &other.digest()), ConditionMatch::Different);
    assert_eq!(ConditionMatch::of_digests(&[0; 32], &[0; 32]), ConditionMatch::Different);
    for text in ["", "MONDO", "MONDO:", ":1", "a b:c", "MONDO:1:2"] {
        assert_eq!(text.parse::<Condition>(), Err(DataUseError::Condition(text.to_owned())));
    }
}

proptest! {
    #[test]
    fn more_declarations_never_lose_a_permission(
        bits in 0u32..1 << TERM_COUNT, code in 0u8..7, declared in 0u32..1 << 12, more in 0u32..1 << 12, same: bool,
    ) {
        let terms = DataUse::try_from_bits(bits);
        prop_assert_eq!(terms.is_ok(), (bits & PERMISSIONS).count_ones() == 1);
        if let Ok(terms) = terms {
            let code = PurposeCode::from_code(code).expect("a code");
            let condition = if same { ConditionMatch::Same } else { ConditionMatch::Different };
            let declare = |bits| purpose(code, Declarations::from_bits(bits).expect("known bits"));
            if terms.permits(&declare(declared), condition).is_ok() {
                prop_assert!(terms.permits(&declare(declared | more), condition).is_ok());
                prop_assert!(Declarations::from_bits(declared).expect("known bits").contains(terms.required_declarations()));
            }
        }
    }
}

use super::*;

#[test]
fn lengths_are_exact_and_the_message_names_the_field() {
    assert_eq!(array::<2>("pair", &[1, 2]), Ok([1, 2]));
    for got in [0, 1, 3] {
        let error = array::<2>("pair", &vec![0; got]).expect_err("another length");
        assert_eq!(error, FieldError::new("pair", FieldErrorKind::Length { expected: 2, got }));
        assert_eq!(error.to_string(), format!("field `pair` must have 2 bytes, got {got}"));
    }
}

#[test]
fn nobody_has_one_encoding() {
    assert_eq!(optional_address("a", &[]), Ok(None));
    assert_eq!(optional_address("a", &[7; 20]), Ok(Some(Address([7; 20]))));
    assert!(matches!(optional_address("a", &[0; 20]), Err(FieldError { kind: FieldErrorKind::Refused(_), .. })));
    assert!(matches!(optional_address("a", &[7; 19]), Err(FieldError { kind: FieldErrorKind::Length { .. }, .. })));
}

#[test]
fn amounts_have_one_decimal_form() {
    let largest = u128::MAX.to_string();
    for (text, units) in [("0", 0), ("1", 1), ("90", 90), (largest.as_str(), u128::MAX)] {
        assert_eq!(amount("price", text), Ok(Amount(units)));
        assert_eq!(amount_text(Amount(units)), text);
    }
    let above = "340282366920938463463374607431768211456";
    for text in ["", "00", "01", "+1", "-1", "1.0", "1e3", " 1", "1 ", "0x1", "١", above, &"9".repeat(40)] {
        let refused = FieldError::new("price", FieldErrorKind::NotAnAmount);
        assert_eq!(amount("price", text), Err(refused), "{text:?}");
    }
}

#[test]
fn signatures_are_bounded() {
    assert_eq!(signature("s", &Bytes::from(vec![1; 65])), Ok(vec![1; 65]));
    assert_eq!(signature("s", &Bytes::new()), Err(FieldError::new("s", FieldErrorKind::Missing)));
    let long = Bytes::from(vec![1; SIGNATURE_BYTES_MAX + 1]);
    assert!(matches!(signature("s", &long), Err(FieldError { kind: FieldErrorKind::TooLong { .. }, .. })));
}

#[test]
fn number_lists_are_ascending_bounded_and_in_range() {
    assert_eq!(ascending("o", &[1u32, 2, 9], 10, 3), Ok(vec![1, 2, 9]));
    assert_eq!(ascending::<u32>("o", &[], 10, 3), Ok(vec![]));
    for repeated_or_unsorted in [[1u32, 1], [2, 1]] {
        let refused = FieldError::new("o", FieldErrorKind::NotAscending);
        assert_eq!(ascending("o", &repeated_or_unsorted, 10, 3), Err(refused));
    }
    assert_eq!(
        ascending("o", &[1u32, 10], 10, 3),
        Err(FieldError::new("o", FieldErrorKind::OutOfRange { min: 0, max: 9, got: 10 }))
    );
    assert_eq!(
        ascending("o", &[1u32, 2, 3, 4], 10, 3),
        Err(FieldError::new("o", FieldErrorKind::TooLong { max: 3, got: 4 }))
    );
}

#[test]
fn unknown_bits_and_keyholders_are_refused() {
    assert_eq!(flags("f", 0b101, 0b111), Ok(0b101));
    assert_eq!(flags("f", 0b1001, 0b111), Err(FieldError::new("f", FieldErrorKind::UnknownBits(0b1000))));
    assert_eq!([1, 2, 3].map(|number| keyholder("k", number)), [Ok(1), Ok(2), Ok(3)]);
    for number in [0, 4, 257, u32::MAX] {
        assert!(keyholder("k", number).is_err(), "{number}");
    }
}

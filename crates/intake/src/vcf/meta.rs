//! `##key=<ID=...,...>` lines of a VCF header.

/// Key and value of a `##key=value` line.
pub(crate) fn split_line(line: &str) -> Option<(&str, &str)> {
    line.strip_prefix("##").and_then(|rest| rest.split_once('='))
}

/// The fields of a structured value `<ID=x,Description="a, b">`; commas within quotes do not
/// separate, and quotes around a value are taken off.
pub(crate) fn fields(value: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = value.strip_prefix('<').map(|inner| inner.strip_suffix('>').unwrap_or(inner)).unwrap_or_default();
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            let (mut quoted, mut escaped) = (false, false);
            let end = rest.find(|letter: char| {
                let separates = letter == ',' && !quoted;
                quoted ^= letter == '"' && !escaped;
                escaped = letter == '\\' && !escaped;
                separates
            });
            let (field, after) = rest.split_at(end.unwrap_or(rest.len()));
            rest = after.strip_prefix(',').unwrap_or(after);
            if let Some((key, value)) = field.split_once('=') {
                return Some((key, value.trim_matches('"')));
            }
        }
        None
    })
}

/// The value of one field.
pub(crate) fn field<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    fields(value).find(|(key, _)| *key == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_within_quotes_do_not_separate_fields() {
        let value = r#"<ID=DP,Number=1,Description="a, \"b\", IDX=3",IDX=7>"#;
        assert_eq!(field(value, "ID"), Some("DP"));
        assert_eq!(field(value, "IDX"), Some("7"));
        assert_eq!(field(value, "Number"), Some("1"));
        assert_eq!(field(value, "length"), None);
        assert_eq!(fields("plain=text").count(), 0);
        assert_eq!(fields("<ID=x").count(), 1);
    }
}

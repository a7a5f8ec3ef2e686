//! Patterns of names: `*` stands for any text.

/// Whether a text fits a pattern in which `*` stands for any text, the empty one included.
pub fn fits(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return rest.is_empty();
    };
    for part in parts {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    rest.len() >= last.len() && rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    #[test]
    fn wildcards_fit_whole_texts() {
        for (pattern, text, taken) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("a*", "ab", true),
            ("*b", "ab", true),
            ("a*b", "ab", true),
            ("a*b", "a", false),
            ("ab*ba", "aba", false),
            ("*", "", true),
            ("a*c*e", "abcde", true),
            ("a*c*e", "abde", false),
            ("", "", true),
            ("", "a", false),
            ("a.*", "a.b", true),
            ("a.*", "axb", false),
        ] {
            assert_eq!(super::fits(pattern, text), taken, "{pattern} {text}");
        }
    }
}

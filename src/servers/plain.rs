//! Texts of others that people shall read: made short, printable, one line, and free of secrets.
//!
//! Every text of a server or of a library passes [`plain`] before it gets into a
//! [`Fault`](crate::plan::port::Fault) or a [`Cut`](super::transport::Cut). Names of things pass
//! [`visible`], which keeps what is told apart by them.

use crate::secret::KeyMaterial;

/// The greatest number of characters that survive.
const LENGTH: usize = 200;

/// What stands where a secret stood.
const HIDDEN: &str = "(hidden)";

/// What the text of an Octopus API key begins with.
const PREFIX: &str = "API-";

/// `text` on one line, without what is not printable, without `secrets` and without anything that
/// looks like an API key, cut to about 200 characters.
pub(super) fn plain(text: &str, secrets: &[&KeyMaterial]) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let hidden = secrets
        .iter()
        .map(|secret| secret.expose())
        .filter(|secret| !secret.is_empty())
        .fold(line, |line, secret| line.replace(secret, HIDDEN));
    cut(without_keys(&hidden).chars().map(printable))
}

/// A name as people may see it: what cannot be seen, or turns what stands around it, is marked. The
/// rest stays, for a name must still be known again.
pub(super) fn visible(name: &str) -> String {
    let seen = |c| if is_unseen(c) { '\u{fffd}' } else { c };
    name.chars().map(seen).collect()
}

/// Control and format characters, and the separators of lines (Unicode's Cc, Cf, Zl and Zp).
fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}'
            | '\u{890}'..='\u{891}' | '\u{8e2}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e007f}')
}

/// Letters and digits of any script, and ASCII; the rest could turn or hide what stands around it.
fn printable(c: char) -> char {
    if c.is_alphanumeric() || c.is_ascii_graphic() || c == ' ' {
        c
    } else {
        '·'
    }
}

fn cut(mut chars: impl Iterator<Item = char>) -> String {
    let mut short: String = chars.by_ref().take(LENGTH).collect();
    if chars.next().is_some() {
        short.push('…');
    }
    short
}

/// The same with every `API-XYZ` hidden, whatever its case.
fn without_keys(line: &str) -> String {
    let mut rest = line;
    let mut clean = String::with_capacity(line.len());
    while let Some(at) = find_prefix(rest) {
        let (before, key) = rest.split_at(at);
        clean.push_str(before);
        clean.push_str(HIDDEN);
        rest = key[PREFIX.len()..].trim_start_matches(|c: char| c.is_ascii_alphanumeric());
    }
    clean + rest
}

/// Where the first text begins that looks like a key: the prefix, and something after it.
fn find_prefix(line: &str) -> Option<usize> {
    line.as_bytes()
        .windows(PREFIX.len() + 1)
        .position(|window| {
            window[..PREFIX.len()].eq_ignore_ascii_case(PREFIX.as_bytes())
                && window[PREFIX.len()].is_ascii_alphanumeric()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clean(text: &str) -> String {
        plain(text, &[&KeyMaterial::new("s3cret"), &KeyMaterial::new("")])
    }

    #[test]
    fn a_text_becomes_one_printable_line() {
        assert_eq!(clean("a\r\nb\tc   d\u{1b}[31m"), "a b c d·[31m");
        assert_eq!(clean("Zugriff für Jürgen\u{202e}!"), "Zugriff für Jürgen·!");
        assert_eq!(clean(""), "");
    }

    #[test]
    fn a_text_is_cut() {
        let long = clean(&"ä".repeat(5000));
        assert_eq!(long.chars().count(), LENGTH + 1);
        assert!(long.ends_with('…'));
        assert_eq!(clean(&"x".repeat(LENGTH)), "x".repeat(LENGTH));
    }

    #[test]
    fn secrets_and_keys_are_hidden() {
        assert_eq!(
            clean("you sent s3cret, s3cret!"),
            "you sent (hidden), (hidden)!"
        );
        assert_eq!(
            clean("key API-ABC123 and api-xYz."),
            "key (hidden) and (hidden)."
        );
        assert_eq!(clean("API- alone, and ÄAPI-É"), "API- alone, and ÄAPI-É");
        assert_eq!(clean("API-API-ABC"), "(hidden)-ABC");
    }

    #[test]
    fn a_key_across_the_cut_is_hidden_whole() {
        let text = "x".repeat(LENGTH - 6) + " API-ABCDEFGHIJK";
        assert!(!clean(&text).contains("API-"));
    }
}

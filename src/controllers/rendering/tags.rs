//! What the tags of a template may be.
//!
//! minijinja's fuel counts instructions, and one instruction on a list can be endless work: lists are
//! added up lazily, and nested ones compared without an end (seen with 3.1). So a tag makes no list,
//! map or tuple, adds and multiplies nothing, and is not long enough to be deep. Where a tag begins and
//! ends is told here as minijinja tells it: what could be told otherwise, comments and raw blocks, is
//! refused.

/// How many characters a tag may have: an expression is no deeper than it is long.
const LONGEST: usize = 256;

/// Whether all tags of a template are such that the bound on its work holds.
///
/// # Errors
/// What its author has to leave out.
pub(super) fn are_bounded(text: &str) -> Result<(), String> {
    let mut rest = text;
    while let Some((opening, inside)) = next_tag(rest) {
        let closing = match opening {
            "{{" => "}}",
            "{%" => "%}",
            _ => return Err("comments are not read: leave them out".to_owned()),
        };
        // What does not end, minijinja refuses.
        let Some((tag, after)) = inside.split_once(closing) else {
            return Ok(());
        };
        is_bounded(tag)?;
        rest = after;
    }
    Ok(())
}

/// Where the next tag or comment begins.
fn next_tag(text: &str) -> Option<(&str, &str)> {
    let at = ["{{", "{%", "{#"].map(|opening| text.find(opening));
    let at = at.into_iter().flatten().min()?;
    text[at..].split_at_checked(2)
}

fn is_bounded(tag: &str) -> Result<(), String> {
    if tag.chars().count() > LONGEST {
        return Err(format!("a tag is longer than {LONGEST} characters"));
    }
    let first = tag.trim_start_matches(['-', '+']).trim_start();
    if first.starts_with("raw") {
        return Err("raw blocks are not read: leave them out".to_owned());
    }
    let mut quote = None;
    let mut characters = tag.chars();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (Some(_), '\\') => drop(characters.next()),
            (Some(open), _) => quote = (open != character).then_some(open),
            (None, '"' | '\'') => quote = Some(character),
            (None, '[' | ']' | '{' | '}' | ',' | '+' | '*') => {
                return Err(format!(
                    "a tag holds `{character}`: lists, maps, sums and products are not read"
                ));
            }
            (None, _) => {}
        }
    }
    match quote {
        Some(_) => Err("a text within a tag holds the tag's own end".to_owned()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_is_bounded() {
        for text in [
            "plain [1, 2] + {3}",
            r#"{"a": ["{{ key }}", "{{- id -}}"], "b": {"c": 1}}"#,
            "{% if serial > 3 %}{{ key ~ '+,[' ~ id }}{% endif %}",
            r#"{{ "a \" [" ~ key }}"#,
            "{{ key",
            "{ { key } }",
        ] {
            assert_eq!(are_bounded(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn what_has_no_bound_is_refused() {
        let long = format!("{{{{ {}key }}}}", "-".repeat(300));
        for text in [
            "{% set x=[key] %}",
            "{{ key[0] }}",
            "{% set x = {'a': 1} %}",
            "{% set a, b = key %}",
            "{{ key + key }}",
            "{{ key * 3 }}",
            "{%+ if key %}{% endif %}",
            &long,
            // What would hide a tag from whoever reads comments and texts otherwise.
            "{# {{ ' #}{{ [key] }}{# ' }} #}",
            "{% raw %}{{ '{% endraw %}{{ [key] }}' }}",
            "{%- raw %}{{ ' {% endraw %}{{ [key] }}' }}",
            "{{ '}}' ~ [key] }}",
            r"{{ '\' ~ [key] }}",
        ] {
            assert!(are_bounded(text).is_err(), "{text}");
        }
    }
}

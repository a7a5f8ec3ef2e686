//! Pages: the envelope around every list.
//!
//! `Links` is always an object, never null (`Octopus.Client`, `Model/ResourceCollection.cs`), and
//! `Page.Next` is there only when there is a next page: every official client follows it until it
//! is gone.

use serde_json::{Map, Value, json};

use super::answer::{Answer, Reply};
use super::call::Call;

/// The size of a page that nobody asked for.
const TAKE: usize = 30;

/// One page of these items, as the call wants it. `template` is the list's link in the root
/// document, or what stands for it.
pub(super) fn page(call: &Call, item_type: &str, template: &str, items: Vec<Value>) -> Reply {
    Ok(Answer::ok(envelope(call, item_type, template, items)))
}

/// The page itself.
pub(super) fn envelope(call: &Call, item_type: &str, template: &str, items: Vec<Value>) -> Value {
    let number = |name: &str| call.query(name).and_then(|text| text.parse::<usize>().ok());
    let skip = number("skip").unwrap_or(0);
    let take = number("take").unwrap_or(TAKE);
    let total = items.len();
    let pages = total.div_ceil(take.max(1)).max(1);
    let last = pages - 1;
    let items: Vec<Value> = items.into_iter().skip(skip).take(take).collect();
    let link = |skip: usize, take: usize| Value::String(address(call, template, skip, take));

    let mut links = Map::new();
    links.insert("Self".into(), link(skip, take));
    links.insert("Template".into(), Value::String(template.to_owned()));
    links.insert("Page.All".into(), link(0, 2_147_483_647));
    links.insert("Page.Current".into(), link(skip, take));
    links.insert("Page.Last".into(), link(last * take, take));
    if skip + items.len() < total && !items.is_empty() {
        links.insert("Page.Next".into(), link(skip + take, take));
    }
    if skip > 0 {
        links.insert(
            "Page.Previous".into(),
            link(skip.saturating_sub(take), take),
        );
    }
    json!({
        "ItemType": item_type,
        "TotalResults": total,
        "ItemsPerPage": take,
        "NumberOfPages": pages,
        "LastPageNumber": last,
        "Items": items,
        "Links": links,
    })
}

/// The address of a page: the list's own, with the filters of this call.
fn address(call: &Call, template: &str, skip: usize, take: usize) -> String {
    let path = template.split('{').next().unwrap_or(template);
    let mut query = form_urlencoded::Serializer::new(String::new());
    query
        .append_pair("skip", &skip.to_string())
        .append_pair("take", &take.to_string());
    for (name, value) in &call.query {
        let secret = name.eq_ignore_ascii_case("apikey") || name.eq_ignore_ascii_case("api-key");
        let ours = name.eq_ignore_ascii_case("skip") || name.eq_ignore_ascii_case("take");
        if !secret && !ours {
            query.append_pair(name, value);
        }
    }
    format!("{path}?{}", query.finish())
}

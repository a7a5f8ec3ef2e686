//! Pages, and the orders that the shared table does not play.

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::Desk;

/// A server with so many keys, a second apart.
fn full(count: usize) -> Desk {
    let mut desk = Desk::new();
    for n in 0..count {
        desk.mint(&json!({ "name": format!("k{n:03}"), "metadata": { "n": n % 7 } }));
        desk.later(SignedDuration::from_secs(1));
    }
    desk
}

fn names(found: &Value) -> Vec<String> {
    let keys = found["api_keys"].as_array().unwrap().iter();
    keys.map(|key| key["name"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn every_key_is_on_one_page() {
    let mut desk = full(25);
    for sort in [
        json!(["name"]),
        json!([{ "creation": { "order": "desc" } }, "name"]),
    ] {
        let mut seen = Vec::new();
        let mut after = Value::Null;
        loop {
            let mut body = json!({ "size": 10, "sort": sort });
            if !after.is_null() {
                body["search_after"] = after.clone();
            }
            let (status, page) = desk.post("/_security/_query/api_key", &body);
            assert_eq!((status, &page["total"]), (200, &json!(25)), "{page}");
            let Some(last) = page["api_keys"].as_array().unwrap().last() else {
                break;
            };
            after = last["_sort"].clone();
            seen.extend(names(&page));
        }
        assert_eq!(seen.len(), 25);
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 25);
    }
}

#[test]
fn pages_by_number() {
    let mut desk = full(12);
    let body = json!({ "from": 10, "size": 10, "sort": ["name"] });
    let (_, page) = desk.post("/_security/_query/api_key", &body);
    assert_eq!(
        (&page["count"], names(&page)),
        (&json!(2), vec!["k010".into(), "k011".into()])
    );
    let (_, page) = desk.post("/_security/_query/api_key", &json!({}));
    assert_eq!(page["count"], 10, "ten without a wish");
}

#[test]
fn a_document_that_is_written_anew_stands_last() {
    let mut desk = full(3);
    let (_, found) = desk.get("/_security/api_key?name=k000");
    let id = found["api_keys"][0]["id"].as_str().unwrap().to_owned();
    desk.delete("/_security/api_key", &json!({ "ids": [id] }));
    let (_, all) = desk.post("/_security/_query/api_key", &json!({}));
    assert_eq!(names(&all), ["k001", "k002", "k000"]);
}

#[test]
fn clauses_combine() {
    let mut desk = full(14);
    let some = json!({ "bool": {
        "must": [{ "prefix": { "name": "k" } }],
        "should": [{ "term": { "metadata.n": 1 } }, { "term": { "metadata.n": 2 } }],
    } });
    let count = |desk: &mut Desk, query: &Value| {
        let (_, found) = desk.post(
            "/_security/_query/api_key",
            &json!({ "query": query, "size": 0 }),
        );
        found["total"].as_u64().unwrap()
    };
    assert_eq!(
        count(&mut desk, &some),
        14,
        "beside `must` the rest is a wish"
    );
    let mut one = some.clone();
    one["bool"]["minimum_should_match"] = json!(1);
    assert_eq!(count(&mut desk, &one), 4);
    let nested = json!({ "bool": { "filter": { "bool": { "must_not": { "exists": { "field": "metadata.n" } } } } } });
    assert_eq!(count(&mut desk, &nested), 0);
    assert_eq!(count(&mut desk, &json!({ "term": { "metadata": "3" } })), 2);
    assert_eq!(
        count(
            &mut desk,
            &json!({ "range": { "creation": { "lt": "now-5s" } } })
        ),
        9
    );
    assert_eq!(count(&mut desk, &json!({ "term": { "type": "rest" } })), 14);
}

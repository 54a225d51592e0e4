//! The description of the API, held to what is served: each documented operation is there, and nothing is there that is not
//! documented. Whether its schemas are true is checked over the answers that all of these tests get (`tests/openapi.py`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)] // a test may stop at the first surprise

mod world;

use std::collections::{BTreeMap, BTreeSet};

use frontdesk_http::ProblemKind;
use frontdesk_model::Adapter as _;
use serde_json::Value;
use world::World;

async fn document(world: &World) -> Value {
    let answer = world.get("/openapi.json", "").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    answer.json
}

/// Every operation: path, method in upper case, and the rest.
fn operations(document: &Value) -> Vec<(String, String, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    let of_path = |(path, methods): (&String, &'_ Value)| -> Vec<(String, String)> {
        methods.as_object().unwrap().keys().map(|method| (path.clone(), method.to_uppercase())).collect()
    };
    let all: Vec<_> = paths.iter().flat_map(of_path).collect();
    let with_operation = all.into_iter().map(|(path, method)| {
        let operation = &document["paths"][&path][method.to_lowercase()];
        (path, method, operation)
    });
    with_operation.collect()
}

/// A path of this form that names nothing, on a channel that is there.
fn filled(template: &str) -> String {
    let prefix = if template.contains("contacts") {
        "cnt"
    } else if template.contains("dead-letters") {
        "dlt"
    } else if template.contains("attachments") {
        "att"
    } else {
        "cnv"
    };
    template.replace("{channel}", "shop").replace("{id}", &format!("{prefix}_00000000000000000000000000"))
}

#[tokio::test]
async fn every_documented_operation_is_served() {
    let world = World::new().await;
    let document = document(&world).await;
    let operations = operations(&document);
    assert!(operations.len() > 10, "{operations:?}");
    for (path, method, operation) in operations {
        if operation["operationId"] == "/hang" {
            continue; // It answers when it is told to, and is asked below.
        }
        let answer = world.ask(&method, &filled(&path), "", None).await;
        let is_there =
            answer.status < 400 || !matches!(answer.slug(), "unknown-path" | "unknown-channel" | "method-not-allowed");
        assert!(is_there, "{method} {path}: {answer:?}");
    }
}

#[tokio::test]
async fn every_served_method_is_documented() {
    let world = World::new().await;
    let document = document(&world).await;
    let mut documented: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, method, _) in operations(&document) {
        documented.entry(path).or_default().insert(method);
    }
    for (path, methods) in &documented {
        let answer = world.ask("BREW", &filled(path), "", None).await;
        assert_eq!(answer.slug(), "method-not-allowed", "{path}");
        let allowed = answer.header("allow").unwrap().split(',').filter(|method| *method != "HEAD");
        assert_eq!(allowed.map(str::to_owned).collect::<BTreeSet<_>>(), *methods, "{path}");
    }
    // Paths come from one list only (`endpoint.rs`), and from the channels: all of theirs are there.
    let inbox = world.engine.inbox(&"shop".parse().unwrap()).unwrap();
    for route in world.booth.routes(inbox) {
        let path = format!("/v1/channels/{{channel}}{}", route.document.path);
        assert!(documented.contains_key(&path), "{path}");
    }
}

#[tokio::test]
async fn the_document_follows_the_routes_when_they_are_replaced() {
    let world = World::new().await;
    let is_there = |document: &Value| document["paths"].get("/v1/channels/{channel}/echo").is_some();
    assert!(is_there(&document(&world).await));
    world.front.replace(Vec::new(), world::http_options(&frontdesk_http::Limits::default()));
    assert!(!is_there(&document(&world).await));
}

#[tokio::test]
async fn every_reference_leads_somewhere_and_every_operation_has_a_name_of_its_own() {
    fn references<'v>(value: &'v Value, found: &mut BTreeSet<&'v str>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str));
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    let document: Value = serde_json::from_str(&frontdesk_http::openapi(&[])).unwrap();
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    assert!(found.len() > 20);
    for reference in &found {
        assert!(document.pointer(reference.strip_prefix('#').unwrap()).is_some(), "{reference}");
    }
    for kind in ["schemas", "responses"] {
        for name in document["components"][kind].as_object().unwrap().keys() {
            assert!(found.contains(format!("#/components/{kind}/{name}").as_str()), "{name} is not used");
        }
    }
    let operations = operations(&document);
    let ids: BTreeSet<_> =
        operations.iter().map(|(_, _, operation)| operation["operationId"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), operations.len());
    for (path, method, operation) in operations {
        assert!(!operation["summary"].as_str().unwrap().is_empty(), "{method} {path}");
    }
}

#[tokio::test]
async fn every_kind_of_problem_is_named() {
    let document = frontdesk_http::openapi(&[]);
    for kind in ProblemKind::ALL {
        assert!(document.contains(&format!("urn:frontdesk:problem:{}`", kind.slug())), "{kind:?}");
    }
}

#[test]
fn the_description_as_a_whole() {
    insta::assert_snapshot!("openapi", frontdesk_http::openapi(&[]));
}

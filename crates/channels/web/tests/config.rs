//! Settings: what is taken, and what is said about what is not.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)] // tests may stop at the first surprise

mod world;

use std::time::Duration;

use frontdesk_model::*;
use frontdesk_web::WebhookKind;
use world::*;

fn problems(settings: &Settings) -> Vec<Problem> {
    WebhookKind.validate(&ChannelName::new("shop").unwrap(), settings).err().unwrap_or_default()
}

#[test]
fn is_of_the_kind_webhook() {
    assert_eq!(WebhookKind.name().as_str(), "webhook");
    insta::assert_debug_snapshot!("keys", WebhookKind.keys());
}

#[test]
fn every_key_may_be_left_out() {
    let config = checked(&Settings::default());
    assert_eq!(config.account().as_str(), "shop", "the channel's own name");
}

#[test]
fn the_account_outlives_the_channels_name() {
    let config = checked(&settings([("account", Setting::Text("old_shop".into()))]));
    assert_eq!(config.account().as_str(), "old_shop");
}

#[test]
fn every_mistake_is_named_at_once_with_its_mend_and_no_secret() {
    let wrong = settings([
        ("secret", secrets(&[SECRET, "hunter2hunter2", "whsec_c2hvcnQ=", "whsec_*hunter2*"])),
        ("deliver_url", Setting::Text("https://user:hunter2@example.com/".into())),
        ("account", Setting::Text("a\nb".into())),
        ("timeout", Setting::Span(Duration::from_millis(20_001))),
        ("rate", Setting::Text("20 per second".into())),
        ("max_body", Setting::Number(8_000_001)),
    ]);
    let problems = problems(&wrong);
    assert!(!format!("{problems:?}").contains("hunter2"), "{problems:?}");
    insta::assert_debug_snapshot!("mistakes", problems);
}

#[test]
fn bounds_are_inclusive() {
    for (key, setting) in [
        ("timeout", Setting::Span(Duration::from_secs(1))),
        ("timeout", Setting::Span(Duration::from_secs(20))),
        ("rate", Setting::Text("off".into())),
        ("rate", Setting::Text("1/h".into())),
        ("rate", Setting::Text("1000/s".into())),
        ("max_body", Setting::Number(1_000)),
        ("max_body", Setting::Number(8_000_000)),
    ] {
        assert_eq!(problems(&settings([(key, setting)])), []);
    }
    for (key, setting) in [
        ("timeout", Setting::Span(Duration::from_millis(999))),
        ("rate", Setting::Text("0/s".into())),
        ("rate", Setting::Text("1001/s".into())),
        ("max_body", Setting::Number(999)),
        ("max_body", Setting::Number(u64::MAX)),
        ("account", Setting::Text(String::new())),
        ("deliver_url", Setting::Text("ftp://example.com/".into())),
        ("deliver_url", Setting::Text("shop.example.com".into())),
    ] {
        assert_eq!(problems(&settings([(key, setting.clone())])).len(), 1, "{key} {setting:?}");
    }
}

#[tokio::test]
async fn the_route_reads_no_more_than_max_body() {
    let world = World::new(&settings([("max_body", Setting::Number(5_000))]));
    let routes = world.adapter.routes(world.inbox);
    let [route] = routes.as_slice() else { panic!("one route") };
    assert_eq!((route.document.method, route.document.path, route.max_body), (Method::Post, "/messages", 5_000));
    assert_eq!(WebhookKind.routes(), std::slice::from_ref(&route.document), "the kind knows it too");
}

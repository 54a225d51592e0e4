//! Settings: what is taken, and what is said about what is not.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)] // tests may stop at the first surprise

mod world;

use frontdesk_model::*;
use frontdesk_telegram::TelegramKind;
use world::*;

#[test]
fn the_account_is_the_bots_number() {
    assert_eq!(TelegramKind.name().as_str(), "telegram");
    assert_eq!(validated(&settings([])).unwrap().account().as_str(), "4242");
}

#[test]
fn every_mistake_is_named_at_once_without_the_secret() {
    let wrong = settings([
        ("token", Setting::Secrets(vec![Secret::new("hunter2 hunter2".into())])),
        ("rate", text("30 per second")),
        ("rate_per_group", text("many")),
        ("api_url", text("https://api.example/?token=hunter2")),
    ]);
    let problems = validated(&wrong).unwrap_err();
    assert_eq!(
        problems.iter().map(|problem| problem.key).collect::<Vec<_>>(),
        ["token", "rate", "rate_per_group", "api_url"]
    );
    assert!(!format!("{problems:?}").contains("hunter2"), "{problems:?}");
}

#[test]
fn a_token_has_the_form_that_botfather_gives_it() {
    for bad in ["", ":", "4242:", ":AAE", "42x:AAE", "4242:AA/E", "4242:AA E", "4242:../x"] {
        let settings = settings([("token", Setting::Secrets(vec![Secret::new(bad.into())]))]);
        assert_eq!(validated(&settings).unwrap_err().len(), 1, "{bad}");
    }
    let two = Setting::Secrets(vec![Secret::new(TOKEN.into()), Secret::new(TOKEN.into())]);
    assert_eq!(validated(&settings([("token", two)])).unwrap_err().len(), 1, "a bot has one token");
}

#[tokio::test]
async fn sends_are_counted_for_the_bot_the_chat_and_the_group() {
    let of = |thread: &str, rate: &str| {
        let more = vec![("rate", text(rate)), ("rate_per_group", text("10/min"))];
        let (adapter, _) = channel_at("127.0.0.1:9".parse().unwrap(), more);
        let budgets = adapter.budgets(&ThreadId::new(thread).unwrap(), &FrozenPart(serde_json::Value::Null));
        assert!(budgets.iter().all(Budget::is_sound));
        budgets.into_iter().map(|one| format!("{} {}/{}s", one.of, one.most, one.within.as_secs())).collect::<Vec<_>>()
    };
    assert_eq!(of("123", "30/s"), ["bot 30/1s", "chat 123 1/1s"]);
    assert_eq!(of("-1001/5", "10/s"), ["bot 10/1s", "chat -1001 1/1s", "group -1001 10/60s"]);
    assert!(of("123", "off").is_empty() && of("-1001", "off").is_empty());
    let (adapter, _) = channel_at("127.0.0.1:9".parse().unwrap(), vec![("rate_per_chat", text("off"))]);
    let budgets = adapter.budgets(&ThreadId::new("-1001").unwrap(), &FrozenPart(serde_json::Value::Null));
    assert_eq!(budgets.iter().map(|one| one.of.as_str()).collect::<Vec<_>>(), ["bot", "group -1001"]);
}

#[tokio::test]
async fn what_follows_an_ambiguous_send_is_the_operators_choice() {
    for (word, resend) in [("show", Resend::MayDouble), ("resend", Resend::Wanted)] {
        let (adapter, _) = channel_at("127.0.0.1:9".parse().unwrap(), vec![("on_uncertain", text(word))]);
        assert_eq!(adapter.capabilities().resend, resend);
    }
}

#[tokio::test]
async fn webhook_mode_says_what_address_it_needs() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = validated(&settings([("receive", text("webhook"))])).unwrap();
    let build = |public_url: Option<&str>| {
        let clock = std::sync::Arc::new(frontdesk_testkit::clock::TestClock::new(now()));
        config.build(Surroundings { clock, public_url: public_url.map(str::to_owned) }).map(drop)
    };
    for (told, mend) in [(None, "public_url"), (Some("http://desk.example.com"), "https")] {
        let error = build(told).unwrap_err().to_string();
        assert!(error.contains(mend) && error.contains("receive = \"poll\""), "{error}");
    }
    assert!(build(Some("https://desk.example.com")).is_ok());
}

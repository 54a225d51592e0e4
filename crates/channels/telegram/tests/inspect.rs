//! How a bot is set up, and what is said about it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)] // tests may stop at the first surprise

mod world;

use frontdesk_model::*;
use frontdesk_testkit::far_end::FarEnd;
use serde_json::{Value, json};
use world::*;

/// What is found of a bot that is so, with this webhook.
async fn found(more: Vec<(&'static str, Setting)>, bot: Value, webhook: Value) -> Vec<Finding> {
    let far_end = FarEnd::start(move |request| match method(request) {
        "getMe" => {
            let mut me = json!({"id": 4242, "is_bot": true, "username": "DeskBot"});
            me.as_object_mut().unwrap().extend(bot.as_object().unwrap().clone());
            ok(me)
        }
        "getWebhookInfo" => ok(webhook.clone()),
        other => panic!("{other} changes something"),
    })
    .await;
    let (adapter, _) = channel_at(far_end.addr(), more);
    adapter.inspect().await
}

fn worst(findings: &[Finding]) -> &Finding {
    findings.iter().max_by_key(|finding| finding.level).unwrap()
}

fn polled_by(url: &str) -> Value {
    json!({"url": url, "pending_update_count": 3})
}

#[tokio::test]
async fn a_bot_that_fits_is_fine() {
    let findings = found(vec![], json!({"can_join_groups": true}), polled_by("")).await;
    assert!(findings.iter().all(|finding| finding.level == Level::Fine && finding.mend.is_none()), "{findings:?}");
    assert!(
        findings[0].what.contains("@DeskBot") && findings.iter().any(|one| one.what.contains("3 are waiting")),
        "{findings:?}"
    );
    let hooked = vec![("receive", text("webhook"))];
    let findings = found(hooked, json!({}), polled_by("https://desk.example.com/v1/channels/tg/updates")).await;
    assert_eq!(worst(&findings).level, Level::Fine, "{findings:?}");
}

#[tokio::test]
async fn what_does_not_fit_is_said_with_where_it_is_switched() {
    let all = || vec![("respond", text("all"))];
    let hooked = || vec![("receive", text("webhook"))];
    let open = json!({"can_read_all_group_messages": true});
    let failing = json!({
        "url": "https://desk.example.com/v1/channels/tg/updates", "last_error_date": 1_767_607_000,
        "last_error_message": "Wrong response from the webhook: 502 Bad Gateway"
    });
    let cases = [
        (all(), json!({}), polled_by(""), Level::Wrong, "privacy mode is on", "/setprivacy, choose the bot, Disable"),
        (vec![], open, polled_by(""), Level::Warning, "privacy mode is off", "respond = \"all\""),
        (vec![], json!({"can_join_groups": false}), polled_by(""), Level::Warning, "groups", "/setjoingroups"),
        (vec![], json!({}), polled_by("https://other.example/s3cret"), Level::Wrong, "other.example", "another bot"),
        (hooked(), json!({}), polled_by("https://other.example/s3cret"), Level::Wrong, "other.example", "another bot"),
        (hooked(), json!({}), failing, Level::Warning, "502 Bad Gateway", "public_url"),
    ];
    for (more, bot, webhook, level, what, mend) in cases {
        let findings = found(more, bot, webhook).await;
        let worst = worst(&findings);
        assert_eq!(worst.level, level, "{findings:?}");
        assert!(worst.what.contains(what) && worst.mend.as_ref().unwrap().contains(mend), "{worst:?}");
        assert!(!format!("{findings:?}").contains("s3cret"));
    }
}

#[tokio::test]
async fn a_wrong_token_is_all_that_is_said() {
    let far_end = FarEnd::start(|_| refused(401, "Unauthorized", json!({}))).await;
    let (adapter, _) = channel_at(far_end.addr(), vec![]);
    let findings = adapter.inspect().await;
    assert!(
        matches!(&findings[..], [Finding { level: Level::Wrong, what, .. }] if what.contains("@BotFather")),
        "{findings:?}"
    );
}

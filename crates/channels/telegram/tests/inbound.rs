//! What is received: confirmed after the commit and not before, in order, and only what is meant for the bot.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)] // tests may stop at the first surprise

mod world;

use std::sync::Arc;

use frontdesk_model::*;
use frontdesk_testkit::{adapter_suite::TestInbox, far_end::FarEnd};
use serde_json::{Value, json};
use world::*;

fn texts(envelopes: &[Envelope]) -> Vec<&str> {
    envelopes.iter().map(|envelope| envelope.content.source()).collect()
}

#[tokio::test]
async fn a_private_message_is_taken_with_who_wrote_it() {
    let entity = json!([{"type": "bold", "offset": 0, "length": 5}]);
    let far_end = polled(vec![private(9, 123, 77, json!({"text": "Hello *you*", "entities": entity}))]).await;
    let taken = received(&far_end, 1, vec![]).await;
    let Envelope { thread, external_id, sender, content, sent_at, auto_generated, .. } = &taken[0];
    assert_eq!((thread.as_str(), external_id.as_str()), ("123", "123:77"));
    assert_eq!(sender.identity, Identity { kind: "telegram".into(), value: "123".into(), trust: Trust::Verified });
    assert_eq!((sender.name.as_deref(), sender.locale.as_deref()), (Some("Ada L"), Some("pt-BR")));
    assert_eq!(*content, Content::Markdown("**Hello** \\*you\\*".into()));
    assert_eq!(*sent_at, Some(now()));
    assert!(!auto_generated);
}

/// The offsets that were asked with, in order.
fn offsets(far_end: &FarEnd) -> Vec<Option<i64>> {
    let polls = far_end.requests().into_iter().filter(|request| method(request) == "getUpdates");
    polls.map(|request| params(&request)["offset"].as_i64()).collect()
}

#[tokio::test]
async fn nothing_is_confirmed_before_all_of_it_is_committed() {
    let updates = (1..=3).map(|n| private(n, 123, n, json!({"text": format!("{n}")}))).collect();
    let far_end = polled(updates).await;
    let (adapter, _) = channel_at(far_end.addr(), vec![]);
    let inbox = TestInbox::held();
    {
        let receiving = adapter.receive(Arc::clone(&inbox) as _);
        let two_of_three = async {
            inbox.commit_one();
            inbox.commit_one();
            inbox.wait_for_arrivals(3).await;
        };
        tokio::select! {
            ended = receiving => panic!("{ended:?}"),
            () = two_of_three => {}
        }
    }
    assert_eq!(offsets(&far_end), [None], "dropped between the second commit and the third");
    inbox.commit_one();
    inbox.commit_one();
    let confirmed = async {
        far_end.wait_until("a confirmation", |seen| seen.iter().any(|one| !params(one)["offset"].is_null())).await
    };
    tokio::select! {
        ended = adapter.receive(Arc::clone(&inbox) as _) => panic!("{ended:?}"),
        _ = confirmed => {}
        () = async { inbox.commit_one(); inbox.commit_one(); std::future::pending().await } => {}
    }
    assert_eq!(offsets(&far_end), [None, None, Some(4)]);
    assert_eq!(texts(&inbox.taken()), ["1", "2", "3"], "each once, in order");
}

#[tokio::test]
async fn what_the_inbox_cannot_take_is_handed_in_again_and_not_confirmed() {
    let far_end = polled(vec![private(1, 123, 1, json!({"text": "once"}))]).await;
    let (adapter, clock) = channel_at(far_end.addr(), vec![]);
    let inbox = TestInbox::open();
    inbox.close();
    let receiving = adapter.receive(Arc::clone(&inbox) as _);
    let watching = async {
        inbox.wait_for_arrivals(1).await;
        assert_eq!(offsets(&far_end), [None]);
        inbox.reopen();
        let coming = inbox.wait_for_arrivals(2);
        tokio::pin!(coming);
        loop {
            clock.advance(std::time::Duration::from_secs(1));
            tokio::select! { () = &mut coming => break, () = tokio::task::yield_now() => {} }
        }
        far_end.wait_for(3).await;
    };
    tokio::select! { ended = receiving => panic!("{ended:?}"), () = watching => {} }
    assert_eq!(texts(&inbox.taken()), ["once"]);
    assert_eq!(offsets(&far_end), [None, Some(2)]);
}

#[tokio::test]
async fn what_cannot_be_read_is_kept_as_it_came_and_confirmed() {
    let far_end = polled(vec![
        json!({"update_id": 1, "message": {"message_id": "seventy"}}),
        json!({"update_id": 2, "something_new": {"of": "them"}}),
        private(3, 123, 3, json!({"text": "after"})),
    ])
    .await;
    let (adapter, _) = channel_at(far_end.addr(), vec![]);
    let inbox = TestInbox::open();
    tokio::select! {
        ended = adapter.receive(Arc::clone(&inbox) as _) => panic!("{ended:?}"),
        _ = far_end.wait_until("a confirmation", |seen| seen.iter().any(|one| params(one)["offset"] == 4)) => {}
    }
    assert_eq!(texts(&inbox.taken()), ["after"]);
    let [Occurrence { what: Happening::Unreadable { raw, reason }, external_id, .. }] = &inbox.noted()[..] else {
        panic!("{:?}", inbox.noted());
    };
    assert_eq!(*raw, json!({"update_id": 1, "message": {"message_id": "seventy"}}).to_string());
    assert!(reason.contains("another type") && !reason.contains("seventy"), "{reason}");
    assert!(external_id.as_str().starts_with("unreadable:"));
    // Read again by a version that does not know better either; and one that does takes it.
    let error = adapter.replay(raw, Arc::clone(&inbox) as _).await.unwrap_err().to_string();
    assert!(error.contains("still cannot be read"), "{error}");
    adapter.replay(&private(4, 123, 4, json!({"text": "mended"})).to_string(), Arc::clone(&inbox) as _).await.unwrap();
    assert_eq!(texts(&inbox.taken()), ["after", "mended"]);
}

#[tokio::test]
async fn from_groups_is_taken_what_is_meant_for_the_bot() {
    let mention = |text: &str, kind: &str, offset: usize, length: usize| json!({"text": text, "entities": [{"type": kind, "offset": offset, "length": length}]});
    let bot = json!({"id": 4242, "is_bot": true, "first_name": "Bot"});
    let cases: Vec<(bool, Value)> = vec![
        (false, json!({"text": "to nobody"})),
        (true, mention("👍 @deskbot hello", "mention", 3, 8)),
        (false, mention("@otherbot hello", "mention", 0, 9)),
        (false, mention("@deskbot beyond", "mention", 900, 9)),
        (true, mention("/help", "bot_command", 0, 5)),
        (true, mention("/help@DeskBot", "bot_command", 0, 13)),
        (false, mention("/help@OtherBot", "bot_command", 0, 14)),
        (true, json!({"text": "an answer", "reply_to_message": {"message_id": 5, "from": bot}})),
        (false, json!({"text": "another answer", "reply_to_message": {"message_id": 5, "from": {"id": 8}}})),
        (true, json!({"text": "You", "entities": [{"type": "text_mention", "offset": 0, "length": 3, "user": bot}]})),
        (
            true,
            json!({"caption": "@DeskBot look", "photo": [{"file_id": "x"}],
            "caption_entities": [{"type": "mention", "offset": 0, "length": 8}]}),
        ),
    ];
    let updates = |numbered: &[(bool, Value)]| {
        let update = |(n, (_, fields)): (usize, &(bool, Value))| {
            let n = i64::try_from(n).unwrap() + 1;
            in_group(n, n, fields.clone())
        };
        numbered.iter().enumerate().map(update).collect::<Vec<_>>()
    };
    let wanted: Vec<String> =
        (1..).zip(&cases).filter(|(_, (meant, _))| *meant).map(|(n, _)| format!("-1001:{n}")).collect();
    let far_end = polled(updates(&cases)).await;
    let taken = received(&far_end, wanted.len(), vec![]).await;
    assert_eq!(taken.iter().map(|one| one.external_id.as_str().to_owned()).collect::<Vec<_>>(), wanted);
    let far_end = polled(updates(&cases)).await;
    assert_eq!(received(&far_end, cases.len(), vec![("respond", text("all"))]).await.len(), cases.len());
    let last = private(99, 1, 99, json!({"text": "in private"}));
    let far_end = polled(updates(&cases).into_iter().chain([last]).collect()).await;
    assert_eq!(texts(&received(&far_end, 1, vec![("respond", text("direct"))]).await), ["in private"]);
}

#[tokio::test]
async fn a_topic_is_a_conversation_of_its_own() {
    let in_topic = json!({"text": "hi", "message_thread_id": 5, "is_topic_message": true});
    let far_end = polled(vec![in_group(1, 1, in_topic)]).await;
    assert_eq!(received(&far_end, 1, vec![("respond", text("all"))]).await[0].thread.as_str(), "-1001/5");
}

#[tokio::test]
async fn another_program_at_the_same_bot_is_said_plainly() {
    for (words, said) in [
        ("Conflict: terminated by other getUpdates request; make sure that only one bot instance is running", "polls"),
        (
            "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete it",
            "other.example",
        ),
    ] {
        let far_end = FarEnd::start(move |request| match method(request) {
            "getMe" => ok(json!({"id": 4242, "username": "DeskBot"})),
            "getWebhookInfo" => ok(json!({"url": "https://other.example/hook/s3cret"})),
            _ => refused(409, words, json!({})),
        })
        .await;
        let (adapter, _) = channel_at(far_end.addr(), vec![]);
        let error = adapter.receive(TestInbox::open() as _).await.unwrap_err().to_string();
        assert!(error.contains(said) && error.contains("409") && !error.contains("s3cret"), "{error}");
        assert!(
            far_end.requests().iter().all(|request| method(request) != "deleteWebhook"),
            "it is not ours to take away"
        );
    }
}

#[tokio::test]
async fn a_wrong_token_is_said_with_its_mend() {
    let far_end = FarEnd::start(|_| refused(401, "Unauthorized", json!({}))).await;
    let (adapter, _) = channel_at(far_end.addr(), vec![]);
    let error = adapter.probe().await.unwrap_err().to_string();
    assert!(error.contains("@BotFather") && !error.contains("secret"), "{error}");
}

#[tokio::test]
async fn files_come_by_the_names_that_telegram_has_for_them_and_no_address_is_asked_for() {
    let far_end = polled(vec![
        private(1, 123, 1, json!({"caption": "Look", "photo": [{"file_id": "small"}, {"file_id": "large"}]})),
        private(
            2,
            123,
            2,
            json!({"document": {"file_id": "doc", "file_name": "a.pdf", "mime_type": "application/pdf"}}),
        ),
    ])
    .await;
    let taken = received(&far_end, 2, vec![]).await;
    let file = |id: &str, name: &str| RemoteFile { at: FileAt::Handle(id.into()), name: Some(name.into()) };
    assert_eq!(taken[0].attachments, [file("large", "photo.jpg")]);
    assert_eq!(taken[0].content.source(), "Look");
    assert_eq!(taken[1].attachments, [file("doc", "a.pdf")]);
    assert!(far_end.requests().iter().all(|request| method(request) != "getFile"));
}

#[tokio::test]
async fn a_file_is_found_when_it_is_wanted_or_it_is_said_why_not() {
    let far_end = FarEnd::start(|request| match params(request)["file_id"].as_str().unwrap() {
        "large" => ok(json!({"file_id": "large", "file_path": "photos/file_1.jpg"})),
        "odd" => ok(json!({"file_id": "odd", "file_path": "../../bot1/getMe"})),
        "huge" => refused(400, "Bad Request: file is too big", json!({})),
        "busy" => refused(429, "Too Many Requests: retry after 3", json!({"retry_after": 3})),
        _ => refused(401, "Unauthorized", json!({})),
    })
    .await;
    let (adapter, _) = channel_at(far_end.addr(), vec![]);
    let url = format!("{}/file/bot{TOKEN}/photos/file_1.jpg", far_end.url().trim_end_matches('/'));
    assert_eq!(adapter.locate("large").await, Ok(Located { url, trusted: true }));
    for (gone, words) in [("odd", "--local"), ("huge", "20 MB")] {
        let error = adapter.locate(gone).await.unwrap_err();
        assert!(matches!(&error, LocateError::Gone(why) if why.contains(words)), "{error:?}");
    }
    for later in ["busy", "else"] {
        let error = adapter.locate(later).await.unwrap_err();
        assert!(matches!(error, LocateError::Later(_)) && !error.to_string().contains("secret"), "{error:?}");
    }
}

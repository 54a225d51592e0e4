//! What happens to messages, and what comes with them, as the inbox gets it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)] // tests may stop at the first surprise

mod world;

use std::sync::Arc;

use frontdesk_model::*;
use frontdesk_testkit::{
    adapter_suite::TestInbox,
    bot_api::{BotApi, Supergroup},
};
use serde_json::{Value, json};
use world::*;

/// Receives from the fake until it has nothing left, and says what came.
async fn all_of(telegram: &BotApi, more: Vec<(&'static str, Setting)>) -> Arc<TestInbox> {
    let inbox = TestInbox::open();
    receive_into(telegram, &inbox, more).await;
    inbox
}

async fn receive_into(telegram: &BotApi, inbox: &Arc<TestInbox>, more: Vec<(&'static str, Setting)>) {
    let adapter = channel_of(telegram, more);
    let emptied = async {
        while telegram.pending() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! { ended = adapter.receive(Arc::clone(inbox) as _) => panic!("{ended:?}"), () = emptied => {} }
}

fn happenings(inbox: &TestInbox) -> Vec<Happening> {
    inbox.noted().into_iter().map(|occurrence| occurrence.what).collect()
}

#[tokio::test]
async fn a_change_is_told_of_the_message_it_is_made_to() {
    let far_end = polled(vec![
        private(1, 123, 77, json!({"text": "I want 2"})),
        json!({"update_id": 2, "edited_message": private(0, 123, 77, json!({"text": "I want *3*", "edit_date": 1_767_607_300}))["message"]}),
        json!({"update_id": 3, "edited_message": private(0, 123, 77, json!({"text": "I want 4", "edit_date": 1_767_607_300}))["message"]}),
    ])
    .await;
    let inbox = noted(&far_end, 3, vec![]).await;
    let noted = inbox.noted();
    let Happening::Edited { message, content, attachments, .. } = &noted[0].what else { panic!("{noted:?}") };
    assert_eq!(message, &inbox.taken()[0].external_id);
    assert_eq!((content, attachments.len()), (&Content::Markdown("I want \\*3\\*".into()), 0));
    assert_eq!(noted[0].thread.as_str(), "123");
    assert_eq!(noted[0].at.unwrap().as_secs(), 1_767_607_300);
    assert_eq!(noted.len(), 2, "two changes in one second are two");
    assert_ne!(noted[0].external_id, noted[1].external_id);
}

/// Whoever edits a message may mean the bot only since then, or may have written before the bot was heard here.
#[tokio::test]
async fn a_change_brings_along_what_it_is_where_the_message_never_came() {
    let mention = json!([{"type": "mention", "offset": 0, "length": 8}]);
    let change = |update: i64, said: Value| json!({"update_id": update, "edited_message": said["message"]});
    let edited = json!({"text": "hello all", "edit_date": 1_767_607_300});
    let named = json!({"text": "@DeskBot hello", "entities": mention, "edit_date": 1_767_607_300});
    let far_end = polled(vec![
        change(1, private(0, 123, 77, edited.clone())),
        change(2, in_group(0, 78, edited)),
        change(3, in_group(0, 79, named)),
    ])
    .await;
    let inbox = noted(&far_end, 3, vec![]).await;
    let unknown: Vec<Option<String>> = inbox
        .noted()
        .into_iter()
        .map(|occurrence| match occurrence.what {
            Happening::Edited { message, unknown, .. } => unknown.map(|envelope| {
                assert_eq!((&envelope.external_id, envelope.thread.as_str()), (&message, occurrence.thread.as_str()));
                envelope.content.source().to_owned()
            }),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(unknown, [Some("hello all".to_owned()), None, Some("@DeskBot hello".to_owned())]);
}

#[tokio::test]
async fn a_press_is_told_with_its_words_and_answered_after_the_commit() {
    let telegram = BotApi::start().await;
    let ada = telegram.person("Ada", "en");
    let adapter = channel_of(&telegram, vec![]);
    let mut asked = outgoing(&ada.to_string(), "Which one?");
    asked.reply_to_external = None;
    asked.message.buttons = vec![Button { id: "track".into(), label: "Track it".into() }];
    let Outcome::Sent { external_id: Some(sent) } = send(&adapter, &asked).await else { panic!("not sent") };
    let number: i64 = sent.split(':').nth(1).unwrap().parse().unwrap();
    let query = telegram.press(ada, ada, number, "Track it");
    let inbox = TestInbox::held();
    let watching = async {
        inbox.wait_for_arrivals(1).await;
        assert_eq!(telegram.count("answerCallbackQuery"), 0, "not before the commit");
        inbox.commit_one();
        telegram.wait_for("answerCallbackQuery", 1).await
    };
    let answered = tokio::select! { ended = adapter.receive(Arc::clone(&inbox) as _) => panic!("{ended:?}"), calls = watching => calls };
    assert_eq!((answered[0].status, &answered[0].params["callback_query_id"]), (200, &json!(query)));
    let noted = inbox.noted();
    let pressed = Happening::Pressed {
        message: Some(ExternalId::new(&sent).unwrap()),
        button: "track".into(),
        label: Some("Track it".into()),
    };
    assert_eq!(noted[0].what, pressed);
    assert_eq!(noted[0].sender.as_ref().unwrap().identity.value, ada.to_string());
    assert_eq!(
        (noted[0].thread.as_str(), noted[0].external_id.as_str()),
        (&*ada.to_string(), &*format!("press:{query}"))
    );
}

#[tokio::test]
async fn reactions_are_told_as_what_came_and_what_went() {
    let reaction = |update: i64, old: Value, new: Value| {
        json!({"update_id": update, "message_reaction": {
            "chat": {"id": 123, "type": "private"}, "message_id": 77, "date": 1_767_607_200,
            "user": {"id": 123, "is_bot": false, "first_name": "Ada", "language_code": "pt-BR"},
            "old_reaction": old, "new_reaction": new
        }})
    };
    let emoji = |sign: &str| json!({"type": "emoji", "emoji": sign});
    let far_end = polled(vec![
        reaction(1, json!([]), json!([emoji("👍")])),
        reaction(
            2,
            json!([emoji("👍")]),
            json!([emoji("❤"), {"type": "custom_emoji", "custom_emoji_id": "5"}, {"type": "paid"}]),
        ),
    ])
    .await;
    let inbox = noted(&far_end, 2, vec![]).await;
    let message = ExternalId::new("123:77").unwrap();
    let reacted = |added: &[&str], removed: &[&str]| {
        let signs = |signs: &[&str]| signs.iter().map(|&sign| sign.to_owned()).collect();
        Happening::Reacted { message: message.clone(), added: signs(added), removed: signs(removed) }
    };
    assert_eq!(happenings(&inbox), [reacted(&["👍"], &[]), reacted(&["❤", "custom_emoji:5", "paid"], &["👍"])]);
    assert_eq!(inbox.noted()[0].sender.as_ref().unwrap().name.as_deref(), Some("Ada"));
}

#[tokio::test]
async fn a_blocked_bot_is_told_of_and_one_let_in_again() {
    let telegram = BotApi::start().await;
    let ada = telegram.person("Ada", "en");
    telegram.say(ada, ada, "hello");
    all_of(&telegram, vec![]).await;
    telegram.shut(ada, ada);
    telegram.open(ada, ada);
    let inbox = all_of(&telegram, vec![]).await;
    let told: Vec<String> = happenings(&inbox)
        .into_iter()
        .map(|what| if let Happening::Told(words) = what { words } else { panic!() })
        .collect();
    assert!(told[0].contains("blocked the bot") && told[1].contains("again"), "{told:?}");
    assert!(inbox.noted().iter().all(|one| one.thread.as_str() == ada.to_string()));
}

#[tokio::test]
async fn a_group_that_moved_goes_on_in_its_conversation_in_both_directions() {
    let telegram = BotApi::start().await;
    let ada = telegram.person("Ada", "en");
    let group = telegram.group("Ask");
    telegram.say(group, ada, "/help before");
    let new = telegram.migrate(group, ada);
    let inbox = TestInbox::open();
    receive_into(&telegram, &inbox, vec![]).await;
    // A channel that was started since knows it from what is remembered.
    let later = telegram.say(new, ada, "/help after");
    receive_into(&telegram, &inbox, vec![]).await;
    let taken = inbox.taken();
    let threads: Vec<&str> = taken.iter().map(|one| one.thread.as_str()).collect();
    assert_eq!(threads, [group.to_string(), group.to_string()]);
    assert_eq!(taken[1].external_id.as_str(), format!("{new}:{later}"));
    let told = inbox.noted();
    assert!(
        matches!(&told[..], [Occurrence { what: Happening::Told(words), thread, .. }]
        if words.contains("supergroup") && thread.as_str() == group.to_string()),
        "{told:?}"
    );
    assert_eq!(Inbox::recall(&*inbox, &format!("moved:{new}")).await.unwrap(), Some(group.to_string()));
    telegram.edit(new, later, "/help now");
    receive_into(&telegram, &inbox, vec![]).await;
    let Some(Occurrence { thread, what: Happening::Edited { unknown: Some(unknown), .. }, .. }) = inbox.noted().pop()
    else {
        panic!("{:?}", inbox.noted())
    };
    assert_eq!([thread.as_str(), unknown.thread.as_str()], [group.to_string(), group.to_string()]);
    // What is sent to the old one goes to the new one; what answers a message of the old one stands alone there.
    let adapter = channel_of(&telegram, vec![]);
    let mut answer = outgoing(&group.to_string(), "Hello");
    answer.reply_to_external = Some(taken[0].external_id.clone());
    let first = send(&adapter, &answer).await;
    assert!(matches!(first, Outcome::RetryAfter { scope: Scope::Message, .. }), "{first:?}");
    let second = send(&adapter, &answer).await;
    assert!(
        matches!(&second, Outcome::Sent { external_id: Some(id) } if id.starts_with(&format!("{new}:"))),
        "{second:?}"
    );
    assert!(telegram.sent().last().unwrap().get("reply_to_message").is_none());
}

#[tokio::test]
async fn a_move_that_a_refused_send_tells_is_remembered() {
    let telegram = BotApi::start().await;
    let ada = telegram.person("Ada", "en");
    let group = telegram.group("Ask");
    let new = telegram.migrate(group, ada);
    let adapter = channel_of(&telegram, vec![]);
    let inbox = TestInbox::open();
    let _ = adapter.routes(Arc::clone(&inbox) as _);
    send(&adapter, &outgoing(&group.to_string(), "Hello")).await;
    assert_eq!(Inbox::recall(&*inbox, &format!("moved:{new}")).await.unwrap(), Some(group.to_string()));
}

#[tokio::test]
async fn what_comes_with_a_message_comes_along() {
    let origin =
        json!({"type": "user", "sender_user": {"id": 9, "first_name": "Bob\nEvil", "last_name": "M"}, "date": 1});
    let hidden = json!({"type": "hidden_user", "sender_user_name": "Carol", "date": 1});
    let channel = json!({"type": "channel", "chat": {"id": -1002, "type": "channel", "title": "News"}, "date": 1});
    let far_end = polled(vec![
        private(
            1,
            123,
            1,
            json!({"text": "/start web_4Qz-7", "entities": [{"type": "bot_command", "offset": 0, "length": 6}]}),
        ),
        private(
            2,
            123,
            2,
            json!({"text": "this", "reply_to_message": {"message_id": 1}, "quote": {"text": "web", "position": 7}}),
        ),
        private(3, 123, 3, json!({"text": "see", "forward_origin": origin})),
        private(4, 123, 4, json!({"text": "see", "forward_origin": hidden})),
        private(5, 123, 5, json!({"text": "see", "forward_origin": channel})),
        private(6, 123, 6, json!({"text": "/start two words"})),
        private(7, 123, 7, json!({"text": "/started early"})),
    ])
    .await;
    let taken = received(&far_end, 7, vec![]).await;
    let origins: Vec<_> = taken.iter().map(|one| one.origin.as_deref()).collect();
    assert_eq!(origins, [Some("web_4Qz-7"), None, None, None, None, None, None]);
    assert_eq!(taken[1].reply_to, Some(taken[0].external_id.clone()));
    assert_eq!(taken[1].quote.as_deref(), Some("web"));
    let from: Vec<_> = taken[2..5].iter().map(|one| one.forwarded_from.as_deref().unwrap()).collect();
    assert_eq!(from, ["Bob Evil M", "Carol", "News"]);
}

#[tokio::test]
async fn all_of_an_album_comes_where_any_of_it_names_the_bot() {
    let photo = |nth: i64, caption: Option<&str>| {
        let mut fields = json!({"media_group_id": "81", "photo": [{"file_id": format!("p{nth}")}]});
        if let Some(caption) = caption {
            fields["caption"] = caption.into();
            fields["caption_entities"] = json!([{"type": "mention", "offset": 0, "length": 8}]);
        }
        in_group(nth, nth, fields)
    };
    let other = in_group(4, 4, json!({"media_group_id": "82", "photo": [{"file_id": "x"}]}));
    let far_end = polled(vec![photo(1, None), photo(2, Some("@DeskBot look")), photo(3, None), other]).await;
    let taken = received(&far_end, 3, vec![]).await;
    let albums: Vec<_> = taken.iter().map(|one| one.album.as_deref().unwrap()).collect();
    assert_eq!(albums, ["81", "81", "81"]);
}

#[tokio::test]
async fn in_a_topic_only_a_real_answer_answers() {
    let bot = json!({"id": 4242, "is_bot": true, "first_name": "Bot"});
    let opened = json!({"message_id": 5, "from": bot});
    let in_topic = |n: i64, fields: Value| {
        let mut said = json!({"message_thread_id": 5, "is_topic_message": true});
        said.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        in_group(n, n + 10, said)
    };
    let far_end = polled(vec![
        in_topic(1, json!({"text": "to nobody", "reply_to_message": opened})),
        in_topic(2, json!({"text": "to the bot", "reply_to_message": {"message_id": 9, "from": bot}})),
        json!({"update_id": 3, "message_reaction": {
            "chat": {"id": -1_001, "type": "supergroup"}, "message_id": 12, "date": 1_767_607_200,
            "user": {"id": 7, "first_name": "Ada"}, "old_reaction": [], "new_reaction": [{"type": "emoji", "emoji": "👍"}]
        }}),
    ])
    .await;
    let inbox = noted(&far_end, 2, vec![]).await;
    let taken = inbox.taken();
    assert_eq!(taken.len(), 1);
    assert_eq!(taken[0].reply_to.as_ref().unwrap().as_str(), "-1001:9");
    assert_eq!(inbox.noted()[0].thread.as_str(), "-1001/5", "a reaction does not say its topic");
}

#[tokio::test]
async fn posts_of_channels_and_notes_of_the_service_are_not_taken() {
    let post = json!({"message_id": 1, "date": 1, "chat": {"id": -1_002, "type": "channel"}, "text": "news"});
    let far_end = polled(vec![
        json!({"update_id": 1, "channel_post": post}),
        in_group(2, 2, json!({"new_chat_title": "Other"})),
        in_group(3, 3, json!({"text": "news", "is_automatic_forward": true})),
        private(4, 123, 4, json!({"text": "after"})),
    ])
    .await;
    let inbox = noted(&far_end, 1, vec![("respond", text("all"))]).await;
    assert_eq!(inbox.taken().len(), 1);
    assert!(inbox.noted().is_empty());
}

#[tokio::test]
async fn a_forum_has_a_conversation_for_each_topic_and_one_for_the_rest() {
    let telegram = BotApi::start().await;
    let ada = telegram.person("Ada", "en");
    let forum = telegram.supergroup("Ask", Supergroup::Forum);
    telegram.post(forum, ada, json!({"text": "in five", "message_thread_id": 5, "is_topic_message": true}));
    telegram.post(forum, ada, json!({"text": "in general"}));
    let inbox = all_of(&telegram, vec![("respond", text("all"))]).await;
    let mut threads: Vec<String> = inbox.taken().iter().map(|one| one.thread.as_str().to_owned()).collect();
    threads.sort();
    assert_eq!(threads, [forum.to_string(), format!("{forum}/5")]);
}

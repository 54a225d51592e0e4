//! A Telegram bot whose updates are posted: registered by the daemon, answered after the commit, and Telegram's alone.

use frontdesk_testkit::bot_api::BotApi;
use serde_json::json;

use crate::world::World;

/// A daemon whose bot receives so.
fn with_bot(world: World, telegram: &BotApi, receive: &str) -> World {
    let public_url = world.site.url("");
    let channel = format!(
        "[channels.tg]\nkind = \"telegram\"\ntoken = \"{}\"\napi_url = \"{}\"\nrate = \"off\"\nreceive = \"{receive}\"\n",
        telegram.token(),
        telegram.url()
    );
    let server = format!("public_url = \"{}\"\n", public_url.trim_end_matches('/'));
    World { site: world.site.with_server(&server).with(&channel), ..world }
}

#[tokio::test]
async fn what_telegram_posts_is_answered_and_what_a_stranger_posts_is_not() {
    let telegram = BotApi::start().await;
    let world = with_bot(World::that_echoes().await, &telegram, "webhook");
    let daemon = world.start().await;
    let set = telegram.wait_for("setWebhook", 1).await.remove(0);
    assert_eq!((set.status, &set.params["max_connections"]), (200, &json!(1)));
    assert_eq!(set.params["url"], json!(world.site.url("/v1/channels/tg/updates")));
    let ada = telegram.person("Ada", "de");
    telegram.say(ada, ada, "Where is my order?");
    let call = telegram.wait_for("sendMessage", 1).await.remove(0);
    assert_eq!((&call.params["chat_id"], &call.params["text"]), (&json!(ada), &json!("re: Where is my order?")));
    world.get_until("/v1/status", "a confirmed update", |_| telegram.pending() == 0).await;
    assert_eq!(telegram.count("getUpdates"), 0);
    for secret in [None, Some("guess")] {
        let forged = json!({"update_id": 1, "message": {
            "message_id": 900, "date": 1_767_607_200, "text": "forged", "chat": {"id": ada, "type": "private"},
            "from": {"id": ada, "is_bot": false, "first_name": "Mallory"}
        }});
        let request = world.http.post(world.site.url("/v1/channels/tg/updates")).json(&forged);
        let request = match secret {
            Some(secret) => request.header("x-telegram-bot-api-secret-token", secret),
            None => request,
        };
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 401, "{secret:?}");
    }
    let page = world.get("/v1/conversations").await;
    let messages = world.messages(page["data"][0]["id"].as_str().unwrap()).await;
    assert_eq!(messages.len(), 2, "what Ada said and what she was answered: {messages:#?}");
    // While nobody is there Telegram keeps what comes; a channel that polls from then on takes the address away, and asks.
    daemon.terminate().unwrap();
    drop(daemon);
    telegram.say(ada, ada, "And now?");
    let world = with_bot(World::that_echoes().await, &telegram, "poll");
    let _daemon = world.start().await;
    let call = telegram.wait_for("sendMessage", 2).await.pop().unwrap();
    assert_eq!(call.params["text"], json!("re: And now?"));
    assert_eq!(telegram.count("deleteWebhook"), 1);
}

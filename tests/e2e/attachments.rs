//! Files on their way: fetched from where a message says, shown to the agent, sent with a reply, and gone when they should be.

use std::path::Path;

use frontdesk_testkit::far_end::{FarEnd, Received, Reply};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::world::{ADMIN, BOT, World, event, message, takes};

/// What the shop's files hold.
const BYTES: &str = "what the customer photographed";

/// Takes what is delivered, and has files for whoever asks.
fn has_files(request: &Received) -> Reply {
    if request.header("webhook-id").is_some() { Reply::status(204) } else { Reply::text(200, BYTES) }
}

fn silent(_: &Received) -> Reply {
    Reply::status(204)
}

fn asked_for(request: &Received) -> bool {
    request.header("webhook-id").is_none()
}

impl World {
    /// Hands in a message with attachments at these addresses; its conversation.
    async fn say_with(&self, thread: &str, id: &str, urls: &[String]) -> String {
        let mut body = message(thread, id, "Look at this.");
        body["attachments"] = urls.iter().map(|url| json!({ "url": url, "name": "../photo\u{202e}.txt" })).collect();
        let answer = self.post_body(body.to_string()).await.unwrap();
        assert_eq!(answer.status(), StatusCode::ACCEPTED, "{}", answer.text().await.unwrap());
        answer.json::<Value>().await.unwrap()["conversation_id"].as_str().unwrap().to_owned()
    }

    /// The attachments of a conversation's newest message, once none is pending.
    async fn fetched(&self, conversation: &str) -> Vec<Value> {
        let path = format!("/v1/conversations/{conversation}/messages?limit=1");
        let done = |page: &Value| {
            let attachments = page["data"][0]["attachments"].as_array().unwrap();
            !attachments.is_empty() && attachments.iter().all(|of| of["state"] != "pending")
        };
        self.get_until(&path, "attachments fetched", done).await["data"][0]["attachments"].as_array().unwrap().clone()
    }
}

fn files_in(folder: &Path) -> usize {
    let shares = std::fs::read_dir(folder.join("objects")).unwrap();
    shares.map(|share| std::fs::read_dir(share.unwrap().path()).unwrap().count()).sum()
}

#[tokio::test]
async fn a_file_that_comes_with_a_message_is_shown_to_the_agent_under_an_address_that_opens_it() {
    let world = World::of(FarEnd::start(silent).await, FarEnd::start(has_files).await);
    let _daemon = world.start().await;
    world.say_with("t", "1", &[format!("{}photo.txt", world.shop.url())]).await;
    let told = event(&world.agent.wait_for(1).await[0]);
    let attachment = &told["data"]["message"]["attachments"][0];
    assert_eq!((&attachment["state"], &attachment["name"]), (&json!("stored"), &json!("photo.txt")), "{told:#}");
    assert_eq!((&attachment["media_type"], &attachment["size"]), (&json!("text/plain"), &json!(BYTES.len())));
    let url = attachment["url"].as_str().unwrap();
    let read = world.http.get(url).send().await.unwrap();
    assert_eq!(read.status(), StatusCode::OK);
    assert!(read.headers()["content-disposition"].to_str().unwrap().starts_with("attachment;"));
    assert_eq!(read.text().await.unwrap(), BYTES);
    let changed = world.http.get(url.replace("expires=1", "expires=2")).send().await.unwrap();
    assert_eq!(changed.status(), StatusCode::UNAUTHORIZED);
    let path = format!("/v1/attachments/{}", attachment["id"].as_str().unwrap());
    assert_eq!(world.request(Method::GET, &path).bearer_auth(BOT).send().await.unwrap().text().await.unwrap(), BYTES);
}

#[tokio::test]
async fn t15_t18_nothing_inside_is_fetched_and_the_message_goes_on_without_it() {
    let inside = FarEnd::start(|_| Reply::text(200, "inside")).await;
    let redirects = {
        let inside = inside.url();
        move |request: &Received| match request {
            request if !asked_for(request) => Reply::status(204),
            request if request.path.ends_with("metadata") => {
                Reply::status(302).header("location", "http://169.254.169.254/latest/meta-data/")
            }
            _ => Reply::status(302).header("location", &inside),
        }
    };
    let world = World::of(FarEnd::start(silent).await, FarEnd::start(redirects).await);
    let _daemon = world.start().await;
    let shop = world.shop.url();
    let urls = [
        inside.url(),
        inside.url().replace("127.0.0.1", "localhost"),
        "http://169.254.169.254/latest/meta-data/".into(),
        "http://[::ffff:127.0.0.1]:9/".into(),
        format!("{shop}metadata"),
        format!("{shop}inside"),
    ];
    world.say_with("t", "1", &urls).await;
    let told = event(&world.agent.wait_for(1).await[0]);
    let attachments = told["data"]["message"]["attachments"].as_array().unwrap();
    assert_eq!(attachments.len(), urls.len());
    for attachment in attachments {
        assert_eq!((&attachment["state"], &attachment["url"]), (&json!("failed"), &Value::Null), "{attachment}");
        assert_eq!(attachment["error"], "its address is not a public one");
    }
    assert_eq!(inside.count(), 0);
    assert_eq!(files_in(&world.site.data().join("attachments")), 0);
}

#[tokio::test]
async fn a_kill_between_commit_and_fetch_loses_nothing() {
    let first_hangs = crate::world::one_after_another(vec![|_| Reply::hang(), has_files]);
    let world = World::of(FarEnd::start(silent).await, FarEnd::start(first_hangs).await);
    let mut daemon = world.start().await;
    let conversation = world.say_with("t", "1", &[format!("{}photo.txt", world.shop.url())]).await;
    world.shop.wait_for(1).await;
    daemon.kill().await.unwrap();
    let _daemon = world.start().await;
    let attachments = world.fetched(&conversation).await;
    assert_eq!(attachments[0]["state"], "stored", "{attachments:?}");
    let told = event(&world.agent.wait_for(1).await[0]);
    assert_eq!(told["type"], "message.created");
    let types: Vec<_> = world.get(&format!("/v1/conversations/{conversation}/events")).await["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["type"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(types, ["message.created", "attachment.updated"]);
}

#[tokio::test]
async fn what_the_agent_hands_in_or_names_is_delivered_under_an_address_that_opens_it() {
    let world = World::of(FarEnd::start(silent).await, FarEnd::start(has_files).await);
    let _daemon = world.start().await;
    let conversation = world.say("t", "1", "Send me the manual.").await;
    let handed_in: Value = world
        .request(Method::POST, "/v1/attachments?name=manual.pdf")
        .bearer_auth(BOT)
        .body("%PDF-1.7 the manual")
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let reply = json!({ "messages": [{ "text": "Here.", "attachments": [
        { "id": handed_in["id"] },
        { "url": format!("{}terms", world.shop.url()), "name": "terms.txt" },
    ] }] });
    let path = format!("/v1/conversations/{conversation}/messages");
    let said = world.request(Method::POST, &path).bearer_auth(BOT).body(reply.to_string());
    let said = said.header("content-type", "application/json").send().await.unwrap();
    assert_eq!(said.status(), StatusCode::ACCEPTED, "{}", said.text().await.unwrap());
    let seen = world.shop.wait_until("a delivery", |seen| seen.iter().any(|one| !asked_for(one))).await;
    let delivered = event(seen.iter().find(|one| !asked_for(one)).unwrap());
    let attachments = delivered["data"]["message"]["attachments"].as_array().unwrap();
    let names: Vec<_> = attachments.iter().map(|of| (&of["name"], &of["state"], &of["media_type"])).collect();
    let (pdf, text, stored) = (json!("application/pdf"), json!("text/plain"), json!("stored"));
    assert_eq!(names, [(&json!("manual.pdf"), &stored, &pdf), (&json!("terms.txt"), &stored, &text)]);
    for (attachment, wanted) in attachments.iter().zip(["%PDF-1.7 the manual", BYTES]) {
        let read = world.http.get(attachment["url"].as_str().unwrap()).send().await.unwrap();
        assert_eq!(read.text().await.unwrap(), wanted);
    }
    world.settled(&conversation, "sent").await;
}

#[tokio::test]
async fn t44_erasing_a_contact_takes_their_files_away() {
    let world = World::of(FarEnd::start(silent).await, FarEnd::start(has_files).await);
    let _daemon = world.start().await;
    let folder = world.site.data().join("attachments");
    let url = format!("{}photo.txt", world.shop.url());
    let conversation = world.say_with("t", "1", std::slice::from_ref(&url)).await;
    let other = world.say_with("other", "1", &[url]).await;
    let attachment = world.fetched(&conversation).await.remove(0);
    let kept = world.fetched(&other).await.remove(0);
    assert_eq!(files_in(&folder), 1, "the same bytes lie there once");
    let path = |of: &Value| format!("/v1/attachments/{}", of["id"].as_str().unwrap());
    for (conversation, left) in [(&conversation, 1), (&other, 0)] {
        let messages = world.messages(conversation).await;
        let contact = messages[0]["author"]["id"].as_str().unwrap().to_owned();
        let erase = world.request(Method::DELETE, &format!("/v1/contacts/{contact}")).bearer_auth(ADMIN);
        assert_eq!(erase.send().await.unwrap().status(), StatusCode::NO_CONTENT);
        assert_eq!(files_in(&folder), left, "bytes go with the last who has them");
        let read = world.request(Method::GET, &path(&attachment)).bearer_auth(ADMIN).send().await.unwrap();
        assert_eq!(read.status(), StatusCode::NOT_FOUND);
        let read = world.request(Method::GET, &path(&kept)).bearer_auth(ADMIN).send().await.unwrap();
        assert_eq!(read.status().is_success(), left == 1);
    }
    assert_eq!(std::fs::read_dir(folder.join("erased")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_daemon_refuses_a_folder_that_is_not_its_stores() {
    let world = World::of(FarEnd::start(silent).await, FarEnd::start(has_files).await);
    let mut daemon = world.start().await;
    let folder = world.site.data().join("attachments");
    let conversation = world.say_with("t", "1", &[format!("{}photo.txt", world.shop.url())]).await;
    world.fetched(&conversation).await;
    daemon.kill().await.unwrap();
    let owner = std::fs::read(folder.join("store")).unwrap();
    for (says, id) in [("attachments of another store", Some("another")), ("it is new or empty", None)] {
        std::fs::remove_dir_all(&folder).unwrap();
        if let Some(id) = id {
            std::fs::create_dir(&folder).unwrap();
            std::fs::write(folder.join("store"), id).unwrap();
        }
        let mut refused = world.site.launch().unwrap();
        refused.ended(std::time::Duration::from_secs(20)).await.unwrap();
        assert!(refused.said().contains(says), "{}", refused.said());
    }
    // The mend that it names.
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("store"), owner).unwrap();
    let _daemon = world.start().await;
}

#[tokio::test]
async fn with_nobody_to_show_them_to_files_are_fetched_all_the_same() {
    let world = World::of(FarEnd::start(takes).await, FarEnd::start(has_files).await);
    let _daemon = world.start().await;
    let conversation = world.say("t", "1", "Hello").await;
    let change = world.request(Method::PATCH, &format!("/v1/conversations/{conversation}")).bearer_auth(ADMIN);
    let change = change.header("content-type", "application/json").body(json!({ "owner": "desk" }).to_string());
    assert_eq!(change.send().await.unwrap().status(), StatusCode::OK);
    world.say_with("t", "2", &[format!("{}photo.txt", world.shop.url())]).await;
    assert_eq!(world.fetched(&conversation).await[0]["state"], "stored");
}

#[tokio::test]
async fn a_check_of_the_store_misses_bytes_that_are_not_there_with_and_without_a_daemon() {
    let world = World::of(FarEnd::start(silent).await, FarEnd::start(has_files).await);
    let mut daemon = world.start().await;
    let conversation = world.say_with("t", "1", &[format!("{}photo.txt", world.shop.url())]).await;
    world.fetched(&conversation).await;
    let check = async || {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_frontdesk"));
        command.args(["store", "check", "--config"]).arg(world.site.write().unwrap());
        let done = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        (done.status.code(), String::from_utf8_lossy(&done.stdout).into_owned())
    };
    assert_eq!(check().await.0, Some(0));
    let objects = world.site.data().join("attachments/objects");
    let share = std::fs::read_dir(&objects).unwrap().next().unwrap().unwrap().path();
    let object = std::fs::read_dir(share).unwrap().next().unwrap().unwrap().path();
    std::fs::write(&object, "short").unwrap();
    let (code, said) = check().await;
    assert!(code == Some(1) && said.contains("5 bytes are in the folder"), "{said}");
    std::fs::remove_file(object).unwrap();
    assert!(check().await.1.contains("are not in the folder"));
    daemon.kill().await.unwrap();
    let (code, said) = check().await;
    assert!(code == Some(1) && said.contains("are not in the folder"), "{said}");
}

#[tokio::test]
async fn a_file_needs_no_words_beside_it_in_either_direction() {
    let agent = FarEnd::start(|request: &Received| {
        let asked = event(request);
        let id = asked["data"]["message"]["attachments"][0]["id"].clone();
        Reply::json(200, json!({ "messages": [{ "attachments": [{ "id": id }] }] }))
    })
    .await;
    let world = World::of(agent, FarEnd::start(has_files).await);
    let _daemon = world.start().await;
    let mut body = message("t", "1", "");
    body.as_object_mut().unwrap().remove("text");
    body["attachments"] = json!([{ "url": format!("{}photo.txt", world.shop.url()) }]);
    let answer = world.post_body(body.to_string()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    let is_delivery = |requests: &[Received]| requests.iter().any(|request| !asked_for(request));
    let requests = world.shop.wait_until("a delivery", is_delivery).await;
    let delivered = requests.iter().find(|request| !asked_for(request)).unwrap();
    let delivered: Value = serde_json::from_slice(&delivered.body).unwrap();
    let message = &delivered["data"]["message"];
    assert_eq!((&message["text"], &message["attachments"][0]["state"]), (&json!(""), &json!("stored")), "{message:#}");
    let id = answer.json::<Value>().await.unwrap()["conversation_id"].as_str().unwrap().to_owned();
    let shown = world.cli(&["conversations", "show", &id]).await.fine();
    assert!(shown.contains("[photo.txt, text/plain, 30 bytes]") && shown.contains("Contact       "), "{shown}");
}

/// Nor does it wait for a later message's, or a reply's.
#[tokio::test]
async fn a_file_does_not_wait_for_another_that_never_comes() {
    let has_one = |request: &Received| if request.path.ends_with("never") { Reply::hang() } else { has_files(request) };
    let world = World::of(FarEnd::start(silent).await, FarEnd::start(has_one).await);
    let _daemon = world.start().await;
    let [never, photo] = ["never", "photo.txt"].map(|file| format!("{}{file}", world.shop.url()));
    let conversation = world.say_with("t", "1", &[never, photo.clone()]).await;
    let path = format!("/v1/conversations/{conversation}/messages");
    let states = |of: &Value| -> Vec<String> {
        let attachments = of["attachments"].as_array().unwrap().iter();
        attachments.map(|of| of["state"].as_str().unwrap().to_owned()).collect()
    };
    let as_it_should = |page: &Value| states(&page["data"][0]) == ["pending", "stored"];
    world.get_until(&path, "the one that is there", as_it_should).await;
    let reply = json!({ "messages": [{ "text": "Here.", "attachments": [{ "url": photo }] }] });
    let said = world.request(Method::POST, &path).bearer_auth(BOT).body(reply.to_string());
    let said = said.header("content-type", "application/json").send().await.unwrap();
    assert_eq!(said.status(), StatusCode::ACCEPTED, "{}", said.text().await.unwrap());
    let seen = world.shop.wait_until("a delivery", |seen| seen.iter().any(|one| !asked_for(one))).await;
    let delivered = event(seen.iter().find(|one| !asked_for(one)).unwrap());
    assert_eq!(states(&delivered["data"]["message"]), ["stored"]);
    let page = world.get(&path).await;
    assert_eq!(states(&page["data"][1]), ["pending", "stored"]);
}

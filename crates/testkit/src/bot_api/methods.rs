//! The methods, each with the refusals that the platform words this way.

use std::{sync::Arc, time::Duration};

use serde_json::{Map, Value, json};

use super::{
    Inner,
    request::Params,
    state::{Hook, Standing, State, now},
    text, webhook,
};

const LONGEST_TEXT: usize = 4096;
const LONGEST_CAPTION: usize = 1024;
const LONGEST_POLL: i64 = 50;
const LARGEST_DOWNLOAD: usize = 20 * 1024 * 1024;
const LARGEST_UPLOAD: usize = 50 * 1024 * 1024;
const LARGEST_PHOTO: usize = 10 * 1024 * 1024;

/// Why a request is refused.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) code: u16,
    pub(super) description: String,
    pub(super) parameters: Option<Value>,
}

impl Refused {
    pub(super) fn new(code: u16, description: &str) -> Self {
        Self { code, description: description.to_owned(), parameters: None }
    }

    pub(super) fn bad(what: &str) -> Self {
        Self::new(400, &format!("Bad Request: {what}"))
    }

    pub(super) fn flood(seconds: i64) -> Self {
        let parameters = Some(json!({ "retry_after": seconds }));
        Self { parameters, ..Self::new(429, &format!("Too Many Requests: retry after {seconds}")) }
    }
}

type Answer = Result<Value, Refused>;

pub(super) async fn run(inner: &Arc<Inner>, method: &str, params: &Params) -> Answer {
    match method {
        "getupdates" => return get_updates(inner, params).await,
        "setwebhook" => return set_webhook(inner, params),
        "deletewebhook" => {
            hook(inner, None, params.flag("drop_pending_updates"));
            return Ok(json!(true));
        }
        _ => {}
    }
    let fetched = fetch(method, params).await?;
    let mut state = inner.state.lock().unwrap();
    let state = &mut *state;
    match method {
        "getme" => Ok(state.me.clone()),
        "getwebhookinfo" => Ok(webhook_info(state)),
        "sendmessage" => {
            let chat = open(state, params)?;
            let content = worded(params, "text", "entities", LONGEST_TEXT)?;
            send(state, chat, params, content)
        }
        "sendphoto" => media(state, params, "photo", fetched),
        "senddocument" => media(state, params, "document", fetched),
        "sendvoice" => media(state, params, "voice", fetched),
        "sendvideo" => media(state, params, "video", fetched),
        "sendaudio" => media(state, params, "audio", fetched),
        "sendanimation" => media(state, params, "animation", fetched),
        "sendsticker" => media(state, params, "sticker", fetched),
        "sendmediagroup" => album(state, params),
        "sendchataction" => {
            open(state, params)?;
            let known = [
                "typing",
                "upload_photo",
                "record_video",
                "upload_video",
                "record_voice",
                "upload_voice",
                "upload_document",
                "choose_sticker",
                "find_location",
                "record_video_note",
                "upload_video_note",
            ];
            match params.text("action") {
                Some(action) if known.contains(&action.as_str()) => Ok(json!(true)),
                _ => Err(Refused::bad("wrong parameter action in request")),
            }
        }
        "editmessagetext" => edit(state, params, "text"),
        "editmessagecaption" => edit(state, params, "caption"),
        "editmessagereplymarkup" => edit(state, params, "reply_markup"),
        "deletemessage" => delete(state, params),
        "answercallbackquery" => {
            let id = params.text("callback_query_id").unwrap_or_default();
            match state.callbacks.remove(&id) {
                Some(pressed) if pressed.elapsed() <= state.callback_life => Ok(json!(true)),
                _ => Err(Refused::bad("query is too old and response timeout expired or query ID is invalid")),
            }
        }
        "getfile" => {
            let id = params.text("file_id").ok_or_else(|| Refused::bad("file_id not specified"))?;
            let file = state.files.get(&id).ok_or_else(|| Refused::bad("invalid file_id"))?;
            if file.bytes.len() > LARGEST_DOWNLOAD {
                return Err(Refused::bad("file is too big"));
            }
            let size = file.bytes.len();
            Ok(json!({ "file_id": id, "file_unique_id": file.unique, "file_size": size, "file_path": file.path() }))
        }
        "getchat" => {
            let chat = open(state, params)?;
            let mut about = state.chats[&chat].about.clone();
            about["accent_color_id"] = json!(0);
            about["max_reaction_count"] = json!(11);
            about["accepted_gift_types"] = json!({ "unlimited_gifts": false, "limited_gifts": false,
                "unique_gifts": false, "premium_subscription": false, "gifts_from_channels": false });
            Ok(about)
        }
        "getchatmember" => {
            open(state, params)?;
            let user = params.number("user_id").ok_or_else(|| Refused::bad("invalid user_id specified"))?;
            if state.me["id"] == user {
                return Ok(json!({ "status": "member", "user": state.bot() }));
            }
            let user = state.users.get(&user).ok_or_else(|| Refused::bad("user not found"))?;
            Ok(json!({ "status": "member", "user": user }))
        }
        "setmycommands" => {
            let list = params.object("commands").map_err(|()| Refused::bad("can't parse commands JSON object"))?;
            state.commands = list.ok_or_else(|| Refused::bad("parameter \"commands\" is required"))?;
            Ok(json!(true))
        }
        "getmycommands" => Ok(state.commands.clone()),
        "leavechat" => {
            let chat = open(state, params)?;
            if state.chats[&chat].about["type"] == "private" {
                return Err(Refused::bad("chat member status can't be changed in private chats"));
            }
            state.chats.get_mut(&chat).unwrap().standing = Standing::Shut;
            Ok(json!(true))
        }
        _ => Err(Refused::new(404, "Not Found: method not found")),
    }
}

/// Long polling: an offset forgets what is before it, the newest poll ends an older one, and a webhook ends all.
async fn get_updates(inner: &Arc<Inner>, params: &Params) -> Answer {
    let limit = usize::try_from(params.number("limit").filter(|limit| (1..=100).contains(limit)).unwrap_or(100));
    let limit = limit.unwrap_or(100);
    let timeout = params.number("timeout").unwrap_or(0).clamp(0, LONGEST_POLL);
    let until = tokio::time::Instant::now() + Duration::from_secs(timeout.unsigned_abs());
    let generation = {
        let mut state = inner.state.lock().unwrap();
        if state.webhook.is_some() {
            let said = "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first";
            return Err(Refused::new(409, said));
        }
        allow(&mut state, params)?;
        let offset = params.number("offset").unwrap_or(0);
        if offset < 0 {
            let kept = usize::try_from(offset.unsigned_abs()).unwrap_or(usize::MAX);
            while state.updates.len() > kept {
                state.updates.pop_front();
            }
        } else {
            while state.updates.front().is_some_and(|(id, _)| *id < offset) {
                state.updates.pop_front();
            }
        }
        state.poll_generation += 1;
        state.terminated_by = "other getUpdates request; make sure that only one bot instance is running";
        state.poll_generation
    };
    inner.news.notify_waiters();
    loop {
        let news = inner.news.notified();
        tokio::pin!(news);
        news.as_mut().enable();
        {
            let state = inner.state.lock().unwrap();
            if state.poll_generation != generation {
                return Err(Refused::new(409, &format!("Conflict: terminated by {}", state.terminated_by)));
            }
            if !state.updates.is_empty() || tokio::time::Instant::now() >= until {
                return Ok(state.updates.iter().take(limit).map(|(_, update)| update.clone()).collect());
            }
        }
        let _ = tokio::time::timeout_at(until, news).await;
    }
}

/// Keeps `allowed_updates`: absent is as before, an empty list is the default.
fn allow(state: &mut State, params: &Params) -> Result<(), Refused> {
    let list =
        params.object("allowed_updates").map_err(|()| Refused::bad("can't parse allowed_updates JSON object"))?;
    if let Some(list) = list {
        let names: Vec<String> =
            list.as_array().into_iter().flatten().filter_map(|name| name.as_str().map(str::to_owned)).collect();
        state.allowed = (!names.is_empty()).then_some(names);
    }
    Ok(())
}

fn set_webhook(inner: &Arc<Inner>, params: &Params) -> Answer {
    let Some(url) = params.text("url") else {
        hook(inner, None, params.flag("drop_pending_updates"));
        return Ok(json!(true));
    };
    if !url.starts_with("http://") {
        // The platform takes `https` alone; the fake delivers to plain addresses of this machine alone.
        return Err(Refused::bad("bad webhook: An HTTPS URL must be provided for webhook"));
    }
    let secret = params.text("secret_token");
    let fits = |secret: &String| {
        secret.len() <= 256 && secret.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
    };
    if secret.as_ref().is_some_and(|secret| !fits(secret)) {
        return Err(Refused::bad("secret token contains unallowed characters"));
    }
    let max_connections = params.number("max_connections").unwrap_or(40).clamp(1, 100);
    allow(&mut inner.state.lock().unwrap(), params)?;
    let new = Hook { url, secret, max_connections, last_error: None };
    hook(inner, Some(new), params.flag("drop_pending_updates"));
    Ok(json!(true))
}

/// Sets or removes the webhook; workers of the one before end.
fn hook(inner: &Arc<Inner>, new: Option<Hook>, drop_pending: bool) {
    let mut state = inner.state.lock().unwrap();
    state.hook_generation += 1;
    state.in_flight.clear();
    if drop_pending {
        state.updates.clear();
    }
    if let Some(hook) = &new {
        state.poll_generation += 1;
        state.terminated_by = "setWebhook request";
        for _ in 0..hook.max_connections {
            tokio::spawn(webhook::worker(Arc::clone(inner), state.hook_generation));
        }
    }
    state.webhook = new;
    drop(state);
    inner.news.notify_waiters();
}

fn webhook_info(state: &State) -> Value {
    let mut info = json!({
        "url": state.webhook.as_ref().map_or("", |hook| &hook.url), "has_custom_certificate": false,
        "pending_update_count": state.updates.len(),
    });
    if let Some(hook) = &state.webhook {
        info["max_connections"] = json!(hook.max_connections);
        if let Some((date, message)) = &hook.last_error {
            info["last_error_date"] = json!(date);
            info["last_error_message"] = json!(message);
        }
    }
    if let Some(allowed) = &state.allowed {
        info["allowed_updates"] = json!(allowed);
    }
    info
}

/// The chat that `chat_id` names, if the bot may act in it.
fn open(state: &State, params: &Params) -> Result<i64, Refused> {
    let named = params.text("chat_id").ok_or_else(|| Refused::bad("chat_id is empty"))?;
    let id = match named.strip_prefix('@') {
        Some(name) => state.chats.iter().find(|(_, chat)| chat.about["username"] == name).map(|(id, _)| *id),
        None => named.trim().parse().ok(),
    };
    let found = id.and_then(|id| state.chats.get(&id).map(|chat| (id, chat)));
    let (id, chat) = found.ok_or_else(|| Refused::bad("chat not found"))?;
    match chat.standing {
        Standing::Member => Ok(id),
        Standing::Shut if chat.about["type"] == "private" => {
            Err(Refused::new(403, "Forbidden: bot was blocked by the user"))
        }
        Standing::Shut => {
            let kind = chat.about["type"].as_str().unwrap_or_default();
            Err(Refused::new(403, &format!("Forbidden: bot was kicked from the {} chat", kind)))
        }
        Standing::Migrated(to) => Err(Refused {
            parameters: Some(json!({ "migrate_to_chat_id": to })),
            ..Refused::bad("group chat was upgraded to a supergroup chat")
        }),
    }
}

/// A text or a caption with its entities.
fn worded(params: &Params, name: &str, entities: &str, longest: usize) -> Result<Map<String, Value>, Refused> {
    if params.text("parse_mode").is_some() {
        // Our own rule: everything we send goes by entities.
        return Err(Refused::bad("unsupported parse_mode"));
    }
    let text = params.text(name).unwrap_or_default();
    let given = params.object(entities).map_err(|()| Refused::bad("can't parse entities: wrong JSON"))?;
    let (kept, honoured) = text::checked(&text, given.as_ref())?;
    let mut content = Map::new();
    if kept.trim().is_empty() {
        return if name == "text" { Err(Refused::bad("message text is empty")) } else { Ok(content) };
    }
    if kept.chars().count() > longest {
        let what = if name == "text" { "message is too long" } else { "message caption is too long" };
        return Err(Refused::bad(what));
    }
    content.insert(name.to_owned(), kept.into());
    if !honoured.is_empty() {
        content.insert(if name == "text" { "entities" } else { "caption_entities" }.to_owned(), honoured.into());
    }
    Ok(content)
}

/// What every sending has: topic, reply, buttons, link preview, and the limits.
fn send(state: &mut State, chat: i64, params: &Params, mut content: Map<String, Value>) -> Answer {
    if let Some(markup) = markup(params)? {
        content.insert("reply_markup".to_owned(), markup);
    }
    let reply =
        params.object("reply_parameters").map_err(|()| Refused::bad("can't parse reply parameters JSON object"))?;
    if let Some(reply) = reply {
        let number = reply["message_id"].as_i64().ok_or_else(|| Refused::bad("message identifier is not specified"))?;
        match state.chats[&chat].messages.get(&number) {
            Some(original) => {
                let mut original = original.clone();
                original.as_object_mut().unwrap().remove("reply_to_message");
                content.insert("reply_to_message".to_owned(), original);
            }
            None if reply["allow_sending_without_reply"] == true => {}
            None => return Err(Refused::bad("message to be replied not found")),
        }
    }
    if let Some(topic) = params.number("message_thread_id") {
        if state.chats[&chat].about["is_forum"] != true {
            return Err(Refused::bad("message thread not found"));
        }
        content.insert("message_thread_id".to_owned(), topic.into());
        content.insert("is_topic_message".to_owned(), true.into());
    }
    let preview =
        params.object("link_preview_options").map_err(|()| Refused::bad("can't parse link preview options"))?;
    if let Some(preview) = preview {
        content.insert("link_preview_options".to_owned(), preview);
    }
    if let Some(seconds) = state.flooded(chat) {
        return Err(Refused::flood(seconds));
    }
    let bot = state.bot();
    Ok(state.keep(chat, &bot, &content))
}

/// An inline keyboard; other keyboards are taken and do not show in the message.
fn markup(params: &Params) -> Result<Option<Value>, Refused> {
    let given =
        params.object("reply_markup").map_err(|()| Refused::bad("can't parse reply keyboard markup JSON object"))?;
    let Some(markup) = given else { return Ok(None) };
    if !markup.is_object() {
        return Err(Refused::bad("object expected as reply markup"));
    }
    let Some(rows) = markup.get("inline_keyboard") else { return Ok(None) };
    let rows = rows.as_array().ok_or_else(|| Refused::bad("field \"inline_keyboard\" must be of type Array"))?;
    let buttons = rows.iter().flat_map(|row| row.as_array().into_iter().flatten());
    for button in buttons {
        if button["text"].as_str().is_none_or(str::is_empty) {
            return Err(Refused::bad("can't parse inline keyboard button: Can't find field \"text\""));
        }
        match (&button["callback_data"], &button["url"]) {
            (Value::String(data), _) if (1..=64).contains(&data.len()) => {}
            (Value::String(_), _) => return Err(Refused::bad("BUTTON_DATA_INVALID")),
            (_, Value::String(url))
                if url.contains('.') || url.starts_with("tg://") || url.contains("://localhost") => {}
            (_, Value::String(url)) => {
                return Err(Refused::bad(&format!("inline keyboard button URL '{url}' is invalid: Wrong HTTP URL")));
            }
            _ => {
                return Err(Refused::bad(
                    "can't parse inline keyboard button: Text buttons are unallowed in the inline keyboard",
                ));
            }
        }
    }
    Ok(Some(json!({ "inline_keyboard": rows })))
}

/// What a media method's address holds, if its file is given by one.
async fn fetch(method: &str, params: &Params) -> Result<Option<Vec<u8>>, Refused> {
    let Some(kind) = method.strip_prefix("send") else { return Ok(None) };
    match params.text(kind) {
        Some(url) if url.starts_with("http://") || url.starts_with("https://") => {
            match webhook::request("GET", &url, &[], b"").await {
                Ok((200, bytes)) if !bytes.is_empty() => Ok(Some(bytes)),
                _ => Err(Refused::bad("failed to get HTTP URL content")),
            }
        }
        _ => Ok(None),
    }
}

fn media(state: &mut State, params: &Params, kind: &'static str, fetched: Option<Vec<u8>>) -> Answer {
    let chat = open(state, params)?;
    let given = params.text(kind);
    let mut content = worded(params, "caption", "caption_entities", LONGEST_CAPTION)?;
    let upload = match &given {
        Some(name) => name.strip_prefix("attach://").and_then(|part| params.files.get(part)),
        None => params.files.get(kind),
    };
    let id = match (upload, fetched, given) {
        (Some(upload), ..) => {
            let limit = if kind == "photo" { LARGEST_PHOTO } else { LARGEST_UPLOAD };
            if upload.bytes.is_empty() {
                return Err(Refused::bad("file must be non-empty"));
            }
            if upload.bytes.len() > limit {
                return Err(Refused::new(413, "Request Entity Too Large"));
            }
            (state.add_file(kind, &upload.name, &upload.media_type, upload.bytes.clone()), upload.name.clone())
        }
        (_, Some(bytes), Some(url)) => {
            let name = url.rsplit('/').next().unwrap_or_default().to_owned();
            (state.add_file(kind, &name, "", bytes.into()), name)
        }
        (.., Some(id)) => {
            let file = state.files.get(&id).ok_or_else(|| Refused::bad("wrong file identifier/HTTP URL specified"))?;
            if file.kind != kind {
                let said = format!("can't use file of type {} as {kind}", file.kind);
                return Err(Refused::bad(&said));
            }
            let name = file.name.clone();
            (id, name)
        }
        _ => return Err(Refused::bad(&format!("there is no {kind} in the request"))),
    };
    content.insert(kind.to_owned(), described(state, kind, &id.0, &id.1));
    send(state, chat, params, content)
}

/// A file as a message has it.
pub(super) fn described(state: &State, kind: &str, id: &str, name: &str) -> Value {
    let file = &state.files[id];
    let size = file.bytes.len();
    let mut about = json!({ "file_id": id, "file_unique_id": file.unique, "file_size": size });
    let mut more = |extra: Value| about.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    match kind {
        "photo" => {
            more(json!({ "width": 1280, "height": 960 }));
            let mut small = about.clone();
            small["width"] = json!(90);
            small["height"] = json!(67);
            small["file_unique_id"] = json!(format!("{}s", file.unique));
            return json!([small, about]);
        }
        "voice" => more(json!({ "duration": 3 })),
        "audio" => more(json!({ "duration": 3, "file_name": name })),
        "video" | "animation" => more(json!({ "width": 640, "height": 480, "duration": 3, "file_name": name })),
        "video_note" => more(json!({ "length": 240, "duration": 3 })),
        "sticker" => more(json!({ "type": "regular", "width": 512, "height": 512, "is_animated": false,
            "is_video": false, "emoji": "🙂" })),
        _ => more(json!({ "file_name": name })),
    }
    if !file.media_type.is_empty() && kind != "sticker" && kind != "video_note" {
        about["mime_type"] = json!(file.media_type);
    }
    about
}

fn album(state: &mut State, params: &Params) -> Answer {
    open(state, params)?;
    let items = params.object("media").map_err(|()| Refused::bad("can't parse media JSON object"))?;
    let items =
        items.as_ref().and_then(Value::as_array).ok_or_else(|| Refused::bad("there is no media in the request"))?;
    if !(2..=10).contains(&items.len()) {
        return Err(Refused::bad("can't send an album of other than 2 to 10 items"));
    }
    let kinds: Vec<&str> = items.iter().filter_map(|item| item["type"].as_str()).collect();
    let alone = |kind: &str| kinds.contains(&kind) && kinds.iter().any(|other| *other != kind);
    if alone("document") || alone("audio") {
        return Err(Refused::bad("document can't be mixed with other media types"));
    }
    let group = state.fresh().to_string();
    let mut sent = Vec::new();
    for item in items {
        let kind = match item["type"].as_str() {
            Some("photo") => "photo",
            Some("video") => "video",
            Some("audio") => "audio",
            Some("document") => "document",
            _ => return Err(Refused::bad("type of the media is invalid")),
        };
        let mut one = params.clone();
        one.values.remove("media");
        one.values.extend(item.as_object().cloned().unwrap_or_default());
        one.values.insert(kind.to_owned(), item["media"].clone());
        let mut message = media(state, &one, kind, None)?;
        message["media_group_id"] = json!(group);
        let (chat, number) = (message["chat"]["id"].as_i64().unwrap(), message["message_id"].as_i64().unwrap());
        state.chats.get_mut(&chat).unwrap().messages.insert(number, message.clone());
        sent.push(message);
    }
    Ok(sent.into())
}

fn edit(state: &mut State, params: &Params, what: &str) -> Answer {
    let chat = open(state, params)?;
    let number = params.number("message_id").ok_or_else(|| Refused::bad("message identifier is not specified"))?;
    let old = state.chats[&chat].messages.get(&number).ok_or_else(|| Refused::bad("message to edit not found"))?;
    if old["from"]["id"] != state.me["id"] {
        return Err(Refused::bad("message can't be edited"));
    }
    let mut new = old.as_object().unwrap().clone();
    match what {
        "text" => {
            if !new.contains_key("text") {
                return Err(Refused::bad("there is no text in the message to edit"));
            }
            let content = worded(params, "text", "entities", LONGEST_TEXT)?;
            new.remove("entities");
            new.extend(content);
        }
        "caption" => {
            if new.contains_key("text") {
                return Err(Refused::bad("there is no caption in the message to edit"));
            }
            let content = worded(params, "caption", "caption_entities", LONGEST_CAPTION)?;
            new.remove("caption");
            new.remove("caption_entities");
            new.extend(content);
        }
        _ => {}
    }
    new.remove("reply_markup");
    if let Some(markup) = markup(params)?.filter(|markup| markup["inline_keyboard"] != json!([])) {
        new.insert("reply_markup".to_owned(), markup);
    }
    if old.as_object() == Some(&new) {
        return Err(Refused::bad(
            "message is not modified: specified new message content and reply markup are exactly the same as a current content and reply markup of the message",
        ));
    }
    new.insert("edit_date".to_owned(), now().into());
    let new = Value::Object(new);
    state.chats.get_mut(&chat).unwrap().messages.insert(number, new.clone());
    Ok(new)
}

fn delete(state: &mut State, params: &Params) -> Answer {
    let chat = open(state, params)?;
    let number = params.number("message_id").ok_or_else(|| Refused::bad("message identifier is not specified"))?;
    let room = state.chats.get_mut(&chat).unwrap();
    let message = room.messages.get(&number).ok_or_else(|| Refused::bad("message to delete not found"))?;
    let own = message["from"]["id"] == state.me["id"];
    let old = now() - message["date"].as_i64().unwrap_or_default() > 48 * 3600;
    if old || (!own && room.about["type"] != "private") {
        return Err(Refused::bad("message can't be deleted"));
    }
    room.messages.remove(&number);
    Ok(json!(true))
}

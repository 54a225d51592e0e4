//! What a mail says (RFC 5322, MIME).

use frontdesk_model::{Decoded, DecodedAttachment, DecodedSender, DecodedThread, Recipient, Timestamp, Unreadable};
use frontdesk_richtext::{Document, read, show, write};
use mail_parser::{Address, HeaderValue, Message, MessageParser, MessagePart, MimeHeaders, PartType};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::{KIND, quoted};

/// Longer threads are known by their beginning.
const MAX_REFERENCES: usize = 100;

pub(crate) fn decode(bytes: &[u8]) -> Result<Decoded, Unreadable> {
    let mail = MessageParser::default().parse(bytes).filter(|mail| !mail.headers().is_empty());
    let mail = mail.ok_or_else(|| Unreadable::input("this is no e-mail: it has no header lines"))?;
    let ids = |header: &HeaderValue<'_>| -> Vec<String> {
        header.as_text_list().unwrap_or_default().iter().take(MAX_REFERENCES).map(bracketed).collect()
    };
    let (references, answers) = (ids(mail.references()), ids(mail.in_reply_to()));
    let message_id = mail.message_id().map(bracketed);
    let mut decoded = Decoded {
        auto_generated: is_automatic(&mail),
        conversation: thread(&references, &answers, message_id.as_deref()),
        message_id,
        reply_to: answers.first().or(references.last()).cloned(),
        sender: mail.from().or(mail.sender()).and_then(sender),
        recipients: recipients(&mail),
        sent_at: mail.date().map(|date| Timestamp::from_millis(date.to_timestamp().saturating_mul(1000))),
        subject: mail.subject().map(one_line).filter(|subject| !subject.is_empty()),
        attachments: attachments(&mail),
        ..Decoded::new(KIND, if is_bounce(&mail) { "delivery.updated" } else { "message.created" })
    };
    let document = document(&mail);
    decoded.text = plain(&mail);
    if document.blocks.is_empty() {
        decoded.warnings.push("the mail has no text".into());
    }
    show(&mut decoded, &document);
    if let Some(text) = &decoded.text {
        let (reply, along) = quoted::parted(text);
        (decoded.reply_text, decoded.quoted_text) = (Some(reply), along);
    }
    Ok(decoded)
}

/// What the mail shows: its HTML where it has some, and what stands between as plain text.
fn document(mail: &Message<'_>) -> Document {
    let read = |part: &MessagePart<'_>| match &part.body {
        PartType::Html(html) => read::html(html).blocks,
        PartType::Text(text) => read::plain(text).blocks,
        _ => Vec::new(),
    };
    Document { blocks: mail.html_body.iter().filter_map(|id| mail.part(*id)).flat_map(read).collect() }
}

/// Its plain text, as it was sent where it was. `None` when all of it came as HTML.
fn plain(mail: &Message<'_>) -> Option<String> {
    let parts: Vec<&MessagePart<'_>> = mail.text_body.iter().filter_map(|id| mail.part(*id)).collect();
    parts.iter().any(|part| matches!(part.body, PartType::Text(_))).then_some(())?;
    let text = |part: &&MessagePart<'_>| match &part.body {
        PartType::Text(text) => Some(text.replace("\r\n", "\n")),
        PartType::Html(html) => Some(write::plain(&read::html(html)).text),
        _ => None,
    };
    Some(parts.iter().filter_map(text).collect::<Vec<_>>().join("\n"))
}

/// The first mail that it goes back to names the thread.
fn thread(references: &[String], answers: &[String], own: Option<&str>) -> Option<DecodedThread> {
    let key = references.first().or(answers.first()).map(String::as_str).or(own)?;
    let list = |ids: &[String]| ids.iter().map(|id| Value::from(id.as_str())).collect::<Value>();
    let mut native = Map::new();
    native.insert("references".into(), list(references));
    native.insert("in_reply_to".into(), answers.first().map_or(Value::Null, |id| id.as_str().into()));
    Some(DecodedThread { key: key.to_owned(), native })
}

fn sender(from: &Address<'_>) -> Option<DecodedSender> {
    let first = from.first()?;
    let address = first.address().map(one_line).filter(|address| !address.is_empty());
    Some(DecodedSender {
        id: address.as_deref().map(str::to_lowercase),
        address,
        name: first.name().map(one_line).filter(|name| !name.is_empty()),
        is_bot: false,
    })
}

fn recipients(mail: &Message<'_>) -> Vec<Recipient> {
    let lists = [("to", mail.to()), ("cc", mail.cc()), ("bcc", mail.bcc()), ("reply_to", mail.reply_to())];
    let each = |(role, list): (&'static str, Option<&Address<'_>>)| {
        let all = list.map(|list| list.clone().into_list()).unwrap_or_default();
        let recipient = move |one: &mail_parser::Addr<'_>| Recipient {
            role,
            address: one.address().map(one_line),
            name: one.name().map(one_line).filter(|name| !name.is_empty()),
        };
        all.iter().map(recipient).collect::<Vec<_>>()
    };
    lists.into_iter().flat_map(each).collect()
}

fn attachments(mail: &Message<'_>) -> Vec<DecodedAttachment> {
    let file = |part: &MessagePart<'_>| {
        let bytes = part.contents();
        let kind = part.content_type().map(|kind| match kind.subtype() {
            Some(of) => format!("{}/{of}", kind.ctype()).to_lowercase(),
            None => kind.ctype().to_lowercase(),
        });
        let nested = matches!(part.body, PartType::Message(_)).then(|| "message/rfc822".to_owned());
        DecodedAttachment {
            name: part.attachment_name().map(one_line).filter(|name| !name.is_empty()),
            media_type: kind.or(nested).or_else(|| Some("application/octet-stream".into())),
            size: Some(bytes.len() as u64),
            sha256: Some(Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()),
            inline: part.content_disposition().is_some_and(|how| how.is_inline())
                || matches!(part.body, PartType::InlineBinary(_)),
            content_id: part.content_id().map(one_line),
            ..DecodedAttachment::default()
        }
    };
    mail.attachments().map(file).collect()
}

/// Whether a program wrote it by itself (RFC 3834, and what others do in its place).
fn is_automatic(mail: &Message<'_>) -> bool {
    let header = |name: &str| mail.header_raw(name).map(|value| value.trim().to_lowercase());
    header("Auto-Submitted").is_some_and(|value| !value.starts_with("no"))
        || header("Precedence").is_some_and(|value| ["bulk", "junk", "list", "auto_reply"].contains(&value.as_str()))
        || header("X-Autoreply").is_some()
        || header("X-Autorespond").is_some()
        || header("X-Auto-Response-Suppress").is_some_and(|value| value.contains("all"))
        || header("List-Id").is_some()
        || header("Return-Path").is_some_and(|value| value == "<>")
        || is_bounce(mail)
}

/// A report about a mail that was sent (RFC 3464).
fn is_bounce(mail: &Message<'_>) -> bool {
    mail.content_type().is_some_and(|kind| {
        let is = |name: &str, value: &str| kind.attribute(name).is_some_and(|found| found.eq_ignore_ascii_case(value));
        kind.ctype().eq_ignore_ascii_case("multipart")
            && kind.subtype().is_some_and(|of| of.eq_ignore_ascii_case("report"))
            && is("report-type", "delivery-status")
    })
}

fn bracketed(id: impl AsRef<str>) -> String {
    format!("<{}>", one_line(id.as_ref()).trim_matches(['<', '>']))
}

/// Without control characters and folds.
fn one_line(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).collect::<String>().trim().to_owned()
}

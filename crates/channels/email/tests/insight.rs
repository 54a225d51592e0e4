//! What mails say, and the mails that answers become.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)] // tests may stop at the first surprise

use base64::{Engine as _, engine::general_purpose::STANDARD};
use frontdesk_email::EmailInsight;
use frontdesk_model::{Decoded, Insight, Raw, Wanted};
use serde_json::{Value, json};

fn decoded(mail: &str) -> Decoded {
    EmailInsight.decode(&Raw::Bytes(mail.replace('\n', "\r\n").into_bytes())).unwrap()
}

fn written(input: Value) -> String {
    let shown = EmailInsight.render(&Wanted::read(&input).unwrap());
    let [request] = shown.requests.as_slice() else { panic!("{shown:?}") };
    String::from_utf8(STANDARD.decode(request["raw_b64"].as_str().unwrap()).unwrap()).unwrap()
}

#[test]
fn both_bodies_are_read_and_the_html_is_cleaned() {
    let found = decoded(
        "From: \"Ada L.\" <Ada@example.com>\nTo: us@shop.example, Bo <bo@shop.example>\nCc: c@x.example\nMessage-ID: <3@x>\n\
         In-Reply-To: <2@x>\nReferences: <1@x> <2@x>\nContent-Type: multipart/alternative; boundary=b\n\n\
         --b\nContent-Type: text/plain; charset=utf-8\n\nplain words\n\
         --b\nContent-Type: text/html; charset=utf-8\n\n<p onclick=x>rich <b>words</b><script>x()</script> <img src=http://t.example/p.gif></p>\n--b--\n",
    );
    assert_eq!(found.text.as_deref().map(str::trim), Some("plain words"));
    let html = found.html.unwrap();
    assert!(html.starts_with("<p>rich <b>words</b>") && !html.contains("script") && !html.contains("<img"), "{html}");
    assert_eq!(found.conversation.unwrap().key, "<1@x>");
    assert_eq!((found.message_id.as_deref(), found.reply_to.as_deref()), (Some("<3@x>"), Some("<2@x>")));
    let sender = found.sender.unwrap();
    assert_eq!((sender.address.as_deref(), sender.name.as_deref()), (Some("Ada@example.com"), Some("Ada L.")));
    let roles: Vec<&str> = found.recipients.iter().map(|one| one.role).collect();
    assert_eq!(roles, ["to", "to", "cc"]);
}

#[test]
fn plain_text_after_html_is_not_lost() {
    let found = decoded(
        "From: a@b.example\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/html\n\n<p>first</p>\n\
         --b\nContent-Type: text/plain\n\nthe footer\n--b--\n",
    );
    let markdown = found.markdown.unwrap();
    assert!(markdown.contains("first") && markdown.contains("the footer"), "{markdown}");
}

#[test]
fn programs_and_reports_are_told_from_people() {
    let with = |header: &str| decoded(&format!("From: a@b.example\n{header}\n\nHi\n"));
    assert!(!with("Subject: x").auto_generated);
    assert!(!with("Auto-Submitted: no").auto_generated);
    for header in [
        "Auto-Submitted: auto-replied",
        "Precedence: bulk",
        "List-Id: <l.example>",
        "X-Autoreply: yes",
        "Return-Path: <>",
    ] {
        assert!(with(header).auto_generated, "{header}");
    }
    let report = decoded(
        "From: mailer-daemon@b.example\nContent-Type: multipart/report; report-type=delivery-status; boundary=b\n\n--b\n\nno such user\n--b--\n",
    );
    assert_eq!((report.what, report.auto_generated), ("delivery.updated", true));
}

#[test]
fn an_answer_is_said_twice_and_comes_back_as_it_was() {
    let markdown =
        "Gr\u{fc}\u{df}e **Ada** =20 .\n\n- one\n- two\n\n| a | b |\n| --- | --- |\n| 1 | 2 |\n\n.dot\\\nFrom here";
    let mail = written(json!({"markdown": markdown, "reply_to": "<1@x>\r\nBcc: evil@x"}));
    assert!(!mail.contains("Bcc"), "{mail}");
    assert!(mail.is_ascii() && mail.lines().all(|line| line.len() <= 76), "{mail}");
    assert!(mail.lines().all(|line| !line.starts_with('.') && !line.starts_with("From ")), "{mail}");
    let again = EmailInsight.decode(&Raw::Bytes(mail.into_bytes())).unwrap();
    assert_eq!(again.markdown.as_deref(), Some(markdown));
    let reply = written(json!({"text": "x", "reply_to": "<1@x>"}));
    assert!(reply.starts_with("In-Reply-To: <1@x>\r\nReferences: <1@x>\r\n"), "{reply}");
    assert_eq!(written(json!({"text": "x"})), written(json!({"text": "x"})), "the same each time");
}

#[test]
fn literal_text_stays_itself() {
    for text in ["a  b \n\n\n c\t", "\u{feff}x = y\r\nz", &"long ".repeat(100), "👩‍👩‍👧".repeat(40).as_str()]
    {
        let mail = written(json!({ "text": text }));
        let again = EmailInsight.decode(&Raw::Bytes(mail.into_bytes())).unwrap().text.unwrap();
        assert_eq!(again.trim_end_matches('\n'), text.replace("\r\n", "\n"), "{text:?}");
    }
}

#[test]
fn what_is_no_mail_is_refused() {
    for input in [Raw::Bytes(Vec::new()), Raw::Json(json!({}))] {
        assert_eq!(EmailInsight.decode(&input).unwrap_err().code, "invalid-input");
    }
}

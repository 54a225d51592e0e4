//! How the bot is set up at Telegram, and what of it does not fit the configuration: for `frontdesk check --online`.

use frontdesk_model::{Finding, Level};

use crate::{
    config::Respond,
    intake::Intake,
    me::Me,
    webhook::{Hook, Registered},
};

pub(crate) async fn inspect(intake: &Intake, hook: &Hook) -> Vec<Finding> {
    let me = match Me::ask(&intake.api).await {
        Ok(me) => me,
        Err(what) => return vec![Finding { level: Level::Wrong, what, mend: None }],
    };
    let mut findings = vec![fine(format!("Telegram knows the bot: @{} ({})", me.username, me.id))];
    findings.extend(groups(&me, intake.respond));
    match Registered::ask(&intake.api).await {
        Ok(registered) => findings.extend(updates(&registered, hook)),
        Err(what) => findings.push(Finding { level: Level::Warning, what, mend: None }),
    }
    findings
}

/// What the bot is shown of groups.
fn groups(me: &Me, respond: Respond) -> Vec<Finding> {
    let mut findings = Vec::new();
    match (respond, me.sees_all) {
        (Respond::All, false) => findings.push(Finding {
            level: Level::Wrong,
            what: "respond = \"all\", and the bot's privacy mode is on: of groups Telegram shows it only what names, commands or \
                   answers it"
                .to_owned(),
            mend: Some(
                "write to @BotFather: /setprivacy, choose the bot, Disable; then remove the bot from its groups and add it again. Or \
                 write respond = \"mentions\""
                    .to_owned(),
            ),
        }),
        (Respond::All, true) => findings.push(fine("the bot is shown everything that is said in its groups")),
        (_, true) => findings.push(Finding {
            level: Level::Warning,
            what: "the bot's privacy mode is off: Telegram shows it everything that is said in its groups, and this channel uses only what \
                   is meant for it"
                .to_owned(),
            mend: Some("write to @BotFather: /setprivacy, choose the bot, Enable. Or write respond = \"all\"".to_owned()),
        }),
        (_, false) => findings.push(fine("the bot is shown what is meant for it, and nothing else of its groups")),
    }
    if me.joins_groups == Some(false) && respond != Respond::Direct {
        findings.push(Finding {
            level: Level::Warning,
            what: "the bot cannot be added to groups".to_owned(),
            mend: Some(
                "if it should be in groups, write to @BotFather: /setjoingroups, choose the bot, Enable; else write respond = \"direct\""
                    .to_owned(),
            ),
        });
    }
    findings.push(fine(
        "reactions are told in private chats; in a group only while the bot is an administrator of it, whatever its rights are",
    ));
    findings
}

/// Whether updates come the way that the channel waits for them.
fn updates(registered: &Registered, hook: &Hook) -> Vec<Finding> {
    let ours = hook.is_ours(&registered.url);
    let waiting = registered.waiting;
    let mut findings = vec![match (&hook.url, registered.url.as_str()) {
        (None, "") => fine(format!("updates are polled; {waiting} are waiting")),
        (None, _) if ours => {
            fine("the webhook of this channel is still set; the daemon removes it when it begins to poll")
        }
        (Some(url), there) if there == url.as_str() => {
            fine(format!("Telegram posts updates to public_url; {waiting} are waiting"))
        }
        (Some(_), "") => fine("no webhook is set yet; the daemon sets it when it begins to receive"),
        (Some(_), _) if ours => {
            fine("the webhook is set for another public_url; the daemon sets it anew when it begins to receive")
        }
        (_, _) => Finding {
            level: Level::Wrong,
            what: registered.foreign(),
            mend: Some("or move that program to another bot; frontdesk removes no webhook but its own".to_owned()),
        },
    }];
    if let Some((_, words)) = registered.last_error.as_ref().filter(|_| ours) {
        findings.push(Finding {
            level: Level::Warning,
            what: format!("Telegram could not post an update at least once: {words}"),
            mend: Some(
                "see that public_url leads to this daemon from outside, with a certificate that others trust"
                    .to_owned(),
            ),
        });
    }
    findings
}

fn fine(what: impl Into<String>) -> Finding {
    Finding { level: Level::Fine, what: what.into(), mend: None }
}

//! Whether what was said in a group is for the bot.

use crate::{config::Respond, decode::answered, me::Me, update::Message};

/// Whether what was said in a group is for the bot: it names it, commands it, or answers it.
pub(crate) fn is_meant(said: &Message, me: &Me, respond: Respond) -> bool {
    match respond {
        Respond::All => return true,
        Respond::Direct => return false,
        Respond::Mentions => {}
    }
    let answers = answered(said).and_then(|answered| answered.from.as_ref());
    if answers.is_some_and(|from| from.id == me.id) {
        return true;
    }
    let (text, entities) = match (&said.text, &said.caption) {
        (Some(text), _) => (text, &said.entities),
        (None, Some(caption)) => (caption, &said.caption_entities),
        (None, None) => return false,
    };
    let units: Vec<u16> = text.encode_utf16().collect();
    entities.iter().any(|entity| {
        let range = || {
            let from = usize::try_from(entity.offset).ok()?;
            let to = from.checked_add(usize::try_from(entity.length).ok()?)?;
            units.get(from..to).map(String::from_utf16_lossy)
        };
        match entity.kind.as_str() {
            "text_mention" => entity.user.as_ref().is_some_and(|user| user.id == me.id),
            "mention" => range().is_some_and(|named| is_name(named.strip_prefix('@'), me)),
            // A command without a name is for every bot of the group.
            "bot_command" => range().is_some_and(|command| match command.split_once('@') {
                Some((_, name)) => is_name(Some(name), me),
                None => true,
            }),
            _ => false,
        }
    })
}

fn is_name(named: Option<&str>, me: &Me) -> bool {
    named.is_some_and(|named| !me.username.is_empty() && named.eq_ignore_ascii_case(&me.username))
}

//! Requests that a caller may repeat under a key of its own, in whichever conversation.
//!
//! What became of a request is written in the partition where it had its effects, in the same step. A request's own shard says
//! which partition that is; it is asked first. Between the two steps anybody may die:
//!
//! * The shard names a partition where nothing was carried out: a repetition for a conversation of that partition is simply
//!   carried out there, once, whoever else tries at the same time.
//! * A repetition for another conversation first *withdraws* the request there. That either finds that it was carried out, which is the
//!   answer, or leaves a mark up to which try it is not to be, so that a caller who was slow is refused there and asks again.
//!   Only then does the shard name the new place, with a new try.

use std::time::Duration;

use frontdesk_model::*;

use super::{
    Core,
    effects::Ask,
    keys::Shard,
    link::{Purpose, Script},
    pack::{Item, Packer},
    records::signed,
    verbs::{Request, millis, work_in_flight},
};

static REQUEST: Script = work_in_flight!("request.lua");
static WITHDRAW: Script = work_in_flight!("withdraw.lua");

/// The shard knows of a request for so much longer than the partition does.
const LONGER: Duration = Duration::from_secs(3600);
/// Each further try means that another caller was quicker with the same key.
const TRIES: usize = 16;

/// Where a request is to be carried out.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Place {
    conversation: ConversationId,
    attempt: i64,
}

impl Core {
    pub(super) async fn append(&self, append: Append) -> Result<Applied, StoreError> {
        let Some(once) = &append.once else {
            return Ok(self.append_here(&append, None).await?.ok_or(super::pack::Unreadable)?);
        };
        let mut place = self.place(once, append.conversation, None).await?;
        for _ in 0..TRIES {
            if place.conversation.partition() == append.conversation.partition() {
                let request = Request { once, attempt: place.attempt };
                if let Some(applied) = self.append_here(&append, Some(request)).await? {
                    return Ok(applied);
                }
                // Withdrawn here meanwhile: perhaps by somebody who then died, so it may be ours to name the place anew.
                place = self.place(once, append.conversation, Some(place)).await?;
                continue;
            }
            if let Some(before) = self.withdraw(once, place).await? {
                return self.answered_elsewhere(&append, before).await;
            }
            place = self.place(once, append.conversation, Some(place)).await?;
        }
        Err(StoreError::Unavailable("others used the same key for other conversations all the time".into()))
    }

    /// Where the request is, or was, to be carried out; here from now on, if nobody said or it was withdrawn `from` there.
    async fn place(&self, once: &Once, conversation: ConversationId, from: Option<Place>) -> Result<Place, StoreError> {
        let [first, ..] = once.key;
        let mut ask = Ask::new(vec![self.names.request(&once.key)]);
        ask.say("conversation").bytes(&conversation.to_bytes());
        ask.say("keep").number(millis(once.keep.saturating_add(LONGER)));
        ask.say("from").maybe(from, |packer, from| {
            packer.list(2).bytes(&from.conversation.to_bytes()).number(from.attempt);
        });
        let answer = self.link.run(Shard::of_byte(first), &REQUEST, ask).await?;
        let answer = answer.read()?;
        Ok(Place { conversation: ConversationId::from_bytes(answer.at(0).id()?), attempt: answer.at(1).number()? })
    }

    /// What became of the request there; `None`: nothing, and nothing will.
    async fn withdraw(&self, once: &Once, place: Place) -> Result<Option<Applied>, StoreError> {
        let shard = Shard::from(place.conversation);
        let mut ask = Ask::new(vec![self.names.carried_out(shard, &once.key)]);
        ask.say("try").number(place.attempt);
        ask.say("keep").number(millis(once.keep.saturating_add(LONGER)));
        let answer = self.link.run(shard, &WITHDRAW, ask).await?;
        let known = answer.read()?;
        let Some(conversation) = known.at(1).maybe() else { return Ok(None) };
        if known.at(0).bytes()? != once.fingerprint {
            return Ok(Some(Applied::KeyReused));
        }
        Ok(Some(Applied::Repeated {
            conversation: ConversationId::from_bytes(conversation.id()?),
            version: Version(known.at(2).count()?),
            answer: known.at(3).text()?.to_owned(),
        }))
    }

    /// The operation is remembered where it will be looked for, unless it was already.
    async fn answered_elsewhere(&self, append: &Append, before: Applied) -> Result<Applied, StoreError> {
        let shard = Shard::from(append.conversation);
        let mut packer = Packer::new();
        match &before {
            Applied::Repeated { conversation, version, answer } => {
                packer.list(4).text("repeated").bytes(&conversation.to_bytes());
                packer.number(signed(version.0)).text(answer);
            }
            _ => {
                packer.list(1).text("reused");
            }
        }
        let mut set = redis::cmd("SET");
        set.arg(self.names.operation(shard, append.operation)).arg(packer.done()).arg("NX").arg("GET");
        set.arg("PX").arg(super::REMEMBERED_MILLIS);
        match self.link.ask_one(Purpose::Verb, shard, set).await {
            Ok(redis::Value::BulkString(first)) => {
                let first = Item::read(&first)?;
                Ok(super::verbs::applied(&first, &append.guards)?.unwrap_or(before))
            }
            // Not remembered, for want of memory say: a repetition comes to the same answer by the same way.
            _ => Ok(before),
        }
    }
}

//! The writing verbs on one conversation: each is one script and one round trip.

use std::time::Duration;

use frontdesk_model::*;

use super::{
    Core,
    effects::{Ask, Verb, refused},
    keys::{Shard, thread_digest, waiting_digest},
    link::{Purpose, Script},
    pack::{Item, Packer, Unreadable},
    records::{self, lane_name, signed},
};

/// Refused by Redis itself when its memory is full.
macro_rules! new_work {
    ($($file:literal),*) => { Script::new(concat!("#!lua\n", $(include_str!(concat!("scripts/", $file))),*)) };
}

/// Carried out though the memory is full.
macro_rules! work_in_flight {
    ($($file:literal),*) => {
        Script::new(concat!("#!lua flags=allow-oom\n", $(include_str!(concat!("scripts/", $file))),*))
    };
}
pub(super) use work_in_flight;

static COMMIT: Script = new_work!("prelude.lua", "effects.lua", "commit.lua");
static APPEND: Script = new_work!("prelude.lua", "effects.lua", "append.lua");
static SETTLE: Script = work_in_flight!("prelude.lua", "effects.lua", "settle.lua");
static REQUEUE: Script = work_in_flight!("prelude.lua", "effects.lua", "requeue.lua");
static RELEASE: Script = work_in_flight!("prelude.lua", "release.lua");
static RENEW: Script = work_in_flight!("prelude.lua", "renew.lua");
static WAKE: Script = work_in_flight!("prelude.lua", "wake.lua");

/// So many lanes of a partition are woken in one go.
const WAKE_AT_ONCE: i64 = 500;
/// Which conversation a thread has is learned in one further try.
const TRIES: usize = 4;

/// A duration as scripts count it.
pub(super) fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

/// What has become of a verb, as its script says it. `None`: what it says is not an answer to the caller.
pub(super) fn applied(item: &Item<'_>, guards: &[Guard]) -> Result<Option<Applied>, StoreError> {
    Ok(Some(match item.at(0).bytes()? {
        b"done" => Applied::Done { version: Version(item.at(1).count()?), last_seq: Seq(item.at(2).count()?) },
        b"guarded" => {
            let number = usize::try_from(item.at(1).number()?).map_err(|_| Unreadable)?;
            let failed = number.checked_sub(1).and_then(|place| guards.get(place)).ok_or(Unreadable)?;
            Applied::Guarded { failed: *failed, version: Version(item.at(2).count()?) }
        }
        b"repeated" => Applied::Repeated {
            conversation: ConversationId::from_bytes(item.at(1).id()?),
            version: Version(item.at(2).count()?),
            answer: item.at(3).text()?.to_owned(),
        },
        b"reused" => Applied::KeyReused,
        b"lost" => Applied::LeaseLost,
        b"missing" => Applied::NotFound,
        _ => return Ok(None),
    }))
}

fn pack_next(packer: &mut Packer, (ClaimNext { lane, lease }, id): (ClaimNext, ClaimId)) {
    packer.list(3).text(lane_name(lane)).bytes(&id.to_bytes()).number(millis(lease));
}

/// Where a caller's request is carried out: in the append's own partition, unless it was elsewhere before.
pub(super) struct Request<'a> {
    pub(super) once: &'a Once,
    pub(super) attempt: i64,
}

impl Core {
    pub(super) async fn commit_inbound(&self, inbound: CommitInbound) -> Result<Committed, StoreError> {
        let CommitInbound { thread, dedupe, message, new, effects, claim } = &inbound;
        let partition = Partition::of(thread);
        if new.id.partition() != partition {
            return Err(refused("the new conversation's id is of another partition than its thread"));
        }
        let (shard, digest) = (Shard::from(partition), thread_digest(thread));
        let mut known = self.threads.get(&digest);
        for _ in 0..TRIES {
            let own = [self.names.dedupe(shard, *dedupe), self.names.thread(shard, &digest)];
            let conversation = known.unwrap_or(new.id);
            let mut verb = Verb::new(&self.names, conversation, own);
            verb.effects(effects)?;
            self.say_common(&mut verb.ask);
            verb.ask.say("low").flag(self.is_low());
            verb.ask.say("dedupe").bytes(&dedupe.0);
            verb.ask.say("thread").bytes(&digest);
            verb.ask.say("message").bytes(&message.to_bytes());
            if known.is_none() {
                records::new_conversation(verb.ask.say("new"), thread, new);
            }
            let next = claim.map(|next| Ok::<_, StoreError>((next, self.claims.make(shard)?))).transpose()?;
            verb.ask.say("claim").maybe(next, pack_next);
            let answer = self.link.run(shard, &COMMIT, verb.ask).await?;
            let answer = answer.read()?;
            match answer.at(0).bytes()? {
                b"known" => {
                    return Ok(Committed::Duplicate {
                        conversation: ConversationId::from_bytes(answer.at(1).id()?),
                        message: MessageId::from_bytes(answer.at(2).id()?),
                    });
                }
                b"elsewhere" => {
                    let found = answer.at(1).maybe().map(Item::id).transpose()?;
                    known = found.map(ConversationId::from_bytes);
                }
                b"new" => {
                    self.threads.put(digest, conversation);
                    let lease = claim.map_or(Duration::ZERO, |next| next.lease);
                    let claim = self.given(answer.at(2), lease)?;
                    let mut claim: Vec<Claim> =
                        claim.into_iter().map(|claim| verb.words.iter().fold(claim, with_contact)).collect();
                    if claim.iter().any(|claim| claim.contact.is_none()) {
                        self.add_contacts(&mut claim).await?;
                    }
                    self.tell_contacts(conversation, answer.at(3), answer.at(4), verb.words).await?;
                    let seq = Seq(answer.at(1).count()?);
                    return Ok(Committed::New { conversation, seq, claim: claim.pop().map(Box::new) });
                }
                b"full" => return Err(self.full()),
                _ => return Err(Unreadable.into()),
            }
        }
        Err(StoreError::Unavailable("the thread's conversation changed again and again".into()))
    }

    /// `None`: the request is to be carried out elsewhere by now.
    pub(super) async fn append_here(
        &self,
        append: &Append,
        request: Option<Request<'_>>,
    ) -> Result<Option<Applied>, StoreError> {
        let shard = Shard::from(append.conversation);
        let mut own = vec![self.names.operation(shard, append.operation)];
        own.extend(request.as_ref().map(|request| self.names.carried_out(shard, &request.once.key)));
        let mut verb = Verb::new(&self.names, append.conversation, own);
        verb.guards(&append.guards);
        verb.effects(&append.effects)?;
        self.say_common(&mut verb.ask);
        verb.ask.say("low").flag(self.is_low());
        verb.ask.say("once").maybe(request, |packer, Request { once, attempt }| {
            packer.map(4).text("fingerprint").bytes(&once.fingerprint).text("answer").text(&once.answer);
            packer.text("keep").number(millis(once.keep).max(1)).text("try").number(attempt);
        });
        let answer = self.link.run(shard, &APPEND, verb.ask).await?;
        let answer = answer.read()?;
        if answer.at(0).at(0).bytes()? == b"full" {
            return Err(self.full());
        }
        let applied = applied(answer.at(0), &append.guards)?;
        self.tell_contacts(append.conversation, answer.at(1), answer.at(2), verb.words).await?;
        Ok(applied)
    }

    pub(super) async fn settle(&self, settle: Settle) -> Result<Settled, StoreError> {
        let shard = self.claims.shard(settle.claim);
        let operation = self.names.operation(shard, settle.operation);
        let Some((conversation, lane)) = self.claims.find(settle.claim, Duration::ZERO) else {
            let before = self.answer_of(shard, operation).await?;
            let before = before.as_deref().map(Item::read).transpose()?;
            let before = before.as_ref().map(|before| applied(before, &settle.guards)).transpose()?;
            return Ok(Settled { applied: before.flatten().unwrap_or(Applied::LeaseLost), next: Vec::new() });
        };
        let mut verb = Verb::new(&self.names, conversation, [operation]);
        verb.guards(&settle.guards);
        verb.effects(&settle.effects)?;
        self.say_common(&mut verb.ask);
        verb.ask.say("lane").text(lane_name(lane));
        verb.ask.say("claim").bytes(&settle.claim.to_bytes());
        verb.ask.say("advance").flag(settle.then == Then::Advance);
        let mut wanted = Vec::new();
        for next in &settle.next {
            wanted.push((*next, self.claims.make(shard)?));
        }
        let list = verb.ask.say("next").list(wanted.len());
        for next in wanted {
            pack_next(list, next);
        }
        verb.intend(settle.intend.as_ref())?;
        let answer = self.link.run(shard, &SETTLE, verb.ask).await?;
        let answer = answer.read()?;
        let applied = applied(answer.at(0), &settle.guards)?.ok_or(Unreadable)?;
        self.tell_contacts(conversation, answer.at(2), answer.at(3), verb.words).await?;
        let lease = settle.next.iter().map(|next| next.lease).max().unwrap_or_default();
        let mut next = Vec::new();
        if let Item::List(given) = answer.at(1) {
            for claim in given {
                next.extend(self.given(claim, lease)?);
            }
        }
        self.add_contacts(&mut next).await?;
        Ok(Settled { applied, next })
    }

    pub(super) async fn requeue(&self, requeue: Requeue) -> Result<Applied, StoreError> {
        let shard = Shard::from(requeue.dead_letter.partition());
        let operation = self.names.operation(shard, requeue.operation);
        let Some(letter) = self.dead_letter(requeue.dead_letter).await? else {
            let before = self.answer_of(shard, operation).await?;
            let before = before.as_deref().map(Item::read).transpose()?;
            let before = before.as_ref().map(|before| applied(before, &requeue.guards)).transpose()?;
            return Ok(before.flatten().unwrap_or(Applied::NotFound));
        };
        let mut verb = Verb::new(&self.names, letter.conversation, [operation]);
        verb.guards(&requeue.guards);
        verb.effects(&requeue.effects)?;
        self.say_common(&mut verb.ask);
        verb.ask.say("letter").bytes(&letter.id.to_bytes());
        verb.ask.say("lane").text(lane_name(letter.lane));
        verb.ask.say("seq").number(signed(letter.seq.0));
        verb.ask.say("batch_from").maybe(letter.batch_from, |packer, seq| {
            packer.number(signed(seq.0));
        });
        verb.ask.say("replay").flag(requeue.end == DeadLetterEnd::Replay);
        let answer = self.link.run(shard, &REQUEUE, verb.ask).await?;
        let answer = answer.read()?;
        let applied = applied(answer.at(0), &requeue.guards)?.ok_or(Unreadable)?;
        self.tell_contacts(letter.conversation, answer.at(1), answer.at(2), verb.words).await?;
        Ok(applied)
    }

    pub(super) async fn release(&self, release: Release) -> Result<Held, StoreError> {
        let shard = self.claims.shard(release.claim);
        let operation = self.names.operation(shard, release.operation);
        let Some((conversation, lane)) = self.claims.find(release.claim, Duration::ZERO) else {
            let before = self.answer_of(shard, operation).await?;
            let before = before.as_deref().map(Item::read).transpose()?;
            return before.map_or(Ok(Held::Gone), |before| held(&before));
        };
        let names = &self.names;
        let mut ask =
            Ask::new(vec![names.conversation(conversation), names.schedule(shard), names.waits(shard), operation]);
        self.say_time(&mut ask);
        ask.say("id").bytes(&conversation.to_bytes());
        ask.say("lane").text(lane_name(lane));
        ask.say("claim").bytes(&release.claim.to_bytes());
        // As a span: the server's clock may show another time than ours.
        ask.say("wait").number(release.until.as_millis().saturating_sub(self.clock.now().as_millis()));
        ask.say("waiting").maybe(release.waiting.as_ref(), |packer, waiting| {
            packer.bytes(&waiting_digest(waiting));
        });
        records::pack_progress(ask.say("progress"), release.progress);
        let answer = self.link.run(shard, &RELEASE, ask).await?;
        held(&answer.read()?)
    }

    pub(super) async fn renew(&self, claim: ClaimId, lease: Duration) -> Result<Held, StoreError> {
        let shard = self.claims.shard(claim);
        let Some((conversation, lane)) = self.claims.find(claim, lease) else { return Ok(Held::Gone) };
        let mut ask = Ask::new(vec![self.names.conversation(conversation), self.names.schedule(shard)]);
        self.say_time(&mut ask);
        ask.say("id").bytes(&conversation.to_bytes());
        ask.say("lane").text(lane_name(lane));
        ask.say("claim").bytes(&claim.to_bytes());
        ask.say("lease").number(millis(lease));
        let answer = self.link.run(shard, &RENEW, ask).await?;
        held(&answer.read()?)
    }

    pub(super) async fn wake(&self, waiting: &Waiting) -> Result<u64, StoreError> {
        let mut woken = 0;
        let mut shards: Vec<Shard> = Shard::all().collect();
        while !shards.is_empty() {
            let asks = shards.iter().map(|shard| {
                let mut ask = Ask::new(vec![self.names.schedule(*shard), self.names.waits(*shard)]);
                self.say_time(&mut ask);
                ask.say("waiting").bytes(&waiting_digest(waiting));
                ask.say("limit").number(WAKE_AT_ONCE);
                (*shard, ask)
            });
            let answers = self.link.run_each(Purpose::Verb, &WAKE, asks.collect()).await?;
            let mut unfinished = Vec::new();
            for (shard, answer) in shards.into_iter().zip(&answers) {
                let answer = answer.read()?;
                woken += answer.at(0).count()?;
                if answer.at(1).is_true() {
                    unfinished.push(shard);
                }
            }
            shards = unfinished;
        }
        Ok(woken)
    }

    fn full(&self) -> StoreError {
        match self.space.memory() {
            Room::Low(reason) => StoreError::Full(reason),
            Room::Enough => StoreError::Full("Redis had too little memory left".into()),
        }
    }

    fn is_low(&self) -> bool {
        self.space.memory() != Room::Enough
    }

    /// What every script with effects is told.
    pub(super) fn say_common(&self, ask: &mut Ask) {
        self.say_time(ask);
        ask.say("feed").number(self.feed_length);
    }

    /// What an operation answered before, packed.
    async fn answer_of(&self, shard: Shard, operation: String) -> Result<Option<Vec<u8>>, StoreError> {
        let mut get = redis::cmd("GET");
        get.arg(operation);
        match self.link.ask_one(Purpose::Verb, shard, get).await? {
            redis::Value::BulkString(before) => Ok(Some(before)),
            _ => Ok(None),
        }
    }

    /// A claim that a script gave, remembered as ours.
    pub(super) fn given(&self, item: &Item<'_>, lease: Duration) -> Result<Option<Claim>, StoreError> {
        let Some(item) = item.maybe() else { return Ok(None) };
        let claim = records::claim(item)?;
        self.claims.remember(&claim, lease);
        Ok(Some(claim))
    }
}

fn held(answer: &Item<'_>) -> Result<Held, StoreError> {
    match answer.at(0).bytes()? {
        b"held" => Ok(Held::Yes),
        b"gone" => Ok(Held::Gone),
        _ => Err(Unreadable.into()),
    }
}

/// The author of a claim's event, where the verb itself says who that is.
fn with_contact(mut claim: Claim, word: &super::effects::Word) -> Claim {
    if claim.event.body.contact() == Some(word.contact) {
        let stored = Packer::new().list(2).number(0).bytes(&word.known).done();
        claim.contact = records::contact(word.contact, &stored).ok().map(|(_, contact)| contact);
    }
    claim
}

//! Contacts lie in shards of their own, as a person may write in many conversations.
//!
//! What a conversation says of a contact is first put down in the conversation's partition, in the very step that says it (its
//! *posts*), and then brought to the contact before the verb answers. Should the daemon die in between, any daemon
//! brings it later ([`Core::bring_posts`]); until then whoever claims in that conversation reads the post.
//! Bringing a word twice, or late, does nothing: the latest word counts, by the server's time when it was said.
//! A conversation says something of a contact when it says something else than the last time.

use frontdesk_model::*;
use redis::Value;

use super::{
    Core,
    effects::{Ask, Word},
    keys::Shard,
    link::{Purpose, Script},
    pack::{Item, Unreadable},
    records,
    verbs::work_in_flight,
};

static CONTACT: Script = work_in_flight!("contact.lua");
static POSTED: Script = work_in_flight!("posted.lua");

/// Posts of one partition that are looked at in one go.
const POSTS_AT_ONCE: usize = 200;
/// A post younger than this is most likely on its way.
const ON_ITS_WAY_MILLIS: i64 = 10_000;

/// A word on its way to its contact.
struct Post {
    contact: ContactId,
    conversation: ConversationId,
    at: i64,
    known: Vec<u8>,
}

fn post_name(contact: ContactId, conversation: ConversationId) -> Vec<u8> {
    [contact.to_bytes(), conversation.to_bytes()].concat()
}

impl Core {
    /// Brings those of a verb's words that its script has put down (`posted`) to their contacts. That they cannot be brought now
    /// is not the verb's failure: it is carried out, and they will be.
    pub(super) async fn tell_contacts(
        &self,
        conversation: ConversationId,
        at: &Item<'_>,
        posted: &Item<'_>,
        words: Vec<Word>,
    ) -> Result<(), StoreError> {
        let mut posts = Vec::new();
        for contact in posted.list()? {
            let contact = ContactId::from_bytes(contact.id()?);
            let word = words.iter().find(|word| word.contact == contact).ok_or(Unreadable)?;
            posts.push(Post { contact, conversation, at: at.number()?, known: word.known.clone() });
        }
        if !posts.is_empty()
            && let Err(error) = self.bring(posts).await
        {
            tracing::debug!(%error, "what a conversation says of its contact waits");
        }
        Ok(())
    }

    async fn bring(&self, posts: Vec<Post>) -> Result<(), StoreError> {
        let asks = posts.iter().map(|post| {
            let shard = Shard::of_contact(post.contact);
            let mut ask = Ask::new(vec![self.names.contacts(shard), self.names.parts(shard)]);
            ask.say("contact").bytes(&post.contact.to_bytes());
            ask.say("conversation").bytes(&post.conversation.to_bytes());
            ask.say("at").number(post.at);
            ask.say("known").bytes(&post.known);
            (shard, ask)
        });
        self.link.run_each(Purpose::Verb, &CONTACT, asks.collect()).await?;
        // Whoever waits for the verb need not wait for this: a post that stays is brought once more.
        let (link, names) = (self.link.clone(), self.names.clone());
        self.tidying.spawn(async move {
            let asks = posts.iter().map(|post| {
                let shard = Shard::from(post.conversation);
                let mut ask = Ask::new(vec![names.posts(shard)]);
                ask.say("post").bytes(&post_name(post.contact, post.conversation));
                ask.say("at").number(post.at);
                (shard, ask)
            });
            let _ = link.run_each(Purpose::Verb, &POSTED, asks.collect()).await;
        });
        Ok(())
    }

    /// Brings what a daemon that died had put down.
    pub(super) async fn bring_posts(&self) -> Result<(), StoreError> {
        let scan = |shard: Shard| {
            let mut scan = redis::cmd("HSCAN");
            scan.arg(self.names.posts(shard)).arg(0).arg("COUNT").arg(POSTS_AT_ONCE);
            (shard, vec![redis::cmd("TIME"), scan])
        };
        let found = self.link.ask(Purpose::Read, Shard::all().map(scan).collect()).await?;
        let mut posts = Vec::new();
        for values in found {
            let [time, Value::Array(scanned)] = values.as_slice() else { return Err(Unreadable.into()) };
            let old = self.shown(super::micros(time)?).saturating_sub(ON_ITS_WAY_MILLIS);
            let Some(Value::Array(entries)) = scanned.get(1) else { return Err(Unreadable.into()) };
            for entry in entries.as_chunks::<2>().0 {
                let post = read_post(entry)?;
                if post.at <= old {
                    posts.push(post);
                }
            }
        }
        if posts.is_empty() { Ok(()) } else { self.bring(posts).await }
    }

    pub(super) async fn contact(&self, id: ContactId) -> Result<Option<Contact>, StoreError> {
        let stored = self.link.ask_one(Purpose::Read, Shard::of_contact(id), self.get_contact(id)).await?;
        match stored {
            Value::BulkString(stored) => Ok(Some(records::contact(id, &stored)?.1)),
            _ => Ok(None),
        }
    }

    fn get_contact(&self, id: ContactId) -> redis::Cmd {
        let mut get = redis::cmd("HGET");
        get.arg(self.names.contacts(Shard::of_contact(id))).arg(id.to_bytes().as_slice());
        get
    }

    /// Contacts as their conversations' claims and changes are to show them: what is on its way counts already.
    pub(super) async fn contacts_of(
        &self,
        wanted: &[(ContactId, ConversationId)],
    ) -> Result<Vec<Option<Contact>>, StoreError> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let mut calls = Vec::with_capacity(2 * wanted.len());
        for (contact, conversation) in wanted {
            let shard = Shard::from(*conversation);
            let mut post = redis::cmd("HGET");
            post.arg(self.names.posts(shard)).arg(post_name(*contact, *conversation));
            calls.push((Shard::of_contact(*contact), vec![self.get_contact(*contact)]));
            calls.push((shard, vec![post]));
        }
        let values = self.link.ask(Purpose::Read, calls).await?;
        let mut contacts = Vec::with_capacity(wanted.len());
        for ((id, _), values) in wanted.iter().zip(values.as_chunks::<2>().0) {
            let mut latest: Option<(i64, Contact)> = None;
            for value in values.iter().flatten() {
                if let Value::BulkString(stored) = value {
                    let found = records::contact(*id, stored)?;
                    if latest.as_ref().is_none_or(|(at, _)| *at < found.0) {
                        latest = Some(found);
                    }
                }
            }
            contacts.push(latest.map(|(_, contact)| contact));
        }
        Ok(contacts)
    }

    /// Adds who wrote the events of claims.
    pub(super) async fn add_contacts(&self, claims: &mut [Claim]) -> Result<(), StoreError> {
        let wanted: Vec<_> =
            claims.iter().filter_map(|claim| Some((author(&claim.event)?, claim.conversation.id))).collect();
        let mut contacts = self.contacts_of(&wanted).await?.into_iter();
        for claim in claims.iter_mut().filter(|claim| author(&claim.event).is_some()) {
            claim.contact = contacts.next().flatten();
        }
        Ok(())
    }
}

/// Who said or did it, where a contact did.
pub(super) fn author(event: &Event) -> Option<ContactId> {
    event.body.contact()
}

fn read_post([name, stored]: &[Value; 2]) -> Result<Post, StoreError> {
    let (Value::BulkString(name), Value::BulkString(stored)) = (name, stored) else { return Err(Unreadable.into()) };
    let ([contact, conversation], []) = name.as_chunks::<16>() else { return Err(Unreadable.into()) };
    let item = Item::read(stored)?;
    Ok(Post {
        contact: ContactId::from_bytes(*contact),
        conversation: ConversationId::from_bytes(*conversation),
        at: item.at(0).number()?,
        known: item.at(1).bytes()?.to_vec(),
    })
}

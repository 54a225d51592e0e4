//! The daemons on one Redis: who is there, who holds what one alone may hold, who was asked for quiet. All of it lies in one
//! shard, in two small hashes, and is seen and changed by one script. So do budgets: a key each, that goes when it counts no more.

use std::time::Duration;

use async_trait::async_trait;
use frontdesk_model::*;

use super::{
    Core, RedisStore,
    effects::{Ask, refused},
    keys::Shard,
    link::Script,
    pack::{Item, Unreadable},
    verbs::{millis, work_in_flight},
};

static MEET: Script = work_in_flight!("meet.lua");
static LEAVE: Script = work_in_flight!("leave.lua");
static SPEND: Script = work_in_flight!("spend.lua");

/// Of more than this nobody can be the only one.
const MOST_WANTED: usize = 64;

#[async_trait]
impl Company for RedisStore {
    async fn meet(&self, presence: Presence) -> Result<Gathering, StoreError> {
        self.call(async |core| core.meet(&presence).await).await
    }

    async fn leave(&self, daemon: DaemonId) -> Result<(), StoreError> {
        self.call(async |core| core.leave(daemon).await).await
    }

    async fn spend(&self, channel: &Waiting, budgets: &[Budget], patience: Duration) -> Result<Spent, StoreError> {
        self.call(async |core| core.spend(channel, budgets, patience).await).await
    }

    fn is_open(&self) -> bool {
        true
    }
}

impl Core {
    fn company(&self) -> Vec<String> {
        vec![self.names.daemons(), self.names.held()]
    }

    async fn meet(&self, presence: &Presence) -> Result<Gathering, StoreError> {
        if presence.wants.len() > MOST_WANTED {
            return Err(refused(&format!("a daemon is the only one of at most {MOST_WANTED} channels")));
        }
        let mut ask = Ask::new(self.company());
        self.say_time(&mut ask);
        ask.say("me").bytes(&presence.daemon.to_bytes());
        ask.say("stay").number(millis(presence.stay));
        ask.say("told").text(&json(presence)?);
        let wants = presence.wants.iter().map(json).collect::<Result<Vec<_>, _>>()?;
        let list = ask.say("wants").list(wants.len());
        for wanted in &wants {
            list.text(wanted);
        }
        let answer = self.link.run(Shard::of_byte(0), &MEET, ask).await?;
        Ok(gathering(&answer.read()?, presence.daemon)?)
    }

    async fn leave(&self, daemon: DaemonId) -> Result<(), StoreError> {
        let mut ask = Ask::new(self.company());
        ask.say("me").bytes(&daemon.to_bytes());
        self.link.run(Shard::of_byte(0), &LEAVE, ask).await.map(drop)
    }

    async fn spend(&self, channel: &Waiting, budgets: &[Budget], patience: Duration) -> Result<Spent, StoreError> {
        if budgets.len() > Budget::AT_ONCE || !budgets.iter().all(Budget::is_sound) {
            return Err(refused("these are no budgets"));
        }
        let mut ask = Ask::new(budgets.iter().map(|budget| self.names.spent(channel, &budget.of)).collect());
        self.say_time(&mut ask);
        ask.say("patience").number(millis(patience));
        let list = ask.say("budgets").list(budgets.len());
        for budget in budgets {
            list.list(2).number(i64::from(budget.most)).number(millis(budget.within));
        }
        let answer = self.link.run(Shard::of_byte(0), &SPEND, ask).await?;
        let answer = answer.read()?;
        let span = Duration::from_millis(u64::try_from(answer.at(0).number()?).unwrap_or(0));
        let is_taken = answer.at(1).number()? == 1;
        Ok(if is_taken { Spent::After(span) } else { Spent::Later(span) })
    }
}

fn json<T: serde::Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| refused(&error.to_string()))
}

fn gathering(answer: &Item<'_>, of: DaemonId) -> Result<Gathering, Unreadable> {
    let now = answer.at(0).number()?;
    let mut gathering = Gathering::default();
    for told in answer.at(1).list()? {
        // Another version may tell what this one does not understand: it is there all the same, and holds what it holds.
        let Ok(daemon) = serde_json::from_str::<Presence>(told.at(2).text()?) else { continue };
        let since = Duration::from_millis(u64::try_from(now - told.at(1).number()?).unwrap_or(0));
        if daemon.daemon != of {
            let left = daemon.pauses.iter().filter(|pause| pause.rest > since);
            let left = left.map(|pause| Pause { of: pause.of.clone(), rest: pause.rest.saturating_sub(since) });
            gathering.pauses.extend(left);
        }
        gathering.daemons.push(daemon);
    }
    gathering.daemons.sort_by_key(|daemon| (daemon.started_at, daemon.daemon));
    for held in answer.at(2).list()? {
        let channel: Waiting = serde_json::from_str(held.at(0).text()?).map_err(|_| Unreadable)?;
        gathering.held.push((channel, DaemonId::from_bytes(held.at(1).id()?)));
    }
    Ok(gathering)
}

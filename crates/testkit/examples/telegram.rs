//! Loads the built daemon through a Telegram channel and measures it: updates in, agent, `sendMessage` out, against the fake Bot API.
//!
//! ```text
//! cargo run --release -p frontdesk-testkit --example telegram -- --daemon target/release/frontdesk
//! ```
//!
//! The daemon and a Redis (`appendfsync everysec`) share the first core; the fake, the agent endpoint and this program have the
//! others. Three measurements: updates that all wait at once, answered by an instant agent, with `rate = "off"`; updates at a fixed
//! rate, with the time from the update to its `sendMessage`; and updates at that rate with an agent that takes half a second, while
//! the daemon is killed again and again. It ends with 1 if a message was lost or a chat saw something out of order or twice.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::cast_precision_loss)] // a measurement that fails says where and stops

use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Parser;
use frontdesk_testkit::{
    bot_api::BotApi,
    daemon::Site,
    far_end::{FarEnd, Received, Reply},
    process::processor_time,
    redis_server::Server,
};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde_json::{Value, json};

/// Loads the built daemon through a Telegram channel and measures it.
#[derive(Debug, Clone, Parser)]
#[command(name = "telegram")]
struct Options {
    /// The daemon.
    #[arg(long)]
    daemon: PathBuf,
    /// Updates that wait at once.
    #[arg(long, default_value_t = 10_000)]
    messages: usize,
    /// Chats that they come from.
    #[arg(long, default_value_t = 50)]
    chats: usize,
    /// Updates a second, of the fixed rate.
    #[arg(long, default_value_t = 50)]
    rate: u64,
    /// Seconds at that rate.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// How often the daemon is killed.
    #[arg(long, default_value_t = 10)]
    kills: usize,
    /// Earlier messages that each event brings along; by default as many as a daemon sends that is not told.
    #[arg(long)]
    history: Option<u32>,
    /// The embedded store instead of Redis.
    #[arg(long)]
    sqlite: bool,
}

/// Everything around one daemon.
struct Stand {
    telegram: BotApi,
    agent: FarEnd,
    site: Site,
    people: Vec<i64>,
    _redis: Option<Server>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    keep_off_the_first();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let is_sound = runtime.block_on(async {
        saturated(&options).await;
        calm(&options).await;
        killed(&options).await
    });
    if is_sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The first core is the daemon's and Redis's, where there are two.
fn keep_off_the_first() {
    let mut others = sched_getaffinity(None).unwrap();
    if others.count() > 1 {
        others.unset(0);
        sched_setaffinity(None, &others).unwrap();
    }
}

fn on_the_first<T>(begin: impl FnOnce() -> T) -> T {
    let usual = sched_getaffinity(None).unwrap();
    let mut one = CpuSet::new();
    one.set(0);
    sched_setaffinity(None, &one).unwrap();
    let begun = begin();
    sched_setaffinity(None, &usual).unwrap();
    begun
}

impl Stand {
    async fn new(options: &Options, thinks: Duration) -> Self {
        let telegram = BotApi::start().await;
        let agent = FarEnd::start(move |request: &Received| {
            let event: Value = serde_json::from_slice(&request.body).unwrap();
            Reply::json(200, json!({ "text": event["data"]["message"]["text"] })).after(thinks)
        })
        .await;
        let history = options.history.map(|rows| format!("history = {rows}\n")).unwrap_or_default();
        let sections = format!(
            "[agent]\nurl = \"{}\"\n{history}\n[channels.tg]\nkind = \"telegram\"\ntoken = \"{}\"\napi_url = \"{}\"\nrate = \"off\"\n",
            agent.url(),
            telegram.token(),
            telegram.url()
        );
        let site = Site::new(&options.daemon).unwrap().with(&sections);
        let redis = (!options.sqlite).then(|| {
            on_the_first(|| Server::start(&["--appendonly", "yes", "--appendfsync", "everysec", "--save", ""]))
        });
        let site = match &redis {
            Some(redis) => site.on(&redis.url()),
            None => site.with_store("min_free = \"1 MB\""),
        };
        let people = (0..options.chats).map(|number| telegram.person(&format!("P{number}"), "en")).collect();
        Self { telegram, agent, site, people, _redis: redis }
    }

    fn say(&self, number: usize) {
        let person = self.people[number % self.people.len()];
        self.telegram.say(person, person, &(number / self.people.len()).to_string());
    }

    async fn answered(&self, count: usize) {
        while self.telegram.count("sendMessage") < count {
            tokio::time::sleep(Duration::from_micros(300)).await;
        }
    }
}

async fn saturated(options: &Options) {
    let stand = Stand::new(options, Duration::ZERO).await;
    let mut daemon = on_the_first(|| stand.site.launch()).unwrap();
    daemon.ready().await.unwrap();
    (0..options.chats).for_each(|number| stand.say(number));
    stand.answered(options.chats).await;
    let before = processor_time(daemon.pid()).unwrap().total();
    let began = Instant::now();
    (options.chats..options.chats + options.messages).for_each(|number| stand.say(number));
    stand.answered(options.chats + options.messages).await;
    let took = began.elapsed();
    let spent = processor_time(daemon.pid()).unwrap().total() - before;
    println!(
        "{} updates of {} chats at once: {:.0} a second; {:.0} ms of processor per 1000",
        options.messages,
        options.chats,
        options.messages as f64 / took.as_secs_f64(),
        spent.as_secs_f64() * 1e6 / options.messages as f64
    );
}

async fn calm(options: &Options) {
    let stand = Stand::new(options, Duration::ZERO).await;
    let mut daemon = on_the_first(|| stand.site.launch()).unwrap();
    daemon.ready().await.unwrap();
    (0..options.chats).for_each(|number| stand.say(number));
    stand.answered(options.chats).await;
    let before = processor_time(daemon.pid()).unwrap().total();
    let gap = Duration::from_secs(1) / u32::try_from(options.rate).unwrap();
    let count = usize::try_from(options.rate * options.seconds).unwrap();
    let mut took = Vec::new();
    let mut slot = tokio::time::interval(gap);
    for number in 0..count {
        slot.tick().await;
        let began = Instant::now();
        stand.say(options.chats + number);
        stand.answered(options.chats + number + 1).await;
        took.push(began.elapsed());
    }
    let spent = processor_time(daemon.pid()).unwrap().total() - before;
    took.sort();
    let at = |in_a_hundred: usize| took[(took.len() - 1) * in_a_hundred / 100].as_secs_f64() * 1e3;
    println!(
        "{} updates at {} a second: median {:.1} ms, 99 in 100 within {:.1} ms, the slowest {:.1} ms; {:.0} ms of processor per 1000",
        count,
        options.rate,
        at(50),
        at(99),
        at(100),
        spent.as_secs_f64() * 1e6 / count as f64
    );
}

async fn killed(options: &Options) -> bool {
    let stand = Stand::new(options, Duration::from_millis(500)).await;
    let mut daemon = on_the_first(|| stand.site.launch()).unwrap();
    daemon.ready().await.unwrap();
    let gap = Duration::from_secs(1) / u32::try_from(options.rate).unwrap();
    let between = usize::try_from(options.rate * 2).unwrap();
    let count = between * (options.kills + 1);
    let mut slot = tokio::time::interval(gap);
    for number in 0..count {
        slot.tick().await;
        stand.say(number);
        if number % between == between - 1 && number + 1 < count {
            daemon.kill().await.unwrap();
            daemon = on_the_first(|| stand.site.launch()).unwrap();
            daemon.ready().await.unwrap();
        }
    }
    let all = |requests: &[Received]| {
        let told: std::collections::BTreeSet<(String, String)> = requests.iter().map(mark).collect();
        told.len() == count
    };
    let patience = Instant::now();
    while !all(&stand.agent.requests()) && patience.elapsed() < Duration::from_secs(60) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // What is on its way still arrives.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let mut asked: BTreeMap<(String, String), usize> = BTreeMap::new();
    let mut by_chat: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for request in stand.agent.requests() {
        let (chat, number) = mark(&request);
        let times = asked.entry((chat.clone(), number.clone())).or_default();
        *times += 1;
        if *times == 1 {
            by_chat.entry(chat).or_default().push(number.parse().unwrap());
        }
    }
    let mut seen: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
    for message in stand.telegram.sent() {
        let chat = message["chat"]["id"].as_i64().unwrap();
        seen.entry(chat).or_default().push(message["text"].as_str().unwrap().parse().unwrap());
    }
    let out_of_order = |row: &[usize]| row.windows(2).filter(|pair| pair[0] >= pair[1]).count();
    let disordered: usize = by_chat.values().map(|row| out_of_order(row)).sum::<usize>()
        + seen.values().map(|row| out_of_order(row)).sum::<usize>();
    let lost = count - asked.len();
    let again: usize = asked.values().map(|times| times - 1).sum();
    let arrived: usize = seen.values().map(Vec::len).sum();
    println!(
        "{count} updates at {} a second, killed {} times, an agent of half a second: {lost} lost, {disordered} out of order or twice, \
         {again} asked again, {arrived} answers seen",
        options.rate, options.kills
    );
    lost == 0 && disordered == 0
}

/// Whose message it is, and which.
fn mark(request: &Received) -> (String, String) {
    let event: Value = serde_json::from_slice(&request.body).unwrap();
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap().to_owned();
    (text("/data/conversation/id"), text("/data/message/text"))
}

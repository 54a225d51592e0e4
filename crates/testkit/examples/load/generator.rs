//! The senders: connections that stay open, each of which owns some of the conversations, so that the order in which a
//! conversation's messages are sent is known.
//!
//! *Open* load: messages are due at times drawn beforehand (independent customers: exponential gaps, always the same ones), and
//! wait for a free connection if they must; latency counts from the time drawn. *Closed* load: the next message is
//! sent as soon as a connection is free and fewer than `--in-flight` are under way, between the first byte sent and the arrival at
//! the far end.

use std::{
    cell::{Ref, RefCell, RefMut},
    io::Write as _,
    net::SocketAddr,
    ops::Range,
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::{
    net::TcpStream,
    sync::{Notify, Semaphore, mpsc},
    task::JoinSet,
};

use crate::{
    Options,
    ledger::{Ledger, Mark},
    wire::Wire,
};

/// How long nothing may arrive while something is awaited, until it counts as lost.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the senders and both ends share.
pub(crate) struct Ground {
    ledger: RefCell<Ledger>,
    under_way: Semaphore,
    arrived: Notify,
    options: Options,
    filler: String,
}

/// Where messages go.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// Path and headers, without the length.
    pub(crate) head: String,
}

/// A phase that is over.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) count: usize,
    pub(crate) conversations: Range<usize>,
    /// From the first message's time to the last arrival.
    pub(crate) took: Duration,
}

impl Ground {
    pub(crate) fn new(options: &Options) -> Rc<Self> {
        let words = "Where is my order? I have been waiting for a week. ";
        Rc::new(Self {
            ledger: RefCell::default(),
            under_way: Semaphore::new(0),
            arrived: Notify::new(),
            options: options.clone(),
            filler: words.chars().cycle().take(options.text_bytes).collect(),
        })
    }

    pub(crate) fn ledger(&self) -> Ref<'_, Ledger> {
        self.ledger.borrow()
    }

    pub(crate) fn ledger_mut(&self) -> RefMut<'_, Ledger> {
        self.ledger.borrow_mut()
    }

    /// A message has come out at the far end.
    pub(crate) fn one_arrived(&self) {
        self.under_way.add_permits(1);
        self.arrived.notify_waiters();
    }

    /// The whole request for a message.
    fn write_request(&self, target: &Target, mark: Mark, into: &mut Vec<u8>) {
        let text = format!("{mark} {}", self.filler);
        let text = &text[..self.options.text_bytes.max(mark.to_string().len())];
        let Mark { conversation, number } = mark;
        let body = format!(
            r#"{{"id":"{conversation}.{number}","thread":"order-{conversation}","from":{{"id":"u{conversation}","name":"Ada"}},"text":"{text}"}}"#
        );
        into.clear();
        let _ = write!(into, "{}content-length: {}\r\n\r\n{body}", target.head, body.len());
    }
}

/// Connections of both sides are opened, code and caches are warm.
pub(crate) async fn warm_up(ground: &Rc<Ground>, target: &Target) {
    closed(ground, target, ground.options.senders * 10).await;
}

/// As many messages as the options say, or all that fit into its seconds.
pub(crate) async fn open(ground: &Rc<Ground>, target: &Target) -> Sent {
    let count = (ground.options.rate * ground.options.seconds).ceil();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // both are small and not negative
    open_for(ground, target, count as usize).await
}

/// So many messages at their times.
pub(crate) async fn open_for(ground: &Rc<Ground>, target: &Target, count: usize) -> Sent {
    let senders = ground.options.senders;
    let conversations = ground.ledger_mut().open((count / 10).max(senders));
    let mut tasks = JoinSet::new();
    let mut queues = Vec::new();
    for sender in 0..senders {
        let (queue, mut due) = mpsc::unbounded_channel();
        queues.push(queue);
        let mut line = Line::open(ground, target, own(&conversations, sender, senders)).await;
        tasks.spawn_local(async move {
            while let Some(due) = due.recv().await {
                line.say(due).await;
            }
        });
    }
    let start = Instant::now() + Duration::from_millis(10);
    let times = moments(start, ground.options.rate, count);
    let (alarm, mut rings) = mpsc::unbounded_channel();
    // A thread of its own sleeps more exactly than the runtime's timers, which know milliseconds.
    let clock = std::thread::spawn(move || {
        for due in times {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if alarm.send(due).is_err() {
                return;
            }
        }
    });
    let mut next = 0;
    while let Some(due) = rings.recv().await {
        let _ = queues[next % senders].send(due);
        next += 1;
    }
    clock.join().unwrap();
    drop(queues);
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    settle(ground, conversations, start, count).await
}

/// So many messages as fast as they are taken, each with its place among those under way.
pub(crate) async fn closed(ground: &Rc<Ground>, target: &Target, count: usize) -> Sent {
    let senders = ground.options.senders;
    let wanted = ground.options.conversations.unwrap_or(count / 10).max(senders);
    let conversations = ground.ledger_mut().open(wanted);
    // What an earlier phase lost must not narrow this one.
    ground.under_way.forget_permits(usize::MAX >> 4);
    ground.under_way.add_permits(ground.options.in_flight.max(1));
    let mut lines = Vec::new();
    for sender in 0..senders {
        lines.push(Line::open(ground, target, own(&conversations, sender, senders)).await);
    }
    let start = Instant::now();
    let left = Rc::new(RefCell::new(count));
    let mut tasks = JoinSet::new();
    for mut line in lines {
        let (ground, left) = (Rc::clone(ground), Rc::clone(&left));
        tasks.spawn_local(async move {
            loop {
                match tokio::time::timeout(PATIENCE, ground.under_way.acquire()).await {
                    Ok(permit) => permit.expect("it is never closed").forget(),
                    // Nothing arrives any more: what is missing is said in the end.
                    Err(_) => return,
                }
                let Some(rest) = left.borrow().checked_sub(1) else { return };
                *left.borrow_mut() = rest;
                if !line.say(Instant::now()).await {
                    ground.under_way.add_permits(1);
                }
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    settle(ground, conversations, start, count).await
}

/// Waits until everything has come out, or nothing more does.
async fn settle(ground: &Rc<Ground>, conversations: Range<usize>, start: Instant, count: usize) -> Sent {
    loop {
        let arrived = ground.arrived.notified();
        if ground.ledger().is_settled(&conversations) || tokio::time::timeout(PATIENCE, arrived).await.is_err() {
            break;
        }
    }
    let last = ground.ledger().said(&conversations).filter_map(|said| said.arrived).max();
    Sent { count, conversations, took: last.unwrap_or(start) - start }
}

/// Every so manieth conversation.
fn own(conversations: &Range<usize>, sender: usize, senders: usize) -> Vec<usize> {
    conversations.clone().skip(sender).step_by(senders).collect()
}

/// Arrival times of independent customers: exponential gaps, the same ones every time.
fn moments(start: Instant, rate: f64, count: usize) -> Vec<Instant> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut at = Duration::ZERO;
    let mut gap = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let uniform = (state >> 11) as f64 / (1_u64 << 53) as f64;
        Duration::from_secs_f64(-(1.0 - uniform).ln() / rate)
    };
    (0..count)
        .map(|_| {
            at += gap();
            start + at
        })
        .collect()
}

/// One sender.
struct Line {
    ground: Rc<Ground>,
    target: Target,
    wire: Option<Wire>,
    conversations: Vec<usize>,
    next: usize,
    request: Vec<u8>,
}

impl Line {
    async fn open(ground: &Rc<Ground>, target: &Target, conversations: Vec<usize>) -> Self {
        let wire = TcpStream::connect(target.address).await.ok().map(Wire::new);
        Self { ground: Rc::clone(ground), target: target.clone(), wire, conversations, next: 0, request: Vec::new() }
    }

    /// Sends the next conversation's next message. Whether it was taken.
    async fn say(&mut self, due: Instant) -> bool {
        let conversation = self.conversations[self.next % self.conversations.len()];
        self.next += 1;
        if self.wire.is_none() {
            self.wire = TcpStream::connect(self.target.address).await.ok().map(Wire::new);
        }
        let mark = self.ground.ledger_mut().say(conversation, due);
        self.ground.write_request(&self.target, mark, &mut self.request);
        let status = self.exchange().await;
        let mut ledger = self.ground.ledger_mut();
        match status {
            Some(202) => ledger.acknowledged(mark),
            Some(_) => ledger.refused(),
            None => {
                ledger.broken();
                self.wire = None;
            }
        }
        status == Some(202)
    }

    async fn exchange(&mut self) -> Option<u16> {
        let wire = self.wire.as_mut()?;
        wire.write(&self.request).await.ok()?;
        let answer = wire.read().await.ok()??;
        Some(answer.status())
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{moments, own};

    #[test]
    fn arrivals_keep_the_rate_and_are_the_same_every_time() {
        let start = Instant::now();
        let times = moments(start, 50.0, 5000);
        let span = *times.last().unwrap() - start;
        assert!((95..105).contains(&span.as_secs()), "{span:?}");
        assert!(times.is_sorted());
        assert_eq!(times, moments(start, 50.0, 5000));
        let longest = times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
        assert!(longest > Duration::from_millis(80), "not those of independent customers: {longest:?}");
    }

    #[test]
    fn each_conversation_has_one_sender() {
        let mut all: Vec<usize> = (0..3).flat_map(|sender| own(&(10..20), sender, 3)).collect();
        all.sort_unstable();
        assert_eq!(all, (10..20).collect::<Vec<_>>());
    }
}

//! What was sent and what became of it, kept outside the daemon.
//!
//! A message's text begins with its mark, `load CONVERSATION.NUMBER`; the agent repeats the mark in its answer. Each message
//! that was acknowledged must come to the agent and to the far end exactly once, and of one conversation in order.

use std::{ops::Range, time::Instant};

/// Which message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) conversation: usize,
    pub(crate) number: usize,
}

impl std::fmt::Display for Mark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "load {}.{}", self.conversation, self.number)
    }
}

impl Mark {
    /// Of a text that begins with one.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let mark = text.strip_prefix("load ")?;
        let mark = mark.split_once(' ').map_or(mark, |(mark, _)| mark);
        let (conversation, number) = mark.split_once('.')?;
        Some(Self { conversation: conversation.parse().ok()?, number: number.parse().ok()? })
    }
}

/// Everything so far.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    conversations: Vec<Conversation>,
    out_of_order_at_agent: u64,
    out_of_order_at_far_end: u64,
    strange: u64,
    refused: u64,
    broken: u64,
}

#[derive(Debug, Default)]
struct Conversation {
    said: Vec<Said>,
    /// The highest number that came there.
    at_agent: Option<usize>,
    at_far_end: Option<usize>,
}

/// One message.
#[derive(Debug)]
pub(crate) struct Said {
    /// When it was to be sent; its latencies count from here.
    pub(crate) due: Instant,
    /// When sending it began.
    pub(crate) begun: Instant,
    pub(crate) acknowledged: Option<Instant>,
    pub(crate) arrived: Option<Instant>,
    times_at_agent: u32,
    times_at_far_end: u32,
}

/// What the ledger says in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Verdict {
    /// Acknowledged.
    pub(crate) accepted: u64,
    /// Acknowledged, and never came to the agent, or never to the far end.
    pub(crate) lost: u64,
    /// Came more than once, to either.
    pub(crate) doubled: u64,
    /// Came after a later one of its conversation, at either.
    pub(crate) out_of_order: u64,
    /// Came and were never sent.
    pub(crate) strange: u64,
    /// Answered with something else than 202.
    pub(crate) refused: u64,
    /// Ended without an answer.
    pub(crate) broken: u64,
}

impl Ledger {
    /// New conversations.
    pub(crate) fn open(&mut self, count: usize) -> Range<usize> {
        let start = self.conversations.len();
        self.conversations.resize_with(start + count, Conversation::default);
        start..start + count
    }

    /// A message is about to be sent.
    pub(crate) fn say(&mut self, conversation: usize, due: Instant) -> Mark {
        let said = &mut self.conversations[conversation].said;
        let (number, begun) = (said.len(), Instant::now());
        said.push(Said { due, begun, acknowledged: None, arrived: None, times_at_agent: 0, times_at_far_end: 0 });
        Mark { conversation, number }
    }

    pub(crate) fn acknowledged(&mut self, mark: Mark) {
        let now = Instant::now();
        if let Some(said) = self.said_mut(mark) {
            said.acknowledged = Some(now);
        }
    }

    pub(crate) fn refused(&mut self) {
        self.refused += 1;
    }

    pub(crate) fn broken(&mut self) {
        self.broken += 1;
    }

    pub(crate) fn at_agent(&mut self, mark: Option<Mark>) {
        let Some(mark) = self.known(mark) else { return };
        let conversation = &mut self.conversations[mark.conversation];
        conversation.said[mark.number].times_at_agent += 1;
        self.out_of_order_at_agent += u64::from(conversation.at_agent.is_some_and(|highest| highest > mark.number));
        conversation.at_agent = conversation.at_agent.max(Some(mark.number));
    }

    /// Whether it came for the first time.
    pub(crate) fn at_far_end(&mut self, mark: Option<Mark>) -> bool {
        let now = Instant::now();
        let Some(mark) = self.known(mark) else { return false };
        let conversation = &mut self.conversations[mark.conversation];
        let said = &mut conversation.said[mark.number];
        said.times_at_far_end += 1;
        said.arrived.get_or_insert(now);
        let first = said.times_at_far_end == 1;
        self.out_of_order_at_far_end += u64::from(conversation.at_far_end.is_some_and(|highest| highest > mark.number));
        conversation.at_far_end = conversation.at_far_end.max(Some(mark.number));
        first
    }

    /// The messages of these conversations.
    pub(crate) fn said(&self, conversations: &Range<usize>) -> impl Iterator<Item = &Said> {
        self.conversations[conversations.clone()].iter().flat_map(|conversation| &conversation.said)
    }

    /// Whether everything that was acknowledged has arrived.
    pub(crate) fn is_settled(&self, conversations: &Range<usize>) -> bool {
        self.said(conversations).all(|said| said.acknowledged.is_none() || said.arrived.is_some())
    }

    pub(crate) fn verdict(&self) -> Verdict {
        let mut verdict = Verdict {
            out_of_order: self.out_of_order_at_agent + self.out_of_order_at_far_end,
            strange: self.strange,
            refused: self.refused,
            broken: self.broken,
            ..Verdict::default()
        };
        for said in self.said(&(0..self.conversations.len())) {
            verdict.accepted += u64::from(said.acknowledged.is_some());
            let missing = said.times_at_agent == 0 || said.times_at_far_end == 0;
            verdict.lost += u64::from(said.acknowledged.is_some() && missing);
            verdict.doubled += u64::from(said.times_at_agent > 1 || said.times_at_far_end > 1);
        }
        verdict
    }

    fn known(&mut self, mark: Option<Mark>) -> Option<Mark> {
        let known = mark.filter(|mark| self.said_mut(*mark).is_some());
        self.strange += u64::from(known.is_none());
        known
    }

    fn said_mut(&mut self, mark: Mark) -> Option<&mut Said> {
        self.conversations.get_mut(mark.conversation)?.said.get_mut(mark.number)
    }
}

impl Verdict {
    /// Nothing lost, doubled, out of order or invented, and everything taken that was sent.
    pub(crate) fn is_sound(&self) -> bool {
        *self == Self { accepted: self.accepted, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::{Ledger, Mark, Verdict};

    fn three_messages() -> (Ledger, [Mark; 3]) {
        let mut ledger = Ledger::default();
        let conversation = ledger.open(1).start;
        let marks = [(); 3].map(|()| ledger.say(conversation, Instant::now()));
        marks.iter().for_each(|mark| ledger.acknowledged(*mark));
        (ledger, marks)
    }

    fn come(ledger: &mut Ledger, at_agent: &[Mark], at_far_end: &[Mark]) -> Verdict {
        for mark in at_agent {
            ledger.at_agent(Some(*mark));
        }
        for mark in at_far_end {
            ledger.at_far_end(Some(*mark));
        }
        ledger.verdict()
    }

    #[test]
    fn what_comes_once_and_in_order_is_sound() {
        let (mut ledger, marks) = three_messages();
        assert!(!ledger.is_settled(&(0..1)));
        assert!(come(&mut ledger, &marks, &marks).is_sound());
        assert!(ledger.is_settled(&(0..1)));
    }

    #[test]
    fn what_is_missing_at_either_end_is_lost() {
        let (mut ledger, marks) = three_messages();
        let verdict = come(&mut ledger, &marks[..2], &marks[1..]);
        assert_eq!(verdict, Verdict { accepted: 3, lost: 2, ..Verdict::default() });
    }

    #[test]
    fn what_comes_twice_or_late_is_counted() {
        let (mut ledger, [first, second, third]) = three_messages();
        let verdict = come(&mut ledger, &[first, second, third], &[first, third, second, second]);
        assert_eq!(verdict, Verdict { accepted: 3, doubled: 1, out_of_order: 2, ..Verdict::default() });
    }

    #[test]
    fn what_was_never_sent_is_strange() {
        let (mut ledger, marks) = three_messages();
        ledger.at_agent(None);
        ledger.at_agent(Some(Mark { conversation: 0, number: 3 }));
        assert_eq!(come(&mut ledger, &marks, &marks), Verdict { accepted: 3, strange: 2, ..Verdict::default() });
    }

    #[test]
    fn a_mark_is_read_from_the_text_it_begins() {
        let mark = Mark { conversation: 12, number: 7 };
        assert_eq!(Mark::read(&format!("{mark} Where is my order?")), Some(mark));
        assert_eq!(Mark::read(&mark.to_string()), Some(mark));
        assert_eq!(Mark::read("Where is load 12.7?"), None);
    }
}

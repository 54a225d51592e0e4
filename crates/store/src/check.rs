//! What both stores are held to in the same words: rules about what was read, whatever it was read from.

use std::time::Duration;

use frontdesk_model::*;

/// A claim is held for seconds and renewed; one that lasts longer than this ends with nobody's knowledge.
pub(crate) const LONGEST_CLAIM: Duration = Duration::from_secs(24 * 3600);

pub(crate) fn name(lane: Lane) -> &'static str {
    match lane {
        Lane::Agent => "agent",
        Lane::Deliver => "deliver",
    }
}

pub(crate) fn flaw(kind: FlawKind, conversation: Option<ConversationId>, what: impl Into<String>) -> Flaw {
    Flaw { kind, conversation, what: what.into() }
}

/// What became of a message against what became of its parts. `None`: they agree.
pub(crate) fn disagreement(status: DeliveryStatus, parts: &[Part]) -> Option<&'static str> {
    let any = |wanted: fn(&PartState) -> bool| parts.iter().any(|part| wanted(&part.state));
    let is_out = |state: &PartState| matches!(state, PartState::Sent { .. });
    let is_doubtful = |state: &PartState| matches!(state, PartState::Uncertain | PartState::Intent);
    match status {
        DeliveryStatus::Queued => None,
        DeliveryStatus::Discarded => (!parts.is_empty()).then_some("was discarded and has parts"),
        _ if status != DeliveryStatus::Failed && parts.is_empty() => Some("was on its way and has no parts"),
        DeliveryStatus::Sending => None,
        DeliveryStatus::Sent => any(|state| !matches!(state, PartState::Sent { .. }))
            .then_some("counts as sent, and a part of it was not sent"),
        DeliveryStatus::Failed => {
            (any(is_out) || any(is_doubtful)).then_some("counts as failed, and a part of it is out or may be")
        }
        DeliveryStatus::Partial => (!any(is_out)).then_some("counts as partly sent, and no part of it was sent"),
        DeliveryStatus::Uncertain => {
            (!any(is_doubtful)).then_some("counts as uncertain, and it is known what became of each part")
        }
    }
}

/// Places that a conversation names, against the ends of its log.
pub(crate) fn places(conversation: &Conversation, flaws: &mut Vec<Flaw>) {
    let Conversation { id, first_seq, last_seq, .. } = conversation;
    let inside = |seq: Seq| (*first_seq..=*last_seq).contains(&seq);
    let mut outside = |what: String| flaws.push(flaw(FlawKind::Log, Some(*id), what));
    if *first_seq > last_seq.next() || *first_seq == Seq::ZERO {
        outside(format!("its log is said to begin at {} and to end at {}", first_seq.0, last_seq.0));
    }
    if let Some(from) = conversation.unanswered_from.filter(|from| !inside(*from)) {
        outside(format!("the first unanswered message is said to be {}, which is not in its log", from.0));
    }
    if conversation.unanswered_from.is_none() && conversation.answer_by.is_some() {
        outside("it has a time by which to be answered, and nothing waits for an answer".into());
    }
    if let Some(fetching) = conversation.fetching.filter(|fetching| fetching.through > *last_seq) {
        outside(format!("attachments of event {} are to be fetched, which is not in its log", fetching.through.0));
    }
    if let Some(batch) = conversation.batch.filter(|batch| batch.through > *last_seq || batch.from > batch.through) {
        outside(format!(
            "the agent is to be asked about {} to {}, which is not in its log",
            batch.from.0, batch.through.0
        ));
    }
}

/// A lane as it is stored.
pub(crate) struct Standing {
    pub(crate) lane: Lane,
    pub(crate) cursor: Seq,
    /// The last event that wakes it, as far as it knows.
    pub(crate) head: Seq,
    /// Events that a replay asked for.
    pub(crate) redo: Vec<Seq>,
    /// Whether it is found by who looks for something to do.
    pub(crate) scheduled: bool,
}

impl Standing {
    pub(crate) fn judge(&self, conversation: &Conversation, flaws: &mut Vec<Flaw>) {
        let Conversation { id, first_seq, last_seq, .. } = conversation;
        let lane = name(self.lane);
        let mut say = |kind, what: String| flaws.push(flaw(kind, Some(*id), what));
        if self.cursor > *last_seq || self.head > *last_seq {
            let beyond = self.cursor.max(self.head).0;
            say(FlawKind::Lane, format!("the {lane} lane stands at {beyond}, and the log ends at {}", last_seq.0));
        }
        if self.head < self.cursor {
            let (head, cursor) = (self.head.0, self.cursor.0);
            say(FlawKind::Lane, format!("the {lane} lane has work up to {head} and stands behind it, at {cursor}"));
        }
        for redo in self.redo.iter().filter(|redo| !(*first_seq..=*last_seq).contains(*redo)) {
            say(FlawKind::Lane, format!("the {lane} lane is to do {} once more, which is not in the log", redo.0));
        }
        let has_work = self.head > self.cursor || !self.redo.is_empty();
        match (has_work, self.scheduled) {
            (true, false) => say(FlawKind::Schedule, format!("the {lane} lane has work, and nobody will find it")),
            (false, true) => say(FlawKind::Schedule, format!("the {lane} lane is due, and has no work")),
            _ => {}
        }
    }
}

/// A log read in its order, from a place on.
pub(crate) struct Following {
    id: ConversationId,
    next: Seq,
    last: Seq,
}

impl Following {
    /// Behind a place; `Seq::ZERO`: from the beginning.
    pub(crate) fn behind(conversation: &Conversation, place: Seq) -> Self {
        Self { id: conversation.id, next: place.next().max(conversation.first_seq), last: conversation.last_seq }
    }

    pub(crate) fn comes(&mut self, seq: Seq, flaws: &mut Vec<Flaw>) {
        if seq > self.next {
            self.gap(self.next, Seq(seq.0 - 1), flaws);
        } else if seq < self.next {
            let what = format!("event {} is there, and should not be", seq.0);
            flaws.push(flaw(FlawKind::Log, Some(self.id), what));
        }
        if seq > self.last {
            let what = format!("event {} lies behind the end of the log, {}", seq.0, self.last.0);
            flaws.push(flaw(FlawKind::Log, Some(self.id), what));
        }
        self.next = self.next.max(seq.next());
    }

    pub(crate) fn ends(&self, flaws: &mut Vec<Flaw>) {
        if self.next <= self.last {
            self.gap(self.next, self.last, flaws);
        }
    }

    fn gap(&self, from: Seq, through: Seq, flaws: &mut Vec<Flaw>) {
        let what = if from == through {
            format!("event {} is missing", from.0)
        } else {
            format!("events {} to {} are missing", from.0, through.0)
        };
        flaws.push(flaw(FlawKind::Log, Some(self.id), what));
    }
}

//! What a server's settings can lose, in sentences, with the lines of `redis.conf` that mend it.

use super::room::{Memory, field};

/// What is known of one server. `None`: it does not say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Settings {
    log: Option<Log>,
    /// Whether the disk is not asked to confirm while the log is rewritten.
    lax_while_rewriting: Option<bool>,
    snapshots: Option<bool>,
    policy: Option<String>,
    memory: Option<Memory>,
    replicas: u32,
    /// Writes are refused when fewer replicas than this are in reach.
    needed_replicas: Option<u32>,
}

/// Redis's log of writes (`appendonly`), from the safest to none at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Log {
    Always,
    EverySecond,
    WhenTheSystemLikes,
    /// There is a log; how often it is written out is not said.
    Some,
    None,
}

impl Settings {
    /// From the answers to `INFO` and, where it is allowed, to `CONFIG GET`.
    pub(super) fn read(info: &str, config: Option<&[(String, String)]>) -> Self {
        let set = |name: &str| {
            config.and_then(|all| all.iter().find(|(known, _)| known == name)).map(|(_, value)| value.as_str())
        };
        let has_log = set("appendonly").map(|value| value == "yes").or(field(info, "aof_enabled").map(|on| on == "1"));
        let log = has_log.map(|has_log| match set("appendfsync") {
            _ if !has_log => Log::None,
            Some("always") => Log::Always,
            Some("everysec") => Log::EverySecond,
            Some("no") => Log::WhenTheSystemLikes,
            _ => Log::Some,
        });
        let policy = set("maxmemory-policy").or_else(|| field(info, "maxmemory_policy"));
        Self {
            log,
            lax_while_rewriting: set("no-appendfsync-on-rewrite").map(|value| value == "yes"),
            snapshots: set("save").map(|points| !points.is_empty()),
            policy: policy.map(str::to_owned),
            memory: Memory::read(info),
            replicas: field(info, "connected_slaves").and_then(|count| count.parse().ok()).unwrap_or(0),
            needed_replicas: set("min-replicas-to-write").and_then(|count| count.parse().ok()),
        }
    }

    /// The policy by which the server throws data away when its memory is full, if it does.
    pub(super) fn evicts(&self) -> Option<&str> {
        self.policy.as_deref().filter(|policy| *policy != "noeviction")
    }

    /// Whether nothing that was acknowledged can be lost with the server's power.
    pub(super) fn is_strict(&self) -> bool {
        self.log == Some(Log::Always) && self.lax_while_rewriting == Some(false)
    }

    fn safety(&self) -> (Option<Log>, bool) {
        (self.log, self.lax_while_rewriting != Some(false))
    }
}

const LINES_OF_STRICT: &str = "\n    appendonly yes\n    appendfsync always\n    no-appendfsync-on-rewrite no";

/// The lines that `strict` asks for, and how they are put in force on a server that has data already.
pub(super) fn mend() -> String {
    format!(
        "to lose nothing, put into redis.conf:{LINES_OF_STRICT}\nand say the same to the running server first (redis-cli CONFIG SET appendonly yes appendfsync always no-appendfsync-on-rewrite no), as a server that is started anew with a log that it has not got begins empty"
    )
}

/// What can be lost or repeated: a sentence or some, of the weakest of the servers.
pub(super) fn describe(servers: &[Settings]) -> String {
    let weakest = servers.iter().max_by_key(|settings| match settings.safety() {
        (None, lax) => (u8::MAX, lax),
        (Some(log), lax) => (log as u8, lax),
    });
    let Some(settings) = weakest else { return "what a power cut can lose is unknown".to_owned() };
    let again = "and what was sent then may be sent again";
    let unsafe_log = match settings.log {
        Some(Log::Always) => match settings.lax_while_rewriting {
            Some(false) => None,
            Some(true) => Some(format!(
                "a power cut loses nothing that was acknowledged, unless Redis is just rewriting its log (no-appendfsync-on-rewrite yes): then it can lose the last half minute, {again}"
            )),
            None => Some(
                "a power cut loses nothing that was acknowledged, unless Redis is just rewriting its log: whether it asks the disk to confirm then is unknown (no-appendfsync-on-rewrite)"
                    .to_owned(),
            ),
        },
        Some(Log::EverySecond) => Some(format!(
            "a power cut can lose what was acknowledged in the last second or two, {again}; a crash of Redis alone loses nothing"
        )),
        Some(Log::WhenTheSystemLikes) => Some(format!(
            "a power cut can lose what was acknowledged in about the last half minute, {again}; a crash of Redis alone loses nothing"
        )),
        Some(Log::Some) => Some(format!(
            "Redis keeps a log, but how often it has the disk confirm it is unknown (CONFIG GET appendfsync is not allowed): a power cut can lose a second or more, {again}"
        )),
        Some(Log::None) if settings.snapshots == Some(false) => {
            Some("Redis keeps everything in memory only: a crash, a restart or a power cut loses everything".to_owned())
        }
        Some(Log::None) => Some(format!(
            "Redis keeps no log of writes: a crash, a restart or a power cut can lose everything since its last snapshot, minutes or hours, {again}"
        )),
        None => Some("what a crash or a power cut can lose is unknown: Redis does not say how it keeps its data".into()),
    };
    let mut sentences = match unsafe_log {
        Some(sentence) => format!("{sentence}; {}", mend()),
        None => "a power cut loses nothing that was acknowledged".to_owned(),
    };
    sentences.push_str(&failover(servers));
    if servers.iter().any(|settings| settings.memory.as_ref().is_some_and(|memory| memory.most == 0)) {
        sentences.push_str(
            "\nmaxmemory is not set: nobody is warned before the machine's memory is used up, and then the system ends Redis; set it in redis.conf, to less than the machine has (maxmemory 4gb)",
        );
    }
    if servers.iter().any(|settings| settings.policy.is_none()) {
        sentences.push_str(
            "\nwhether Redis throws data away when its memory is full is unknown: make sure that redis.conf has\n    maxmemory-policy noeviction",
        );
    }
    sentences
}

fn failover(servers: &[Settings]) -> String {
    if servers.iter().all(|settings| settings.replicas == 0) {
        return String::new();
    }
    let lost = "\na failover to a replica can lose what the replica had not got yet, most often less than a second, and what was sent then may be sent again";
    match servers.iter().map(|settings| settings.needed_replicas).min() {
        Some(Some(1..)) => lost.to_owned(),
        _ => format!(
            "{lost}; that it is never much more is what these lines make sure of:\n    min-replicas-to-write 1\n    min-replicas-max-lag 10"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(config: &[(&str, &str)], info: &str) -> Settings {
        let config: Vec<(String, String)> =
            config.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Settings::read(info, Some(&config))
    }

    const SAFE: [(&str, &str); 5] = [
        ("appendonly", "yes"),
        ("appendfsync", "always"),
        ("no-appendfsync-on-rewrite", "no"),
        ("maxmemory-policy", "noeviction"),
        ("save", ""),
    ];
    const INFO: &str = "used_memory:10\r\nmaxmemory:1000\r\nconnected_slaves:0\r\n";

    fn with(name: &'static str, value: &'static str) -> Settings {
        server(&SAFE.map(|(known, set)| (known, if known == name { value } else { set })), INFO)
    }

    #[test]
    fn only_a_log_that_the_disk_confirms_always_is_strict() {
        assert!(with("save", "").is_strict());
        for (name, value) in [("appendonly", "no"), ("appendfsync", "everysec"), ("no-appendfsync-on-rewrite", "yes")] {
            assert!(!with(name, value).is_strict(), "{name} {value}");
        }
        assert!(!Settings::read("aof_enabled:1\r\nmaxmemory_policy:noeviction\r\n", None).is_strict());
    }

    #[test]
    fn every_setting_has_its_sentence() {
        let unsaid =
            Settings::read("aof_enabled:1\r\nmaxmemory_policy:noeviction\r\nmaxmemory:9\r\nused_memory:1", None);
        let none_said = Settings::read("", None);
        let info = INFO.replace("slaves:0", "slaves:1").replace("maxmemory:1000", "maxmemory:0");
        let sentences = [
            ("always", describe(&[with("save", "")])),
            ("rewriting", describe(&[with("no-appendfsync-on-rewrite", "yes")])),
            ("every second", describe(&[with("appendfsync", "everysec")])),
            ("seldom", describe(&[with("appendfsync", "no")])),
            ("snapshots", describe(&[server(&[("appendonly", "no"), ("save", "3600 1")], INFO)])),
            ("memory only", describe(&[with("appendonly", "no")])),
            ("one of two is weak", describe(&[with("save", ""), with("appendfsync", "everysec")])),
            ("not said", describe(&[unsaid])),
            ("nothing said", describe(&[none_said])),
            ("replicas, no maxmemory", describe(&[server(&SAFE, &info)])),
        ];
        let all: Vec<String> = sentences.iter().map(|(name, sentence)| format!("[{name}]\n{sentence}\n")).collect();
        insta::assert_snapshot!(all.join("\n"));
    }

    #[test]
    fn a_policy_that_throws_away_is_seen_wherever_it_is_said() {
        assert_eq!(with("save", "").evicts(), None);
        assert_eq!(with("maxmemory-policy", "allkeys-lru").evicts(), Some("allkeys-lru"));
        assert_eq!(Settings::read("maxmemory_policy:volatile-ttl\r\n", None).evicts(), Some("volatile-ttl"));
    }
}

//! The running daemon, asked over its control socket: HTTP/1.1, one connection for each request.
//!
//! A request that is safe to repeat (one that only reads, or that carries an `Idempotency-Key`) is repeated when its
//! connection breaks or the daemon asks to come again soon; others are not, since nobody knows whether they counted.

use std::{
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::timeout;

use super::{Call, Failure, Reach, place};
use crate::control;

/// The daemon ends requests of its own accord before that.
const PATIENCE: Duration = Duration::from_secs(60);
/// No answer of the API is nearly as large.
const MOST_BYTES: usize = 256 << 20;
/// Pauses before a request is repeated.
const PAUSES: [Duration; 3] = [Duration::from_millis(200), Duration::from_secs(1), Duration::from_secs(3)];
/// A daemon that wants to be left alone for longer is not waited for.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Where a daemon is to be asked.
#[derive(Debug)]
pub(super) struct Daemon {
    sockets: Vec<PathBuf>,
}

/// What to ask.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    method: Method,
    path: String,
    body: Option<Value>,
    /// Makes a repeat harmless.
    key: Option<String>,
}

impl Ask {
    pub(super) fn get(path: impl Into<String>) -> Self {
        Self { method: Method::GET, path: path.into(), body: None, key: None }
    }

    pub(super) fn post(path: impl Into<String>) -> Self {
        Self { method: Method::POST, ..Self::get(path) }
    }

    pub(super) fn patch(path: impl Into<String>) -> Self {
        Self { method: Method::PATCH, ..Self::get(path) }
    }

    pub(super) fn delete(path: impl Into<String>) -> Self {
        Self { method: Method::DELETE, ..Self::get(path) }
    }

    pub(super) fn with(self, body: Value) -> Self {
        Self { body: Some(body), ..self }
    }

    /// With a mark under which it counts once.
    pub(super) fn once(self, key: String) -> Self {
        Self { key: Some(key), ..self }
    }

    fn may_be_repeated(&self) -> bool {
        self.method == Method::GET || self.key.is_some()
    }
}

/// A path or query piece, written so that nothing in it is read as more than that.
pub(super) fn piece(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

/// Why there is no answer.
enum Lost {
    /// Nobody listens, or not for us.
    Unreached(Unreached),
    /// The connection broke, or nothing came.
    Broken(String),
    /// An answer to come again after this.
    Later(Duration, Failure),
    /// An answer that says why not.
    Refused(Failure),
}

/// A socket that nobody listens at, or not for us.
struct Unreached {
    socket: PathBuf,
    error: io::Error,
}

/// Why there is no stream.
#[derive(Debug)]
pub(super) enum NoStream {
    /// Nobody gives one now; that may change.
    Gone(Failure),
    /// The daemon is there and gives none now; that may change.
    Later(Failure),
    /// Asked like that there is none.
    Refused(Failure),
}

impl Daemon {
    /// Finds its socket; asks nothing yet.
    pub(super) fn of(call: &Call, reach: &Reach) -> Result<Self, Failure> {
        Ok(Self { sockets: place::sockets(reach, call.config.as_deref(), &call.environment)? })
    }

    /// Whether anybody listens.
    pub(super) async fn is_there(&self) -> Result<bool, Failure> {
        match self.connect().await {
            Ok(_) => Ok(true),
            Err(unreached) if unreached.error.kind() == ErrorKind::PermissionDenied => Err(self.unreached(&unreached)),
            Err(_) => Ok(false),
        }
    }

    /// The answer's JSON; `null` for an empty one.
    pub(super) async fn ask(&self, ask: &Ask) -> Result<Value, Failure> {
        for pause in PAUSES {
            let wait = match self.answer(ask).await {
                Ok(value) => return Ok(value),
                Err(Lost::Broken(_)) if ask.may_be_repeated() => pause,
                Err(Lost::Later(wait, _)) if ask.may_be_repeated() && wait <= LONGEST_PAUSE => wait.max(pause),
                Err(lost) => return Err(self.told(lost)),
            };
            tokio::time::sleep(wait).await;
        }
        self.answer(ask).await.map_err(|lost| self.told(lost))
    }

    /// The answer, read.
    pub(super) async fn read<T: DeserializeOwned>(&self, ask: &Ask) -> Result<T, Failure> {
        read(self.ask(ask).await?)
    }

    async fn answer(&self, ask: &Ask) -> Result<Value, Lost> {
        let answered = timeout(PATIENCE, async { whole(self.send(ask, "application/json").await?).await });
        answered.await.unwrap_or_else(|_| Err(no_answer()))
    }

    /// A live stream, once its head is there.
    pub(super) async fn stream(&self, path: &str) -> Result<Incoming, NoStream> {
        let opened = timeout(PATIENCE, async {
            let response = self.send(&Ask::get(path), "text/event-stream").await?;
            match response.status() {
                StatusCode::OK => Ok(response.into_body()),
                _ => Err(whole(response).await.err().unwrap_or_else(|| Lost::Broken("no stream".into()))),
            }
        });
        opened.await.unwrap_or_else(|_| Err(no_answer())).map_err(|lost| match lost {
            Lost::Refused(failure) => NoStream::Refused(failure),
            Lost::Later(_, failure) => NoStream::Later(failure),
            lost => NoStream::Gone(self.told(lost)),
        })
    }

    async fn send(&self, ask: &Ask, accept: &str) -> Result<http::Response<Incoming>, Lost> {
        let stream = self.connect().await.map_err(Lost::Unreached)?;
        let broken = |error: hyper::Error| Lost::Broken(error.to_string());
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        // Ends with the answer; what goes wrong on it is told to the request.
        tokio::spawn(connection);
        let mut request = Request::builder()
            .method(&ask.method)
            .uri(&ask.path)
            .header(header::HOST, "localhost")
            .header(header::USER_AGENT, concat!("frontdesk/", env!("CARGO_PKG_VERSION")))
            .header(header::ACCEPT, accept);
        if ask.body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        if let Some(key) = &ask.key {
            request = request.header("idempotency-key", key);
        }
        let body = ask.body.as_ref().map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        let request = request.body(Full::new(body)).map_err(|error| Lost::Broken(error.to_string()))?;
        sender.send_request(request).await.map_err(broken)
    }

    /// The first socket that somebody listens at. What is said about others is what the first of them said.
    async fn connect(&self) -> Result<tokio::net::UnixStream, Unreached> {
        let mut first = None;
        for socket in &self.sockets {
            match control::connect(socket).await {
                Ok(stream) => return Ok(stream),
                Err(error) => {
                    let unreached = Unreached { socket: socket.clone(), error };
                    if unreached.error.kind() == ErrorKind::PermissionDenied {
                        return Err(unreached);
                    }
                    first = first.or(Some(unreached));
                }
            }
        }
        Err(first.unwrap_or_else(|| Unreached { socket: control::FILE.into(), error: ErrorKind::NotFound.into() }))
    }

    fn told(&self, lost: Lost) -> Failure {
        match lost {
            Lost::Unreached(error) => self.unreached(&error),
            Lost::Broken(why) => Failure::failed(format!("the daemon at {} gave no answer: {why}", self.shown()))
                .mend("look at its log; whether the request counted is not known"),
            Lost::Later(_, failure) | Lost::Refused(failure) => failure,
        }
    }

    fn unreached(&self, unreached: &Unreached) -> Failure {
        let Unreached { socket, error } = unreached;
        let at = self.shown();
        let what = match error.kind() {
            ErrorKind::PermissionDenied => {
                let what =
                    format!("you may not open {}: it belongs to the user that the daemon runs as", shown(socket));
                return Failure::failed(what).mend("call it as that user, or as root: sudo frontdesk ...");
            }
            ErrorKind::NotFound => format!("no daemon answers at {at}"),
            ErrorKind::ConnectionRefused => format!("no daemon answers at {at}, though something is left there"),
            _ => format!("no daemon answers at {at}: {error}"),
        };
        Failure::failed(what)
            .mend("start it with `frontdesk run`, or name its configuration with --config, or its socket with --socket")
    }

    fn shown(&self) -> String {
        self.sockets.iter().map(|path| shown(path)).collect::<Vec<_>>().join(" or ")
    }
}

/// In full, without `.` in between.
fn shown(path: &Path) -> String {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    whole.components().collect::<PathBuf>().display().to_string()
}

fn no_answer() -> Lost {
    Lost::Broken(format!("nothing came within {} s", PATIENCE.as_secs()))
}

/// The whole answer.
async fn whole(response: http::Response<Incoming>) -> Result<Value, Lost> {
    let status = response.status();
    let after = response.headers().get(header::RETRY_AFTER).and_then(|after| after.to_str().ok()?.parse().ok());
    let body = Limited::new(response.into_body(), MOST_BYTES).collect().await;
    let body = body.map_err(|error| Lost::Broken(error.to_string()))?.to_bytes();
    understood(status, after.map(Duration::from_secs), &body)
}

pub(super) fn read<T: DeserializeOwned>(value: Value) -> Result<T, Failure> {
    serde_json::from_value(value).map_err(|error| {
        Failure::failed(format!("the daemon's answer is of a form that this program does not know: {error}"))
            .mend("daemon and program are of different versions: restart the daemon after an upgrade, or use --json")
    })
}

fn understood(status: StatusCode, retry_after: Option<Duration>, body: &[u8]) -> Result<Value, Lost> {
    if status.is_success() {
        if body.is_empty() {
            return Ok(Value::Null);
        }
        return serde_json::from_slice(body)
            .map_err(|_| Lost::Refused(Failure::failed("the daemon's answer is not JSON").mend(OTHER_VERSION)));
    }
    let refused = refusal(status, body);
    match retry_after {
        Some(wait) => Err(Lost::Later(wait, refused)),
        None if status == StatusCode::SERVICE_UNAVAILABLE => Err(Lost::Later(Duration::ZERO, refused)),
        None => Err(Lost::Refused(refused)),
    }
}

const OTHER_VERSION: &str = "daemon and program seem to be of different versions: restart the daemon after an upgrade";

/// The problem's own words, which name the mend, where the command line has no words of its own for it.
fn refusal(status: StatusCode, body: &[u8]) -> Failure {
    let problem: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |key: &str| problem.get(key).and_then(Value::as_str);
    let slug = text("type").and_then(|kind| kind.rsplit(':').next()).unwrap_or_default();
    let what = text("detail").or(text("title")).map_or_else(|| format!("the daemon answered {status}"), str::to_owned);
    let said = |what: &str, mend: &str| {
        let failure = Failure::failed(what);
        if mend.is_empty() { failure } else { failure.mend(mend) }
    };
    let failure = match slug {
        "unknown-path" | "method-not-allowed" | "" => said(&what, OTHER_VERSION),
        "invalid-query" => Failure::wrong(as_option(&what)),
        "version-conflict" => {
            let what = what.split(';').next().unwrap_or_default();
            said(what, "read what is new, then repeat with --if-version and that version, or without it")
        }
        "not-found" => {
            let what = what.split(';').next().unwrap_or_default();
            said(what, where_they_are(what))
        }
        _ => said(&what, ""),
    };
    if slug.is_empty() { failure } else { failure.called(slug) }
}

/// A key of a query is an option here, of its own name or of a better one.
fn as_option(detail: &str) -> String {
    let named = [("after: ", "--since: "), ("page: ", "--page: "), ("limit: ", "--limit: ")];
    let option = named.iter().find_map(|(key, option)| Some(format!("{option}{}", detail.strip_prefix(key)?)));
    option.unwrap_or_else(|| detail.to_owned())
}

/// Where the ids are that there are.
fn where_they_are(what: &str) -> &'static str {
    if what.contains("no conversation") {
        "frontdesk conversations --all lists those that there are"
    } else if what.contains("no contact") {
        "frontdesk conversations show ID names who wrote there"
    } else if what.contains("no dead letter") {
        "frontdesk dead-letters list --all lists those that there are"
    } else {
        ""
    }
}

/// A mark that no other call has.
pub(super) fn mark() -> Result<String, Failure> {
    let mut bytes = [0u8; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| Failure::failed(format!("the kernel gives no random bytes: {error}")))?;
    Ok(format!("cli-{:032x}", u128::from_be_bytes(bytes)))
}

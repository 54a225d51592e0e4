//! A client that speaks bytes.

use std::{collections::BTreeMap, net::SocketAddr};

use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

use super::{record, soon};

/// One connection.
pub struct Client<S = TcpStream> {
    pub stream: S,
    unread: Vec<u8>,
}

/// One answer, read whole.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    pub text: String,
    /// Null when the body is not JSON.
    pub json: Value,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The last piece of a problem's type.
    pub fn slug(&self) -> &str {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let kind = self.json["type"].as_str().unwrap();
        kind.strip_prefix("urn:frontdesk:problem:").unwrap()
    }

    pub fn detail(&self) -> &str {
        self.json["detail"].as_str().unwrap()
    }
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap())
    }

    /// From one of the many addresses that every machine has of its own, such as 127.0.0.2.
    pub async fn connect_from(own: &str, address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(own.parse().unwrap(), 0)).unwrap();
        Self::over(socket.connect(address).await.unwrap())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub fn over(stream: S) -> Self {
        Self { stream, unread: Vec::new() }
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// A request and its answer; the connection stays open. No token: an empty one.
    pub async fn ask(&mut self, method: &str, path: &str, token: &str, body: Option<Value>) -> Answer {
        self.ask_with(method, path, token, "", body).await
    }

    /// The same with further headers, each line with its end.
    pub async fn ask_with(
        &mut self,
        method: &str,
        path: &str,
        token: &str,
        headers: &str,
        body: Option<Value>,
    ) -> Answer {
        self.send(request_with(method, path, token, headers, body.as_ref())).await;
        let answer = self.answer().await;
        record::answer(method, path, &answer);
        answer
    }

    /// The next answer.
    pub async fn answer(&mut self) -> Answer {
        self.try_answer().await.expect("the connection ended before an answer")
    }

    /// The next answer; `None` when the connection ends first.
    pub async fn try_answer(&mut self) -> Option<Answer> {
        soon("an answer", async {
            loop {
                if let Some((answer, length)) = parse(&self.unread) {
                    self.unread.drain(..length);
                    return Some(answer);
                }
                if self.stream.read_buf(&mut self.unread).await.ok()? == 0 {
                    return None;
                }
            }
        })
        .await
    }

    /// The next answer's head, for answers without a body.
    pub async fn head(&mut self) -> Answer {
        loop {
            if let Some((answer, length)) = parse_head(&self.unread) {
                self.unread.drain(..length);
                return answer;
            }
            assert_ne!(self.stream.read_buf(&mut self.unread).await.unwrap(), 0, "the connection ended");
        }
    }

    /// So many bytes.
    pub async fn take(&mut self, wanted: usize) -> Vec<u8> {
        while self.unread.len() < wanted {
            assert_ne!(self.stream.read_buf(&mut self.unread).await.unwrap(), 0, "the connection ended");
        }
        self.unread.drain(..wanted).collect()
    }

    /// Whichever comes first.
    pub async fn ended_or_answered(&mut self) {
        let _ = self.try_answer().await;
    }

    /// Waits for the other side's end of the connection; returns what came before it.
    pub async fn ended(&mut self) -> Vec<u8> {
        soon("the end of the connection", async {
            while matches!(self.stream.read_buf(&mut self.unread).await, Ok(read) if read > 0) {}
            std::mem::take(&mut self.unread)
        })
        .await
    }
}

/// A request as it goes over the wire.
pub fn request(method: &str, path: &str, token: &str, body: Option<&Value>) -> Vec<u8> {
    request_with(method, path, token, "", body)
}

pub fn request_with(method: &str, path: &str, token: &str, headers: &str, body: Option<&Value>) -> Vec<u8> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: desk\r\n{headers}");
    if !token.is_empty() {
        head += &format!("Authorization: Bearer {token}\r\n");
    }
    let body = body.map(Value::to_string).unwrap_or_default();
    if !body.is_empty() {
        head += &format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    }
    format!("{head}\r\n{body}").into_bytes()
}

/// The first answer in the bytes, with its length, when all of it is there.
fn parse(bytes: &[u8]) -> Option<(Answer, usize)> {
    let (head, head_length) = parse_head(bytes)?;
    let length: usize = head.header("content-length").map_or(0, |length| length.parse().unwrap());
    let body = bytes.get(head_length..head_length + length)?;
    let text = String::from_utf8(body.to_vec()).unwrap();
    let json = serde_json::from_str(&text).unwrap_or(Value::Null);
    Some((Answer { text, json, ..head }, head_length + length))
}

fn parse_head(bytes: &[u8]) -> Option<(Answer, usize)> {
    let length = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&bytes[..length]).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let fields = lines.filter_map(|line| line.split_once(": "));
    let headers = fields.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
    Some((Answer { status, headers, text: String::new(), json: Value::Null }, length))
}

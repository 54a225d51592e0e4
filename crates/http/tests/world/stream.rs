//! A client that follows the change stream.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

use super::{Answer, Client, request_with, soon};

/// One open stream.
pub struct Stream<S = TcpStream> {
    pub head: Answer,
    client: Client<S>,
    /// What was read, without the chunks that it came in.
    unread: String,
    ended: bool,
}

/// One block of a stream: an event, or what only sets the position.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Block {
    pub id: Option<String>,
    pub event: Option<String>,
    pub data: Option<Value>,
    pub comment: bool,
    pub retry: Option<String>,
}

impl Stream {
    /// `headers`: further ones, each line with its end.
    pub async fn open(address: SocketAddr, path: &str, token: &str, headers: &str) -> Self {
        Self::over(Client::connect(address).await, path, token, headers).await
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream<S> {
    pub async fn over(mut client: Client<S>, path: &str, token: &str, headers: &str) -> Self {
        client.send(request_with("GET", path, token, headers, None)).await;
        let head = soon("the stream's head", client.head()).await;
        Self { head, client, unread: String::new(), ended: false }
    }

    /// The next block; `None` at the end of the stream.
    pub async fn block(&mut self) -> Option<Block> {
        soon("a block of the stream", async {
            loop {
                if let Some((block, rest)) = self.unread.split_once("\n\n") {
                    let block = parse(block);
                    self.unread = rest.to_owned();
                    return Some(block);
                }
                if self.ended {
                    assert_eq!(self.unread, "", "the stream ends between two blocks");
                    return None;
                }
                self.chunk().await;
            }
        })
        .await
    }

    /// The next block that is an event.
    pub async fn event(&mut self) -> Option<Block> {
        loop {
            match self.block().await {
                Some(block) if block.event.is_none() => {}
                other => return other,
            }
        }
    }

    /// The end of the stream, with no event before it.
    pub async fn ends(&mut self) {
        assert_eq!(self.event().await, None);
    }

    pub fn into_client(self) -> Client<S> {
        self.client
    }

    async fn chunk(&mut self) {
        let size = self.line().await;
        let size = usize::from_str_radix(&size, 16).unwrap();
        let mut bytes = self.client.take(size + 2).await;
        bytes.truncate(size);
        self.unread += std::str::from_utf8(&bytes).unwrap();
        self.ended = size == 0;
    }

    async fn line(&mut self) -> String {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.extend(self.client.take(1).await);
        }
        line.truncate(line.len() - 2);
        String::from_utf8(line).unwrap()
    }
}

fn parse(block: &str) -> Block {
    let mut parsed = Block::default();
    for line in block.lines() {
        let (name, value) = line.split_once(':').unwrap();
        let value = value.trim_start().to_owned();
        match name {
            "" => parsed.comment = true,
            "id" => parsed.id = Some(value),
            "event" => parsed.event = Some(value),
            "retry" => parsed.retry = Some(value),
            "data" => {
                assert_eq!(parsed.data, None, "one line of data");
                parsed.data = Some(serde_json::from_str(&value).unwrap());
            }
            other => panic!("{other}: no field of a stream"),
        }
    }
    parsed
}

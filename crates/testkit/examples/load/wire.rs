//! As much of HTTP/1.1 as both ends of this program need: heads with `Content-Length`, connections that stay open.

use std::io;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// One connection, from either side.
pub(crate) struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// What the message before took of the buffer.
    used: usize,
}

/// A request or an answer.
pub(crate) struct Message<'a> {
    head: &'a [u8],
    pub(crate) body: &'a [u8],
}

impl Message<'_> {
    /// Of an answer: `HTTP/1.1 202 …`.
    pub(crate) fn status(&self) -> u16 {
        self.head.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok()).unwrap_or(0)
    }
}

impl Wire {
    pub(crate) fn new(stream: TcpStream) -> Self {
        let _ = stream.set_nodelay(true);
        Self { stream, buffer: Vec::with_capacity(16 * 1024), used: 0 }
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// The next whole message; `None` where the other side has closed between two.
    pub(crate) async fn read(&mut self) -> io::Result<Option<Message<'_>>> {
        self.buffer.drain(..self.used);
        self.used = 0;
        let mut wanted = None;
        loop {
            if wanted.is_none() {
                wanted = extent(&self.buffer)?;
            }
            if let Some((head, whole)) = wanted
                && self.buffer.len() >= whole
            {
                self.used = whole;
                return Ok(Some(Message { head: &self.buffer[..head], body: &self.buffer[head..whole] }));
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                if self.buffer.is_empty() {
                    return Ok(None);
                }
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// Where the head ends and where the body does, once the head is there.
fn extent(bytes: &[u8]) -> io::Result<Option<(usize, usize)>> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let head = end + 4;
    let mut length = 0;
    for line in bytes[..end].split(|byte| *byte == b'\n').skip(1) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            let digits = std::str::from_utf8(value).ok().and_then(|text| text.parse::<usize>().ok());
            length = digits.ok_or(io::ErrorKind::InvalidData)?;
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "bodies without a length are not read here"));
        }
    }
    Ok(Some((head, head + length)))
}

#[cfg(test)]
mod tests {
    use super::extent;

    #[test]
    fn a_message_ends_where_its_length_says() {
        assert_eq!(extent(b"HTTP/1.1 202 Accepted\r\nContent-Length: 5\r\n").unwrap(), None);
        let head = b"HTTP/1.1 202 Accepted\r\ncontent-length:  5\r\nx: y\r\n\r\n";
        assert_eq!(extent(head).unwrap(), Some((head.len(), head.len() + 5)));
        assert_eq!(extent(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap(), Some((27, 27)));
        assert!(extent(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
        assert!(extent(b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n").is_err());
    }
}

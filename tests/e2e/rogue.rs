//! A far end that means harm: it answers what no honest server would, for as long as somebody listens.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use frontdesk_testkit::far_end::Reply;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

/// What would be sent to somebody who never stops listening.
const GIBIBYTE: usize = 1 << 30;
const PIECE: usize = 64 * 1024;

/// How it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Harm {
    /// A body of 1 GiB, announced.
    AnnouncedGigabyte,
    /// A body of 1 GiB in pieces, unannounced.
    Gigabyte,
    /// A body that comes byte by byte, for ever.
    Drip,
    /// 250 MB of zeros, packed into less than a megabyte and said to be so.
    Bomb,
    /// A head of header lines without an end.
    Headers,
    /// A head of one line without an end.
    Line,
    /// Interim answers (100 Continue), one after another, for ever.
    Interim,
}

impl Harm {
    pub(crate) const ALL: [Self; 7] =
        [Self::AnnouncedGigabyte, Self::Gigabyte, Self::Drip, Self::Bomb, Self::Headers, Self::Line, Self::Interim];

    /// The one that a text names, as [`std::fmt::Debug`] writes it.
    pub(crate) fn named_in(text: &str) -> Option<Self> {
        Self::ALL.into_iter().rev().find(|harm| text.contains(&format!("<{harm:?}>")))
    }
}

/// One harmful answer that is over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Visit {
    pub(crate) harm: Harm,
    /// Bytes that went out until the other side had enough.
    pub(crate) sent: usize,
    pub(crate) took: Duration,
}

/// The server.
pub(crate) struct Rogue {
    address: SocketAddr,
    visits: Arc<Mutex<Vec<Visit>>>,
    over: watch::Receiver<usize>,
    _connections: JoinSet<()>,
}

type Honest = Arc<dyn Fn(&[u8]) -> Reply + Send + Sync>;

impl Rogue {
    /// Does the harm that a request's body names (see [`Harm::named_in`]); answers the others honestly.
    pub(crate) async fn start(honest: impl Fn(&[u8]) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let visits: Arc<Mutex<Vec<Visit>>> = Arc::default();
        let (tell, over) = watch::channel(0);
        let (honest, noted): (Honest, _) = (Arc::new(honest), Arc::clone(&visits));
        let mut connections = JoinSet::new();
        connections.spawn(async move {
            let mut open = JoinSet::new();
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let (honest, noted, tell) = (Arc::clone(&honest), Arc::clone(&noted), tell.clone());
                open.spawn(async move {
                    if let Some(visit) = serve(stream, &honest).await {
                        noted.lock().unwrap().push(visit);
                        tell.send_modify(|count| *count += 1);
                    }
                });
            }
        });
        Self { address, visits, over, _connections: connections }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Waits until the other side had enough of this harm for the first time.
    pub(crate) async fn first(&self, harm: Harm) -> Visit {
        let mut over = self.over.clone();
        let waiting = async {
            loop {
                over.borrow_and_update();
                let found = self.visits.lock().unwrap().iter().find(|visit| visit.harm == harm).copied();
                match found {
                    Some(visit) => return visit,
                    None => over.changed().await.unwrap(),
                }
            }
        };
        match tokio::time::timeout(Duration::from_secs(60), waiting).await {
            Ok(visit) => visit,
            Err(_) => panic!("{harm:?} is listened to without an end"),
        }
    }
}

/// Until harm is done, or the other side goes.
async fn serve(mut stream: TcpStream, honest: &Honest) -> Option<Visit> {
    let _ = stream.set_nodelay(true);
    let mut buffer = Vec::new();
    loop {
        let body = request(&mut stream, &mut buffer).await?;
        if let Some(harm) = Harm::named_in(&String::from_utf8_lossy(&body)) {
            let began = Instant::now();
            let mut sent = 0;
            let _ = answer(&mut stream, harm, &mut sent).await;
            return Some(Visit { harm, sent, took: began.elapsed() });
        }
        let reply = honest(&body);
        let (status, body) = reply.content();
        let head = format!("HTTP/1.1 {status} Said\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all(&[head.as_bytes(), body].concat()).await.ok()?;
    }
}

/// The body of the next request; the daemon's requests say how long it is.
async fn request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
    loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
            let length: usize = length.map_or(0, |length| length.trim().parse().unwrap());
            if buffer.len() >= end + 4 + length {
                let body = buffer[end + 4..end + 4 + length].to_vec();
                buffer.drain(..end + 4 + length);
                return Some(body);
            }
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}

async fn answer(stream: &mut TcpStream, harm: Harm, sent: &mut usize) -> std::io::Result<()> {
    let begin = match harm {
        Harm::AnnouncedGigabyte => format!("HTTP/1.1 200 OK\r\nContent-Length: {GIBIBYTE}\r\n\r\n"),
        Harm::Gigabyte | Harm::Drip => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".into(),
        Harm::Bomb => {
            let length = bomb().len();
            format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: {length}\r\n\r\n"
            )
        }
        Harm::Headers => "HTTP/1.1 200 OK\r\n".into(),
        Harm::Line => "HTTP/1.1 200 OK\r\nX-Endless: ".into(),
        Harm::Interim => String::new(),
    };
    stream.write_all(begin.as_bytes()).await?;
    let chunk = [b"10000\r\n".as_slice(), &[b' '; PIECE], b"\r\n"].concat();
    let (piece, pause): (Vec<u8>, _) = match harm {
        Harm::AnnouncedGigabyte | Harm::Line => (vec![b'x'; PIECE], Duration::ZERO),
        Harm::Gigabyte => (chunk, Duration::ZERO),
        Harm::Drip => (b"1\r\n \r\n".to_vec(), Duration::from_millis(20)),
        Harm::Bomb => (bomb(), Duration::ZERO),
        Harm::Headers => (b"X-More: of the same\r\n".repeat(1000), Duration::ZERO),
        Harm::Interim => (b"HTTP/1.1 100 Continue\r\n\r\n".repeat(100), Duration::ZERO),
    };
    let pieces = if harm == Harm::Bomb { 1 } else { GIBIBYTE / piece.len() };
    for _ in 0..pieces {
        stream.write_all(&piece).await?;
        *sent += piece.len();
        tokio::time::sleep(pause).await;
    }
    // Whoever still listens then decides when it ends.
    let _ = stream.read(&mut [0]).await;
    Ok(())
}

/// Zeros by RFC 1951 with the fixed codes (RFC 1951, 3.2.6), in the frame of RFC 1952: 13 bits for each 258 of them. The
/// check sum is left wrong; nobody who unpacks as it comes would see that before the end.
fn bomb() -> Vec<u8> {
    const ROUNDS: usize = 580_000;
    let mut packed = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let (mut bits, mut filled) = (0_u32, 0);
    let mut put = |value: u32, length: u32, into: &mut Vec<u8>| {
        bits |= value << filled;
        filled += length;
        while filled >= 8 {
            into.push(bits.to_le_bytes()[0]);
            bits >>= 8;
            filled -= 8;
        }
    };
    // The last block, with fixed codes; a zero as it is (00110000), then "258 more of what stands 1 back": code 285
    // (11000101) and distance 0 (00000). Codes are written with their first bit first.
    put(0b011, 3, &mut packed);
    put(0b0000_1100, 8, &mut packed);
    for _ in 0..ROUNDS {
        put(0b1010_0011, 8, &mut packed);
        put(0, 5, &mut packed);
    }
    put(0, 7, &mut packed);
    put(0, 7, &mut packed);
    packed.extend([0; 8]);
    packed
}

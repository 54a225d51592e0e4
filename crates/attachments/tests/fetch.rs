//! Fetching from somebody whom nobody vouches for.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)] // a test may stop at the first surprise

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use frontdesk_attachments::{Exempt, FetchError, FetchLimits, Fetcher, Files, FilesOptions};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// What a server writes for each request, by its path.
type Speaks = fn(&str) -> Vec<u8>;

struct Server {
    at: SocketAddr,
    asked: Arc<AtomicUsize>,
}

impl Server {
    /// After what it says it repeats `then` for as long as anybody listens, `every` so often.
    async fn start(speaks: Speaks, then: Option<(&'static [u8], Duration)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (at, asked) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(answer(stream, speaks, then));
            }
        });
        Self { at, asked }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.at)
    }

    fn exempt(&self) -> Exempt {
        Exempt::of(&self.url("/").parse().unwrap()).unwrap()
    }
}

async fn answer(mut stream: TcpStream, speaks: Speaks, then: Option<(&'static [u8], Duration)>) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).await.unwrap_or(0) == 0 {
            return;
        }
        request.push(byte[0]);
    }
    let request = String::from_utf8(request).unwrap();
    let _ = stream.write_all(&speaks(request.split(' ').nth(1).unwrap())).await;
    while let Some((bytes, every)) = then {
        if stream.write_all(bytes).await.is_err() {
            return;
        }
        tokio::time::sleep(every).await;
    }
}

struct World {
    files: Files,
    fetcher: Fetcher,
    folder: TempDir,
}

impl World {
    fn new(exempt: Vec<Exempt>) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = TempDir::new().unwrap();
        let options = FilesOptions { max_bytes: 1_000_000, min_free: 0 };
        let files = Files::open(folder.path(), "s", false, options).unwrap();
        let limits = FetchLimits { whole: Duration::from_secs(2), idle: Duration::from_millis(500) };
        Self { files, fetcher: Fetcher { exempt, limits }, folder }
    }

    async fn fetch(&self, url: &str) -> Result<u64, FetchError> {
        let mut incoming = self.files.begin().await.unwrap();
        self.fetcher.fetch(url, &mut incoming).await.map(|()| incoming.size())
    }

    async fn refusal(&self, url: &str) -> String {
        match self.fetch(url).await {
            Err(FetchError::Refused(why)) => why,
            other => panic!("{url}: {other:?}"),
        }
    }
}

fn ok(_: &str) -> Vec<u8> {
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello".to_vec()
}

#[tokio::test]
async fn an_address_that_the_configuration_names_is_fetched_wherever_it_lies() {
    let server = Server::start(ok, None).await;
    assert_eq!(World::new(vec![server.exempt()]).fetch(&server.url("/a.txt")).await, Ok(5));
    assert_eq!(server.asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn t15_t16_t19_an_address_inside_is_not_even_connected_to() {
    let server = Server::start(ok, None).await;
    let other = Server::start(ok, None).await;
    let world = World::new(vec![other.exempt()]);
    let port = server.at.port();
    for url in [
        server.url("/"),
        format!("http://localhost:{port}/"),
        format!("http://[::1]:{port}/"),
        format!("http://[::ffff:127.0.0.1]:{port}/"),
        format!("http://2130706433:{port}/"),
        format!("http://0x7f.1:{port}/"),
        format!("http://127.1:{port}/"),
        format!("http://0:{port}/"),
        "http://169.254.169.254/latest/meta-data/".into(),
        "http://[64:ff9b::a00:1]/".into(),
        "http://[2002:a00:1::1]/".into(),
        "http://100.64.0.1/".into(),
    ] {
        assert_eq!(world.refusal(&url).await, "its address is not a public one", "{url}");
    }
    for url in ["file:///etc/passwd", "gopher://127.0.0.1/", "ftp://example.com/a", "data:text/plain,hi"] {
        assert_eq!(world.refusal(url).await, "only http and https addresses are fetched", "{url}");
    }
    assert_eq!(world.refusal("http://user:pass@example.com/").await, "its address holds a user or a password");
    assert_eq!(server.asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn t18_a_redirect_is_a_new_address() {
    static INSIDE: std::sync::OnceLock<SocketAddr> = std::sync::OnceLock::new();
    let inside = Server::start(ok, None).await;
    INSIDE.set(inside.at).unwrap();
    let redirecting: Speaks = |path| {
        let to = match path {
            "/metadata" => "http://169.254.169.254/".to_owned(),
            "/inside" => format!("http://{}/", INSIDE.get().unwrap()),
            "/file" => "file:///etc/passwd".to_owned(),
            "/round" => "/round".to_owned(),
            _ => "/there".to_owned(),
        };
        if path == "/there" {
            return ok(path);
        }
        format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").into_bytes()
    };
    let server = Server::start(redirecting, None).await;
    let world = World::new(vec![server.exempt()]);
    assert_eq!(world.fetch(&server.url("/moved")).await, Ok(5));
    assert_eq!(world.refusal(&server.url("/metadata")).await, "its address is not a public one");
    assert_eq!(world.refusal(&server.url("/inside")).await, "its address is not a public one");
    assert_eq!(world.refusal(&server.url("/file")).await, "only http and https addresses are fetched");
    assert_eq!(world.refusal(&server.url("/round")).await, "it was redirected too often");
    assert_eq!(inside.asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_source_without_an_end_is_cut_off_at_the_limit() {
    let endless: Speaks = |_| b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_vec();
    let server = Server::start(endless, Some((&[b'a'; 65536], Duration::ZERO))).await;
    let world = World::new(vec![server.exempt()]);
    assert_eq!(world.refusal(&server.url("/")).await, "it is larger than 1000000 bytes");
    let left = std::fs::read_dir(world.folder.path().join("tmp")).unwrap().count();
    assert_eq!(left, 0, "nothing of it stays");
}

#[tokio::test]
async fn a_source_that_drips_or_stops_is_left() {
    let begins: Speaks = |_| b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n".to_vec();
    let dripping = Server::start(begins, Some((b"a", Duration::from_millis(100)))).await;
    let world = World::new(vec![dripping.exempt()]);
    assert_eq!(world.refusal(&dripping.url("/")).await, "it did not come whole within 2 s");
    let silent = Server::start(begins, Some((b"", Duration::from_secs(60)))).await;
    let world = World::new(vec![silent.exempt()]);
    assert_eq!(world.fetch(&silent.url("/")).await, Err(FetchError::Trouble("its server stopped sending".into())));
    let broken: Speaks = |_| b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf".to_vec();
    let broken = Server::start(broken, None).await;
    let world = World::new(vec![broken.exempt()]);
    assert_eq!(world.fetch(&broken.url("/")).await, Err(FetchError::Trouble("its server broke off".into())));
}

#[tokio::test]
async fn what_a_server_answers_decides_whether_it_is_asked_again() {
    let by_path: Speaks = |path| {
        let status = path.trim_start_matches('/');
        if status == "packed" {
            return b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx".to_vec();
        }
        format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").into_bytes()
    };
    let server = Server::start(by_path, None).await;
    let world = World::new(vec![server.exempt()]);
    for (status, again) in
        [(404, false), (401, false), (206, false), (304, false), (429, true), (500, true), (503, true)]
    {
        let failed = world.fetch(&server.url(&format!("/{status}"))).await.unwrap_err();
        assert_eq!(matches!(failed, FetchError::Trouble(_)), again, "{status}: {failed}");
        assert!(!failed.to_string().contains("127.0.0.1"), "{failed}");
    }
    assert_eq!(world.refusal(&server.url("/packed")).await, "its server sent it packed");
}

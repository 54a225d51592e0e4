//! A way to a Redis that can be cut at a chosen moment, and led to another one.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::missing_panics_doc)] // a test may stop at the first surprise

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, Ordering},
    },
    thread,
};

/// What is lost with the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lose {
    /// The call: the server never hears it.
    Call,
    /// The answer: the server has carried the call out.
    Answer,
}

struct Cut {
    mark: Vec<u8>,
    passing: u32,
    lose: Lose,
}

/// Forwards to a server on 127.0.0.1.
pub struct Proxy {
    port: u16,
    target: Arc<AtomicU16>,
    cut: Arc<Mutex<Option<Cut>>>,
}

impl Proxy {
    /// Listens on a free port.
    pub fn to(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let own = listener.local_addr().unwrap().port();
        let cut = Arc::new(Mutex::new(None));
        let armed = Arc::clone(&cut);
        let target = Arc::new(AtomicU16::new(port));
        let leads_to = Arc::clone(&target);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let to = ("127.0.0.1", leads_to.load(Ordering::SeqCst));
                let Ok(server) = TcpStream::connect(to) else { continue };
                forward(&client, &server, &armed);
            }
        });
        Self { port: own, target, cut }
    }

    /// Its address for clients of a Redis.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// Whoever connects from now on comes to another server.
    pub fn lead_to(&self, port: u16) {
        self.target.store(port, Ordering::SeqCst);
    }

    /// Cuts the connection at the call that holds these bytes, the first after `passing` others that do.
    pub fn cut_at(&self, mark: impl AsRef<[u8]>, passing: u32, lose: Lose) {
        *self.cut.lock().unwrap() = Some(Cut { mark: mark.as_ref().to_vec(), passing, lose });
    }

    /// Takes a cut that has not come back.
    pub fn spare(&self) {
        *self.cut.lock().unwrap() = None;
    }

    /// Whether the cut that was asked for has come.
    pub fn has_cut(&self) -> bool {
        self.cut.lock().unwrap().is_none()
    }
}

fn forward(client: &TcpStream, server: &TcpStream, armed: &Arc<Mutex<Option<Cut>>>) {
    let lost = Arc::new(Mutex::new(false));
    let close = |a: &TcpStream, b: &TcpStream| {
        let _ = (a.shutdown(Shutdown::Both), b.shutdown(Shutdown::Both));
    };
    let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    let (armed, answer_lost) = (Arc::clone(armed), Arc::clone(&lost));
    thread::spawn(move || {
        let mut buffer = vec![0; 1 << 20];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            match meets(&armed, &buffer[..read]) {
                Some(Lose::Call) => break,
                Some(Lose::Answer) => *answer_lost.lock().unwrap() = true,
                None => {}
            }
            if to.write_all(&buffer[..read]).is_err() {
                break;
            }
        }
        close(&from, &to);
    });
    let (mut from, mut to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    thread::spawn(move || {
        let mut buffer = vec![0; 1 << 20];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            // What comes back first after the call is its answer: a caller waits for one before the next.
            if *lost.lock().unwrap() || to.write_all(&buffer[..read]).is_err() {
                break;
            }
        }
        close(&from, &to);
    });
}

fn meets(armed: &Mutex<Option<Cut>>, bytes: &[u8]) -> Option<Lose> {
    let mut armed = armed.lock().unwrap();
    let cut = armed.as_mut()?;
    if !bytes.windows(cut.mark.len()).any(|window| window == cut.mark) {
        return None;
    }
    if cut.passing > 0 {
        cut.passing -= 1;
        return None;
    }
    let lose = cut.lose;
    *armed = None;
    Some(lose)
}

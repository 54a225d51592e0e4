//! Fetching what lies elsewhere.
//!
//! The address comes from somebody whom nobody vouches for. So each hop goes the same way: the host's name is looked up, every address
//! that it has must be [public](crate::is_public), and the connection is made to one of the addresses that were looked at and to no
//! other, however often the name would be looked up again. Redirects are followed by hand, each as a new address. No proxy is used, no
//! cookie or password is sent, nothing is unpacked. What the configuration names by host and port may lie anywhere, as long as
//! no redirect came before that others chose.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use reqwest::{Client, Response, StatusCode, header, redirect};
use url::{Host, Url};

use crate::{Exempt, FilesError, Incoming, guard::is_public};

/// So many redirects are followed.
const MAX_HOPS: usize = 5;

/// How long fetching may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchLimits {
    /// From the first look-up to the last byte.
    pub whole: Duration,
    /// Until a connection is made, and between two bytes.
    pub idle: Duration,
}

impl Default for FetchLimits {
    fn default() -> Self {
        Self { whole: Duration::from_secs(120), idle: Duration::from_secs(15) }
    }
}

/// Why something could not be fetched, in sentences without its address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// It never will be.
    #[error("{0}")]
    Refused(String),
    /// It may be another time.
    #[error("{0}")]
    Trouble(String),
    /// Our own disk does not take it at the moment.
    #[error("{0}")]
    NoRoom(String),
}

impl From<FilesError> for FetchError {
    fn from(error: FilesError) -> Self {
        match error {
            FilesError::TooLarge(most) => Self::Refused(format!("it is larger than {most} bytes")),
            error => Self::NoRoom(error.to_string()),
        }
    }
}

/// Fetches.
#[derive(Debug, Clone, Default)]
pub struct Fetcher {
    /// What may lie anywhere.
    pub exempt: Vec<Exempt>,
    /// How long it may take.
    pub limits: FetchLimits,
}

impl Fetcher {
    /// Fetches the bytes at an address.
    ///
    /// # Errors
    /// See [`FetchError`].
    pub async fn fetch(&self, address: &str, incoming: &mut Incoming) -> Result<(), FetchError> {
        let whole = self.limits.whole;
        let fetching = tokio::time::timeout(whole, self.fetch_in_time(address, incoming));
        fetching.await.unwrap_or_else(|_| {
            Err(FetchError::Refused(format!("it did not come whole within {} s", whole.as_secs_f32())))
        })
    }

    async fn fetch_in_time(&self, address: &str, incoming: &mut Incoming) -> Result<(), FetchError> {
        let mut url = Url::parse(address).map_err(|_| refused("its address is none"))?;
        let mut chosen_by_others = false;
        for _ in 0..=MAX_HOPS {
            let exempt = !chosen_by_others && Exempt::of(&url).is_some_and(|place| self.exempt.contains(&place));
            let response = self.ask(&url, exempt).await?;
            let Some(next) = redirected(&url, &response)? else { return self.read(response, incoming).await };
            chosen_by_others = !exempt || Exempt::of(&next) != Exempt::of(&url);
            url = next;
        }
        Err(refused("it was redirected too often"))
    }

    async fn ask(&self, url: &Url, exempt: bool) -> Result<Response, FetchError> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(refused("only http and https addresses are fetched"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refused("its address holds a user or a password"));
        }
        let addresses = self.checked_addresses(url, exempt).await?;
        let mut client = Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .connect_timeout(self.limits.idle)
            .read_timeout(self.limits.idle)
            .pool_max_idle_per_host(0)
            .user_agent(concat!("frontdesk/", env!("CARGO_PKG_VERSION")));
        if let Some(Host::Domain(name)) = url.host() {
            client = client.resolve_to_addrs(name, &addresses);
        }
        let client = client.build().map_err(|error| FetchError::Trouble(format!("no client for it: {error}")))?;
        let asked = client.get(url.clone()).header(header::ACCEPT_ENCODING, "identity").send().await;
        asked.map_err(|error| {
            let what = match (error.is_connect(), error.is_timeout()) {
                (_, true) => "its server did not answer in time",
                (true, false) => "its server cannot be reached",
                _ => "its server broke off",
            };
            FetchError::Trouble(what.into())
        })
    }

    /// What the host's name stands for, looked at once: these are connected to and no others.
    async fn checked_addresses(&self, url: &Url, exempt: bool) -> Result<Vec<SocketAddr>, FetchError> {
        let port = url.port_or_known_default().unwrap_or(443);
        let addresses: Vec<IpAddr> = match url.host() {
            None => return Err(refused("its address names no host")),
            Some(Host::Ipv4(address)) => vec![address.into()],
            Some(Host::Ipv6(address)) => vec![address.into()],
            Some(Host::Domain(name)) => {
                let looked_up = tokio::time::timeout(self.limits.idle, tokio::net::lookup_host((name, port))).await;
                match looked_up {
                    Ok(Ok(found)) => found.map(|found| found.ip()).collect(),
                    Ok(Err(_)) | Err(_) => {
                        return Err(FetchError::Trouble("its server's name cannot be looked up".into()));
                    }
                }
            }
        };
        if addresses.is_empty() {
            return Err(FetchError::Trouble("its server's name stands for no address".into()));
        }
        // One that is not public is enough: a name with both is somebody's try.
        if !exempt && !addresses.iter().copied().all(is_public) {
            return Err(refused("its address is not a public one"));
        }
        Ok(addresses.into_iter().map(|address| SocketAddr::new(address, port)).collect())
    }

    async fn read(&self, mut response: Response, incoming: &mut Incoming) -> Result<(), FetchError> {
        let status = response.status();
        match status.as_u16() {
            200 => {}
            408 | 425 | 429 | 500..=599 => return Err(FetchError::Trouble(format!("its server answered {status}"))),
            _ => return Err(FetchError::Refused(format!("its server answered {status}"))),
        }
        let packed = response.headers().get(header::CONTENT_ENCODING);
        if packed.is_some_and(|packed| !packed.as_bytes().eq_ignore_ascii_case(b"identity")) {
            return Err(refused("its server sent it packed"));
        }
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) => incoming.write(&chunk).await?,
                Ok(None) => return Ok(()),
                Err(error) if error.is_timeout() => {
                    return Err(FetchError::Trouble("its server stopped sending".into()));
                }
                Err(_) => return Err(FetchError::Trouble("its server broke off".into())),
            }
        }
    }
}

/// Where an answer sends us, if it does.
fn redirected(from: &Url, response: &Response) -> Result<Option<Url>, FetchError> {
    use StatusCode as S;
    if !matches!(
        response.status(),
        S::MOVED_PERMANENTLY | S::FOUND | S::SEE_OTHER | S::TEMPORARY_REDIRECT | S::PERMANENT_REDIRECT
    ) {
        return Ok(None);
    }
    let to = response.headers().get(header::LOCATION).and_then(|to| to.to_str().ok());
    let to = to.and_then(|to| from.join(to).ok()).ok_or_else(|| refused("it was redirected to no address"))?;
    if from.scheme() == "https" && to.scheme() == "http" {
        return Err(refused("it was redirected from https to http"));
    }
    Ok(Some(to))
}

fn refused(why: &str) -> FetchError {
    FetchError::Refused(why.into())
}

//! Asks RADIUS servers over UDP: repeats what is not answered, and goes to the next server where one is silent (RFC 2865 section 2.4, RFC 5080 section 2.2.1).
//! Every wait and every number is bounded.
//!
//! Each request has a socket of its own. Identifiers cannot run out so, and whoever would like to answer in a server's place has to guess the port.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use ike::config::Retransmission;
use ike::provider::Random as _;
use ike_crypto::SystemRandom;
use ike_crypto::radius::{Answer, LONGEST_PACKET, RadiusError, Request};
use ipsec_types::Secret;
use tokio::net::UdpSocket;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

/// How long one request may take, whatever servers it goes to: a peer's IKE SA does not wait longer than 30 s for everything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// Requests at once; those beyond wait, within their patience.
const AT_ONCE: usize = 256;

/// Servers that know the same users, in the order in which they are asked.
pub(crate) struct Client {
    servers: Vec<Server>,
    free: Semaphore,
    patience: Duration,
}

/// One server.
pub(crate) struct Server {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    /// From where it is asked.
    pub(crate) source: Option<IpAddr>,
    pub(crate) secret: Secret,
    /// How this gateway calls itself there, if not by its identity in IKE.
    pub(crate) nas_identifier: Option<String>,
    /// `tries` counts every transmission, as strongSwan does here.
    pub(crate) retransmission: Retransmission,
    /// How long it comes after the others when it has been silent.
    pub(crate) dead_time: Duration,
    pub(crate) standing: Standing,
}

/// What is known of a server.
#[derive(Debug, Default)]
pub(crate) struct Standing(Mutex<Seen>);

#[derive(Debug, Default, Clone, Copy)]
struct Seen {
    heard: Option<Instant>,
    dead_until: Option<Instant>,
}

/// Why a server is taken for silent.
#[derive(Debug, thiserror::Error)]
enum Silence {
    #[error("cannot ask it: {0}")]
    Socket(io::Error),
    #[error("no answer in {} s", waited.as_secs())]
    Nothing { waited: Duration },
    #[error("nobody receives there: {0}")]
    Unreachable(io::Error),
    #[error("no answer in {} s, but a packet that was discarded: {error}", waited.as_secs())]
    Discarded { waited: Duration, error: RadiusError },
}

impl Client {
    pub(crate) fn new(servers: Vec<Server>) -> Self {
        Self::with_patience(servers, PATIENCE)
    }

    fn with_patience(servers: Vec<Server>, patience: Duration) -> Self {
        Self { servers, free: Semaphore::new(AT_ONCE), patience }
    }

    /// Asks the server with this index, or without one each until one answers.
    ///
    /// # Errors
    /// Which were silent, and how.
    pub(crate) async fn ask(&self, request: &Request, server: Option<usize>) -> Result<(usize, Answer), String> {
        let end = Instant::now() + self.patience;
        let Ok(Ok(_permit)) = timeout_at(end, self.free.acquire()).await else {
            return Err(format!("{AT_ONCE} requests wait for them already"));
        };
        let order = server.map_or_else(|| self.order(), |only| vec![only]);
        let mut silences = Vec::new();
        for (asked, &index) in order.iter().enumerate() {
            let Some(server) = self.servers.get(index) else { continue };
            // Each has its part of the time that is left, so that the last one is asked as well.
            let left = u32::try_from(order.len() - asked).unwrap_or(u32::MAX);
            let until = Instant::now() + end.saturating_duration_since(Instant::now()) / left;
            match server.ask(request, until, left == 1).await {
                Ok(answer) => return Ok((index, answer)),
                Err(silence) => silences.push(format!("{server}: {silence}")),
            }
        }
        Err(silences.join("; "))
    }

    /// Those that have been silent lately come last: they may be back, and nobody else may be there.
    fn order(&self) -> Vec<usize> {
        let now = Instant::now();
        let mut order: Vec<usize> = (0..self.servers.len()).collect();
        order.sort_by_key(|&index| self.servers.get(index).and_then(|server| server.standing.dead_until(now)));
        order
    }
}

impl Server {
    /// One request, over and over until it is answered or `until`; `last`: nobody else will be asked.
    async fn ask(&self, request: &Request, until: Instant, last: bool) -> Result<Answer, Silence> {
        let begun = Instant::now();
        let answer = self.exchange(request, begun, until, last).await;
        match &answer {
            Ok(_) => {
                if self.standing.hear() {
                    tracing::info!("RADIUS server {self} answers again");
                }
            }
            Err(silence) => {
                if self.standing.miss(begun, self.dead_time) {
                    tracing::warn!("RADIUS server {self}: {silence}; others are asked before it for {} s", self.dead_time.as_secs());
                }
            }
        }
        answer
    }

    async fn exchange(&self, request: &Request, begun: Instant, until: Instant, last: bool) -> Result<Answer, Silence> {
        let socket = self.socket().await.map_err(Silence::Socket)?;
        let (mut identifier, mut authenticator) = ([0], [0; 16]);
        SystemRandom.fill(&mut identifier);
        SystemRandom.fill(&mut authenticator);
        // The same each time: a server that has answered already does so again (RFC 5080 section 2.2.2).
        let named = self.nas_identifier.as_ref().map(|nas| request.by(nas));
        let sealed = named.as_ref().unwrap_or(request).seal(identifier[0], authenticator, &self.secret);
        let mut buffer = vec![0; LONGEST_PACKET];
        let (mut unreachable, mut discarded) = (None, None);
        // Nobody receives there now. Who is the last may be about to start again.
        let gone = |unreachable: &Option<io::Error>| unreachable.is_some() && !last;
        let mut wait = self.retransmission.timeout;
        for _ in 0..self.retransmission.tries {
            if let Err(error) = socket.send(sealed.octets()).await {
                unreachable = Some(error);
            }
            let pause = until.min(Instant::now() + wait);
            // A flood of what is discarded does not make it longer.
            while !gone(&unreachable)
                && Instant::now() < pause
                && let Ok(received) = timeout_at(pause, socket.recv(&mut buffer)).await
            {
                match received.map(|length| sealed.open(buffer.get(..length).unwrap_or_default(), &self.secret)) {
                    Ok(Ok(answer)) => return Ok(answer),
                    // The true one may still come.
                    Ok(Err(error)) => discarded = Some(error),
                    Err(error) => unreachable = Some(error),
                }
            }
            if pause == until || gone(&unreachable) {
                break;
            }
            wait = wait * self.retransmission.base_percent / 100;
        }
        let waited = begun.elapsed();
        Err(match (discarded, unreachable) {
            (Some(error), _) => Silence::Discarded { waited, error },
            (None, Some(error)) => Silence::Unreachable(error),
            (None, None) => Silence::Nothing { waited },
        })
    }

    /// A socket that hears nobody but the server.
    async fn socket(&self) -> io::Result<UdpSocket> {
        let any = if self.address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind((self.source.unwrap_or(any), 0)).await?;
        socket.connect(self.address).await?;
        Ok(socket)
    }
}

impl Standing {
    fn seen<T>(&self, with: impl FnOnce(&mut Seen) -> T) -> T {
        with(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn dead_until(&self, now: Instant) -> Option<Instant> {
        self.seen(|seen| seen.dead_until.filter(|until| *until > now))
    }

    /// It has answered. Whether it was dead.
    fn hear(&self) -> bool {
        self.seen(|seen| {
            seen.heard = Some(Instant::now());
            seen.dead_until.take().is_some()
        })
    }

    /// It has not answered since `begun`. Dead it is only if it has answered nobody else meanwhile either: it may dislike one peer's packets. Whether it
    /// has just died.
    fn miss(&self, begun: Instant, dead_time: Duration) -> bool {
        self.seen(|seen| {
            if seen.heard.is_some_and(|heard| heard > begun) {
                return false;
            }
            let now = Instant::now();
            seen.dead_until.replace(now + dead_time).is_none_or(|until| until <= now)
        })
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.name, self.address)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.servers.iter().map(ToString::to_string)).finish()
    }
}

#[cfg(test)]
mod tests;

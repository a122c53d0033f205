//! Numbered datagrams in both directions between two hosts: what is sent, what arrives, and how often.
//!
//! Each host runs one of these. Once it has heard from the other it sends at an even rate until its standard input ends, and counts
//! what comes from the other for a while longer. Whoever compares what one sent with what the other received knows what the network in
//! between lost or doubled.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt;
use serde::Serialize;

use crate::error::{Context, Failure};

/// Exchanges numbered datagrams with another host until standard input ends; prints what was sent, lost and doubled as JSON.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// From where.
    #[arg(long)]
    local: SocketAddr,
    /// To where.
    #[arg(long)]
    remote: SocketAddr,
    /// Datagrams per second.
    #[arg(long, default_value_t = 20_000)]
    rate: u64,
    /// Octets of each, without UDP and IP headers.
    #[arg(long, default_value_t = 64)]
    size: usize,
    /// Milliseconds to go on receiving after the last datagram was sent.
    #[arg(long, default_value_t = 2000)]
    linger: u64,
}

/// In front of each number, so that nothing else is counted.
const MAGIC: [u8; 8] = *b"culvflow";
/// More are not sent in one go: a sender that was late would otherwise fill every queue on the way at once.
const BURST: u64 = 256;
/// For some seconds of datagrams, should the receiver have to wait for its core.
const SOCKET_BUFFER: usize = 64 << 20;
/// Numbers beyond are refused, which bounds the memory: a day at 20,000 a second.
const MAX_NUMBER: u64 = 1 << 31;
/// How many gaps are reported.
const GAPS: usize = 20;

/// What one host saw.
#[derive(Debug, Default, Serialize)]
struct Report {
    sent: u64,
    /// Per second, over the whole run.
    rate: u64,
    /// Different numbers that came.
    received: u64,
    duplicated: u64,
    /// Came after a higher number.
    reordered: u64,
    /// Numbers up to the highest that never came, first and last of each gap; the first gaps only.
    gaps: Vec<(u64, u64)>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let size_is_right = (MAGIC.len() + 8..=1400).contains(&arguments.size);
    size_is_right.then_some(()).context("--size is from 16 to 1400")?;
    (arguments.rate > 0).then_some(()).context("--rate is at least 1")?;
    let socket = UdpSocket::bind(arguments.local).context("binding")?;
    socket.connect(arguments.remote).context("connecting")?;
    socket.set_read_timeout(Some(Duration::from_millis(100))).context("setting the time-out")?;
    // More than the system's limit takes privilege; without it the limit has to do.
    let forced = sockopt::set_socket_recv_buffer_size_force(&socket, SOCKET_BUFFER);
    forced.or_else(|_| sockopt::set_socket_recv_buffer_size(&socket, SOCKET_BUFFER)).context("setting the receive buffer")?;

    let (heard, stop_sending, stop_receiving) = (AtomicBool::new(false), AtomicBool::new(false), AtomicBool::new(false));
    let report = thread::scope(|scope| {
        let receiver = scope.spawn(|| receive(&socket, &heard, &stop_receiving));
        let sender = scope.spawn(|| {
            let outcome = greet(&socket, &heard, &stop_sending).and_then(|()| send(&socket, arguments, &stop_sending));
            thread::sleep(Duration::from_millis(arguments.linger));
            stop_receiving.store(true, Ordering::Relaxed);
            outcome
        });
        // Whatever is read is of no interest; its end is.
        let ended = io::copy(&mut io::stdin().lock(), &mut io::sink());
        stop_sending.store(true, Ordering::Relaxed);
        let (sent, elapsed) = sender.join().ok().context("the sender panicked")??;
        let seen = receiver.join().ok().context("the receiver panicked")??;
        ended.context("reading standard input")?;
        let rate = sent * 1000 / u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
        Ok::<_, Failure>(Report { sent, rate, ..seen.report() })
    })?;
    println!("{}", serde_json::to_string(&report).context("writing the report")?);
    Ok(())
}

/// Until the other host is there: what is sent before it listens would count as lost.
fn greet(socket: &UdpSocket, heard: &AtomicBool, stop: &AtomicBool) -> Result<(), Failure> {
    while !heard.load(Ordering::Relaxed) && !stop.load(Ordering::Relaxed) {
        socket.send(&MAGIC).map(drop).or_else(|error| if is_passing(&error) { Ok(()) } else { Err(error) }).context("sending")?;
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Sends at the rate, evenly, until `stop`: how many, and in what time.
fn send(socket: &UdpSocket, arguments: &Arguments, stop: &AtomicBool) -> Result<(u64, Duration), Failure> {
    let mut datagram = vec![0; arguments.size];
    if let Some(magic) = datagram.get_mut(..MAGIC.len()) {
        magic.copy_from_slice(&MAGIC);
    }
    let start = Instant::now();
    let (mut sent, mut due, mut last) = (0, 0.0, start);
    while !stop.load(Ordering::Relaxed) {
        let now = Instant::now();
        due = step(due, now - last, arguments.rate);
        last = now;
        while due >= 1.0 {
            if let Some(number) = datagram.get_mut(MAGIC.len()..MAGIC.len() + 8) {
                number.copy_from_slice(&u64::to_be_bytes(sent));
            }
            match socket.send(&datagram) {
                Ok(_) => (sent, due) = (sent + 1, due - 1.0),
                Err(error) if is_passing(&error) => break,
                Err(error) => return Err(Failure(format!("sending: {error}"))),
            }
        }
        thread::sleep(Duration::from_micros(500));
    }
    Ok((sent, start.elapsed()))
}

/// What is due after some more time: never more than a burst, so that a late sender loses time and not datagrams.
#[expect(clippy::cast_precision_loss, reason = "a rate and a burst are small numbers")]
fn step(due: f64, elapsed: Duration, rate: u64) -> f64 {
    (due + elapsed.as_secs_f64() * rate as f64).min(BURST as f64)
}

/// Not sent and not lost: the same number goes out later. An ICMP error of a datagram before counts as passing too.
fn is_passing(error: &io::Error) -> bool {
    error.kind() == ErrorKind::WouldBlock || error.kind() == ErrorKind::ConnectionRefused || error.raw_os_error() == Some(ENOBUFS)
}

const ENOBUFS: i32 = rustix::io::Errno::NOBUFS.raw_os_error();

fn receive(socket: &UdpSocket, heard: &AtomicBool, stop: &AtomicBool) -> Result<Seen, Failure> {
    let mut seen = Seen::default();
    let mut datagram = [0; 2048];
    while !stop.load(Ordering::Relaxed) {
        match socket.recv(&mut datagram) {
            Ok(len) => {
                heard.store(true, Ordering::Relaxed);
                seen.datagram(datagram.get(..len).unwrap_or_default());
            }
            Err(error) if is_passing(&error) || matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::Interrupted) => {}
            Err(error) => return Err(Failure(format!("receiving: {error}"))),
        }
    }
    Ok(seen)
}

/// Which numbers have come: a bit each.
#[derive(Debug, Default)]
struct Seen {
    bits: Vec<u64>,
    highest: Option<u64>,
    received: u64,
    duplicated: u64,
    reordered: u64,
}

impl Seen {
    fn datagram(&mut self, datagram: &[u8]) {
        let Some((number, _)) = datagram.strip_prefix(&MAGIC).and_then(<[u8]>::split_first_chunk) else { return };
        let number = u64::from_be_bytes(*number);
        if number < MAX_NUMBER {
            self.number(number);
        }
    }

    fn number(&mut self, number: u64) {
        let Ok(word) = usize::try_from(number / 64) else { return };
        if word >= self.bits.len() {
            self.bits.resize(word + 1, 0);
        }
        let Some(bits) = self.bits.get_mut(word) else { return };
        let bit = 1 << (number % 64);
        if *bits & bit != 0 {
            self.duplicated += 1;
            return;
        }
        *bits |= bit;
        self.received += 1;
        if self.highest.is_some_and(|highest| number < highest) {
            self.reordered += 1;
        }
        self.highest = self.highest.max(Some(number));
    }

    fn report(&self) -> Report {
        Report {
            received: self.received,
            duplicated: self.duplicated,
            reordered: self.reordered,
            gaps: self.gaps().take(GAPS).collect(),
            ..Report::default()
        }
    }

    /// First and last of each run of numbers that never came, below the highest that did.
    fn gaps(&self) -> impl Iterator<Item = (u64, u64)> {
        let end = self.highest.unwrap_or(0);
        let came = |number: u64| {
            let word = usize::try_from(number / 64).ok().and_then(|word| self.bits.get(word)).copied().unwrap_or(0);
            word & (1 << (number % 64)) != 0
        };
        let mut next = 0;
        std::iter::from_fn(move || {
            let first = (next..end).find(|number| !came(*number))?;
            let after = (first..=end).find(|number| came(*number)).unwrap_or(end);
            next = after;
            Some((first, after.saturating_sub(1)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_lost_doubled_and_late_is_counted() {
        let mut seen = Seen::default();
        for number in [0, 1, 1, 70, 69, 64, 200, 0] {
            let mut datagram = MAGIC.to_vec();
            datagram.extend(u64::to_be_bytes(number));
            seen.datagram(&datagram);
        }
        seen.datagram(b"culvflow");
        seen.datagram(b"somebody else's");
        let report = seen.report();
        assert_eq!((report.received, report.duplicated, report.reordered), (6, 2, 2));
        assert_eq!(report.gaps, [(2, 63), (65, 68), (71, 199)]);
        assert_eq!(Seen::default().report().gaps, []);
    }

    #[test]
    fn a_late_sender_does_not_catch_up_in_one_go() {
        assert!((step(0.0, Duration::from_millis(1), 20_000) - 20.0).abs() < 1e-9);
        assert!((step(3.0, Duration::from_secs(9), 20_000) - 256.0).abs() < 1e-9);
    }
}

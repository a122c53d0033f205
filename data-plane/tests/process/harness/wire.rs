//! The cables, seen from outside the gateway.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Instant;

use super::process::in_namespace;
use super::scapy::{hex, unhex};
use super::{PATIENCE, python};

/// One of the two cables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// To the hosts behind the gateway.
    Lan,
    /// To the peers.
    Wan,
}

impl Side {
    const fn name(self) -> &'static str {
        match self {
            Self::Lan => "lan",
            Self::Wan => "wan",
        }
    }
}

/// Raw sockets on both cables, in a Python process.
#[derive(Debug)]
pub(crate) struct Wire {
    child: Child,
    requests: ChildStdin,
    frames: Receiver<(Side, Vec<u8>)>,
    /// Arrived and not yet asked for.
    seen: VecDeque<(Side, Vec<u8>)>,
}

impl Wire {
    /// Listens in the namespace.
    pub(crate) fn new(namespace: &str) -> Self {
        let mut child = in_namespace(namespace)
            .args(["/usr/bin/python3", &python("wire.py"), "lan", "wan"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let requests = child.stdin.take().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert_eq!(lines.next().and_then(Result::ok).as_deref(), Some("ready"));
        let (sender, frames) = channel();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let (side, frame) = line.split_once(' ').unwrap();
                let side = if side == "lan" { Side::Lan } else { Side::Wan };
                if sender.send((side, unhex(frame))).is_err() {
                    return;
                }
            }
        });
        Self { child, requests, frames, seen: VecDeque::new() }
    }

    /// Puts a host on a cable that answers ARP.
    pub(crate) fn add_host(&mut self, side: Side, address: Ipv4Addr, mac: &str) {
        writeln!(self.requests, "host {} {address} {mac}", side.name()).unwrap();
    }

    /// Sends an Ethernet frame to the gateway.
    pub(crate) fn send(&mut self, side: Side, frame: &[u8]) {
        writeln!(self.requests, "send {} {}", side.name(), hex(frame)).unwrap();
    }

    /// The first frame from the gateway for which `pick` answers, with its answer. Others stay.
    pub(crate) fn expect<T>(&mut self, side: Side, what: &str, mut pick: impl FnMut(&[u8]) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut looked_at = 0;
        loop {
            for (place, (from, frame)) in self.seen.iter().enumerate().skip(looked_at) {
                if let Some(answer) = (*from == side).then(|| pick(frame)).flatten() {
                    self.seen.remove(place);
                    return answer;
                }
            }
            looked_at = self.seen.len();
            match self.frames.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(frame) => self.seen.push_back(frame),
                Err(RecvTimeoutError::Timeout) => panic!("no {what} on {side:?}; there was {:?}", self.describe()),
                Err(RecvTimeoutError::Disconnected) => panic!("wire.py has ended"),
            }
        }
    }

    /// The next IPv4 packet from the gateway, without its Ethernet header.
    pub(crate) fn expect_packet(&mut self, side: Side, what: &str) -> Vec<u8> {
        self.expect(side, what, |frame| frame.ipv4().map(<[u8]>::to_vec))
    }

    /// Fails where an IPv4 packet has come that nobody expected. What is still on its way is not seen: wait first for the counter that says what
    /// became of it.
    pub(crate) fn expect_silence(&mut self) {
        self.seen.extend(self.frames.try_iter());
        let packets: Vec<_> = self.seen.iter().filter(|(_, frame)| frame.ipv4().is_some()).collect();
        assert!(packets.is_empty(), "unexpected packets: {:?}", self.describe());
    }

    fn describe(&self) -> Vec<(Side, String)> {
        self.seen.iter().map(|(side, frame)| (*side, hex(frame))).collect()
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What an Ethernet frame carries.
pub(crate) trait Frame {
    /// The IPv4 packet in it.
    fn ipv4(&self) -> Option<&[u8]>;
}

impl Frame for [u8] {
    fn ipv4(&self) -> Option<&[u8]> {
        (self.get(12..14)? == [0x08, 0x00]).then(|| self.get(14..)).flatten()
    }
}

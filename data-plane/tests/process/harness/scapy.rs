//! scapy: packets that were not made by the code under test, and a judge that shares nothing with it.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use super::python;

/// scapy in a process of its own.
#[derive(Debug)]
pub(crate) struct Scapy {
    child: Child,
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Scapy {
    pub(crate) fn new() -> Self {
        let mut child = Command::new("/usr/bin/python3")
            .arg(python("scapy_peer.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("/usr/bin/python3 is missing: run scripts/setup");
        let (requests, answers) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, requests, answers }
    }

    /// The octets of a packet, such as `IP(dst='192.0.2.1')/ICMP()`.
    pub(crate) fn build(&mut self, packet: &str) -> Vec<u8> {
        let answer = self.ask(&json!({"op": "build", "packet": packet}));
        unhex(answer["octets"].as_str().unwrap_or_else(|| panic!("{packet}: {answer}")))
    }

    /// What scapy reads in an Ethernet frame `p`, such as `p[ARP].psrc`. Panics where there is no such layer.
    pub(crate) fn read(&mut self, frame: &[u8], value: &str) -> Value {
        let mut answer = self.ask(&json!({"op": "read", "octets": hex(frame), "value": value}));
        assert!(answer.get("error").is_none(), "{value}: {answer} of {}", hex(frame));
        answer["value"].take()
    }

    /// Whether scapy finds the lengths and checksums of a frame right.
    pub(crate) fn approves(&mut self, frame: &[u8]) -> bool {
        self.ask(&json!({"op": "checksums", "octets": hex(frame)}))["value"] == json!(true)
    }

    /// The outer packet of an inner one, with one thing wrong where there is a fault; both without Ethernet header.
    pub(crate) fn seal(&mut self, sa: &Value, number: u64, inner: &[u8], fault: Option<&str>) -> Vec<u8> {
        let answer = self.ask(&json!({"op": "seal", "sa": sa, "number": number, "inner": hex(inner), "fault": fault}));
        unhex(answer["wire"].as_str().unwrap_or_else(|| panic!("{answer}")))
    }

    /// What scapy finds in an outer packet: inner packet, SPI and low half of the sequence number. `high` is the high half.
    pub(crate) fn open(&mut self, sa: &Value, high: u64, wire: &[u8]) -> Result<Opened, String> {
        let answer = self.ask(&json!({"op": "open", "sa": sa, "high": high, "wire": hex(wire)}));
        match answer["inner"].as_str() {
            Some(inner) => Ok(Opened {
                inner: unhex(inner),
                spi: u32::try_from(answer["spi"].as_u64().unwrap()).unwrap(),
                sequence: answer["sequence"].as_u64().unwrap(),
            }),
            None => Err(answer.to_string()),
        }
    }

    fn ask(&mut self, request: &Value) -> Value {
        let gone = "the scapy peer has ended: is python3-scapy installed? run scripts/setup";
        writeln!(self.requests.as_mut().unwrap(), "{request}").expect(gone);
        let mut line = String::new();
        assert_ne!(self.answers.read_line(&mut line).expect(gone), 0, "{gone}");
        serde_json::from_str(&line).unwrap()
    }
}

impl Drop for Scapy {
    fn drop(&mut self) {
        // End of input ends it.
        self.requests = None;
        let _ = self.child.wait();
    }
}

/// What was in an ESP packet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Opened {
    pub(crate) inner: Vec<u8>,
    pub(crate) spi: u32,
    pub(crate) sequence: u64,
}

pub(crate) fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

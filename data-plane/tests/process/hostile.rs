//! Whatever arrives from outside, the daemon stays up, and every frame ends in one counter.

use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{ChildSa, GATEWAY_WAN, Gateway, HOST, PATIENCE, PEER, PEER_MAC, PROTECTED, Side, Suite, inner};

/// Where a frame from the unprotected side can end, beside the drops.
const ENDS: [&str; 7] = ["opened", "bypassed_inbound", "punted_ike", "punted_slow_path", "punted_fragment", "nat_keepalive", "dummy"];

#[test]
fn every_frame_has_one_verdict() {
    const ROUNDS: usize = 60;
    let mut gateway = Gateway::start();
    gateway.set_policies();
    let _punt = gateway.controller.open_punt();
    let mut sas = [false, true].map(|udp| ChildSa::installed(&mut gateway, Suite { udp, ..Suite::PLAIN }));
    let frames = samples(&mut gateway, &mut sas);
    let before = gateway.counters();
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let mut sent = 0;
    for _ in 0..ROUNDS {
        for frame in &frames {
            gateway.wire.send(Side::Wan, &random.spoil(frame));
            sent += 1;
        }
    }
    let deadline = Instant::now() + PATIENCE;
    loop {
        let now = gateway.counters();
        let rise = |name: &str| now.of(name) - before.of(name);
        let received = rise("worker_packets");
        let ended = ENDS.iter().map(|name| rise(name)).sum::<u64>() + now.names_of_drops().map(rise).sum::<u64>();
        if received >= sent && ended == received {
            break;
        }
        assert!(Instant::now() < deadline, "{ended} verdicts on {received} frames, of {sent} that were sent: {now:?}");
        thread::sleep(Duration::from_millis(5));
    }
    // It still works, and nothing forged has moved a window.
    for (mut sa, text) in sas.into_iter().zip(["one still works", "the other, too"]) {
        sa.skip_to(100);
        sa.send_sealed(&mut gateway, &inner(PROTECTED, HOST, 64, text));
        gateway.wire.expect(Side::Lan, text, |frame| frame.ends_with(text.as_bytes()).then_some(()));
    }
}

/// Frames of every kind that the gateway takes from its unprotected side.
fn samples(gateway: &mut Gateway, sas: &mut [ChildSa; 2]) -> Vec<Vec<u8>> {
    let mac = gateway.wan_mac.clone();
    let ether = format!("Ether(src='{PEER_MAC}', dst='{mac}')");
    let ike = "0102030405060708000000000000000021202208000000000000001c";
    let mut frames: Vec<Vec<u8>> = [
        format!("{ether}/ARP(op=1, hwsrc='{PEER_MAC}', psrc='{PEER}', pdst='{GATEWAY_WAN}')"),
        format!("{ether}/ARP(op=2, hwsrc='{PEER_MAC}', psrc='{PEER}', pdst='{GATEWAY_WAN}')"),
        format!("{ether}/IP(src='{PEER}', dst='{GATEWAY_WAN}')/ICMP()/b'echo'"),
        format!("{ether}/IP(src='{PEER}', dst='{GATEWAY_WAN}')/UDP(sport=500, dport=500)/bytes.fromhex('{ike}')"),
        format!("{ether}/IP(src='{PEER}', dst='{GATEWAY_WAN}')/UDP(sport=4500, dport=4500)/bytes.fromhex('00000000{ike}')"),
        format!("{ether}/{}", inner(PROTECTED, HOST, 64, "clear")),
    ]
    .iter()
    .map(|frame| gateway.scapy.build(frame))
    .collect();
    for sa in sas {
        let inner = gateway.scapy.build(&inner(PROTECTED, HOST, 64, "sealed"));
        let wire = gateway.scapy.seal(&sa.sent_by_peer(), 1, &inner, None);
        let ethernet = &frames[2][..14];
        frames.push([ethernet, &wire].concat());
    }
    frames
}

/// A small generator (xorshift64): the same frames at each run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap()
    }

    /// Cuts the frame short, grows it, or changes some octets behind the addresses of Ethernet; often with the IPv4 checksum made right again, so that
    /// the change gets further.
    fn spoil(&mut self, frame: &[u8]) -> Vec<u8> {
        let mut frame = frame.to_vec();
        match self.below(8) {
            0 => frame.truncate(14 + self.below(frame.len() - 14)),
            1 => frame.extend((0..self.below(64)).map(|n| u8::try_from(n).unwrap())),
            _ => {
                for _ in 0..=self.below(4) {
                    let place = 12 + self.below(frame.len() - 12);
                    frame[place] ^= 1 << self.below(8);
                }
            }
        }
        // Not as fragments: net_af_packet has the kernel reassemble them, which holds them back.
        if frame.len() >= 22 && frame[12..14] == [0x08, 0x00] {
            frame[20] &= 0xc0;
            frame[21] = 0;
        }
        if self.below(4) > 0 && frame.len() >= 34 && frame[12..15] == [0x08, 0x00, 0x45] {
            frame[24..26].fill(0);
            let sum: u32 = frame[14..34].chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
            let folded = (sum & 0xffff) + (sum >> 16);
            let folded = u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap();
            frame[24..26].copy_from_slice(&(!folded).to_be_bytes());
        }
        frame
    }
}

//! The same on other ground: real huge pages, and two workers that hand packets over.

use std::collections::BTreeSet;
use std::{env, fs};

use crate::esp;
use crate::harness::{ChildSa, Gateway, Guardian, HOST, Options, PEER, PROTECTED, Side, Suite, inner};

/// Huge pages that the daemon's 256 MB take, and some to spare.
const PAGES: u64 = 160;
const NR_HUGEPAGES: &str = "/proc/sys/vm/nr_hugepages";

/// Set `CULVERT_NO_HUGEPAGES=1` where the machine has none; nothing else lets this test pass without them.
#[test]
fn on_huge_pages() {
    if env::var_os("CULVERT_NO_HUGEPAGES").is_some_and(|value| value == "1") {
        eprintln!("not run: CULVERT_NO_HUGEPAGES=1 says that this machine has no huge pages");
        return;
    }
    let _pages = reserve_huge_pages();
    let mut gateway = Gateway::start_with(&Options { memory: &["--in-memory", "-m", "256"], ..Options::default() });
    let maps = fs::read_to_string(format!("/proc/{}/smaps", gateway.process.id())).unwrap();
    let huge: u64 =
        maps.lines().filter_map(|line| line.strip_prefix("Private_Hugetlb:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok()).sum();
    assert!(huge > 0, "the daemon does not use huge pages");
    gateway.set_policies();
    esp::all_suites(&mut gateway);
}

/// Huge pages of 2 MB, until the value is dropped or the test ends in any other way.
fn reserve_huge_pages() -> Guardian {
    let former: u64 = fs::read_to_string(NR_HUGEPAGES).unwrap().trim().parse().unwrap();
    let guardian = Guardian::new(&format!("echo {former} >{NR_HUGEPAGES}"));
    let advice = "free memory, or state with CULVERT_NO_HUGEPAGES=1 that this machine has none";
    let reserve = || {
        // After long builds memory is free in pieces that are too small, and full of files that nobody needs.
        for file in ["drop_caches", "compact_memory"] {
            drop(fs::write(format!("/proc/sys/vm/{file}"), "1"));
        }
        fs::write(NR_HUGEPAGES, (former + PAGES).to_string()).unwrap_or_else(|e| panic!("{NR_HUGEPAGES}: {e}; {advice}"));
        fs::read_to_string(NR_HUGEPAGES).unwrap().trim().parse::<u64>().unwrap()
    };
    let reserved = (0..5).map(|_| reserve()).find(|reserved| *reserved >= former + PAGES);
    assert!(reserved.is_some(), "the kernel does not give {} huge pages; {advice}", former + PAGES);
    guardian
}

#[test]
fn with_two_workers() {
    let mut gateway = Gateway::start_with(&Options { workers: vec![0, 1], ..Options::default() });
    gateway.set_policies();
    esp::all_suites(&mut gateway);
    flows_out(&mut gateway);
    flows_in(&mut gateway);
}

/// Flows of one SA spread over the workers, which share its numbers: each is used once.
fn flows_out(gateway: &mut Gateway) {
    const FLOWS: u64 = 100;
    let sa = ChildSa::installed(gateway, Suite::PLAIN);
    let before = gateway.counters();
    for flow in 0..FLOWS {
        let packet = format!("IP(src='{HOST}', dst='{PROTECTED}')/UDP(sport={}, dport=53)/b'flow {flow}'", 20_000 + flow);
        gateway.send_built(Side::Lan, &packet);
    }
    let (mut numbers, mut texts) = (BTreeSet::new(), BTreeSet::new());
    for _ in 0..FLOWS {
        let wire = gateway.wire.expect_packet(Side::Wan, "sealed packet");
        let opened = gateway.scapy.open(&sa.sent_by_gateway(), 0, &wire).unwrap();
        numbers.insert(opened.sequence);
        texts.insert(opened.inner[28..].to_vec());
    }
    assert_eq!(numbers, (1..=FLOWS).collect());
    assert_eq!(texts.len() as u64, FLOWS);
    gateway.expect_counters(&before, &[("sealed", FLOWS)]);
    let workers = gateway.controller.stats().workers;
    assert!(workers.len() == 2 && workers.iter().all(|worker| worker.packets > 0), "one worker has done it all: {workers:?}");
}

/// Each inbound SA belongs to one worker. Packets that arrive at the other are handed over: as if a NAT changed the peer's port with each packet, so
/// that the interface spreads them over both.
fn flows_in(gateway: &mut Gateway) {
    const PACKETS: u16 = 100;
    let suite = Suite { udp: true, ..Suite::PLAIN };
    let before = gateway.counters();
    // Two SAs in neighbouring slots have different owners.
    for sa in [ChildSa::installed(gateway, suite), ChildSa::installed(gateway, suite)] {
        let before = gateway.counters();
        for n in 0..PACKETS {
            let packet = gateway.scapy.build(&inner(PROTECTED, HOST, 64, &format!("packet {n}")));
            // Within the window in whatever order they are opened.
            let number = u64::from(n) + 1;
            let wire = gateway.scapy.seal(&sa.sent_by_peer_at(PEER, 30_000 + n), number, &packet, None);
            gateway.send_packet(Side::Wan, &wire);
        }
        let arrived: BTreeSet<Vec<u8>> = (0..PACKETS).map(|_| gateway.wire.expect_packet(Side::Lan, "opened packet")).collect();
        assert_eq!(arrived.len(), usize::from(PACKETS));
        gateway.expect_counters(&before, &[("opened", PACKETS.into())]);
    }
    let handed_off = gateway.counters().of("handed_off") - before.of("handed_off");
    assert!(handed_off > 0 && handed_off < u64::from(2 * PACKETS), "{handed_off} packets were handed over");
    gateway.wire.expect_silence();
}

//! Two ports on the two ends of a veth pair, in a network namespace of their own: what virtual devices without an interface of the
//! kernel cannot show. Needs root and iproute2.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::env;
use std::process::{Command, id};
use std::thread::sleep;
use std::time::{Duration, Instant};

use dpdk::{Burst, Eal, Pool, PoolConfig, Port, PortConfig, Queues, RxQueue};
use packet::Buffer;

const INSIDE: &str = "DPDK_TEST_NAMESPACE";

#[test]
fn af_packet() {
    if env::var_os(INSIDE).is_some() {
        return two_ends();
    }
    let namespace = Namespace::new();
    namespace.run("ip", &["link", "add", "east", "type", "veth", "peer", "name", "west"]);
    for end in ["east", "west"] {
        namespace.run("ip", &["link", "set", end, "up"]);
    }
    let test = env::current_exe().unwrap();
    namespace.run(test.to_str().unwrap(), &["--exact", "af_packet", "--nocapture"]);
}

fn two_ends() {
    let vdevs = ["net_af_packet0,iface=east,qpairs=2", "net_af_packet1,iface=west"];
    let options = ["--no-huge", "-m", "128", "--no-shconf", "--no-pci", "--no-telemetry"];
    let vdevs = vdevs.iter().flat_map(|&vdev| ["--vdev", vdev]);
    let eal = Eal::init(options.into_iter().chain(vdevs).map(str::to_owned).collect()).unwrap();
    let pool = eal.pool(&PoolConfig { name: "frames".to_owned(), size: 2047, cache: 0, data_room: 2176 }).unwrap();
    {
        let (east, mut east_queues) = start(&eal, &pool, "net_af_packet0,iface=east,qpairs=2", 2);
        let (west, mut west_queues) = start(&eal, &pool, "net_af_packet1", 1);
        assert_eq!(east.max_queues().unwrap(), (2, 2));
        assert_eq!(west.max_queues().unwrap(), (1, 1));

        for (port, interface) in [(&east, "east"), (&west, "west")] {
            assert_eq!(hardware_address(port), attribute(interface, "link/ether"));
            assert!(port.link_is_up().unwrap());
            assert_eq!(port.mtu().unwrap(), 1500);
            port.set_mtu(1400).unwrap();
            assert_eq!((port.mtu().unwrap(), attribute(interface, "mtu").as_str()), (1400, "1400"));
        }

        // Either way over the pair, on the second queue too.
        send(&mut west_queues, 0, &pool, 1);
        assert!(arrives(&mut east_queues.rx, 1));
        send(&mut east_queues, 0, &pool, 2);
        assert!(arrives(&mut west_queues.rx, 2));
        send(&mut east_queues, 1, &pool, 3);
        assert!(arrives(&mut west_queues.rx, 3));
        assert!(east.stats().unwrap().tx_packets >= 2 && west.stats().unwrap().rx_packets >= 2);
    }
    assert_eq!(pool.in_use(), 0);
}

fn start(eal: &Eal, pool: &Pool, name: &str, queues: u16) -> (Port, Queues) {
    let port = eal.port(name).unwrap();
    let queues = port.start(&PortConfig { rx_queues: queues, tx_queues: queues, ..PortConfig::default() }, pool).unwrap();
    (port, queues)
}

fn send(queues: &mut Queues, queue: usize, pool: &Pool, mark: u8) {
    let mut burst = Burst::new();
    burst.push(pool.alloc().unwrap()).unwrap();
    burst[0].append(100).unwrap().copy_from_slice(&frame(mark));
    assert_eq!(queues.tx[queue].tx(&mut burst), 1);
}

/// A broadcast frame of an EtherType nobody listens to.
fn frame(mark: u8) -> [u8; 100] {
    let mut frame = [mark; 100];
    frame[..6].fill(0xff);
    frame[12..14].copy_from_slice(&[0x88, 0xb5]);
    frame
}

/// Waits for the frame among what the kernel sends by itself.
fn arrives(queues: &mut [RxQueue], mark: u8) -> bool {
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut burst = Burst::new();
    while Instant::now() < deadline {
        for queue in queues.iter_mut() {
            queue.rx(&mut burst);
            if burst.drain().any(|mbuf| mbuf.bytes() == frame(mark)) {
                return true;
            }
        }
        sleep(Duration::from_millis(1));
    }
    false
}

fn hardware_address(port: &Port) -> String {
    port.mac_address().unwrap().map(|octet| format!("{octet:02x}")).join(":")
}

/// What the kernel says of an interface: the word behind `name`. Not from /sys, which shows the namespace it was mounted in.
fn attribute(interface: &str, name: &str) -> String {
    let output = Command::new("ip").args(["-oneline", "link", "show", "dev", interface]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().skip_while(|&word| word != name).nth(1).unwrap().to_owned()
}

/// A network namespace that goes away with this value.
struct Namespace(String);

impl Namespace {
    fn new() -> Self {
        let name = format!("dpdk-test-{}", id());
        let added = Command::new("ip").args(["netns", "add", &name]).status().unwrap();
        assert!(added.success(), "cannot make a network namespace: run this test as root");
        Self(name)
    }

    fn run(&self, program: &str, args: &[&str]) {
        let output = Command::new("nsenter")
            .args([&format!("--net=/run/netns/{}", self.0), "--", program])
            .args(args)
            .env(INSIDE, &self.0)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {args:?}:\n{text}");
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.0]).status();
    }
}

//! Every wrapper on virtual devices, without a NIC. EAL starts once in a process, so one test walks through all steps.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::spawn;

use dpdk::{BURST, Burst, Eal, Errno, Error, HEADROOM, Mbuf, Pool, PoolConfig, PortConfig, thread};
use packet::Buffer;

/// Set to run on huge pages, of which 256 MB must be reserved.
const HUGE_PAGES: &str = "DPDK_TEST_HUGE_PAGES";
const DATA_ROOM: u16 = 512;
/// A net_ring has room for one less than 1024.
const RING: usize = 1023;

#[test]
fn virtual_devices() {
    let captures = Captures::new();
    let eal = Eal::init(arguments(&captures)).unwrap();
    assert!(dpdk::version().starts_with("DPDK 2"), "{}", dpdk::version());
    assert_eq!(Eal::init(Vec::new()).unwrap_err(), Error::AlreadyStarted);

    let pool = eal.pool(&pool_config("main", 2047)).unwrap();
    bad_pools(&eal);
    ports_are_found_by_name(&eal);
    threads_register_once(&eal);
    bounds_of_an_mbuf(&pool);
    exhausted_pool(&eal);
    burst_moves_mbufs(&pool);
    registered_thread_allocates(&eal, &pool);
    null_port(&eal, &pool);
    full_ring_leaves_the_rest(&eal, &pool);
    queues_outlive_the_port_handle(&eal, &pool);
    capture_in_capture_out(&eal, &captures);
    assert_eq!(pool.in_use(), 0);
}

fn arguments(captures: &Captures) -> Vec<String> {
    let pcap = format!("net_pcap0,rx_pcap={},tx_pcap={}", captures.input.display(), captures.output.display());
    let memory: &[_] = if env::var_os(HUGE_PAGES).is_some() { &["--in-memory"] } else { &["--no-huge", "--no-shconf"] };
    let options = memory.iter().chain(&["-m", "256", "--no-pci", "--no-telemetry", "-l", "0"]);
    options
        .map(|&option| option.to_owned())
        .chain(["net_null0", "net_ring0", "net_ring1", &pcap].into_iter().flat_map(|vdev| ["--vdev".to_owned(), vdev.to_owned()]))
        .collect()
}

fn pool_config(name: &str, size: u32) -> PoolConfig {
    PoolConfig { name: name.to_owned(), size, cache: 32, data_room: DATA_ROOM }
}

fn bad_pools(eal: &Eal) {
    let headroom = u16::try_from(HEADROOM).unwrap();
    let no_room = PoolConfig { data_room: headroom, ..pool_config("no-room", 63) };
    assert_eq!(eal.pool(&no_room).unwrap_err(), Error::DataRoom(headroom));
    // One octet of data is enough.
    eal.pool(&PoolConfig { data_room: headroom + 1, ..pool_config("one-octet", 63) }).unwrap();

    let taken = eal.pool(&pool_config("main", 63)).unwrap_err();
    assert!(matches!(taken, Error::Pool { errno: Errno(17), .. }), "{taken}");
    let huge = eal.pool(&pool_config("huge", 10_000_000)).unwrap_err();
    assert!(matches!(huge, Error::Pool { errno: Errno(12), .. }) && huge.to_string().contains("hugepages"), "{huge}");
    assert_eq!(eal.pool(&pool_config("a\0b", 63)).unwrap_err(), Error::Nul("a\0b".to_owned()));
}

fn ports_are_found_by_name(eal: &Eal) {
    let names = ["net_null0", "net_ring0", "net_ring1", "net_pcap0"].map(str::to_owned).to_vec();
    for name in &names {
        let port = eal.port(&format!("{name},iface=ignored")).unwrap();
        assert_eq!(port.name(), name);
        assert_eq!(eal.port(name).unwrap_err(), Error::PortInUse(name.clone()));
    }
    let missing = eal.port("net_ring7").unwrap_err();
    assert_eq!(missing, Error::NoPort { name: "net_ring7".to_owned(), known: names });
}

fn threads_register_once(eal: &Eal) {
    assert_eq!(thread::register(eal).unwrap_err(), Error::ThreadRegistered, "the thread that started EAL is its main lcore");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // More often than EAL can hold threads: a guard that did not unregister would run out.
            for _ in 0..300 {
                let registration = thread::register(eal).unwrap();
                assert_eq!(thread::register(eal).unwrap_err(), Error::ThreadRegistered);
                drop(registration);
            }
        });
    });
}

fn bounds_of_an_mbuf(pool: &Pool) {
    let mut mbuf = pool.alloc().unwrap();
    let room = usize::from(DATA_ROOM) - HEADROOM;
    assert_eq!((mbuf.len(), mbuf.headroom(), mbuf.tailroom()), (0, HEADROOM, room));
    assert!(mbuf.is_contiguous() && mbuf.is_empty());

    assert!(mbuf.append(room + 1).is_none());
    assert!(mbuf.append(usize::MAX).is_none() && mbuf.append(65_536).is_none());
    mbuf.append(room).unwrap().fill(0xaa);
    assert_eq!((mbuf.len(), mbuf.tailroom()), (room, 0));
    assert!(mbuf.append(1).is_none());
    assert_eq!(mbuf.append(0), Some([].as_mut_slice()));

    assert!(mbuf.prepend(HEADROOM + 1).is_none());
    assert!(mbuf.prepend(usize::MAX).is_none() && mbuf.prepend(65_536).is_none());
    mbuf.prepend(HEADROOM).unwrap().fill(0xbb);
    assert_eq!((mbuf.headroom(), mbuf.len()), (0, usize::from(DATA_ROOM)));
    assert!(mbuf.prepend(1).is_none());
    assert!(mbuf.bytes()[..HEADROOM].iter().all(|&octet| octet == 0xbb));
    assert!(mbuf.bytes()[HEADROOM..].iter().all(|&octet| octet == 0xaa));
    mbuf.bytes_mut()[usize::from(DATA_ROOM) - 1] = 0xcc;

    assert!(mbuf.trim_front(usize::from(DATA_ROOM) + 1).is_none() && mbuf.trim_back(usize::from(DATA_ROOM) + 1).is_none());
    assert!(mbuf.trim_front(65_536).is_none() && mbuf.trim_back(65_536).is_none());
    mbuf.trim_front(usize::from(DATA_ROOM) - 1).unwrap();
    assert_eq!(mbuf.bytes(), [0xcc]);
    mbuf.trim_back(1).unwrap();
    assert!(mbuf.is_empty() && mbuf.trim_back(1).is_none() && mbuf.trim_front(1).is_none());
    assert_eq!((mbuf.headroom(), mbuf.tailroom()), (usize::from(DATA_ROOM) - 1, 1));

    // One octet behind which there is one more, and before which there is all the rest.
    mbuf.append(1).unwrap().fill(0xdd);
    mbuf.prepend(1).unwrap().fill(0xcc);
    mbuf.append(1).ok_or(()).unwrap_err();
    let before = usize::from(DATA_ROOM) - 2;
    assert!(mbuf.enclose(before + 1, 1, 0).is_none() && mbuf.enclose(0, 3, 0).is_none() && mbuf.enclose(0, 1, 2).is_none());
    assert!(mbuf.enclose(usize::MAX, 1, 1).is_none() && mbuf.enclose(1, 1, usize::MAX).is_none() && mbuf.enclose(1, 1, 65_536).is_none());
    assert_eq!((mbuf.bytes(), mbuf.headroom()), (&[0xcc, 0xdd][..], before), "a refusal changes nothing");
    assert_eq!(mbuf.enclose(before, 1, 1).map(|all| all.len()), Some(usize::from(DATA_ROOM)));
    assert_eq!((mbuf.bytes()[before], mbuf.headroom(), mbuf.tailroom()), (0xcc, 0, 0));
    assert!(mbuf.keep(before, 3).is_none() && mbuf.keep(usize::from(DATA_ROOM) + 1, 0).is_none() && mbuf.keep(usize::MAX, 1).is_none());
    mbuf.keep(before, 1).unwrap();
    assert_eq!((mbuf.bytes(), mbuf.headroom(), mbuf.tailroom()), (&[0xcc][..], before, 1));

    drop(mbuf);
    assert_eq!(pool.in_use(), 0);
}

fn exhausted_pool(eal: &Eal) {
    let pool = eal.pool(&PoolConfig { cache: 0, ..pool_config("small", 63) }).unwrap();
    let mut held: Vec<Mbuf> = (0..63).map(|_| pool.alloc().unwrap()).collect();
    assert_eq!(pool.in_use(), 63);
    assert!(pool.alloc().is_none());
    held.pop();
    assert!(pool.alloc().is_some());
    drop(held);
    assert_eq!(pool.in_use(), 0);
}

fn burst_moves_mbufs(pool: &Pool) {
    let mut burst = Burst::new();
    fill(&mut burst, pool, BURST);
    assert_eq!((burst.len(), pool.in_use()), (BURST, BURST));
    assert!(burst.push(pool.alloc().unwrap()).is_err(), "the one that does not fit comes back and is freed here");
    assert_eq!(pool.in_use(), BURST);

    label(&mut burst);
    let mut other = Burst::new();
    for mbuf in burst.drain().skip(1).step_by(2) {
        other.push(mbuf).unwrap();
    }
    assert_eq!(burst.len(), 0);
    assert_eq!(labels(&other), (0..BURST).skip(1).step_by(2).collect::<Vec<_>>());
    assert_eq!(pool.in_use(), BURST / 2);
    other.clear();
    assert_eq!((other.len(), pool.in_use()), (0, 0));
    fill(&mut other, pool, 3);
    drop(other);
    assert_eq!(pool.in_use(), 0);
}

fn registered_thread_allocates(eal: &Eal, pool: &Pool) {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _registration = thread::register(eal).unwrap();
            let mut burst = Burst::new();
            for _ in 0..1000 {
                fill(&mut burst, pool, BURST);
                burst.push(pool.alloc().unwrap()).unwrap_err();
                burst.clear();
            }
        });
    });
    // What its cache held is not in use, but stays there for the next thread that registers: at most one and a half caches.
    assert_eq!(pool.in_use(), 0);
    let held: Vec<_> = (0..2047).map_while(|_| pool.alloc()).collect();
    assert!(held.len() >= 2047 - 48, "{}", held.len());
}

fn null_port(eal: &Eal, pool: &Pool) {
    let port = eal.port("net_null0").unwrap();
    let (max_rx, max_tx) = port.max_queues().unwrap();
    assert!(max_rx >= 2 && max_tx >= 2);
    let too_many = PortConfig { rx_queues: max_rx + 1, ..PortConfig::default() };
    assert!(matches!(port.start(&too_many, pool), Err(Error::Queues { rx, .. }) if rx == max_rx + 1));
    let mut queues = port.start(&PortConfig { rx_queues: 2, tx_queues: 2, ..PortConfig::default() }, pool).unwrap();
    assert_eq!(port.start(&PortConfig::default(), pool).unwrap_err(), Error::PortStarted("net_null0".to_owned()));
    assert_eq!((queues.rx.len(), queues.tx.len()), (2, 2));
    assert!(port.link_is_up().unwrap());
    assert_eq!(port.mtu().unwrap(), 1500);
    port.set_mtu(1400).unwrap();
    assert_eq!(port.mtu().unwrap(), 1400);

    let mut burst = Burst::new();
    burst.push(pool.alloc().unwrap()).unwrap();
    assert_eq!(queues.rx[1].rx(&mut burst), BURST - 1, "fills the room that is left");
    assert_eq!(queues.rx[1].rx(&mut burst), 0);
    assert_eq!(burst[1].len(), 64);
    assert_eq!((queues.tx[0].tx(&mut burst), burst.len()), (BURST, 0));
    assert_eq!(queues.tx[0].tx(&mut burst), 0);
    let stats = port.stats().unwrap();
    assert_eq!((stats.rx_packets, stats.tx_packets), (BURST as u64 - 1, BURST as u64));

    // Queues are `Send`: this one moves to a thread of its own, which polls it to the end.
    let (mut rx, mut tx) = (queues.rx.remove(0), queues.tx.remove(0));
    let worker = spawn(move || {
        let mut burst = Burst::new();
        (0..100).map(|_| rx.rx(&mut burst) + tx.tx(&mut burst)).sum::<usize>()
    });
    assert_eq!(worker.join().unwrap(), 100 * 2 * BURST);
    assert_eq!(pool.in_use(), 0);
}

fn full_ring_leaves_the_rest(eal: &Eal, pool: &Pool) {
    let port = eal.port("net_ring0").unwrap();
    let mut queues = port.start(&PortConfig::default(), pool).unwrap();
    assert_eq!(port.set_mtu(1400), Err(Error::Call { call: "rte_eth_dev_set_mtu", errno: Errno(95) }));
    port.receive_all_multicast().unwrap();
    let (rx, tx) = (&mut queues.rx[0], &mut queues.tx[0]);
    let mut burst = Burst::new();
    let mut sent = 0;
    while sent < RING - RING % BURST {
        fill(&mut burst, pool, BURST);
        sent += tx.tx(&mut burst);
        assert!(burst.is_empty());
    }
    fill(&mut burst, pool, BURST);
    label(&mut burst);
    assert_eq!(tx.tx(&mut burst), RING % BURST);
    assert_eq!(labels(&burst), [BURST - 1], "the one that found no room stays with the caller");
    assert_eq!((tx.tx(&mut burst), burst.len()), (0, 1));
    assert_eq!(pool.in_use(), RING + 1);
    burst.clear();
    assert_eq!(pool.in_use(), RING);

    let mut last = Vec::new();
    while rx.rx(&mut burst) > 0 {
        last = burst.iter().map(Buffer::len).collect();
        burst.clear();
    }
    assert_eq!(last, (0..BURST - 1).collect::<Vec<_>>(), "in order, as they were sent");
    assert_eq!(pool.in_use(), 0);
}

fn queues_outlive_the_port_handle(eal: &Eal, pool: &Pool) {
    let port = eal.port("net_ring1").unwrap();
    let mut queues = port.start(&PortConfig::default(), pool).unwrap();
    drop(port);
    assert_eq!(eal.port("net_ring1").unwrap_err(), Error::PortInUse("net_ring1".to_owned()));
    let mut burst = Burst::new();
    fill(&mut burst, pool, 5);
    assert_eq!(queues.tx[0].tx(&mut burst), 5);
    assert_eq!(queues.rx[0].rx(&mut burst), 5);
    drop(queues.rx);
    assert_eq!(eal.port("net_ring1").unwrap_err(), Error::PortInUse("net_ring1".to_owned()));
    drop(queues.tx);
    assert!(matches!(eal.port("net_ring1"), Err(Error::NoPort { .. })), "closed with its last queue");
}

fn capture_in_capture_out(eal: &Eal, captures: &Captures) {
    let pool = eal.pool(&pool_config("capture", 255)).unwrap();
    let port = eal.port("net_pcap0").unwrap();
    assert_eq!(port.mac_address().unwrap(), *b"\x02pcap\x00");
    let mut queues = port.start(&PortConfig::default(), &pool).unwrap();
    let mut burst = Burst::new();
    assert_eq!(queues.rx[0].rx(&mut burst), captures.frames.len());
    for (mbuf, frame) in burst.iter_mut().zip(&captures.frames) {
        let first = usize::from(DATA_ROOM) - HEADROOM;
        assert_eq!(mbuf.is_contiguous(), frame.len() <= first);
        assert_eq!(mbuf.bytes(), &frame[..frame.len().min(first)]);
    }
    segments_are_copied_into_one(eal, &pool, &burst[2], &captures.frames[2]);
    burst[0].trim_back(20).unwrap();
    burst[0].append(5).unwrap().fill(9);
    segments_grow_at_the_front_only(&mut burst[2]);
    assert_eq!(queues.tx[0].tx(&mut burst), captures.frames.len());
    assert_eq!(pool.in_use(), 0);
    drop((queues, port));

    // The driver writes as many octets as the packet's length over all segments says, which each change above kept in step.
    let mut expected = captures.frames.clone();
    expected[0].splice(40.., [9; 5]);
    expected[2].splice(..0, [7; 14]);
    assert_eq!(read_pcap(&captures.output), expected);
}

fn segments_are_copied_into_one(eal: &Eal, small: &Pool, segments: &Mbuf, frame: &[u8]) {
    let large = eal.pool(&PoolConfig { data_room: 2 * DATA_ROOM, cache: 0, ..pool_config("large", 1) }).unwrap();
    let copy = large.copy(segments).unwrap();
    assert!(copy.is_contiguous() && !segments.is_contiguous());
    assert_eq!((copy.bytes(), copy.headroom()), (frame, HEADROOM));
    assert!(large.copy(segments).is_none(), "the pool is exhausted");
    let in_use = small.in_use();
    let copy = small.copy(segments).unwrap();
    assert!(!copy.is_contiguous());
    drop(copy);
    assert_eq!(small.in_use(), in_use, "both segments are free again");
}

fn segments_grow_at_the_front_only(mbuf: &mut Mbuf) {
    let before = mbuf.len();
    assert!(!mbuf.is_contiguous());
    assert_eq!(mbuf.tailroom(), 0);
    assert!(mbuf.append(1).is_none() && mbuf.trim_back(1).is_none());
    mbuf.prepend(16).unwrap().fill(7);
    mbuf.trim_front(2).unwrap();
    assert_eq!(mbuf.len(), before + 14);
    assert!(mbuf.trim_front(mbuf.len() + 1).is_none());
}

/// Adds `count` empty mbufs.
fn fill(burst: &mut Burst, pool: &Pool, count: usize) {
    for _ in 0..count {
        burst.push(pool.alloc().unwrap()).unwrap();
    }
}

/// Gives packet `i` the length `i`.
fn label(burst: &mut Burst) {
    for (i, mbuf) in burst.iter_mut().enumerate() {
        mbuf.append(i).unwrap().fill(0);
    }
}

fn labels(burst: &Burst) -> Vec<usize> {
    burst.iter().map(Buffer::len).collect()
}

/// Capture files of a folder that goes away with this value.
struct Captures {
    folder: PathBuf,
    input: PathBuf,
    output: PathBuf,
    frames: Vec<Vec<u8>>,
}

impl Captures {
    fn new() -> Self {
        let folder = env::temp_dir().join(format!("dpdk-vdev-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        // Exactly one data room, and one octet more, which takes two segments.
        let sizes = [60, usize::from(DATA_ROOM) - HEADROOM, usize::from(DATA_ROOM) - HEADROOM + 1];
        let frames: Vec<Vec<u8>> = sizes.iter().map(|&size| (0..size).map(|i| u8::try_from(i * 7 % 251).unwrap()).collect()).collect();
        let (input, output) = (folder.join("in.pcap"), folder.join("out.pcap"));
        fs::write(&input, pcap(&frames)).unwrap();
        Self { folder, input, output, frames }
    }
}

impl Drop for Captures {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A capture file of Ethernet frames: the format's 24-octet header, then 16 octets and the frame for each.
fn pcap(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 1] {
        file.extend(word.to_le_bytes());
    }
    for frame in frames {
        let len = u32::try_from(frame.len()).unwrap();
        for word in [0, 0, len, len] {
            file.extend(word.to_le_bytes());
        }
        file.extend(frame);
    }
    file
}

fn read_pcap(path: &Path) -> Vec<Vec<u8>> {
    let file = fs::read(path).unwrap();
    let mut frames = Vec::new();
    let mut rest = &file[24..];
    while !rest.is_empty() {
        let len = u32::from_le_bytes(rest[8..12].try_into().unwrap()) as usize;
        frames.push(rest[16..16 + len].to_vec());
        rest = &rest[16 + len..];
    }
    frames
}

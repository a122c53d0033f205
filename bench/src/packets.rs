//! Packets as they lie in mbufs, and the room in which they are sealed and opened.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// Packets that are given to the cipher at once.
pub(crate) const BURST: usize = 32;
/// Packets between two looks at the clock.
pub(crate) const WINDOW: usize = 4 * BURST;
/// Octets of an ICV, which stands behind the data.
pub(crate) const ICV_LEN: usize = 16;
/// Where the data begin in an mbuf of DPDK: behind its header of 128 octets, the headroom of 128, and an Ethernet header.
const DATA_OFFSET: usize = 128 + 128 + 14;
const CACHE_LINE: usize = 64;

/// Octets of data of the packets of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Size {
    /// All alike.
    Fixed(usize),
    /// 7 : 4 : 1 of 64, 594 and 1500 octets.
    Imix,
}

impl Size {
    const IMIX: [usize; 12] = [64, 64, 64, 64, 64, 64, 64, 594, 594, 594, 594, 1500];

    fn longest(self) -> usize {
        match self {
            Self::Fixed(octets) => octets,
            Self::Imix => 1500,
        }
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            _ if text.eq_ignore_ascii_case("imix") => Ok(Self::Imix),
            Ok(octets @ 1..=9000) => Ok(Self::Fixed(octets)),
            _ => Err("a size is a number from 1 to 9000, or imix".to_owned()),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(octets) => octets.fmt(f),
            Self::Imix => f.pad("IMIX"),
        }
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One packet, apart from its octets.
#[derive(Debug, Clone)]
pub(crate) struct Packet {
    /// Which key it is sealed with.
    pub(crate) key: usize,
    pub(crate) nonce: [u8; 12],
    pub(crate) spi: u32,
    pub(crate) sequence: u32,
    len: usize,
}

impl Packet {
    /// SPI and sequence number (RFC 4106 section 5).
    pub(crate) fn aad(&self) -> [u8; 8] {
        (u64::from(self.spi) << 32 | u64::from(self.sequence)).to_be_bytes()
    }
}

/// What a packet looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// Before it is sealed.
    Plain,
    /// Before it is opened.
    Sealed,
}

/// The packets of a row in the order in which they go: one for each key, and whole windows.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) size: Size,
    pub(crate) keys: usize,
    packets: Vec<Packet>,
    /// Data and room for the ICV, packet after packet.
    plain: Vec<u8>,
    /// The same when it is sealed, as soon as somebody did.
    pub(crate) sealed: Vec<u8>,
}

impl Load {
    /// Packets under `keys` keys, in an order that no prefetcher guesses.
    pub(crate) fn new(size: Size, keys: usize) -> Self {
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let count = keys.next_multiple_of(WINDOW);
        let mut lengths: Vec<usize> = match size {
            Size::Fixed(octets) => vec![octets; count],
            Size::Imix => Size::IMIX.into_iter().cycle().take(count).collect(),
        };
        let mut order: Vec<usize> = (0..count).map(|index| index % keys).collect();
        random.shuffle(&mut lengths);
        random.shuffle(&mut order);
        let packets: Vec<_> =
            (1..).zip(lengths.into_iter().zip(order)).map(|(sequence, (len, key))| random.packet(key, sequence, len)).collect();
        let octets = packets.iter().map(|packet| packet.len + ICV_LEN).sum();
        let plain: Vec<u8> = (0..octets).map(|_| random.octet()).collect();
        Self { size, keys, packets, plain, sealed: Vec::new() }
    }

    /// Windows of [`WINDOW`] packets each, with their octets.
    pub(crate) fn windows(&self, side: Side) -> impl Iterator<Item = (&[Packet], &[u8])> {
        let mut octets = match side {
            Side::Plain => &self.plain[..],
            Side::Sealed => &self.sealed[..],
        };
        self.packets.chunks(WINDOW).map(move |packets| {
            let (window, rest) = octets.split_at(packets.iter().map(|packet| packet.len + ICV_LEN).sum());
            octets = rest;
            (packets, window)
        })
    }
}

/// Memory for the packets of one window, each in the middle of a buffer.
#[derive(Debug)]
pub(crate) struct Room {
    memory: Vec<u8>,
    first: usize,
    stride: usize,
    packets: Vec<Packet>,
}

impl Room {
    /// Buffers that begin on a cache line, and have the size of mbufs.
    pub(crate) fn new(size: Size) -> Self {
        let stride = (DATA_OFFSET + size.longest() + ICV_LEN).max(128 + 128 + 2048).next_multiple_of(CACHE_LINE);
        let memory = vec![0_u8; stride * WINDOW + CACHE_LINE];
        Self { first: memory.as_ptr().align_offset(CACHE_LINE), memory, stride, packets: Vec::with_capacity(WINDOW) }
    }

    /// Puts packets into the buffers.
    pub(crate) fn fill(&mut self, packets: &[Packet], mut octets: &[u8]) {
        self.packets.clear();
        self.packets.extend_from_slice(packets);
        for (_, place) in self.each() {
            let (packet, rest) = octets.split_at(place.len());
            place.copy_from_slice(packet);
            octets = rest;
        }
    }

    /// Every packet with its data and, behind them, its ICV.
    pub(crate) fn each(&mut self) -> impl Iterator<Item = (&Packet, &mut [u8])> {
        let buffers = self.memory.get_mut(self.first..).unwrap_or_default().chunks_exact_mut(self.stride);
        let places = buffers.zip(&self.packets).map(|(buffer, packet)| (packet, buffer.split_at_mut(DATA_OFFSET).1));
        places.map(|(packet, place)| (packet, place.split_at_mut(packet.len + ICV_LEN).0))
    }

    /// Data and ICV of every packet.
    pub(crate) fn octets(&self) -> impl Iterator<Item = &[u8]> {
        let buffers = self.memory.get(self.first..).unwrap_or_default().chunks_exact(self.stride);
        buffers.zip(&self.packets).map(|(buffer, packet)| buffer.split_at(DATA_OFFSET).1.split_at(packet.len + ICV_LEN).0)
    }
}

/// Data and ICV of a packet.
pub(crate) fn split_icv(packet: &mut [u8]) -> (&mut [u8], &mut [u8; ICV_LEN]) {
    packet.split_last_chunk_mut().expect("a packet has its ICV")
}

/// Marsaglia's xorshift: the same packets in every run.
#[derive(Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn octet(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }

    fn packet(&mut self, key: usize, sequence: u32, len: usize) -> Packet {
        let nonce = std::array::from_fn(|_| self.octet());
        Packet { key, nonce, spi: u32::from_be_bytes(std::array::from_fn(|_| self.octet())), sequence, len }
    }

    /// Fisher and Yates.
    fn shuffle<T>(&mut self, values: &mut [T]) {
        for last in (1..values.len()).rev() {
            let other = usize::try_from(self.next() >> 32).unwrap_or(0) % (last + 1);
            values.swap(last, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_has_a_packet_for_each_key_and_whole_windows() {
        let load = Load::new(Size::Imix, 1000);
        assert_eq!(load.windows(Side::Plain).count(), 8);
        let mut seen = [0; 1000];
        load.packets.iter().for_each(|packet| seen[packet.key] += 1);
        assert!(seen.iter().all(|times| (1..=2).contains(times)));
        let short = load.packets.iter().filter(|packet| packet.len == 64).count();
        assert!((590..=600).contains(&short), "7 of 12 are short: {short}");
    }

    #[test]
    fn packets_lie_in_the_room_as_in_mbufs() {
        for size in [Size::Fixed(1), Size::Fixed(8192), Size::Imix] {
            let load = Load::new(size, 1);
            let mut room = Room::new(size);
            let (packets, octets) = load.windows(Side::Plain).next().unwrap();
            room.fill(packets, octets);
            assert_eq!(room.octets().flatten().copied().collect::<Vec<_>>(), octets);
            assert_eq!(room.each().count(), WINDOW);
            assert!(
                room.each().all(|(packet, place)| place.len() == packet.len + ICV_LEN && place.as_ptr().addr() % 64 == DATA_OFFSET % 64)
            );
        }
    }

    #[test]
    fn sizes_as_they_are_written() {
        assert_eq!("IMIX".parse(), Ok(Size::Imix));
        assert_eq!("64".parse(), Ok(Size::Fixed(64)));
        for wrong in ["0", "9001", "x", ""] {
            assert!(wrong.parse::<Size>().is_err(), "{wrong}");
        }
    }
}

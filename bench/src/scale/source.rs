//! Packets of many tunnels in random order, made where they are needed: a capture of them all would fill the caches by itself.

use std::net::Ipv4Addr;

use arrayvec::ArrayVec;
use dpdk::{Burst, Mbuf, Pool};
use esp_crypto::{Aad, AeadKey, SealJob};
use packet::Buffer;
use packet::ethernet::{self, ETHERTYPE_IPV4, EthernetHeader, MacAddress};
use packet::ipv4::{self, Ipv4Header, PROTOCOL_ESP, PROTOCOL_UDP};
use packet::udp;

use super::gateway::{self, KEYMAT, LOCAL_HOST};
use crate::error::{Context, Failure};
use crate::gateway::GATEWAY;
use crate::report::Direction;
use crate::traffic::Mix;

/// Bits from a state of a few octets (Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled", 2016).
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }

    /// Below `end`.
    pub(crate) fn below(&mut self, end: u32) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        u32::try_from((high * u64::from(end)) >> 32).unwrap_or(0)
    }
}

/// One direction and size.
pub(crate) struct Source {
    pool: Pool,
    direction: Direction,
    mix: Mix,
    tunnels: u32,
    random: Random,
    ethernet: [u8; ethernet::HEADER_LEN],
    /// One for all tunnels: what the gateway makes of it, it keeps for each by itself.
    key: AeadKey,
    /// The next number, for all tunnels.
    pub(crate) sequence: u32,
    made: usize,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source").field("direction", &self.direction).field("tunnels", &self.tunnels).finish_non_exhaustive()
    }
}

const ESP_HEADER: usize = 8;
const IV: usize = 8;
const ICV: usize = 16;

impl Source {
    pub(crate) fn new(pool: &Pool, direction: Direction, mix: Mix, tunnels: u32) -> Result<Self, Failure> {
        let header =
            EthernetHeader { destination: gateway::mac(direction), source: MacAddress([2, 0, 0, 0, 0, 0xee]), ethertype: ETHERTYPE_IPV4 };
        let key = AeadKey::aes_gcm(KEYMAT.first_chunk::<16>().context("key")?).context("key")?;
        let (pool, random) = (pool.clone(), Random::new());
        Ok(Self { pool, direction, mix, tunnels, random, ethernet: header.to_octets(), key, sequence: 1, made: 0 })
    }

    /// Fills a burst with frames.
    pub(crate) fn fill(&mut self, burst: &mut Burst) -> Result<(), Failure> {
        for _ in 0..dpdk::BURST {
            let tunnel = self.random.below(self.tunnels);
            let len = self.mix.size(self.made);
            self.made += 1;
            let mut mbuf = self.pool.alloc().context("the pool is empty")?;
            match self.direction {
                Direction::Outbound => self.plain(tunnel, len, &mut mbuf),
                Direction::Inbound => self.outer(tunnel, len, &mut mbuf),
            }
            .context("a frame does not fit")?;
            burst.push(mbuf).map_err(|_| Failure("the burst is full".to_owned()))?;
        }
        if self.direction == Direction::Inbound { self.seal(burst).context("a frame has no room for its ICV") } else { Ok(()) }
    }

    /// What a host behind the gateway sends.
    fn plain(&self, tunnel: u32, len: usize, mbuf: &mut Mbuf) -> Option<()> {
        let (header, packet) = mbuf.append(len)?.split_first_chunk_mut::<{ ethernet::HEADER_LEN }>()?;
        *header = self.ethernet;
        inner(packet, LOCAL_HOST, gateway::remote_host(tunnel))
    }

    /// What the peer of the tunnel sends, not yet sealed. Numbers rise over all tunnels, so they do in each.
    fn outer(&mut self, tunnel: u32, len: usize, mbuf: &mut Mbuf) -> Option<()> {
        let inner_len = len - ethernet::HEADER_LEN;
        let text = (inner_len + 2).next_multiple_of(4);
        let esp = ESP_HEADER + IV + text + ICV;
        let (header, packet) =
            mbuf.append(ethernet::HEADER_LEN + ipv4::HEADER_LEN + esp)?.split_first_chunk_mut::<{ ethernet::HEADER_LEN }>()?;
        *header = self.ethernet;
        let outer = Ipv4Header {
            traffic_class: 0,
            identification: 0,
            dont_fragment: true,
            ttl: 64,
            protocol: PROTOCOL_ESP,
            source: gateway::peer(tunnel),
            destination: GATEWAY,
        };
        let (ip, packet) = packet.split_first_chunk_mut::<{ ipv4::HEADER_LEN }>()?;
        *ip = outer.to_octets(esp)?;
        let (head, packet) = packet.split_first_chunk_mut::<{ ESP_HEADER + IV }>()?;
        let spi_and_number = u64::from(gateway::spi(tunnel)) << 32 | u64::from(self.sequence);
        head[..ESP_HEADER].copy_from_slice(&spi_and_number.to_be_bytes());
        head[ESP_HEADER..].copy_from_slice(&u64::from(self.sequence).to_be_bytes());
        self.sequence += 1;
        let (packet, _icv) = packet.split_at_mut_checked(text)?;
        let (packet, trailer) = packet.split_at_mut_checked(inner_len)?;
        inner(packet, gateway::remote_host(tunnel), LOCAL_HOST)?;
        let padding = trailer.len() - 2;
        for (place, octet) in (1..).zip(&mut *trailer) {
            *octet = place;
        }
        trailer.last_chunk_mut::<2>()?.copy_from_slice(&[u8::try_from(padding).ok()?, 4]);
        Some(())
    }

    fn seal(&self, burst: &mut Burst) -> Option<()> {
        let mut jobs: ArrayVec<SealJob<'_>, { dpdk::BURST }> = ArrayVec::new();
        for mbuf in burst.iter_mut() {
            let esp = mbuf.bytes_mut().get_mut(ethernet::HEADER_LEN + ipv4::HEADER_LEN..)?;
            let (head, rest) = esp.split_first_chunk_mut::<ESP_HEADER>()?;
            let (spi, number) = (u32::from_be_bytes(*head.first_chunk()?), u32::from_be_bytes(*head.last_chunk()?));
            let mut nonce = [0; esp_crypto::NONCE_LEN];
            nonce[..4].copy_from_slice(KEYMAT.last_chunk::<4>()?);
            nonce[4..].copy_from_slice(rest.first_chunk::<IV>()?);
            // The IV of GCM is not among the data.
            let text = rest.get_mut(IV..)?;
            let (data, icv) = text.split_at_mut_checked(text.len() - ICV)?;
            jobs.push(SealJob::new(&self.key, nonce, Aad::new(spi, number), data, icv).ok()?);
        }
        esp_crypto::seal_burst(&mut jobs);
        Some(())
    }
}

/// A UDP packet in these octets, of which the payload stays as it is.
fn inner(packet: &mut [u8], source: Ipv4Addr, destination: Ipv4Addr) -> Option<()> {
    let header =
        Ipv4Header { traffic_class: 0, identification: 0, dont_fragment: true, ttl: 64, protocol: PROTOCOL_UDP, source, destination };
    let payload = packet.len().checked_sub(ipv4::HEADER_LEN)?;
    let (ip, rest) = packet.split_first_chunk_mut::<{ ipv4::HEADER_LEN }>()?;
    *ip = header.to_octets(payload)?;
    let datagram = udp::header_without_checksum(4096, 9, payload.checked_sub(udp::HEADER_LEN)?)?;
    rest.first_chunk_mut::<{ udp::HEADER_LEN }>()?.copy_from_slice(&datagram);
    Some(())
}

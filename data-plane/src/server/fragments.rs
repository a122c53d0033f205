//! Fragments to own addresses: put together, they are punted like any other packet. ESP goes back to the workers, who open it as any other, replay window
//! and all.

use esp::open::IpsecPacket;
use packet::ethernet;

use crate::command::{Command, Frame, Origin, PortId, PuntClass, WorkerId};
use crate::punt::{self, Punted};
use crate::reassembly::{Dropped, Fragment};
use crate::server::core::Core;
use crate::server::counters::Counters;

impl Core {
    /// Takes at most `limit` fragments from each worker, and answers how many there were.
    pub(super) fn take_fragments(&mut self, limit: usize) -> usize {
        let Self { workers, reassembler, counters, now_ms, .. } = self;
        counters.reassembly_timeout += reassembler.expire(*now_ms);
        let mut whole = Vec::new();
        let count = workers.punted(PuntClass::Fragment, limit, |frame| {
            let Some(fragment) = Fragment::read(frame.origin(), frame.bytes()) else {
                counters.fragments_malformed += 1;
                return;
            };
            match reassembler.accept(&fragment, *now_ms) {
                Ok(None) => {}
                Ok(Some(packet)) => whole.push((frame.origin(), packet)),
                Err(dropped) => *counter(counters, dropped) += 1,
            }
        });
        counters.reassembly_evicted += reassembler.take_evicted();
        counters.reassembled += whole.len() as u64;
        self.punt_whole(whole);
        count
    }

    /// As a worker would have sorted them, had they come in one piece.
    fn punt_whole(&mut self, packets: Vec<(Origin, Vec<u8>)>) {
        let mut datagrams = Vec::new();
        for (origin, packet) in packets {
            match (origin, punt::sort(origin, &packet)) {
                (Origin::Port(_), Punted::Ike(datagram)) => datagrams.push(datagram),
                (Origin::Port(port), Punted::Ipsec) => self.give_back(port, packet),
                (Origin::Port(_), Punted::MalformedIke) => self.counters.ike_malformed += 1,
                (_, Punted::Other) => self.on_reassembled(origin, &packet),
                // Neither IKE nor ESP nor AH is taken out of an SA.
                (
                    Origin::Tunnel(_) | Origin::Refused { .. } | Origin::RefusedInside { .. },
                    Punted::Ike(_) | Punted::Ipsec | Punted::MalformedIke,
                ) => {
                    self.counters.slow_path_ignored += 1;
                }
            }
        }
        if !datagrams.is_empty() {
            self.deliver(datagrams);
        }
    }

    /// To the worker that opens the packets of its SA; who it does not belong to is for any worker to find out.
    fn give_back(&mut self, port: PortId, frame: Vec<u8>) {
        let spi = frame.get(ethernet::HEADER_LEN..).and_then(|packet| IpsecPacket::parse(packet).ok()).map(|esp| esp.spi);
        let worker = spi.and_then(|spi| self.sad.by_spi(spi)).map_or(WorkerId(0), |entry| entry.sa.owner);
        let given = self.workers.try_send(worker, Command::Receive { port, frame: Frame::outgoing(frame) });
        self.counters.reassembly_esp += u64::from(given);
        self.counters.reassembly_esp_overflow += u64::from(!given);
    }
}

fn counter(counters: &mut Counters, dropped: Dropped) -> &mut u64 {
    match dropped {
        Dropped::Malformed => &mut counters.fragments_malformed,
        Dropped::Overlap => &mut counters.reassembly_overlap,
        Dropped::TooLong => &mut counters.reassembly_too_long,
        Dropped::GivenUp => &mut counters.fragments_given_up,
        Dropped::Duplicate => &mut counters.fragments_duplicate,
        Dropped::Full => &mut counters.fragments_overflow,
    }
}

//! Fragments to own addresses: put together, they are punted like any other packet.

use crate::command::{Origin, PuntClass};
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
                (Origin::Port(_), Punted::Esp) => self.counters.reassembly_esp += 1,
                (Origin::Port(_), Punted::MalformedIke) => self.counters.ike_malformed += 1,
                (_, Punted::Other) => self.on_reassembled(origin, &packet),
                // Neither IKE nor ESP is taken out of an SA.
                (Origin::Tunnel(_) | Origin::Refused { .. }, Punted::Ike(_) | Punted::Esp | Punted::MalformedIke) => {
                    self.counters.slow_path_ignored += 1;
                }
            }
        }
        if !datagrams.is_empty() {
            self.deliver(datagrams);
        }
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

//! Traffic flow confidentiality: padding that hides how long inner packets are, and dummy packets that hide how many there are (RFC 4303 sections 2.6
//! and 2.7). For SAs that have it; the others pay a look at their entry.

use arrayvec::ArrayVec;
use esp::seal;
use ipsec_types::TfcPadding;
use packet::Buffer;

use super::egress::{self, Leaving};
use super::outbound;
use super::{BURST, Burst, Context, Io};
use crate::table::sad::SadEntry;
use crate::table::{NextHop, PortRole};
use crate::verdict::Verdict;

/// Octets of the shortest dummy: an IPv4 packet with a TCP header, which an acknowledgment is.
const SHORTEST: usize = 40;

/// Octets that inner packets of an SA are padded to: no more than cross whole.
#[inline]
pub(super) fn pad_to(cx: Context<'_>, through: &SadEntry) -> usize {
    through.padding.map_or(0, |padding| padded(padding, longest(cx, through)))
}

fn padded(padding: TfcPadding, longest: usize) -> usize {
    match padding {
        TfcPadding::To(len) => longest.min(len.into()),
        TfcPadding::Mtu => longest,
    }
}

#[cold]
fn longest(cx: Context<'_>, through: &SadEntry) -> usize {
    egress::inner_mtu(cx, through).unwrap_or(0)
}

/// Sends a dummy for each of these random numbers: of a length that an inner packet may have, or of the one that all of them have.
pub(super) fn send<B: Buffer>(
    cx: Context<'_>,
    through: &SadEntry,
    random: &[u16],
    burst: &mut Burst<B>,
    io: &mut impl Io<B>,
) -> ArrayVec<Leaving, BURST> {
    let mut leaving = ArrayVec::new();
    for number in random.iter().take(BURST) {
        match dummy(cx, through, *number, io) {
            Ok((packet, hop)) => {
                let index = burst.packets.len();
                if burst.push(packet).is_ok() {
                    leaving.push(Leaving { index, hop, cut: None, verdict: Verdict::DummySent });
                }
            }
            Err(verdict) => {
                cx.stats().count(verdict);
                break;
            }
        }
    }
    leaving
}

/// A dummy, sealed, and where it goes.
fn dummy<B: Buffer>(cx: Context<'_>, through: &SadEntry, random: u16, io: &mut impl Io<B>) -> Result<(B, NextHop), Verdict> {
    let exit = egress::route(cx, through.tunnel().ends.destination())?;
    if exit.role != PortRole::Unprotected {
        return Err(Verdict::NoRoute);
    }
    let longest = longest(cx, through);
    let shortest = SHORTEST.min(longest);
    let len = match through.padding {
        Some(padding) => padded(padding, longest).max(shortest),
        None => shortest + usize::from(random) % (longest - shortest + 1),
    };
    let mut buffer = io.allocate(len).ok_or(Verdict::NoMemory)?;
    buffer.append(len).ok_or(Verdict::NoMemory)?.fill(0);
    let number = outbound::number(cx, &through.sa)?;
    let plan = seal::prepare_dummy(number, &through.template, &mut buffer).map_err(|_| Verdict::NoRoom)?;
    let job = plan.job(&mut buffer).ok_or(Verdict::NoRoom)?;
    esp_crypto::seal_burst(&mut [job]);
    seal::finish(&through.template, &mut buffer).ok_or(Verdict::NoRoom)?;
    outbound::count(cx, &through.sa, 1, len as u64);
    Ok((buffer, exit.hop))
}

//! What the cipher alone costs a user of intel-ipsec-mb: its direct API, one key, on the worker's core.

use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Context, Failure};
use crate::kernels::best_isa;
use crate::measure::median;
use crate::packets::{Load, Room, Side, Size, WINDOW};
use crate::peers::{IpsecMb, Peer};
use crate::report::Direction;
use crate::traffic::Mix;
use crate::tsc;

/// AES-128.
const KEY: [u8; 16] = [7; 16];

/// Nanoseconds a packet with as many octets of data as the gateway's frames have: the median of windows of [`WINDOW`] packets.
pub(crate) fn measure(direction: Direction, mix: Mix, time: Duration, core: usize) -> Result<f64, Failure> {
    let on_core = || {
        if !core_affinity::set_for_current(core_affinity::CoreId { id: core }) {
            return Err(Failure(format!("cannot run on core {core}")));
        }
        on_this_core(direction, mix, time)
    };
    thread::scope(|scope| scope.spawn(on_core).join()).map_err(|_| Failure("ipsec-mb: the thread panicked".to_owned()))?
}

fn on_this_core(direction: Direction, mix: Mix, time: Duration) -> Result<f64, Failure> {
    let size = match mix {
        Mix::Fixed(octets) => Size::Fixed(octets),
        Mix::Imix => Size::Imix,
    };
    let mut peer = IpsecMb::new(best_isa()?)?;
    peer.take_keys(&[KEY.to_vec()])?;
    let (load, mut room) = (Load::new(size, 1), Room::new(size));
    let (packets, plain) = load.windows(Side::Plain).next().context("ipsec-mb: no packets")?;
    let (overhead, frequency) = (tsc::overhead(), tsc::frequency());
    let (start, mut windows) = (Instant::now(), Vec::new());
    while start.elapsed() < time {
        room.fill(packets, plain);
        let sealing = peer.seal(&mut room, overhead);
        windows.push(match direction {
            Direction::Outbound => sealing,
            Direction::Inbound => match peer.open(&mut room, overhead) {
                (ticks, WINDOW) => ticks,
                (_, authentic) => return Err(Failure(format!("ipsec-mb: of {WINDOW} packets {authentic} are authentic"))),
            },
        });
    }
    #[expect(clippy::cast_precision_loss, reason = "microseconds")]
    let per_packet = windows.into_iter().map(|ticks| ticks as f64 / WINDOW as f64 / frequency).collect();
    Ok(median(per_packet))
}

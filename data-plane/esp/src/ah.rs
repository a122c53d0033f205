//! AH around a packet (RFC 4302 section 3.3.3): what its ICV is computed over, and the way back.
//!
//! The ICV covers the packet from its first octet on, with zeros where routers write and where the ICV stands. So the packet is laid out like that, and what
//! was there waits behind it:
//!
//! ```text
//!  covered:    | IP, zeros where mutable | AH, zeros for the ICV | protected | ICV | IP as it is sent |
//!              |<------------------ data of the job -------------------->|
//!  uncovered:  | IP as it is sent        | AH with ICV           | protected |
//! ```

use packet::{Buffer, ah};

/// Takes mutable fields and ICV out of a packet with AH behind `header_len` octets of IP header. `None` where there is no room behind it, or the options of
/// its header are malformed: it must be dropped.
pub(crate) fn cover<B: Buffer>(buffer: &mut B, header_len: usize, icv_len: usize) -> Option<()> {
    let packet_len = buffer.len();
    buffer.append(icv_len + header_len)?;
    let (packet, behind) = buffer.bytes_mut().split_at_mut_checked(packet_len)?;
    let (header, rest) = packet.split_at_mut_checked(header_len)?;
    let icv = rest.get_mut(ah::FIXED_LEN..)?.get_mut(..icv_len)?;
    let (icv_behind, header_behind) = behind.split_at_mut_checked(icv_len)?;
    icv_behind.copy_from_slice(icv);
    header_behind.copy_from_slice(header);
    icv.fill(0);
    ah::zero_mutable(header)
}

/// Puts both back, the ICV as the job has left it, and cuts off what is behind the packet.
pub(crate) fn uncover<B: Buffer>(buffer: &mut B, packet_len: usize, icv_len: usize) -> Option<()> {
    let (packet, behind) = buffer.bytes_mut().split_at_mut_checked(packet_len)?;
    let (icv_behind, header_behind) = behind.split_at_checked(icv_len)?;
    let (header, rest) = packet.split_at_mut_checked(header_behind.len())?;
    header.copy_from_slice(header_behind);
    rest.get_mut(ah::FIXED_LEN..)?.get_mut(..icv_len)?.copy_from_slice(icv_behind);
    let behind_len = behind.len();
    buffer.trim_back(behind_len)
}

//! RADIUS for EAP (RFC 2865, RFC 3579): what a gateway asks a server and how it reads the answers, without a socket and without a clock.
//!
//! Answers come from anybody who can write to the socket: nothing in them is used before both its authenticators are right.

mod keys;
mod packet;
mod session;

pub use packet::{Answer, LONGEST_PACKET, RadiusError, Request, Sealed, Verdict};
pub use session::{Move, Session};

//! The Delete payload (RFC 7296 section 3.11).
//!
//! ```text
//!                      1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! | Next Payload  |C|  RESERVED   |         Payload Length        |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! | Protocol ID   |   SPI Size    |          Num of SPIs          |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ~               Security Parameter Index(es) (SPI)              ~
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use alloc::vec::Vec;

use crate::reader::Reader;
use crate::writer::Writer;
use crate::{EmitError, Fault, ParseError, Part, PayloadType, Protocol, limits};

/// Which SAs the sender has removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delete {
    /// The IKE SA the message belongs to, and with it all its Child SAs.
    IkeSa,
    /// Child SAs, by the SPIs the sender expected in inbound packets.
    ChildSas {
        /// [`Protocol::ESP`] or [`Protocol::AH`].
        protocol: Protocol,
        /// The SPIs; a peer may name ones that no SA can have.
        spis: Vec<u32>,
    },
}

/// SPI Size for AH and ESP.
const SPI_LEN: u8 = 4;

impl Delete {
    pub(crate) fn parse(mut body: Reader<'_>) -> Result<Self, ParseError> {
        let protocol = Protocol(body.u8()?);
        let spi_len = body.u8()?;
        let said = usize::from(body.u16()?);
        let expected = match protocol {
            Protocol::IKE => 0,
            Protocol::AH | Protocol::ESP => SPI_LEN,
            Protocol(other) => return Err(body.fault(Fault::Value { field: "protocol", value: other.into() })),
        };
        if spi_len != expected {
            return Err(body.fault(Fault::Value { field: "SPI size", value: spi_len.into() }));
        }
        if protocol == Protocol::IKE {
            return if said == 0 { body.finish().map(|()| Self::IkeSa) } else { Err(body.fault(Fault::Count { said, found: 0 })) };
        }
        if said > limits::SPIS {
            return Err(body.fault(Fault::TooMany(limits::SPIS)));
        }
        let spis = (0..said).map(|_| body.u32()).collect::<Result<_, _>>()?;
        body.finish()?;
        Ok(Self::ChildSas { protocol, spis })
    }

    pub(crate) fn emit(&self, writer: &mut Writer) -> Result<(), EmitError> {
        let (protocol, spi_len, spis) = match self {
            Self::IkeSa => (Protocol::IKE, 0, &[][..]),
            Self::ChildSas { protocol, spis } => (*protocol, SPI_LEN, &spis[..]),
        };
        writer.u8(protocol.0);
        writer.u8(spi_len);
        writer.u16(u16::try_from(spis.len()).map_err(|_| EmitError::Oversize(Part::Payload(PayloadType::DELETE)))?);
        spis.iter().for_each(|spi| writer.u32(*spi));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn parse(octets: &[u8]) -> Result<Delete, ParseError> {
        Delete::parse(Reader::new(Part::Payload(PayloadType::DELETE), octets))
    }

    #[test]
    fn the_ike_sa_goes_without_spi() {
        assert_eq!(parse(&[1, 0, 0, 0]), Ok(Delete::IkeSa));
        assert!(parse(&[1, 0, 0, 1]).is_err());
        assert!(parse(&[1, 8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1]).is_err());
        assert!(parse(&[1, 0, 0, 0, 9]).is_err());
    }

    #[test]
    fn child_sas_go_by_spi() {
        let octets = [3, 4, 0, 2, 0xc0, 0, 0, 1, 0xc0, 0, 0, 2];
        assert_eq!(parse(&octets), Ok(Delete::ChildSas { protocol: Protocol::ESP, spis: vec![0xc000_0001, 0xc000_0002] }));
        assert!(parse(&octets[..8]).is_err(), "one SPI less than said");
        assert!(parse(&[3, 8, 0, 0]).is_err(), "ESP SPIs have four octets");
        assert!(parse(&[4, 4, 0, 0]).is_err(), "no such protocol");
    }
}

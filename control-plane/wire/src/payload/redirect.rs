//! Another gateway, in the notifications of RFC 5685 section 9: REDIRECT and REDIRECTED_FROM.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +---------------+---------------+-------------------------------+
//! | GW Ident Type |  GW Ident Len |                               |
//! +---------------+---------------+                               +
//! ~                   New Responder GW Identity                   ~
//! +---------------------------------------------------------------+
//! ~                   Nonce Data, in IKE_SA_INIT                  ~
//! +---------------------------------------------------------------+
//! ```

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;

/// Where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gateway {
    /// Its address: types 1 and 2.
    Address(IpAddr),
    /// Its name: type 3.
    Name(String),
}

/// Notification Data of REDIRECT, or without a nonce of REDIRECTED_FROM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// The gateway.
    pub gateway: Gateway,
    /// What the initiator sent as Ni: only in a response of IKE_SA_INIT, which nothing else protects.
    pub nonce: Vec<u8>,
}

impl Redirect {
    /// Reads it; `None` where it is none.
    pub fn parse(data: &[u8]) -> Option<Self> {
        let [kind, len, rest @ ..] = data else { return None };
        let (identity, nonce) = rest.split_at_checked(usize::from(*len))?;
        let gateway = match kind {
            1 => Gateway::Address(<[u8; 4]>::try_from(identity).ok()?.into()),
            2 => Gateway::Address(<[u8; 16]>::try_from(identity).ok()?.into()),
            // It goes into logs, and nowhere else.
            3 if !identity.is_empty() && identity.iter().all(u8::is_ascii_graphic) => {
                Gateway::Name(core::str::from_utf8(identity).ok()?.to_string())
            }
            _ => return None,
        };
        Some(Self { gateway, nonce: nonce.to_vec() })
    }

    /// As it travels; a name of more than 255 octets is cut.
    pub fn emit(&self) -> Vec<u8> {
        let (kind, identity) = match &self.gateway {
            Gateway::Address(IpAddr::V4(address)) => (1, address.octets().to_vec()),
            Gateway::Address(IpAddr::V6(address)) => (2, address.octets().to_vec()),
            Gateway::Name(name) => (3, name.bytes().take(255).collect()),
        };
        let len = u8::try_from(identity.len()).unwrap_or(u8::MAX);
        [&[kind, len][..], &identity, &self.nonce].concat()
    }
}

impl Gateway {
    /// GW Ident Type, with its name.
    pub(crate) const fn kind(&self) -> (&'static str, u8) {
        match self {
            Self::Address(IpAddr::V4(_)) => ("IPv4 address", 1),
            Self::Address(IpAddr::V6(_)) => ("IPv6 address", 2),
            Self::Name(_) => ("FQDN", 3),
        }
    }
}

impl fmt::Display for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_what_is_none_is_not() {
        let gateways = [
            Gateway::Address("192.0.2.3".parse().unwrap()),
            Gateway::Address("2001:db8::3".parse().unwrap()),
            Gateway::Name("gw.example.org".into()),
        ];
        for gateway in gateways {
            for nonce in [Vec::new(), alloc::vec![7; 32]] {
                let redirect = Redirect { gateway: gateway.clone(), nonce };
                assert_eq!(Redirect::parse(&redirect.emit()), Some(redirect));
            }
        }
        assert_eq!(
            Redirect { gateway: Gateway::Address("192.0.2.3".parse().unwrap()), nonce: alloc::vec![9] }.emit(),
            [1, 4, 192, 0, 2, 3, 9]
        );
        let bad: [&[u8]; 8] =
            [&[], &[1], &[1, 4, 192, 0, 2], &[1, 3, 192, 0, 2], &[2, 4, 192, 0, 2, 3], &[3, 0], &[3, 2, b'a', b'\n'], &[4, 1, 1]];
        for data in bad {
            assert_eq!(Redirect::parse(data), None, "{data:?}");
        }
    }
}

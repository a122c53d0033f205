//! The COOKIE of a responder under load (RFC 7296 section 2.6).
//!
//! `Cookie = <VersionIDofSecret> | prf(<secret>, Ni | IPi | SPIi)`: no state is kept until the initiator has shown that it receives what is
//! sent to its address.

use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use ipsec_types::{Instant, Secret};

use crate::context::Context;

/// The secrets in force: a new one now and then, and the one before for cookies under way.
#[derive(Debug, Default)]
pub(crate) struct Cookies {
    current: Option<Versioned>,
    previous: Option<Versioned>,
}

#[derive(Debug)]
struct Versioned {
    version: u8,
    secret: Secret,
    since: Instant,
}

const LIFE: Duration = Duration::from_secs(120);
const SECRET_LEN: usize = 32;

/// What a cookie is bound to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claim<'a> {
    pub(crate) nonce: &'a [u8],
    pub(crate) address: IpAddr,
    pub(crate) initiator_spi: u64,
}

/// The cookie for an initiator.
pub(crate) fn bake(cx: &mut Context<'_>, claim: Claim<'_>) -> Option<Vec<u8>> {
    let now = cx.now;
    if cx.shared.cookies.current.as_ref().is_none_or(|current| now.since(current.since) >= LIFE) {
        let secret = Secret::new(cx.octets(SECRET_LEN));
        let cookies = &mut cx.shared.cookies;
        let version = cookies.current.as_ref().map_or(0, |current| current.version.wrapping_add(1));
        cookies.previous = cookies.current.replace(Versioned { version, secret, since: now });
    }
    compute(cx, cx.shared.cookies.current.as_ref()?, claim)
}

/// Whether `cookie` is one of ours, for this initiator, and not too old.
pub(crate) fn check(cx: &Context<'_>, cookie: &[u8], claim: Claim<'_>) -> bool {
    let cookies = &cx.shared.cookies;
    let fresh = [&cookies.current, &cookies.previous].into_iter().flatten().filter(|known| cx.now.since(known.since) < LIFE * 2);
    let mut known = fresh.filter(|known| cookie.first() == Some(&known.version));
    // Through Secret for its comparison in constant time.
    known.any(|known| compute(cx, known, claim).is_some_and(|right| Secret::new(right) == Secret::copy_from(cookie)))
}

fn compute(cx: &Context<'_>, versioned: &Versioned, claim: Claim<'_>) -> Option<Vec<u8>> {
    let prf = cx.shared.provider.prfs.first()?;
    let address = match claim.address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let mac = prf.compute(versioned.secret.expose(), &[claim.nonce, &address, &claim.initiator_spi.to_be_bytes()]);
    Some([&[versioned.version][..], mac.expose()].concat())
}

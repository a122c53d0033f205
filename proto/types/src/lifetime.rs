//! How long an SA may live (RFC 4301 section 4.4.2.1).

use core::time::Duration;

/// One set of limits. `None` means unlimited in that unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Age since installation.
    pub time: Option<Duration>,
    /// Octets of protected inner packets.
    pub octets: Option<u64>,
    /// Packets.
    pub packets: Option<u64>,
}

/// Soft limits start a rekey, hard limits end the SA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lifetime {
    soft: Limits,
    hard: Limits,
}

/// A soft limit that is not reached before its hard limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the soft {unit} limit must lie below the hard one")]
pub struct LifetimeError {
    /// `time`, `octet` or `packet`.
    pub unit: &'static str,
}

impl Lifetime {
    /// Pairs the limits.
    ///
    /// # Errors
    /// [`LifetimeError`] where a soft limit is not below its hard limit.
    pub fn new(soft: Limits, hard: Limits) -> Result<Self, LifetimeError> {
        check("time", soft.time, hard.time)?;
        check("octet", soft.octets, hard.octets)?;
        check("packet", soft.packets, hard.packets)?;
        Ok(Self { soft, hard })
    }

    /// The limits that start a rekey.
    pub const fn soft(&self) -> &Limits {
        &self.soft
    }

    /// The limits that end the SA.
    pub const fn hard(&self) -> &Limits {
        &self.hard
    }
}

fn check<T: PartialOrd>(unit: &'static str, soft: Option<T>, hard: Option<T>) -> Result<(), LifetimeError> {
    match (soft, hard) {
        (Some(soft), Some(hard)) if soft >= hard => Err(LifetimeError { unit }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_soft_limit_lies_below_its_hard_limit() {
        let at = |packets| Limits { packets: Some(packets), ..Limits::default() };
        assert!(Lifetime::new(at(9), at(10)).is_ok());
        assert_eq!(Lifetime::new(at(10), at(10)), Err(LifetimeError { unit: "packet" }));
        assert!(Lifetime::new(at(10), Limits::default()).is_ok());
    }
}

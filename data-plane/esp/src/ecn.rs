//! Explicit Congestion Notification through a tunnel (RFC 6040).

const NOT_ECT: u8 = 0;
const ECT_1: u8 = 1;
const ECT_0: u8 = 2;
const CE: u8 = 3;

/// The traffic class of a decapsulated packet: the inner one, with the ECN field of RFC 6040 figure 4. `None` where the packet must be dropped: the
/// tunnel signals congestion and the inner packet says its ends would not understand.
#[inline]
pub(crate) const fn decapsulate(inner: u8, outer: u8) -> Option<u8> {
    let outcome = OUTCOMES >> place(inner & 3, outer & 3);
    if outcome & DROP != 0 { None } else { Some((inner & !3) | (outcome & 3) as u8) }
}

/// Whether the inner traffic class stays as it is. Most tunnels show no ECN, and then all do.
#[inline]
pub(crate) fn is_kept(inner: u8, outer: u8) -> bool {
    outer & 3 == NOT_ECT || decapsulate(inner, outer) == Some(inner)
}

/// The figure in four bits for each pair of fields.
const OUTCOMES: u64 = outcomes();
const DROP: u64 = 4;

const fn place(inner: u8, outer: u8) -> u32 {
    (inner as u32 * 4 + outer as u32) * 4
}

const fn outcomes() -> u64 {
    let (mut outcomes, mut pair) = (0, 0);
    while pair < 16 {
        let (inner, outer) = (pair / 4, pair % 4);
        let outcome = match figure_4(inner, outer) {
            Some(ecn) => ecn as u64,
            None => DROP,
        };
        outcomes |= outcome << place(inner, outer);
        pair += 1;
    }
    outcomes
}

const fn figure_4(inner: u8, outer: u8) -> Option<u8> {
    match (inner, outer) {
        (NOT_ECT, CE) => None,
        (ECT_0, ECT_1) => Some(ECT_1),
        (ECT_0 | ECT_1, CE) => Some(CE),
        (inner, _) => Some(inner),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6040 figure 4, row by row: the arriving outer header is Not-ECT, ECT(0), ECT(1), CE.
    #[test]
    fn figure_4_of_rfc_6040() {
        let rows = [
            (NOT_ECT, [Some(NOT_ECT), Some(NOT_ECT), Some(NOT_ECT), None]),
            (ECT_0, [Some(ECT_0), Some(ECT_0), Some(ECT_1), Some(CE)]),
            (ECT_1, [Some(ECT_1), Some(ECT_1), Some(ECT_1), Some(CE)]),
            (CE, [Some(CE); 4]),
        ];
        for (inner, outcomes) in rows {
            for (outer, outcome) in [NOT_ECT, ECT_0, ECT_1, CE].into_iter().zip(outcomes) {
                assert_eq!(decapsulate(inner | 0xb8, outer | 0x20), outcome.map(|ecn| ecn | 0xb8), "{inner} {outer}");
            }
        }
    }
}

//! Why a peer does not get traffic that another has.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::ToString;

use ipsec_types::Identity;

use super::list;
use crate::config::Child;
use crate::error::Detail;
use crate::holdings::Conflict;
use crate::io::IkeSaId;
use crate::negotiate::SelectorsNarrowed;

/// Another peer has traffic that this one asks for.
pub(crate) fn held_by_another(
    child: &Child,
    remote: &Identity,
    conflict: &Conflict<'_>,
    holder: Option<IkeSaId>,
    wanted: &SelectorsNarrowed,
) -> Box<Detail> {
    let other = conflict.by;
    let ike_sa = holder.map(|IkeSaId(id)| format!(", with IKE SA {id}")).unwrap_or_default();
    let end = holder.map_or_else(|| "end its Child SA".to_string(), |IkeSaId(id)| format!("culvert terminate --ike-sa {id}"));
    Detail {
        summary: format!("{remote} asks for traffic that {other} has"),
        ours: format!("child {}: {} is that of {other}{ike_sa}", child.name, conflict.remote),
        theirs: format!("{} === {}", list(wanted.local(), " "), list(wanted.remote(), " ")),
        would_match: "addresses that no other peer has".into(),
        remedy: format!(
            "give each peer addresses of its own, or let it get them from a pool (pools, without remote_ts); if {other} is gone, {end}, and write \
             dpd_delay to have that noticed"
        ),
    }
    .bounded()
}

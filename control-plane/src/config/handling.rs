//! What the SAs of a child do to packets: outer headers (section 5.1.2), traffic flow confidentiality (RFC
//! 4303 sections 2.6 and 2.7), and the class of traffic that each carries.

use ike::config::Child;
use ipsec_types::{ChildProposal, DontFragment, DscpSet, Mode, Tfc, TfcPadding};

use super::section::{Found, Place, Section};

/// The DF bit and the DSCP of outer headers, which transport mode does not have.
pub(super) fn outer_header(section: &mut Section<'_>, mode: Mode) -> (DontFragment, bool) {
    const DONT_FRAGMENT: &[(&str, DontFragment)] =
        &[("copy", DontFragment::Copy), ("set", DontFragment::Set), ("clear", DontFragment::Clear)];
    let dont_fragment = section.choice("dont_fragment", DONT_FRAGMENT);
    // strongSwan's word for two of the three.
    let copy_df = section.boolean("copy_df").map(|found| found.with(if found.value { DontFragment::Copy } else { DontFragment::Clear }));
    if let (Some(one), Some(other)) = (&dont_fragment, &copy_df)
        && one.value != other.value
    {
        section.fault_at(other, "this contradicts dont_fragment", "leave copy_df out");
    }
    // strongSwan's words: it can copy the DSCP of the outer header to the inner one, too.
    let copy_dscp = section.boolean_or("copy_dscp", &[("out", true), ("no", false)]);
    let dont_fragment = dont_fragment.or(copy_df);
    if mode == Mode::Transport {
        let places = dont_fragment.iter().map(|found| found.with(())).chain(copy_dscp.iter().map(|found| found.with(())));
        places.for_each(|place| section.fault_at(&place, "transport mode has no outer header of its own", "leave it out"));
    }
    (dont_fragment.map(|found| found.value).unwrap_or_default(), copy_dscp.is_none_or(|found| found.value))
}

/// `tfc_padding`, octets of the inner packet or `"mtu"`, and `tfc_dummies`, packets a second.
pub(super) fn tfc(section: &mut Section<'_>, mode: Mode, proposals: &[ChildProposal]) -> Tfc {
    const MOST_DUMMIES: u32 = 10_000;
    let padding = section.integer_or("tfc_padding", 0..=u16::MAX.into(), "mtu");
    let dummies = section.integer("tfc_dummies", 0..=MOST_DUMMIES);
    let elsewhere = mode != Mode::Tunnel || proposals.iter().any(|proposal| matches!(proposal, ChildProposal::Ah(_)));
    if elsewhere {
        let places = padding.iter().map(|found| found.with(())).chain(dummies.iter().map(|found| found.with(())));
        let remedy = "leave it out, or write esp_proposals and mode = \"tunnel\"";
        places.for_each(|place| section.fault_at(&place, "this is for ESP in tunnel mode alone (RFC 4303 section 2.7)", remedy));
    }
    let padding = padding.and_then(|found| match found.value {
        None => Some(TfcPadding::Mtu),
        Some(octets) => u16::try_from(octets).ok().filter(|octets| *octets > 0).map(TfcPadding::To),
    });
    Tfc { padding, dummies_per_second: dummies.map_or(0, |found| found.value) }
}

/// The code points whose packets a child's SAs carry.
pub(super) fn dscp(section: &mut Section<'_>) -> Option<Found<DscpSet>> {
    let list = section.list_of_words("dscp", "\"ef\" or 46")?;
    if list.is_empty() {
        section.empty("dscp", "write code points, such as dscp = [\"ef\", \"af41\"], or leave it out for all that no other child takes");
        return None;
    }
    let place = Found { value: (), span: list.first()?.span.clone(), path: section.path("dscp") };
    Some(place.with(list.into_iter().map(|found| found.value).collect()))
}

/// Children of a connection between the same selectors share the code points: a child without `dscp` has what the others leave, so that the
/// order of the SPD does not matter. `places` are where the children's `dscp` stand, `None` for one without.
pub(super) fn share_classes(section: &Section<'_>, children: &mut [Child], places: &[Option<Place>]) {
    let mut taken = Vec::new();
    for (index, child) in children.iter().enumerate() {
        let others = children.iter().zip(places).enumerate().filter(|(other, (sibling, _))| *other != index && child.selects_like(sibling));
        let named = others.filter(|(_, (_, place))| place.is_some());
        taken.push(named.clone().fold(DscpSet::EMPTY, |set, (_, (sibling, _))| set.union(sibling.dscp)));
        let Some(Some(place)) = places.get(index) else { continue };
        for (_, (sibling, _)) in named.filter(|(other, _)| *other < index) {
            if let Some(common) = child.dscp.intersection(sibling.dscp).iter().next() {
                let problem = format!("{common} stands in child '{}', too, which selects the same traffic", sibling.name);
                section.fault_at(place, problem, "let each code point stand in one of them");
            }
        }
    }
    for ((child, place), taken) in children.iter_mut().zip(places).zip(taken) {
        if place.is_none() {
            child.dscp = child.dscp.without(taken);
        }
        if child.dscp == DscpSet::EMPTY {
            let problem =
                format!("nothing is left for child '{}': the dscp of others with its selectors have every code point", child.name);
            section.fault("children", problem, "leave a code point out of them");
        }
    }
}

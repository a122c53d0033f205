//! Lifetimes in swanctl's vocabulary: when SAs are rekeyed, when they end, and by how much chance the peers are kept apart.

use std::time::Duration;

use ike::config::{ChildLifetime, IkeLifetime};
use ipsec_types::Limits;

use super::section::{Found, Section};

const IKE_REKEY: Duration = Duration::from_secs(4 * 3600);
const CHILD_REKEY: Duration = Duration::from_secs(3600);

/// `rekey_time`, `over_time` and `rand_time` of a connection.
pub(super) fn ike(section: &mut Section<'_>) -> IkeLifetime {
    let rekey = section.duration("rekey_time");
    let over = section.duration("over_time");
    let rand = section.duration("rand_time");
    let rekey_time = rekey.map_or(IKE_REKEY, |found| found.value);
    if rekey_time.is_zero() {
        return IkeLifetime::default();
    }
    let over_time = over.map_or_else(|| rekey_time / 10, |found| found.value);
    let rand_time = rand.as_ref().map_or_else(|| over_time.min(rekey_time / 2), |found| found.value);
    check_jitter(section, rand.as_ref(), "rekey_time", rekey_time);
    IkeLifetime { rekey: Some(rekey_time), hard: Some(rekey_time.saturating_add(over_time)), jitter: rand_time }
}

/// `reauth_time` of a connection.
pub(super) fn reauthentication(section: &mut Section<'_>) -> Option<Duration> {
    const LEAST: Duration = Duration::from_secs(5);

    let found = section.duration("reauth_time").filter(|found| !found.value.is_zero())?;
    if found.value < LEAST {
        section.fault_at(&found, "the peer would have to show all the time who it is", "write at least \"5s\", or leave it out");
    }
    Some(found.value)
}

/// `rekey_time`, `life_time` and `rand_time` of a child, and the same in bytes and packets.
pub(super) fn child(section: &mut Section<'_>) -> ChildLifetime {
    let nanos = |found: Found<Duration>| found.with(u64::try_from(found.value.as_nanos()).unwrap_or(u64::MAX));
    let given = ["rekey_time", "life_time", "rand_time"].map(|key| section.duration(key).map(nanos));
    let default = u64::try_from(CHILD_REKEY.as_nanos()).unwrap_or(u64::MAX);
    let time = limits(section, ["rekey_time", "life_time", "rand_time"], given, default);
    let [bytes, packets] = [["rekey_bytes", "life_bytes", "rand_bytes"], ["rekey_packets", "life_packets", "rand_packets"]].map(|keys| {
        let given = keys.map(|key| section.amount(key));
        limits(section, keys, given, 0)
    });
    let set = |of: fn(&Set) -> Option<u64>| Limits { time: of(&time).map(Duration::from_nanos), octets: of(&bytes), packets: of(&packets) };
    ChildLifetime { soft: set(|set| set.soft), hard: set(|set| set.hard), jitter: set(|set| set.jitter) }
}

/// Limits in one unit.
struct Set {
    soft: Option<u64>,
    hard: Option<u64>,
    jitter: Option<u64>,
}

/// As strongSwan completes them: the hard limit lies 10 % above the soft one, the other way round where only the hard one is given, and
/// the jitter is what lies between. 0 switches a limit off.
fn limits(section: &Section<'_>, keys: [&'static str; 3], given: [Option<Found<u64>>; 3], default: u64) -> Set {
    let [rekey, life, rand] = given;
    let soft = match (&rekey, &life) {
        (Some(rekey), _) => rekey.value,
        (None, Some(life)) if life.value > 0 => (u128::from(life.value) * 10 / 11).try_into().unwrap_or(u64::MAX),
        (None, _) => default,
    };
    let hard = match &life {
        Some(life) => life.value,
        None => soft.saturating_add(soft / 10).max(soft.saturating_add(u64::from(soft > 0))),
    };
    if let Some(at) = rekey.as_ref().or(life.as_ref()).filter(|_| hard > 0 && soft >= hard) {
        let [rekey, life, _] = keys;
        section.fault_at(
            at,
            format!("{rekey} does not lie below {life}: the SA would end before it is replaced"),
            format!("write a {rekey} below {life}, or leave one of them out"),
        );
        return Set { soft: None, hard: None, jitter: None };
    }
    let jitter = rand.as_ref().map_or_else(|| hard.saturating_sub(soft).min(soft / 2), |found| found.value);
    check_jitter(section, rand.as_ref(), keys[0], soft);
    let on = |value: u64| (value > 0).then_some(value);
    Set { soft: on(soft), hard: on(hard), jitter: on(jitter) }
}

/// Jitter is taken off the soft limit: something of that must be left.
fn check_jitter<T: PartialOrd + Default + Copy>(section: &Section<'_>, rand: Option<&Found<T>>, rekey: &str, soft: T) {
    if let Some(rand) = rand.filter(|rand| rand.value > T::default() && rand.value >= soft) {
        let problem = format!("this is not less than {rekey}, from which it is subtracted");
        section.fault_at(rand, problem, format!("write less than {rekey}, or leave it out"));
    }
}

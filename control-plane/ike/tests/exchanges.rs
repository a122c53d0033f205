//! Every exchange between two endpoints on a good network: what is sent, and what both sides have afterwards.

mod pair;

use std::time::Duration;

use ike::io::{Answer, Event};
use pair::Side::{A, B};
use pair::{Pair, config};

const SECOND: Duration = Duration::from_secs(1);

/// ```text
/// HDR, SAi1, KEi, Ni  -->
///                    <--  HDR, SAr1, KEr, Nr
/// HDR, SK {IDi, [IDr,] AUTH, SAi2, TSi, TSr}  -->
///                    <--  HDR, SK {IDr, AUTH, SAr2, TSi, TSr}
/// ```
#[test]
fn a_packet_brings_up_a_child_sa_with_four_messages() {
    let mut pair = Pair::default(1);
    pair.acquire(A, 1);
    pair.run(SECOND);
    assert_eq!(pair.titles(), ["IKE_SA_INIT request 0", "IKE_SA_INIT response 0", "IKE_AUTH request 1", "IKE_AUTH response 1"]);
    assert_eq!(pair.assert_mirrored(), 1);
    assert_eq!((pair.established(A), pair.established(B)), (1, 1));
    assert!(pair.gateway(A).data_plane.refused.is_empty());
    assert_eq!(pair.ike_sas(A)[0].proposal, "AES_GCM_16_128/PRF_HMAC_SHA2_256/CURVE_25519");
}

//! Exchanges computed without this crate (tests/vectors/modp.py), and the public values RFC 6989 refuses.

use super::*;
use crate::hex::hex;

fn agree<const LIMBS: usize>(group: &'static Group<LIMBS>, exponent: &[u8], peer: &[u8]) -> Result<Vec<u8>, CryptoError> {
    let exponent = Zeroizing::new(U512::from_be_slice(exponent));
    Box::new(Exponent { group, exponent }).agree(peer).map(|secret| secret.expose().to_vec())
}

/// Checks one group's vectors, among which there are a secret and a public value that begin with a zero octet.
fn check<const LIMBS: usize>(group: &'static Group<LIMBS>) {
    let file: serde_json::Value = serde_json::from_str(include_str!("../../tests/vectors/modp.json")).unwrap();
    let ours = |vector: &&serde_json::Value| vector["group"] == group.method.id();
    let (mut zero_secrets, mut zero_publics) = (0, 0);
    for vector in file["vectors"].as_array().unwrap().iter().filter(ours) {
        let [i, r, gi, gr, gir] = ["i", "r", "gi", "gr", "gir"].map(|name| hex(vector[name].as_str().unwrap()));
        for (exponent, public) in [(&i, &gi), (&r, &gr)] {
            assert_eq!(&group.power(&Uint::from_u8(GENERATOR), &U512::from_be_slice(exponent)), public, "{}", vector["what"]);
        }
        assert_eq!(agree(group, &i, &gr).as_ref(), Ok(&gir), "{}", vector["what"]);
        assert_eq!(agree(group, &r, &gi).as_ref(), Ok(&gir), "{}", vector["what"]);
        zero_secrets += usize::from(gir[0] == 0);
        zero_publics += usize::from(gi[0] == 0);
    }
    assert!(zero_secrets > 0 && zero_publics > 0, "{zero_secrets} {zero_publics}");
}

#[test]
fn exchanges_give_what_another_computation_gives() {
    check(&MODP_768);
    check(&MODP_1024);
    check(&MODP_1536);
    check(&MODP_2048);
    check(&MODP_3072);
    check(&MODP_4096);
}

fn refuses_values_out_of_range<const LIMBS: usize>(group: &'static Group<LIMBS>) {
    let octets = |value: Uint<LIMBS>| -> Vec<u8> { value.to_be_bytes().as_ref().to_vec() };
    let prime = *group.params.modulus().as_ref();
    let less = |n: u8| prime.wrapping_sub(&Uint::from_u8(n));
    let more = prime.wrapping_add(&Uint::ONE);
    for refused in [Uint::ZERO, Uint::ONE, less(1), prime, more, Uint::MAX] {
        assert_eq!(agree(group, &[0x55; EXPONENT_LEN], &octets(refused)), Err(CryptoError::PublicValue), "{refused:x}");
    }
    for taken in [Uint::from_u8(2), less(2)] {
        assert!(agree(group, &[0x55; EXPONENT_LEN], &octets(taken)).is_ok(), "{taken:x}");
    }
}

#[test]
fn values_out_of_range_are_refused() {
    refuses_values_out_of_range(&MODP_768);
    refuses_values_out_of_range(&MODP_1024);
    refuses_values_out_of_range(&MODP_1536);
    refuses_values_out_of_range(&MODP_2048);
    refuses_values_out_of_range(&MODP_3072);
    refuses_values_out_of_range(&MODP_4096);
}

#[test]
fn both_sides_agree_and_keys_are_fresh() {
    let groups: [(&dyn KeyExchange, usize); 6] =
        [(&&MODP_768, 96), (&&MODP_1024, 128), (&&MODP_1536, 192), (&&MODP_2048, 256), (&&MODP_3072, 384), (&&MODP_4096, 512)];
    for (group, len) in groups {
        let ((i, gi), (r, gr)) = (group.generate().unwrap(), group.generate().unwrap());
        assert_ne!(gi, gr);
        assert_eq!([gi.len(), gr.len(), group.public_len()], [len; 3]);
        let (at_i, at_r) = (i.agree(&gr).unwrap(), r.agree(&gi).unwrap());
        assert_eq!(at_i, at_r);
        assert_eq!(at_i.len(), len);
        for wrong in [&gi[1..], &[&[0], &gi[..]].concat(), &[]] {
            let (private, _) = group.generate().unwrap();
            assert_eq!(private.agree(wrong).err(), Some(CryptoError::PublicValue), "{} octets", wrong.len());
        }
    }
}

/// Run it optimised: `cargo test --profile fast -p ike-crypto -- --ignored --nocapture how_long`.
#[test]
#[ignore = "a measurement, not a test"]
fn how_long_one_exchange_takes() {
    let groups: [&dyn KeyExchange; 3] = [&&MODP_2048, &&MODP_3072, &&MODP_4096];
    for group in groups {
        let (private, public) = group.generate().unwrap();
        let start = std::time::Instant::now();
        let (_, peer) = group.generate().unwrap();
        let generated = start.elapsed();
        private.agree(&peer).unwrap();
        println!("{}: {generated:?} to generate, {:?} for both calls, {} octets", group.method(), start.elapsed(), public.len());
    }
}

//! The arithmetic of MSCHAPv2 (RFC 2759 section 8) and the keys that come of it (RFC 3079 section 3).

use des::Des;
use des::cipher::{BlockCipherEncrypt, KeyInit};
use ipsec_types::Secret;
use md4::{Digest, Md4};
use zeroize::Zeroizing;

use crate::sha1::sha1;

/// NtPasswordHash: MD4 over the password in UTF-16, low octet first. `None` where it is no text in UTF-8.
pub(super) fn password_hash(password: &Secret) -> Option<Zeroizing<[u8; 16]>> {
    let text = std::str::from_utf8(password.expose()).ok()?;
    let mut unicode = Zeroizing::new(Vec::with_capacity(2 * text.len()));
    unicode.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
    Some(Zeroizing::new(Md4::digest(&*unicode).into()))
}

/// ChallengeHash: of both challenges and the user's name without its domain.
pub(super) fn challenge_hash(peer: &[u8; 16], authenticator: &[u8; 16], user: &str) -> [u8; 8] {
    let hash = sha1(&[peer, authenticator, user.as_bytes()]);
    let mut challenge = [0; 8];
    challenge.copy_from_slice(&hash[..8]);
    challenge
}

/// ChallengeResponse: three times DES with a third of the hash, which is padded to 21 octets.
pub(super) fn challenge_response(challenge: [u8; 8], hash: &[u8; 16]) -> [u8; 24] {
    let mut padded = Zeroizing::new([0; 21]);
    padded[..16].copy_from_slice(hash);
    let mut response = [0; 24];
    for (key, block) in padded.chunks_exact(7).zip(response.chunks_exact_mut(8)) {
        let mut output = challenge.into();
        Des::new(&des_key(key).into()).encrypt_block(&mut output);
        block.copy_from_slice(&output);
    }
    response
}

/// 56 bits with room for the parity bits, which DES ignores.
fn des_key(bits: &[u8]) -> [u8; 8] {
    let all = bits.iter().fold(0_u64, |all, octet| all << 8 | u64::from(*octet));
    std::array::from_fn(|i| {
        let [.., septet] = (all >> (49 - 7 * i)).to_be_bytes();
        septet << 1
    })
}

/// GenerateAuthenticatorResponse without "S=" and before it is made hexadecimal.
pub(super) fn authenticator_response(hash: &[u8; 16], nt_response: &[u8; 24], challenge: [u8; 8]) -> [u8; 20] {
    let hash_hash = Zeroizing::new(<[u8; 16]>::from(Md4::digest(hash)));
    let digest = sha1(&[&*hash_hash, nt_response, b"Magic server to client signing constant"]);
    sha1(&[&digest, &challenge, b"Pad to make it do more than one iteration"])
}

/// MSK: what the server receives by, and what it sends by, each of 128 bits (RFC 3079 sections 3.3 and 3.4), and zeros up to 64 octets
/// (RFC 3748 section 7.10).
pub(super) fn msk(hash: &[u8; 16], nt_response: &[u8; 24]) -> Secret {
    const CLIENT_SENDS: &[u8] = b"On the client side, this is the send key; on the server side, it is the receive key.";
    const SERVER_SENDS: &[u8] = b"On the client side, this is the receive key; on the server side, it is the send key.";
    let hash_hash = Zeroizing::new(<[u8; 16]>::from(Md4::digest(hash)));
    let master = Zeroizing::new(sha1(&[&*hash_hash, nt_response, b"This is the MPPE Master Key"]));
    let start = |magic| Zeroizing::new(sha1(&[&master[..16], &[0; 40], magic, &[0xf2; 40]]));
    let mut msk = Vec::with_capacity(64);
    msk.extend(&start(CLIENT_SENDS)[..16]);
    msk.extend(&start(SERVER_SENDS)[..16]);
    msk.resize(64, 0);
    Secret::new(msk)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex::hex;

    fn octets<const N: usize>(text: &str) -> [u8; N] {
        hex(&text.replace(' ', "")).try_into().unwrap()
    }

    /// RFC 2759 section 9.2: user "User", password "clientPass".
    #[test]
    fn the_example_of_rfc_2759() {
        let authenticator = octets("5B 5D 7C 7D 7B 3F 2F 3E 3C 2C 60 21 32 26 26 28");
        let peer = octets("21 40 23 24 25 5E 26 2A 28 29 5F 2B 3A 33 7C 7E");
        let challenge = challenge_hash(&peer, &authenticator, "User");
        assert_eq!(challenge, octets("D0 2E 43 86 BC E9 12 26"));
        let hash = password_hash(&Secret::copy_from(b"clientPass")).unwrap();
        assert_eq!(*hash, octets("44 EB BA 8D 53 12 B8 D6 11 47 44 11 F5 69 89 AE"));
        let response = challenge_response(challenge, &hash);
        assert_eq!(response, octets("82 30 9E CD 8D 70 8B 5E A0 8F AA 39 81 CD 83 54 42 33 11 4A 3D 85 D6 DF"));
        assert_eq!(authenticator_response(&hash, &response, challenge), octets("407A5589115FD0D6209F510FE9C04566932CDA56"));
    }

    /// RFC 3079 section 3.5.3: the same exchange; the key by which the server sends is what it names SendStartKey128.
    #[test]
    fn the_example_of_rfc_3079() {
        let hash = password_hash(&Secret::copy_from(b"clientPass")).unwrap();
        let response = octets("82 30 9E CD 8D 70 8B 5E A0 8F AA 39 81 CD 83 54 42 33 11 4A 3D 85 D6 DF");
        let msk = msk(&hash, &response);
        assert_eq!(msk.expose()[16..32], octets::<16>("8B 7C DC 14 9B 99 3A 1B A1 18 CB 15 3F 56 DC CB"));
        assert_eq!((msk.len(), &msk.expose()[32..]), (64, &[0; 32][..]));
    }
}

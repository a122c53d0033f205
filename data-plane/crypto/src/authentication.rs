//! An integrity algorithm alone, over whole packets: what AH takes (RFC 4302 section 3.3.3).
//!
//! ```text
//!  the packet, with zeros where the ICV will stand and where routers write | high half of seq, with ESN
//!  |<------------------------------ data ------------------------------->|
//! ```

use core::fmt;

use crate::mac::Mac;
use crate::portable::Keystream;
use crate::transform::Transform;
use crate::{Aad, NONCE_LEN};

pub(crate) struct Authentication {
    mac: Mac,
}

impl Authentication {
    pub(crate) const fn new(mac: Mac) -> Self {
        Self { mac }
    }
}

impl Transform for Authentication {
    fn icv_len(&self) -> usize {
        self.mac.icv_len()
    }

    fn iv_len(&self) -> usize {
        0
    }

    fn seal(&self, _nonce: &[u8; NONCE_LEN], aad: &Aad, data: &mut [u8], icv: &mut [u8], _stream: &mut Keystream) {
        // SPI and sequence number stand in the packet; the high half is appended (RFC 4302 section 3.3.3.2.2).
        self.mac.sign([&[], data, aad.around_packet().1], icv);
    }

    fn open(&self, _nonce: &[u8; NONCE_LEN], aad: &Aad, data: &mut [u8], icv: &[u8], _stream: &mut Keystream) -> bool {
        self.mac.verify([&[], data, aad.around_packet().1], icv)
    }
}

impl fmt::Display for Authentication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.mac.name())
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::vec::Vec;

    use crate::{Aad, AeadKey, MacKey, OpenJob, SealJob, open_burst, seal_burst};

    /// RFC 2202 test case 1 of HMAC-SHA-1, cut to 96 bits.
    #[test]
    fn the_icv_is_the_mac_of_the_data() {
        let key = AeadKey::authentication(MacKey::HmacSha1(&[0x0b; 20])).unwrap();
        let (mut data, mut icv) = (*b"Hi There", [0; 12]);
        seal_burst(&mut [SealJob::new(&key, [9; 12], Aad::new(7, 8), &mut data, &mut icv).unwrap()]);
        assert_eq!((&data, icv), (b"Hi There", [0xb6, 0x17, 0x31, 0x86, 0x55, 0x05, 0x72, 0x64, 0xe2, 0x8b, 0xc0, 0xb6]));
        assert_eq!(format!("{key:?}"), "AeadKey(HMAC-SHA1-96)");
    }

    #[test]
    fn the_high_half_counts_as_if_it_stood_behind_the_data() {
        let key = AeadKey::authentication(MacKey::HmacSha256(&[3; 32])).unwrap();
        let icv_of = |aad, data: &[u8]| {
            let (mut data, mut icv) = (data.to_vec(), [0; 16]);
            seal_burst(&mut [SealJob::new(&key, [0; 12], aad, &mut data, &mut icv).unwrap()]);
            icv
        };
        let data: Vec<u8> = (0..50).collect();
        let icv = icv_of(Aad::extended(1, (7 << 32) | 2), &data);
        assert_eq!(icv, icv_of(Aad::new(5, 6), &[&data[..], &[0, 0, 0, 7]].concat()));
        let opens = |aad, icv: &[u8]| open_burst(&mut [OpenJob::new(&key, [1; 12], aad, &mut data.clone(), icv).unwrap()]).contains(0);
        assert!(opens(Aad::extended(1, (7 << 32) | 2), &icv));
        assert!(!opens(Aad::extended(1, (8 << 32) | 2), &icv) && !opens(Aad::new(1, 2), &icv));
        assert!((0..16).all(|at| !opens(Aad::extended(1, 7 << 32), &{
            let mut bad = icv;
            bad[at] ^= 4;
            bad
        })));
    }
}

//! Every kernel against the portable one, which `portable/tests.rs` holds against vectors and other code.

extern crate std;

use proptest::prelude::*;
use std::string::ToString;

use super::*;

fn sealed(kernel: Kernel, key: &[u8], nonce: &[u8; 12], aad: &Aad, data: &[u8]) -> (Vec<u8>, [u8; 16]) {
    let key = Key::new(kernel, key).unwrap();
    let (mut data, mut icv) = (data.to_vec(), [0; 16]);
    key.seal(nonce, aad, &mut data, &mut icv, &mut Keystream::new());
    (data, icv)
}

#[test]
fn kernels_have_names_and_the_portable_one_is_everywhere() {
    for kernel in Kernel::ALL {
        assert_eq!(kernel.to_string().parse(), Ok(kernel));
        assert_eq!(kernel.checked().is_ok(), Kernel::available().any(|other| other == kernel));
    }
    assert_eq!("sse9".parse::<Kernel>(), Err(UnknownKernel));
    assert_eq!(Kernel::available().last(), Some(Kernel::Portable));
    assert_eq!(Kernel::available().next(), Some(Kernel::best()));
    assert!(UnknownKernel.to_string().ends_with("avx512, portable"));
    assert!(KernelUnavailable(Kernel::Avx512).to_string().contains("does not run the kernel avx512: it runs "));
}

/// Octets before and behind the data that nobody may touch.
const MARGIN: usize = 80;

fn agree(key: &[u8], nonce: &[u8; 12], aad: &Aad, data: &[u8], offset: usize) {
    let (ciphertext, icv) = sealed(Kernel::Portable, key, nonce, aad, data);
    for kernel in Kernel::available() {
        let key = Key::new(kernel, key).unwrap();
        let mut room = std::vec![0xa5_u8; MARGIN + offset + data.len() + MARGIN];
        let place = MARGIN + offset..MARGIN + offset + data.len();
        room[place.clone()].copy_from_slice(data);
        let mut tag = [0; 16];
        key.seal(nonce, aad, &mut room[place.clone()], &mut tag, &mut Keystream::new());
        assert_eq!((&room[place.clone()], tag), (&ciphertext[..], icv), "{kernel:?}, {} octets", data.len());
        assert!(!key.open(nonce, aad, &mut room.clone()[place.clone()], &[tag[0] ^ 1; 16], &mut Keystream::new()));
        assert!(key.open(nonce, aad, &mut room[place.clone()], &tag, &mut Keystream::new()));
        assert_eq!(&room[place.clone()], data);
        assert!(room[..place.start].iter().chain(&room[place.end..]).all(|octet| *octet == 0xa5), "{kernel:?} touched what is not its own");
    }
}

#[test]
fn every_length_of_every_key() {
    let data: Vec<u8> = (0..=u8::MAX).cycle().step_by(7).take(2100).collect();
    for key_len in [16, 24, 32] {
        for len in 0..=2100 {
            agree(&data[..key_len], &[9; 12], &Aad::new(1, 2), &data[..len], len % 64);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn kernels_agree(
        key in prop::sample::select(std::vec![16_usize, 24, 32]).prop_flat_map(|len| prop::collection::vec(any::<u8>(), len)),
        nonce: [u8; 12], spi: u32, number: u64, extended: bool,
        data in prop_oneof![prop::collection::vec(any::<u8>(), 0..700), prop::collection::vec(any::<u8>(), 0..9300)],
        offset in 0..64_usize,
    ) {
        let aad = if extended { Aad::extended(spi, number) } else { Aad::new(spi, 7) };
        agree(&key, &nonce, &aad, &data, offset);
    }
}

#[test]
fn the_longest_packet() {
    agree(&[1; 32], &[2; 12], &Aad::extended(3, 4), &std::vec![5; crate::MAX_DATA_LEN], 1);
}

//! A short run of the fuzz target of chunks, manifests and proofs, from good ones that are spoilt.

use super::Draw;

#[path = "../fuzz/restore_bytes.rs"]
mod restore_bytes;

#[test]
fn smoke() {
    let mut draw = Draw(1);
    let sample = restore_bytes::sample();
    let seeds = [sample.files[0].clone(), sample.manifest.encode(), sample.proof.clone()];
    for (which, seed) in (0..).zip(&seeds) {
        restore_bytes::run(&[&[which], &seed[..]].concat());
    }
    for round in 0..1_200u64 {
        let which = (round % 3) as u8;
        let mut bytes = seeds[usize::from(which)].to_vec();
        for _ in 0..draw.below(4) {
            let at = draw.below(bytes.len() as u64) as usize;
            match draw.below(4) {
                0 => bytes[at] ^= 1 << draw.below(8),
                1 => bytes.truncate(at.max(1)),
                2 => bytes.insert(at, draw.next() as u8),
                _ => bytes[at] = draw.next() as u8,
            }
        }
        bytes.insert(0, which);
        restore_bytes::run(&bytes);
        let noise: Vec<u8> = (0..draw.below(60)).map(|_| draw.next() as u8).collect();
        restore_bytes::run(&noise);
    }
}

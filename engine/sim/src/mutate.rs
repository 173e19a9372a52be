//! Random damage to packets, for tests that feed a pipeline what nobody would send.

use crate::rng::Rng;

/// No mutation makes a packet longer than this: what a frame of the usual size has room for.
pub const LONGEST: usize = 2048;

/// Bytes at which length and count fields sit wrong.
const TELLING: [u8; 8] = [0x00, 0x01, 0x3f, 0x40, 0x45, 0x7f, 0x80, 0xff];

/// Damages `bytes` in one to four random ways: bits inverted, bytes set, parts cut out, doubled,
/// put in; front and end cut off or grown. Half of all hits are within the first 64 bytes, where
/// the headers are. Never longer than [`LONGEST`], unless it came so.
pub fn mutate(rng: &mut Rng, bytes: &mut Vec<u8>) {
    for _ in 0..=rng.index(4) {
        mutate_once(rng, bytes);
    }
}

fn mutate_once(rng: &mut Rng, bytes: &mut Vec<u8>) {
    if bytes.is_empty() {
        return grow(rng, bytes);
    }
    let at = position(rng, bytes.len());
    match rng.index(9) {
        0 | 1 => bytes[at] ^= 1 << rng.index(8),
        2 => bytes[at] = rng.byte(),
        3 => bytes[at] = TELLING[rng.index(TELLING.len())],
        4 => bytes.truncate(at),
        5 => grow(rng, bytes),
        6 => {
            let part = part(rng, at, bytes.len());
            bytes.drain(part);
        }
        7 => {
            let part = part(rng, at, bytes.len());
            if bytes.len() + part.len() <= LONGEST {
                let copy = bytes[part].to_vec();
                bytes.splice(at..at, copy);
            }
        }
        _ => {
            let other = position(rng, bytes.len());
            bytes.swap(at, other);
        }
    }
}

/// Appends up to 64 random bytes.
fn grow(rng: &mut Rng, bytes: &mut Vec<u8>) {
    let room = LONGEST.saturating_sub(bytes.len());
    let mut tail = vec![0; (1 + rng.index(64)).min(room)];
    rng.fill(&mut tail);
    bytes.append(&mut tail);
}

fn position(rng: &mut Rng, len: usize) -> usize {
    let reach = if rng.chance(0.5) { len.min(64) } else { len };
    rng.index(reach)
}

/// Up to 16 bytes from `at` on.
fn part(rng: &mut Rng, at: usize, len: usize) -> std::ops::Range<usize> {
    at..(at + 1 + rng.index(16)).min(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damages_most_and_stays_bounded() {
        let mut rng = Rng::new(11);
        let (mut same, mut shorter, mut longer, mut equal) = (0, 0, 0, 0);
        for _ in 0..20_000 {
            let original: Vec<u8> = (0..100).collect();
            let mut bytes = original.clone();
            mutate(&mut rng, &mut bytes);
            same += u32::from(bytes == original);
            match bytes.len().cmp(&100) {
                std::cmp::Ordering::Less => shorter += 1,
                std::cmp::Ordering::Equal => equal += 1,
                std::cmp::Ordering::Greater => longer += 1,
            }
        }
        assert!(same < 1000, "{same}");
        assert!(shorter > 2000 && longer > 2000 && equal > 2000, "{shorter} {equal} {longer}");
    }

    #[test]
    fn every_byte_can_be_hit() {
        let mut rng = Rng::new(12);
        let mut hit = [false; 200];
        for _ in 0..20_000 {
            let mut bytes = vec![0; 200];
            mutate(&mut rng, &mut bytes);
            if bytes.len() == 200 {
                hit.iter_mut().zip(bytes).for_each(|(hit, byte)| *hit |= byte != 0);
            }
        }
        assert!(hit.iter().all(|hit| *hit));
    }

    #[test]
    fn long_runs_stay_bounded_and_replay() {
        let run = |seed| {
            let mut rng = Rng::new(seed);
            let mut bytes = vec![1; 60];
            for _ in 0..10_000 {
                mutate(&mut rng, &mut bytes);
                assert!(bytes.len() <= LONGEST);
            }
            bytes
        };
        assert_eq!(run(13), run(13));
        assert_ne!(run(13), run(14));
    }
}

//! The fuzz targets' checks without libFuzzer: on the seeds that it has found, and on random changes of
//! them. That takes no nightly compiler, and goes far, since the seeds reach most of the code.
//!
//! `FUZZ_SECONDS` says how long each target runs (5). A failing input is written to `artifacts/`, where
//! `FUZZ_INPUT=artifacts/... cargo test --test minute NAME` finds it again.

use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// xorshift64*.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 8
    }

    fn below(&mut self, n: usize) -> usize {
        self.next() as usize % n.max(1)
    }

    /// A seed, the end of it another's now and then, with a few bytes changed.
    fn input(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut input = seeds[self.below(seeds.len())].clone();
        if self.below(2) == 0 {
            let other = &seeds[self.below(seeds.len())];
            input.truncate(self.below(input.len() + 1));
            input.extend(&other[self.below(other.len())..]);
        }
        for _ in 0..self.below(6) {
            let at = self.below(input.len());
            match self.below(3) {
                0 => input.insert(at, self.next() as u8),
                1 if !input.is_empty() => drop(input.remove(at)),
                _ if !input.is_empty() => input[at] = self.next() as u8,
                _ => {}
            }
        }
        input.truncate(4096);
        input
    }
}

fn seeds_path(name: &str) -> PathBuf {
    Path::new(ROOT).join(format!("seeds/{name}"))
}

/// The seeds lie in one file, each behind its length in two bytes.
fn seeds(name: &str) -> Vec<Vec<u8>> {
    let all = std::fs::read(seeds_path(name)).expect("the seeds");
    let (mut rest, mut seeds) = (&all[..], Vec::new());
    while let [a, b, tail @ ..] = rest {
        let (seed, tail) = tail.split_at(usize::from(u16::from_le_bytes([*a, *b])));
        seeds.push(seed.to_vec());
        rest = tail;
    }
    seeds
}

fn run(name: &str, check: fn(&[u8])) {
    if let Some(path) = std::env::var_os("FUZZ_INPUT") {
        return check(&std::fs::read(path).expect("the input"));
    }
    let seconds = std::env::var("FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(5);
    let end = Instant::now() + Duration::from_secs(seconds);
    let (seeds, mut random) = (seeds(name), Random(0x5eed));
    let mut runs = 0;
    while runs < seeds.len() || Instant::now() < end {
        let input = seeds.get(runs).cloned().unwrap_or_else(|| random.input(&seeds));
        if catch_unwind(|| check(&input)).is_err() {
            let path = format!("{ROOT}/artifacts/{name}-{runs}");
            let written = std::fs::create_dir_all(format!("{ROOT}/artifacts"))
                .and_then(|()| std::fs::write(&path, &input));
            panic!("input {runs} fails; it is in {path}: {written:?}");
        }
        runs += 1;
    }
    println!("{name}: {runs} inputs, {} of them seeds", seeds.len());
}

#[test]
fn parser() {
    run("parser", tcp_fuzz::parser::check);
}

#[test]
fn shard() {
    run("shard", tcp_fuzz::shard::check);
}

#[test]
fn pair() {
    run("pair", tcp_fuzz::network::pair);
}

#[test]
fn smoltcp() {
    run("smoltcp", tcp_fuzz::network::against_smoltcp);
}

/// Makes seeds of what libFuzzer has found: to be run after `cargo fuzz cmin`. The short ones go first, up
/// to 128 KiB.
#[test]
#[ignore = "writes the seeds"]
fn collect_seeds() {
    for name in ["parser", "shard", "pair", "smoltcp"] {
        let Ok(dir) = std::fs::read_dir(format!("{ROOT}/corpus/{name}")) else { continue };
        let mut inputs: Vec<_> = dir.flatten().filter_map(|entry| std::fs::read(entry.path()).ok()).collect();
        inputs.sort_by_key(|input| (input.len(), input.clone()));
        let mut all = Vec::new();
        for input in inputs {
            if all.len() + input.len() > 1 << 17 {
                break;
            }
            all.extend((input.len() as u16).to_le_bytes());
            all.extend(input);
        }
        std::fs::create_dir_all(format!("{ROOT}/seeds")).expect("a place");
        std::fs::write(seeds_path(name), all).expect("room");
    }
}

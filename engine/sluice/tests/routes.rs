//! A million routes from a file.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{Home, Router, one_port};
use std::collections::HashSet;
use std::fmt::Write;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

const COUNT: usize = 1_000_000;
const SEED: u64 = 0x5eed_ca11;
/// Of a hundred routes, how many have which length: about as in the Internet's table.
const LENGTHS: [(u8, u64); 9] =
    [(24, 60), (22, 11), (23, 9), (21, 5), (20, 5), (19, 4), (16, 2), (18, 2), (17, 2)];

/// xorshift64.
fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// Prefixes of 20.0.0.0 to 219.255.255.255 with the number of their gateway, no prefix twice.
fn routes() -> Vec<(u32, u8, u8)> {
    let (mut state, mut known) = (SEED, HashSet::with_capacity(COUNT));
    let mut routes = Vec::with_capacity(COUNT);
    while routes.len() < COUNT {
        let mut pick = next(&mut state) % 100;
        let fits = |&&(_, share): &&(u8, u64)| {
            let here = pick < share;
            pick = pick.wrapping_sub(share);
            here
        };
        let len = LENGTHS.iter().find(fits).unwrap().0;
        let first = 20 + (next(&mut state) % 200) as u32;
        let addr = (first << 24 | (next(&mut state) as u32) >> 8) & (u32::MAX << (32 - len));
        if known.insert((addr, len)) {
            routes.push((addr, len, 2 + (next(&mut state) % 200) as u8));
        }
    }
    routes
}

/// Starts a router with these routes. Gives how long that took.
fn timed(routes: &str) -> (Router, Duration) {
    let home = Home::new();
    home.write("routes.txt", routes);
    let body = one_port("net_ring0", "adaptive") + "[routing]\nroutes_file = \"routes.txt\"\n";
    let start = Instant::now();
    let router = home.run(&body, None);
    (router, start.elapsed())
}

#[test]
fn a_million_routes_load_in_a_second() {
    let routes = routes();
    let mut text = String::with_capacity(COUNT * 32);
    for &(addr, len, gateway) in &routes {
        writeln!(text, "{}/{len} via 10.1.0.{gateway}", Ipv4Addr::from(addr)).unwrap();
    }
    let (empty, without) = timed("");
    empty.stop();
    let (router, with) = timed(&text);
    let load = with.saturating_sub(without);
    println!("ready after {with:?} with a million routes, after {without:?} without: {load:?}");
    let limit = Duration::from_secs(if cfg!(debug_assertions) { 10 } else { 1 });
    assert!(load < limit, "{load:?}");

    let total = router.ask(&["routes"])["total"].as_u64().unwrap();
    assert!(total as usize > COUNT, "{total}: the connected network comes on top");
    let twin: HashSet<_> = routes.iter().map(|&(addr, len, _)| (addr, len)).collect();
    for &(addr, ..) in routes.iter().step_by(COUNT / 50) {
        let longest = (1..=32).rev().find(|&len| twin.contains(&(addr & (u32::MAX << (32 - len)), len)));
        let asked = Ipv4Addr::from(addr | 1);
        let longest = longest.unwrap();
        let network = Ipv4Addr::from(addr & (u32::MAX << (32 - longest)));
        let answer = router.ask(&["routes", &asked.to_string()]);
        assert_eq!(answer["routes"][0]["prefix"], format!("{network}/{longest}"), "{asked}: {answer}");
        assert_eq!(answer["routes"][0]["kind"], "via");
    }
    router.stop();
}

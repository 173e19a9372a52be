//! Options: RFC 9293 sections 3.1, 3.2 and 3.7.1, RFC 7323, RFC 2018, RFC 2883.

use std::time::Duration;

use super::rig::{RTT, Rig, config, data, modern, plain, seg};
use crate::connection::State;
use crate::{Config, Options, SackBlocks, Timestamps};

const NOTHING: [&str; 0] = [];
const END: u8 = 0;
const NOP: u8 = 1;

/// The MSS that comes of a SYN with these options.
fn mss_of(options: &[u8]) -> u16 {
    let mut rig = Rig::listening(config());
    rig.give(seg("S", 0, 0).raw_options(options));
    rig.give(seg(".", 1, 1));
    rig.accept();
    rig.info().mss
}

//= RFC 9293 MUST-4: end of list, no-operation and MSS are known.
//= RFC 9293 MUST-6: options that are not known are passed over.
//= RFC 9293 MUST-64: options need not begin on a word.
//= RFC 9293 MUST-68: all but end of list and no-operation have a length.
//= RFC 9293 MUST-15: without an MSS option, 536 is assumed.
#[test]
fn option_lists() {
    let cases: [(&[u8], u16); 9] = [
        (&[], 536),
        (&[2, 4, 4, 0], 1024),
        (&[NOP, NOP, NOP, 2, 4, 4, 0], 1024),
        (&[NOP, 2, 4, 4, 0], 1024),
        (&[END, 2, 4, 4, 0], 536),
        (&[253, 5, 9, 9, 9, 2, 4, 4, 0], 1024),
        (&[77, 2, 2, 4, 4, 0], 1024),
        (&[19, 18, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 4, 4, 0], 1024),
        (&[2, 4, 255, 255], 1460),
    ];
    for (options, want) in cases {
        assert_eq!(mss_of(options), want, "{options:?}");
    }
}

//= RFC 9293 MUST-7: an illegal length of an option does no harm.
#[test]
fn illegal_lengths() {
    for length in [0, 1, 3, 5, 40, 255] {
        assert_eq!(mss_of(&[2, length, 4, 0]), 536, "{length}");
        let mut rig = Rig::established();
        let segment = data(1, 1, b"data").raw_options(&[8, length, 0, 0]);
        assert_eq!(rig.give(segment), [". 1:1(0) ack 5"], "{length}");
        assert_eq!(rig.read(), "data");
    }
}

//= RFC 9293 MUST-5: any segment may have options.
#[test]
fn options_in_any_segment() {
    for options in
        [&[2, 4, 1, 0][..], &[3, 3, 7, 0], &[4, 2], &[253, 2], &[NOP, NOP, 5, 10, 0, 0, 0, 1, 0, 0, 0, 9]]
    {
        let mut rig = Rig::established();
        assert_eq!(rig.give(data(1, 1, b"data").raw_options(options)), [". 1:1(0) ack 5"]);
        assert_eq!((rig.read().as_str(), rig.info().mss), ("data", 1460));
        rig.give(seg("F.", 5, 1).raw_options(options));
        assert_eq!(rig.state(), Some(State::CloseWait));
    }
}

//= RFC 9293 MUST-65: only SYNs have an MSS option.
//= RFC 9293 MUST-69: what fills the header up is zero, or no-operation.
#[test]
fn our_options() {
    let mut rig = Rig::listening(config());
    let mut sent = rig.give_full(seg("S", 0, 0).options(&modern()));
    assert_eq!(sent[0].options.mss, Some(1460));
    assert_eq!(sent[0].raw_options.len() % 4, 0);
    let mut rig = Rig::server(config(), &modern());
    rig.queue(b"x");
    sent = rig.packets();
    sent.extend(rig.give_full(data(100, 2, b"gap")));
    rig.shard.shutdown(rig.now, rig.id());
    sent.extend(rig.packets());
    assert_eq!(sent.len(), 3);
    for out in sent {
        assert!(out.options.mss.is_none() && out.options.timestamps.is_some());
        assert_eq!((out.raw_options.len() + 20, out.raw_options.len() % 4), (out.header_len, 0));
        // Read to its end, the list holds nothing that is not known: no padding with anything else.
        let known = wire::tcp::TcpOptions::new(&out.raw_options)
            .all(|option| option.is_ok_and(|option| !matches!(option, wire::tcp::TcpOption::Unknown { .. })));
        assert!(known, "{:?}", out.raw_options);
    }
}

//= RFC 9293 MUST-16: a segment is no larger than the peer takes, and than the path carries,
//= RFC 9293 MUST-16: options included.
#[test]
fn effective_mss() {
    // MTU, MSS of the peer, timestamps, data of a full segment.
    for (mtu, mss, timestamps, want) in [
        (1500, 1460, false, 1460),
        (1500, 1460, true, 1448),
        (1500, 1000, false, 1000),
        (1500, 1000, true, 988),
        (600, 1460, false, 560),
        (9000, 8960, true, 8948),
    ] {
        let timestamps = modern().timestamps.filter(|_| timestamps);
        let options = Options { mss: Some(mss), timestamps, ..Options::default() };
        let mut rig = Rig::server(Config { mtu, ..config() }, &options);
        rig.queue(&[b'x'; 30_000]);
        let sent = rig.packets();
        assert_eq!(sent[0].data.len(), want, "{mtu} {mss}");
        assert!(sent.iter().all(|out| 20 + out.header_len + out.data.len() <= mtu.into()));
    }
}

//= RFC 9293 MUST-16: SACK blocks take their room, too.
#[test]
fn effective_mss_with_sack() {
    let mut rig = Rig::server(config(), &modern());
    for n in 0..4 {
        rig.give(data(100 + 100 * n, 1, b"island"));
    }
    rig.queue(&[b'x'; 5000]);
    for out in rig.packets() {
        assert!(!out.options.sack.as_slice().is_empty());
        assert!(20 + out.header_len + out.data.len() <= 1500);
    }
}

//= RFC 9293 MUST-67: the MSS that we announce is what the interface takes, less 40.
//= RFC 9293 SHLD-5: every SYN announces it.
#[test]
fn announced_mss() {
    for (mtu, want) in [(1500, 1460), (576, 536), (9000, 8960), (1400, 1360)] {
        let mut rig = Rig::listening(Config { mtu, ..config() });
        assert_eq!(rig.give_full(seg("S", 0, 0))[0].options.mss, Some(want));
        let mut rig = Rig::new(Config { mtu, ..config() });
        rig.id = rig.shard.connect(rig.now, super::rig::US, super::rig::PEER).ok();
        assert_eq!(rig.packets()[0].options.mss, Some(want));
    }
}

//= RFC 7323 section 2.2: windows are scaled if both SYNs say so; that of a SYN never is.
//= RFC 7323 section 2.3: a shift past 14 counts as 14.
#[test]
fn window_scale() {
    for (theirs, want) in [(None, 0), (Some(0), 0), (Some(7), 7), (Some(14), 14), (Some(15), 14)] {
        let mut rig = Rig::listening(config());
        let scale: &[u8] = match theirs {
            Some(shift) => &[3, 3, shift],
            None => &[],
        };
        let syn_ack = rig.give_full(seg("S", 0, 0).window(1000).raw_options(scale));
        assert_eq!(syn_ack[0].options.window_scale.is_some(), theirs.is_some());
        assert_eq!(syn_ack[0].window, 65_535, "{theirs:?}");
        rig.give(seg(".", 1, 1).window(1000));
        rig.accept();
        assert_eq!(rig.info().snd_wnd, 1000 << want, "{theirs:?}");
        let ours = rig.give_full(data(1, 1, b"x"))[0].window;
        assert_eq!(ours < 10_000, theirs.is_some(), "{ours}");
    }
}

//= RFC 7323 section 2.2: the connecting side learns from the SYN-ACK what was agreed on.
#[test]
fn what_the_syn_ack_agrees_on() {
    let info = Rig::client(config(), &modern()).info();
    assert_eq!((info.timestamps, info.sack, info.scales.0, info.mss), (true, true, 7, 1448));
    let info = Rig::client(config(), &plain()).info();
    assert_eq!((info.timestamps, info.sack, info.scales, info.mss), (false, false, (0, 0), 1460));
}

//= RFC 7323 section 2.2: without our offer there is no scaling.
#[test]
fn no_window_scale() {
    let mut rig = Rig::server(Config { window_scale: false, ..config() }, &modern());
    rig.give(seg(".", 1, 1).window(1000));
    assert_eq!((rig.info().scales, rig.info().snd_wnd), ((0, 0), 1000));
}

//= RFC 7323 section 3.2: timestamps are sent in every segment, once both SYNs had them.
//= RFC 7323 section 3.2: TSecr echoes the peer's.
#[test]
fn timestamps() {
    let mut rig = Rig::server(config(), &modern());
    rig.pass(Duration::from_millis(90));
    let ack = &rig.give_full(data(1, 1, b"x"))[0];
    assert_eq!(ack.options.timestamps.unwrap().echo, 5100);
    let first = ack.options.timestamps.unwrap().value;
    rig.pass(Duration::from_millis(250));
    let ack = &rig.give_full(data(2, 1, b"x"))[0];
    assert_eq!(ack.options.timestamps.unwrap().value.wrapping_sub(first), 250);
    let mut rig = Rig::server(config(), &plain());
    assert_eq!(rig.give_full(data(1, 1, b"x"))[0].options, Options::default());
}

//= RFC 7323 section 4.3: behind a gap, the timestamp of the last segment in order is echoed.
#[test]
fn the_timestamp_that_is_echoed() {
    let mut rig = Rig::server(config(), &modern());
    let at = |value| Options { timestamps: Some(Timestamps { value, echo: 0 }), ..Options::default() };
    let echo = |rig: &mut Rig, seq, value| {
        let sent = rig.give_full(data(seq, 1, b"12345").options(&at(value)));
        sent[0].options.timestamps.unwrap().echo
    };
    assert_eq!(echo(&mut rig, 1, 5100), 5100);
    assert_eq!(echo(&mut rig, 11, 5120), 5100);
    assert_eq!(echo(&mut rig, 16, 5130), 5100);
    assert_eq!(echo(&mut rig, 6, 5140), 5140);
}

//= RFC 7323 section 3.2: once agreed on, a segment without timestamps is dropped,
//= RFC 7323 section 3.2: but a reset is not.
#[test]
fn segments_without_timestamps() {
    let mut rig = Rig::server(config(), &modern());
    assert_eq!(rig.give(data(1, 1, b"old").raw_options(&[])), NOTHING);
    assert_eq!(rig.read(), "");
    rig.give(seg("R", 1, 0).raw_options(&[]));
    assert_eq!(rig.state(), Some(State::Closed));
}

//= RFC 7323 section 5.3: a segment with an older timestamp is acknowledged and dropped (PAWS).
#[test]
fn paws() {
    let mut rig = Rig::server(config(), &modern());
    let old = Options { timestamps: Some(Timestamps { value: 4999, echo: 0 }), ..Options::default() };
    assert_eq!(rig.give(data(1, 1, b"old").options(&old)), [". 1:1(0) ack 1"]);
    assert_eq!((rig.read().as_str(), rig.shard.counters().paws_rejected), ("", 1));
    rig.give(data(1, 1, b"new"));
    assert_eq!(rig.read(), "new");
}

//= RFC 7323 section 5.5: after 24 days of silence, an older timestamp is taken.
#[test]
fn paws_after_silence() {
    let mut rig = Rig::server(config(), &modern());
    // Time goes on in steps, as a clock of 39 hours has it.
    for _ in 0..25 {
        rig.wait(Duration::from_secs(24 * 3600));
    }
    let wrapped = Options { timestamps: Some(Timestamps { value: 4999, echo: 0 }), ..Options::default() };
    rig.give(data(1, 1, b"new").options(&wrapped));
    assert_eq!(rig.read(), "new");
}

//= RFC 7323 section 5.2: PAWS applies to a number that wraps: timestamps go on past 2^32.
#[test]
fn timestamps_wrap() {
    let start = Options { timestamps: Some(Timestamps { value: u32::MAX - 20, echo: 0 }), ..modern() };
    let mut rig = Rig::server(config(), &start);
    for n in 0..10 {
        rig.pass(RTT);
        assert_eq!(rig.give(data(1 + n, 1, b"x")), [format!(". 1:1(0) ack {}", n + 2)]);
    }
}

/// The SACK blocks of an ACK, relative.
fn blocks(rig: &mut Rig, segment: super::rig::In) -> Vec<(u32, u32)> {
    let sent = rig.give_full(segment);
    let relative = |n: crate::SeqNumber| n.get().wrapping_add(3);
    sent[0].options.sack.as_slice().iter().map(|block| (relative(block.start), relative(block.end))).collect()
}

//= RFC 2018 section 4: the first block holds the segment that has just come,
//= RFC 2018 section 4: the others repeat the ones reported last.
//= RFC 2018 section 2: only a peer that permitted them is sent any.
#[test]
fn sack_blocks() {
    let mut rig = Rig::server(config(), &modern());
    assert_eq!(blocks(&mut rig, data(11, 1, b"12345")), [(11, 16)]);
    assert_eq!(blocks(&mut rig, data(21, 1, b"12345")), [(21, 26), (11, 16)]);
    assert_eq!(blocks(&mut rig, data(31, 1, b"12345")), [(31, 36), (21, 26), (11, 16)]);
    assert_eq!(blocks(&mut rig, data(16, 1, b"12345")), [(11, 26), (31, 36)]);
    assert_eq!(blocks(&mut rig, data(1, 1, b"1234567890")), [(31, 36)]);
    let mut rig = Rig::established();
    assert_eq!(blocks(&mut rig, data(11, 1, b"12345")), []);
}

//= RFC 2883 section 4: a duplicate is reported in the first block, once.
#[test]
fn dsack_blocks() {
    let mut rig = Rig::server(config(), &modern());
    rig.give(data(1, 1, b"1234567890"));
    assert_eq!(blocks(&mut rig, data(6, 1, b"67890")), [(6, 11)]);
    rig.give(data(21, 1, b"12345"));
    assert_eq!(blocks(&mut rig, data(21, 1, b"12345")), [(21, 26), (21, 26)]);
    assert_eq!(blocks(&mut rig, data(31, 1, b"1")), [(31, 32), (21, 26)]);
}

//= RFC 2018 section 2: SACK-permitted is sent in SYNs, if the peer's SYN had it.
#[test]
fn sack_permitted() {
    for permitted in [false, true] {
        let mut rig = Rig::listening(config());
        let options = Options { sack_permitted: permitted, sack: SackBlocks::NONE, ..plain() };
        assert_eq!(rig.give_full(seg("S", 0, 0).options(&options))[0].options.sack_permitted, permitted);
    }
}

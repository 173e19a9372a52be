use std::fmt::Write;

use proptest::prelude::*;

use super::state::{Failed, Incomplete, Probe, Reachable, Static};
use super::*;

const A: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xa]);
const B: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xb]);

fn key(n: u8) -> Key {
    Key { iface: IfaceId(1), ip: Ipv4Addr::new(10, 0, 0, n) }
}

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

fn reply(n: u8, mac: MacAddr) -> ArpEvent {
    ArpEvent::Learned { ip: key(n).ip, mac, is_reply: true, was_for_us: true }
}

fn request(n: u8, mac: MacAddr) -> ArpEvent {
    ArpEvent::Learned { ip: key(n).ip, mac, is_reply: false, was_for_us: true }
}

fn gratuitous(n: u8, mac: MacAddr) -> ArpEvent {
    ArpEvent::Learned { ip: key(n).ip, mac, is_reply: false, was_for_us: false }
}

fn table(max: usize) -> Neighbours {
    Neighbours::new(max, Timing::default(), 7)
}

fn actions(table: &mut Neighbours) -> Vec<Action> {
    std::iter::from_fn(|| table.poll_action()).collect()
}

fn broadcast(n: u8) -> Action {
    Action::SendRequest { target: key(n), to: RequestTo::Broadcast }
}

/// Runs the table's own deadlines up to `until`, and gives what it did and when, in milliseconds.
fn run(table: &mut Neighbours, until: Instant) -> Vec<(u64, Action)> {
    let mut log = Vec::new();
    while let Some(now) = table.next_deadline().filter(|due| *due <= until) {
        table.handle_timeout(now);
        log.extend(actions(table).into_iter().map(|action| (now.as_nanos() / 1_000_000, action)));
    }
    log
}

#[test]
fn the_machine() {
    let timing = Timing::default();
    let now = at(100_000);
    let (long_ago, just_now) = (at(60_000), at(99_500));
    let due = now;
    let cx = Context { now, timing: &timing, reachable: timing.reachable };
    let incomplete = |sent| Some(State::Incomplete(Incomplete { asked: at(99_000), sent, due }));
    let reachable =
        |taken| Some(State::Reachable(Reachable { mac: A, taken, heard: taken, due: at(110_000) }));
    let probe = |sent| Some(State::Probe(Probe { mac: A, taken: long_ago, heard: long_ago, sent, due }));
    let states = [
        ("(none)", None),
        ("Incomplete, 1 sent", incomplete(1)),
        ("Incomplete, 3 sent", incomplete(3)),
        ("Reachable", reachable(long_ago)),
        ("Reachable, locked", reachable(just_now)),
        ("Probe, 1 sent", probe(1)),
        ("Probe, 3 sent", probe(3)),
        ("Failed", Some(State::Failed(Failed { asked: at(97_000), due }))),
        ("Static", Some(State::Static(Static { mac: A, set: long_ago }))),
    ];
    let events = [
        ("resolve", Event::Resolve),
        ("heard a, asked us", Event::Heard { mac: A, asked_us: true }),
        ("heard a", Event::Heard { mac: A, asked_us: false }),
        ("heard b", Event::Heard { mac: B, asked_us: false }),
        ("timeout", Event::Timeout),
        ("set a", Event::Set(A)),
        ("set b", Event::Set(B)),
        ("remove", Event::Remove),
    ];
    let show = |state: Option<State>| match state {
        None => "(none)".to_owned(),
        Some(s) => {
            let name = NeighbourState::from(&s).name();
            let mac = s.mac().map(|mac| format!(" {:x}", mac.0[5])).unwrap_or_default();
            let due = s.due().map(|due| format!(" {:?}", due - now)).unwrap_or_default();
            format!("{name}{mac}{due}")
        }
    };
    let mut text = String::new();
    for (state_name, state) in states {
        for (event_name, event) in events {
            let (next, effect) = step(state, event, &cx);
            let next = if next == state { "=".to_owned() } else { show(next) };
            let effect = match effect {
                Effect::None => "",
                Effect::Broadcast => "ask all",
                Effect::Unicast(_) => "ask it",
                Effect::Resolved(_) => "Resolved",
                Effect::Changed(_) => "Changed",
                Effect::Contested => "contested",
                Effect::Failed => "Failed",
                Effect::Removed => "Removed",
                Effect::GivenUp => "Failed, Removed",
            };
            let row = format!("{state_name:20}{event_name:20}{next:20}{effect}");
            writeln!(text, "{}", row.trim_end()).unwrap();
        }
    }
    insta::assert_snapshot!(text, @r"
    (none)              resolve             incomplete 1s       ask all
    (none)              heard a, asked us   reachable a 30s     Resolved
    (none)              heard a             =
    (none)              heard b             =
    (none)              timeout             =
    (none)              set a               static a            Resolved
    (none)              set b               static b            Resolved
    (none)              remove              =
    Incomplete, 1 sent  resolve             =
    Incomplete, 1 sent  heard a, asked us   reachable a 30s     Resolved
    Incomplete, 1 sent  heard a             reachable a 30s     Resolved
    Incomplete, 1 sent  heard b             reachable b 30s     Resolved
    Incomplete, 1 sent  timeout             incomplete 1s       ask all
    Incomplete, 1 sent  set a               static a            Resolved
    Incomplete, 1 sent  set b               static b            Resolved
    Incomplete, 1 sent  remove              (none)              Failed, Removed
    Incomplete, 3 sent  resolve             =
    Incomplete, 3 sent  heard a, asked us   reachable a 30s     Resolved
    Incomplete, 3 sent  heard a             reachable a 30s     Resolved
    Incomplete, 3 sent  heard b             reachable b 30s     Resolved
    Incomplete, 3 sent  timeout             failed 3s           Failed
    Incomplete, 3 sent  set a               static a            Resolved
    Incomplete, 3 sent  set b               static b            Resolved
    Incomplete, 3 sent  remove              (none)              Failed, Removed
    Reachable           resolve             =                   Resolved
    Reachable           heard a, asked us   reachable a 30s
    Reachable           heard a             reachable a 30s
    Reachable           heard b             reachable b 30s     Changed
    Reachable           timeout             probe a 1s          ask it
    Reachable           set a               static a
    Reachable           set b               static b            Changed
    Reachable           remove              (none)              Removed
    Reachable, locked   resolve             =                   Resolved
    Reachable, locked   heard a, asked us   reachable a 30s
    Reachable, locked   heard a             reachable a 30s
    Reachable, locked   heard b             reachable a 500ms   contested
    Reachable, locked   timeout             probe a 1s          ask it
    Reachable, locked   set a               static a
    Reachable, locked   set b               static b            Changed
    Reachable, locked   remove              (none)              Removed
    Probe, 1 sent       resolve             =                   Resolved
    Probe, 1 sent       heard a, asked us   reachable a 30s
    Probe, 1 sent       heard a             reachable a 30s
    Probe, 1 sent       heard b             reachable b 30s     Changed
    Probe, 1 sent       timeout             probe a 1s          ask it
    Probe, 1 sent       set a               static a
    Probe, 1 sent       set b               static b            Changed
    Probe, 1 sent       remove              (none)              Removed
    Probe, 3 sent       resolve             =                   Resolved
    Probe, 3 sent       heard a, asked us   reachable a 30s
    Probe, 3 sent       heard a             reachable a 30s
    Probe, 3 sent       heard b             reachable b 30s     Changed
    Probe, 3 sent       timeout             (none)              Removed
    Probe, 3 sent       set a               static a
    Probe, 3 sent       set b               static b            Changed
    Probe, 3 sent       remove              (none)              Removed
    Failed              resolve             =                   Failed
    Failed              heard a, asked us   reachable a 30s     Resolved
    Failed              heard a             reachable a 30s     Resolved
    Failed              heard b             reachable b 30s     Resolved
    Failed              timeout             (none)              Removed
    Failed              set a               static a            Resolved
    Failed              set b               static b            Resolved
    Failed              remove              (none)              Removed
    Static              resolve             =                   Resolved
    Static              heard a, asked us   =
    Static              heard a             =
    Static              heard b             =
    Static              timeout             =
    Static              set a               static a
    Static              set b               static b            Changed
    Static              remove              (none)              Removed
    ");
}

#[test]
fn asks_three_times_then_fails_then_forgets() {
    let mut table = table(8);
    table.handle_resolve(at(0), key(1));
    assert_eq!(actions(&mut table), [broadcast(1)]);
    let log = run(&mut table, at(60_000));
    let failed = Action::Failed { key: key(1) };
    let removed = Action::Removed { key: key(1) };
    assert_eq!(log, [(1000, broadcast(1)), (2000, broadcast(1)), (3000, failed), (6000, removed)]);
    assert!(table.is_empty());
    let want = Counts { incomplete: 1, failed: 1, removed: 1, requests: 3, ..Counts::default() };
    assert_eq!(*table.counts(), want);
}

#[test]
fn a_failed_neighbour_is_not_asked_again_but_may_speak() {
    let mut table = table(8);
    table.handle_resolve(at(0), key(1));
    run(&mut table, at(3000));
    actions(&mut table);
    table.handle_resolve(at(4000), key(1));
    assert_eq!(actions(&mut table), [Action::Failed { key: key(1) }]);
    table.handle_arp(at(4500), IfaceId(1), gratuitous(1, A));
    assert_eq!(actions(&mut table), [Action::Resolved { key: key(1), mac: A }]);
}

#[test]
fn resolves_on_the_reply_and_says_so_to_whoever_asks_later() {
    let mut table = table(8);
    table.handle_resolve(at(0), key(1));
    table.handle_resolve(at(1), key(1));
    assert_eq!(actions(&mut table), [broadcast(1)]);
    table.handle_arp(at(2), IfaceId(1), reply(1, A));
    table.handle_resolve(at(3), key(1));
    let resolved = Action::Resolved { key: key(1), mac: A };
    assert_eq!(actions(&mut table), [resolved, resolved]);
    let want = Neighbour { key: key(1), state: NeighbourState::Reachable, mac: Some(A), touched: at(2) };
    assert_eq!(table.iter().collect::<Vec<_>>(), [want]);
}

#[test]
fn an_interface_is_part_of_the_key() {
    let mut table = table(8);
    table.handle_resolve(at(0), key(1));
    table.handle_arp(at(1), IfaceId(2), reply(1, A));
    assert_eq!(actions(&mut table), [broadcast(1)]);
    assert_eq!(table.get(key(1)).unwrap().state, NeighbourState::Incomplete);
}

#[test]
fn probes_by_unicast_before_it_forgets() {
    let mut table = table(8);
    table.handle_arp(at(0), IfaceId(1), request(1, A));
    actions(&mut table);
    let log = run(&mut table, at(120_000));
    let start = log[0].0;
    assert!((15_000..=45_000).contains(&start), "{start}");
    let ask = Action::SendRequest { target: key(1), to: RequestTo::Unicast(A) };
    let removed = Action::Removed { key: key(1) };
    let want = [(start, ask), (start + 1000, ask), (start + 2000, ask), (start + 3000, removed)];
    assert_eq!(log, want);
}

#[test]
fn an_answered_probe_goes_unnoticed_by_workers() {
    let mut table = table(8);
    table.handle_arp(at(0), IfaceId(1), request(1, A));
    actions(&mut table);
    let due = table.next_deadline().unwrap();
    table.handle_timeout(due);
    assert_eq!(table.get(key(1)).unwrap().state, NeighbourState::Probe);
    actions(&mut table);
    table.handle_arp(due, IfaceId(1), reply(1, A));
    assert_eq!(actions(&mut table), []);
    assert_eq!(table.get(key(1)).unwrap().state, NeighbourState::Reachable);
}

#[test]
fn probing_is_spread() {
    let mut table = table(512);
    for n in 0..200 {
        table.handle_arp(at(0), IfaceId(1), request(n, A));
    }
    let dues: BTreeSet<_> = table.deadlines.iter().map(|(due, _)| *due).collect();
    assert!(dues.len() > 150, "{} different times", dues.len());
}

#[test]
fn only_those_who_ask_us_are_remembered_unasked() {
    for (event, remembered) in [(request(1, A), true), (gratuitous(1, A), false), (reply(1, A), false)] {
        let mut table = table(8);
        table.handle_arp(at(0), IfaceId(1), event);
        assert_eq!(!table.is_empty(), remembered, "{event:?}");
        assert_eq!(!actions(&mut table).is_empty(), remembered, "{event:?}");
    }
}

#[test]
fn two_stations_with_one_address_take_turns_at_the_lock_time() {
    let mut table = table(8);
    table.handle_arp(at(0), IfaceId(1), request(1, A));
    actions(&mut table);
    for millis in 1..=5000 {
        let mac = if millis % 2 == 0 { A } else { B };
        table.handle_arp(at(millis), IfaceId(1), gratuitous(1, mac));
        table.handle_timeout(at(millis));
    }
    let changed = actions(&mut table).into_iter().filter(|a| matches!(a, Action::Changed { .. })).count();
    assert_eq!(table.counts().moved, changed as u64);
    assert!((4..=5).contains(&changed), "{changed} changes in 5 s");
    assert!(table.counts().contested > 2000);
}

#[test]
fn a_contested_address_is_probed_when_the_lock_is_over() {
    let mut table = table(8);
    table.handle_arp(at(0), IfaceId(1), request(1, A));
    actions(&mut table);
    table.handle_arp(at(500), IfaceId(1), gratuitous(1, B));
    assert_eq!(actions(&mut table), []);
    assert_eq!(table.next_deadline(), Some(at(1000)));
    table.handle_timeout(at(1000));
    assert_eq!(actions(&mut table), [Action::SendRequest { target: key(1), to: RequestTo::Unicast(A) }]);
    table.handle_arp(at(1001), IfaceId(1), gratuitous(1, B));
    assert_eq!(actions(&mut table), [Action::Changed { key: key(1), mac: B }]);
}

#[test]
fn static_entries_obey_the_operator_alone() {
    let mut table = table(8);
    table.insert_static(at(0), key(1), A).unwrap();
    table.handle_arp(at(1), IfaceId(1), reply(1, B));
    table.handle_timeout(at(1_000_000));
    assert_eq!(actions(&mut table), [Action::Resolved { key: key(1), mac: A }]);
    table.insert_static(at(2), key(1), B).unwrap();
    table.remove_learned(at(3), IfaceId(1));
    assert!(table.remove(at(3), key(1)));
    assert!(!table.remove(at(3), key(1)));
    let want = [Action::Changed { key: key(1), mac: B }, Action::Removed { key: key(1) }];
    assert_eq!(actions(&mut table), want);
    assert_eq!(table.next_deadline(), None);
}

#[test]
fn a_link_that_goes_down_takes_its_learned_neighbours_along() {
    let mut table = table(16);
    let other = Key { iface: IfaceId(2), ..key(1) };
    table.handle_arp(at(0), IfaceId(1), request(1, A));
    table.handle_arp(at(0), IfaceId(2), request(1, A));
    table.handle_resolve(at(0), key(2));
    table.insert_static(at(0), key(3), A).unwrap();
    actions(&mut table);
    table.remove_learned(at(1), IfaceId(1));
    assert_eq!(table.iter().map(|n| n.key).collect::<Vec<_>>(), [key(3), other]);
    let removed = |key| Action::Removed { key };
    assert_eq!(actions(&mut table), [removed(key(1)), Action::Failed { key: key(2) }, removed(key(2))]);
}

#[test]
fn a_scan_leaves_resolved_neighbours_alone_and_still_lets_new_ones_in() {
    let mut table = table(16);
    for n in 1..=6 {
        table.handle_arp(at(0), IfaceId(1), request(n, A));
    }
    for n in 100..200 {
        table.handle_resolve(at(u64::from(n)), key(n));
    }
    assert_eq!((table.len(), table.unanswered()), (14, 8));
    assert_eq!(table.counts().evicted, 92);
    table.handle_resolve(at(300), key(50));
    table.handle_arp(at(301), IfaceId(1), reply(50, B));
    for n in 1..=6 {
        assert_eq!(table.get(key(n)).unwrap().mac, Some(A));
    }
    assert_eq!(table.get(key(50)).unwrap().mac, Some(B));
}

#[test]
fn a_table_full_of_resolved_neighbours_refuses() {
    let mut table = table(4);
    for n in 1..=4 {
        table.handle_resolve(at(0), key(n));
        table.handle_arp(at(1), IfaceId(1), reply(n, A));
    }
    actions(&mut table);
    table.handle_resolve(at(2), key(5));
    assert_eq!(actions(&mut table), [Action::Failed { key: key(5) }, Action::Removed { key: key(5) }]);
    assert_eq!(table.insert_static(at(3), key(5), B), Err(TableFull));
    assert_eq!(table.insert_static(at(3), key(4), B), Ok(()));
    assert_eq!(table.counts().refused, 1);
}

#[test]
fn those_who_ask_us_fill_half_of_the_table() {
    let mut table = table(8);
    for n in 1..=10 {
        table.handle_arp(at(0), IfaceId(1), request(n, A));
    }
    assert_eq!((table.len(), table.counts().refused), (4, 6));
}

#[test]
fn our_address_is_defended_once_in_ten_seconds() {
    let mut table = table(8);
    let duplicate = ArpEvent::Duplicate { ip: key(254).ip, mac: B };
    let mut when = Vec::new();
    for millis in (0..25_000).step_by(100) {
        table.handle_arp(at(millis), IfaceId(1), duplicate);
        let got = actions(&mut table);
        if !got.is_empty() {
            let own = key(254);
            assert_eq!(got, [Action::Announce { own }, Action::DuplicateAddress { own, mac: B }]);
            when.push(millis);
        }
    }
    assert_eq!(when, [0, 10_000, 20_000]);
    assert_eq!(table.counts().duplicates, 250);
    assert!(table.is_empty());
}

#[test]
fn defences_are_bounded() {
    let mut table = table(8);
    for n in 0..1000u32 {
        let ip = Ipv4Addr::from_bits(0x0a00_0000 + n);
        table.handle_arp(at(0), IfaceId(1), ArpEvent::Duplicate { ip, mac: B });
    }
    assert_eq!(actions(&mut table).len(), 2 * MAX_DEFENDED);
    table.handle_arp(at(10_000), IfaceId(1), ArpEvent::Duplicate { ip: key(254).ip, mac: B });
    assert_eq!(actions(&mut table).len(), 2);
    assert_eq!(table.defended.len(), 1);
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Resolve(u8),
    Heard(u8, bool, bool, bool),
    Set(u8),
    Remove(u8),
    LinkDown,
    Wait(u64),
}

fn op() -> impl Strategy<Value = Op> {
    let n = 0..14u8;
    prop_oneof![
        8 => n.clone().prop_map(Op::Resolve),
        6 => (n.clone(), any::<bool>(), any::<bool>(), any::<bool>())
            .prop_map(|(n, b, is_reply, was_for_us)| Op::Heard(n, b, is_reply, was_for_us)),
        1 => n.clone().prop_map(Op::Set),
        1 => n.prop_map(Op::Remove),
        1 => Just(Op::LinkDown),
        6 => (0..2500u64).prop_map(Op::Wait),
        1 => (0..60_000u64).prop_map(Op::Wait),
    ]
}

/// What a worker believes, from the actions alone.
#[derive(Default)]
struct Worker {
    believes: BTreeMap<Key, Option<MacAddr>>,
    /// Since when packets wait.
    waits: BTreeMap<Key, Instant>,
}

impl Worker {
    fn follow(&mut self, table: &mut Neighbours) {
        for action in actions(table) {
            match action {
                Action::Resolved { key, mac } => {
                    self.believes.insert(key, Some(mac));
                    self.waits.remove(&key);
                }
                Action::Changed { key, mac } => {
                    let old = self.believes.insert(key, Some(mac));
                    assert!(old.flatten().is_some_and(|old| old != mac), "{key:?} did not change");
                }
                Action::Failed { key } => {
                    self.believes.insert(key, None);
                    self.waits.remove(&key);
                }
                Action::Removed { key } => {
                    assert!(!self.waits.contains_key(&key), "{key:?} removed under waiting packets");
                    assert!(self.believes.remove(&key).is_some(), "{key:?} was not there");
                }
                Action::SendRequest { .. } | Action::Announce { .. } | Action::DuplicateAddress { .. } => {}
            }
        }
    }

    fn check(&self, table: &Neighbours, now: Instant) {
        let settled = table.iter().filter(|n| n.state != NeighbourState::Incomplete);
        let settled: BTreeMap<_, _> = settled.map(|n| (n.key, n.mac)).collect();
        assert_eq!(self.believes, settled);
        for (key, since) in &self.waits {
            assert!(now - *since < table.timing.patience(), "{key:?} waits since {since:?}");
        }
        assert!(table.len() <= table.max && table.unanswered() <= table.max / 2);
        let dues: BTreeSet<_> = table.entries.iter().filter_map(|(k, s)| s.due().map(|d| (d, *k))).collect();
        assert_eq!(table.deadlines, dues);
        assert!(dues.iter().all(|(due, _)| *due > now), "a deadline was lost");
        let asked: BTreeSet<_> =
            table.entries.iter().filter_map(|(k, s)| s.asked().map(|a| (a, *k))).collect();
        assert_eq!(table.unanswered, asked);
    }
}

proptest! {
    /// Whatever happens: bounds hold, no deadline is lost, workers believe what the table holds, and
    /// every resolve is answered in time.
    #[test]
    fn keeps_its_word(max in 2..12usize, seed: u64, ops in prop::collection::vec(op(), 0..200)) {
        let mut table = Neighbours::new(max, Timing::default(), seed);
        let mut worker = Worker::default();
        let mut now = Instant::ZERO;
        for op in ops {
            match op {
                Op::Resolve(n) => {
                    worker.waits.entry(key(n)).or_insert(now);
                    table.handle_resolve(now, key(n));
                }
                Op::Heard(n, b, is_reply, was_for_us) => {
                    let mac = if b { B } else { A };
                    let event = ArpEvent::Learned { ip: key(n).ip, mac, is_reply, was_for_us };
                    table.handle_arp(now, IfaceId(1), event);
                }
                Op::Set(n) => {
                    let full = table.len() == max && table.unanswered() == 0 && table.get(key(n)).is_none();
                    prop_assert_eq!(table.insert_static(now, key(n), A).is_err(), full);
                }
                Op::Remove(n) => {
                    table.remove(now, key(n));
                }
                Op::LinkDown => table.remove_learned(now, IfaceId(1)),
                Op::Wait(millis) => {
                    let until = now + Duration::from_millis(millis);
                    while let Some(due) = table.next_deadline().filter(|due| *due <= until) {
                        table.handle_timeout(due);
                        worker.follow(&mut table);
                        worker.check(&table, due);
                    }
                    now = until;
                }
            }
            worker.follow(&mut table);
            worker.check(&table, now);
        }
    }

    /// A control thread that comes late does not lose anything either.
    #[test]
    fn late_timeouts_are_made_up_for(late in 1..1_000_000u64, resolves in prop::collection::vec(0..14u8, 1..40)) {
        let mut table = table(12);
        let mut worker = Worker::default();
        for n in resolves {
            worker.waits.insert(key(n), Instant::ZERO);
            table.handle_resolve(Instant::ZERO, key(n));
            worker.follow(&mut table);
        }
        let mut now = Instant::ZERO;
        for _ in 0..4 {
            now = now + Duration::from_millis(late).max(Duration::from_secs(3));
            table.handle_timeout(now);
            worker.follow(&mut table);
        }
        prop_assert!(worker.waits.is_empty() && table.is_empty());
    }
}

#[test]
fn times_of_zero_do_not_spin() {
    let zero = Duration::ZERO;
    let timing = Timing { retransmit: zero, reachable: zero, failed: zero, lock: zero, ..Timing::default() };
    let mut table = Neighbours::new(4, timing, 1);
    table.handle_resolve(at(0), key(1));
    for _ in 0..10 {
        table.handle_timeout(at(0));
    }
    assert!(table.is_empty());
}

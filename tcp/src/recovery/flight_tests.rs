use proptest::prelude::*;

use super::*;

const ISS: u32 = u32::MAX - 300;

fn seq(at: usize) -> SeqNumber {
    SeqNumber::new(ISS.wrapping_add(at as u32))
}

fn range(start: usize, end: usize) -> SeqRange {
    SeqRange { start: seq(start), end: seq(end) }
}

fn at(ms: usize) -> Micros {
    Micros::new(ms as u32)
}

/// A board with records that end at these places.
fn board(flights: &mut Pool<Flight>, ends: &[usize]) -> Scoreboard {
    let mut board = Scoreboard::default();
    let mut start = 0;
    for (n, end) in ends.iter().enumerate() {
        board.push(flights, range(start, *end), at(n)).unwrap();
        start = *end;
    }
    board
}

/// Each record's bounds and state, by its initial.
fn shown(board: &Scoreboard, flights: &Pool<Flight>) -> String {
    let record = |flight: &Flight| {
        let [start, end] = [flight.range.start, flight.range.end].map(|end| end.distance_from(seq(0)));
        format!("{start}-{end}{}", format!("{:?}", flight.state).remove(0))
    };
    flights.iter(&board.list).map(|(_, flight)| record(flight)).collect::<Vec<_>>().join(" ")
}

fn sack(board: &mut Scoreboard, flights: &mut Pool<Flight>, start: usize, end: usize, mss: u32) -> u32 {
    let mut newly = 0;
    board.sack(flights, &[range(start, end)], mss, |flight| newly += flight.range.len());
    newly
}

#[test]
fn records_are_cut_and_run_together() {
    let mut flights = Pool::new(10);
    let mut board = board(&mut flights, &[10, 20, 30, 40, 50]);
    assert_eq!(sack(&mut board, &mut flights, 20, 30, 10), 10);
    assert_eq!(sack(&mut board, &mut flights, 40, 50, 10), 10);
    assert_eq!(shown(&board, &flights), "0-10I 10-20I 20-30S 30-40I 40-50S");
    // From the middle of one record to the middle of another.
    assert_eq!(sack(&mut board, &mut flights, 15, 35, 10), 10);
    assert_eq!(shown(&board, &flights), "0-10I 10-15I 15-35S 35-40I 40-50S");
    assert_eq!(sack(&mut board, &mut flights, 12, 40, 10), 8);
    assert_eq!(shown(&board, &flights), "0-10I 10-12I 12-50S");
    let mut acked = Vec::new();
    board.acknowledge(&mut flights, seq(11), |flight| acked.push((flight.range.len(), flight.state)));
    assert_eq!(acked, [(10, State::InFlight), (1, State::InFlight)]);
    assert_eq!(shown(&board, &flights), "11-12I 12-50S");
    assert_eq!((board.in_flight(), board.sacked(), board.lost(), flights.used()), (1, 38, 0, 2));
}

#[test]
fn without_room_a_record_is_not_cut() {
    let mut flights = Pool::new(2);
    let mut board = board(&mut flights, &[10, 20]);
    assert_eq!(board.push(&mut flights, range(20, 30), at(0)), Err(Full));
    assert_eq!(sack(&mut board, &mut flights, 5, 15, 10), 0);
    assert_eq!(sack(&mut board, &mut flights, 5, 20, 10), 10);
    board.mark_lost(&mut flights, |_| Fate::Lost);
    board.retransmit(&mut flights, range(0, 4), at(9));
    assert_eq!(shown(&board, &flights), "0-10I 10-20S");
    assert_eq!(board.front(&flights).map(|front| (front.sent, front.retransmitted)), Some((at(9), true)));
}

/// Of a run that is lost again nobody can say any more which part was sent twice.
#[test]
fn a_run_was_sent_again_if_any_of_it_was() {
    let mut flights = Pool::new(10);
    let mut board = board(&mut flights, &[10, 20]);
    board.retransmit(&mut flights, range(10, 20), at(9));
    sack(&mut board, &mut flights, 0, 20, 10);
    board.forget_sacks(&mut flights);
    board.unmark_lost(&mut flights);
    assert_eq!(shown(&board, &flights), "0-20I");
    assert!(board.front(&flights).is_some_and(|front| front.retransmitted));
}

#[test]
fn records_follow_upon_each_other() {
    let mut flights = Pool::new(10);
    let mut board = board(&mut flights, &[10, 20]);
    assert_eq!(board.push(&mut flights, range(21, 30), at(0)), Err(Full));
    assert_eq!(sack(&mut board, &mut flights, 15, 20, 10), 5);
    board.clear(&mut flights);
    assert_eq!((flights.used(), board.in_flight(), board.sacked()), (0, 0, 0));
}

/// A peer that reports every other byte, and one that reports every other segment.
#[test]
fn blocks_of_single_bytes_make_few_records() {
    for (step, len, records) in [(2, 1, FEW + 200), (2000, 1000, 100)] {
        let mut flights = Pool::new(10_000);
        let mut board = board(&mut flights, &[100_000]);
        for start in (1000..100_000).step_by(step) {
            sack(&mut board, &mut flights, start, start + len, 1000);
        }
        assert_eq!(board.len(), records, "{len}");
    }
}

#[test]
fn those_with_many_records_leave_some() {
    let mut flights = Pool::new(1000);
    for _ in 0..10 {
        let mut greedy = board(&mut flights, &[10_000]);
        for start in (0..10_000).step_by(4) {
            sack(&mut greedy, &mut flights, start, start + 2, 1);
        }
    }
    assert!(flights.room() > 100, "{}", flights.room());
}

#[derive(Clone, Debug)]
enum Step {
    Push(usize),
    Ack(usize),
    Sack(Vec<(usize, usize)>),
    /// What was sent before that step is lost.
    Lose(usize),
    Retransmit(usize, usize),
    Unmark,
    Forget,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1..40usize).prop_map(Step::Push),
        2 => (0..60usize).prop_map(Step::Ack),
        6 => proptest::collection::vec((0..200usize, 1..50usize), 1..5).prop_map(Step::Sack),
        3 => (0..100usize).prop_map(Step::Lose),
        4 => (0..100usize, 1..60usize).prop_map(|(start, len)| Step::Retransmit(start, len)),
        1 => Just(Step::Unmark),
        1 => Just(Step::Forget),
    ]
}

/// What the twin knows of each byte.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Byte {
    state: State,
    sent: usize,
    retransmitted: bool,
}

/// The twin: every byte that was ever sent.
#[derive(Default)]
struct Bitmap {
    bytes: Vec<Byte>,
    una: usize,
}

impl Bitmap {
    fn outstanding(&mut self) -> &mut [Byte] {
        &mut self.bytes[self.una..]
    }

    fn count(&self, state: State) -> u32 {
        self.bytes[self.una..].iter().filter(|byte| byte.state == state).count() as u32
    }

    fn turn(&mut self, from: State, to: State) {
        self.outstanding().iter_mut().filter(|byte| byte.state == from).for_each(|byte| byte.state = to);
    }
}

/// Blocks in order and apart, as [`super::super::sack`] gives them.
fn tidy(blocks: &[(usize, usize)], una: usize, nxt: usize) -> Vec<(usize, usize)> {
    let mut out: Vec<(usize, usize)> = Vec::new();
    let mut blocks: Vec<_> = blocks.iter().map(|(start, len)| (una + start, una + start + len)).collect();
    blocks.sort_unstable();
    for (start, end) in blocks.into_iter().filter(|block| block.1 <= nxt) {
        match out.last_mut() {
            Some(last) if start <= last.1 => last.1 = last.1.max(end),
            _ => out.push((start, end)),
        }
    }
    out
}

/// A board and its twin.
struct Pair {
    flights: Pool<Flight>,
    board: Scoreboard,
    twin: Bitmap,
    /// When what had been SACKed was sent is not kept: once it is lost again, it cannot be compared, and no
    /// loss can be told from it.
    forgot: bool,
}

impl Pair {
    /// Does one step on both.
    fn apply(&mut self, now: usize, step: Step) -> Result<(), TestCaseError> {
        let Pair { flights, board, twin, forgot } = self;
        let (una, nxt) = (twin.una, twin.bytes.len());
        match step {
            Step::Push(len) => {
                if board.push(flights, range(nxt, nxt + len), at(now)).is_ok() {
                    let byte = Byte { state: State::InFlight, sent: now, retransmitted: false };
                    twin.bytes.resize(nxt + len, byte);
                } else {
                    prop_assert!(!board.has_room(flights));
                }
            }
            Step::Ack(len) => {
                let (ack, mut seen) = (nxt.min(una + len), 0);
                board.acknowledge(flights, seq(ack), |flight| seen += flight.range.len());
                prop_assert_eq!(seen as usize, ack - una);
                twin.una = ack;
            }
            Step::Sack(blocks) => {
                let blocks = tidy(&blocks, una, nxt);
                let ranges: Vec<_> = blocks.iter().map(|(start, end)| range(*start, *end)).collect();
                let (before, mut seen) = (board.sacked(), 0);
                board.sack(flights, &ranges, 1, |flight| seen += flight.range.len());
                prop_assert_eq!(seen, board.sacked() - before);
                for (start, end) in blocks {
                    twin.bytes[start..end].iter_mut().for_each(|byte| byte.state = State::Sacked);
                }
            }
            Step::Lose(_) if *forgot => {}
            Step::Lose(before) => {
                let gone = |flight: &Flight| flight.sent.before(at(before));
                board.mark_lost(flights, |flight| if gone(flight) { Fate::Lost } else { Fate::Kept });
                let gone = |byte: &&mut Byte| byte.state == State::InFlight && byte.sent < before;
                twin.outstanding().iter_mut().filter(gone).for_each(|byte| byte.state = State::Lost);
            }
            Step::Retransmit(start, len) => {
                let (start, end) = (nxt.min(una + start), nxt.min(una + start + len));
                board.retransmit(flights, range(start, end), at(now));
                for byte in twin.bytes[start..end].iter_mut().filter(|byte| byte.state != State::Sacked) {
                    *byte = Byte { state: State::InFlight, sent: now, retransmitted: true };
                }
            }
            Step::Unmark => {
                board.unmark_lost(flights);
                twin.turn(State::Lost, State::InFlight);
            }
            Step::Forget => {
                *forgot = true;
                board.forget_sacks(flights);
                twin.turn(State::Sacked, State::Lost);
            }
        }
        Ok(())
    }

    /// The records cover what is outstanding, in order; if `exact`, each byte is where the twin has it.
    fn compare(&mut self, exact: bool) -> Result<(), TestCaseError> {
        let Pair { flights, board, twin, forgot } = self;
        let sum = board.in_flight() + board.lost() + board.sacked();
        prop_assert_eq!(sum as usize, twin.outstanding().len());
        let mut place = twin.una;
        for (_, flight) in flights.iter(&board.list) {
            prop_assert_eq!(flight.range.start, seq(place));
            let bytes = &twin.bytes[place..place + flight.range.len() as usize];
            place += bytes.len();
            let (sent, retransmitted) = (flight.sent.get() as usize, flight.retransmitted);
            let same = |byte: &Byte| {
                let times = byte.sent == sent && byte.retransmitted == retransmitted;
                byte.state == flight.state && (byte.state != State::InFlight || times || *forgot)
            };
            prop_assert!(!exact || bytes.iter().all(same), "{:?} {:?}", flight, bytes);
        }
        prop_assert_eq!(place, twin.bytes.len());
        if exact {
            let counts = [State::InFlight, State::Lost, State::Sacked].map(|state| twin.count(state));
            prop_assert_eq!([board.in_flight(), board.lost(), board.sacked()], counts);
            let first = twin.outstanding().iter().position(|byte| byte.state == State::Lost);
            let lost = board.first_lost(flights).map(|flight| flight.range.start);
            prop_assert_eq!(lost, first.map(|first| seq(twin.una + first)));
        }
        Ok(())
    }
}

/// Runs the steps on a board and on its twin; `exact`: there is room for every record.
fn run(steps: Vec<Step>, room: usize, exact: bool) -> Result<(), TestCaseError> {
    let (board, twin) = (Scoreboard::default(), Bitmap::default());
    let mut pair = Pair { flights: Pool::new(room), board, twin, forgot: false };
    for (now, step) in steps.into_iter().enumerate() {
        // Two steps at a time, so that there are segments sent at the same moment.
        pair.apply(now / 2, step)?;
        pair.compare(exact)?;
    }
    pair.board.clear(&mut pair.flights);
    prop_assert_eq!(pair.flights.used(), 0);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Every byte is where the twin has it.
    #[test]
    fn agrees_with_a_bitmap(steps in proptest::collection::vec(step(), 0..100)) {
        run(steps, 10_000, true)?;
    }

    /// With too few records the bytes are still all there, once each.
    #[test]
    fn holds_together_without_room(steps in proptest::collection::vec(step(), 0..100), room in 0..8usize) {
        run(steps, room, false)?;
    }
}

//! What the SACK blocks of an ACK say, once those that cannot be true are left out.

use crate::{SackBlocks, SeqNumber, SeqRange};

/// The blocks of one ACK.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Report {
    /// In order of sequence number and apart from each other, all between SND.UNA and SND.NXT.
    pub(super) blocks: SackBlocks,
    /// What the receiver got twice.
    pub(super) dsack: Option<SeqRange>,
}

impl Report {
    /// Reads the blocks of a segment whose acknowledgment number is `ack`, of which SND.UNA becomes `una`
    /// (they differ if the segment is an old one).
    pub(super) fn read(sack: &SackBlocks, ack: SeqNumber, una: SeqNumber, snd_nxt: SeqNumber) -> Report {
        let blocks = sack.as_slice();
        if blocks.is_empty() {
            return Report::default();
        }
        let dsack = duplicate(blocks, ack);
        let blocks = if dsack.is_some() { &blocks[1..] } else { blocks };
        Report { blocks: in_order(blocks, una, snd_nxt), dsack }
    }
}

/// The block that reports a duplicate, if the first one does.
fn duplicate(blocks: &[SeqRange], ack: SeqNumber) -> Option<SeqRange> {
    let first = *blocks.first()?;
    if !first.start.before(first.end) {
        return None;
    }
    //= RFC 2883 section 4.1.1: a first block below the acknowledgment number reports a duplicate;
    if first.end.at_or_before(ack) {
        return Some(first);
    }
    //= RFC 2883 section 4.2.2: and so does one that lies inside the second block.
    let second = blocks.get(1)?;
    let inside = second.start.at_or_before(first.start) && first.end.at_or_before(second.end);
    inside.then_some(first)
}

//= RFC 2018 section 5: blocks that do not lie in what was sent and is unacknowledged mean nothing.
/// The blocks that can be true, in order; those that touch become one.
fn in_order(blocks: &[SeqRange], una: SeqNumber, snd_nxt: SeqNumber) -> SackBlocks {
    let mut valid = [SeqRange::default(); 4];
    let mut len = 0;
    for block in blocks.iter().take(valid.len()) {
        let start = block.start.distance_from(una);
        let end = block.end.distance_from(una);
        if start > 0 && start < end && end <= snd_nxt.distance_from(una) {
            valid[len] = *block;
            len += 1;
        }
    }
    let valid = &mut valid[..len];
    valid.sort_unstable_by_key(|block| block.start.distance_from(una));
    let mut out = SackBlocks::NONE;
    let mut last: Option<SeqRange> = None;
    for block in valid.iter().copied() {
        last = match last {
            Some(run) if block.start.at_or_before(run.end) => {
                let end = if run.end.before(block.end) { block.end } else { run.end };
                Some(SeqRange { start: run.start, end })
            }
            Some(run) => {
                out.push(run);
                Some(block)
            }
            None => Some(block),
        };
    }
    last.into_iter().for_each(|run| out.push(run));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range((start, end): (u32, u32)) -> SeqRange {
        SeqRange { start: SeqNumber::new(start), end: SeqNumber::new(end) }
    }

    fn read(ack: u32, snd_nxt: u32, blocks: &[(u32, u32)]) -> (Vec<SeqRange>, Option<SeqRange>) {
        let mut sack = SackBlocks::NONE;
        blocks.iter().for_each(|block| sack.push(range(*block)));
        let ack = SeqNumber::new(ack);
        let report = Report::read(&sack, ack, ack, SeqNumber::new(snd_nxt));
        (report.blocks.as_slice().to_vec(), report.dsack)
    }

    /// Acknowledgment number, SND.NXT, blocks as sent, blocks as read, duplicate.
    type Case = (u32, u32, &'static [(u32, u32)], &'static [(u32, u32)], Option<(u32, u32)>);

    #[test]
    fn blocks_are_checked_and_sorted() {
        const TOP: u32 = u32::MAX;
        let cases: [Case; 12] = [
            (100, 200, &[], &[], None),
            (100, 200, &[(150, 160), (120, 130)], &[(120, 130), (150, 160)], None),
            (100, 200, &[(150, 160), (160, 170), (110, 120)], &[(110, 120), (150, 170)], None),
            (100, 200, &[(120, 150), (140, 145), (130, 160)], &[(120, 160)], None),
            // Past SND.NXT; empty; upside down; what the ACK would have covered.
            (100, 200, &[(150, 201), (150, 150), (160, 150), (100, 120)], &[], None),
            // RFC 2883 section 4.1: below the ACK.
            (100, 200, &[(50, 60), (150, 160)], &[(150, 160)], Some((50, 60))),
            (100, 100, &[(90, 100)], &[], Some((90, 100))),
            (100, 200, &[(90, 101)], &[], None),
            // RFC 2883 section 4.2: inside the second block.
            (100, 200, &[(150, 160), (150, 170)], &[(150, 170)], Some((150, 160))),
            (100, 200, &[(150, 160), (155, 170)], &[(150, 170)], None),
            // About the wrap.
            (TOP - 50, 50, &[(10, 20), (TOP - 20, TOP)], &[(TOP - 20, TOP), (10, 20)], None),
            (10, 50, &[(TOP, 5), (20, 30)], &[(20, 30)], Some((TOP, 5))),
        ];
        for (ack, snd_nxt, blocks, want, duplicate) in cases {
            let want = want.iter().copied().map(range).collect();
            assert_eq!(read(ack, snd_nxt, blocks), (want, duplicate.map(range)), "{ack} {blocks:?}");
        }
    }

    #[test]
    fn an_old_ack_counts_from_where_things_stand() {
        let mut sack = SackBlocks::NONE;
        [(110, 120), (150, 160)].into_iter().for_each(|block| sack.push(range(block)));
        let report = Report::read(&sack, SeqNumber::new(100), SeqNumber::new(130), SeqNumber::new(200));
        assert_eq!((report.blocks.as_slice(), report.dsack), (&[range((150, 160))][..], None));
    }
}

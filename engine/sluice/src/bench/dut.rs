//! The device under test that the tester starts: how the two are connected, and whether their counters agree.

use std::path::PathBuf;

use super::Error;
use super::args::Forward;
use super::testpmd::Testpmd;

/// A started device under test.
pub(crate) struct Dut {
    testpmd: Testpmd,
    /// Whether nothing can be lost on the way to it and back.
    lossless: bool,
    before: DutCounters,
    /// Sockets to be removed.
    sockets: Vec<PathBuf>,
}

/// What a device under test counted, in the time of a trial.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct DutCounters {
    /// Frames received.
    pub(crate) rx: u64,
    /// Frames that found no room in its receive queues.
    pub(crate) rx_missed: u64,
    /// Frames sent.
    pub(crate) tx: u64,
    /// Frames that it wanted to send, and dropped.
    pub(crate) tx_dropped: u64,
}

/// What the tester counted in a trial, to be compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct OwnCounters {
    /// Frames that its ports took.
    pub(crate) sent: u64,
    /// Frames of whatever kind that it received.
    pub(crate) received: u64,
    /// Frames that its ports dropped for want of room.
    pub(crate) missed: u64,
}

/// Starts what `--dut` asks for; gives it with the tester's own ports.
pub(crate) fn start(args: &Forward) -> Result<(Option<Dut>, Vec<String>), Error> {
    let Some(mode) = args.dut else { return Ok((None, args.port.clone())) };
    if args.port.len() != args.dut_port.len() {
        let (ours, theirs) = (args.port.len(), args.dut_port.len());
        return Err(format!(
            "--port names {ours} ports and --dut-port {theirs}: name both ends of every cable, or neither."
        )
        .into());
    }
    let lossless = args.port.is_empty();
    let cables = if args.bidirectional { 2 } else { 1 };
    let sockets: Vec<PathBuf> = if lossless { (0..cables).map(socket).collect() } else { Vec::new() };
    let memif = |role: &str| {
        let device = |(n, socket): (usize, &PathBuf)| {
            let socket = socket.display();
            format!("net_memif{n},role={role},id={n},socket={socket},socket-abstract=no,rsize=11")
        };
        sockets.iter().enumerate().map(device).collect::<Vec<String>>()
    };
    let (ours, theirs) = match lossless {
        true => (memif("client"), memif("server")),
        false => (args.port.clone(), args.dut_port.clone()),
    };
    let testpmd = Testpmd::start(mode, &theirs, args.dut_core, !args.no_huge)?;
    Ok((Some(Dut { testpmd, lossless, before: DutCounters::default(), sockets }), ours))
}

fn socket(number: usize) -> PathBuf {
    std::env::temp_dir().join(format!("sluice-bench-{}-{number}.sock", std::process::id()))
}

impl DutCounters {
    pub(crate) fn add(&mut self, other: &DutCounters) {
        self.rx += other.rx;
        self.rx_missed += other.rx_missed;
        self.tx += other.tx;
        self.tx_dropped += other.tx_dropped;
    }
}

impl Dut {
    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.testpmd.id()
    }

    /// Notes where its counters stand before a trial.
    pub(crate) fn begin(&mut self) -> Result<(), Error> {
        self.before = self.testpmd.counters()?;
        Ok(())
    }

    /// What it counted since; an error if that cannot be true together with what the tester counted.
    pub(crate) fn end(&mut self, own: &OwnCounters) -> Result<DutCounters, Error> {
        let (now, before) = (self.testpmd.counters()?, self.before);
        let counted = DutCounters {
            rx: now.rx - before.rx,
            rx_missed: now.rx_missed - before.rx_missed,
            tx: now.tx - before.tx,
            tx_dropped: now.tx_dropped - before.tx_dropped,
        };
        match disagreement(own, &counted, self.lossless) {
            None => Ok(counted),
            Some(what) => {
                Err(format!("the counters of tester and device under test disagree: {what}.").into())
            }
        }
    }
}

impl Drop for Dut {
    fn drop(&mut self) {
        for socket in &self.sockets {
            let _gone = std::fs::remove_file(socket);
        }
    }
}

/// What does not fit. A frame may be lost between the two, unless the cable loses none; none can come from nowhere.
fn disagreement(own: &OwnCounters, dut: &DutCounters, lossless: bool) -> Option<String> {
    let there = dut.rx + dut.rx_missed;
    let back = own.received + own.missed;
    if there > own.sent || (lossless && there < own.sent) {
        return Some(format!("{} frames were sent to it, and it received {there}", own.sent));
    }
    if back > dut.tx || (lossless && back < dut.tx) {
        return Some(format!("it sent {} frames, and {back} came", dut.tx));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_must_fit() {
        let own = OwnCounters { sent: 100, received: 90, missed: 2 };
        let dut = DutCounters { rx: 97, rx_missed: 3, tx: 92, tx_dropped: 5 };
        for (own, dut, lossless, says) in [
            (own, dut, true, None),
            (own, dut, false, None),
            (OwnCounters { sent: 101, ..own }, dut, true, Some("101 frames were sent")),
            (OwnCounters { sent: 101, ..own }, dut, false, None),
            (OwnCounters { sent: 99, ..own }, dut, false, Some("it received 100")),
            (OwnCounters { received: 89, ..own }, dut, true, Some("and 91 came")),
            (OwnCounters { received: 89, ..own }, dut, false, None),
            (OwnCounters { received: 91, ..own }, dut, false, Some("it sent 92 frames")),
        ] {
            let found = disagreement(&own, &dut, lossless);
            let fits = match (&found, says) {
                (Some(found), Some(says)) => found.contains(says),
                (found, says) => found.is_none() && says.is_none(),
            };
            assert!(fits, "{found:?}, expected {says:?}");
        }
    }
}

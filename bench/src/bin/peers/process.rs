//! A contender that runs: it is stopped (SIGSTOP) but for its turns, and watched from outside: its packets on the
//! boards of its devices, its cycles as CPU time of its busiest thread.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::Result;
use crate::contenders::Setup;
use bench::routes::PORTS;

/// How long a program may take to start: l3fwd spends minutes on adding a million routes.
const START_LIMIT: Duration = Duration::from_secs(600);
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// The layout of a board, in 64-bit words, as `pmd/flood.h` has it.
mod board {
    pub(super) const MAGIC: u64 = 0x3130_4f4f_4c46;
    pub(super) const QUEUES: usize = 16;
    pub(super) const LINE: usize = 8;
    pub(super) const TSC_HZ: usize = 1;
    pub(super) const STARTED: usize = 4;
    pub(super) const FLOW_SET: usize = LINE;
    pub(super) const FIRST_QUEUE: usize = 2 * LINE;
    pub(super) const WORDS: usize = FIRST_QUEUE + QUEUES * 2 * LINE;
}

/// What had happened at one moment.
#[derive(Clone, Copy, Default)]
pub(crate) struct Sample {
    /// CPU time of the worker thread, in nanoseconds.
    pub(crate) cpu_ns: u64,
    pub(crate) received: u64,
    pub(crate) sent: u64,
    /// Packets looked at when they were sent.
    pub(crate) sampled: u64,
    /// Faults found in them.
    pub(crate) wrong: u64,
}

/// A contender's process, stopped.
pub(crate) struct Running {
    pub(crate) name: &'static str,
    child: Child,
    boards: Vec<File>,
    worker: u32,
}

impl Running {
    /// Starts the contender, waits until it forwards, and stops it.
    pub(crate) fn start(setup: &Setup<'_>) -> Result<Running> {
        let name = setup.contender.name;
        let boards = (0..PORTS).map(|port| create_board(&setup.board(port))).collect::<Result<Vec<_>>>()?;
        let log = setup.file("log");
        // l3fwd prints a line for each route; what matters it says on the error stream.
        let child = setup
            .command()?
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()
            .map_err(|error| format!("{name} does not start: {error}"))?;
        let mut running = Running { name, child, boards, worker: 0 };
        running.wait_until_forwarding(&log)?;
        running.worker = running.busiest_thread()?;
        running.pause()?;
        Ok(running)
    }

    fn wait_until_forwarding(&mut self, log: &Path) -> Result<()> {
        let deadline = Instant::now() + START_LIMIT;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                let said = fs::read_to_string(log).unwrap_or_default();
                let last: Vec<&str> = said.lines().rev().take(8).collect();
                let last: Vec<&str> = last.into_iter().rev().collect();
                return Err(format!(
                    "{} ended ({status}) before it forwarded:\n{}",
                    self.name,
                    last.join("\n")
                )
                .into());
            }
            let boards = self.read_boards()?;
            if boards.iter().all(|words| words[board::STARTED] == 1) && totals(&boards).sent > 0 {
                return Ok(());
            }
            sleep(Duration::from_millis(20));
        }
        Err(format!("{} forwarded nothing in {} s", self.name, START_LIMIT.as_secs()).into())
    }

    /// The thread that uses the most CPU time right now: the worker.
    fn busiest_thread(&self) -> Result<u32> {
        let before = self.thread_times()?;
        sleep(Duration::from_millis(100));
        let after = self.thread_times()?;
        let used = |(thread, time): &(u32, u64)| {
            let earlier = before.iter().find(|(other, _)| other == thread).map_or(0, |(_, time)| *time);
            time - earlier
        };
        let busiest = after.iter().max_by_key(|entry| used(entry));
        busiest.map(|(thread, _)| *thread).ok_or_else(|| format!("{} has no threads", self.name).into())
    }

    fn thread_times(&self) -> Result<Vec<(u32, u64)>> {
        let mut times = Vec::new();
        for entry in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let thread = entry?.file_name().to_string_lossy().parse()?;
            times.push((thread, self.thread_time(thread)?));
        }
        Ok(times)
    }

    /// The first number of `schedstat`: nanoseconds on a CPU. Exact when the thread is stopped.
    fn thread_time(&self, thread: u32) -> Result<u64> {
        let text = fs::read_to_string(format!("/proc/{}/task/{thread}/schedstat", self.child.id()))?;
        Ok(text.split(' ').next().unwrap_or_default().parse()?)
    }

    /// Lets it run.
    pub(crate) fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// Stops it, and returns when its worker has stopped.
    pub(crate) fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)?;
        let path = format!("/proc/{}/task/{}/stat", self.child.id(), self.worker);
        let deadline = Instant::now() + STOP_LIMIT;
        while Instant::now() < deadline {
            let stat = fs::read_to_string(&path).map_err(|_| format!("{} has died", self.name))?;
            // The state follows the name, which is in parentheses.
            if stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T')) {
                return Ok(());
            }
            sleep(Duration::from_micros(100));
        }
        Err(format!("{} does not stop", self.name).into())
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal)
            .map_err(|error| format!("{} cannot be signalled: {error}", self.name).into())
    }

    /// Chooses the flow set that all ports play.
    pub(crate) fn play(&self, set: usize) -> Result<()> {
        for file in &self.boards {
            file.write_all_at(&(set as u64).to_le_bytes(), board::FLOW_SET as u64 * 8)?;
        }
        Ok(())
    }

    /// What has happened so far; to be called while it is stopped.
    pub(crate) fn sample(&self) -> Result<Sample> {
        let cpu_ns = self.thread_time(self.worker)?;
        Ok(Sample { cpu_ns, ..totals(&self.read_boards()?) })
    }

    /// Time-stamp counter ticks a second, as DPDK measured them.
    pub(crate) fn tsc_hz(&self) -> Result<u64> {
        Ok(self.read_boards()?[0][board::TSC_HZ])
    }

    fn read_boards(&self) -> Result<Vec<Vec<u64>>> {
        self.boards.iter().map(|file| read_board(file)).collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Its devices have no state worth a clean end; SIGKILL reaches a stopped process as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn create_board(path: &Path) -> Result<File> {
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path);
    let file = opened.map_err(|error| format!("{}: {error}", path.display()))?;
    file.set_len(board::WORDS as u64 * 8)?;
    Ok(file)
}

fn read_board(file: &File) -> Result<Vec<u64>> {
    let mut bytes = vec![0; board::WORDS * 8];
    file.read_exact_at(&mut bytes, 0)?;
    let words: Vec<u64> = bytes.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word)).collect();
    if words[0] != 0 && words[0] != board::MAGIC {
        return Err("the net_flood device has another layout than this program: bench/peers/build.sh".into());
    }
    Ok(words)
}

/// The counters of all queues of all boards, summed.
fn totals(boards: &[Vec<u64>]) -> Sample {
    let mut total = Sample::default();
    for words in boards {
        for queue in words[board::FIRST_QUEUE..].chunks(2 * board::LINE) {
            let (receive, transmit) = queue.split_at(board::LINE);
            total.received += receive[0];
            total.sent += transmit[0];
            total.sampled += transmit[1];
            total.wrong += transmit[2..7].iter().sum::<u64>();
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_board_is_summed_by_column() {
        let mut words = vec![0; board::WORDS];
        for queue in 0..2 {
            let rx = board::FIRST_QUEUE + queue * 16;
            words[rx] = 100;
            words[rx + 8] = 90;
            words[rx + 9] = 3;
            words[rx + 10] = 1;
            words[rx + 14] = 1;
        }
        let total = totals(&[words.clone(), words]);
        assert_eq!((total.received, total.sent, total.sampled, total.wrong), (400, 360, 12, 8));
    }
}

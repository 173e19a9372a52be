//! What is played: route tables, the flow sets on each, and the files that hold them.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use crate::Result;
use crate::flows::{Order, flow_file};
use bench::routes::{NaiveLpm, PORTS, RouteTable};

/// The gateway behind each port, by which all of its routes go.
pub(crate) const GATEWAYS: [Ipv4Addr; PORTS] = [Ipv4Addr::new(10, 0, 0, 2), Ipv4Addr::new(10, 0, 1, 2)];

const SEED: u64 = 0x51_1ce;
/// Changes whenever the same seed gives other files.
const FORMAT: u32 = 1;

/// One route table and the flow sets that are played on it.
pub(crate) struct Table {
    pub(crate) name: &'static str,
    routes: usize,
    pub(crate) sets: &'static [FlowSet],
}

/// One column of the result.
pub(crate) struct FlowSet {
    pub(crate) title: &'static str,
    file: &'static str,
    count: usize,
    order: Order,
    /// sluice's cycles to l3fwd's, to be reached.
    pub(crate) target_ratio: f64,
}

/// All tables, with all columns in the order they are printed.
pub(crate) static TABLES: [Table; 3] = [
    Table {
        name: "2",
        routes: 2,
        sets: &[
            FlowSet {
                title: "2 routes, grouped",
                file: "grouped",
                count: 65_536,
                order: Order::Runs(256),
                target_ratio: 0.95,
            },
            FlowSet {
                title: "2 routes, mixed",
                file: "mixed",
                count: 65_536,
                order: Order::Mixed,
                target_ratio: 0.75,
            },
        ],
    },
    Table {
        name: "1k",
        routes: 1000,
        sets: &[FlowSet {
            title: "1k / 64k flows",
            file: "64k",
            count: 65_536,
            order: Order::Mixed,
            target_ratio: 0.72,
        }],
    },
    Table {
        name: "1M",
        routes: 1_000_000,
        sets: &[
            FlowSet { title: "1M / 4k", file: "4k", count: 4096, order: Order::Mixed, target_ratio: 0.78 },
            FlowSet {
                title: "1M / 64k",
                file: "64k",
                count: 65_536,
                order: Order::Mixed,
                target_ratio: 0.72,
            },
            FlowSet { title: "1M / 1M", file: "1M", count: 1 << 20, order: Order::Mixed, target_ratio: 0.70 },
        ],
    },
];

impl Table {
    /// The rules for l3fwd.
    pub(crate) fn l3fwd_rules(&self, dir: &Path) -> PathBuf {
        dir.join(format!("routes-{}.l3fwd", self.name))
    }

    /// The routes for sluice.
    pub(crate) fn sluice_routes(&self, dir: &Path) -> PathBuf {
        dir.join(format!("routes-{}.txt", self.name))
    }

    /// The flow files, in the order of the sets.
    pub(crate) fn flow_files(&self, dir: &Path) -> Vec<PathBuf> {
        self.sets.iter().map(|set| dir.join(format!("flows-{}-{}.bin", self.name, set.file))).collect()
    }

    fn write(&self, dir: &Path) -> Result<()> {
        let table =
            if self.routes == 2 { RouteTable::two() } else { RouteTable::internet(self.routes, SEED) };
        write_file(&self.l3fwd_rules(dir), |out| table.write_l3fwd(out))?;
        write_file(&self.sluice_routes(dir), |out| table.write_sluice(&GATEWAYS, out))?;
        let lpm = NaiveLpm::new(&table);
        for (i, (set, path)) in self.sets.iter().zip(self.flow_files(dir)).enumerate() {
            let records = flow_file(&table, &lpm, set.count, set.order, SEED + 1 + i as u64);
            write_file(&path, |out| out.write_all(&records))?;
        }
        Ok(())
    }
}

/// Writes all files into `dir`, unless they are there already.
pub(crate) fn prepare(dir: &Path) -> Result<()> {
    let stamp = dir.join("stamp");
    let wanted = format!("{FORMAT} {SEED}");
    if fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    fs::create_dir_all(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    for table in &TABLES {
        eprintln!("peers: making the table of {} routes and its flows", table.name);
        table.write(dir)?;
    }
    // l3fwd insists on IPv6 rules as well.
    write_file(&ipv6_rules(dir), |out| writeln!(out, "R2001:0200:0000:0000:0000:0000:0000:0000/64 0"))?;
    write_file(&stamp, |out| out.write_all(wanted.as_bytes()))
}

/// A file of IPv6 rules, which l3fwd wants and nothing uses.
pub(crate) fn ipv6_rules(dir: &Path) -> PathBuf {
    dir.join("routes6.l3fwd")
}

fn write_file(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<()>) -> Result<()> {
    let written = File::create(path).and_then(|file| {
        let mut out = BufWriter::new(file);
        write(&mut out)?;
        out.flush()
    });
    written.map_err(|error| format!("{}: {error}", path.display()).into())
}

/// The tables of these names.
pub(crate) fn choose(names: &[String]) -> Result<Vec<&'static Table>> {
    names
        .iter()
        .map(|name| TABLES.iter().find(|table| table.name == name).ok_or_else(|| unknown(name)))
        .collect()
}

fn unknown(name: &str) -> Box<dyn std::error::Error> {
    let names = TABLES.each_ref().map(|table| table.name).join(", ");
    format!("there is no table {name}; there are {names}").into()
}

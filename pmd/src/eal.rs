//! DPDK's environment: started once in a process, ended when the last that uses it is dropped.

use crate::args::{EalConfig, EalWarning, choose_huge, eal_args};
use crate::error::{Errno, Error};
use dpdk_sys as sys;
use std::collections::BTreeSet;
use std::ffi::{CStr, CString, OsStr, c_char, c_int};
use std::fs;
use std::io;
use std::mem;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Set when EAL has been started: DPDK cannot be started again in the same process.
static STARTED: AtomicBool = AtomicBool::new(false);

/// DPDK's environment. Clones are handles of the same; pools, ports and tables keep one, so that EAL
/// ends (`rte_eal_cleanup`) after all of them.
#[derive(Clone, Debug)]
pub struct Eal {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    args: String,
    warnings: Vec<EalWarning>,
    /// Pools made, ever.
    pools: AtomicUsize,
    /// A port was configured to free all it sends into the one pool there is.
    fast_free: AtomicBool,
    /// Buffers outlive their pool: DPDK's memory has to stay.
    leaked: AtomicBool,
    /// Ports that somebody has open.
    open_ports: Mutex<BTreeSet<u16>>,
}

impl Eal {
    /// Starts EAL. The caller's CPU affinity is left as it was.
    ///
    /// # Errors
    /// [`Error::EalInit`] if DPDK refuses (it prints details to standard error), [`Error::EalTwice`] the
    /// second time, [`Error::ZeroByte`]. A vdev that cannot be created shows when its port is opened.
    pub fn init(config: &EalConfig) -> Result<Eal, Error> {
        let affinity = Affinity::of_caller();
        let (huge, warning) = choose_huge(config, free_hugepages_mb());
        let main_core = config.main_core.unwrap_or_else(|| affinity.first());
        let args = eal_args(config, huge, main_core, std::process::id());
        let line = args.join(" ");
        let owned =
            args.into_iter().map(|arg| c_string("the EAL argument", arg)).collect::<Result<Vec<_>, _>>()?;

        if STARTED.swap(true, Ordering::AcqRel) {
            return Err(Error::EalTwice);
        }
        // EAL permutes the pointers and keeps some for good: they and what they point to stay for ever.
        let mut argv: Vec<*mut c_char> = owned.into_iter().map(CString::into_raw).collect();
        let argc = argv.len() as c_int;
        argv.push(std::ptr::null_mut());
        // SAFETY: argc strings and a null, as of C's main; nothing else of DPDK ran before.
        let ret = unsafe { sys::rte_eal_init(argc, argv.leak().as_mut_ptr()) };
        let cause = Errno::last();
        affinity.restore();
        remove_empty_runtime_dir();
        if ret < 0 {
            return Err(Error::EalInit { args: line, cause });
        }
        let shared = Shared {
            args: line,
            warnings: warning.into_iter().collect(),
            pools: AtomicUsize::new(0),
            fast_free: AtomicBool::new(false),
            leaked: AtomicBool::new(false),
            open_ports: Mutex::default(),
        };
        Ok(Eal { shared: Arc::new(shared) })
    }

    /// What was mended at start; to be printed.
    pub fn warnings(&self) -> &[EalWarning] {
        &self.shared.warnings
    }

    /// EAL's command line.
    pub fn args(&self) -> &str {
        &self.shared.args
    }

    /// The version of the DPDK that runs, such as "DPDK 22.11.11".
    pub fn version() -> String {
        // SAFETY: gives a static string.
        unsafe { CStr::from_ptr(sys::rte_version()) }.to_string_lossy().into_owned()
    }

    /// Bytes of DPDK's heap on a NUMA node: (in all, free). With hugepages it grows as needed.
    pub fn heap(&self, node: u32) -> (usize, usize) {
        // SAFETY: all zeros are a valid struct of integers.
        let mut stats: sys::rte_malloc_socket_stats = unsafe { mem::zeroed() };
        // SAFETY: EAL runs; writes the struct.
        let ret = unsafe { sys::rte_malloc_get_socket_stats(node as c_int, &raw mut stats) };
        if ret < 0 { (0, 0) } else { (stats.heap_totalsz_bytes, stats.heap_freesz_bytes) }
    }

    /// Counts a new pool; not allowed once a port frees into the only one.
    pub(crate) fn add_pool(&self) -> Result<(), Error> {
        self.shared.pools.fetch_add(1, Ordering::SeqCst);
        if self.shared.fast_free.load(Ordering::SeqCst) {
            return Err(Error::FastFreeNeedsOnePool);
        }
        Ok(())
    }

    /// Promises that there will be one pool only; `false` if there are more.
    pub(crate) fn keep_one_pool(&self) -> bool {
        self.shared.fast_free.store(true, Ordering::SeqCst);
        let one = self.shared.pools.load(Ordering::SeqCst) <= 1;
        if !one {
            self.shared.fast_free.store(false, Ordering::SeqCst);
        }
        one
    }

    /// Takes a port for one owner; `false` if it has one.
    pub(crate) fn claim_port(&self, port: u16) -> bool {
        self.shared.open_ports.lock().unwrap_or_else(PoisonError::into_inner).insert(port)
    }

    /// Gives a port back.
    pub(crate) fn release_port(&self, port: u16) {
        self.shared.open_ports.lock().unwrap_or_else(PoisonError::into_inner).remove(&port);
    }

    /// Keeps DPDK's memory mapped to the process' end.
    pub(crate) fn leak_memory(&self) {
        self.shared.leaked.store(true, Ordering::Release);
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Cleaning up unmaps DPDK's memory, in which frames may still live that somebody holds.
        if !self.leaked.load(Ordering::Acquire) {
            // SAFETY: the last handle is gone, so that no port, pool or table is left; no frame either.
            unsafe { sys::rte_eal_cleanup() };
        }
    }
}

/// A string for C.
pub(crate) fn c_string(what: &'static str, value: impl Into<String>) -> Result<CString, Error> {
    CString::new(value.into()).map_err(|e| {
        let value = String::from_utf8_lossy(&e.into_vec()).into_owned();
        Error::ZeroByte { what, value }
    })
}

/// A NUMA node as DPDK wants it: -1 stands for any.
pub(crate) fn socket_id(node: Option<u32>) -> c_int {
    node.map_or(-1, |node| node as c_int)
}

/// Removes the folder that EAL made for its files, if it has none: each process has its own prefix, so
/// that empty folders would pile up.
fn remove_empty_runtime_dir() {
    // SAFETY: EAL was started, or tried to; it gives its own string.
    let path = unsafe { CStr::from_ptr(sys::rte_eal_get_runtime_dir()) };
    // A folder that is not empty is not removed: it is in use.
    let _ = fs::remove_dir(OsStr::from_bytes(path.to_bytes()));
}

/// Free hugepage memory of all sizes, in MiB.
fn free_hugepages_mb() -> u64 {
    let sizes = fs::read_dir("/sys/kernel/mm/hugepages").into_iter().flatten().flatten();
    sizes
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let kib: u64 = name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
            let free: u64 =
                fs::read_to_string(entry.path().join("free_hugepages")).ok()?.trim().parse().ok()?;
            Some(free * kib / 1024)
        })
        .sum()
}

/// The CPUs that the calling thread may run on. EAL pins its caller, whose choice it is not.
struct Affinity(Option<libc::cpu_set_t>);

impl Affinity {
    fn of_caller() -> Self {
        // SAFETY: all zeros are an empty set, and the call writes no more than the size given.
        let (ret, set) = unsafe {
            let mut set: libc::cpu_set_t = mem::zeroed();
            (libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set), set)
        };
        Affinity((ret == 0).then_some(set))
    }

    /// The first CPU of the set; 0 if unknown.
    fn first(&self) -> usize {
        let cpus = 0..libc::CPU_SETSIZE as usize;
        // SAFETY: the index is within the set.
        self.0
            .and_then(|set| cpus.into_iter().find(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) }))
            .unwrap_or(0)
    }

    fn restore(&self) {
        if let Some(set) = &self.0 {
            // SAFETY: reads a set of the size given. It was in force a moment ago.
            let ret = unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), set) };
            debug_assert_eq!(ret, 0, "{}", io::Error::last_os_error());
        }
    }
}

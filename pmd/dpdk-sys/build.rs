//! Finds DPDK by pkg-config and a libclang that can read its headers, generates the bindings and
//! compiles the shim. Needs no environment variable; `LIBCLANG_PATH` and `PKG_CONFIG_PATH` are
//! honoured when they are set.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Supported releases, as (year, month): from the first, up to but without the second.
const OLDEST: (u32, u32) = (22, 11);
const TOO_NEW: (u32, u32) = (26, 0);

/// What the C declarations of the bindings are chosen from: no protocol headers.
const FUNCTIONS: &str = "sl_.*\
    |rte_(eal_(alarm_set|init|cleanup|hotplug_add|get_runtime_dir)|strerror|version)\
    |rte_thread_(register|unregister)\
    |rte_dev_(name|remove)\
    |rte_(pktmbuf_pool_create|pktmbuf_free_bulk|mempool_(free|avail_count|in_use_count))\
    |rte_(zmalloc_socket|free|malloc_get_socket_stats)\
    |rte_eth_dev_(configure|start|stop|reset|close|info_get|socket_id|set_mtu|is_removed)\
    |rte_eth_dev_(adjust_nb_rx_tx_desc|default_mac_addr_set|get_name_by_port)\
    |rte_eth_dev_(rss_hash_conf_get|rss_reta_update|rss_reta_query|vlan_filter)\
    |rte_eth_dev_callback_(register|unregister)\
    |rte_eth_(find_next|rx_queue_setup|tx_queue_setup|macaddr_get)\
    |rte_eth_promiscuous_(enable|disable|get)\
    |rte_eth_(stats_get|stats_reset|xstats_get|xstats_get_names)";

/// Constants: the shim's, and what the headers define as plain numbers.
const VARIABLES: &str = "SL_.*|RTE_MAX_ETHPORTS|RTE_ETH_NAME_MAX_LEN|RTE_ETH_RETA_GROUP_SIZE\
    |RTE_PKTMBUF_HEADROOM|RTE_MEMPOOL_CACHE_MAX_SIZE|RTE_MEMPOOL_NAMESIZE";

fn main() -> ExitCode {
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            eprintln!("{sentence}");
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<(), String> {
    for file in ["build.rs", "shim.c", "shim.h"] {
        println!("cargo::rerun-if-changed={file}");
    }
    println!("cargo::rerun-if-env-changed=LIBCLANG_PATH");
    let cflags = link_dpdk()?;
    compile_shim(&cflags);
    generate_bindings(&cflags)
}

/// Checks the version, tells cargo what to link, and gives the C flags (pkg-config's own answer:
/// the crate of that name drops `-march` and `-include`, on which the headers depend).
fn link_dpdk() -> Result<Vec<String>, String> {
    let missing = "DPDK was not found by pkg-config: install it (on Debian: libdpdk-dev and pkg-config), or set \
                   PKG_CONFIG_PATH to the folder of libdpdk.pc.";
    let library = pkg_config::Config::new().cargo_metadata(false).probe("libdpdk").map_err(|_| missing)?;
    check_version(&library.version)?;
    if let Ok(folder) = pkg_config::get_variable("libdpdk", "pcfiledir") {
        println!("cargo::rerun-if-changed={folder}/libdpdk.pc");
    }

    for path in &library.link_paths {
        println!("cargo::rustc-link-search=native={}", path.display());
    }
    for name in ["rte_ethdev", "rte_mbuf", "rte_mempool", "rte_ring", "rte_eal"] {
        println!("cargo::rustc-link-lib=dylib={name}");
    }

    let pkg_config = env::var_os("PKG_CONFIG").unwrap_or_else(|| "pkg-config".into());
    let output = Command::new(pkg_config)
        .args(["--cflags", "libdpdk"])
        .output()
        .map_err(|e| format!("pkg-config --cflags libdpdk could not be run: {e}."))?;
    Ok(String::from_utf8_lossy(&output.stdout).split_whitespace().map(str::to_owned).collect())
}

fn check_version(version: &str) -> Result<(), String> {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let found = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    if (OLDEST..TOO_NEW).contains(&found) {
        return Ok(());
    }
    Err(format!("DPDK {version} was found, but only 22.11 up to 25.11 are supported."))
}

fn compile_shim(cflags: &[String]) {
    let mut build = cc::Build::new();
    build.file("shim.c").opt_level(3).flag("-std=gnu11").warnings(true);
    // DPDK's own inline functions are not ours to warn about.
    for flag in cflags {
        match flag.strip_prefix("-I") {
            Some(folder) => build.flag("-isystem").flag(folder),
            None => build.flag(flag),
        };
    }
    build.compile("sluice_dpdk_shim");
}

fn generate_bindings(cflags: &[String]) -> Result<(), String> {
    let libclang = find_libclang()?;
    let mut builder = bindgen::Builder::default()
        .header("shim.h")
        .clang_args(cflags)
        .allowlist_function(FUNCTIONS)
        .allowlist_var(VARIABLES)
        .allowlist_type("rte_eth_event_type|rte_eth_rx_mq_mode|rte_eth_rss_reta_entry64")
        // Reached by offsets from the shim alone, as its unions differ from release to release.
        .opaque_type("rte_mbuf")
        .opaque_type("rte_mempool")
        .rust_edition(bindgen::RustEdition::Edition2024)
        .derive_default(false)
        .generate_comments(false);
    if let Some(found) = libclang {
        // The compiler's own headers must be libclang's, whichever `clang` is on the PATH.
        builder = builder
            .detect_include_paths(false)
            .clang_arg("-resource-dir")
            .clang_arg(found.resource_dir.to_string_lossy());
        set_libclang_path(&found.library);
    }
    let bindings = builder.generate().map_err(|e| format!("bindgen could not read DPDK's headers: {e}."))?;
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("bindings.rs");
    bindings.write_to_file(&out).map_err(|e| format!("{} could not be written: {e}.", out.display()))
}

struct Libclang {
    version: u32,
    library: PathBuf,
    resource_dir: PathBuf,
}

/// The newest libclang >= 14 that has its own headers beside it; `None` where the choice is left to
/// bindgen: the user named one, or the machine keeps it elsewhere than Debian does.
fn find_libclang() -> Result<Option<Libclang>, String> {
    if env::var_os("LIBCLANG_PATH").is_some() {
        return Ok(None);
    }
    let newest =
        folder("/usr/lib").iter().filter_map(|path| libclang_in(path)).max_by_key(|found| found.version);
    if newest.is_some() {
        return Ok(newest);
    }
    let elsewhere = ["/usr/lib64", "/usr/lib64/llvm", "/usr/local/lib", "/usr/lib", "/lib64"];
    if elsewhere.iter().any(|path| library_in(Path::new(path)).is_some()) {
        return Ok(None);
    }
    Err("No libclang of version 14 or later, with its headers, was found: install it (on Debian: \
         libclang-dev, or libclang-14-dev), or set LIBCLANG_PATH to its folder."
        .to_owned())
}

/// The libclang of one of Debian's `/usr/lib/llvm-N` folders.
fn libclang_in(llvm: &Path) -> Option<Libclang> {
    let version = llvm.file_name()?.to_str()?.strip_prefix("llvm-")?.parse().ok().filter(|v| *v >= 14)?;
    let library = library_in(&llvm.join("lib"))?;
    let resource_dir =
        folder(llvm.join("lib/clang")).into_iter().find(|path| path.join("include/stddef.h").exists())?;
    Some(Libclang { version, library, resource_dir })
}

fn library_in(path: &Path) -> Option<PathBuf> {
    folder(path).into_iter().find(|file| {
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        (name.starts_with("libclang.so") || name.starts_with("libclang-"))
            && name.contains(".so")
            && file.exists()
    })
}

/// A folder's entries, sorted; none if it cannot be read.
fn folder(path: impl AsRef<Path>) -> Vec<PathBuf> {
    let mut entries: Vec<_> =
        path.as_ref().read_dir().into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    entries.sort();
    entries
}

#[expect(unsafe_code, reason = "bindgen takes the path of libclang from the environment alone")]
fn set_libclang_path(library: &Path) {
    // SAFETY: the build script has one thread.
    unsafe { env::set_var("LIBCLANG_PATH", library) }
}

//! `sluice`: an IPv4 router appliance and TCP server on DPDK.

fn main() -> std::process::ExitCode {
    sluice::cli::main()
}

//! What is measured over TCP: nginx and an epoll echo server on the kernel, and sluice with both services on a device.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Result;
use crate::net::Net;
use crate::program::{Place, Program};

/// The small page: 64 bytes.
pub(crate) const PAGE: &str = "/page";
/// The large file.
pub(crate) const FILE: &str = "/file";
const FILE_LEN: usize = 16 << 20;
/// The echo port.
pub(crate) const ECHO: u16 = 7;

/// Where programs and files are.
pub(crate) struct Folders {
    /// Logs and configurations of this run.
    pub(crate) run: PathBuf,
    /// The sluice binary.
    pub(crate) sluice: PathBuf,
}

impl Folders {
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.run.join(name)
    }

    /// The folder that servers have their large file in.
    fn site(&self) -> Result<PathBuf> {
        let site = self.file("site");
        fs::create_dir_all(&site)?;
        fs::write(site.join(&FILE[1..]), vec![b'x'; FILE_LEN])?;
        Ok(site)
    }

    pub(crate) fn sluice(&self) -> Result<&str> {
        self.sluice.to_str().ok_or_else(|| "the path of sluice is not text".into())
    }

    /// The program `kernel`, which lies beside this one.
    pub(crate) fn kernel(&self) -> Result<String> {
        let path = std::env::current_exe()?.with_file_name("kernel");
        if !path.exists() {
            return Err("the program `kernel` is not built: cargo build --release -p bench".into());
        }
        Ok(path.display().to_string())
    }
}

/// 64 bytes.
fn page() -> String {
    "0123456789abcdef".repeat(4)
}

/// nginx with one worker, on all addresses of the server's namespace.
pub(crate) fn nginx(folders: &Folders, place: Place<'_>) -> Result<Program> {
    let file = folders.file("nginx.conf");
    let run = folders.run.display();
    let text = format!(
        "daemon off;\nworker_processes 1;\nuser root;\npid {run}/nginx.pid;\nerror_log stderr;\n\
         events {{ worker_connections 4096; }}\n\
         http {{\n access_log off;\n sendfile on;\n tcp_nopush on;\n keepalive_requests 1000000000;\n\
         client_body_temp_path {run}/nginx-body;\n proxy_temp_path {run}/nginx-proxy;\n\
         fastcgi_temp_path {run}/nginx-fastcgi;\n uwsgi_temp_path {run}/nginx-uwsgi;\n\
         scgi_temp_path {run}/nginx-scgi;\n\
         server {{\n  listen 80 backlog=4096;\n  root {site};\n  location = {PAGE} {{ return 200 \"{page}\"; }}\n }}\n}}\n",
        site = folders.site()?.display(),
        page = page(),
    );
    fs::write(&file, text)?;
    let mut nginx = place.start(&["nginx", "-c", path(&file)?], folders.file("nginx.log"))?;
    let pid = folders.file("nginx.pid");
    nginx.wait_until(|_| pid.exists())?;
    Ok(nginx)
}

/// The epoll echo server, on all addresses.
pub(crate) fn epoll_echo(folders: &Folders, place: Place<'_>) -> Result<Program> {
    let address = format!("0.0.0.0:{ECHO}");
    place.start(&[&folders.kernel()?, "serve", &address], folders.file("epoll.log"))
}

/// sluice with an HTTP and an echo server on a device, of which `n` is the network.
pub(crate) fn sluice(folders: &Folders, place: Place<'_>, n: u8, device: &str) -> Result<Program> {
    let name = format!("peers-{}-{n}", std::process::id());
    let text = format!(
        "name = \"{name}\"\n\
         [dpdk]\neal_args = [\"--in-memory\", \"--no-pci\", \"--no-telemetry\"]\n\
         [control]\nsocket = \"{socket}\"\n\
         [workers]\ncores = [{core}]\npoll = \"busy\"\n\
         [[port]]\nname = \"port\"\ndevice = \"{device}\"\naddresses = [\"{address}/24\"]\n\
         [[service]]\nkind = \"echo\"\nport = {ECHO}\n\
         [[service]]\nkind = \"http\"\nroot = \"{site}\"\nidle_seconds = 3600\n\
         [[service.page]]\npath = \"{PAGE}\"\ntype = \"text/plain\"\nbody = \"{page}\"\n",
        socket = folders.file(&format!("{n}.sock")).display(),
        core = place.core,
        address = Net::server_address(n),
        site = folders.site()?.display(),
        page = page(),
    );
    let file = folders.file(&format!("{n}.toml"));
    fs::write(&file, text)?;
    let words = [folders.sluice()?, "run", "-c", path(&file)?];
    let mut program = place.start(&words, folders.file(&format!("{n}.log")))?;
    let line = format!("{name} runs: ");
    program.wait_until(|said| said.contains(&line))?;
    Ok(program)
}

fn path(file: &Path) -> Result<&str> {
    file.to_str().ok_or_else(|| format!("{}: not text", file.display()).into())
}

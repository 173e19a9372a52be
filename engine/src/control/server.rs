//! The control thread: gives the control plane time, and answers on a Unix socket.

use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;
use wire::Instant;

use super::Control;
use crate::api::{PortRequest, Reply, Request};
use crate::device::Env;
use crate::link::Wake;

/// The longest request line.
const MAX_REQUEST: u64 = 64 * 1024;
/// Connections at a time; more wait until one ends.
const MAX_CONNECTIONS: usize = 32;
/// A connection ends when it says nothing for this long, or takes no answer: others wait for its place.
const SILENCE: Duration = Duration::from_secs(30);
/// The longest sleep, even without news or deadlines.
const TICK: Duration = Duration::from_millis(100);
/// How long workers may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often the devices are looked after.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Listens on `path`, for root and its group only. A socket that nobody listens on any more is replaced.
///
/// # Errors
/// When another process listens there, something else than a socket is there, or the folder cannot be
/// made or written.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    use std::os::unix::fs::{FileTypeExt, PermissionsExt};
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "another process answers there"));
    }
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => std::fs::remove_file(path)?,
        Ok(_) => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is no socket"));
        }
        Err(_) => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}

/// Removes the socket when the server ends.
struct Unlink(PathBuf);

impl Drop for Unlink {
    fn drop(&mut self) {
        // Whoever removed it before us did the same.
        let _gone = std::fs::remove_file(&self.0);
    }
}

/// Why the server ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum End {
    /// It was asked to.
    Stopped,
    /// The device of this port is gone.
    PortRemoved(String),
}

/// Runs the control plane until a port is gone, or `stop` has given and all is finished, or it has given
/// twice; it may be dropped and called again at any time. Must run inside a [`tokio::task::LocalSet`]. What an operator should read goes to `log`, line by line.
pub async fn serve<E: Env>(
    control: &Rc<RefCell<Control>>,
    env: E,
    wake: Arc<Wake>,
    listener: UnixListener,
    mut stop: impl AsyncFnMut(),
    mut log: impl FnMut(&str),
) -> End {
    let path = listener.local_addr().ok().and_then(|addr| addr.as_pathname().map(Path::to_owned));
    let _unlink = path.map(Unlink);
    let mut look_at = env.now();
    loop {
        wake.clear();
        let now = env.now();
        control.borrow_mut().poll(now);
        let lines = control.borrow_mut().take_log();
        lines.iter().for_each(|line| log(line));
        if control.borrow().has_stopped() {
            return End::Stopped;
        }
        if now >= look_at {
            look_at = now + LOOK_EVERY;
            if let Some(name) = control.borrow_mut().look_after_ports(now) {
                return End::PortRemoved(name.to_owned());
            }
        }
        let due = control.borrow().next_deadline().map_or(TICK, |due| due.since(now).min(TICK));
        // Each connection holds one reference, and the caller one.
        let is_open = Rc::strong_count(control) <= MAX_CONNECTIONS;
        tokio::select! {
            () = stop() => {
                if control.borrow().is_stopping() {
                    return End::Stopped;
                }
                control.borrow_mut().stop(env.now());
            }
            () = wake.wait() => {}
            () = tokio::time::sleep(due) => {}
            accepted = listener.accept(), if is_open => if let Ok((stream, _)) = accepted {
                tokio::task::spawn_local(answer(control.clone(), env.clone(), stream));
            }
        }
    }
}

/// Answers the requests of one connection, until it ends.
async fn answer<E: Env>(control: Rc<RefCell<Control>>, env: E, stream: UnixStream) -> io::Result<()> {
    use tokio::io::AsyncReadExt;
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    loop {
        let mut line = Vec::new();
        let mut request = (&mut reader).take(MAX_REQUEST);
        if timeout(SILENCE, request.read_until(b'\n', &mut line)).await?? == 0 {
            return Ok(());
        }
        let reply = match reply(&control, &env, &line).await {
            Ok(reply) => reply,
            Err(error) => Reply::Error(format!("the request was not understood: {error}")),
        };
        let mut text = serde_json::to_vec(&reply)?;
        text.push(b'\n');
        timeout(SILENCE, writer.write_all(&text)).await??;
    }
}

async fn reply<E: Env>(control: &RefCell<Control>, env: &E, line: &[u8]) -> serde_json::Result<Reply> {
    let request: serde_json::Value = serde_json::from_slice(line)?;
    if request.get("port").is_some() {
        return Ok(change_port(control, env.now(), &serde_json::from_value(request)?).await);
    }
    let request = serde_json::from_value(request)?;
    let reply = control.borrow().handle_request(env.now(), &request);
    Ok(match reply {
        Some(reply) => reply,
        None => ask_workers(control, request).await,
    })
}

/// What the workers say.
async fn ask_workers(control: &RefCell<Control>, request: Request) -> Reply {
    let question = control.borrow_mut().ask_workers(request);
    let reply = in_time(|| control.borrow_mut().answer(question)).await;
    control.borrow_mut().forget(question);
    reply
}

async fn change_port(control: &RefCell<Control>, now: Instant, request: &PortRequest) -> Reply {
    let begun = control.borrow_mut().change_port(now, request);
    let reply = |ended: Result<String, String>| ended.map_or_else(Reply::Error, Reply::Done);
    match begun {
        Ok(port) => in_time(|| control.borrow_mut().port_answer(port).map(reply)).await,
        Err(why) => Reply::Error(why),
    }
}

/// What `answer` gives once the workers have done their part.
async fn in_time(mut answer: impl FnMut() -> Option<Reply>) -> Reply {
    const LOOK_AGAIN: Duration = Duration::from_millis(1);
    for _ in 0..PATIENCE.as_millis() / LOOK_AGAIN.as_millis() {
        if let Some(reply) = answer() {
            return reply;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Reply::Error("a worker does not answer".into())
}

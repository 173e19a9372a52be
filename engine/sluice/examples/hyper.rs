//! A web server by hyper, on Sluice's TCP.

use std::convert::Infallible;
use std::io;
use std::process::ExitCode;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use sluice::{Copying, Net, TcpListener};

fn main() -> ExitCode {
    sluice::main(|worker| vec![worker.tasks(serve)])
}

async fn serve(net: Net) -> io::Result<()> {
    let listener = TcpListener::bind(&net, sluice::any(80)).await?;
    loop {
        let stream = listener.accept().await?;
        stream.set_nodelay(true);
        let io = TokioIo::new(Copying::new(stream));
        net.spawn_local(http1::Builder::new().serve_connection(io, service_fn(page)))?;
    }
}

async fn page(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let text = format!("hello from hyper, which was asked for {}\n", request.uri().path());
    Ok(Response::new(Full::new(Bytes::from(text))))
}

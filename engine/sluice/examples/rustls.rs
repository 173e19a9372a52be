//! An echo server by TLS: rustls on Sluice's TCP, with a certificate that is made at the start.
//!
//! `openssl s_client -connect 10.0.0.2:443` talks to it.

use std::error::Error;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;

use sluice::{Copying, Net, TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

fn main() -> ExitCode {
    let acceptor = match acceptor() {
        Ok(acceptor) => acceptor,
        Err(error) => {
            eprintln!("no certificate: {error}");
            return ExitCode::FAILURE;
        }
    };
    sluice::main(move |worker| {
        let acceptor = acceptor.clone();
        vec![worker.tasks(|net| serve(net, acceptor))]
    })
}

/// Who signs itself.
fn acceptor() -> Result<TlsAcceptor, Box<dyn Error>> {
    let own = rcgen::generate_simple_self_signed(["sluice.example".to_owned()])?;
    let key = PrivateKeyDer::try_from(own.signing_key.serialize_der())?;
    let config =
        ServerConfig::builder().with_no_client_auth().with_single_cert(vec![own.cert.into()], key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn serve(net: Net, acceptor: TlsAcceptor) -> io::Result<()> {
    let listener = TcpListener::bind(&net, sluice::any(443)).await?;
    loop {
        let stream = listener.accept().await?;
        net.spawn_local(echo(stream, acceptor.clone()))?;
    }
}

async fn echo(stream: TcpStream, acceptor: TlsAcceptor) -> io::Result<()> {
    stream.set_nodelay(true);
    let tls = acceptor.accept(Copying::new(stream)).await?;
    let (mut from, mut to) = tokio::io::split(tls);
    tokio::io::copy(&mut from, &mut to).await.map(drop)
}

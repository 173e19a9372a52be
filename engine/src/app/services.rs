//! The programs that a configuration names.

use std::net::SocketAddrV4;
use std::sync::Arc;

use config::{HttpLimits, Program, Service};
use wire::Frame;

use super::chargen::Chargen;
use super::discard::Discard;
use super::echo::Echo;
use super::http::{Http, counters::Counters, site::Site};
use super::{App, StartError};
use crate::device::Env;

/// What the configured services need, made once for all workers.
pub struct Services {
    services: Vec<Loaded>,
}

enum Loaded {
    Echo(SocketAddrV4),
    Discard(SocketAddrV4),
    Chargen(SocketAddrV4),
    Http(Box<LoadedHttp>),
}

/// An HTTP server with what it serves.
struct LoadedHttp {
    address: SocketAddrV4,
    limits: HttpLimits,
    site: Arc<Site>,
    counters: Arc<[Arc<Counters>]>,
}

impl Services {
    /// Bytes of memory that what they serve will take.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn measure(services: &[Service]) -> Result<u64, StartError> {
        let bytes = |service: &Service| match &service.program {
            Program::Http(http) => Site::measure(http).map_err(|error| of_http(service, &error)),
            Program::Echo | Program::Discard | Program::Chargen => Ok(0),
        };
        services.iter().map(bytes).sum()
    }

    /// Loads what they serve, for so many workers.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn load(services: &[Service], workers: usize, env: &impl Env) -> Result<Services, StartError> {
        let load = |service: &Service| {
            let address = service.address;
            Ok(match &service.program {
                Program::Echo => Loaded::Echo(address),
                Program::Discard => Loaded::Discard(address),
                Program::Chargen => Loaded::Chargen(address),
                Program::Http(http) => {
                    let site = Site::load(http, |len, fill| env.immortal(len, fill))
                        .map_err(|error| of_http(service, &error))?;
                    let counters = (0..workers).map(|_| Arc::default()).collect();
                    let limits = http.limits.clone();
                    Loaded::Http(Box::new(LoadedHttp { address, limits, site: Arc::new(site), counters }))
                }
            })
        };
        Ok(Services { services: services.iter().map(load).collect::<Result<_, _>>()? })
    }

    /// The programs of a worker, in the order of the configuration's services.
    pub fn programs<F: Frame + 'static>(&self, worker: usize) -> Vec<Box<dyn App<F>>> {
        let program = |service: &Loaded| -> Box<dyn App<F>> {
            match service {
                Loaded::Echo(address) => Box::new(Echo::new(*address)),
                Loaded::Discard(address) => Box::new(Discard::new(*address)),
                Loaded::Chargen(address) => Box::new(Chargen::new(*address)),
                Loaded::Http(http) => {
                    let LoadedHttp { address, limits, site, counters } = &**http;
                    Box::new(Http::new(*address, limits, site.clone(), counters.clone(), worker))
                }
            }
        };
        self.services.iter().map(program).collect()
    }

    /// The HTTP servers.
    pub fn http(&self) -> Vec<HttpServer> {
        let http = self.services.iter().filter_map(|service| match service {
            Loaded::Http(http) => Some(http),
            Loaded::Echo(_) | Loaded::Discard(_) | Loaded::Chargen(_) => None,
        });
        http.map(|http| HttpServer { address: http.address, counters: http.counters.clone() }).collect()
    }
}

fn of_http(service: &Service, why: &StartError) -> StartError {
    StartError(format!("http {}: {why}", service.address))
}

/// An HTTP server, as the control thread knows it.
pub struct HttpServer {
    /// Where it listens.
    pub address: SocketAddrV4,
    /// The counters of each worker.
    pub counters: Arc<[Arc<Counters>]>,
}

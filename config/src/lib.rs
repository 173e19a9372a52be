//! The configuration file: TOML to a validated [`Config`] to a [`Plan`].
//!
//! One file says everything. Reading it gives either a [`Config`] in which every value is in range and
//! every name resolved, or *all* its errors at once ([`ConfigErrors`]), each with the line and column
//! and with what would be right. Nothing here knows DPDK: a [`Plan`] is told how many queues a
//! device has.
#![forbid(unsafe_code)]

mod diag;
mod limits;
mod model;
mod network;
mod plan;
mod print;
mod raw;
mod reader;
mod requests;
mod routes;
mod routes_file;
mod services;
mod suggest;
mod validate;

pub use diag::{ConfigError, ConfigErrors};
pub use limits::{HttpLimits, Limit, Limits};
pub use model::{
    Address, Config, Control, Dpdk, Hop, Http, Huge, Interface, Isa, Machine, Neighbour, NextHop, Page, Poll,
    Port, Program, Route, Routes, Service, ServiceKind, Workers,
};
pub use plan::{
    Caps, MbufPlan, MemoryPlan, Plan, PlanError, PortPlan, RxAssignment, TxAssignment, WorkerPlan,
};
pub use requests::{Check, Request};

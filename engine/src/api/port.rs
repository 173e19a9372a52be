//! Ports that are removed, added and reset.

use serde::{Deserialize, Serialize};

/// A request to change a port. The reply comes once it is done.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "port", rename_all = "kebab-case", deny_unknown_fields)]
pub enum PortRequest {
    /// Close the port's device.
    Remove {
        /// The port.
        name: String,
    },
    /// Open a device for a port that has none.
    Add {
        /// The port.
        name: String,
        /// DPDK devargs; without them it is the device that the port had last.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        device: Option<String>,
    },
    /// Stop the port, reset its device, and start it again.
    Reset {
        /// The port.
        name: String,
    },
}

impl PortRequest {
    /// The port's name.
    pub fn name(&self) -> &str {
        let (PortRequest::Remove { name } | PortRequest::Add { name, .. } | PortRequest::Reset { name }) =
            self;
        name
    }
}

/// Whether a port has a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PortState {
    /// It has one.
    Running,
    /// It was removed.
    Removed,
    /// It has none until the process at the other end is there again.
    Waiting,
}

//! What an HTTP server counts.

use http1::Status;
use wire::Counter;

macro_rules! counters {
    ($($field:ident $name:literal $text:literal;)*) => {
        /// One worker's counts of one server. The worker writes, anybody may read.
        #[derive(Default, Debug)]
        pub struct Counters {
            $(#[doc = $text] pub $field: Counter,)*
        }

        impl Counters {
            /// Each counter's stable name, its value, and what it means.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64, &'static str)> {
                [$(($name, self.$field.get(), $text),)*].into_iter()
            }
        }
    };
}

counters! {
    connections "connections" "Connections accepted.";
    requests "requests" "Requests whose head was read.";
    success "responses-2xx" "Responses that carry what was asked for, or a part of it.";
    redirection "responses-3xx" "Responses that point elsewhere, or to what the client has.";
    client_error "responses-4xx" "Responses to requests that were wrong, or about what is not there.";
    server_error "responses-5xx" "Responses that say what this server cannot do.";
    content_bytes "content-bytes" "Bytes of files and pages queued for sending.";
    content_copied "content-bytes-copied" "Of those, bytes copied behind a head to send pipelined answers together.";
    body_bytes "body-bytes" "Bytes of requests' bodies that were read, and dropped.";
    malformed "malformed" "Bytes that no request could be made of; the connection was closed.";
    no_head "no-head-memory" "Heads in part for which there was no memory; the connection was closed.";
    no_buffer "no-buffer" "Responses that waited for a buffer.";
    head_timeouts "head-timeouts" "Connections closed because a head did not come whole in time.";
    body_timeouts "body-timeouts" "Connections closed because a body did not come whole in time.";
    idle_timeouts "idle-timeouts" "Connections closed because no request came for long.";
    stalled "stalled" "Connections reset because the client took nothing of what it was sent for long.";
    linger_timeouts "linger-timeouts" "Connections given up because the client did not close in time.";
    lost "lost" "Connections that ended before all of a response was queued.";
}

impl Counters {
    /// Counts a response.
    #[inline]
    pub(super) fn count(&self, status: Status) {
        match status.class() {
            2 => &self.success,
            3 => &self.redirection,
            4 => &self.client_error,
            _ => &self.server_error,
        }
        .add(1);
    }
}

//! The status page: the counters of all workers, as Prometheus reads them.

use std::sync::Arc;

use super::counters::Counters;

/// Bytes of the page, at most.
pub(super) const MAX: usize = 1024;

/// The page of a server, of which each worker has counters.
pub(super) struct Page<'a>(pub(super) &'a [Arc<Counters>]);

impl Page<'_> {
    /// Writes a line for each counter.
    pub(super) fn write<'b>(&self, out: &'b mut [u8; MAX]) -> &'b [u8] {
        let mut len = 0;
        let mut push = |byte: u8| {
            if let Some(place) = out.get_mut(len) {
                *place = byte;
                len += 1;
            }
        };
        let rows = self.0.first().map(|counters| counters.iter()).into_iter().flatten();
        for (at, (name, ..)) in rows.enumerate() {
            let sum = self.0.iter().filter_map(|counters| counters.iter().nth(at)).map(|(_, value, _)| value);
            b"sluice_http_".iter().for_each(|byte| push(*byte));
            name.bytes().for_each(|byte| push(if byte == b'-' { b'_' } else { byte }));
            push(b' ');
            digits(sum.fold(0, u64::wrapping_add), &mut push);
            push(b'\n');
        }
        &out[..len]
    }
}

fn digits(value: u64, push: &mut impl FnMut(u8)) {
    if value >= 10 {
        digits(value / 10, push);
    }
    push(b'0' + (value % 10) as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_page_fits() {
        let workers: Vec<Arc<Counters>> = vec![Arc::default(), Arc::default()];
        workers[1].requests.set(u64::MAX - 5);
        workers[0].requests.set(5);
        let mut out = [0; MAX];
        let text = String::from_utf8(Page(&workers).write(&mut out).to_vec()).unwrap();
        assert!(text.contains("sluice_http_requests 18446744073709551615\n"), "{text}");
        assert!(text.contains("\nsluice_http_responses_2xx 0\n") && text.ends_with('\n'), "{text}");
        assert_eq!(text.lines().count(), Counters::default().iter().count());
        // With twenty digits each.
        assert!(text.len() + 19 * text.lines().count() < MAX, "{}", text.len());
    }
}

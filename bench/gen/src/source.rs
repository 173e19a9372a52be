//! What a lane sends: frame after frame, each of the next flow and size, numbered and stamped.

use wire::{Frame, FramePool, MacAddr};

use crate::flow::{Flow, FlowError, FlowSpec};
use crate::packet::{Mark, Template};
use crate::size::Sizes;

/// The most streams of a lane. With more flows than that, several share a stream, and a device that keeps the
/// order of each flow may be seen to reorder.
pub const MAX_STREAMS: usize = 1024;

/// The frames of one direction, in order. Its position counts them and is never set back: frame `n` is of flow
/// `n % flows`, and number `n / streams` of stream `n % streams`.
pub struct Source {
    flows: Vec<Flow>,
    templates: Vec<Template>,
    first_stream: u16,
    streams: usize,
    position: u64,
    flow: usize,
    template: usize,
    stream: usize,
    sequence: u64,
}

impl Source {
    /// Frames of `sizes` for `flows`, from station `src` to `dst`. Streams are numbered from `first_stream`.
    ///
    /// # Errors
    /// [`FlowError`].
    pub fn new(
        flows: &FlowSpec,
        sizes: &Sizes,
        src: MacAddr,
        dst: MacAddr,
        first_stream: u16,
    ) -> Result<Self, FlowError> {
        let templates =
            sizes.as_slice().iter().map(|size| Template::new(*size, flows.protocol, src, dst)).collect();
        let flows = flows.flows()?;
        let streams = flows.len().min(MAX_STREAMS);
        Ok(Source {
            flows,
            templates,
            first_stream,
            streams,
            position: 0,
            flow: 0,
            template: 0,
            stream: 0,
            sequence: 0,
        })
    }

    /// Sends to another station from now on.
    pub fn set_destination(&mut self, dst: MacAddr) {
        self.templates.iter_mut().for_each(|template| template.set_destination(dst));
    }

    /// How many streams there are.
    pub fn streams(&self) -> usize {
        self.streams
    }

    /// The number of the first stream.
    pub fn first_stream(&self) -> u16 {
        self.first_stream
    }

    /// Frames made or skipped so far.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The next frame, which is to be sent at `intended` (nanoseconds); `None`, and nothing is used up, if the
    /// pool is empty or its frames are too small.
    #[inline]
    pub fn make<P: FramePool>(&mut self, pool: &mut P, intended: u64) -> Option<P::Frame> {
        let template = &self.templates[self.template];
        let mut frame = pool.alloc()?;
        let mark = Mark { stream: self.first_stream + self.stream as u16, sequence: self.sequence, intended };
        template.write(frame.append(template.len()).ok()?, &self.flows[self.flow], &mark);
        self.advance();
        Some(frame)
    }

    #[inline]
    fn advance(&mut self) {
        self.position += 1;
        self.flow = next(self.flow, self.flows.len());
        self.template = next(self.template, self.templates.len());
        self.stream = next(self.stream, self.streams);
        self.sequence += u64::from(self.stream == 0);
    }

    /// Leaves out `count` frames.
    pub fn skip(&mut self, count: u64) {
        self.position += count;
        self.flow = (self.position % self.flows.len() as u64) as usize;
        self.template = (self.position % self.templates.len() as u64) as usize;
        self.stream = (self.position % self.streams as u64) as usize;
        self.sequence = self.position / self.streams as u64;
    }
}

#[inline(always)]
fn next(at: usize, len: usize) -> usize {
    if at + 1 == len { 0 } else { at + 1 }
}

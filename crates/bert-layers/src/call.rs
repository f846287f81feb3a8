//! A call on its way: prepared, computed with others or alone, in one go or in several, and finished.

use std::ops::Range;

use crate::backend::Job;
use crate::batch::PackedBatch;
use crate::encoder::Encoder;
use crate::output::{Output, Wanted, Written};
use crate::sequences::Sequences;
use crate::sink::{Part, Sink};
use crate::{Cancel, Result};

type Then<T> = Box<dyn FnOnce(Sequences, Written) -> Result<T> + Send>;

/// A call whose inputs are checked and tokenized, and whose result has its memory: all that is left is to compute it.
pub struct Call<T> {
    pub(crate) work: Work,
    pub(crate) then: Then<T>,
}

impl<T> Call<T> {
    /// Allocates what is wanted of the sequences; `then` makes the result of it.
    pub(crate) fn new(
        encoder: &Encoder,
        sequences: Sequences,
        wanted: Wanted,
        cancel: &Cancel,
        then: impl FnOnce(Sequences, Written) -> Result<T> + Send + 'static,
    ) -> Result<Self> {
        let config = encoder.config();
        let batch = sequences.batch();
        let out = Output::allocate(&batch, wanted, config.num_layers(), config.hidden_size())?;
        let left = Left { sequences: std::iter::once(0..batch.texts()).collect(), tokens: batch.len() };
        Ok(Self { work: Work { sequences, out, left, cancel: cancel.clone() }, then: Box::new(then) })
    }

    /// The tokens that will be computed.
    pub fn tokens(&self) -> usize {
        self.work.tokens()
    }

    /// Computes it, alone.
    pub fn complete(mut self, encoder: &Encoder) -> Result<T> {
        compute(encoder, &mut [(&mut self.work, usize::MAX)], &|| false).into_iter().collect::<Result<()>>()?;
        let (sequences, written) = self.work.finish();
        (self.then)(sequences, written)
    }
}

impl<T> std::fmt::Debug for Call<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Call").field("tokens", &self.tokens()).finish_non_exhaustive()
    }
}

/// The part of a call that knows nothing of what becomes of it.
pub(crate) struct Work {
    sequences: Sequences,
    out: Output,
    left: Left,
    cancel: Cancel,
}

impl Work {
    /// Tokens that are not computed.
    pub fn tokens(&self) -> usize {
        self.left.tokens
    }

    /// The last layer that anything asks for.
    pub fn deepest(&self) -> usize {
        self.out.deepest()
    }

    /// What `then` takes.
    pub fn finish(self) -> (Sequences, Written) {
        (self.sequences, self.out.finish())
    }
}

/// What is not computed of a call.
struct Left {
    /// Sequences, ascending.
    sequences: Vec<Range<usize>>,
    tokens: usize,
}

impl Left {
    /// The sequences that are next: of at most `limit` tokens, or one.
    fn next(&self, batch: &PackedBatch<'_>, limit: usize) -> Vec<Range<usize>> {
        if self.tokens <= limit {
            return self.sequences.clone();
        }
        let (mut next, mut tokens) = (Vec::new(), 0);
        for sequence in self.sequences.iter().cloned().flatten() {
            tokens += batch.rows(&(sequence..sequence + 1)).len();
            if tokens > limit && !next.is_empty() {
                break;
            }
            push(&mut next, sequence..sequence + 1);
        }
        next
    }

    /// All of `next` is computed, except for these.
    fn took(&mut self, batch: &PackedBatch<'_>, next: &[Range<usize>], except: impl Iterator<Item = Range<usize>>) {
        let end = next.last().map_or(0, |range| range.end);
        let beyond = self.sequences.iter().map(|range| range.start.max(end)..range.end.max(end));
        let mut left = Vec::new();
        except.chain(beyond).for_each(|range| push(&mut left, range));
        self.tokens = left.iter().map(|range| batch.rows(range).len()).sum();
        self.sequences = left;
    }
}

/// Adds a range behind the others.
fn push(ranges: &mut Vec<Range<usize>>, range: Range<usize>) {
    match ranges.last_mut() {
        _ if range.is_empty() => {}
        Some(last) if last.end == range.start => last.end = range.end,
        _ => ranges.push(range),
    }
}

/// A call's share of a batch.
struct Share<'w> {
    batch: PackedBatch<'w>,
    next: Vec<Range<usize>>,
    out: &'w mut Output,
    left: &'w mut Left,
    cancel: &'w Cancel,
}

impl<'w> Share<'w> {
    fn of(work: &'w mut Work, limit: usize) -> Self {
        let Work { sequences, out, left, cancel } = work;
        let batch = sequences.batch();
        let next = left.next(&batch, limit);
        Self { batch, next, out, left, cancel }
    }
}

/// Sequences of one call within one run of a batch.
struct Piece {
    call: usize,
    sequences: Range<usize>,
    run: usize,
}

/// Computes calls in one batch, of each at most so many tokens, and says of each whether it failed. Once `stop` says so nothing
/// more is begun; what was not computed then is still left.
pub(crate) fn compute(
    encoder: &Encoder,
    calls: &mut [(&mut Work, usize)],
    stop: &(dyn Fn() -> bool + Sync),
) -> Vec<Result<()>> {
    let mut shares: Vec<Share<'_>> = calls.iter_mut().map(|(work, limit)| Share::of(work, *limit)).collect();
    let next = || shares.iter().enumerate().flat_map(|(call, share)| share.next.iter().map(move |range| (call, range)));
    let joined = PackedBatch::join(next().map(|(call, range)| (&shares[call].batch, range)));
    let runs = encoder.backend().split(&joined, encoder.threads());
    let pieces = pieces(&runs, next());

    let mut parts_of_runs: Vec<Vec<Part<'_>>> = runs.iter().map(|_| Vec::new()).collect();
    let mut cancels_of_runs: Vec<Vec<Cancel>> = runs.iter().map(|_| Vec::new()).collect();
    for (call, Share { batch, out, cancel, .. }) in shares.iter_mut().enumerate() {
        let of_call = || pieces.iter().filter(|piece| piece.call == call);
        let sequences: Vec<_> = of_call().map(|piece| piece.sequences.clone()).collect();
        // Calls lie in the batch in their order, so the parts of each run do too.
        for (piece, part) in of_call().zip(out.parts(batch, &sequences)) {
            parts_of_runs[piece.run].push(part);
            cancels_of_runs[piece.run].push(cancel.clone());
        }
    }
    let jobs = runs.into_iter().zip(parts_of_runs).zip(cancels_of_runs).map(|((texts, parts), cancels)| Job {
        texts,
        sink: Sink::new(parts),
        cancel: Cancel::all(cancels),
    });
    let done = encoder.backend().run(&joined, jobs.collect(), encoder.crew(), stop);

    let finish = |(call, Share { batch, next, left, cancel, .. }): (usize, &mut Share<'_>)| {
        let of_call = || pieces.iter().filter(|piece| piece.call == call);
        let undone = of_call().filter(|piece| done[piece.run] != Ok(true)).map(|piece| piece.sequences.clone());
        left.took(batch, next, undone);
        cancel.check()?;
        of_call().try_for_each(|piece| done[piece.run].clone().map(drop))
    };
    shares.iter_mut().enumerate().map(finish).collect()
}

/// The runs of a batch in pieces of one call each. `next` is what the batch was joined of.
fn pieces<'a>(runs: &[Range<usize>], next: impl Iterator<Item = (usize, &'a Range<usize>)>) -> Vec<Piece> {
    let (mut pieces, mut run, mut at) = (Vec::new(), 0, 0);
    for (call, sequences) in next {
        let mut start = sequences.start;
        while start < sequences.end {
            let end = sequences.end.min(start + runs[run].end - at);
            pieces.push(Piece { call, sequences: start..end, run });
            at += end - start;
            start = end;
            run += usize::from(at == runs[run].end);
        }
    }
    pieces
}

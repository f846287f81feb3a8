//! Calls that wait together: bit-equal to each alone, in an order that keeps nobody waiting for much more than it asks for.

mod support;

use std::sync::{Arc, Mutex};

use bert_layers::{
    Call, Cancel, Combine, DeviceChoice, EmbedInput, EmbedOptions, EncodeOptions, Encoder, Error, Input, Layers,
    LoadOptions, Overflow, Pool, Queue, Result, Task, Vectors, Window,
};
use proptest::prelude::*;
use support::fixture;

fn encoder(threads: usize) -> Encoder {
    let options = LoadOptions { device: DeviceChoice::Cpu, threads: Some(threads), ..LoadOptions::default() };
    Encoder::from_pretrained(&fixture("goldens/bert").to_string_lossy(), &options).expect("a sound fixture")
}

/// A text of so many tokens.
fn text(length: usize, seed: u64) -> Input {
    let number = |i: usize| {
        let step = (i as u64).wrapping_mul(1442695040888963407);
        seed.wrapping_mul(6364136223846793005).wrapping_add(step) >> 33
    };
    let ids = (0..length).map(|i| (number(i) % 211) as u32).collect();
    let mask = (seed.is_multiple_of(3)).then(|| (0..length).map(|i| i == 0 || number(i + 200) % 3 > 0).collect());
    Input::Ids { ids, type_ids: None, attention_mask: mask }
}

/// A call of any kind; its result is its numbers' bits.
#[derive(Debug, Clone)]
enum Kind {
    Encode(Vec<Input>, EncodeOptions),
    Embed(Vec<EmbedInput>, EmbedOptions),
}

impl Kind {
    fn tokens(&self) -> usize {
        match self {
            Kind::Encode(inputs, _) => inputs.iter().map(Input::estimate).sum(),
            Kind::Embed(inputs, _) => inputs.iter().map(|input| input.input.estimate()).sum(),
        }
    }

    fn alone(&self, encoder: &Encoder) -> Vec<u32> {
        match self {
            Kind::Encode(inputs, options) => {
                let states = encoder.encode(inputs, options).expect("a sound call");
                states.data().iter().chain(states.pooler_output().into_iter().flatten()).map(|x| x.to_bits()).collect()
            }
            Kind::Embed(inputs, options) => floats(encoder.embed(inputs, options).expect("a sound call").vectors),
        }
    }

    /// The call as a task; `reply` gets its bits.
    fn task(self, cancel: Cancel, reply: impl FnOnce(Result<Vec<u32>>) + Send + 'static) -> Task {
        let tokens = self.tokens();
        match self {
            Kind::Encode(inputs, options) => {
                let options = EncodeOptions { cancel: cancel.clone(), ..options };
                let prepare = move |encoder: &Encoder| encoder.prepare(&inputs, &options);
                Task::new(tokens, cancel, prepare, move |result| {
                    reply(result.map(|states| {
                        let all = states.data().iter().chain(states.pooler_output().into_iter().flatten());
                        all.map(|x| x.to_bits()).collect()
                    }));
                })
            }
            Kind::Embed(inputs, options) => {
                let options = EmbedOptions { cancel: cancel.clone(), ..options };
                let prepare = move |encoder: &Encoder| encoder.prepare_embed(&inputs, &options);
                Task::new(tokens, cancel, prepare, move |result| reply(result.map(|vectors| floats(vectors.vectors))))
            }
        }
    }
}

fn floats(vectors: Vectors) -> Vec<u32> {
    let Vectors::Float32(data) = vectors else { panic!("not asked for") };
    data.into_iter().map(f32::to_bits).collect()
}

fn kind() -> impl Strategy<Value = Kind> {
    let texts = |longest: usize| {
        prop::collection::vec((1..=longest, any::<u64>()).prop_map(|(length, seed)| text(length, seed)), 1..12)
    };
    let layers = prop::sample::subsequence(vec![0i64, 1, 2, 3, 4], 1..=5);
    let encode = (texts(80), layers.clone(), any::<bool>()).prop_map(|(texts, layers, pooler)| {
        Kind::Encode(texts, EncodeOptions { layers: Layers::List(layers), pooler, ..EncodeOptions::default() })
    });
    let pools = prop::sample::select(vec![Pool::Mean, Pool::Max, Pool::WeightedMean]);
    let combines = prop::sample::select(vec![Combine::Mean, Combine::Max, Combine::Concat, Combine::None]);
    let embed = (texts(200), layers, pools, combines).prop_map(|(texts, layers, pool, combine)| {
        let overflow = Overflow::Window(Window::default());
        let layers = Some(Layers::List(layers));
        let texts = texts.into_iter().map(EmbedInput::from).collect();
        Kind::Embed(texts, EmbedOptions { layers, pool: Some(pool), combine, overflow, ..EmbedOptions::default() })
    });
    prop_oneof![encode, embed]
}

/// Which calls replied, in order, and with what.
type Replies = Arc<Mutex<Vec<(usize, Result<Vec<u32>>)>>>;

fn push(queue: &mut Queue, replies: &Replies, name: usize, kind: Kind, cancel: Cancel) {
    let replies = replies.clone();
    queue.push(kind.task(cancel, move |result| replies.lock().expect("no panic").push((name, result))));
}

fn names(replies: &Replies) -> Vec<usize> {
    replies.lock().expect("no panic").iter().map(|(name, _)| *name).collect()
}

/// A call of `texts` texts of 64 tokens.
fn states(texts: usize, layers: &[i64]) -> Kind {
    let inputs = (0..texts).map(|seed| text(64, seed as u64)).collect();
    Kind::Encode(inputs, EncodeOptions { layers: Layers::List(layers.to_vec()), ..EncodeOptions::default() })
}

const NOBODY: usize = usize::MAX;

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn together_equals_alone(
        kinds in prop::collection::vec(kind(), 1..16),
        threads in 1usize..4,
        arrivals in prop::collection::vec(0usize..4, 1..8),
        interrupted in prop::collection::vec(any::<bool>(), 1..8),
        cancelled in prop::collection::vec(0u8..8, 16),
    ) {
        let (encoder, alone) = (encoder(threads), encoder(1));
        let expected: Vec<_> = kinds.iter().map(|kind| kind.alone(&alone)).collect();
        let (mut queue, replies) = (Queue::new(&encoder), Replies::default());
        let mut coming = kinds.into_iter().enumerate();
        for step in 0.. {
            for (name, kind) in coming.by_ref().take(1 + arrivals[step % arrivals.len()]) {
                let cancel = Cancel::new();
                push(&mut queue, &replies, name, kind, cancel.clone());
                if cancelled[name] == 0 {
                    cancel.cancel();
                }
            }
            if queue.is_empty() {
                break;
            }
            let arrived = if interrupted[step % interrupted.len()] && step < 100 { 1 } else { NOBODY };
            queue.step(&encoder, &|| arrived);
        }
        let mut replies = replies.lock().expect("no panic").clone();
        replies.sort_by_key(|(name, _)| *name);
        prop_assert_eq!(replies.len(), expected.len());
        for ((name, reply), expected) in replies.into_iter().zip(expected) {
            match cancelled[name] {
                0 => prop_assert_eq!(reply, Err(Error::Cancelled)),
                _ => prop_assert!(reply.expect("a sound call") == expected, "call {} has other numbers", name),
            }
        }
    }
}

#[test]
fn a_short_call_waits_for_two_long_ones_at_most() {
    for threads in [1, 2, 3, 4, 8] {
        let encoder = encoder(threads);
        let (mut queue, replies) = (Queue::new(&encoder), Replies::default());
        for name in 0..10 {
            push(&mut queue, &replies, name, states(8, &[1]), Cancel::new()); // 512 tokens
        }
        queue.step(&encoder, &|| NOBODY); // the short one comes when a batch has begun
        let short = Kind::Encode(vec![text(10, 7)], EncodeOptions::default());
        push(&mut queue, &replies, 10, short, Cancel::new());
        while !queue.is_empty() {
            queue.step(&encoder, &|| NOBODY);
        }
        let names = names(&replies);
        let before = names.iter().position(|&name| name == 10).expect("it replied");
        assert!(before <= 2, "{threads} threads: {names:?}");
        let mut all = names;
        all.sort_unstable();
        assert_eq!(all, (0..=10).collect::<Vec<_>>());
    }
}

#[test]
fn a_very_long_call_is_interrupted_and_goes_on() {
    let encoder = encoder(2);
    let long = states(60, &[0, 4]);
    let expected = long.alone(&encoder);
    let (mut queue, replies) = (Queue::new(&encoder), Replies::default());
    push(&mut queue, &replies, 0, long, Cancel::new());
    queue.step(&encoder, &|| 64);
    assert!(names(&replies).is_empty(), "it was interrupted");
    push(&mut queue, &replies, 1, states(1, &[4]), Cancel::new());
    queue.step(&encoder, &|| NOBODY);
    assert_eq!(names(&replies), [1]);
    queue.step(&encoder, &|| NOBODY);
    assert_eq!(names(&replies), [1, 0]);
    assert!(replies.lock().expect("no panic")[1].1 == Ok(expected), "the same numbers in two goes as in one");
}

#[test]
fn short_calls_without_end_do_not_keep_a_long_one_waiting_forever() {
    let encoder = encoder(2);
    let (mut queue, replies) = (Queue::new(&encoder), Replies::default());
    push(&mut queue, &replies, 0, states(40, &[1]), Cancel::new()); // 2560 tokens: three turns
    let mut next = 1;
    while !names(&replies).contains(&0) {
        for _ in 0..20 {
            push(&mut queue, &replies, next, states(1, &[1]), Cancel::new()); // more than a batch takes
            next += 1;
        }
        queue.step(&encoder, &|| NOBODY);
        assert!(next < 500, "it still waits");
    }
    assert!(names(&replies).len() > 40, "and the short ones did not wait for all of it");
}

#[test]
fn one_that_fails_or_is_aborted_does_not_disturb_the_others() {
    let encoder = encoder(2);
    let good = states(3, &[0, 1]);
    let expected = good.alone(&encoder);
    let (mut queue, replies) = (Queue::new(&encoder), Replies::default());
    let aborted = Cancel::new();
    push(&mut queue, &replies, 0, good.clone(), Cancel::new());
    push(&mut queue, &replies, 1, states(2, &[1]), aborted.clone());
    push(&mut queue, &replies, 2, states(1, &[99]), Cancel::new());
    let panics = |_: &Encoder| -> Result<Call<()>> { panic!("a panic for a test") };
    let of_panic = replies.clone();
    queue.push(Task::new(5, Cancel::new(), panics, move |result| {
        of_panic.lock().expect("no panic").push((3, result.map(|()| Vec::new())));
    }));
    push(&mut queue, &replies, 4, good, Cancel::new());
    aborted.cancel();
    while !queue.is_empty() {
        queue.step(&encoder, &|| NOBODY);
    }
    let mut replies = replies.lock().expect("no panic").clone();
    replies.sort_by_key(|(name, _)| *name);
    let results: Vec<_> = replies.into_iter().map(|(_, result)| result).collect();
    assert_eq!(results[0], Ok(expected.clone()));
    assert_eq!(results[1], Err(Error::Cancelled));
    assert!(matches!(results[2], Err(Error::InvalidInput(_))));
    assert_eq!(results[3], Err(Error::Internal("a panic for a test".into())));
    assert_eq!(results[4], Ok(expected));
}

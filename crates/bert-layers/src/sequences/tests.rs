//! Windows against their definition, computed anew and naively.

use super::*;
use crate::fold::Mix;
use crate::output::{Layout, Output, Wanted};
use crate::overflow::{Truncate, Window};
use crate::sink::Sink;
use proptest::prelude::*;

/// Texts of so many special tokens, others, and special ones again; ids tell all tokens apart.
fn tokens(shape: &[(usize, usize, usize)]) -> Tokens {
    let mut starts = vec![0];
    let mut special_tokens_mask = Vec::new();
    for &(prefix, content, suffix) in shape {
        special_tokens_mask.extend((0..prefix).map(|_| true).chain((0..content).map(|_| false)));
        special_tokens_mask.extend((0..suffix).map(|_| true));
        starts.push(special_tokens_mask.len());
    }
    let count = special_tokens_mask.len();
    Tokens {
        starts,
        ids: (1000..).take(count).collect(),
        type_ids: vec![0; count],
        offsets: vec![(0, 0); count],
        word_ids: vec![None; count],
        sequence_ids: special_tokens_mask.iter().map(|&special| (!special).then_some(0)).collect(),
        special_tokens_mask,
        unknown: vec![false; count],
        attention_mask: vec![true; count],
    }
}

/// "The encoder": a row depends on its token, its position, and every token of its sequence.
fn state(sequence: &[u32], position: usize) -> f32 {
    let sum: u32 = sequence.iter().enumerate().map(|(i, id)| id * (i as u32 + 1) % 97).sum();
    (sum % 1000) as f32 + sequence[position] as f32 * 1e-1 + position as f32 * 1e-2
}

/// What the machinery gives for every token that has a row.
fn computed(sequences: &Sequences) -> Vec<f32> {
    let groups = Groups::tokens(&sequences.tokens.starts);
    let batch = sequences.batch();
    let plan = Some(sequences.plan(Reduce::Sum, &groups));
    let wanted =
        Wanted { mix: Some(Mix::Each(vec![0])), plan, layout: Layout::LayerFirst, pooler: None, attentions: None };
    let mut out = Output::allocate(&batch, wanted, 0, 1).expect("little memory");
    let all = 0..batch.texts();
    let ranges = batch.ranges(&all);
    let chunk = batch.chunk(&all, &ranges);
    let of = |rows: &Range<usize>| {
        let sequence = chunk.ids[rows.clone()].to_vec();
        (0..sequence.len()).map(move |position| state(&sequence, position)).collect::<Vec<_>>()
    };
    let rows: Vec<f32> = ranges.iter().flat_map(of).collect();
    let mut sink = Sink::new(out.parts(&batch, std::slice::from_ref(&all)));
    sink.put(0, &rows).expect("little memory");
    drop(sink);
    out.finish().states.into_vec()
}

fn limit(tokens: usize) -> Limit {
    Limit { tokens, whose: "allowed" }
}

/// The definition for one text: its windows' starts, then each token's state.
fn naive(
    ids: &[u32],
    (prefix, content, suffix): (usize, usize, usize),
    size: usize,
    stride: usize,
    merge: Merge,
) -> Vec<f64> {
    let room = size - prefix - suffix;
    let mut starts = Vec::new();
    let mut start = 0;
    while start + room < content {
        starts.push(start);
        start += stride;
    }
    starts.push(content - room);
    let window = |start: usize| -> Vec<u32> {
        let (head, tail) = (&ids[..prefix], &ids[prefix + content..]);
        [head, &ids[prefix + start..prefix + start + room], tail].concat()
    };
    let token = |t: usize| -> f64 {
        let holding = |t: usize| starts.iter().copied().filter(move |&s| s <= t && t < s + room);
        let mean = |values: Vec<f64>| values.iter().sum::<f64>() / values.len() as f64;
        let last = starts[starts.len() - 1];
        if t < prefix || t >= prefix + content {
            let position = if t < prefix { t } else { t - content + room };
            let states = |starts: &[usize]| starts.iter().map(|&s| f64::from(state(&window(s), position))).collect();
            return match merge {
                Merge::Mean => mean(states(&starts)),
                Merge::Center if t < prefix => mean(states(&starts[..1])),
                Merge::Center => mean(states(&[last])),
            };
        }
        let t = t - prefix;
        let at = |s: usize| f64::from(state(&window(s), prefix + t - s));
        match merge {
            Merge::Mean => mean(holding(t).map(at).collect()),
            Merge::Center => {
                // The window that leaves the token most on its poorer side; the first of two alike.
                let context = |s: usize| (t - s).min(s + room - 1 - t);
                let best = holding(t).map(context).max().expect("a window holds every token");
                at(holding(t).find(|&s| context(s) == best).expect("the best"))
            }
        }
    };
    (0..ids.len()).map(token).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_token_has_the_state_of_its_windows(
        shape in prop::collection::vec((0usize..3, 1usize..60, 0usize..3), 1..5),
        size in 5usize..20,
        stride in 1usize..16,
        given in any::<bool>(),
        mean in any::<bool>(),
    ) {
        let room = shape.iter().map(|(prefix, _, suffix)| size - prefix - suffix).min().expect("a text");
        let stride = stride.min(room);
        let merge = if mean { Merge::Mean } else { Merge::Center };
        let window = Window { size: Some(size), stride: given.then_some(stride), merge };
        let all = tokens(&shape);
        let sequences = Sequences::new(all.clone(), limit(30), &Overflow::Window(window)).expect("room for windows");
        prop_assert_eq!(&sequences.tokens, &all, "nothing is left out");
        let batch = sequences.batch();
        for sequence in 0..batch.texts() {
            prop_assert!(batch.rows(&(sequence..sequence + 1)).len() <= size);
        }
        let states = computed(&sequences);
        for (text, &(prefix, content, suffix)) in shape.iter().enumerate() {
            let rows = all.rows(text);
            let ids = &all.ids[rows.clone()];
            let expected: Vec<f64> = if ids.len() <= size {
                (0..ids.len()).map(|position| f64::from(state(ids, position))).collect()
            } else {
                let stride = if given { stride } else { (size - prefix - suffix).div_ceil(2) };
                naive(ids, (prefix, content, suffix), size, stride, merge)
            };
            for (ours, theirs) in states[rows].iter().zip(expected) {
                prop_assert!((f64::from(*ours) - theirs).abs() <= 1e-3, "{ours} {theirs}");
            }
        }
    }

    #[test]
    fn samples_are_windows_of_the_text(
        content in 1usize..200,
        windows in 1usize..6,
        seed in any::<u64>(),
        before in 0usize..3,
    ) {
        let mut shape = vec![(1, 5, 1); before];
        shape.push((1, content, 1));
        let sampled = |shape: &[(usize, usize, usize)]| {
            Sequences::new(tokens(shape), limit(12), &Overflow::Sample { windows, seed }).expect("room for windows")
        };
        let (alone, together) = (sampled(&shape[before..]), sampled(&shape));
        let drawn = |sequences: &Sequences, text: usize| sequences.cuts.sampled.get(text).cloned().flatten();
        prop_assert_eq!(drawn(&alone, 0), drawn(&together, before), "the same windows whatever shares the call");
        let Some(ranges) = drawn(&alone, 0) else {
            prop_assert!(content + 2 <= 12);
            return Ok(());
        };
        prop_assert!(content + 2 > 12);
        prop_assert_eq!(ranges.len(), windows.min(content / 10));
        let mut end = 1;
        for range in &ranges {
            prop_assert!(range.start >= end && range.len() == 10 && range.end <= content + 1);
            end = range.end;
        }
        // The rows: special tokens, and those of the windows; their states are the windows' own.
        let all: Vec<u32> = tokens(&shape[before..]).ids;
        let (cls, sep) = (all[0], all[content + 1]);
        let expected: Vec<u32> =
            [cls].into_iter().chain(ranges.iter().flat_map(|r| all[r.clone()].to_vec())).chain([sep]).collect();
        prop_assert_eq!(&alone.tokens.ids, &expected);
        let states = computed(&alone);
        for (i, range) in ranges.iter().enumerate() {
            let window = [&[cls][..], &all[range.clone()], &[sep]].concat();
            for position in 1..11 {
                prop_assert_eq!(states[i * 10 + position], state(&window, position));
            }
        }
    }

    #[test]
    fn truncating_keeps_what_it_says(content in 1usize..60, kind in 0..4, head in 0usize..=8) {
        let all = tokens(&[(1, content, 1)]);
        let truncate = match kind {
            0 => Truncate::Head,
            1 => Truncate::Tail,
            2 => Truncate::HeadTail { head: Some(head) },
            _ => Truncate::HeadTail { head: None },
        };
        let kept = Sequences::new(all.clone(), limit(10), &Overflow::Truncate(truncate)).expect("room");
        if content <= 8 {
            prop_assert_eq!(kept.tokens, all);
            return Ok(());
        }
        let head = match kind { 0 => 8, 1 => 0, 2 => head, _ => 2 };
        let expected: Vec<usize> = (0..1 + head).chain(content + 1 - (8 - head)..content + 2).collect();
        prop_assert_eq!(&kept.tokens.ids, &expected.iter().map(|&i| all.ids[i]).collect::<Vec<_>>());
        prop_assert_eq!(&kept.cuts.truncated, &vec![content - 8]);
    }
}

#[test]
fn what_makes_no_sense_is_an_error() {
    let text = || tokens(&[(1, 40, 1)]);
    let window = |size, stride| Overflow::Window(Window { size, stride, merge: Merge::Center });
    for (overflow, code) in [
        (Overflow::Error, "ERR_TOO_MANY_TOKENS"),
        (window(Some(2), None), "ERR_INVALID_INPUT"), // no room beside the special tokens
        (window(Some(0), None), "ERR_INVALID_INPUT"),
        (window(Some(21), None), "ERR_INVALID_INPUT"),
        (window(None, Some(0)), "ERR_INVALID_INPUT"),
        (window(None, Some(19)), "ERR_INVALID_INPUT"),
        (Overflow::Sample { windows: 0, seed: 1 }, "ERR_INVALID_INPUT"),
        (Overflow::Truncate(Truncate::HeadTail { head: Some(19) }), "ERR_INVALID_INPUT"),
    ] {
        let error = Sequences::new(text(), limit(20), &overflow).expect_err("no sense");
        assert_eq!(error.code(), code, "{overflow:?}: {error}");
    }
    let mut pair = text();
    pair.sequence_ids[30] = Some(1);
    let error = Sequences::new(pair, limit(20), &window(None, None)).expect_err("a pair");
    assert!(error.to_string().contains("pair"), "{error}");
}

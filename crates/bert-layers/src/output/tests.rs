//! The fold of rows, in any chunks, against its definition in f64.

use super::*;
use crate::fold::Reduce;
use crate::sink::Sink;
use crate::{Cancel, Input, OffsetUnit, Tokens};
use bert_layers_kernels::Crew;
use proptest::prelude::*;

const WIDTH: usize = 3;
const LAYERS: usize = 3;

/// A call: its sequences' lengths, and what it wants of them.
#[derive(Debug, Clone)]
struct Call {
    lengths: Vec<usize>,
    mix: Mix,
    layout: Layout,
    /// None: rows as they are.
    planned: Option<Planned>,
    pooler: bool,
}

/// `gathers[sequence]`: targets with terms, rows within the sequence.
#[derive(Debug, Clone)]
struct Planned {
    reduce: Reduce,
    rows: usize,
    gathers: Vec<Vec<Target>>,
}

/// A row of the result, and what a sequence gives to it.
type Target = (usize, Vec<(usize, f32)>);

fn tokens(lengths: &[usize]) -> Tokens {
    let inputs: Vec<Input> =
        lengths.iter().map(|&n| Input::Ids { ids: vec![1; n], type_ids: None, attention_mask: None }).collect();
    let crew = Crew::start(1).expect("no thread is needed");
    crate::tokenize::tokenize(&crew, None, &inputs, true, OffsetUnit::Byte, &Cancel::new())
        .expect("ids need no tokenizer")
}

/// What "the encoder" gives: numbers that tell layers, calls and rows apart.
fn states(call: usize, layer: usize, rows: Range<usize>) -> Vec<f32> {
    let number = |i: usize| ((i * 7919 + layer * 104_729 + call * 1_299_709) % 1009) as f32 / 100.0 - 5.0;
    (rows.start * WIDTH..rows.end * WIDTH).map(number).collect()
}

impl Call {
    fn starts(&self) -> Vec<usize> {
        tokens(&self.lengths).starts
    }

    fn plan(&self) -> Option<Plan> {
        let Planned { reduce, rows, gathers } = self.planned.as_ref()?;
        let mut plan = Plan::new(*reduce, *rows);
        for (start, gathers) in self.starts().iter().zip(gathers) {
            for (row, terms) in gathers {
                plan.gather(*row, terms.iter().map(|&(row, weight)| (start + row, weight)));
            }
            plan.end_sequence();
        }
        Some(plan)
    }

    fn output(&self, batch: &PackedBatch<'_>) -> Output {
        let pooler = self.pooler.then_some(None);
        let wanted = Wanted { mix: Some(self.mix.clone()), plan: self.plan(), layout: self.layout, pooler };
        Output::allocate(batch, wanted, LAYERS, WIDTH).expect("little memory")
    }

    /// The definition, in f64: mix the layers, then put rows together.
    fn naive(&self, call: usize) -> Vec<f64> {
        let total = *self.starts().last().expect("an end");
        let layer = |layer| states(call, layer, 0..total).into_iter().map(f64::from).collect::<Vec<_>>();
        let mixed: Vec<Vec<f64>> = match &self.mix {
            Mix::Each(layers) => layers.iter().map(|&l| layer(l)).collect(),
            Mix::Weighted(layers) => vec![
                (0..total * WIDTH)
                    .map(|i| layers.iter().map(|&(l, weight)| f64::from(weight) * layer(l)[i]).sum())
                    .collect(),
            ],
            Mix::Max(layers) => vec![
                (0..total * WIDTH)
                    .map(|i| layers.iter().map(|&l| layer(l)[i]).fold(f64::NEG_INFINITY, f64::max))
                    .collect(),
            ],
        };
        let Some(Planned { reduce, rows, gathers }) = &self.planned else { return mixed.concat() };
        let mut out = vec![0.0; mixed.len() * rows * WIDTH];
        let starts = self.starts();
        for (slot, mixed_layer) in mixed.iter().enumerate() {
            for row in 0..*rows {
                let terms: Vec<(usize, f64)> = (gathers.iter().zip(&starts))
                    .flat_map(|(gathers, start)| gathers.iter().map(move |gather| (start, gather)))
                    .filter(|(_, gather)| gather.0 == row)
                    .flat_map(|(start, gather)| gather.1.iter().map(move |&(r, w)| (start + r, f64::from(w))))
                    .collect();
                let at = match self.layout {
                    Layout::LayerFirst => slot * rows + row,
                    Layout::RowFirst => row * mixed.len() + slot,
                };
                for column in 0..WIDTH {
                    let values = terms.iter().map(|(row, weight)| (weight, mixed_layer[row * WIDTH + column]));
                    out[at * WIDTH + column] = match reduce {
                        _ if terms.is_empty() => 0.0,
                        Reduce::Sum => values.map(|(weight, value)| weight * value).sum(),
                        Reduce::Max => values.map(|(_, value)| value).fold(f64::NEG_INFINITY, f64::max),
                    };
                }
            }
        }
        out
    }
}

/// Plays the encoder: every chunk is a list of (call, run of its sequences); the chunks come in the order given.
fn run(calls: &[Call], chunks: &[Vec<(usize, Range<usize>)>]) -> Vec<Written> {
    let tokens: Vec<_> = calls.iter().map(|call| tokens(&call.lengths)).collect();
    let batches: Vec<_> = tokens.iter().map(PackedBatch::new).collect();
    let mut outputs: Vec<_> = calls.iter().zip(&batches).map(|(call, batch)| call.output(batch)).collect();
    for chunk in chunks {
        let mut parts = Vec::new();
        let mut runs: Vec<(usize, Range<usize>)> = Vec::new();
        for (i, output) in outputs.iter_mut().enumerate() {
            if let Some((_, run)) = chunk.iter().find(|(call, _)| *call == i) {
                parts.extend(output.parts(&batches[i], std::slice::from_ref(run)));
                runs.push((i, run.clone()));
            }
        }
        let mut sink = Sink::new(parts);
        for layer in 0..=sink.deepest() {
            let rows: Vec<f32> =
                (runs.iter()).flat_map(|(call, run)| states(*call, layer, batches[*call].rows(run))).collect();
            if let Some(lent) = sink.lend(layer) {
                lent.copy_from_slice(&rows);
            }
            if sink.wants(layer) {
                sink.put(layer, &rows).expect("memory");
            }
            assert!(sink.lend(layer).is_none(), "taken or given: written once");
        }
        // "The pooler" of a sequence is row 1000 + its number.
        let all: Vec<_> = runs.iter().flat_map(|(call, run)| run.clone().map(move |text| (*call, text))).collect();
        let pooled: Vec<f32> = (sink.pooled().into_iter())
            .flat_map(|text| states(all[text].0, 0, 1000 + all[text].1..1001 + all[text].1))
            .collect();
        sink.put_pooler(&pooled).expect("memory");
    }
    outputs.into_iter().map(Output::finish).collect()
}

fn call() -> impl Strategy<Value = Call> {
    let lengths = prop::collection::vec(1usize..6, 1..8);
    let layers = || prop::sample::subsequence((0..=LAYERS).collect::<Vec<_>>(), 1..=LAYERS + 1).prop_shuffle();
    let weights = prop::collection::vec(-2.0f32..2.0, LAYERS + 1);
    let mix = (layers(), weights, 0..3).prop_map(|(layers, weights, kind)| match kind {
        0 => Mix::Each(layers),
        1 => Mix::Weighted(layers.into_iter().zip(weights).collect()),
        _ => Mix::Max(layers),
    });
    let reduce = prop_oneof![Just(Reduce::Sum), Just(Reduce::Max)];
    (lengths, mix, any::<bool>(), any::<bool>(), any::<bool>(), reduce, 1usize..5).prop_flat_map(
        |(lengths, mix, row_first, as_they_are, pooler, reduce, rows)| {
            let as_they_are = as_they_are && matches!(mix, Mix::Each(_));
            let layout = if row_first && !as_they_are { Layout::RowFirst } else { Layout::LayerFirst };
            let gathers: Vec<_> = lengths
                .iter()
                .map(|&length| {
                    let terms = prop::collection::vec((0..length, -2.0f32..2.0), 0..4);
                    prop::collection::btree_map(0..rows, terms, 0..=rows)
                        .prop_map(|gathers| gathers.into_iter().collect::<Vec<_>>())
                        .prop_shuffle()
                })
                .collect();
            gathers.prop_map(move |gathers| {
                let planned = (!as_they_are).then_some(Planned { reduce, rows, gathers });
                Call { lengths: lengths.clone(), mix: mix.clone(), layout, planned, pooler }
            })
        },
    )
}

/// Cuts of each call's sequences into runs, and how the runs of the calls meet in chunks.
fn chunks(calls: &[Call], cut: &[bool], together: bool) -> Vec<Vec<(usize, Range<usize>)>> {
    let mut runs: Vec<Vec<Range<usize>>> = Vec::new();
    for call in calls {
        let mut of_call: Vec<Range<usize>> = Vec::new();
        of_call.push(0..0);
        for sequence in 0..call.lengths.len() {
            let last = of_call.last_mut().expect("never empty");
            last.end = sequence + 1;
            if cut[(sequence * 3 + runs.len()) % cut.len()] && sequence + 1 < call.lengths.len() {
                of_call.push(sequence + 1..sequence + 1);
            }
        }
        runs.push(of_call);
    }
    if !together {
        return runs.iter().enumerate().flat_map(|(i, runs)| runs.iter().map(move |r| vec![(i, r.clone())])).collect();
    }
    let most = runs.iter().map(Vec::len).max().unwrap_or(0);
    let chunk = |n: usize| runs.iter().enumerate().filter_map(move |(i, runs)| Some((i, runs.get(n)?.clone())));
    (0..most).map(|n| chunk(n).collect()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn equals_the_definition_in_any_chunks(
        calls in prop::collection::vec(call(), 1..4),
        cut in prop::collection::vec(any::<bool>(), 8),
        together in any::<bool>(),
        backwards in any::<bool>(),
    ) {
        let whole = chunks(&calls, &[false], false);
        let mut parts = chunks(&calls, &cut, together);
        if backwards {
            parts.reverse();
        }
        let (expected, actual) = (run(&calls, &whole), run(&calls, &parts));
        for (i, call) in calls.iter().enumerate() {
            let naive = call.naive(i);
            prop_assert_eq!(naive.len(), actual[i].states.len());
            for (ours, theirs) in actual[i].states.iter().zip(&naive) {
                prop_assert!((f64::from(*ours) - theirs).abs() <= 1e-4 * theirs.abs().max(1.0), "{ours} {theirs}");
            }
            let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            prop_assert_eq!(bits(&expected[i].states), bits(&actual[i].states), "any chunks, the same bits");
            let pooled = call.pooler.then(|| states(i, 0, 1000..1000 + call.lengths.len()));
            prop_assert_eq!(&actual[i].pooler, &pooled);
        }
    }
}

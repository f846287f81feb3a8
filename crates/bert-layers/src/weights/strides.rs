//! Values that lie otherwise than row-major: views of PyTorch, and the transposed kernels of TensorFlow and Flax.

/// Values from the first to the last of a tensor, both included; none where the number does not fit.
pub(super) fn span(shape: &[usize], strides: Option<&[usize]>) -> Option<u64> {
    let Some(strides) = strides else {
        return shape.iter().try_fold(1u64, |count, &size| count.checked_mul(size as u64));
    };
    if shape.len() != strides.len() {
        return None;
    }
    if shape.contains(&0) {
        return Some(0);
    }
    let mut last = 0u64;
    for (&size, &stride) in shape.iter().zip(strides) {
        last = last.checked_add((size as u64 - 1).checked_mul(stride as u64)?)?;
    }
    last.checked_add(1)
}

/// Whether these strides are those of row-major order: then none need be kept. Dimensions of size 1 may have any stride.
pub(super) fn is_row_major(shape: &[usize], strides: &[usize]) -> bool {
    let mut expected = 1usize;
    shape.contains(&0)
        || shape.iter().zip(strides).rev().all(|(&size, &stride)| {
            let fits = size == 1 || stride == expected;
            expected = expected.saturating_mul(size);
            fits
        })
}

/// Copies a view's values out in row-major order. `raw` begins with its first value and has its [`span`].
pub(super) fn gather(raw: &[u8], item_size: usize, shape: &[usize], strides: &[usize], out: &mut [u8]) {
    match item_size {
        1 => gather_items(raw.as_chunks::<1>().0, shape, strides, out.as_chunks_mut::<1>().0),
        2 => gather_items(raw.as_chunks::<2>().0, shape, strides, out.as_chunks_mut::<2>().0),
        4 => gather_items(raw.as_chunks::<4>().0, shape, strides, out.as_chunks_mut::<4>().0),
        _ => gather_items(raw.as_chunks::<8>().0, shape, strides, out.as_chunks_mut::<8>().0),
    }
}

fn gather_items<T: Copy>(raw: &[T], shape: &[usize], strides: &[usize], out: &mut [T]) {
    if out.is_empty() {
        return;
    }
    // Matrices, each at the place that the outer dimensions' counters say.
    let outer = shape.len().saturating_sub(2);
    let [rows, columns] =
        [1, 0].map(|from_end| shape.len().checked_sub(from_end + 1).map_or((1, 0), |i| (shape[i], strides[i])));
    let mut counters = vec![0; outer];
    for matrix in out.chunks_mut(rows.0 * columns.0) {
        let start: usize = counters.iter().zip(strides).map(|(&at, &stride): (&usize, &usize)| at * stride).sum();
        gather_matrix(&raw[start..], rows, columns, matrix);
        for (counter, &size) in counters.iter_mut().zip(shape).rev() {
            *counter += 1;
            if *counter < size {
                break;
            }
            *counter = 0;
        }
    }
}

/// In square blocks: both what is read and what is written stay in the cache while a block is turned.
fn gather_matrix<T: Copy>(
    raw: &[T],
    (rows, by_row): (usize, usize),
    (columns, by_column): (usize, usize),
    out: &mut [T],
) {
    const BLOCK: usize = 32;
    for first_row in (0..rows).step_by(BLOCK) {
        for first_column in (0..columns).step_by(BLOCK) {
            for row in first_row..rows.min(first_row + BLOCK) {
                for column in first_column..columns.min(first_column + BLOCK) {
                    out[row * columns + column] = raw[row * by_row + column * by_column];
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against the definition: element [i, j, …] is at Σ index · stride.
        #[test]
        fn gathers_what_the_definition_says(
            dimensions in prop::collection::vec((1usize..40, 0usize..5), 0..4),
            item_size in prop::sample::select(vec![1usize, 2, 4, 8]),
        ) {
            let (shape, strides): (Vec<usize>, Vec<usize>) = dimensions.into_iter().unzip();
            let values = span(&shape, Some(&strides)).expect("small") as usize;
            let raw: Vec<u8> = (0..values * item_size).map(|i| (i * 31 % 251) as u8).collect();
            let count: usize = shape.iter().product();
            let mut out = vec![0; count * item_size];
            gather(&raw, item_size, &shape, &strides, &mut out);
            for (at, item) in out.chunks(item_size).enumerate() {
                let (mut rest, mut place) = (at, 0);
                for (&size, &stride) in shape.iter().zip(&strides).rev() {
                    place += rest % size * stride;
                    rest /= size;
                }
                prop_assert_eq!(item, &raw[place * item_size..][..item_size]);
            }
        }
    }

    #[test]
    fn knows_row_major() {
        assert!(is_row_major(&[2, 3], &[3, 1]) && is_row_major(&[2, 1, 3], &[3, 7, 1]) && is_row_major(&[], &[]));
        assert!(!is_row_major(&[2, 3], &[1, 2]) && !is_row_major(&[2, 3], &[0, 1]));
        assert_eq!(span(&[2, 3], Some(&[1, 2])), Some(6));
        assert_eq!(span(&[usize::MAX, 3], None), None);
        assert_eq!(span(&[3, 0], Some(&[9, 9])), Some(0));
    }
}

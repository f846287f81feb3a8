use bert_layers_kernels::Solo;

use super::multiply::CANCEL_ROWS;
use super::*;

/// Numbers between −½ and ½.
fn tensor(shape: &[usize], seed: usize) -> Tensor {
    let number = |i: usize| ((i + seed) * 7919 % 1009) as f32 / 1009.0 - 0.5;
    Tensor { shape: shape.to_vec(), data: (0..shape.iter().product()).map(number).collect() }
}

/// 1024 floats would meet in one set of the first-level cache: rows that a layer alone reads lie further apart, and nobody notices.
#[test]
fn a_layer_reads_rows_that_lie_apart_as_any() -> Result<()> {
    let ops = Cpu::new(Kernels::chosen().expect("a set"), Dtype::Float32, Arc::new(Solo));
    let (count, width) = (CANCEL_ROWS + 3, 1024); // more than one block of rows
    let table = ops.load_embedding(tensor(&[count, 24], 1))?;
    let ids: Vec<u32> = (0..count as u32).collect();
    let x = ops.embed(&[(&table, &ids)])?;
    let wide = ops.load_linear(vec![(tensor(&[width, 24], 2), Some(tensor(&[width], 3)))])?;
    let back = ops.load_linear(vec![(tensor(&[24, width], 4), None)])?;

    let apart = ops.linear(&x, &wide, Activation::Gelu, For::Linear(&back))?;
    let close = ops.linear(&x, &wide, Activation::Gelu, For::Anybody)?;
    assert_eq!((apart.width(), close.width()), (width, width));
    assert!(apart.stride() > width && close.stride() == width);

    let ends = |inner: &Rows<'_>| Ok::<_, crate::Error>(ops.linear_add(inner, &back, &x, None)?.f32().to_vec());
    assert_eq!(ends(&apart)?, ends(&close)?);
    let some = [count - 1, 0, 7];
    assert_eq!(ops.select(&apart, &some)?.f32(), ops.select(&close, &some)?.f32());
    Ok(())
}

//! Which layers a call asks for.

use crate::{Error, Result};

/// A choice of layers, numbered as Hugging Face does: 0 is the embedding output, k the output of block k.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Layers {
    /// Every layer, the embedding output included.
    #[default]
    All,
    /// These, in this order; negative numbers count from the end.
    List(Vec<i64>),
}

impl Layers {
    /// The layer numbers that this choice means for a model of `num_layers` blocks, in the order asked for.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for a choice that is empty, out of range or names a layer twice.
    pub fn resolve(&self, num_layers: usize) -> Result<Vec<usize>> {
        let Layers::List(asked) = self else {
            return Ok((0..=num_layers).collect());
        };
        if asked.is_empty() {
            return Err(Error::InvalidInput("layers is empty: name at least one layer, or 'all'".into()));
        }
        let count = num_layers as i64 + 1;
        let mut layers = Vec::with_capacity(asked.len());
        for &layer in asked {
            let number = if layer < 0 { layer.saturating_add(count) } else { layer };
            if !(0..count).contains(&number) {
                return Err(Error::InvalidInput(format!(
                    "layer {layer} does not exist: this model has layers 0 (the embedding output) to {num_layers}, or -1 to -{count} from the end"
                )));
            }
            let number = number as usize;
            if layers.contains(&number) {
                return Err(Error::InvalidInput(format!("layer {layer} is named twice (it is layer {number})")));
            }
            layers.push(number);
        }
        Ok(layers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(list: &[i64]) -> Result<Vec<usize>> {
        Layers::List(list.to_vec()).resolve(12)
    }

    #[test]
    fn numbers_as_hugging_face_does() {
        assert_eq!(Layers::All.resolve(2), Ok(vec![0, 1, 2]));
        assert_eq!(resolve(&[12, 0, -2]), Ok(vec![12, 0, 11]));
        assert_eq!(resolve(&[-13]), Ok(vec![0]));
    }

    #[test]
    fn refuses_what_makes_no_sense() {
        for list in [&[][..], &[13], &[-14], &[i64::MIN], &[i64::MAX], &[3, 3], &[12, -1]] {
            assert!(matches!(resolve(list), Err(Error::InvalidInput(_))), "{list:?}");
        }
    }
}

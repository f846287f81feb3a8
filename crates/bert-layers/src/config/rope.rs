//! What a `config.json` says of rotary positions: `rope_parameters` as Transformers 5 writes them, `rope_scaling` before that.

use super::json::Fields;
use crate::Result;

/// θ of the parameters in `fields`, an object such as `rope_parameters`, or `default` where they leave it out.
pub(super) fn theta(fields: Option<&Fields>, default: f64) -> Result<f64> {
    let Some(fields) = fields else { return Ok(default) };
    unscaled(fields)?;
    positive(fields, "rope_theta", default)
}

/// A θ, under this name.
pub(super) fn positive(fields: &Fields, field: &str, default: f64) -> Result<f64> {
    let theta = fields.number_or(field, default)?;
    // As f32, which the angles are computed in.
    if theta as f32 > 0.0 && (theta as f32).is_finite() {
        Ok(theta)
    } else {
        Err(fields.invalid(format!("{field} must be above 0, is {theta}")))
    }
}

/// Refuses all but the plain kind: positions that are scaled, or only some places of a head turned.
pub(super) fn unscaled(fields: &Fields) -> Result<()> {
    for field in ["rope_type", "type"] {
        match fields.string_or(field, "default")? {
            "default" => {}
            other => {
                return Err(fields
                    .unsupported(format!("{field} '{other}' of rotary positions is not supported, only 'default'")));
            }
        }
    }
    if fields.number_or("partial_rotary_factor", 1.0)? != 1.0 {
        return Err(fields.unsupported("partial_rotary_factor of rotary positions is not supported, only 1"));
    }
    Ok(())
}

/// Refuses `rope_scaling`, as Transformers 4 has it, unless it is of the plain kind.
pub(super) fn no_scaling(fields: &Fields) -> Result<()> {
    fields.object("rope_scaling")?.map_or(Ok(()), |scaling| unscaled(&scaling))
}

/// Refuses heads that cannot be turned: their places turn in pairs.
pub(super) fn even(fields: &Fields, what: &str, places: usize) -> Result<()> {
    if places > 0 && places.is_multiple_of(2) {
        Ok(())
    } else {
        Err(fields.invalid(format!("rotary positions turn pairs of places, {what} has {places}")))
    }
}

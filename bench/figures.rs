//! Numbers of one kind as those of another.

/// Far below 2^53, as all here are.
#[expect(clippy::cast_precision_loss, reason = "all figures are far below 2^53")]
pub(crate) fn float(number: impl TryInto<u64>) -> f64 {
    number.try_into().unwrap_or(u64::MAX) as f64
}

/// Without what stands behind the point.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "what is cut off is wanted off, and no figure is negative"
)]
pub(crate) fn whole(number: f64) -> usize {
    number as usize
}

/// Compares the size that a tensor declares with the size of its file, before memory of that size
/// is allocated. A dimension of 0 does not excuse the others.
///
/// # Errors
///
/// When the tensor would be larger than the file.
pub(crate) fn check_claim(
    key: &str,
    width: usize,
    shape: &[usize],
    file: u64,
) -> Result<(), String> {
    let grown = |size: u64, &dim: &usize| size.checked_mul(u64::try_from(dim.max(1)).ok()?);
    match shape.iter().try_fold(width as u64, grown) {
        Some(size) if size <= file => Ok(()),
        _ => Err(format!("`{key}` of {shape:?} would be larger than the file")),
    }
}

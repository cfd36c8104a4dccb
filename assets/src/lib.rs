//! What the zoo carries with it: the default model's weights and the names of classes.
//!
//! `SOURCES.md` beside this crate's manifest says where each file comes from and under which
//! license.

/// A record with EfficientNet-Lite0's weights for ImageNet-1k, in half precision.
#[cfg(feature = "embedded")]
pub static EFFICIENTNET_LITE0: &[u8] =
    &Aligned(*include_bytes!("../weights/efficientnet_lite0.imagenet1k.bpk")).0;

/// Where numbers can be read without being copied.
#[cfg(feature = "embedded")]
#[repr(align(16))]
struct Aligned<T>(T);

/// The names of ImageNet-1k's classes, in the order of the logits.
pub fn imagenet1k() -> impl Iterator<Item = &'static str> {
    include_str!("../labels/imagenet1k.txt").lines()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imagenet_has_a_thousand_different_classes() {
        let mut names: Vec<_> = imagenet1k().collect();
        assert_eq!(names.len(), 1000);
        assert_eq!(names[285], "Egyptian cat");
        names.sort_unstable();
        names.dedup();
        assert!(names.len() >= 998, "only `crane` and `maillot` may occur twice");
    }
}

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

/// The hash that identifies an image: the first eight bytes of its file's SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 8]);

impl Fingerprint {
    /// Computes the fingerprint of a file's bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let hash = Sha256::digest(bytes);
        Self(std::array::from_fn(|index| hash[index]))
    }
}

/// The images that a network was trained on, as hashes: they identify an image that you have, but do
/// not show its content.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TrainingImages(Vec<Fingerprint>);

impl FromIterator<Fingerprint> for TrainingImages {
    fn from_iter<I: IntoIterator<Item = Fingerprint>>(images: I) -> Self {
        let mut images: Vec<_> = images.into_iter().collect();
        images.sort_unstable();
        images.dedup();
        Self(images)
    }
}

impl TrainingImages {
    /// Whether no images are known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it contains an image.
    pub fn contains(&self, image: Fingerprint) -> bool {
        self.0.binary_search(&image).is_ok()
    }

    /// Returns the images of both.
    pub fn and(&self, other: &Self) -> Self {
        self.0.iter().chain(&other.0).copied().collect()
    }

    /// Returns the concatenated fingerprints, in base64.
    pub(crate) fn to_text(&self) -> String {
        let bytes: Vec<u8> = self.0.iter().flat_map(|fingerprint| fingerprint.0).collect();
        STANDARD.encode(bytes)
    }

    /// Parses the text of [`to_text`](Self::to_text); `None` if it is not valid.
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        let bytes = STANDARD.decode(text).ok()?;
        let (images, rest) = bytes.as_chunks();
        rest.is_empty().then(|| images.iter().copied().map(Fingerprint).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recorded_images_are_recognized() {
        let images: Vec<_> =
            (0..1000_u16).map(|image| Fingerprint::of(&image.to_le_bytes())).collect();
        let recorded: TrainingImages = images[..500].iter().chain(&images[..20]).copied().collect();
        let text = recorded.to_text();
        assert_eq!(text.len(), (500 * 8_usize).div_ceil(3) * 4);
        let again = TrainingImages::from_text(&text).unwrap();
        assert_eq!(again, recorded);
        let known = images.iter().filter(|image| again.contains(**image)).count();
        assert_eq!(known, 500);
        assert_eq!(recorded.and(&images[400..600].iter().copied().collect()).0.len(), 600);
        for wrong in ["AAAA", "no base64", "AAAAAAAAAAA"] {
            assert_eq!(TrainingImages::from_text(wrong), None, "{wrong}");
        }
    }
}

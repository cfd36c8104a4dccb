//! Recognizes formats that are not supported by their first bytes: formats of cameras, phones and
//! drawing programs.

/// Returns the name of an unsupported format, such as "a HEIC image".
pub(super) fn name(bytes: &[u8]) -> Option<&'static str> {
    const BEGINNINGS: [(&[u8], &str); 23] = [
        (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL image"),
        (b"\xff\x0a", "a JPEG XL image"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 image"),
        (b"\xff\x4f\xff\x51", "a JPEG 2000 image"),
        (b"II\xbc\x01", "a JPEG XR image"),
        (b"II*\0\x10\0\0\0CR", "a camera's raw image"),
        (b"IIRO", "a camera's raw image"),
        (b"IIRS", "a camera's raw image"),
        (b"MMOR", "a camera's raw image"),
        (b"IIU\0", "a camera's raw image"),
        (b"FUJIFILMCCD-RAW", "a camera's raw image"),
        (b"FOVb", "a camera's raw image"),
        (b"8BPS", "a Photoshop file"),
        (b"gimp xcf", "a GIMP file"),
        (b"%PDF-", "a PDF document"),
        (b"%!PS", "a PostScript document"),
        (b"\0\0\x01\0", "an icon"),
        (b"\0\0\x02\0", "a cursor"),
        (b"icns", "an icon"),
        (b"\x76\x2f\x31\x01", "an OpenEXR image"),
        (b"#?RADIANCE", "a Radiance HDR image"),
        (b"DDS ", "a DDS texture"),
        (b"\x1a\x45\xdf\xa3", "a film"),
    ];
    let known = BEGINNINGS.iter().find(|(beginning, _)| bytes.starts_with(beginning));
    if let Some(&(_, name)) = known {
        return Some(name);
    }
    if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"AVI ") {
        return Some("a film");
    }
    if is_tiff_of_a_camera(bytes) == Some(true) {
        return Some("a camera's raw image");
    }
    media(bytes).or_else(|| is_svg(bytes).then_some("an SVG drawing"))
}

/// Returns the name of a format that consists of boxes like MP4 (ISO 14496-12), by its brands.
fn media(bytes: &[u8]) -> Option<&'static str> {
    let (&size, rest) = bytes.split_first_chunk()?;
    let (kind, rest) = rest.split_first_chunk::<4>()?;
    match kind {
        b"ftyp" => {}
        b"moov" | b"mdat" | b"wide" => return Some("a film"),
        _ => return None,
    }
    let size = (u32::from_be_bytes(size) as usize).saturating_sub(8).min(rest.len());
    let (brands, _) = rest[..size].as_chunks::<4>();
    let has = |names: &[&[u8; 4]]| brands.iter().any(|brand| names.contains(&brand));
    Some(if has(&[b"avif", b"avis"]) {
        "an AVIF image"
    } else if has(&[b"crx "]) {
        "a camera's raw image"
    } else if has(&[b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"]) {
        "a HEIC image"
    } else {
        "a film"
    })
}

/// Whether a TIFF is a camera's raw image: most of these begin with a small preview instead of the
/// image itself.
fn is_tiff_of_a_camera(bytes: &[u8]) -> Option<bool> {
    const KIND: u16 = 0x00fe;
    const MORE_IMAGES: u16 = 0x014a;
    const DNG_VERSION: u16 = 0xc612;
    let is_little = match bytes.first_chunk()? {
        b"II*\0" => true,
        b"MM\0*" => false,
        _ => return None,
    };
    let number = |at: usize, size: usize| {
        let bytes = bytes.get(at..at.checked_add(size)?)?;
        let join = |sum: u32, byte: &u8| sum << 8 | u32::from(*byte);
        Some(if is_little { bytes.iter().rev().fold(0, join) } else { bytes.iter().fold(0, join) })
    };
    let start = number(4, 4)? as usize;
    let (mut is_preview, mut has_more) = (false, false);
    for entry in 0..number(start, 2)? as usize {
        let entry = start + 2 + 12 * entry;
        match number(entry, 2)? as u16 {
            DNG_VERSION => return Some(true),
            KIND => is_preview = number(entry + 8, 4)? & 1 == 1,
            MORE_IMAGES => has_more = true,
            _ => {}
        }
    }
    Some(is_preview && has_more)
}

/// Whether a text is an SVG drawing, which may begin with declarations and comments.
fn is_svg(bytes: &[u8]) -> bool {
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
    let text = &text[..text.len().min(4096)];
    let begins =
        [&b"<svg"[..], b"<?xml", b"<!--", b"<!DOCTYPE svg"].iter().any(|b| text.starts_with(b));
    begins && text.windows(4).any(|window| window == b"<svg")
}

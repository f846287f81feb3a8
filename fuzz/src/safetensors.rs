//! A header alone becomes a file.

/// The header with its length in front and the values of a sound file behind: a change of the header's length would else hide all
/// that is in it.
pub fn file(header: &[u8], sound: &[u8]) -> Vec<u8> {
    let length = |bytes: &[u8]| bytes.first_chunk().map_or(0, |length| u64::from_le_bytes(*length) as usize);
    let values = sound.get(8 + length(sound)..).unwrap_or_default();
    [&(header.len() as u64).to_le_bytes(), header, values].concat()
}

//! A look into the binary before it is packaged: an image without a loader runs only static Linux binaries.

use crate::target::Architecture;

/// Why a binary cannot be an image's entry point.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ElfError {
    /// Something else than a 64-bit little-endian ELF file.
    #[error("it is not a 64-bit Linux (ELF) binary")]
    NotElf,
    /// Another processor.
    #[error("it is for machine type {0}, neither x86-64 nor 64-bit Arm")]
    Machine(u16),
    /// It names a loader, and the image has none.
    #[error("it is dynamically linked, and the image holds no loader and no libraries")]
    Dynamic,
    /// The headers point outside of the file.
    #[error("its headers point outside of the file: it is truncated or damaged")]
    Truncated,
}

const PT_INTERP: u32 = 3;

/// The architecture of a static binary.
///
/// # Errors
/// The bytes are no static x86-64 or arm64 ELF executable.
pub fn inspect(bytes: &[u8]) -> Result<Architecture, ElfError> {
    if bytes.get(..6) != Some(b"\x7fELF\x02\x01".as_slice()) {
        return Err(ElfError::NotElf);
    }
    let u16_at = |at: usize| -> Result<u16, ElfError> {
        let field = at.checked_add(2).and_then(|end| bytes.get(at..end)).ok_or(ElfError::Truncated)?;
        Ok(u16::from_le_bytes([field[0], field[1]]))
    };
    let architecture = match u16_at(18)? {
        62 => Architecture::Amd64,
        183 => Architecture::Arm64,
        other => return Err(ElfError::Machine(other)),
    };
    let offset = bytes.get(32..40).and_then(|field| field.try_into().ok()).map(u64::from_le_bytes);
    let offset = offset.and_then(|offset| usize::try_from(offset).ok()).ok_or(ElfError::Truncated)?;
    let (size, count) = (usize::from(u16_at(54)?), usize::from(u16_at(56)?));
    for index in 0..count {
        let at = index.checked_mul(size).and_then(|at| at.checked_add(offset)).ok_or(ElfError::Truncated)?;
        let kind = at.checked_add(4).and_then(|end| bytes.get(at..end)).ok_or(ElfError::Truncated)?;
        if kind == PT_INTERP.to_le_bytes() {
            return Err(ElfError::Dynamic);
        }
    }
    Ok(architecture)
}

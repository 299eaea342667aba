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
    /// Nothing says where its sections are.
    #[error("it has no section headers")]
    NoSections,
}

const PT_INTERP: u32 = 3;
const SHT_PROGBITS: u32 = 1;
/// Bytes of one section header.
const SECTION_HEADER: usize = 64;

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

/// The binary with one more section, which is not loaded when it runs: what `objcopy --add-section` does, without objcopy.
///
/// The content, the names of all sections and the table of all sections follow the old end of the file; nothing that was
/// there moves.
///
/// # Errors
/// The bytes are no 64-bit little-endian ELF file with section headers.
pub fn with_section(binary: &[u8], name: &str, content: &[u8]) -> Result<Vec<u8>, ElfError> {
    if binary.get(..6) != Some(b"\x7fELF\x02\x01".as_slice()) {
        return Err(ElfError::NotElf);
    }
    let number = |at: usize, length: usize| -> Result<usize, ElfError> {
        let bytes = slice(binary, at, length)?;
        let value = bytes.iter().rev().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
        usize::try_from(value).map_err(|_| ElfError::Truncated)
    };
    let (table, size, count, names) = (number(40, 8)?, number(58, 2)?, number(60, 2)?, number(62, 2)?);
    if table == 0 || size != SECTION_HEADER || names >= count || count >= usize::from(u16::MAX) {
        return Err(ElfError::NoSections);
    }
    let mut headers = slice(binary, table, count * SECTION_HEADER)?.to_vec();
    let names_header = table.checked_add(names * SECTION_HEADER).ok_or(ElfError::Truncated)?;
    let old_names =
        slice(binary, number(names_header.saturating_add(24), 8)?, number(names_header.saturating_add(32), 8)?)?;

    let mut output = binary.to_vec();
    let content_at = output.len();
    output.extend_from_slice(content);
    let names_at = output.len();
    output.extend_from_slice(old_names);
    output.extend_from_slice(name.as_bytes());
    output.push(0);
    let names_length = output.len() - names_at;
    output.resize(output.len().next_multiple_of(8), 0);
    let table_at = output.len();

    let header = names * SECTION_HEADER;
    headers[header + 24..header + 32].copy_from_slice(&(names_at as u64).to_le_bytes());
    headers[header + 32..header + 40].copy_from_slice(&(names_length as u64).to_le_bytes());
    output.extend_from_slice(&headers);
    let name_at = u32::try_from(old_names.len()).map_err(|_| ElfError::Truncated)?;
    output.extend_from_slice(&name_at.to_le_bytes());
    output.extend_from_slice(&SHT_PROGBITS.to_le_bytes());
    // Flags, address, offset, size, link and info, alignment, size of an entry.
    for field in [0, 0, content_at as u64, content.len() as u64, 0, 1, 0] {
        output.extend_from_slice(&field.to_le_bytes());
    }
    output[40..48].copy_from_slice(&(table_at as u64).to_le_bytes());
    let count = u16::try_from(count + 1).map_err(|_| ElfError::NoSections)?;
    output[60..62].copy_from_slice(&count.to_le_bytes());
    Ok(output)
}

fn slice(bytes: &[u8], at: usize, length: usize) -> Result<&[u8], ElfError> {
    at.checked_add(length).and_then(|end| bytes.get(at..end)).ok_or(ElfError::Truncated)
}

//! Random names, from the kernel.
//!
//! Not by the `getrandom` crate: linked statically it opens /dev/urandom, and an empty root may have
//! no /dev.

/// 128 random bits.
pub fn bits() -> std::io::Result<u128> {
    let mut bytes = [0_u8; 16];
    // SAFETY: the pointer and the length describe `bytes`, which getentropy only writes to.
    let failed = unsafe { libc::getentropy(bytes.as_mut_ptr().cast(), bytes.len()) } != 0;
    if failed {
        return Err(std::io::Error::last_os_error());
    }
    Ok(u128::from_be_bytes(bytes))
}

/// A prefix and 128 bits in hexadecimal that tell things apart without a system call. Whoever has seen some of
/// them may guess others: nothing may be opened by one.
pub fn unique(prefix: &str) -> String {
    named(prefix, fastrand::u128(..))
}

/// 128 random bits in hexadecimal.
pub fn hex() -> std::io::Result<String> {
    bits().map(digits)
}

/// The 32 hexadecimal digits of a number.
pub fn digits(bits: u128) -> String {
    named("", bits)
}

/// A prefix and the 32 hexadecimal digits of a number. Every request makes several such names, and formatting a
/// `u128` takes ten times as long.
pub fn named(prefix: &str, bits: u128) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut digits = [0; 32];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(bits.to_be_bytes()) {
        pair.copy_from_slice(&[byte >> 4, byte & 15].map(|digit| DIGITS[usize::from(digit)]));
    }
    let mut name = String::with_capacity(prefix.len() + digits.len());
    name.push_str(prefix);
    name.push_str(str::from_utf8(&digits).unwrap_or_default());
    name
}

#[cfg(test)]
mod tests {
    #[test]
    fn digits_are_those_of_the_number() {
        for bits in [0, 1, 0x0123_4567_89ab_cdef, u128::MAX, u128::MAX << 17] {
            assert_eq!(super::digits(bits), format!("{bits:032x}"));
        }
    }
}

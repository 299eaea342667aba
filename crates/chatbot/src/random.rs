//! Random names, from the kernel.
//!
//! Not by the `getrandom` crate: linked statically it opens /dev/urandom, and an empty root may have
//! no /dev.

use std::fmt;

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

/// 128 bits that tell things apart without a system call. Whoever has seen some of them may guess others: nothing may be
/// opened by one.
pub fn unique() -> u128 {
    fastrand::u128(..)
}

/// 128 random bits in hexadecimal.
pub fn hex() -> std::io::Result<String> {
    Ok(Digits::of(bits()?).to_string())
}

/// The 32 hexadecimal digits of a number, as text. Every request makes several of them, and formatting a `u128` takes
/// ten times as long.
#[derive(Debug, Clone, Copy)]
pub struct Digits([u8; Self::LENGTH]);

impl Digits {
    /// How many there are.
    pub const LENGTH: usize = 32;

    /// The number that these are the digits of: all of them, in lower case.
    pub fn parse(digits: &str) -> Option<u128> {
        let add = |number: u128, digit: u8| {
            let value = match digit {
                b'0'..=b'9' => digit - b'0',
                b'a'..=b'f' => digit - b'a' + 10,
                _ => return None,
            };
            Some(number << 4 | u128::from(value))
        };
        (digits.len() == Self::LENGTH).then(|| digits.bytes().try_fold(0, add)).flatten()
    }

    /// Those of this number.
    pub fn of(bits: u128) -> Self {
        let mut digits = [0; Self::LENGTH];
        for (pair, byte) in digits.as_chunks_mut().0.iter_mut().zip(bits.to_be_bytes()) {
            *pair = PAIRS[usize::from(byte)];
        }
        Self(digits)
    }

    /// The digits as bytes of text.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The digits as text.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// The two digits of each byte.
const PAIRS: [[u8; 2]; 256] = {
    let digits = b"0123456789abcdef";
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < pairs.len() {
        pairs[byte] = [digits[byte >> 4], digits[byte & 15]];
        byte += 1;
    }
    pairs
};

impl fmt::Display for Digits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn digits_are_those_of_the_number() {
        for bits in [0, 1, 0x0123_4567_89ab_cdef, u128::MAX, u128::MAX << 17] {
            let digits = super::Digits::of(bits);
            assert_eq!(digits.as_str(), format!("{bits:032x}"));
            assert_eq!(super::Digits::parse(digits.as_str()), Some(bits));
        }
        for text in ["", "0", &"0".repeat(31), &"0".repeat(33), &"F".repeat(32), &"g".repeat(32), &"+1".repeat(16)] {
            assert_eq!(super::Digits::parse(text), None, "{text}");
        }
    }
}

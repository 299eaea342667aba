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

/// 128 bits in hexadecimal that tell things apart without a system call. Whoever has seen some of
/// them may guess others: nothing may be opened by one.
pub fn unique() -> String {
    format!("{:032x}", fastrand::u128(..))
}

/// 128 random bits in hexadecimal.
pub fn hex() -> std::io::Result<String> {
    bits().map(|bits| format!("{bits:032x}"))
}

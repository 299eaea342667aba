//! Identifiers that do not repeat: of requests, uploads, tokens.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

/// 64 random bits. The standard library seeds every `RandomState` from the system's randomness; the counter inside
/// keeps two of the same thread apart. Good for identifiers; nothing here is a secret, since the endpoint has none.
pub fn random() -> u64 {
    let mut hasher = RandomState::new().build_hasher();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    hasher.write_u128(now.as_nanos());
    hasher.finish()
}

/// A random UUID (version 4).
pub fn uuid() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// `length` random digits and lower-case letters.
pub fn alphanumeric(length: usize) -> String {
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghijkmnpqrstuvwx";
    (0..length).map(|_| char::from(ALPHABET[(random() % 32) as usize])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_have_their_form_and_differ() {
        let (first, second) = (uuid(), uuid());
        assert_ne!(first, second);
        assert_eq!(first.len(), 36);
        assert_eq!(&first[14..15], "4");
        assert_eq!(alphanumeric(9).len(), 9);
    }
}

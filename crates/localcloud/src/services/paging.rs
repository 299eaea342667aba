//! Pages of lists, as AWS's `nextToken` and `maxResults` ask for them.

use crate::error::ApiError;

/// The page that begins at `token`, and the token of the next one. The token is an offset; `invalid` is the service's
/// own error code for one that is not.
pub(crate) fn page<T>(
    items: Vec<T>,
    limit: usize,
    token: Option<&str>,
    invalid: &str,
) -> Result<(Vec<T>, Option<String>), ApiError> {
    let start = match token.map(str::parse::<usize>) {
        None => 0,
        Some(Ok(start)) => start,
        Some(Err(_)) => return Err(ApiError::new(invalid, "The specified token is not valid.")),
    };
    let limit = limit.max(1);
    let more = items.len() > start.saturating_add(limit);
    let next = more.then(|| (start + limit).to_string());
    Ok((items.into_iter().skip(start).take(limit).collect(), next))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_cover_the_list_once() {
        let (first, token) = page(vec![1, 2, 3], 2, None, "x").unwrap();
        assert_eq!((first, token.as_deref()), (vec![1, 2], Some("2")));
        assert_eq!(page(vec![1, 2, 3], 2, token.as_deref(), "x").unwrap(), (vec![3], None));
        assert_eq!(page(vec![1], 1, Some("no"), "InvalidNextToken").unwrap_err().code, "InvalidNextToken");
    }
}

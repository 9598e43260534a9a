//! A loose check of e-mail addresses.

/// Returns whether a text looks like an e-mail address. Only a message to the address could prove
/// that it exists.
pub(crate) fn is_plausible(email: &str) -> bool {
    let Some((local, domain)) = email.rsplit_once('@') else { return false };
    let label = |label: &str| !label.is_empty() && !label.starts_with('-') && !label.ends_with('-');
    (1..=64).contains(&local.len())
        && !email.contains(|c: char| c.is_whitespace() || matches!(c, '<' | '>' | '"' | ',' | ';' | ':' | '(' | ')'))
        && !local.contains('@')
        && domain.contains('.')
        && domain.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_email_address_is_checked_loosely() {
        for good in ["a@b.c", "first.last+tag@mail.example.org", "ü@bücher.example"] {
            assert!(is_plausible(good), "{good}");
        }
        for bad in ["", "a", "a@b", "@b.c", "a@.c", "a@b.", "a b@c.d", "a@b@c.d", "a@-b.c", "<a@b.c>"] {
            assert!(!is_plausible(bad), "{bad}");
        }
    }
}

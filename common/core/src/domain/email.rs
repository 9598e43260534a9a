//! E-mail addresses: one form, whichever keyboard, browser or letter case they come from.
//!
//! | part | form |
//! |---|---|
//! | the whole | without white space and invisible characters at the ends, lower case |
//! | local part | Unicode normalization form C |
//! | domain | as UTS 46 maps it (IDNA), in Unicode: `bücher.example`, not `xn--bcher-kva.example` |
//!
//! Records of earlier versions keep the form in which an address was typed then, so a record is
//! looked up by each form in which it may be stored.

use unicode_normalization::UnicodeNormalization as _;

/// Longest address, in characters.
const MAX: usize = 254;
/// Longest local part, in bytes (RFC 5321, section 4.5.3.1.1).
const LOCAL_MAX: usize = 64;

/// E-mail address. Two are equal if their normal forms are.
#[derive(Clone, Debug)]
pub struct EmailAddress {
    /// Form that is stored, compared and counted.
    normal: String,
    /// As it was typed, in lower case: the form that earlier versions stored.
    typed: String,
}

impl PartialEq for EmailAddress {
    fn eq(&self, other: &Self) -> bool {
        self.normal == other.normal
    }
}

impl Eq for EmailAddress {}

impl EmailAddress {
    /// Parses an address. The check is loose, because only a message to the address could prove
    /// that it exists. Returns `None` if the text does not look like an address.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let typed = typed(text);
        if typed.chars().count() > MAX {
            return None;
        }
        let (local, domain) = typed.rsplit_once('@')?;
        let label = |label: &str| !label.is_empty() && !label.starts_with('-') && !label.ends_with('-');
        let (local, domain) = (lower(local), unicode_domain(domain)?);
        let plausible = (1..=LOCAL_MAX).contains(&local.len())
            && !typed.contains(|c: char| c.is_whitespace() || c.is_control() || "<>\",;:()".contains(c))
            && !local.contains('@')
            && domain.contains('.')
            && domain.split('.').all(label);
        plausible.then(|| Self { normal: format!("{local}@{domain}"), typed })
    }

    /// Reads an address of an account that may be older than the rules of [`EmailAddress::parse`].
    /// A text that breaks them is kept as it is typed, in lower case.
    #[must_use]
    pub fn of_account(text: &str) -> Self {
        Self::parse(text).unwrap_or_else(|| {
            let typed = typed(text);
            Self { normal: typed.clone(), typed }
        })
    }

    /// Returns the form that is stored, compared and counted.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.normal
    }

    /// Returns the forms in which a record may have the address, the most likely one first. Most
    /// addresses have one form.
    #[must_use]
    pub fn stored_forms(&self) -> Vec<String> {
        let mut forms = vec![self.typed.clone(), self.normal.clone()];
        if let Some((local, domain)) = self.normal.rsplit_once('@') {
            let decomposed = |text: &str| text.nfd().collect::<String>();
            let ascii = idna::domain_to_ascii(domain).unwrap_or_else(|_| domain.to_owned());
            for local in [local.to_owned(), decomposed(local)] {
                forms.extend([domain.to_owned(), ascii.clone(), decomposed(domain)].map(|d| format!("{local}@{d}")));
            }
        }
        let mut distinct: Vec<String> = Vec::with_capacity(forms.len());
        for form in forms {
            if !distinct.contains(&form) {
                distinct.push(form);
            }
        }
        distinct
    }
}

/// Removes white space at both ends and invisible characters, which pasting adds, and lowers the
/// case.
fn typed(text: &str) -> String {
    let invisible = |c: char| matches!(c, '\u{AD}' | '\u{200B}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}');
    let shown: String = text.chars().filter(|c| !invisible(*c)).collect();
    shown.trim().to_lowercase()
}

/// Returns a local part in lower case and normalization form C. Both change the text until it stays
/// the same: a letter in lower case can compose with the mark after it.
fn lower(local: &str) -> String {
    local.nfc().collect::<String>().to_lowercase().nfc().collect()
}

/// Returns the Unicode form of a domain, `None` if IDNA forbids it.
fn unicode_domain(domain: &str) -> Option<String> {
    let ascii = idna::domain_to_ascii(domain).ok()?;
    let (unicode, valid) = idna::domain_to_unicode(&ascii);
    valid.ok().map(|()| unicode)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_address_is_checked_loosely() {
        for good in ["a@b.c", "first.last+tag@mail.example.org", "ü@bücher.example", " a@b.c\u{200B}", "a@b_c.example"]
        {
            assert!(EmailAddress::parse(good).is_some(), "{good}");
        }
        let long = format!("{}@b.c", "a".repeat(251));
        for bad in [
            "",
            "a",
            "a@b",
            "@b.c",
            "a@.c",
            "a@b.",
            "a b@c.d",
            "a@b@c.d",
            "a@-b.c",
            "<a@b.c>",
            "a\u{7}@b.c",
            "a@xn--zzzzzz.c",
            &long,
        ] {
            assert!(EmailAddress::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn one_address_has_one_form_however_it_is_typed() {
        let normal = "jos\u{e9}@b\u{fc}cher.example";
        for typed in [
            "jos\u{e9}@b\u{fc}cher.example",
            "JOSE\u{301}@Bu\u{308}cher.Example",
            "\u{a0}jos\u{e9}@xn--bcher-kva.example ",
            "Jos\u{c9}@XN--BCHER-KVA.EXAMPLE",
            "jos\u{e9}@b\u{fc}cher\u{3002}example",
        ] {
            let address = EmailAddress::parse(typed).unwrap();
            assert_eq!(address.as_str(), normal, "{typed}");
            let forms = address.stored_forms();
            for stored in [normal, "jose\u{301}@bu\u{308}cher.example", "jos\u{e9}@xn--bcher-kva.example"] {
                assert!(forms.iter().any(|form| form == stored), "{typed}: {stored}");
            }
        }
        assert_eq!(EmailAddress::parse(" Ann@Example.ORG ").unwrap().stored_forms(), ["ann@example.org"]);
        assert_eq!(EmailAddress::of_account(" Root ").stored_forms(), ["root"]);
    }

    proptest! {
        #[test]
        fn the_normal_form_stays_as_it_is(text in "[a-zA-ZäÄéßİΣ\u{301}\u{308}]{1,12}@[a-zäöß\u{308}]{1,8}\\.(org|example)") {
            if let Some(address) = EmailAddress::parse(&text) {
                let again = EmailAddress::parse(address.as_str()).unwrap();
                prop_assert_eq!(again.as_str(), address.as_str());
                prop_assert!(address.stored_forms().iter().any(|form| form == address.as_str()));
            }
        }
    }
}

//! The page of a list that a query asks for.

use crate::http::envelope::Pagination;
use crate::http::fields::Fields;

/// Maximum number of entries of a page.
const LIMIT_MAX: u32 = 100;
/// Last entry that a page can have. MongoDB walks over every entry before the page, so a page far
/// behind the beginning would cost more than its entries.
const DEPTH_MAX: u32 = 100_000;

/// Page of a list, from `page` and `limit` of a query.
#[derive(Clone, Copy, Debug)]
pub struct Paging {
    /// Page number, from 1.
    pub page: u32,
    /// Maximum number of entries of the page.
    pub limit: u32,
}

impl Paging {
    /// Reads `page` and `limit`; `limit` is the default. A page behind the 100,000th entry is
    /// refused.
    pub fn read(fields: &mut Fields, limit: u32) -> Self {
        let page = fields.integer("page", 1..=DEPTH_MAX).unwrap_or(1);
        let limit = fields.integer("limit", 1..=LIMIT_MAX).unwrap_or(limit);
        if page > DEPTH_MAX / limit {
            fields.reject("page", format!("must not be behind entry {DEPTH_MAX}; narrow the list"));
        }
        Self { page, limit }
    }

    /// Returns the number of entries before the page.
    #[must_use]
    pub fn skip(self) -> u64 {
        u64::from(self.page - 1) * u64::from(self.limit)
    }

    /// Returns the position of this page in a list of `total` entries.
    #[must_use]
    pub fn of(self, total: u64) -> Pagination {
        Pagination::new(self.page, self.limit, total)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::http::fields::Input;

    struct Query(Paging);

    impl Input for Query {
        fn read(fields: &mut Fields) -> Self {
            Self(Paging::read(fields, 10))
        }
    }

    #[test]
    fn a_page_behind_the_last_entry_that_can_be_listed_is_refused() {
        let read = |page: &str, limit: &str| {
            let query = [("page", page), ("limit", limit)].map(|(name, value)| (name.to_owned(), value.to_owned()));
            Fields::of_query(query).read::<Query>().map(|Query(paging)| paging.skip())
        };
        assert_eq!(read("1000", "100").unwrap(), 99_900);
        assert_eq!(read("100000", "1").unwrap(), 99_999);
        for (page, limit) in [("1001", "100"), ("100001", "1"), ("0", "1"), ("1", "101")] {
            assert!(read(page, limit).is_err(), "{page} {limit}");
        }
    }
}

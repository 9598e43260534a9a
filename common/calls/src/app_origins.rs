//! Web origins of apps: on whose pages the user tokens of an app are accepted.
//!
//! A preflight request of a browser does not name the app. So CORS accepts the origins of all apps,
//! and each token is then compared with those of its own app.

use std::collections::HashMap;
use std::sync::Arc;

use switchboard_core::domain::{AppId, Code, Refusal};
use switchboard_core::origin::{Origin, OriginPattern, OriginSet};

/// Maximum number of origins of one app.
pub const APP_ORIGINS_MAX: usize = 20;
/// Maximum length of an origin in characters.
pub const APP_ORIGIN_LENGTH_MAX: usize = 255;

/// Checks the origins of an app: entries as of `ALLOWED_ORIGINS`, each once.
///
/// # Errors
/// `VALIDATION_ERROR` for `field` with what is wrong.
pub fn check_origins(field: &'static str, origins: &[String]) -> Result<(), Refusal> {
    let problem = if origins.len() > APP_ORIGINS_MAX {
        Some(format!("must be at most {APP_ORIGINS_MAX} origins"))
    } else {
        origins.iter().enumerate().find_map(|(index, entry)| {
            let problem = if entry.chars().count() > APP_ORIGIN_LENGTH_MAX {
                "has more than 255 characters"
            } else {
                OriginPattern::parse(entry).err()?
            };
            Some(format!("entry {}: {problem}", index + 1))
        })
    };
    problem.map_or(Ok(()), |problem| Err(Refusal::field(Code::ValidationError, field, problem)))
}

/// Origins of all apps that have any.
#[derive(Clone, Debug, Default)]
pub(crate) struct AppOrigins {
    apps: HashMap<AppId, Arc<[OriginPattern]>>,
    /// Those of all apps together.
    all: OriginSet,
}

impl AppOrigins {
    /// Replaces the origins of an app. An entry that this version cannot read allows nothing.
    /// Returns whether they changed; then [`AppOrigins::unite`] is due.
    pub(crate) fn set(&mut self, app: &AppId, entries: &[String]) -> bool {
        let patterns: Vec<_> = entries.iter().filter_map(|entry| OriginPattern::parse(entry).ok()).collect();
        if entries.is_empty() {
            return self.apps.remove(app).is_some();
        }
        if self.apps.get(app).is_some_and(|known| **known == *patterns) {
            return false;
        }
        self.apps.insert(app.clone(), patterns.into());
        true
    }

    /// Makes the set of all apps again.
    pub(crate) fn unite(&mut self) {
        self.all = self.apps.values().flat_map(|patterns| patterns.iter().cloned()).collect();
    }

    /// Returns whether some app has this origin.
    pub(crate) fn any_allows(&self, origin: &str) -> bool {
        Origin::parse(origin).is_some_and(|origin| self.all.allows(&origin))
    }

    /// Returns whether tokens of an app are accepted on pages of this origin: it has the origin, or
    /// has none at all.
    pub(crate) fn app_allows(&self, app: &AppId, origin: &str) -> bool {
        self.apps.get(app).is_none_or(|patterns| {
            Origin::parse(origin).is_some_and(|origin| patterns.iter().any(|pattern| pattern.allows(&origin)))
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;

    #[test]
    fn an_app_has_its_own_origins_and_all_apps_have_them_together() {
        let [one, two, three] = ["one", "two", "three"].map(|app| AppId::parse(app).unwrap());
        let mut origins = AppOrigins::default();
        assert!(origins.set(&one, &["https://a.example".to_owned()]));
        assert!(origins.set(&two, &["https://*.b.example".to_owned()]));
        assert!(!origins.set(&two, &["https://*.b.example".to_owned()]) && !origins.set(&three, &[]));
        origins.unite();
        for (origin, [by_one, by_two]) in
            [("https://a.example", [true, false]), ("https://x.b.example", [false, true]), ("null", [false, false])]
        {
            assert_eq!(origins.any_allows(origin), by_one || by_two, "{origin}");
            assert_eq!(origins.app_allows(&one, origin), by_one, "{origin}");
            assert_eq!(origins.app_allows(&two, origin), by_two, "{origin}");
            assert!(origins.app_allows(&three, origin), "an app without origins is good everywhere");
        }
        // What a later version wrote must not open the app.
        assert!(origins.set(&one, &["??".to_owned()]) && origins.set(&two, &[]));
        origins.unite();
        assert!(!origins.app_allows(&one, "https://a.example") && origins.app_allows(&two, "https://a.example"));
        assert!(!origins.any_allows("https://a.example") && !origins.any_allows("https://x.b.example"));
    }

    #[test]
    fn wrong_long_and_too_many_origins_are_refused() {
        let good = |number: usize| format!("https://a{number}.example");
        let check = |entries: &[String]| check_origins("origins", entries).map_err(|refusal| refusal.errors);
        assert_eq!(check(&(0..APP_ORIGINS_MAX).map(good).collect::<Vec<_>>()), Ok(()));
        let long = format!("https://{}.example", "a".repeat(APP_ORIGIN_LENGTH_MAX));
        let many: Vec<_> = (0..=APP_ORIGINS_MAX).map(good).collect();
        for wrong in [many, vec![long], vec!["*".to_owned()], vec![good(1), "https://a.example/x".to_owned()]] {
            assert_eq!(check(&wrong).unwrap_err()[0].field, "origins", "{wrong:?}");
        }
    }
}

//! The keys that are held of one set, and what to do with them. Pure: the caller gives the time.

use std::time::Duration;

use switchboard_auth::{PublicKey, PublicKeys, UnverifiedToken};
use tokio::time::Instant;

use crate::options::JwksOptions;

/// Key set as it was read.
#[derive(Debug)]
pub(crate) struct Read {
    /// Keys that can be used.
    pub(crate) keys: PublicKeys,
    /// `max-age` of the answer.
    pub(crate) max_age: Option<Duration>,
}

/// What to do for a token.
#[derive(Debug)]
pub(crate) enum Decision {
    /// Use this key.
    Found(Box<PublicKey>),
    /// The set has no such key.
    Unknown,
    /// Read the set, or wait for the read that runs.
    Read,
    /// The set cannot be read, and a read is not due.
    Unavailable,
}

/// Keys that are held of one set.
#[derive(Debug, Default)]
pub(crate) struct KeySet {
    held: Option<Held>,
    /// Begin of the last read.
    began: Option<Instant>,
    /// End of the last read, if it failed.
    failed: Option<Instant>,
}

#[derive(Debug)]
struct Held {
    keys: PublicKeys,
    /// End of the read.
    read_at: Instant,
    /// Time until which the keys are used without a read.
    fresh_until: Instant,
}

impl KeySet {
    pub(crate) fn decide(&self, token: &UnverifiedToken, now: Instant, options: &JwksOptions) -> Decision {
        let may_retry = self.failed.is_none_or(|ended| now >= ended + options.retry_pause);
        let Some(held) = self.held(now, options) else {
            return if may_retry { Decision::Read } else { Decision::Unavailable };
        };
        if now >= held.fresh_until && may_retry {
            return Decision::Read;
        }
        if let Some(key) = held.keys.find(token) {
            return Decision::Found(Box::new(key.clone()));
        }
        // Made-up key ids cost no more than one read in each such time.
        let may_ask = self.began.is_none_or(|began| now >= began + options.unknown_key_pause);
        match (may_ask && may_retry, self.failed) {
            (true, _) => Decision::Read,
            (false, Some(_)) => Decision::Unavailable,
            (false, None) => Decision::Unknown,
        }
    }

    /// Returns the key for a token that has waited for a read, or `Some(None)` if the set has no
    /// such key. `None`: the read failed or goes on, and what is held does not have the key.
    pub(crate) fn after_read(
        &self,
        token: &UnverifiedToken,
        now: Instant,
        options: &JwksOptions,
    ) -> Option<Option<PublicKey>> {
        let held = self.held(now, options)?;
        match held.keys.find(token) {
            Some(key) => Some(Some(key.clone())),
            None => (self.failed.is_none() && self.began.is_none_or(|began| held.read_at >= began)).then_some(None),
        }
    }

    /// Records that a read begins.
    pub(crate) fn begin(&mut self, now: Instant) {
        self.began = Some(now);
    }

    /// Takes the outcome of a read; `None` if it failed.
    pub(crate) fn end(&mut self, read: Option<Read>, now: Instant, options: &JwksOptions) {
        match read {
            Some(Read { keys, max_age }) => {
                let lifetime = max_age.unwrap_or(options.lifetime).clamp(options.lifetime_min, options.lifetime_max);
                self.held = Some(Held { keys, read_at: now, fresh_until: now + lifetime });
                self.failed = None;
            }
            None => self.failed = Some(now),
        }
    }

    /// Returns the keys, unless they are too old even for an outage.
    fn held(&self, now: Instant, options: &JwksOptions) -> Option<&Held> {
        self.held.as_ref().filter(|held| now < held.fresh_until + options.stale)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use switchboard_auth::TokenSigner;
    use switchboard_core::domain::{Jwk, Jwks};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Token whose header names this key.
    fn token(kid: &str) -> UnverifiedToken {
        let encode = |part: String| base64::Engine::encode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, part);
        let header = encode(format!(r#"{{"alg":"EdDSA","kid":"{kid}"}}"#));
        match TokenSigner::of(&format!("{header}.{}.", encode(r#"{"iss":"a"}"#.to_owned()))) {
            TokenSigner::Source(token) => token,
            other => panic!("{other:?}"),
        }
    }

    fn read(kids: &[&str], max_age: Option<Duration>) -> Option<Read> {
        let key = |kid: &&str| Jwk {
            kty: "OKP".into(),
            crv: Some("Ed25519".into()),
            x: Some("A".repeat(43)),
            kid: Some((*kid).to_owned()),
            ..Jwk::default()
        };
        Some(Read { keys: PublicKeys::read(&Jwks { keys: kids.iter().map(key).collect() }), max_age })
    }

    /// Key set with a clock.
    struct Bed {
        set: KeySet,
        now: Instant,
        options: JwksOptions,
    }

    impl Bed {
        fn new() -> Self {
            Self { set: KeySet::default(), now: Instant::now(), options: JwksOptions::default() }
        }

        fn decide(&self, kid: &str) -> &'static str {
            match self.set.decide(&token(kid), self.now, &self.options) {
                Decision::Found(_) => "found",
                Decision::Unknown => "unknown",
                Decision::Read => "read",
                Decision::Unavailable => "unavailable",
            }
        }

        fn after_read(&self, kid: &str) -> &'static str {
            match self.set.after_read(&token(kid), self.now, &self.options) {
                Some(Some(_)) => "found",
                Some(None) => "unknown",
                None => "unavailable",
            }
        }

        fn reads(&mut self, read: Option<Read>) {
            self.set.begin(self.now);
            self.set.end(read, self.now, &self.options);
        }
    }

    #[test]
    fn a_set_is_read_at_the_first_token_and_again_at_its_age_within_the_bounds() {
        for (max_age, lifetime) in [(None, 300), (Some(0), 60), (Some(120), 120), (Some(86_400), 900)] {
            let mut bed = Bed::new();
            assert_eq!(bed.decide("one"), "read");
            bed.reads(read(&["one"], max_age.map(Duration::from_secs)));
            bed.now += (lifetime - 1) * SECOND;
            assert_eq!(bed.decide("one"), "found");
            bed.now += SECOND;
            assert_eq!(bed.decide("one"), "read", "{max_age:?}");
            bed.reads(read(&["two"], None));
            assert_eq!((bed.after_read("one"), bed.after_read("two")), ("unknown", "found"), "a removed key is gone");
        }
    }

    #[test]
    fn unknown_keys_cost_one_read_in_30_seconds() {
        let mut bed = Bed::new();
        bed.reads(read(&["one"], None));
        let mut reads = 0;
        for second in 0..120 {
            if bed.decide(&format!("made up {second}")) == "read" {
                reads += 1;
                bed.reads(read(&["one"], None));
            }
            assert_eq!(bed.decide("one"), "found");
            bed.now += SECOND;
        }
        assert_eq!(reads, 3);
        bed.now += 30 * SECOND;
        assert_eq!(bed.decide("two"), "read", "a key that was added");
        bed.reads(read(&["one", "two"], None));
        assert_eq!((bed.decide("two"), bed.after_read("three")), ("found", "unknown"));
    }

    #[test]
    fn old_keys_serve_an_outage_for_an_hour_and_then_the_source_is_unavailable() {
        let mut bed = Bed::new();
        bed.reads(read(&["one"], None));
        bed.now += 300 * SECOND;
        assert_eq!(bed.decide("one"), "read");
        bed.reads(None);
        assert_eq!((bed.after_read("one"), bed.decide("one")), ("found", "found"));
        assert_eq!((bed.after_read("two"), bed.decide("two")), ("unavailable", "unavailable"), "it may be new");
        bed.now += 5 * SECOND;
        assert_eq!(bed.decide("one"), "read", "it is tried again after a pause");
        bed.reads(None);
        bed.now += 3594 * SECOND;
        bed.set.failed = Some(bed.now);
        assert_eq!(bed.decide("one"), "found");
        bed.now += SECOND;
        assert_eq!((bed.decide("one"), bed.after_read("one")), ("unavailable", "unavailable"));
        bed.now += 5 * SECOND;
        assert_eq!(bed.decide("one"), "read");
        bed.reads(read(&["one"], None));
        assert_eq!(bed.decide("one"), "found");
    }

    #[test]
    fn a_source_that_never_answered_is_tried_again_after_a_pause() {
        let mut bed = Bed::new();
        bed.reads(None);
        assert_eq!((bed.after_read("one"), bed.decide("one")), ("unavailable", "unavailable"));
        bed.now += 5 * SECOND;
        assert_eq!(bed.decide("one"), "read");
    }

    #[test]
    fn a_token_that_waited_in_vain_gets_the_keys_that_are_held() {
        let mut bed = Bed::new();
        bed.reads(read(&["one"], None));
        bed.now += 300 * SECOND;
        bed.set.begin(bed.now);
        assert_eq!((bed.after_read("one"), bed.after_read("two")), ("found", "unavailable"));
    }
}

//! Rates: counted together for all processes.

use std::time::Duration;

use futures_util::future::join_all;
use switchboard_core::client_address::ClientNetwork;
use switchboard_core::domain::RoomId;
use switchboard_rooms::rate_limit::{GuessBounds, GuessClass, RateLimiter, Subject};
use switchboard_rooms::*;

use super::testbed::*;

const ANN: Subject<'_> = Subject::Email("ann");

/// Returns a rate under which no request becomes available again while a test runs.
fn rate(requests: u32) -> Rate {
    Rate { requests, period: Duration::from_secs(3600 * u64::from(requests)) }
}

pub(crate) async fn of_requests_at_once_from_several_processes_exactly_the_rate_passes(bed: TestBed) {
    let (one, two) = (bed.guest("n1").await, bed.guest("n2").await);
    for subject in ["ann", "bob", "eve"] {
        let attempts =
            (0..60).map(|n| if n % 2 == 0 { &one } else { &two }).map(|rooms| rooms.spend("t", subject, rate(10)));
        let spent: Vec<RateOutcome> = join_all(attempts).await.into_iter().map(Result::unwrap).collect();
        let mut left: Vec<u32> =
            spent.iter().filter(|spent| spent.retry_after.is_none()).map(|spent| spent.remaining).collect();
        left.sort_unstable();
        assert_eq!(left, (0..10).collect::<Vec<_>>(), "{subject}");
        let hour = Duration::from_secs(3600);
        let waits: Vec<_> = spent.iter().filter_map(|spent| spent.retry_after).collect();
        assert!(waits.len() == 50 && waits.iter().all(|wait| *wait > hour / 2 && *wait <= hour), "{waits:?}");
        assert!(spent.iter().all(|spent| spent.reset_after <= 10 * hour && !spent.reset_after.is_zero()));
    }
    assert_eq!(one.spend("other", "ann", rate(10)).await.unwrap().remaining, 9, "each class has its own count");
}

pub(crate) async fn spent_requests_become_available_again_and_then_the_count_expires(mut bed: TestBed) {
    let rooms = bed.guest("n1").await;
    let quick = Rate { requests: 2, period: Duration::from_millis(400) };
    while rooms.spend("t", "ann", quick).await.unwrap().retry_after.is_none() {}
    let limit = tokio::time::Instant::now() + LONG;
    while rooms.spend("t", "ann", quick).await.unwrap().retry_after.is_some() {
        assert!(tokio::time::Instant::now() < limit, "no request became available again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    while bed.all_keys().await.iter().any(|key| key.contains("rate:")) {
        assert!(tokio::time::Instant::now() < limit, "the count does not expire");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // After a change to a lower rate, or a clock that was set back, no client waits longer than the
    // rate's period.
    rooms.spend("t", "bob", rate(10)).await.unwrap();
    let spent = rooms.spend("t", "bob", quick).await.unwrap();
    assert!(spent.retry_after.is_some_and(|wait| wait <= quick.period), "{spent:?}");
}

pub(crate) async fn every_request_passes_uncounted_while_redis_is_away(mut bed: TestBed) {
    let limiter = RateLimiter::new(bed.guest("n1").await);
    assert!(limiter.spend("t", ANN, Some(rate(1))).await.is_some_and(|spent| spent.retry_after.is_none()));
    assert!(limiter.spend("t", ANN, Some(rate(1))).await.is_some_and(|spent| spent.retry_after.is_some()));
    assert_eq!(limiter.spend("t", ANN, None).await, None, "a rate that is off has no count");
    for server in bed.servers() {
        server.process().kill().unwrap();
        server.process().wait_exit(LONG).await.unwrap();
    }
    for _ in 0..100 {
        assert_eq!(limiter.spend("t", ANN, Some(rate(1))).await, None);
    }
}

fn address(n: u8) -> Option<ClientNetwork> {
    Some(ClientNetwork::of([192, 0, 2, n].into()))
}

pub(crate) async fn wrong_guesses_of_one_address_refuse_no_other_and_a_right_one_always_passes_first(bed: TestBed) {
    let (one, two) = (RateLimiter::new(bed.guest("n1").await), RateLimiter::new(bed.guest("n2").await));
    let room = RoomId::parse("R1").unwrap();
    let secret = Subject::Passcode(&room, "$hash");
    let bounds = GuessBounds { address: Some(rate(3)), all: Some(rate(7)), pause: Duration::from_secs(900) };
    let class = GuessClass::Passcode;
    for limiter in [&one, &two, &one] {
        limiter.guess(class, secret, address(1), bounds).await.unwrap().wrong().await;
    }
    let wait = two.guess(class, secret, address(1), bounds).await.unwrap_err().spent.retry_after.unwrap();
    assert!(wait > Duration::from_secs(3500) && wait <= Duration::from_secs(3600), "{wait:?}");
    one.guess(class, Subject::Passcode(&room, "$new"), address(1), bounds).await.expect("a new passcode, new counts");
    two.guess(class, secret, address(2), bounds).await.unwrap().right().await;

    // Four more wrong ones of other addresses: the secret is guarded.
    for n in [3, 3, 4, 4] {
        one.guess(class, secret, address(n), bounds).await.unwrap().wrong().await;
    }
    for n in 5..10 {
        let guess = one.guess(class, secret, address(n), bounds).await.expect("one guess of each address");
        let meanwhile = two.guess(class, secret, address(n), bounds).await.unwrap_err().spent.retry_after.unwrap();
        assert!(meanwhile <= Duration::from_secs(10), "{meanwhile:?}");
        if n == 5 {
            guess.right().await;
            for _ in 0..10 {
                two.guess(class, secret, address(n), bounds).await.expect("it has guessed right").right().await;
            }
        } else {
            guess.wrong().await;
            two.guess(class, secret, address(n), bounds).await.expect("a second try after a typo").wrong().await;
            let next = two.guess(class, secret, address(n), bounds).await.unwrap_err().spent.retry_after.unwrap();
            assert!(next > Duration::from_secs(800) && next <= Duration::from_secs(900), "{next:?}");
        }
    }
    // An address that has guessed wrong before the secret was guarded has no second try.
    one.guess(class, secret, address(3), bounds).await.expect("one guess").wrong().await;
    assert!(two.guess(class, secret, address(3), bounds).await.is_err());
    two.guess(class, secret, address(2), bounds).await.expect("it has guessed right before").right().await;
    // An address that has guessed right has more guesses, and a bound as well.
    for n in 0..18 {
        let guess = one.guess(class, secret, address(5), bounds).await;
        guess.unwrap_or_else(|_| panic!("{n} of 18")).wrong().await;
    }
    assert!(one.guess(class, secret, address(5), bounds).await.is_err());
}

pub(crate) async fn guesses_under_way_together_are_paid_for_with_time(mut bed: TestBed) {
    let limiter = RateLimiter::new(bed.guest("n1").await);
    let bounds = GuessBounds { address: Rate::parse("2/200").unwrap(), all: None, pause: Duration::from_secs(1) };
    let guesses = (0..50).map(|_| limiter.guess(GuessClass::Password, ANN, address(1), bounds));
    let guesses: Vec<_> = join_all(guesses).await.into_iter().map(Result::unwrap).collect();
    for guess in guesses {
        guess.wrong().await;
    }
    let refused = limiter.guess(GuessClass::Password, ANN, address(1), bounds).await.unwrap_err();
    let wait = refused.spent.retry_after.unwrap().as_secs();
    assert!((4_600..=4_900).contains(&wait), "each of the 48 above the burst costs 100 s: {wait}");
    // Every count expires by itself.
    for server in bed.servers() {
        for key in server.query::<Vec<String>>(redis::cmd("KEYS").arg("*rate:*")).await.unwrap() {
            let ttl: i64 = server.query(redis::cmd("PTTL").arg(&key)).await.unwrap();
            assert!(ttl > 0 && ttl <= 90_000_000, "{key} {ttl}");
        }
    }
}

//! Rates: counted once for all processes, however many ask at once.

use std::time::Duration;

use futures_util::future::join_all;
use switchboard_rooms::rate_limit::RateLimiter;
use switchboard_rooms::*;

use super::bed::*;

/// Nothing is earned again while a test runs.
fn rate(requests: u32) -> Rate {
    Rate { requests, period: Duration::from_secs(3600 * u64::from(requests)) }
}

pub(crate) async fn of_requests_at_once_from_every_process_exactly_the_rate_passes(bed: Bed) {
    let (one, two) = (bed.guest("n1").await, bed.guest("n2").await);
    for subject in ["ann", "bob", "eve"] {
        let tries =
            (0..60).map(|n| if n % 2 == 0 { &one } else { &two }).map(|rooms| rooms.spend("t", subject, rate(10)));
        let spent: Vec<RateOutcome> = join_all(tries).await.into_iter().map(Result::unwrap).collect();
        let mut left: Vec<u32> =
            spent.iter().filter(|spent| spent.retry_after.is_none()).map(|spent| spent.remaining).collect();
        left.sort_unstable();
        assert_eq!(left, (0..10).collect::<Vec<_>>(), "{subject}");
        let hour = Duration::from_secs(3600);
        let waits: Vec<_> = spent.iter().filter_map(|spent| spent.retry_after).collect();
        assert!(waits.len() == 50 && waits.iter().all(|wait| *wait > hour / 2 && *wait <= hour), "{waits:?}");
        assert!(spent.iter().all(|spent| spent.reset_after <= 10 * hour && !spent.reset_after.is_zero()));
    }
    assert_eq!(one.spend("other", "ann", rate(10)).await.unwrap().remaining, 9, "another class is another count");
}

pub(crate) async fn what_was_spent_is_earned_again_and_then_forgotten(mut bed: Bed) {
    let rooms = bed.guest("n1").await;
    let quick = Rate { requests: 2, period: Duration::from_millis(400) };
    while rooms.spend("t", "ann", quick).await.unwrap().retry_after.is_none() {}
    let limit = tokio::time::Instant::now() + LONG;
    while rooms.spend("t", "ann", quick).await.unwrap().retry_after.is_some() {
        assert!(tokio::time::Instant::now() < limit, "nothing was earned again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    while bed.all_keys().await.iter().any(|key| key.contains("rate:")) {
        assert!(tokio::time::Instant::now() < limit, "the count stays for ever");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // A lower rate, or a clock that was set back, locks nobody out for longer than its period.
    rooms.spend("t", "bob", rate(10)).await.unwrap();
    let spent = rooms.spend("t", "bob", quick).await.unwrap();
    assert!(spent.retry_after.is_some_and(|wait| wait <= quick.period), "{spent:?}");
}

pub(crate) async fn while_redis_is_away_everybody_passes_uncounted(mut bed: Bed) {
    let limiter = RateLimiter::new(bed.guest("n1").await);
    assert!(limiter.spend("t", "ann", Some(rate(1))).await.is_some_and(|spent| spent.retry_after.is_none()));
    assert!(limiter.spend("t", "ann", Some(rate(1))).await.is_some_and(|spent| spent.retry_after.is_some()));
    assert_eq!(limiter.spend("t", "ann", None).await, None, "a rate that is off counts nothing");
    for server in bed.servers() {
        server.process().kill().unwrap();
        server.process().wait_exit(LONG).await.unwrap();
    }
    for _ in 0..100 {
        assert_eq!(limiter.spend("t", "ann", Some(rate(1))).await, None);
    }
}

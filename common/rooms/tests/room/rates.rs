//! Rates: counted together for all processes.

use std::time::Duration;

use futures_util::future::join_all;
use switchboard_rooms::rate_limit::RateLimiter;
use switchboard_rooms::*;

use super::testbed::*;

/// Returns a rate under which no request becomes available again while a test runs.
fn rate(requests: u32) -> Rate {
    Rate { requests, period: Duration::from_secs(3600 * u64::from(requests)) }
}

pub(crate) async fn of_requests_at_once_from_several_processes_exactly_the_rate_passes(bed: TestBed) {
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
    assert!(limiter.spend("t", "ann", Some(rate(1))).await.is_some_and(|spent| spent.retry_after.is_none()));
    assert!(limiter.spend("t", "ann", Some(rate(1))).await.is_some_and(|spent| spent.retry_after.is_some()));
    assert_eq!(limiter.spend("t", "ann", None).await, None, "a rate that is off has no count");
    for server in bed.servers() {
        server.process().kill().unwrap();
        server.process().wait_exit(LONG).await.unwrap();
    }
    for _ in 0..100 {
        assert_eq!(limiter.spend("t", "ann", Some(rate(1))).await, None);
    }
}

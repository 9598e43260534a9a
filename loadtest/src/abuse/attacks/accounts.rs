//! Attacks on accounts, passwords, passcodes and names.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::ensure;
use futures_util::future::BoxFuture;
use reqwest::Method;
use serde_json::json;
use tokio::time::sleep;

use super::pause;
use crate::abuse::attack::{Action, Call, HonestAction, OK, Prepared, Stage, Stranger, Tally};
use crate::abuse::connection::{Client, Rest, failure, outcome};
use crate::abuse::entrance::join_call;
use crate::client::api::{Account, PASSWORD};
use crate::client::packet::DISCONNECT;
use crate::client::route::Route;

/// Addresses of an attack that guesses.
const GUESSERS: usize = 7;
/// Passcode of the attacked call.
const PASSCODE: &str = "1234-the-right-one";
/// Time between the creation of a call and its deletion.
const CALL_LIFE: Duration = Duration::from_millis(200);
/// Sign-ins of an honest person in a window. A person signs in a few times at most.
const SIGN_INS: u32 = 3;
/// Most actions of an honest person in a window.
const ACTIONS_MAX: u32 = 10;

/// Repetitions of an action that people do at most once a second.
fn times(stage: &Stage) -> u32 {
    u32::try_from(stage.window.as_secs()).unwrap_or(1).clamp(1, ACTIONS_MAX)
}

/// Takes the names that calls get when they are deleted, and other names.
pub(crate) async fn names(stage: &Stage, tally: &Tally) -> anyhow::Result<Prepared> {
    let host = stage.honest_account(0).await?;
    // Ids of calls are public: everybody who joins gets them.
    let published = Arc::new(Mutex::new(String::new()));
    let mut strangers = Vec::new();
    for number in 0..stage.strangers {
        let account = stage.stranger_account(number).await?;
        strangers.push(name_taker(stage, number, account, Arc::clone(&published), tally.clone()));
    }
    let act = move || -> BoxFuture<'static, anyhow::Result<()>> {
        let (host, published) = (host.clone(), Arc::clone(&published));
        Box::pin(async move {
            let call = Call::create(&host, &json!({ "title": "Short" })).await?;
            call.id.clone_into(&mut published.lock().unwrap_or_else(PoisonError::into_inner));
            sleep(CALL_LIFE).await;
            host.send(Method::DELETE, &format!("/api/video-calls/{}", call.id), &json!({})).await.map(drop)
        })
    };
    Ok(Prepared { strangers, honest: Some(HonestAction { times: times(stage), act: Box::new(act) }) })
}

fn name_taker(stage: &Stage, number: usize, account: Account, published: Arc<Mutex<String>>, tally: Tally) -> Stranger {
    let (node, from) = (stage.node(number), stage.stranger(number));
    Box::pin(async move {
        let auth = json!({ "token": account.token() });
        loop {
            match Client::open(Route::new(from, &node), &auth).await {
                Ok(mut client) => {
                    for count in 0.. {
                        let id = published.lock().unwrap_or_else(PoisonError::into_inner).clone();
                        let id =
                            if count % 4 == 3 { format!("name-{number}-{count}") } else { format!("deleted-{id}") };
                        match client.ask("room:create", &json!({ "id": id, "name": "Mine" })).await {
                            Ok(reply) => tally.count(&outcome(&reply)),
                            Err(error) => {
                                tally.count(&failure(&error));
                                break;
                            }
                        }
                        pause().await;
                    }
                }
                Err(error) => tally.count(&failure(&error)),
            }
            pause().await;
        }
    })
}

/// Guesses the passcode of a call while people who know it join.
pub(crate) async fn passcode(stage: &Stage, tally: &Tally) -> anyhow::Result<Prepared> {
    let host = stage.honest_account(0).await?;
    let fields = json!({ "title": "Passcode", "maxParticipants": 100, "passcode": PASSCODE });
    let room = Call::create(&host, &fields).await?.room;
    let guess = |number: usize| -> Stranger {
        let (from, api, node) = (stage.stranger(number), stage.api.clone(), stage.node(number));
        let (room, tally) = (room.clone(), tally.clone());
        Box::pin(async move {
            let mut rest = Rest::new(from, &api);
            for count in 0_u64.. {
                // A right one now and then must not earn more guesses.
                let passcode = if count % 10 == 9 { PASSCODE.to_owned() } else { format!("guess-{number}-{count}") };
                if count % 2 == 0 {
                    let fields = json!({ "roomId": room, "guestName": "Guess", "passcode": passcode });
                    let answer = rest.json("POST", "/api/video-calls/join", None, &fields).await;
                    tally.count(&answer.outcome());
                } else {
                    let tried = guess_on_socket(Route::new(from, &node), &room, &passcode).await;
                    tally.count(&tried.unwrap_or_else(|error| failure(&error)));
                }
                pause().await;
            }
        })
    };
    let strangers = (0..GUESSERS).map(guess).collect();
    let (stage, number) = (stage.clone(), AtomicUsize::new(0));
    let times = times(&stage);
    let act = move || -> BoxFuture<'static, anyhow::Result<()>> {
        let number = number.fetch_add(1, Ordering::Relaxed);
        let (from, api, node) = (stage.honest(10 + number), stage.api.clone(), stage.node(number));
        let room = room.clone();
        Box::pin(async move {
            let mut guest = join_call(from, &api, &node, &room, Some(PASSCODE)).await?;
            guest.send_buffer.text(DISCONNECT);
            Ok(guest.send_buffer.flush(&guest.socket).await?)
        })
    };
    Ok(Prepared { strangers, honest: Some(HonestAction { times, act: Box::new(act) }) })
}

async fn guess_on_socket(route: Route<'_>, room: &str, passcode: &str) -> anyhow::Result<String> {
    let mut client = Client::open(route, &json!({})).await?;
    let fields = json!({ "roomId": room, "guestName": "Guess", "passcode": passcode });
    Ok(outcome(&client.ask("room:join", &fields).await?))
}

/// Tries wrong passwords for the e-mail of an honest user, who signs in meanwhile.
pub(crate) async fn sign_in(stage: &Stage, tally: &Tally) -> anyhow::Result<Prepared> {
    let user = stage.honest_account(0).await?;
    let strangers = stage.each(2, |number, from| {
        let (mut rest, tally) = (Rest::new(from, &stage.api), tally.clone());
        let names = [user.email.clone(), user.email.to_uppercase(), user.user_id.clone(), stage.honest(0).to_string()];
        async move {
            for count in number.. {
                let fields = json!({ "email": names[count % names.len()], "password": format!("wrong {count}") });
                let answer = rest.json("POST", "/api/auth/login", None, &fields).await;
                tally.count(&answer.outcome());
                if answer.status != 401 {
                    pause().await;
                }
            }
        }
    });
    let honest = HonestAction { times: SIGN_INS, act: honest_sign_in(stage, user.email) };
    Ok(Prepared { strangers, honest: Some(honest) })
}

/// A user who signs in with the right password, from the usual address.
fn honest_sign_in(stage: &Stage, email: String) -> Action {
    let (from, api) = (stage.honest(0), stage.api.clone());
    Box::new(move || {
        let (mut rest, fields) = (Rest::new(from, &api), json!({ "email": email, "password": PASSWORD }));
        Box::pin(async move {
            let answer = rest.json("POST", "/api/auth/login", None, &fields).await;
            ensure!(answer.outcome() == OK, "sign-in {}", answer.outcome());
            Ok(())
        })
    })
}

/// Signs in to one account as often as possible, and ends all these sign-ins at once.
pub(crate) async fn sign_ins(stage: &Stage, tally: &Tally) -> anyhow::Result<Prepared> {
    let account = stage.stranger_account(0).await?;
    let strangers = stage.each(2, |_, from| {
        let (mut rest, tally, account) = (Rest::new(from, &stage.api), tally.clone(), account.clone());
        async move {
            let fields = json!({ "email": account.email, "password": PASSWORD });
            for count in 1_u64.. {
                let answer = rest.json("POST", "/api/auth/login", None, &fields).await;
                tally.count(&answer.outcome());
                if count.is_multiple_of(20) {
                    let revoked = rest.json("DELETE", "/api/auth/sessions", Some(account.token()), &json!({})).await;
                    tally.count(&revoked.outcome());
                }
                pause().await;
            }
        }
    });
    let user = stage.honest_account(0).await?;
    let honest = HonestAction { times: SIGN_INS, act: honest_sign_in(stage, user.email) };
    Ok(Prepared { strangers, honest: Some(honest) })
}

/// Registers accounts as fast as possible, while an honest user signs in.
pub(crate) async fn register(stage: &Stage, tally: &Tally) -> anyhow::Result<Prepared> {
    let strangers = stage.each(4, |_, from| {
        let (mut rest, tally) = (Rest::new(from, &stage.api), tally.clone());
        async move {
            loop {
                let email = format!("stranger-{:016x}@example.com", rand::random::<u64>());
                let fields = json!({ "name": "Stranger", "email": email, "password": PASSWORD });
                tally.count(&rest.json("POST", "/api/auth/register", None, &fields).await.outcome());
                pause().await;
            }
        }
    });
    let user = stage.honest_account(0).await?;
    let honest = HonestAction { times: SIGN_INS, act: honest_sign_in(stage, user.email) };
    Ok(Prepared { strangers, honest: Some(honest) })
}

/// Refreshes with tokens that are not valid.
pub(crate) async fn refresh(stage: &Stage, tally: &Tally) -> anyhow::Result<Prepared> {
    let strangers = stage.each(2, |number, from| {
        let (mut rest, tally) = (Rest::new(from, &stage.api), tally.clone());
        async move {
            for count in number.. {
                let fields = json!({ "refreshToken": format!("eyJhbGciOiJIUzI1NiJ9.e30.{count}") });
                let answer = rest.json("POST", "/api/auth/refresh", None, &fields).await;
                tally.count(&answer.outcome());
                if answer.status == 0 {
                    pause().await;
                }
            }
        }
    });
    Ok(Prepared { strangers, honest: None })
}

//! Time of an access token by each algorithm:
//! `cargo bench -p switchboard-microbench --bench tokens`.

use divan::{Bencher, black_box};
use switchboard_auth::{AccessKeys, PrivateKey, Tokens};
use switchboard_core::domain::{PublicUser, UserId};
use switchboard_core::key_ring::KeyRing;

const SECRET: &str = "access-secret-of-at-least-32-bytes";
const PRIVATE_KEY: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEID1pELfJ8Po1vNrSIL7M6V051gVhn9E/9ke7AQUIdn2+
-----END PRIVATE KEY-----";
const ALGORITHMS: [&str; 2] = ["HS256", "EdDSA"];

fn main() {
    divan::main();
}

fn tokens(algorithm: &str) -> Tokens {
    let access = match algorithm {
        "HS256" => AccessKeys::from(SECRET),
        _ => {
            let keys = PrivateKey::read_all(PRIVATE_KEY).expect("a key in PEM");
            let current = keys.into_iter().next().expect("one key");
            AccessKeys::EdDsa { private_keys: KeyRing::with_keys(current, Vec::new()), secrets: None }
        }
    };
    Tokens::new(access, "refresh-secret-of-at-least-32-byte")
}

fn issue(tokens: &Tokens) -> String {
    let user = UserId::parse("aaaaaaaaaaaaaaaaaaaaaaaa").expect("an id of a user");
    let issued = tokens.issue_access(&PublicUser::new(user, "Ann".into(), None), "ann@example.org", "session");
    issued.expect("claims can be encoded").token
}

#[divan::bench(args = ALGORITHMS)]
fn signing(bencher: Bencher<'_, '_>, algorithm: &str) {
    let tokens = tokens(algorithm);
    bencher.bench(|| issue(black_box(&tokens)));
}

#[divan::bench(args = ALGORITHMS)]
fn verifying(bencher: Bencher<'_, '_>, algorithm: &str) {
    let tokens = tokens(algorithm);
    let token = issue(&tokens);
    bencher.bench(|| tokens.verify_access(black_box(&token)).expect("a valid token"));
}

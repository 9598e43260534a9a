#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
use super::*;

const OLD: &str = "0123456789abcdef0123456789abcdef";
const NEW: &str = "123456789abcdef0123456789abcdef0";
const NEXT: &str = "23456789abcdef0123456789abcdef01";
const REFRESH: &str = "fedcba9876543210fedcba9876543210";

/// Reads all secrets in production.
fn read(variables: &[(&str, &str)]) -> Result<SecretsConfig, String> {
    let refresh = [("JWT_REFRESH_SECRET", REFRESH)];
    let mut env = Env::new(variables.iter().chain(&refresh).copied());
    let secrets = SecretsConfig::from_env(&mut env, Mode::Production);
    env.finish().map(|()| secrets).map_err(|errors| errors.to_string())
}

fn texts(ring: &KeyRing) -> Vec<String> {
    ring.load().all().map(|key| key.secret().expose().to_owned()).collect()
}

#[test]
fn a_secret_is_followed_by_its_previous_ones_and_every_reader_gets_the_same_ring() {
    let previous = format!(" {NEW}, {NEXT} ,");
    let mut env = Env::new([("JWT_ACCESS_SECRET", OLD), ("JWT_ACCESS_SECRET_PREVIOUS", &previous)]);
    let ring = env.key_ring("JWT_ACCESS_SECRET").unwrap();
    assert_eq!(texts(&ring), [OLD, NEW, NEXT]);
    let same = env.key_ring("JWT_ACCESS_SECRET").unwrap();
    ring.replace(Secret::new("replaced"), []);
    assert_eq!(texts(&same), ["replaced"]);
    assert!(env.key_ring("CLUSTER_SECRET").is_none());
}

#[test]
fn wrong_and_weak_previous_secrets_are_refused_with_their_variable_and_without_their_value() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    let (current, previous) = ("JWT_ACCESS_SECRET", "JWT_ACCESS_SECRET_PREVIOUS");
    let many = [OLD, NEW, NEXT, REFRESH].join(",");
    let cases: [(&[(&str, &str)], &str); 9] = [
        (&[(current, OLD), (previous, "short")], "_PREVIOUS: must have at least 32 bytes"),
        (&[(current, OLD), (previous, DEV_ACCESS_SECRET)], "_PREVIOUS: is a documented default"),
        (&[(current, OLD), (previous, OLD)], "_PREVIOUS: must not repeat a key"),
        (&[(current, OLD), (previous, &many)], "_PREVIOUS: must be at most 3 secrets"),
        (&[(previous, OLD)], "_PREVIOUS: needs JWT_ACCESS_SECRET"),
        (&[(current, REFRESH)], "JWT_REFRESH_SECRET: must differ from JWT_ACCESS_SECRET"),
        (&[(current, OLD), ("JWT_ACCESS_SECRET_FILE", path)], "_FILE: must not be set together with"),
        (&[("JWT_ACCESS_SECRET_FILE", path)], "_FILE: names a file without a key"),
        (
            &[("JWT_ACCESS_SECRET_FILE", path), (previous, OLD)],
            "_PREVIOUS: must be in the file of JWT_ACCESS_SECRET_FILE, behind the current key",
        ),
    ];
    for (variables, expected) in cases {
        let error = read(variables).unwrap_err();
        assert!(error.contains(expected), "{expected}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(!error.contains(OLD) && !error.contains("short"), "{error}");
    }
    let absent = read(&[("JWT_ACCESS_SECRET_FILE", "/nowhere/keys")]).unwrap_err();
    assert_eq!(absent, "JWT_ACCESS_SECRET_FILE: names a file that cannot be read: entity not found");
    std::fs::write(path, format!("{OLD}\n{REFRESH}\n")).unwrap();
    let same = read(&[("JWT_ACCESS_SECRET_FILE", path)]).unwrap_err();
    assert_eq!(same, "JWT_REFRESH_SECRET: must differ from JWT_ACCESS_SECRET");
}

#[tokio::test]
async fn a_file_that_changes_replaces_the_keys_and_a_bad_one_keeps_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access");
    std::fs::write(&path, format!("\r\n  {OLD} \r\n\n")).unwrap();
    let secrets = read(&[("JWT_ACCESS_SECRET_FILE", path.to_str().unwrap())]).unwrap();
    let access = secrets.files.all.iter().find(|keys| keys.name == "JWT_ACCESS_SECRET").unwrap();
    assert_eq!(texts(secrets.access.secrets().unwrap()), [OLD]);
    assert_eq!(secrets.files.reload(access).await, Ok(false), "unchanged");

    std::fs::write(&path, format!("{NEW}\n{OLD}\n")).unwrap();
    assert_eq!(secrets.files.reload(access).await, Ok(true));
    assert_eq!(texts(secrets.access.secrets().unwrap()), [NEW, OLD]);

    let bad = [
        ("short\n".to_owned(), "key 1 must have at least 32 bytes"),
        (format!("{NEXT}\nshort"), "key 2 must have at least 32 bytes"),
        (format!("{NEXT}\n{NEXT}"), "key 2 must not repeat a key"),
        (DEV_REFRESH_SECRET.to_owned(), "key 1 is a documented default"),
        (REFRESH.to_owned(), "key 1 must differ from JWT_REFRESH_SECRET"),
        ("\n \n".to_owned(), "names a file without a key"),
        (format!("{OLD}\n").repeat(5), "names a file with more than 4 keys"),
        ("x".repeat(20_000), "names a file of more than 16384 bytes"),
    ];
    for (content, problem) in bad {
        std::fs::write(&path, content).unwrap();
        assert_eq!(secrets.files.reload(access).await, Err(problem.to_owned()));
        assert_eq!(texts(secrets.access.secrets().unwrap()), [NEW, OLD]);
    }
    std::fs::write(&path, b"\xff\xfe").unwrap();
    assert_eq!(secrets.files.reload(access).await, Err("names a file that cannot be read: invalid data".to_owned()));
    std::fs::remove_file(&path).unwrap();
    assert_eq!(
        secrets.files.reload(access).await,
        Err("names a file that cannot be read: entity not found".to_owned())
    );
    assert_eq!(texts(secrets.access.secrets().unwrap()), [NEW, OLD]);
    std::fs::write(&path, NEXT).unwrap();
    assert_eq!(secrets.files.reload(access).await, Ok(true));
    assert_eq!(texts(secrets.access.secrets().unwrap()), [NEXT]);
}

#[tokio::test]
async fn the_watch_loads_a_change_and_ends_when_it_is_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access");
    std::fs::write(&path, OLD).unwrap();
    let secrets = read(&[("JWT_ACCESS_SECRET_FILE", path.to_str().unwrap())]).unwrap();
    let stop = CancellationToken::new();
    let watch = tokio::spawn(secrets.files.clone().watch_every(Duration::from_millis(5), stop.clone()));
    std::fs::write(&path, NEW).unwrap();
    let loaded = async {
        while texts(secrets.access.secrets().unwrap()) != [NEW] {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), loaded).await.unwrap();
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(60), watch).await.unwrap().unwrap();
}

use super::*;
use switchboard_core::client_address::{ForwardedHeader, TrustedProxies};

fn env(variables: &[(&str, &str)]) -> Env {
    Env::new(variables.iter().copied())
}

fn problems(env: Env) -> Vec<String> {
    env.finish().err().map(|errors| errors.0.into_iter().map(|error| error.name).collect()).unwrap_or_default()
}

#[test]
fn every_wrong_variable_is_reported_in_one_go_and_none_shows_its_value() {
    let mut env = env(&[("PORT", "s3cret"), ("WAIT", "-1"), ("REDIS_URL", "http://u:s3cret@h"), ("ON", "s3cret")]);
    assert_eq!(env.port("PORT", 1), 1);
    assert_eq!(env.seconds("WAIT", 5, 0..=9), Duration::from_secs(5));
    RedisConfig::from_env(&mut env);
    assert!(env.flag("ON", true));
    env.required("NEEDED");
    assert!(!format!("{env:?}").contains("s3cret"));
    let errors = env.finish().unwrap_err();
    let names: Vec<_> = errors.0.iter().map(|error| error.name.as_str()).collect();
    assert_eq!(names, ["PORT", "WAIT", "REDIS_URL", "ON", "NEEDED"]);
    assert_eq!(errors.to_string().lines().count(), 5);
    assert!(!errors.to_string().contains("s3cret"));
}

#[test]
fn the_files_of_a_client_certificate_are_refused_by_the_name_of_their_variable() {
    const CERTIFICATE: &str = "REDIS_TLS_CERT_FILE";
    const KEY: &str = "REDIS_TLS_KEY_FILE";
    let url = ("REDIS_URL", "rediss://a.example");
    let absent = "/no/such/file";
    for (variables, wrong) in [
        (&[url, (CERTIFICATE, absent)][..], KEY),
        (&[url, (KEY, absent)], CERTIFICATE),
        (&[url, (CERTIFICATE, absent), (KEY, absent)], CERTIFICATE),
    ] {
        let mut env = env(variables);
        RedisConfig::from_env(&mut env);
        assert_eq!(problems(env), [wrong], "{variables:?}");
    }
    let mut env = env(&[("REDIS_URL", "rediss+sentinel://ann:s3cret@a.example,b.example/calls/0")]);
    RedisConfig::from_env(&mut env);
    assert_eq!(problems(env), Vec::<String>::new());
}

#[test]
fn an_empty_variable_counts_as_unset_and_a_list_is_trimmed() {
    let mut env = env(&[("PORT", "  "), ("LIST", " a, ,b ,")]);
    assert_eq!(env.port("PORT", 7), 7);
    assert_eq!(env.list("LIST", ""), ["a", "b"]);
    assert_eq!(problems(env), Vec::<String>::new());
}

#[test]
fn production_refuses_missing_default_short_and_equal_secrets() {
    const DEFAULT: &str = "switchboard-development-access-secret";
    const LONG: &str = "0123456789abcdef0123456789abcdef";
    type Case = (&'static [(&'static str, &'static str)], &'static [&'static str]);
    const OTHER: &str = "fedcba9876543210fedcba9876543210";
    const JWT: [(&str, &str); 2] = [("JWT_ACCESS_SECRET", LONG), ("JWT_REFRESH_SECRET", OTHER)];
    let cases: [Case; 9] = [
        (&[JWT[0], JWT[1], ("TURN_SECRET", "short")], &["TURN_SECRET"]),
        (&[JWT[0], JWT[1], ("WEBHOOK_SECRET", "short")], &["WEBHOOK_SECRET"]),
        (&[JWT[0], JWT[1], ("CLUSTER_SECRET", OTHER)], &["CLUSTER_SECRET"]),
        (&[JWT[0], JWT[1], ("CLUSTER_SECRET", DEFAULT)], &["CLUSTER_SECRET"]),
        (&[], &["JWT_ACCESS_SECRET", "JWT_REFRESH_SECRET"]),
        (&[("JWT_ACCESS_SECRET", DEFAULT), ("JWT_REFRESH_SECRET", LONG)], &["JWT_ACCESS_SECRET"]),
        (&[("JWT_ACCESS_SECRET", LONG), ("JWT_REFRESH_SECRET", "short")], &["JWT_REFRESH_SECRET"]),
        (&[("JWT_ACCESS_SECRET", LONG), ("JWT_REFRESH_SECRET", LONG)], &["JWT_REFRESH_SECRET"]),
        (&[("JWT_ACCESS_SECRET", LONG), ("JWT_REFRESH_SECRET", OTHER)], &[]),
    ];
    for (variables, expected) in cases {
        let mut production = env(variables);
        SecretsConfig::from_env(&mut production, Mode::Production);
        assert_eq!(problems(production), expected);
        let mut development = env(variables);
        SecretsConfig::from_env(&mut development, Mode::Development);
        assert_eq!(problems(development), Vec::<String>::new());
    }
}

#[test]
fn development_must_be_asked_for_by_name_and_listens_on_this_machine_only() {
    let read = |variables: &[(&str, &str)]| {
        let mut env = env(variables);
        let mode = Mode::from_env(&mut env);
        (mode, mode.bind_address(&mut env).to_string(), env.finish().err().map(|errors| errors.to_string()))
    };
    assert_eq!(read(&[]), (Mode::Production, "0.0.0.0".to_owned(), None));
    let development = ("NODE_ENV", "development");
    assert_eq!(read(&[development]), (Mode::Development, "127.0.0.1".to_owned(), None));
    assert_eq!(read(&[development, ("BIND_ADDRESS", "::")]).1, "::");
    for unknown in ["prod", "Development", "test", "staging"] {
        let (mode, _, error) = read(&[("NODE_ENV", unknown)]);
        let expected = "NODE_ENV: must be production or development".to_owned();
        assert_eq!((mode, error), (Mode::Production, Some(expected)), "{unknown}");
    }
}

#[test]
fn an_origin_is_allowed_when_listed_or_when_it_is_the_page_s_own() {
    let mut listed = env(&[
        ("ALLOWED_ORIGINS", "https://a.example/,https://b.example:8443"),
        ("FRONTEND_URL", "https://c.example/app/"),
    ]);
    let origins = OriginsConfig::from_env(&mut listed, Mode::Production);
    assert_eq!(origins.frontend, "https://c.example/app");
    for good in ["https://a.example", "https://B.example:8443", "https://c.example"] {
        assert!(origins.allows(good, None), "{good}");
    }
    for bad in ["https://a.example.evil.org", "http://a.example", "null", ""] {
        assert!(!origins.allows(bad, Some("here:80")), "{bad}");
    }
    assert!(origins.allows("http://here:80", Some("here:80")));
    assert_eq!(problems(listed), Vec::<String>::new());
    let mut wrong = env(&[("ALLOWED_ORIGINS", "https://a.example,example.org,https://a.example/app")]);
    OriginsConfig::from_env(&mut wrong, Mode::Production);
    let wrong = wrong.finish().unwrap_err().to_string();
    assert!(wrong.contains("entry 2 has no scheme") && wrong.contains("entry 3 must have no path"), "{wrong}");
    for (mode, refused) in [(Mode::Production, &["ALLOWED_ORIGINS"][..]), (Mode::Development, &[])] {
        let mut any = env(&[("ALLOWED_ORIGINS", "*")]);
        OriginsConfig::from_env(&mut any, mode);
        assert_eq!(problems(any), refused, "{mode:?}");
    }
}

#[test]
fn every_port_of_this_machine_may_call_in_development_and_none_in_production() {
    let variables = [("ALLOWED_ORIGINS", "https://a.example")];
    let development = OriginsConfig::from_env(&mut env(&variables), Mode::Development);
    let production = OriginsConfig::from_env(&mut env(&variables), Mode::Production);
    for origin in ["http://localhost:5173", "http://localhost", "http://127.0.0.1:3999"] {
        assert!(development.allows(origin, None), "{origin}");
        assert!(!production.allows(origin, None), "{origin}");
    }
    for origin in [
        "http://localhost.example:5173",
        "http://localhost:5173.example",
        "http://localhost:99999",
        "http://localhost:",
        "https://localhost:5173",
        "http://127.0.0.10:80",
    ] {
        assert!(!development.allows(origin, Some("a.example")), "{origin}");
    }
}

#[test]
fn one_header_names_the_clients_behind_proxies() {
    let read = |header: &str| {
        let mut env = env(&[("TRUSTED_HOPS", "2"), ("FORWARDED_HEADER", header)]);
        (trusted_proxies(&mut env), problems(env))
    };
    assert_eq!(read("").0, TrustedProxies::hops(2));
    assert_eq!(read("X-Forwarded-For").0, TrustedProxies::hops(2));
    assert_eq!(read("forwarded").0, TrustedProxies { hops: 2, header: ForwardedHeader::Forwarded });
    assert_eq!(read("x-real-ip").1, ["FORWARDED_HEADER"]);
}

#[test]
fn a_setting_that_is_a_url_is_refused_with_the_part_that_it_does_not_honour() {
    for (name, value, why) in [
        ("FRONTEND_URL", "https://ann:s3cret@a.example", "user name or password"),
        ("FRONTEND_URL", "https://a.example/?room=x", "query"),
        ("MONGODB_URI", "mongodb+srv://ann:s3cret@a.example", "list the hosts"),
        ("MONGODB_URI", "mongodb://ann:s3/cret@a.example", "percent-encode"),
        ("REDIS_URL", "redis://s3cret@a.example", "no password"),
        ("REDIS_URL", "redis://:s3cret@a.example?db=1", "query"),
        ("REDIS_URL", "redis+sentinel://:s3cret@a.example", "names no master"),
        ("TURN_SERVER_URL", "turn:a,turn:ann:s3cret@b", "entry 2 must have no user name"),
        ("STUN_SERVER", "stun://a", "without //"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://ann:s3cret@a:4318", "user name or password"),
    ] {
        let mut env = env(&[(name, value), ("TURN_SECRET", "k")]);
        OriginsConfig::from_env(&mut env, Mode::Production);
        MongoConfig::from_env(&mut env);
        RedisConfig::from_env(&mut env);
        IceSettings::from_env(&mut env);
        TraceConfig::from_env(&mut env);
        let problems = env.finish().unwrap_err().to_string();
        assert!(problems.starts_with(&format!("{name}: ")) && problems.contains(why), "{value}: {problems}");
        assert!(!problems.contains("s3"), "{problems}");
    }
}

#[test]
fn a_turn_server_needs_credentials() {
    let mut wrong = env(&[("TURN_SERVER_URL", "turn:t:3478"), ("STUN_SERVER", "none")]);
    assert!(IceSettings::from_env(&mut wrong).stun.is_empty());
    assert_eq!(problems(wrong), ["TURN_SERVER_URL"]);
    let mut right = env(&[("TURN_SERVER_URL", "turn:t:3478"), ("TURN_SECRET", "k")]);
    assert_eq!(IceSettings::from_env(&mut right).stun, [ICE_DEFAULT_STUN]);
    assert_eq!(problems(right), Vec::<String>::new());
}

#[test]
fn traces_go_to_a_collector_without_tls_or_nowhere() {
    let config = |endpoint: &str| {
        let mut env = env(&[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint), ("OTEL_TRACES_SAMPLER_ARG", "0.25")]);
        (TraceConfig::from_env(&mut env), problems(env))
    };
    let (trace, wrong) = config("http://collector:4318");
    assert_eq!((trace.endpoint.as_deref(), trace.ratio), (Some("http://collector:4318"), 0.25));
    assert!(wrong.is_empty());
    assert_eq!(config("").0.endpoint, None);
    // It would be taken, and every span lost.
    assert_eq!(config("https://collector:4318").1, ["OTEL_EXPORTER_OTLP_ENDPOINT"]);
}

use super::*;

#[test]
fn an_unknown_key_is_refused_by_name() {
    let error = toml::from_str::<Settings>("lisen = \"127.0.0.1:1\"").unwrap_err();
    assert!(error.to_string().contains("unknown field `lisen`"), "{error}");
}

#[test]
fn two_addresses_that_one_host_cannot_listen_at_are_refused() {
    let at = |listen: &str| Settings {
        listen: Some(listen.parse().unwrap()),
        allow_unauthenticated: true,
        ..Settings::default()
    };
    for listen in [MARATHON_LISTEN, AGENT_LISTEN, "0.0.0.0:8080", "[::]:8080"] {
        let error = at(listen).resolve().unwrap_err().to_string();
        assert!(error.contains("cannot both be listened at"), "{error}");
    }
    assert!(at("127.0.0.2:8080").resolve().is_ok());
    let free = || Some("127.0.0.1:0".parse().unwrap());
    let any = Settings { marathon_listen: free(), agent_listen: free(), ..at("127.0.0.1:0") };
    assert!(any.resolve().is_ok());
}

#[test]
fn an_open_address_is_refused_unless_the_operator_insists() {
    let open = |allow_unauthenticated| Settings {
        listen: Some("0.0.0.0:5050".parse().unwrap()),
        allow_unauthenticated,
        ..Settings::default()
    };
    let error = open(false).resolve().unwrap_err();
    assert!(error.to_string().contains("allow_unauthenticated"), "{error}");
    assert!(open(true).resolve().is_ok());
}

#[test]
fn a_store_that_others_share_needs_a_name_that_they_reach() {
    let shared = |listen: &str, hostname: Option<&str>| Settings {
        listen: Some(listen.parse().unwrap()),
        hostname: hostname.map(Into::into),
        store: Some("zk://a:2181,b:2181/mesos".into()),
        allow_unauthenticated: true,
        ..Settings::default()
    };
    let error = shared("0.0.0.0:5050", None).resolve().unwrap_err();
    assert!(error.to_string().contains("hostname is needed"), "{error}");
    let config = shared("0.0.0.0:5050", Some("here")).resolve().unwrap();
    assert_eq!(config.store.unwrap().servers, ["a:2181", "b:2181"]);
    assert_eq!(config.warnings.len(), 2, "{:?}", config.warnings);
    let with = |agents: &str, marathon: &str| Settings {
        agent_listen: Some(agents.parse().unwrap()),
        marathon_listen: Some(marathon.parse().unwrap()),
        ..shared("10.0.0.1:5050", None)
    };
    assert!(with("10.0.0.1:5052", "10.0.0.1:8080").resolve().unwrap().warnings.is_empty());
    // Agents would be sent to themselves.
    for agents in ["0.0.0.0:5052", AGENT_LISTEN] {
        let error = with(agents, "10.0.0.1:8080").resolve().unwrap_err().to_string();
        assert!(error.contains(&format!("agent_listen = {agents}")), "{error}");
    }
    let error = Settings { store: Some("redis://x".into()), ..Settings::default() };
    assert!(error.resolve().unwrap_err().to_string().contains("etcd://"));
}

#[test]
fn a_store_whose_address_is_on_another_host_is_checked_as_far_as_one_can() {
    let there = |file: &str| Settings {
        listen: Some("10.0.0.1:5050".parse().unwrap()),
        store: Some(format!("file://{file}")),
        allow_unauthenticated: true,
        ..Settings::default()
    };
    let secret = "/run/credentials/tepui-control-plane.service/store";
    assert!(there(secret).resolve().is_err(), "it is not here");
    assert!(there(secret).elsewhere().unwrap().resolve().is_ok());
    let error = there("store").elsewhere().unwrap_err().to_string();
    assert!(error.contains("absolute"), "{error}");
    let certificate = Some("/cert.pem".into());
    let alone = Settings { store_cert_file: certificate, ..there(secret) };
    let error = alone.elsewhere().unwrap().resolve().unwrap_err().to_string();
    assert!(error.contains("belong together"), "{error}");
}

#[test]
fn an_allocator_that_is_not_built_in_is_a_plugin_in_a_folder() {
    let config = |text: &str| toml::from_str::<Settings>(text).unwrap().resolve();
    assert_eq!(config("").unwrap().allocator, "drf");
    let error = config("allocator = 'binpack'").unwrap_err().to_string();
    assert!(error.contains("plugin_dir"), "{error}");
    let error = config("allocator = '../x'\nplugin_dir = '/p'").unwrap_err().to_string();
    assert!(error.contains("no name of a plugin"), "{error}");
    let named = "allocator = 'binpack'\nplugin_dir = '/p'\n[plugins.binpack]\n";
    assert_eq!(config(named).unwrap().allocator, "binpack");
    let error = config(&format!("{named}sha256 = 'x'")).unwrap_err().to_string();
    assert!(error.contains("64 hexadecimal digits"), "{error}");
}

#[test]
fn what_is_said_of_a_plugin_is_said_of_one_that_is_configured() {
    let check = |text: &str| {
        let text = format!("plugin_dir = '/p'\n{text}");
        toml::from_str::<Settings>(&text).unwrap().resolve().unwrap().check_tables()
    };
    for right in [
        "allocator = 'priority'\n[plugins.priority]",
        "shadow_allocator = 'priority'\n[plugins.priority]",
        "allocator = 'mine'\nshadow_allocator = 'other'\n[plugins.mine]\n[plugins.other]",
    ] {
        assert_eq!(check(right), Ok(()), "{right}");
    }
    let why = check("allocator = 'priority'\n[plugins.prioritty]").unwrap_err();
    assert!(why.ends_with("right would be priority"), "{why}");
    let why = check("shadow_allocator = 'drf'\n[plugins.dfr]").unwrap_err();
    assert!(why.ends_with("none that it could be of"), "{why}");
    let nowhere = "shadow_allocator = 'priority'\n[plugins.priority]";
    let error = toml::from_str::<Settings>(nowhere).unwrap().resolve().unwrap_err().to_string();
    assert!(error.contains("plugin_dir says in which folder"), "{error}");
}

#[test]
fn a_flag_wins_over_the_file() {
    let flag = Settings { cluster: Some("flag".into()), ..Settings::default() };
    let file: Settings = toml::from_str("cluster = \"file\"\nhostname = \"h\"").unwrap();
    let both = flag.over(file);
    assert_eq!(both.cluster.as_deref(), Some("flag"));
    assert_eq!(both.hostname.as_deref(), Some("h"));
}

#[test]
fn a_hostname_that_nobody_reaches_is_refused() {
    for wrong in ["", "a b"] {
        let settings = Settings { hostname: Some(wrong.into()), ..Settings::default() };
        let error = settings.resolve().unwrap_err().to_string();
        assert!(error.starts_with("hostname = "), "{error}");
    }
}

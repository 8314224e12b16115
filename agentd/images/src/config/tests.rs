use super::*;
use proptest::prelude::*;

fn refused(config: &str) -> String {
    ConfigFile::parse(format!(r#"{{"config":{config}}}"#).as_bytes()).unwrap_err().to_string()
}

#[test]
fn a_configuration_says_what_to_run() {
    let diff = format!("sha256:{}", "1".repeat(64));
    let text = format!(
        r#"{{"os":"linux","architecture":"amd64","config":{{
            "Entrypoint":["/init"],"Cmd":["serve","-v"],"Env":["PATH=/bin","EMPTY=","nonsense"],
            "WorkingDir":"/srv","User":"web:www","StopSignal":"SIGINT",
            "ExposedPorts":{{"80/tcp":{{}},"53/udp":{{}},"8000-8001":{{}}}},
            "Volumes":{{"/data":{{}}}},"Labels":{{"a":"b"}},"Healthcheck":{{"Test":["NONE"]}},
            "OnBuild":null}},"rootfs":{{"type":"layers","diff_ids":["{diff}"]}},"history":[]}}"#
    );
    let file = ConfigFile::parse(text.as_bytes()).unwrap();
    assert_eq!(file.platform.to_string(), "linux/amd64");
    assert_eq!(file.diff_ids, [Digest::parse(&diff).unwrap()]);
    let config = file.config;
    assert_eq!((config.entrypoint, config.cmd.len()), (vec!["/init".to_owned()], 2));
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(config.env, [pair("PATH", "/bin"), pair("EMPTY", "")]);
    assert_eq!(config.working_dir.as_deref(), Some("/srv"));
    let ports: Vec<(u16, bool)> = config.exposed_ports.iter().map(|p| (p.port, p.udp)).collect();
    assert_eq!(ports, [(53, true), (80, false), (8000, false), (8001, false)]);
    assert_eq!(config.volumes, ["/data"]);
}

#[test]
fn null_and_absent_are_empty() {
    let text = r#"{"config":{"Env":null,"Cmd":null,"Volumes":null,"User":""},"rootfs":null}"#;
    assert_eq!(ConfigFile::parse(text.as_bytes()).unwrap().config, ImageConfig::default());
    assert_eq!(ConfigFile::parse(b"{}").unwrap().config, ImageConfig::default());
    let old = ConfigFile::parse(br#"{"config":{"Cmd":"run"}}"#).unwrap();
    assert_eq!(old.config.cmd, ["run"]);
}

#[test]
fn what_would_lead_out_of_a_container_is_refused() {
    assert!(refused(r#"{"Volumes":{"/a/../../etc":{}}}"#).contains("'..'"));
    assert!(refused(r#"{"Volumes":{"data":{}}}"#).contains("absolute"));
    assert!(refused(r#"{"WorkingDir":"/proc/self/fd/7"}"#).contains("/proc"));
    assert!(refused(r#"{"WorkingDir":"//proc/self/fd/7"}"#).contains("/proc"));
    assert!(refused(r#"{"WorkingDir":"../x"}"#).contains("absolute"));
    assert!(refused(r#"{"Cmd":["a\u0000b"]}"#).contains("NUL"));
    assert!(refused(r#"{"User":"a\nb"}"#).contains("User"));
    assert!(refused(r#"{"ExposedPorts":{"http":{}}}"#).contains("80/tcp"));
    assert!(refused(r#"{"ExposedPorts":{"9-8":{}}}"#).contains("80/tcp"));
    assert!(refused("7").contains("not valid"));
}

proptest! {
    #[test]
    fn any_bytes_are_parsed_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = ConfigFile::parse(&bytes);
    }

    #[test]
    fn any_path_that_passes_is_absolute_and_does_not_go_up(path in "[/.a-z]{1,20}") {
        let text = format!(r#"{{"config":{{"WorkingDir":{path:?},"Volumes":{{{path:?}:{{}}}}}}}}"#);
        if ConfigFile::parse(text.as_bytes()).is_ok() {
            prop_assert!(path.starts_with('/') && !path.split('/').any(|part| part == ".."));
        }
    }
}

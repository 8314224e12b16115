use super::*;
use proptest::prelude::*;

fn parsed(text: &str) -> Reference {
    Reference::parse(text, DOCKER_HUB).unwrap()
}

fn refused(text: &str) -> String {
    Reference::parse(text, DOCKER_HUB).unwrap_err().to_string()
}

#[test]
fn names_mean_what_they_mean_to_docker() {
    let digest = format!("sha256:{}", "ab".repeat(32));
    for (text, full) in [
        ("alpine", "docker.io/library/alpine:latest"),
        ("alpine:3.20", "docker.io/library/alpine:3.20"),
        ("mesosphere/marathon", "docker.io/mesosphere/marathon:latest"),
        ("index.docker.io/alpine", "docker.io/library/alpine:latest"),
        ("quay.io/a/b/c:v1", "quay.io/a/b/c:v1"),
        ("localhost/web", "localhost/web:latest"),
        ("localhost:5000/web:1", "localhost:5000/web:1"),
        ("127.0.0.1:5000/x/y", "127.0.0.1:5000/x/y:latest"),
        ("[::1]:5000/web", "[::1]:5000/web:latest"),
        ("Registry/web", "Registry/web:latest"),
        ("a__b/c-d.e_f", "docker.io/a__b/c-d.e_f:latest"),
    ] {
        assert_eq!(parsed(text).to_string(), full, "{text}");
        assert_eq!(parsed(full), parsed(text), "{text}");
    }
    assert_eq!(
        parsed(&format!("alpine@{digest}")).to_string(),
        format!("docker.io/library/alpine@{digest}")
    );
    let Reference::Registry(both) = parsed(&format!("q.io/a:1@{digest}")) else { panic!() };
    assert_eq!((both.tag(), both.target()), (Some("1"), digest));
}

#[test]
fn a_default_registry_takes_names_without_one() {
    let named = Reference::parse("web", "registry.local:5000").unwrap();
    assert_eq!(named.to_string(), "registry.local:5000/web:latest");
}

#[test]
fn local_images_are_named_by_path() {
    for text in [
        "oci:/srv/layout",
        "oci:/srv/layout:1.0",
        "oci-archive:/srv/web.tar:web",
        "docker-archive:/srv/web.tar",
        "docker-archive:/srv/web.tar:shop/web:2",
    ] {
        assert_eq!(parsed(text).to_string(), text);
    }
}

#[test]
fn each_wrong_form_is_refused_with_its_reason() {
    for (text, reason) in [
        ("", "it is empty"),
        ("https://q.io/a", "names carry no scheme"),
        ("Alpine", "lower case"),
        ("a//b", "empty part"),
        ("a/", "empty part"),
        ("-a", "not a part of a repository"),
        ("a b", "not a part of a repository"),
        ("a/../b", "not a part of a repository"),
        ("a:", "not a tag"),
        ("a:.x", "not a tag"),
        ("a:b:c", "not a tag"),
        ("a@sha256:12", "not a digest"),
        ("q.io:99999/a", "port"),
        ("q.io:/a", "port"),
        ("-q.io/a", "not a host name"),
        ("[::1/a", "lacks a ']'"),
        ("oci:layout", "absolute"),
        ("oci:/a/../b", "'..'"),
        ("oci:/a:", "nothing follows"),
        ("docker-archive:", "absolute"),
    ] {
        let error = refused(text);
        assert!(error.contains(reason), "{text}: {error}");
    }
    assert!(refused(&"a".repeat(256)).contains("255"));
    assert!(refused(&"a".repeat(5000)).contains("1024"));
}

proptest! {
    #[test]
    fn any_text_is_parsed_or_refused_and_what_is_parsed_is_stable(text in "\\PC{0,80}") {
        if let Ok(reference) = Reference::parse(&text, DOCKER_HUB) {
            let full = reference.to_string();
            prop_assert_eq!(Reference::parse(&full, DOCKER_HUB).unwrap(), reference);
        }
    }

    #[test]
    fn nothing_that_is_parsed_leads_out_of_a_url(text in "[a-zA-Z0-9:/@.?#%_\\-\\[\\]]{1,40}") {
        if let Ok(Reference::Registry(reference)) = Reference::parse(&text, DOCKER_HUB) {
            let path = format!("{}/{}", reference.repository(), reference.target());
            prop_assert!(!path.contains(['?', '#', '%']) && !path.contains(".."));
        }
    }
}

use super::*;
use proptest::prelude::*;

const A: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const B: &str = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

fn parse(text: &str) -> Result<Document, ManifestError> {
    Document::parse(text.as_bytes(), &Limits::default())
}

fn refused(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

fn host() -> Platform {
    Platform { os: "linux".into(), architecture: "amd64".into(), variant: Some("v2".into()) }
}

fn choice(index: &str, name: Option<&str>) -> Result<String, ManifestError> {
    let Document::Index(entries) = parse(index).unwrap() else { panic!("{index}") };
    choose(&entries, name, &host()).map(|entry| entry.descriptor.digest.to_string())
}

#[test]
fn images_of_docker_and_oci_are_read() {
    for media_type in [
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    ] {
        let text = format!(
            r#"{{"schemaVersion":2,"mediaType":"{media_type}","config":{{"digest":"{A}","size":7}},
                "layers":[{{"digest":"{B}","size":9,"mediaType":
                "application/vnd.docker.image.rootfs.diff.tar.gzip"}}]}}"#
        );
        let Document::Image(image) = parse(&text).unwrap() else { panic!() };
        assert_eq!((image.config.size, image.layers[0].size), (7, 9));
    }
}

#[test]
fn an_index_gives_the_build_for_this_host() {
    let entry = |digest: &str, arch: &str, variant: &str| {
        format!(
            r#"{{"digest":"{digest}","size":1,"platform":{{"os":"linux","architecture":"{arch}",
                "variant":"{variant}"}}}}"#
        )
    };
    let index = |entries: &[String]| {
        format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, entries.join(","))
    };
    let both = index(&[entry(A, "arm64", "v8"), entry(B, "amd64", "")]);
    assert_eq!(choice(&both, None).unwrap(), B);
    let levels = index(&[entry(A, "amd64", "v1"), entry(B, "amd64", "v2")]);
    assert_eq!(choice(&levels, None).unwrap(), B);
    let other = index(&[entry(A, "s390x", "")]);
    let error = choice(&other, None).unwrap_err().to_string();
    assert!(error.contains("linux/amd64/v2") && error.contains("linux/s390x"), "{error}");
}

#[test]
fn a_layout_gives_the_image_of_a_name() {
    let entry = |digest: &str, name: &str| {
        format!(r#"{{"digest":"{digest}","size":1,"annotations":{{"{REF_NAME}":"{name}"}}}}"#)
    };
    let index =
        format!(r#"{{"schemaVersion":2,"manifests":[{},{}]}}"#, entry(A, "1"), entry(B, "2"));
    assert_eq!(choice(&index, Some("2")).unwrap(), B);
    assert!(choice(&index, Some("3")).unwrap_err().to_string().contains("1, 2"));
    assert!(choice(&index, None).unwrap_err().to_string().contains("append"));
}

#[test]
fn what_cannot_be_used_is_refused_with_its_reason() {
    let digest = |rest: &str| format!(r#"{{"digest":"{A}","size":1{rest}}}"#);
    let one = digest("");
    for (text, reason) in [
        ("{".to_owned(), "not valid"),
        ("{}".to_owned(), "schemaVersion"),
        (r#"{"schemaVersion":1}"#.to_owned(), "schema 1"),
        (r#"{"schemaVersion":3}"#.to_owned(), "2 is known"),
        (r#"{"schemaVersion":2}"#.to_owned(), "neither"),
        (format!(r#"{{"schemaVersion":2,"manifests":[],"config":{one}}}"#), "mixes"),
        (format!(r#"{{"schemaVersion":2,"manifests":[],"layers":[{one}]}}"#), "mixes"),
        (
            format!(
                r#"{{"schemaVersion":2,"config":{one},
                    "mediaType":"application/vnd.oci.image.index.v1+json"}}"#
            ),
            "mixes",
        ),
        (r#"{"schemaVersion":2,"config":{"digest":"x","size":1}}"#.to_owned(), "not a digest"),
        (format!(r#"{{"schemaVersion":2,"config":{{"digest":"{A}","size":-1}}}}"#), "not valid"),
        (
            format!(r#"{{"schemaVersion":2,"config":{{"digest":"{A}","size":99999999}}}}"#),
            "99999999 bytes",
        ),
        (
            format!(
                r#"{{"schemaVersion":2,"config":{}}}"#,
                digest(r#","mediaType":"application/vnd.wasm.config.v1+json""#)
            ),
            "artifact",
        ),
        (
            format!(
                r#"{{"schemaVersion":2,"config":{one},"layers":[{}]}}"#,
                vec![one.as_str(); 128].join(",")
            ),
            "128 layers",
        ),
        (
            format!(
                r#"{{"schemaVersion":2,"config":{one},"layers":[{{"digest":"{A}","size":99999999999}}]}}"#
            ),
            "99999999999 bytes",
        ),
    ] {
        let error = refused(&text);
        assert!(error.contains(reason), "{text}: {error}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_parsed_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Document::parse(&bytes, &Limits::default());
    }
}
